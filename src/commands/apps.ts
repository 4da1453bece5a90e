import { bytes } from '../cli/format.ts'
import { NounCommand } from '../cli/noun-command.ts'
import { pairs, table } from '../cli/table.ts'
import type { AppsData, ListenerRow } from '../control/types.ts'

const bits = (n: number): string => `${bytes(n).replace(/B$/, 'bit')}/s`
/** UDP has no queue of connections. */
const queueText = ({ queue, backlog }: ListenerRow): string | null =>
  backlog === 0 ? null : `${queue}/${backlog}`

const serverText = ({ server }: AppsData): string =>
  server === null
    ? ''
    : pairs([
        ['connections', server.connections],
        ['CPU', `${server.cpuPercent.toFixed(0)}%`],
        ['memory', `${bytes(server.memoryBytes)} used, ${bytes(server.memoryFreeBytes)} free`],
        [
          'bandwidth',
          server.bandwidthFreeBits === 0
            ? `${bits(server.bandwidthBits)} used`
            : `${bits(server.bandwidthBits)} used, ${bits(server.bandwidthFreeBits)} free`,
        ],
      ])

export default class Apps extends NounCommand<AppsData> {
  static override summary = 'Show what listens and runs on this host, and what it uses.'
  static override description =
    `First the machine: established connections, processor time and memory that are used and left. Then the sockets that listen, with the services
that they answer for here, and of TCP how many connections wait to be accepted out of how many may (QUEUE). Then the processes that have those
sockets; CPU is in percent of one processor. With --node the agent of another host is asked.`
  static override examples = ['<%= config.bin %> apps', '<%= config.bin %> apps --node h1 --watch']

  protected override path(): string {
    return '/v1/apps'
  }

  protected override remark(data: AppsData): string | undefined {
    return data.listeners.length === 0
      ? 'nothing listens that is of a service (hosts have applications; ask another node with --node)'
      : undefined
  }

  protected override render(data: AppsData): string {
    const unitOf = new Map(data.processes.map(p => [p.pid, p.unit]))
    const listeners = table(
      [
        { head: 'PROTOCOL', cell: l => l.protocol },
        { head: 'ADDRESS', cell: l => l.address },
        { head: 'SERVICES', cell: l => l.services.join(',') },
        { head: 'PROCESS', cell: l => l.process },
        { head: 'PID', cell: l => l.pid, right: true },
        { head: 'UNIT', cell: l => (l.pid === null ? null : unitOf.get(l.pid)) },
        { head: 'NAMESPACE', cell: l => l.namespace },
        { head: 'QUEUE', cell: queueText, right: true },
      ],
      data.listeners,
    )
    const processes = table(
      [
        { head: 'PID', cell: p => p.pid, right: true },
        { head: 'PROCESS', cell: p => p.name },
        { head: 'UNIT', cell: p => p.unit },
        { head: 'CPU', cell: p => `${p.cpuPercent.toFixed(1)}%`, right: true },
        { head: 'MEMORY', cell: p => bytes(p.memoryBytes), right: true },
        { head: 'CONNECTIONS', cell: p => p.connections, right: true },
      ],
      data.processes,
    )
    return [serverText(data), listeners, processes].filter(Boolean).join('\n')
  }
}
