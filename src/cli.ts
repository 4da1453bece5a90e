/** Runs one command line and answers with the exit code. */
import { Config, Help, type Interfaces, Plugin } from '@oclif/core'
import { EXIT, exitCodeOf, isPlainExit } from './cli/exit-codes.ts'
import { print, printError, tolerateClosedPipes } from './cli/output.ts'
import { resolve, wantsJson } from './cli/resolve.ts'
import { COMMAND_IDS, type CommandClass, type CommandId, loadCommand, TOPICS } from './commands/table.ts'
import { VERSION } from './version.ts'

const DESCRIPTION =
  'A network load balancer for Linux: one virtual IP, kernel forwarding, direct server return, no controller.'

/** The command library's package file, made here: one executable has no files beside it. */
const packageFile = {
  name: 'shunt',
  version: VERSION,
  description: DESCRIPTION,
  type: 'module',
  dependencies: {},
  oclif: {
    bin: 'shunt',
    dirname: 'shunt',
    commands: { strategy: 'explicit', target: 'memory', identifier: 'COMMANDS' },
    topicSeparator: ' ',
    topics: Object.fromEntries(Object.entries(TOPICS).map(([name, description]) => [name, { description }])),
  },
} as unknown as Interfaces.PJSON

/** Commands from the table instead of from files, and only those that are needed. */
class TablePlugin extends Plugin {
  readonly #classes = new Map<string, CommandClass>()

  async add(ids: readonly CommandId[]): Promise<void> {
    for (const id of ids) this.#classes.set(id, await loadCommand(id))
  }

  override async findCommand(id: string): Promise<never> {
    const found = this.#classes.get(id)
    if (found !== undefined) {
      found.id = id
      found.plugin = this
    }
    // The library's overloads cannot be written down here.
    return found as never
  }

  override async getCommandIDs(): Promise<string[]> {
    return [...this.#classes.keys()]
  }
}

/** The library's configuration with these commands. */
export const loadCli = async (ids: readonly CommandId[]): Promise<Config> => {
  // Files that the library would look for (themes, manifests) are not part of this program.
  const root = '/nonexistent'
  const plugin = new TablePlugin({
    root,
    pjson: packageFile,
    isRoot: true,
    name: 'shunt',
    ignoreManifest: true,
  })
  await plugin.add(ids)
  await plugin.load()
  const config = new Config({ root, pjson: packageFile, plugins: new Map([['shunt', plugin]]) })
  await config.load()
  return config
}

const showHelp = async (subject: string): Promise<void> => {
  const ids = COMMAND_IDS.filter(id => subject === '' || id === subject || id.startsWith(`${subject}:`))
  const config = await loadCli(ids)
  await new Help(config, { stripAnsi: !process.stdout.hasColors?.() }).showHelp(
    subject === '' ? [] : subject.split(':'),
  )
}

const run = async (argv: readonly string[]): Promise<void> => {
  const asked = resolve(argv, COMMAND_IDS)
  if (asked.kind === 'version') return print(`shunt ${VERSION}`)
  if (asked.kind === 'help') return showHelp(asked.subject)
  const config = await loadCli([asked.id as CommandId])
  await config.runCommand(asked.id, asked.argv)
}

/** Never rejects. */
export const runCli = async (argv: readonly string[]): Promise<number> => {
  tolerateClosedPipes()
  try {
    await run(argv)
    return Number(process.exitCode ?? EXIT.OK)
  } catch (error) {
    if (!isPlainExit(error)) printError(error, wantsJson(argv))
    return exitCodeOf(error)
  }
}
