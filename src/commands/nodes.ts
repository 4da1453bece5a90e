import { duration } from '../cli/format.ts'
import { NounCommand } from '../cli/noun-command.ts'
import { rolesText, vipsHeld } from '../cli/row-text.ts'
import { paintState } from '../cli/state.ts'
import { table } from '../cli/table.ts'
import type { NodesData } from '../control/types.ts'

export default class Nodes extends NounCommand<NodesData> {
  static override summary = 'Show the nodes of the cluster, as this node sees them.'
  static override description =
    `NODE is the machine, by probes that its kernel answers; AGENT the agent on it, by its heartbeats. VIPS counts the virtual IPs announced by ARP that it
holds, as far as this node knows (forwarders do). CONFIG is the
revision of the cluster document that it has in force; SYNC tells whether it knows the same of the cluster as this node. A role that
(drains) was taken from the node, which still carries it out for its running flows. The exit code is 3
when a node or an agent is dead.`
  static override examples = ['<%= config.bin %> nodes', '<%= config.bin %> nodes --watch']

  protected override path(): string {
    return '/v1/nodes'
  }

  protected override troubles(data: NodesData): string[] {
    return data.nodes.flatMap(n => {
      if (n.node === 'dead') return [`node ${n.name} (${n.address}) is dead`]
      return n.agent === 'dead' ? [`the agent of ${n.name} (${n.address}) is dead`] : []
    })
  }

  protected override remark(data: NodesData): string | undefined {
    const lines = data.nodes.flatMap(({ name, directives }) =>
      (directives ?? [])
        .filter(({ state }) => state !== 'active')
        .map(({ app, state }) => {
          const target = app === '*' ? name : `${name}/${app}`
          return `${target} is ${state} by order; shunt undrain ${target} ends it`
        }),
    )
    return lines.join('\n') || undefined
  }

  protected override render(data: NodesData): string {
    return table(
      [
        { head: 'NAME', cell: n => n.name },
        { head: 'ROLES', cell: n => rolesText(n) },
        { head: 'ADDRESS', cell: n => n.address },
        { head: 'NODE', cell: n => n.node, paint: paintState },
        { head: 'AGENT', cell: n => (n.draining ? 'draining' : n.agent), paint: paintState },
        { head: 'RTT', cell: n => duration(n.probeRttMs ?? n.agentRttMs), right: true },
        { head: 'VIPS', cell: n => vipsHeld(n), right: true },
        { head: 'CONFIG', cell: n => n.revision, right: true },
        { head: 'SYNC', cell: n => n.synced },
      ],
      data.nodes,
    )
  }
}
