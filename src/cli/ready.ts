/** Services that no host takes new connections for, or only hosts that are not well, in words. Pure. */
import type { EndpointRow, HealthData, VipStatus } from '../control/types.ts'
import { absentOf } from './absent.ts'

/** Of a service; an agent of an earlier version does not say. */
type Ready = Pick<VipStatus, 'service'> & Partial<Pick<VipStatus, 'ready' | 'fallback'>>

export const hasNone = ({ ready }: Ready): boolean => ready === 0

export const noneText = (service: string): string => `no host of ${service} takes new connections`

export const failOpenText = (service: string): string =>
  `only failing hosts are left of ${service}; they are used all the same`

export const allOverloadedText = (service: string): string =>
  `only overloaded hosts are left of ${service}; they are used all the same, by capacity alone`

const whyNot = (row: EndpointRow, leaseMs: number | null): string => {
  if (leaseMs === 0) return 'out of touch'
  if (row.cause === 'order') return `${row.target} by order, shunt undrain ends it`
  if (row.cause === 'stopping') return 'its agent stops'
  if (row.health === 'failing') return 'failing'
  return row.capacity === 0 ? 'capacity 0' : 'not taken up yet'
}

/** More hosts than this are counted, not named. */
const NAMED = 4

export const namesText = (names: readonly string[]): string =>
  names.length <= NAMED + 1
    ? names.join(', ')
    : `${names.slice(0, NAMED).join(', ')} and ${names.length - NAMED} more`

/** `h1, h2: failing; h3: nothing listens`; '' when no host of the service is known here. */
export const whyNone = (health: HealthData | null, service: string): string => {
  const reasons = [
    ...(health?.cache ?? []).flatMap(({ host, leaseMs, rows }) =>
      rows.filter(row => row.service === service).map(row => ({ host, why: whyNot(row, leaseMs) })),
    ),
    ...absentOf(health)
      .filter(row => row.service === service)
      .map(({ host, order }) => ({
        host,
        why: `nothing listens${order === null ? '' : `, and it is ${order}`}`,
      })),
  ]
  return [...Map.groupBy(reasons, ({ why }) => why)]
    .map(([why, hosts]) => `${namesText(hosts.map(({ host }) => host))}: ${why}`)
    .join('; ')
}
