/** Which forwarder should hold which VIP: the same everywhere where the same is known. Pure. */
import { hash } from 'node:crypto'

/** By name: how many VIPs it holds, and its weight. */
export interface Place {
  readonly name: string
  readonly weight: number
}

/** Numbers of VIPs and names that are kept: all shares are reckoned anew whenever a claim has come. */
const MOST_KNOWN = 65_536
const known = new Map<string, number>()

/** The same everywhere, as if drawn at random. */
const luck = (vip: string, name: string): number => {
  const text = `${vip} ${name}`
  const before = known.get(text)
  if (before !== undefined) return before
  if (known.size >= MOST_KNOWN) known.clear()
  const luck = -Math.log((hash('sha256', text, 'buffer').readUInt32BE(0) + 0.5) / 2 ** 32)
  known.set(text, luck)
  return luck
}

/**
 * Weighted rendezvous (Thaler and Ravishankar 1998; weights by -ln(u)/w): the smaller the better. It decides between forwarders of which
 * each would be as well served, so that nobody has to be asked, and a VIP comes back to the same one.
 */
export const reluctance = (vip: string, name: string, weight: number): number => luck(vip, name) / weight

/** VIPs in the order in which they are given out. */
export const inOrder = (vips: Iterable<string>): string[] => [...vips].sort()

const compare = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0)

/**
 * The forwarders in the order in which they should take this VIP: first those that are furthest below their share (of d'Hondt's quotients,
 * (held + 1) / weight, the smallest), then by rendezvous. One of weight 0 comes last.
 * @param held how many each holds now
 */
export const takers = (vip: string, places: readonly Place[], held: ReadonlyMap<string, number>): string[] =>
  places
    .map(({ name, weight }) => ({
      name,
      quotient: quotient({ name, weight }, held, 1),
      reluctance: reluctance(vip, name, weight === 0 ? 1 : weight),
    }))
    .sort(
      (a, b) =>
        compare(a.quotient, b.quotient) ||
        compare(a.reluctance, b.reluctance) ||
        compare(a.name < b.name ? 0 : 1, a.name < b.name ? 1 : 0),
    )
    .map(({ name }) => name)

/**
 * Which VIPs go where so that shares fit the weights: no more than that takes. One moves only where the taker is then still below what the
 * giver had, so with as many VIPs as before nothing is left to move afterwards.
 * @param holders of the VIPs that may be moved
 * @returns new holder by VIP
 */
export const evenOut = (
  holders: ReadonlyMap<string, string>,
  places: readonly Place[],
): Map<string, string> => {
  const now = new Map(holders)
  const held = countOf(now.values())
  const moves = new Map<string, string>()
  const nearest = new Map<string, readonly Move[]>()
  for (let left = holders.size; left > 0; left--) {
    const from = fullest(places, held)
    const least = Math.min(...places.map(place => quotient(place, held, 1)))
    if (from === undefined || least >= quotient(from, held, 0)) break
    let best: Move | undefined
    for (const place of places) {
      if (quotient(place, held, 1) > least) continue
      const all = nearest.get(place.name) ?? movesTo(place, now.keys())
      nearest.set(place.name, all)
      const first = all.find(({ vip }) => now.get(vip) === from.name)
      if (first !== undefined && (best === undefined || compareMoves(first, best) < 0)) best = first
    }
    if (best === undefined) break
    const { vip, to } = best
    now.set(vip, to)
    held.set(from.name, held.get(from.name)! - 1)
    held.set(to, (held.get(to) ?? 0) + 1)
    moves.set(vip, to)
  }
  return moves
}

interface Move {
  readonly vip: string
  readonly to: string
  readonly reluctance: number
}

const quotient = ({ name, weight }: Place, held: ReadonlyMap<string, number>, more: 0 | 1): number =>
  ((held.get(name) ?? 0) + more) / weight

/** The one furthest above its share. */
const fullest = (places: readonly Place[], held: ReadonlyMap<string, number>): Place | undefined =>
  places
    .filter(({ name }) => (held.get(name) ?? 0) > 0)
    .sort((a, b) => compare(quotient(b, held, 0), quotient(a, held, 0)) || (a.name < b.name ? -1 : 1))[0]

/** What could come to a place, what it is least reluctant to take first. */
const movesTo = ({ name, weight }: Place, vips: Iterable<string>): Move[] =>
  [...vips].map(vip => ({ vip, to: name, reluctance: reluctance(vip, name, weight || 1) })).sort(compareMoves)

const compareMoves = (a: Move, b: Move): number =>
  compare(a.reluctance, b.reluctance) || (a.vip === b.vip ? (a.to < b.to ? -1 : 1) : a.vip < b.vip ? -1 : 1)

export const countOf = (names: Iterable<string>): Map<string, number> => {
  const count = new Map<string, number>()
  for (const name of names) count.set(name, (count.get(name) ?? 0) + 1)
  return count
}
