import { Flags } from '@oclif/core'
import { duration } from '../cli/format.ts'
import { NounCommand, type NounFlags, nounFlags } from '../cli/noun-command.ts'
import { table } from '../cli/table.ts'
import { DEFAULT_FLOWS, type FlowsData, MAX_FLOWS } from '../control/types.ts'

interface FlowsFlags extends NounFlags {
  limit: number
  service?: string
  host?: string
  client?: string
}

export default class Flows extends NounCommand<FlowsData, FlowsFlags> {
  static override summary = 'Show the flows that pass through this forwarder.'
  static override description =
    `IDENTIFIER is the number by which forwarder and host know the flow, in hexadecimal; there is none where the host is this
same node. STATE is embryonic until the client has answered its host (a UDP flow: has sent again), then established, and closing once an end of it
said so. PLUMBED says whether the kernel forwards its packets by itself; a young flow is forwarded by the agent, and one that
has been idle goes back to it. ORIGIN says where its host comes from: chosen (it began here), kept (from the agent before), own-atom or member-atom (it began
at another forwarder; known by this node's own atom, or told by another member's, see shunt atoms), host (the host itself said so), nobody (nobody has it: the host of the
deterministic choice answers), guess (an ICMP error came for a flow that was not seen yet). SLOW counts the packets that took the slower way, through the agent: few for each flow is as it
should be, but where full encapsulation goes through the agent. IDLE is the time since its last packet, as the agent knows it.`
  static override examples = [
    '<%= config.bin %> flows --limit 20',
    '<%= config.bin %> flows --service web --client 10.20.0.5',
  ]
  static override flags = {
    ...nounFlags,
    limit: Flags.integer({
      description: 'At most this many.',
      default: DEFAULT_FLOWS,
      min: 1,
      max: MAX_FLOWS,
      helpValue: 'N',
    }),
    service: Flags.string({ description: 'Only flows of this service.', helpValue: 'NAME' }),
    host: Flags.string({ description: 'Only flows to this host.', helpValue: 'NAME' }),
    client: Flags.string({
      description: 'Only flows of this client, with or without its port.',
      helpValue: 'ADDRESS[:PORT]',
    }),
  }

  protected override path(flags: FlowsFlags): string {
    const query = new URLSearchParams({ limit: String(flags.limit) })
    for (const key of ['service', 'host', 'client'] as const) {
      const value = flags[key]
      if (value !== undefined) query.set(key, value)
    }
    return `/v1/flows?${query}`
  }

  protected override remark(data: FlowsData): string | undefined {
    if (data.total === 0) return 'no flows (a forwarder shows those that pass through it)'
    return data.shown < data.total ? `${data.shown} of ${data.total} flows; --limit shows more` : undefined
  }

  protected override render(data: FlowsData): string {
    return table(
      [
        { head: 'PROTOCOL', cell: f => f.protocol },
        { head: 'CLIENT', cell: f => f.client },
        { head: 'VIP', cell: f => f.vip },
        { head: 'HOST', cell: f => f.host },
        { head: 'IDENTIFIER', cell: f => f.identifier },
        { head: 'STATE', cell: f => f.state },
        { head: 'PLUMBED', cell: f => f.plumbed },
        { head: 'ORIGIN', cell: f => f.origin },
        { head: 'SLOW', cell: f => f.slowPackets, right: true },
        { head: 'IDLE', cell: f => duration(f.idleMs), right: true },
      ],
      data.flows,
    )
  }
}
