import { NounCommand } from '../cli/noun-command.ts'
import { capacityText } from '../cli/row-text.ts'
import { paintState } from '../cli/state.ts'
import { table } from '../cli/table.ts'
import type { HostsData } from '../control/types.ts'

export default class Hosts extends NounCommand<HostsData> {
  static override summary = 'Show the hosts, as this node sees them.'
  static override description =
    `CAPACITY is one number when it is the same in all services of the host, else the service stands before each.
The exit code is 3 when a host is not alive.`
  static override examples = ['<%= config.bin %> hosts']

  protected override path(): string {
    return '/v1/hosts'
  }

  protected override troubles(data: HostsData): string[] {
    return data.hosts.filter(h => h.state !== 'alive').map(h => `host ${h.name} (${h.address}) is ${h.state}`)
  }

  protected override render(data: HostsData): string {
    return table(
      [
        { head: 'HOST', cell: h => h.name },
        { head: 'ADDRESS', cell: h => h.address },
        { head: 'STATE', cell: h => h.state, paint: paintState },
        { head: 'CAPACITY', cell: h => capacityText(h), right: true },
        { head: 'FLOWS', cell: h => h.flows, right: true },
        { head: 'CONNECTIONS', cell: h => h.connections, right: true },
        { head: 'SERVICES', cell: h => h.services.join(',') },
      ],
      data.hosts,
    )
  }
}
