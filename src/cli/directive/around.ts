/** What is asked before an order is given, and what is counted after it. */
import type { HealthData, HostsData, NodeRow } from '../../control/types.ts'
import type { DirectiveState } from '../../health/types.ts'
import { count } from '../format.ts'
import { confirm, dataOf } from '../operator.ts'
import type { DirectiveFlags } from './flags.ts'
import { lastActiveOf } from './last-active.ts'
import { ALL, type Target } from './target.ts'

/** @throws ShuntError SHUNT_ERR_GUARD without a yes */
export const askAboutLast = async (
  target: Target,
  state: DirectiveState,
  flags: DirectiveFlags,
  nodes: readonly NodeRow[],
  { hosts }: HostsData,
): Promise<void> => {
  const { cache } = await dataOf<HealthData>(flags.socket, '/v1/health')
  const last = lastActiveOf(target, { hosts, nodes, cache })
  if (last.length === 0) return
  const become = state === 'inactive' ? 'Make it inactive' : 'Drain it'
  await confirm(`${target.node} is the last active host of ${last.join(', ')}. ${become}?`, flags)
}

/** Connections to the host that are left, as far as this node can tell without asking others. */
export const leftText = async (
  target: Target,
  socket: string,
  self: NodeRow | undefined,
): Promise<string> => {
  if (target.app !== ALL || self?.roles.includes('forwarder') !== true) return ''
  const { hosts } = await dataOf<HostsData>(socket, '/v1/hosts')
  const flows = hosts.find(host => host.name === target.node)?.flows
  return flows === undefined ? '' : `, ${count(flows, 'connection')} through ${self.name} left`
}
