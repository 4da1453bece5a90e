/** Endpoints that no application serves, in words. An agent of an earlier version tells none. Pure. */
import type { AbsentRow, HealthData } from '../control/types.ts'

type Absences = Partial<Pick<HealthData, 'absent'>> | null

export const absentOf = (health: Absences): readonly AbsentRow[] => health?.absent ?? []

/** Those that should be there: not where the operator wants nothing new anyway. */
export const missedOf = (health: Absences): AbsentRow[] =>
  absentOf(health).filter(({ order, capacity }) => order === null && capacity > 0)

/** What nobody misses there, since the operator wants nothing new to it; the order is in force all the same. */
export const orderedAbsentOf = (health: Absences): AbsentRow[] =>
  absentOf(health).filter(({ order }) => order !== null)

export const orderedAbsentText = ({ host, service, order }: AbsentRow): string =>
  `nothing listens for ${service} on ${host}, which is ${order} by order`

export const missedText = ({ host, service }: AbsentRow): string =>
  `nothing listens for ${service} on ${host}`

export const missedRemedy = ({ host, vip, protocol }: AbsentRow): string =>
  `start its application there, at ${protocol} ${vip} or any address (shunt apps --node ${host} shows what listens)`
