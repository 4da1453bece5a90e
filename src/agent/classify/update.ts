/** Allotments as they cross from the health and load handler to the data plane: by the small indexes of its directory. Pure. */
import type { Allotment } from '../../health/allotment/handler.ts'
import type { DirectiveState } from '../../health/types.ts'
import type { Directory } from '../dataplane/directory.ts'

export interface ServiceAllotment {
  /** ServiceEntry.index. */
  readonly index: number
  readonly allotment: Pick<Allotment, 'number' | 'scheme' | 'strategy' | 'untilMs' | 'panic'> & {
    readonly shares: readonly { readonly host: number; readonly weight: number; readonly tokens: number }[]
  }
  readonly states: readonly {
    readonly host: number
    readonly state: DirectiveState
    readonly weight: number
    /** Left out: it is not. */
    readonly full?: true
  }[]
}

export interface HostLease {
  readonly host: number
  /** Monotonic ms (performance.now(), the same in all threads of a process). */
  readonly untilMs: number
}

export interface AllotmentUpdate {
  readonly services: readonly ServiceAllotment[]
  readonly leases: readonly HostLease[]
  /** A service that is not among these has no host for anything new; else it stays as it is. */
  readonly complete: boolean
}

/** Of two hosts of one name (it has moved to another address) the one that stays. */
const hostIndexes = (directory: Directory): Map<string, number> => {
  const hosts = [...directory.hosts].sort((a, b) => Number(b.leaving) - Number(a.leaving))
  return new Map(hosts.map(({ name, index }) => [name, index]))
}

/** `untilMs` by host name. Hosts that the directory does not know are left out. */
export const leasesOf = (directory: Directory, untilMs: ReadonlyMap<string, number>): HostLease[] => {
  const indexes = hostIndexes(directory)
  return [...untilMs].flatMap(([name, untilMs]) => {
    const host = indexes.get(name)
    return host === undefined ? [] : [{ host, untilMs }]
  })
}

/** Allotments by service name. Of a service only its configured hosts count, whatever others say of themselves. */
export const allotmentUpdate = (
  directory: Directory,
  allotments: ReadonlyMap<string, Allotment>,
  complete: boolean,
): AllotmentUpdate => {
  const indexes = hostIndexes(directory)
  const leases = new Map<number, number>()
  const services: ServiceAllotment[] = []
  for (const service of directory.services) {
    const given = allotments.get(service.name)
    if (given === undefined) continue
    const { number, scheme, strategy, untilMs, panic } = given
    const members = new Set(service.hosts.map(({ index }) => index))
    const memberOf = (name: string): number | undefined => {
      const index = indexes.get(name)
      return index !== undefined && members.has(index) ? index : undefined
    }
    const shares = given.shares.flatMap(({ host: name, weight, tokens, leaseUntilMs }) => {
      const host = memberOf(name)
      if (host === undefined) return []
      leases.set(host, leaseUntilMs)
      return [{ host, weight, tokens }]
    })
    const states = given.states.flatMap(({ host: name, state, weight, full }) => {
      const host = memberOf(name)
      return host === undefined ? [] : [{ host, state, weight, ...(full === true ? { full } : {}) }]
    })
    services.push({
      index: service.index,
      allotment: { number, scheme, strategy, untilMs, panic, shares },
      states,
    })
  }
  return { services, leases: [...leases].map(([host, untilMs]) => ({ host, untilMs })), complete }
}
