/** Why a first packet of a flow would go to a host, and to none of the others (`shunt trace`). Pure; nothing is used up by asking. */
import type { DirectiveState } from '../../health/types.ts'
import type { DirectoryIndex, ServiceEntry } from '../dataplane/directory.ts'
import type { Deal } from './deal.ts'

/** Why a host gets no new connection. */
export type LeftOut = 'dead' | 'leaving' | 'draining' | 'inactive' | 'lease over' | 'no share' | 'no tokens'

export interface Candidate {
  /** Index. */
  readonly host: number
  /** Percent of the new connections; 0: it is in no share. */
  readonly percent: number
  /** Left to give; null where the service has none. */
  readonly tokens: number | null
  /** Milliseconds that its lease still holds (Infinity: without an end); null before there are leases. */
  readonly leaseMs: number | null
  readonly leftOut: readonly LeftOut[]
}

export interface Explanation {
  /**
   * `affinity`: the client has a session there; `capacity`: nothing is known of health and load yet; `nothing`: nothing was allotted; `stale`: no allotment is valid, so its shares go
   * on by hash; else the scheme of the service.
   */
  readonly by: 'affinity' | 'capacity' | 'nothing' | 'stale' | 'hash' | 'percentages' | 'tokens'
  /** Index of a host; 0: none may take it. */
  readonly chosen: number
  readonly candidates: readonly Candidate[]
}

/** What the chooser knows of a host, by its index. */
export interface ChoiceFacts {
  readonly shareOf: (host: number) => number
  readonly tokensOf: (host: number) => number | null
  readonly leaseMsOf: (host: number) => number | null
  readonly stateOf: (host: number) => DirectiveState | null
}

/** Every host of the service, in the order of the configuration. */
export const candidatesOf = (
  service: ServiceEntry,
  directory: DirectoryIndex,
  facts: ChoiceFacts,
): Candidate[] =>
  service.hosts.flatMap(({ index }) => {
    const host = directory.host(index)
    if (host === undefined) return []
    const percent = facts.shareOf(index)
    const tokens = facts.tokensOf(index)
    const leaseMs = facts.leaseMsOf(index)
    const state = facts.stateOf(index)
    const leftOut: LeftOut[] = []
    if (!host.live) leftOut.push('dead')
    if (host.leaving) leftOut.push('leaving')
    else if (host.draining || state === 'draining') leftOut.push('draining')
    if (state === 'inactive') leftOut.push('inactive')
    if (leaseMs !== null && leaseMs <= 0) leftOut.push('lease over')
    if (percent === 0) leftOut.push('no share')
    else if (tokens === 0) leftOut.push('no tokens')
    // The last resort: no host is better off, so this one's share counts in spite of its directive.
    const used = percent > 0 && host.live && !host.draining && (leaseMs === null || leaseMs > 0)
    return [
      {
        host: index,
        percent,
        tokens,
        leaseMs,
        leftOut: used ? leftOut.filter(why => why === 'no tokens') : leftOut,
      },
    ]
  })

/** Percent of the new connections, by what was allotted or, before, by configured capacity. */
export const shareOf = (
  isBefore: boolean,
  deal: Deal | undefined,
  service: ServiceEntry,
  host: number,
): number => {
  if (!isBefore) return 100 * (deal?.weights[deal.hosts.indexOf(host)] ?? 0)
  const sum = service.hosts.reduce((all, { capacity }) => all + capacity, 0)
  const own = service.hosts.find(({ index }) => index === host)?.capacity ?? 0
  return sum === 0 ? 0 : (100 * own) / sum
}

export const tokensOf = (deal: Deal | undefined, host: number): number | null =>
  deal?.scheme === 'tokens' ? (deal.tokens[deal.hosts.indexOf(host)] ?? 0) : null
