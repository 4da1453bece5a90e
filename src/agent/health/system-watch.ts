/** Watches what waits for clients on this host, and samples what it all uses (R-B2, R-F4): timers around the parts beside. */
import { errorText } from '../../errors.ts'
import { nodeCgroup } from '../../os/cgroup.ts'
import { ProcessEnds } from '../../os/pidfd.ts'
import { type Found, type Listener, ListenerLook } from './listener-look.ts'
import { OwnerBook } from './owner-book.ts'
import { type SystemSample, SystemSampler } from './system-sample.ts'

export type { Listener } from './listener-look.ts'
export type { SystemSample } from './system-sample.ts'

export interface SystemWatchOptions {
  /** All sockets that wait for clients, each time that they or what is known of their owners changed. */
  onListeners(sockets: readonly Listener[]): void
  /** The kernel could not be asked; it is asked again. Told once until it works again. */
  onTrouble?(text: string): void
  /** Ports of services: UDP sockets at the ports of clients count only if they are among these. */
  ports?(): ReadonlySet<number>
  /** A new socket is seen within this time. */
  pollMs?: number
  /** The end of a process that holds one is seen within this time. */
  endsMs?: number
  /** A container's new network namespace is seen within this time. */
  namespacesMs?: number
  /** As for `nodeCgroup`. */
  cgroup?: string | 'own' | null
  /** That group cannot be read: the whole machine stands for the node. */
  onNoCgroup?(): void
}

const NONE: ReadonlySet<number> = new Set()

export class SystemWatch {
  readonly #options: SystemWatchOptions
  readonly #look: ListenerLook
  readonly #owners = new OwnerBook()
  readonly #ends = new ProcessEnds()
  readonly #sampler: SystemSampler
  #sockets: readonly Found[] = []
  #timers: NodeJS.Timeout[] = []
  #next: NodeJS.Immediate | undefined
  #troubled = false

  constructor(options: SystemWatchOptions) {
    this.#options = options
    this.#look = new ListenerLook(options.ports ?? (() => NONE), options.namespacesMs ?? 1000)
    const asked = options.cgroup ?? null
    const cgroup = nodeCgroup(asked)
    if (asked !== null && cgroup === null) options.onNoCgroup?.()
    this.#sampler = new SystemSampler(cgroup)
  }

  /** Looks for the first time, at once, and then again and again. */
  start(): void {
    if (this.#timers.length > 0) return
    const { pollMs = 400, endsMs = 50 } = this.#options
    this.#timers = [setInterval(() => this.#poll([]), pollMs), setInterval(() => this.#sweep(), endsMs)]
    this.#poll([])
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer)
    clearImmediate(this.#next)
    this.#ends.close()
    this.#sampler.close()
  }

  /** What is known now. */
  listeners(): Listener[] {
    return this.#sockets.map(socket => ({ ...socket, owner: this.#owners.owner(socket.inode) }))
  }

  /** A process of a listener's namespace; null for the host's own, undefined: it has ended. */
  processIn(namespace: string | null): number | null | undefined {
    return this.#look.processIn(namespace)
  }

  /** Reads all counters; rates are since the call before. `nowMs`: monotonic. */
  sample(nowMs: number): SystemSample {
    return this.#sampler.sample(this.listeners(), namespace => this.processIn(namespace), nowMs)
  }

  #sweep(): void {
    const ended = this.#ends.sweep()
    if (ended.length > 0) this.#poll(ended)
  }

  #poll(ended: readonly number[]): void {
    const nowMs = performance.now()
    try {
      const { changed, sockets } = this.#look.look(nowMs)
      this.#sockets = sockets // also unchanged: queues move
      if (changed || ended.length > 0) this.#owners.keep(this.#inodes(), ended)
      this.#findOwners(changed)
      this.#troubled = false
    } catch (error) {
      if (!this.#troubled) this.#options.onTrouble?.(errorText(error))
      this.#troubled = true
    }
  }

  #inodes(): Set<number> {
    return new Set(this.#sockets.map(socket => socket.inode))
  }

  /** Tells a change of sockets at once, even while owners are still searched for: rows do not need them. */
  #findOwners(changed: boolean): void {
    const { more, found } = this.#owners.search(this.#inodes(), performance.now())
    clearImmediate(this.#next)
    if (more) this.#next = setImmediate(() => this.#findOwners(false))
    if (!changed && !found) return
    this.#ends.watch(this.#owners.pids())
    this.#options.onListeners(this.listeners())
  }
}
