/** What can be completed, as the commands themselves say it. Pure. */

/** Where the values of an option or an argument come from. */
export type Values =
  | { from: 'nowhere' }
  | { from: 'files' }
  | { from: 'list'; list: readonly string[] }
  /** Asked of the agent when they are needed. */
  | { from: 'agent'; noun: Noun }

export const NOUNS = ['nodes', 'services', 'hosts', 'revisions'] as const
export type Noun = (typeof NOUNS)[number]

export interface OptionModel {
  name: string
  char: string | undefined
  summary: string
  /** `null` for an option without a value. */
  values: Values | null
  multiple: boolean
}

export interface CommandModel {
  /** `['config', 'check']` */
  words: readonly string[]
  summary: string
  options: OptionModel[]
  args: { name: string; summary: string; values: Values }[]
}

export interface CompletionModel {
  commands: CommandModel[]
  topics: { name: string; summary: string }[]
}

/** The parts of the command library's metadata that matter here. */
interface Flag {
  name: string
  char?: string
  description?: string
  summary?: string
  type: string
  helpValue?: string | string[]
  options?: readonly string[]
  hidden?: boolean
  multiple?: boolean
  allowNo?: boolean
}
interface Arg {
  name: string
  description?: string
  options?: readonly string[]
  hidden?: boolean
}
export interface CommandData {
  id: string
  summary?: string | undefined
  hidden?: boolean | undefined
  flags: Record<string, unknown>
  args: Record<string, unknown>
}

const BY_NAME: Record<string, Noun> = {
  node: 'nodes',
  target: 'hosts',
  service: 'services',
  host: 'hosts',
  revision: 'revisions',
}
const FILES = ['file', 'path', 'dir', 'directory']

const valuesOf = (name: string, kind: string | undefined, options: readonly string[] | undefined): Values => {
  if (options !== undefined) return { from: 'list', list: options }
  const noun = BY_NAME[name.toLowerCase()] ?? BY_NAME[kind?.toLowerCase() ?? '']
  if (noun !== undefined) return { from: 'agent', noun }
  return FILES.includes((kind ?? name).toLowerCase()) ? { from: 'files' } : { from: 'nowhere' }
}

/** The first sentence, without what a shell would show as line noise. */
const brief = (text: string | undefined): string =>
  (text ?? '')
    .split(/(?<=\.)\s/)[0]!
    .replace(/\s+/g, ' ')
    .replace(/\.$/, '')

const optionOf = (flag: Flag): OptionModel => {
  const kind = Array.isArray(flag.helpValue) ? flag.helpValue[0] : flag.helpValue
  return {
    name: flag.name,
    char: flag.char,
    summary: brief(flag.summary ?? flag.description),
    values: flag.type === 'boolean' ? null : valuesOf(flag.name, kind, flag.options),
    multiple: flag.multiple === true,
  }
}

/** An option that is on by default, and can be turned off, has its negative too. */
const spellingsOf = (flag: Flag): OptionModel[] =>
  flag.allowNo === true ? [optionOf(flag), optionOf({ ...flag, name: `no-${flag.name}` })] : [optionOf(flag)]

const HELP: OptionModel = { name: 'help', char: 'h', summary: 'Help', values: null, multiple: false }

const commandOf = (command: CommandData): CommandModel => ({
  words: command.id.split(':'),
  summary: brief(command.summary),
  options: [
    ...(Object.values(command.flags) as Flag[]).filter(f => f.hidden !== true).flatMap(spellingsOf),
    HELP,
  ].sort((a, b) => (a.name < b.name ? -1 : 1)),
  args: (Object.values(command.args) as Arg[])
    .filter(a => a.hidden !== true)
    .map(a => ({
      name: a.name,
      summary: brief(a.description),
      values: valuesOf(a.name, undefined, a.options),
    })),
})

/** @param topics sentence of each first word that is no command by itself */
export const completionModel = (
  commands: readonly CommandData[],
  topics: Readonly<Record<string, string>>,
): CompletionModel => ({
  commands: commands
    .filter(c => c.hidden !== true)
    .map(commandOf)
    .sort((a, b) => (a.words.join(' ') < b.words.join(' ') ? -1 : 1)),
  topics: Object.entries(topics)
    .map(([name, text]) => ({ name, summary: brief(text) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1)),
})

/** What can stand first: commands of one word, topics, and `help`. */
export const firstWords = (model: CompletionModel): { name: string; summary: string }[] => [
  ...model.commands.filter(c => c.words.length === 1).map(c => ({ name: c.words[0]!, summary: c.summary })),
  ...model.topics,
  { name: 'help', summary: 'Help for a command' },
]

/** What can stand second after a topic. */
export const secondWords = (model: CompletionModel, topic: string): { name: string; summary: string }[] =>
  model.commands
    .filter(c => c.words.length === 2 && c.words[0] === topic)
    .map(c => ({ name: c.words[1]!, summary: c.summary }))
