import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { print } from '../cli/output.ts'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import { ShuntError } from '../errors.ts'

const SHELLS = ['bash', 'zsh', 'fish']
type Shell = 'bash' | 'zsh' | 'fish'

export default class Completion extends BaseCommand {
  static override summary = 'Print a script that completes commands, options and names in a shell.'
  static override description =
    `Names of nodes, services, hosts and revisions are asked of the agent while you type. To have it in every shell:

bash: shunt completion bash > /etc/bash_completion.d/shunt

zsh: shunt completion zsh > /usr/local/share/zsh/site-functions/_shunt

fish: shunt completion fish > ~/.config/fish/completions/shunt.fish`
  static override examples = ['source <(<%= config.bin %> completion bash)']
  static override args = {
    shell: Args.string({ description: 'The shell: bash, zsh or fish.', options: SHELLS }),
  }
  static override flags = {
    names: Flags.string({ hidden: true, options: ['nodes', 'services', 'hosts', 'revisions'] }),
    socket: Flags.string({ hidden: true, env: 'SHUNT_SOCKET', default: DEFAULT_CONTROL_SOCKET }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Completion)
    if (flags.names !== undefined) {
      const { namesOf } = await import('../completion/names.ts')
      const names = await namesOf(flags.socket, flags.names as Parameters<typeof namesOf>[1])
      print(names.map(name => `${name}\n`).join(''))
      return
    }
    if (args.shell === undefined)
      throw new ShuntError('SHUNT_ERR_USAGE', `say which shell: ${SHELLS.join(', ')}`)
    print(await this.#script(args.shell as Shell))
  }

  async #script(shell: Shell): Promise<string> {
    const { completionScript } = await import('../completion/script.ts')
    return completionScript(shell)
  }
}
