/** Things to come in virtual time, the earliest first: a binary heap, for events of a long run are many. */

export interface Planned {
  readonly atMs: number
  /** Ties are settled by order of planning, so that a run replays. */
  readonly order: number
  run: () => void
}

const before = (a: Planned, b: Planned): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

export class Agenda {
  readonly #heap: Planned[] = []
  #planned = 0

  /** What comes at the same time comes in the order of these calls. */
  plan(atMs: number, run: () => void): Planned {
    const heap = this.#heap
    const item = { atMs, order: this.#planned++, run }
    let at = heap.push(item) - 1
    for (let up = (at - 1) >> 1; at > 0 && before(item, heap[up]!); up = (at - 1) >> 1) {
      heap[at] = heap[up]!
      at = up
    }
    heap[at] = item
    return item
  }

  /** The next one, if it comes by `untilMs`: it is on the agenda no longer. */
  take(untilMs: number): Planned | undefined {
    const heap = this.#heap
    const top = heap[0]
    if (top === undefined || top.atMs > untilMs) return undefined
    const last = heap.pop()!
    const { length } = heap
    if (length === 0) return top
    let at = 0
    for (let down = 1; down < length; down = 2 * at + 1) {
      if (down + 1 < length && before(heap[down + 1]!, heap[down]!)) down++
      if (!before(heap[down]!, last)) break
      heap[at] = heap[down]!
      at = down
    }
    heap[at] = last
    return top
  }
}
