/** shunt(1) and a page a command, from what the commands say about themselves. */
import type { Command } from '@oclif/core'
import { loadLibrary } from '../../src/cli/library.ts'
import { COMMAND_IDS } from '../../src/commands/table.ts'
import { bold, example, header, italic, item, paragraphs, plain, raw, section, seeAlso } from './roff.ts'

/** The parts of the library's flags that a page shows. */
interface Flag {
  char?: string
  name: string
  description?: string
  type: 'boolean' | 'option'
  helpValue?: string | string[]
  default?: unknown
  env?: string
  options?: readonly string[]
  required?: boolean
  hidden?: boolean
}
interface Arg {
  name: string
  description?: string
  required?: boolean
}

export const EXIT_STATUS: [string, string][] = [
  ['0', 'Done, or already so.'],
  ['1', 'Failed.'],
  ['2', 'Wrong usage.'],
  ['3', 'Answered, but not all is well; warnings say what.'],
  ['4', 'The agent cannot be reached.'],
  ['5', 'Refused by a safety rule.'],
  ['124', 'Timed out.'],
  ['130', 'Interrupted.'],
]

const pageName = (id: string): string => `shunt-${id.replaceAll(':', '-')}`
const words = (id: string): string => `shunt ${id.replaceAll(':', ' ')}`
const fill = (text: string): string =>
  text.replaceAll('<%= config.bin %>', 'shunt').replace(/<%= command\.id %>/g, '')

const valueText = (flag: Flag): string => {
  if (flag.type === 'boolean') return ''
  const name = Array.isArray(flag.helpValue) ? flag.helpValue[0] : flag.helpValue
  return `=${italic(name ?? flag.options?.join('|') ?? 'VALUE')}`
}

const option = (flag: Flag): string => {
  const tag = `${flag.char === undefined ? '' : `${bold(`-${flag.char}`)}, `}${bold(`--${flag.name}`)}${valueText(flag)}`
  const facts = [
    flag.options && flag.helpValue !== undefined ? `One of ${flag.options.join(', ')}.` : '',
    flag.default === undefined || flag.default === false ? '' : `Default: ${String(flag.default)}.`,
    flag.env === undefined ? '' : `The environment variable ${flag.env} sets it too.`,
    flag.required ? 'Required.' : '',
  ]
  return item(tag, [flag.description ?? '', ...facts].filter(Boolean).join(' '))
}

const examplesOf = (command: Command.Loadable): string[] =>
  (Array.isArray(command.examples) ? command.examples : []).map(e =>
    fill(typeof e === 'string' ? e : e.command),
  )

const commandPage = (command: Command.Loadable, id: string, version: string): string => {
  const flags = Object.values(command.flags as unknown as Record<string, Flag>).filter(f => !f.hidden)
  const args = Object.values(command.args as unknown as Record<string, Arg>)
  // As --help has it: what may come again is the one argument.
  const again = command.strict === false && args.length === 1 && command.usage === undefined ? '...' : ''
  const argText = args.map(a => {
    const name = `${italic(a.name.toUpperCase())}${again}`
    return a.required ? name : `[${name}]`
  })
  const more = command.strict === false && again === '' ? [`[${italic('ARGUMENT')}...]`] : []
  const parts = [
    header(pageName(id), 1, version),
    section('NAME'),
    raw(`${plain(pageName(id))} \\- ${plain((command.summary ?? '').replace(/\.$/, ''))}`),
    section('SYNOPSIS'),
    raw([bold(words(id)), `[${italic('OPTION')}...]`, ...argText, ...more].join(' ')),
    section('DESCRIPTION'),
    paragraphs(fill([command.summary, command.description].filter(Boolean).join('\n\n'))),
  ]
  if (args.length > 0) {
    parts.push(section('ARGUMENTS'))
    for (const arg of args) parts.push(item(italic(arg.name.toUpperCase()), arg.description ?? ''))
  }
  parts.push(section('OPTIONS'))
  for (const flag of flags) parts.push(option(flag))
  parts.push(item(bold('--help'), 'Print a summary of this page.'))
  parts.push(section('EXIT STATUS'), paragraphs('As for every command; see shunt(1).'))
  const examples = examplesOf(command)
  if (examples.length > 0) parts.push(section('EXAMPLES'), ...examples.map(example))
  parts.push(
    seeAlso([
      ['shunt', 1],
      ['shunt-cluster.yaml', 5],
      ['shunt-node.yaml', 5],
    ]),
  )
  return parts.join('')
}

const mainPage = (commands: [string, Command.Loadable][], description: string, version: string): string =>
  [
    header('shunt', 1, version),
    section('NAME'),
    raw('shunt \\- network load balancer for Linux'),
    section('SYNOPSIS'),
    raw(`${bold('shunt')} ${italic('COMMAND')} [${italic('OPTION')}...]`),
    section('DESCRIPTION'),
    paragraphs(`${description}

Verbs change things, nouns show them. Data goes to standard output, progress and warnings go to standard error. With
--json a command prints an envelope: an object with schema (a name and a version, such as shunt.status/1), node, time
and data; a failure prints one with schema shunt.error/1 and error, which has code and message. With --watch a command
shows its answer again and again; with --json too, an envelope a line.`),
    section('COMMANDS'),
    ...commands.map(([id, c]) => item(`${bold(words(id))}`, `${c.summary ?? ''} See ${pageName(id)}(1).`)),
    section('OPTIONS'),
    item(bold('--help'), 'Print the list of commands, or after a command what it takes.'),
    item(bold('--version'), 'Print the version.'),
    section('EXIT STATUS'),
    ...EXIT_STATUS.map(([code, text]) => item(bold(code), text)),
    section('ENVIRONMENT'),
    item(bold('SHUNT_SOCKET'), "The agent's control socket, where --socket is not given."),
    item(bold('SHUNT_CONFIG'), 'The node file, where --config is not given. Default: /etc/shunt/node.yaml.'),
    item(
      bold('SHUNT_OPERATOR_KEY'),
      "The operator's private key, where --operator-key is not given. Default: /etc/shunt/operator.key.",
    ),
    item(
      bold('SHUNT_STATE_DIR'),
      'The directory of what must survive a restart, where --state-dir is not given to shunt init or shunt join. Default: /var/lib/shunt.',
    ),
    item(
      bold('SHUNT_APP_SOCKET'),
      "The agent's socket for applications, where --app-socket is not given to shunt init or shunt join. Default: /run/shunt/app.sock.",
    ),
    item(
      bold('SHUNT_LAB'),
      'Name of the lab that the shunt lab commands mean, where --name is not given. shunt lab exec sets it, with the variables above and SHUNT_LAB_NODE, the name of the node.',
    ),
    item(bold('SHUNT_DEBUG'), 'If set, errors come with a stack trace.'),
    item(bold('NO_COLOR'), 'If set, there is no colour. There is none off a terminal either.'),
    section('FILES'),
    item(italic('/etc/shunt/node.yaml'), 'The node file; see shunt-node.yaml(5).'),
    item(italic('/etc/shunt/operator.key'), "The operator's private key, on the operator's machine only."),
    item(
      italic('/run/shunt/control.sock'),
      "The agent's control socket: HTTP, for root and the socket's group.",
    ),
    item(italic('/var/lib/shunt'), 'What must survive a restart of the agent.'),
    seeAlso([
      ...commands.map(([id]): [string, number] => [pageName(id), 1]),
      ['shunt-cluster.yaml', 5],
      ['shunt-node.yaml', 5],
    ]),
  ].join('')

/** File name and text of each page of section 1. */
export const commandPages = async (version: string): Promise<[string, string][]> => {
  const library = await loadLibrary(COMMAND_IDS)
  const commands = COMMAND_IDS.map((id): [string, Command.Loadable] => [
    id,
    library.findCommand(id, { must: true }),
  ])
  return [
    ['shunt.1', mainPage(commands, String(library.pjson.description), version)],
    ...commands.map(([id, c]): [string, string] => [`${pageName(id)}.1`, commandPage(c, id, version)]),
  ]
}
