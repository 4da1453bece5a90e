/** What is said of a host whose agent cannot be asked, and of how long it may still be sent connections. */
import type { CachedTable, HealthData, NodeRow } from '../../control/types.ts'
import { duration } from '../format.ts'
import type { AskNode } from './left.ts'

/** Nothing is gained by asking: the machine answers no probes, or its agent has ended. `null`: it may answer. */
export const deadText = ({ self, name, node, agent }: NodeRow): string | null => {
  if (self || agent !== 'dead') return null
  return node === 'dead' ? `the machine ${name} is dead` : `the agent of ${name} is dead`
}

const isUnit = ({ roles }: NodeRow): boolean => roles.includes('classifier') || roles.includes('forwarder')

/** The longest lease on its rows among all units that can be asked; `null`: none can, or one has no leases. */
export const leaseLeft = async (
  host: string,
  nodes: readonly NodeRow[],
  ask: AskNode,
): Promise<number | null> => {
  const units = nodes.filter(node => isUnit(node) && (node.self || node.agent === 'alive'))
  const answers = await Promise.all(units.map(unit => ask<HealthData>('/v1/health', unit).catch(() => null)))
  const known = answers.flatMap(answer => (answer as Partial<HealthData> | null)?.cache ?? [])
  const leases = known.filter((table: CachedTable) => table.host === host).map(({ leaseMs }) => leaseMs)
  if (leases.length === 0 || leases.includes(null)) return null
  return Math.max(...leases.map(Number))
}

export const leaseText = (host: string, leaseMs: number | null): string => {
  if (leaseMs === null)
    return `whether ${host} still gets new connections is not known; shunt hosts -o wide on a forwarder shows its lease`
  if (leaseMs === 0) return `${host} gets no new connections: its lease is over`
  return `${host} may get new connections for at most ${duration(leaseMs)} more, then its lease is over`
}
