/** Dropped packets of one or more nodes from look to look. Pure. */
import type { DropStatus } from '../control/types.ts'

export interface NodeDrops {
  node: string
  /** `null`: the node did not answer. */
  drops: readonly DropStatus[] | null
  /** Why not. */
  error?: string
}

export interface DropRow extends DropStatus {
  node: string
  /** Since the look before; `null` where there is none to compare with. */
  perSecond: number | null
}

export class DropRates {
  #atMs = 0
  #before = new Map<string, ReadonlyMap<string, number>>()

  /** Those that drop most now come first, then those that have dropped most. @param atMs monotonic */
  look(nodes: readonly NodeDrops[], atMs: number): DropRow[] {
    const seconds = (atMs - this.#atMs) / 1000
    const rows = nodes.flatMap(({ node, drops }) =>
      (drops ?? []).map(drop => ({ ...drop, node, perSecond: this.#rate(node, drop, seconds) })),
    )
    // A node that does not answer is compared with what it said last once it does: over a time that is not known.
    this.#before = new Map(
      nodes.flatMap(({ node, drops }) =>
        drops === null ? [] : [[node, new Map(drops.map(drop => [keyOf(drop), drop.count]))]],
      ),
    )
    this.#atMs = atMs
    return rows.sort(
      (a, b) =>
        (b.perSecond ?? 0) - (a.perSecond ?? 0) ||
        b.count - a.count ||
        a.number - b.number ||
        a.node.localeCompare(b.node),
    )
  }

  #rate(node: string, drop: DropStatus, seconds: number): number | null {
    const before = this.#before.get(node)
    if (before === undefined || seconds <= 0) return null
    // A reason that was not there has not dropped anything until then; a count that fell is a new agent's.
    const count = before.get(keyOf(drop)) ?? 0
    return drop.count < count ? null : Math.round(((drop.count - count) * 10) / seconds) / 10
  }
}

const keyOf = ({ number, where }: DropStatus): string => `${number} ${where}`
