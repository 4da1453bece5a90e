/** Which forwarder should hold which VIP: the same everywhere where the same is known. Pure. */
import { hash } from 'node:crypto'

/** By name: how many VIPs it holds, and its weight. */
export interface Place {
  readonly name: string
  readonly weight: number
}

/**
 * Weighted rendezvous (Thaler and Ravishankar 1998; weights by -ln(u)/w): the smaller the better. It decides between forwarders of which
 * each would be as well served, so that nobody has to be asked, and a VIP comes back to the same one.
 */
export const reluctance = (vip: string, name: string, weight: number): number => {
  const bytes = hash('sha256', `${vip} ${name}`, 'buffer')
  return -Math.log((bytes.readUInt32BE(0) + 0.5) / 2 ** 32) / weight
}

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
      quotient: ((held.get(name) ?? 0) + 1) / weight,
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
  const weights = new Map(places.map(({ name, weight }) => [name, weight]))
  const moves = new Map<string, string>()
  for (let left = holders.size; left > 0; left--) {
    const from = places
      .filter(({ name }) => (held.get(name) ?? 0) > 0)
      .map(({ name, weight }) => ({ name, quotient: held.get(name)! / weight }))
      .sort((a, b) => compare(b.quotient, a.quotient) || (a.name < b.name ? -1 : 1))[0]
    if (from === undefined) break
    const best = inOrder(now.keys())
      .filter(vip => now.get(vip) === from.name)
      .map(vip => ({ vip, to: takers(vip, places, held)[0]! }))
      .filter(({ to }) => to !== from.name)
      .map(move => ({ ...move, reluctance: reluctance(move.vip, move.to, weights.get(move.to) || 1) }))
      .sort((a, b) => compare(a.reluctance, b.reluctance) || (a.vip < b.vip ? -1 : 1))[0]
    if (best === undefined) break
    const { vip, to } = best
    if (((held.get(to) ?? 0) + 1) / weights.get(to)! >= from.quotient) break
    now.set(vip, to)
    held.set(from.name, held.get(from.name)! - 1)
    held.set(to, (held.get(to) ?? 0) + 1)
    moves.set(vip, to)
  }
  return moves
}

export const countOf = (names: Iterable<string>): Map<string, number> => {
  const count = new Map<string, number>()
  for (const name of names) count.set(name, (count.get(name) ?? 0) + 1)
  return count
}
