import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import { ShuntError } from '../errors.ts'

/** Ink draws bars and arrows as UTF-8; a terminal of another character set shows them as rubbish. */
const isUtf8 = ({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean =>
  /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')

export default class Top extends BaseCommand {
  static override summary =
    'Watch the cluster on the whole screen: nodes, services, hosts, flows, events, health, atoms.'
  static override description =
    `Press ? for the keys. Enter on a host or a service shows its applications with health, directive, lease and share, and Enter on one of these all that
is known of it: cause, orders, and, where the agent asked is its host, what the check found and which units are waited for. d drains and u undrains the host, or the
application, under the cursor; f shows the flows. Every change that can be started here is a command of shunt, shown before it runs. It finds the operator's key as
that command does (SHUNT_OPERATOR_KEY). With --read-only there are none. With --node it shows what another node sees; commands still start at this one.
An agent that goes away is waited for.`
  static override examples = [
    '<%= config.bin %> top',
    '<%= config.bin %> top --interval 250 --read-only',
    '<%= config.bin %> top --node f2',
  ]
  static override flags = {
    socket: Flags.string({
      description: "The agent's control socket.",
      env: 'SHUNT_SOCKET',
      default: DEFAULT_CONTROL_SOCKET,
      helpValue: 'PATH',
    }),
    node: Flags.string({
      description: 'Look through the agent of this node, asked by way of the one here.',
      helpValue: 'NAME',
    }),
    interval: Flags.integer({
      description: 'Milliseconds between two looks.',
      default: 1000,
      min: 100,
      max: 3_600_000,
      helpValue: 'MS',
    }),
    'read-only': Flags.boolean({ description: 'Offer nothing that changes the cluster.' }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Top)
    if (flags.json)
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        'shunt top draws on a terminal; for JSON use shunt status --watch --json',
      )
    const isTerminal = process.stdin.isTTY && process.stdout.isTTY && process.env.TERM !== 'dumb'
    if (!isTerminal)
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        'shunt top needs a terminal that can move its cursor; use shunt status --watch instead',
      )
    const { runTop } = await import('../tui/run.ts')
    process.exitCode = await runTop({
      socket: flags.socket,
      ...(flags.node !== undefined && { node: flags.node }),
      intervalMs: flags.interval,
      readOnly: flags['read-only'],
      unicode: isUtf8(process.env),
      commandOptions: flags.socket === DEFAULT_CONTROL_SOCKET ? [] : ['--socket', flags.socket],
    })
  }
}
