/** Runs one command line and answers with the exit code. */
import { EXIT, exitCodeOf, isPlainExit } from './cli/exit-codes.ts'
import { print, printError, tolerateClosedPipes } from './cli/output.ts'
import { type Asked, resolve, wantsJson } from './cli/resolve.ts'
import { COMMAND_IDS, type CommandId } from './commands/table.ts'
import { VERSION } from './version.ts'

const run = async (asked: Asked): Promise<void> => {
  if (asked.kind === 'version') {
    print(`shunt ${VERSION}`)
    return
  }
  const { runCommand, showHelp } = await import('./cli/library.ts')
  if (asked.kind === 'help') await showHelp(asked.subject)
  else await runCommand(asked.id as CommandId, asked.argv)
}

/** Never rejects. */
export const runCli = async (argv: readonly string[]): Promise<number> => {
  tolerateClosedPipes()
  let command: string | undefined
  try {
    const asked = resolve(argv, COMMAND_IDS)
    if (asked.kind === 'command') command = asked.id.replace(':', ' ')
    await run(asked)
    return Number(process.exitCode ?? EXIT.OK)
  } catch (error) {
    if (!isPlainExit(error)) printError(error, wantsJson(argv), command)
    return exitCodeOf(error)
  }
}
