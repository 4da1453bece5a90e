/** Network namespaces of containers, and what waits for clients there. */
import { OsError } from '../../errors.ts'
import { type ListeningSocket, listListening } from '../../os/netlink/sock-diag.ts'
import { networkNamespaceOf, networkNamespaces } from '../../os/proc.ts'
import { listListeningOf, localAddressesOf } from '../../os/proc-net.ts'

/** Ms of one look that may be spent where every namespace costs milliseconds; the stalest come first. */
const DEAR_MS = 20

interface Container {
  readonly id: string
  pid: number
  path: string
  local: readonly string[]
  sockets: readonly ListeningSocket[]
  readAtMs: number
}

export interface ContainerOptions {
  /** Asks a namespace for its sockets; OsError EPERM where entering it is not allowed. */
  enter?: (path: string) => ListeningSocket[]
}

export class Containers {
  readonly #everyMs: number
  readonly #enter: (path: string) => ListeningSocket[]
  readonly #all = new Map<string, Container>()
  #foundAtMs = Number.NEGATIVE_INFINITY
  #mayEnter = true

  /** `everyMs`: how often namespaces are looked for. */
  constructor(everyMs: number, { enter = listListening }: ContainerOptions = {}) {
    this.#everyMs = everyMs
    this.#enter = enter
  }

  /** Looks for namespaces if it is time. True: addresses of one are others than before. */
  find(nowMs: number): boolean {
    if (nowMs - this.#foundAtMs < this.#everyMs) return false
    this.#foundAtMs = nowMs
    const found = networkNamespaces()
    const ids = new Set(found.map(({ id }) => id))
    for (const id of this.#all.keys()) if (!ids.has(id)) this.#all.delete(id)
    let moved = false
    for (const { id, path, pid } of found) {
      const local = localAddressesOf(pid)
      const known = this.#all.get(id)
      if (known === undefined) {
        this.#all.set(id, { id, pid, path, local, sockets: [], readAtMs: Number.NEGATIVE_INFINITY })
        continue
      }
      moved ||= known.local.join() !== local.join()
      Object.assign(known, { pid, path, local })
    }
    return moved
  }

  processIn(id: string): number | undefined {
    return this.#all.get(id)?.pid
  }

  /** Every namespace with its sockets: as they are now, or where that is dear as they were lately. */
  list(nowMs: number): Iterable<Readonly<Container>> {
    if (this.#mayEnter) for (const container of this.#all.values()) this.#read(container)
    if (!this.#mayEnter) this.#readStalest(nowMs)
    return this.#all.values()
  }

  #readStalest(nowMs: number): void {
    const startedMs = performance.now()
    const stalest = [...this.#all.values()].sort((a, b) => a.readAtMs - b.readAtMs)
    for (const container of stalest) {
      if (performance.now() - startedMs > DEAR_MS) return
      const before = container.sockets
      this.#read(container)
      // A table may leave out a socket while others come and go; the caller's second look may not come here again.
      if (container.sockets.length < before.length) this.#read(container)
      container.readAtMs = nowMs
    }
  }

  #read(container: Container): void {
    if (networkNamespaceOf(container.pid) !== container.id && !this.#askAnother(container))
      container.sockets = []
    else if (this.#mayEnter) this.#readInside(container)
    else container.sockets = listListeningOf(container.pid)
  }

  /** Without CAP_SYS_ADMIN no namespace can be entered. What else fails, such as a process that just ended, passes. */
  #readInside(container: Container): void {
    try {
      container.sockets = this.#enter(container.path)
    } catch (error) {
      if (!(error instanceof OsError)) throw error
      if (error.symbol === 'EPERM') this.#mayEnter = false
    }
  }

  /** The process that stood for it has ended, and its number may be another's; the namespace may live on. */
  #askAnother(container: Container): boolean {
    const other = networkNamespaces().find(({ id }) => id === container.id)
    if (other !== undefined) Object.assign(container, { pid: other.pid, path: other.path })
    return other !== undefined
  }
}
