/** Who holds which socket. Searching /proc is dear, so it is done only for sockets that are new, in slices. */
import { type SocketOwner, searchOwners } from '../../os/proc.ts'

/** Ms of searching in one turn of the event loop. */
const SLICE_MS = 10
/** Searching takes at most this part of the time. */
const SHARE = 1 / 20

export class OwnerBook {
  readonly #known = new Map<number, SocketOwner | null>()
  #search: Generator<void, Map<number, SocketOwner>> | null = null
  #wanted: ReadonlySet<number> = new Set()
  #spentMs = 0
  #notBeforeMs = 0

  owner(inode: number): SocketOwner | null {
    return this.#known.get(inode) ?? null
  }

  /** Forgets sockets that are gone, and what processes that have ended held: another may hold it too. */
  keep(inodes: ReadonlySet<number>, ended: readonly number[] = []): void {
    for (const [inode, owner] of this.#known)
      if (!inodes.has(inode) || (owner !== null && ended.includes(owner.pid))) this.#known.delete(inode)
  }

  /** Numbers of the processes that hold any. */
  pids(): Set<number> {
    return new Set([...this.#known.values()].flatMap(owner => owner?.pid ?? []))
  }

  /**
   * Searches a while for those of `inodes` that are new. `more`: call it again in the next turn; `found`: it has
   * ended, and owners may be known that were not. A socket that nobody was seen to hold is not searched for again.
   */
  search(inodes: ReadonlySet<number>, nowMs: number): { more: boolean; found: boolean } {
    if (this.#search === null) {
      this.#wanted = new Set([...inodes].filter(inode => inode !== 0 && !this.#known.has(inode)))
      if (this.#wanted.size === 0 || nowMs < this.#notBeforeMs) return { more: false, found: false }
      this.#search = searchOwners(this.#wanted)
      this.#spentMs = 0
    }
    const startedMs = performance.now()
    for (;;) {
      const step = this.#search.next()
      const tookMs = performance.now() - startedMs
      if (step.done === true) {
        this.#spentMs += tookMs
        this.#notBeforeMs = nowMs + this.#spentMs / SHARE
        for (const inode of this.#wanted) this.#known.set(inode, step.value.get(inode) ?? null)
        this.#search = null
        return { more: false, found: true }
      }
      if (tookMs >= SLICE_MS) {
        this.#spentMs += tookMs
        return { more: true, found: false }
      }
    }
  }
}
