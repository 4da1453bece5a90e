/** What a command line asks for, before any command is loaded. Pure. */
import { didYouMean } from '../config/suggest.ts'
import { ShuntError } from '../errors.ts'

export type Asked =
  | { kind: 'version' }
  | { kind: 'help' /** `''` for all, a topic, or a command id. */; subject: string }
  | { kind: 'command'; id: string; argv: string[] }

const HELP = ['--help', '-h']

/** Arguments after `--` belong to the command, also `--help`. */
const hasHelp = (argv: readonly string[]): boolean => {
  const end = argv.indexOf('--')
  return (end < 0 ? argv : argv.slice(0, end)).some(arg => HELP.includes(arg))
}

/** True when `--json` is among the options. */
export const wantsJson = (argv: readonly string[]): boolean => {
  const end = argv.indexOf('--')
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json')
}

/**
 * @param ids command ids, `config:check`; the first part of such an id is a topic
 * @throws ShuntError SHUNT_ERR_USAGE for a command that is not there
 */
export const resolve = (argv: readonly string[], ids: readonly string[]): Asked => {
  if (argv[0] === '--version' || argv[0] === '-V') return { kind: 'version' }
  const topics = [...new Set(ids.filter(id => id.includes(':')).map(id => id.split(':')[0]!))]
  const asksHelp = argv[0] === 'help'
  const words = asksHelp ? argv.slice(1) : argv
  const [first, second] = words
  if (first === undefined || HELP.includes(first)) return { kind: 'help', subject: '' }
  if (first.startsWith('-'))
    throw new ShuntError('SHUNT_ERR_USAGE', `a command comes first, not ${first}; shunt --help lists them`)
  if (ids.includes(first)) {
    if (asksHelp || hasHelp(words)) return { kind: 'help', subject: first }
    return { kind: 'command', id: first, argv: words.slice(1) }
  }
  if (topics.includes(first)) {
    const id = `${first}:${second}`
    if (ids.includes(id)) {
      if (asksHelp || hasHelp(words)) return { kind: 'help', subject: id }
      return { kind: 'command', id, argv: words.slice(2) }
    }
    if (second === undefined || HELP.includes(second)) return { kind: 'help', subject: first }
    const inTopic = ids.filter(i => i.startsWith(`${first}:`)).map(i => i.slice(first.length + 1))
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `there is no command "${first} ${second}"${didYouMean(second, inTopic)}; there are: ${inTopic.join(', ')}`,
    )
  }
  const known = [...ids.filter(id => !id.includes(':')), ...topics, 'help']
  throw new ShuntError(
    'SHUNT_ERR_USAGE',
    `there is no command "${first}"${didYouMean(first, known)}; shunt --help lists them`,
  )
}
