import { newConnectionTroubles } from '../cli/new-connections.ts'
import { NounCommand } from '../cli/noun-command.ts'
import { rateColumns } from '../cli/rate-columns.ts'
import { allOverloadedText, failOpenText, hasNone, noneText } from '../cli/ready.ts'
import { holderText } from '../cli/row-text.ts'
import { table } from '../cli/table.ts'
import type { VipsData } from '../control/types.ts'

export default class Vips extends NounCommand<VipsData> {
  static override summary = 'Show the virtual IPs and their services.'
  static override description =
    `HOLDER is the forwarder that answers for the virtual IP by ARP or neighbour discovery, as far as this node knows (forwarders do), or routed.
(ordered): shunt failover put it there, and it stays until its holder dies or leaves, another order, or shunt failover --release.
LIVE counts the hosts whose agents are alive, READY those that this node may give new connections now; a node that is no load balancing unit
does not know the latter. CLIENTS are those that keep their host (affinity), as far as the node that is asked knows; - where every connection goes by itself. FLOWS, without those that are closing, and CONNECTIONS, since its agent started, are those through the node that is
asked; a node that is no forwarder knows no CONNECTIONS. PKT/S, BYTE/S (of IP packets) and CONN/S (new connections) are what came to that node for the service over the last 5 seconds; with nftables, packets that the
kernel had merged count once, and hosts tell none. When only failing, or only overloaded, hosts are left of a service, they are used all the same, and a line below the
table says so. The exit code is 3 when no host of a service is alive or ready, or only failing ones are, when no classifier is alive, and when the
agent of a virtual IP's holder is not heard: the holder's kernel keeps the virtual IP and goes on with connections, but may not take new ones by itself.`
  static override examples = ['<%= config.bin %> vips']

  protected override path(): string {
    return '/v1/vips'
  }

  protected override troubles(data: VipsData): string[] {
    const rows = data.vips.flatMap(v => {
      if (v.live === 0) return [`no host of service ${v.service} is alive`]
      if (hasNone(v)) return [`${noneText(v.service)}; shunt hosts -o wide says why`]
      return v.fallback === 'failing' ? [failOpenText(v.service)] : []
    })
    return [...newConnectionTroubles(data), ...rows]
  }

  protected override warnings(data: VipsData): string[] {
    const overloaded = data.vips.filter(v => v.fallback === 'overload')
    return overloaded.map(v => allOverloadedText(v.service))
  }

  protected override render(data: VipsData): string {
    return table(
      [
        { head: 'SERVICE', cell: v => v.service },
        { head: 'VIP', cell: v => v.vip },
        { head: 'PORT', cell: v => v.port, right: true },
        { head: 'PROTOCOL', cell: v => v.protocol },
        { head: 'HOLDER', cell: v => holderText(v) },
        { head: 'HOSTS', cell: v => v.hosts, right: true },
        { head: 'LIVE', cell: v => v.live, right: true },
        { head: 'READY', cell: v => v.ready, right: true },
        { head: 'CLIENTS', cell: v => v.affinity?.sessions ?? null, right: true },
        { head: 'FLOWS', cell: v => v.flows, right: true },
        { head: 'CONNECTIONS', cell: v => v.connections, right: true },
        ...rateColumns<VipsData['vips'][number]>(),
      ],
      data.vips,
    )
  }
}
