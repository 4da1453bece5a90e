import { bytes, duration, percent } from '../cli/format.ts'
import { NounCommand } from '../cli/noun-command.ts'
import { isInteractive } from '../cli/output.ts'
import { paintState } from '../cli/state.ts'
import { pairs, table } from '../cli/table.ts'
import type { StatusData } from '../control/types.ts'

const moved = (data: StatusData): [string, number][] =>
  Object.entries(data.counters).filter(([, value]) => value !== 0)

export default class Status extends NounCommand<StatusData> {
  static override summary = 'Show the agent of this node, its peers and how full its tables are.'
  static override description = `The exit code is 3 when a peer is not alive.`
  static override examples = ['<%= config.bin %> status', '<%= config.bin %> status --watch --json']

  protected override path(): string {
    return '/v1/status'
  }

  protected override troubles(data: StatusData): string[] {
    const missing = data.peers.filter(p => p.state !== 'alive')
    return missing.map(p => `peer ${p.name} (${p.address}) is ${p.state}`)
  }

  protected override remark(data: StatusData): string | undefined {
    const still = Object.keys(data.counters).length - moved(data).length
    return still === 0 || !isInteractive()
      ? undefined
      : `${still} counters that are 0 are left out; --json has them`
  }

  protected override render(data: StatusData): string {
    const facts = pairs([
      ['node', data.node],
      ['state', data.state],
      ['roles', data.roles.join(', ')],
      ['version', data.version],
      ['pid', data.pid],
      ['uptime', duration(data.uptimeMs)],
      ['data plane', data.dataplane],
      ['epoch', data.epoch],
      ['memory', bytes(data.memory.rssBytes)],
    ])
    const peers = table(
      [
        { head: 'PEER', cell: p => p.name },
        { head: 'ROLES', cell: p => p.roles.join(',') },
        { head: 'ADDRESS', cell: p => p.address },
        { head: 'STATE', cell: p => p.state, paint: paintState },
        { head: 'HEARD', cell: p => duration(p.lastHeardMs), right: true },
        { head: 'RTT', cell: p => duration(p.rttMs), right: true },
      ],
      data.peers,
    )
    const limits = table(
      [
        { head: 'TABLE', cell: l => l.name },
        { head: 'USED', cell: l => l.used, right: true },
        { head: 'CAPACITY', cell: l => l.capacity, right: true },
        { head: 'FULL', cell: l => percent(l.used, l.capacity), right: true },
        { head: 'EVICTED', cell: l => l.evicted, right: true },
      ],
      data.limits,
    )
    const counters = table(
      [
        { head: 'COUNTER', cell: c => c[0] },
        { head: 'VALUE', cell: c => c[1], right: true },
      ],
      moved(data).sort(([a], [b]) => (a < b ? -1 : 1)),
    )
    return [facts, peers, limits, counters].join('\n')
  }
}
