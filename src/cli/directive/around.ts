/** What is asked before an order is given. */
import type { HealthData, HostsData, NodeRow } from '../../control/types.ts'
import type { DirectiveState } from '../../health/types.ts'
import { confirm, dataOf } from '../operator.ts'
import type { DirectiveFlags } from './flags.ts'
import { lastActiveOf } from './last-active.ts'
import type { Target } from './target.ts'

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
  await confirm(
    `${target.node} is the last host that gets new connections of ${last.join(', ')}. ${become}?`,
    flags,
  )
}
