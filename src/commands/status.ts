import { Flags } from '@oclif/core'
import { bytes, duration, percent } from '../cli/format.ts'
import { NounCommand, type NounFlags, nounFlags } from '../cli/noun-command.ts'
import { isInteractive } from '../cli/output.ts'
import { trafficText } from '../cli/rate-columns.ts'
import { paintState } from '../cli/state.ts'
import { pairs, table } from '../cli/table.ts'
import type { StatusData } from '../control/types.ts'

const moved = (data: StatusData): [string, number][] =>
  Object.entries(data.counters).filter(([, value]) => value !== 0)

interface StatusFlags extends NounFlags {
  output?: string
}

/** Who leads the hosts that this one belongs to. */
const groupText = ({ group }: StatusData): string => {
  // An agent of an older version says nothing of it.
  if (group == null) return ''
  const leader =
    group.leader === null ? 'electing a leader' : `led by ${group.leader} for ${duration(group.sinceMs)}`
  return `group: ${group.members.join(' ')}, ${leader}\n`
}

const functionsText = ({ functions, advice }: StatusData): string => {
  const uses = table(
    [
      { head: 'FUNCTION', cell: f => f.function },
      { head: 'CPU', cell: f => `${f.cpuPercent}%`, right: true },
      { head: 'MEMORY', cell: f => bytes(f.memoryBytes), right: true },
      { head: 'BIT/S', cell: f => f.bandwidthBits, right: true },
    ],
    functions,
  )
  return [uses, ...advice.map(text => `${text}\n`)].join('')
}

export default class Status extends NounCommand<StatusData, StatusFlags> {
  static override summary = 'Show the agent of this node, its peers and how full its tables are.'
  static override description =
    `The exit code is 3 when a peer is not alive. With -o wide also, on a host, the group of hosts that it belongs to and which of them leads it (it passes the heartbeats of all on;
up to groups.direct hosts have no leader), and what each function of the node uses since the last look (at least a second ago):
CPU is of one CPU, a thread's time divided by the packets that each function had in it; MEMORY is its tables; BIT/S what passed in the kernel and over links. Above 70 % of the
node's CPU, or of a table, it says what to scale.`
  static override examples = ['<%= config.bin %> status', '<%= config.bin %> status --watch --json']

  static override flags = {
    ...nounFlags,
    output: Flags.string({
      char: 'o',
      description:
        'wide: also who leads the group of hosts of the node, what each function of the node uses, and what to do about it.',
      options: ['wide'],
    }),
  }

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

  protected override render(data: StatusData, { output }: StatusFlags): string {
    const facts = pairs([
      ['node', data.node],
      ['state', data.state],
      ['roles', data.roles.join(', ')],
      ['version', data.version],
      ['pid', data.pid],
      ['uptime', duration(data.uptimeMs)],
      ['data plane', data.dataplane],
      ...(data.adopted === null ? [] : [['taken over', data.adopted] as const]),
      ['epoch', data.epoch],
      ['memory', bytes(data.memory.rssBytes)],
      ...(data.rates ? [['traffic', trafficText(data.rates)] as const] : []),
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
    const wide = [groupText(data), functionsText(data)].filter(text => text !== '')
    const counters = table(
      [
        { head: 'COUNTER', cell: c => c[0] },
        { head: 'VALUE', cell: c => c[1], right: true },
      ],
      moved(data).sort(([a], [b]) => (a < b ? -1 : 1)),
    )
    return [facts, peers, limits, ...(output === 'wide' ? wide : []), counters].join('\n')
  }
}
