import { Flags } from '@oclif/core'
import { renderWide, wideRemarks, wideTroubles } from '../cli/host-rows.ts'
import { NounCommand, type NounFlags, nounFlags } from '../cli/noun-command.ts'
import { capacityText } from '../cli/row-text.ts'
import { paintState } from '../cli/state.ts'
import { table } from '../cli/table.ts'
import type { HealthData, HostsData } from '../control/types.ts'

interface HostsFlags extends NounFlags {
  output?: string
}

const isWide = (data: HostsData | HealthData): data is HealthData => 'cache' in data

export default class Hosts extends NounCommand<HostsData | HealthData, HostsFlags> {
  static override summary = 'Show the hosts, as this node sees them.'
  static override description =
    `CAPACITY is one number when it is the same in all services of the host, else the service stands before each.
With -o wide a line for each application of each host: its health and load, what the host wants the load balancing units to do with it
(TARGET) and what all of them are known to do (CURRENT), why, how long it may be used without a further heartbeat (LEASE), and what
part of the new connections this node gives it (SHARE). HEALTH is absent where the document asks for an application and nothing listens. A node
that is no unit shows its own applications. The exit code is 3 when a host is not alive; with -o wide when an application is failing, or absent
where it is neither drained nor of capacity 0, the lease of its host is over, or no host of a service takes new connections.`
  static override examples = ['<%= config.bin %> hosts', '<%= config.bin %> hosts -o wide --watch']
  static override flags = {
    ...nounFlags,
    output: Flags.string({ char: 'o', description: 'wide: health, load and directives.', options: ['wide'] }),
  }

  protected override path({ output }: HostsFlags): string {
    return output === 'wide' ? '/v1/health' : '/v1/hosts'
  }

  protected override troubles(data: HostsData | HealthData): string[] {
    if (isWide(data)) return wideTroubles(data)
    return data.hosts.filter(h => h.state !== 'alive').map(h => `host ${h.name} (${h.address}) is ${h.state}`)
  }

  protected override remark(data: HostsData | HealthData): string | undefined {
    if (!isWide(data)) return undefined
    if (data.cache === null && data.own === null)
      return 'this node is neither a host nor a load balancing unit; ask another with --node'
    return wideRemarks(data).join('\n') || undefined
  }

  protected override render(data: HostsData | HealthData): string {
    if (isWide(data)) return renderWide(data)
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
