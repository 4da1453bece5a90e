/** The command library, given commands from the table instead of from files. Loaded only for help and commands. */
import { type Command, Config, Help, type Interfaces, Plugin } from '@oclif/core'
import { COMMAND_IDS, type CommandId, loadCommand, TOPICS } from '../commands/table.ts'
import { didYouMean } from '../config/suggest.ts'
import { ShuntError } from '../errors.ts'
import { VERSION } from '../version.ts'
import { isPlainExit } from './exit-codes.ts'
import { type MissingArgument, missingText, usageText } from './usage-text.ts'

const DESCRIPTION =
  'A network load balancer for Linux: one virtual IP, kernel forwarding, direct server return, no controller.'
/** Files that the library would look for (manifest, package file) are not part of this program. */
const NO_ROOT = '/nonexistent'

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

/** The library's configuration with these commands and no others. */
export const loadLibrary = async (ids: readonly CommandId[]): Promise<Config> => {
  const plugin = new Plugin({
    root: NO_ROOT,
    pjson: packageFile,
    isRoot: true,
    name: 'shunt',
    ignoreManifest: true,
  })
  const classes = new Map<string, Command.Class>()
  for (const id of ids) classes.set(id, Object.assign(await loadCommand(id), { id, plugin }))
  // The library has these two read a directory, and declares one of them private.
  Object.assign(plugin, {
    findCommand: async (id: string) => classes.get(id),
    getCommandIDs: async () => [...classes.keys()],
  })
  await plugin.load()
  const config = new Config({ root: NO_ROOT, pjson: packageFile, plugins: new Map([['shunt', plugin]]) })
  await config.load()
  return config
}

/** Prints help for a command id, for a topic or, with `''`, for everything. */
export const showHelp = async (subject: string): Promise<void> => {
  const ids = COMMAND_IDS.filter(id => subject === '' || id === subject || id.startsWith(`${subject}:`))
  const config = await loadLibrary(ids)
  const help = new Help(config, { stripAnsi: process.stdout.hasColors?.() !== true })
  await help.showHelp(subject === '' ? [] : subject.split(':'))
}

/** What the library attaches to its errors about a command line. */
interface LibraryError extends Error {
  oclif?: { exit?: number }
  flags?: unknown
  args?: MissingArgument[]
}

/** What the library says of a wrong command line, in our words; other errors stay as they are. */
const inOurWords = (error: unknown, command: Command.Class): unknown => {
  if (!(error instanceof Error) || error instanceof ShuntError || isPlainExit(error)) return error
  const { oclif, flags: unknown, args, message } = error as LibraryError
  if (oclif?.exit === undefined) return error
  const wrong = (text: string): ShuntError => new ShuntError('SHUNT_ERR_USAGE', text, { cause: error })
  if (message.startsWith('Missing') && Array.isArray(args)) return wrong(missingText(args))
  if (!message.startsWith('Nonexistent flag') || !Array.isArray(unknown)) return wrong(usageText(message))
  const known = Object.keys({ ...command.baseFlags, ...command.flags }).map(name => `--${name}`)
  // A single letter is near to every other.
  const guessed = unknown.map(flag => `${flag}${/^--/.test(flag) ? didYouMean(flag, known) : ''}`)
  return wrong(`there is no flag ${guessed.join(' and no flag ')}`)
}

/** @throws whatever the command or the parser of its arguments throws */
export const runCommand = async (id: CommandId, argv: string[]): Promise<void> => {
  const config = await loadLibrary([id])
  try {
    await config.runCommand(id, argv)
  } catch (error) {
    throw inOurWords(error, (await loadCommand(id)) as Command.Class)
  }
}
