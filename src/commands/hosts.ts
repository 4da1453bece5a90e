import { Flags } from '@oclif/core'
import { orderRemarks, renderWide, wideRemarks, wideTroubles } from '../cli/host-rows.ts'
import { NounCommand, type NounFlags, nounFlags } from '../cli/noun-command.ts'
import { rateColumns } from '../cli/rate-columns.ts'
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
    `CAPACITY is one number when it is the same in all services of the host, else the service stands before each. FLOWS, without
those that are closing, and CONNECTIONS, since its agent started, are those through the node that is asked; shunt drain HOST counts those of the whole cluster.
PKT/S, BYTE/S (of IP packets) and CONN/S (new connections) are what that node sends there, over the last 5 seconds; nodes that are no forwarders tell none.
With -o wide a line for each application of each host: its health and load, what the host wants the load balancing units to do with it
(TARGET) and what all of them are known to do (CURRENT), why, by way of which other host its heartbeats come (VIA: the leader of its group, or direct), how long it may be used without a further heartbeat (LEASE), and what
part of the new connections this node gives it (SHARE). LOAD is what is used of what the host can do: 100% is all the CPU time that it may use (of the machine, or of its node.cgroup), or an accept queue of the
application that is full, whichever is more; or what the application reports of itself. It is smoothed over 10 seconds and told in steps of 5 points, every 15 seconds
at most, and at once when it is 25 points off. HEALTH is absent where the document asks for an application and nothing listens. CAUSE
says "health, used" or "overload, used" of what gets new connections all the same, since no host is better off, and "slow start" while the share of a host still grows. A node
that is no unit shows its own applications, and of failing ones the reason. Of a host whose lease is over nothing is known: its columns are empty. The exit code is 3 when a host is not alive; with -o wide when an application is failing, or absent
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
    return orderRemarks(data).join('\n') || undefined
  }

  protected override warnings(data: HostsData | HealthData): string[] {
    return isWide(data) ? wideRemarks(data) : []
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
        ...rateColumns<HostsData['hosts'][number]>(),
        { head: 'SERVICES', cell: h => h.services.join(',') },
      ],
      data.hosts,
    )
  }
}
