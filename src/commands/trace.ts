import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { EXIT } from '../cli/exit-codes.ts'
import { type FlowTuple, parseFlowTuple, reversed } from '../cli/flow-tuple.ts'
import { noService } from '../cli/no-service.ts'
import { nounFlags } from '../cli/noun-command.ts'
import { json, localEnvelope, note, print, warn } from '../cli/output.ts'
import { pathAt } from '../cli/path-at.ts'
import { table } from '../cli/table.ts'
import { followTrace, forwardersOf, type TraceLink, traceLines, traceTrouble } from '../cli/trace-chain.ts'
import type { NodesData, StatusData, TraceData, VipsData } from '../control/types.ts'
import { ShuntError } from '../errors.ts'

const pathOf = (tuple: FlowTuple): string => `/v1/trace?${new URLSearchParams({ ...tuple })}`

export default class Trace extends BaseCommand {
  static override summary =
    'Show what would become of a packet of a connection: which host, by which route, and why.'
  static override description =
    `Sends nothing and changes nothing: not even the time when a route was last used. Give protocol, client and VIP, or paste a line of ss, tcpdump -n or
conntrack. The node here is asked, then the classifier that it would ask, and the host that the packet would go to. Of a connection that is there you see the kernel's route and the agent's flow;
of one that is not, who would get it: the shares that lead to the choice, and which hosts are left out and why. On the host you see the mapping of its identifier, and the socket that
the packet would meet. Each forwarder has routes of its own: --all asks all of them. The exit code is 3 when the packet would be dropped, nobody would take it, or nothing listens for it.`
  static override examples = [
    '<%= config.bin %> trace tcp 203.0.113.5:40000 198.51.100.10:80',
    "<%= config.bin %> trace 'IP 203.0.113.5.40000 > 198.51.100.10.80: Flags [S], seq 1, length 0'",
    '<%= config.bin %> trace --all [2001:db8::5]:40000 [2001:db8::10]:443',
  ]
  static override strict = false
  static override args = {
    connection: Args.string({
      description: 'PROTOCOL CLIENT:PORT VIP:PORT, or a pasted line.',
      required: true,
    }),
  }
  static override flags = {
    socket: nounFlags.socket,
    node: Flags.string({
      ...{ description: 'Begin at this node, through the one here.', helpValue: 'NAME' },
      exclusive: ['all'],
    }),
    all: Flags.boolean({ description: 'Ask all forwarders.' }),
  }

  override async run(): Promise<void> {
    const { flags, argv } = await this.parse(Trace)
    const given = parseFlowTuple(argv.map(String))
    const { get } = await import('../control/client.ts')
    const here = ((await get(flags.socket, '/v1/status')).data as StatusData).node
    const ask = async (tuple: FlowTuple, node: string): Promise<TraceData> =>
      (await get(flags.socket, pathAt(pathOf(tuple), node === here ? undefined : node))).data as TraceData
    const first = flags.all
      ? forwardersOf((await get(flags.socket, '/v1/nodes')).data as NodesData)
      : [flags.node ?? here]
    if (first.length === 0)
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        'the cluster has no forwarder; leave out --all to ask the node here',
      )
    const tuple = await this.#rightWay(given, t => ask(t, first[0]!))
    const links = await followTrace(first, node => ask(tuple, node))
    const isServed = links.some(({ trace }) => trace !== null && trace.service !== null)
    const missing = isServed
      ? undefined
      : noService(tuple, (await get(flags.socket, '/v1/vips')).data as VipsData)
    this.#show(tuple, links, here, flags.json, missing)
  }

  /** Tools print the local end first, which on a host is the VIP. */
  async #rightWay(tuple: FlowTuple, ask: (tuple: FlowTuple) => Promise<TraceData>): Promise<FlowTuple> {
    const isOurs = async (one: FlowTuple): Promise<boolean> => {
      try {
        return (await ask(one)).inForce
      } catch (error) {
        // Whether it answers at all is for the first real question to say.
        if (error instanceof ShuntError && error.code === 'SHUNT_ERR_PEER') return true
        throw error
      }
    }
    if ((await isOurs(tuple)) || !(await isOurs(reversed(tuple)))) return tuple
    note(`${tuple.client} is the VIP: the other way round`)
    return reversed(tuple)
  }

  #show(
    tuple: FlowTuple,
    links: TraceLink[],
    here: string,
    asJson: boolean,
    missing: string | undefined,
  ): void {
    const { protocol, client, vip } = tuple
    if (asJson) print(json(localEnvelope('shunt.trace-chain/1', { ...tuple, answers: links }, here), true))
    else
      print(
        `${protocol} ${client} -> ${vip}\n${table(
          [
            { head: 'NODE', cell: line => line.node },
            { head: 'WHAT', cell: line => line.what },
            { head: 'SAYS', cell: line => line.says },
          ],
          links.flatMap(traceLines),
        )}`,
      )
    const troubles = [traceTrouble(links), missing ?? ''].filter(text => text !== '')
    if (troubles.length === 0) return
    for (const trouble of troubles) warn(trouble)
    process.exitCode = EXIT.DEGRADED
  }
}
