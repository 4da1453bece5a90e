/** The script of a shell, from the commands of this program. Loads them all. */
import { loadLibrary } from '../cli/library.ts'
import { COMMAND_IDS, TOPICS } from '../commands/table.ts'
import { bashScript } from './bash.ts'
import { fishScript } from './fish.ts'
import { type CommandData, type CompletionModel, completionModel } from './model.ts'
import { zshScript } from './zsh.ts'

const SCRIPTS: Record<string, (model: CompletionModel) => string> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}

export const completionScript = async (shell: 'bash' | 'zsh' | 'fish'): Promise<string> => {
  const { commands } = await loadLibrary(COMMAND_IDS)
  return SCRIPTS[shell]!(completionModel(commands as CommandData[], TOPICS))
}
