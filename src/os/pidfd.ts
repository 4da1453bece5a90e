/** Ends of processes that are not children (pidfd_open(2), Linux 5.3). */
import { dlopen } from 'node:ffi'
import { closeFd, errno, errnoSymbol } from './ffi.ts'
import { Poller } from './poller.ts'

// glibc has a function for it since 2.36 only. The number is the same on every architecture.
const { syscall } = dlopen(null, {
  syscall: { return: 'int64', arguments: ['int64', 'int64', 'int64'] },
}).functions
const PIDFD_OPEN = 434n

/** Each takes a descriptor; of more processes the end is noticed by other means. */
const MAX_WATCHED = 512

/**
 * Watches processes for their ends. Asking is one system call that does not block, so that an event loop may ask many times
 * a second: Node cannot wait for such a descriptor, and a thread that could takes megabytes.
 */
export class ProcessEnds {
  readonly #fds = new Map<number, number>()
  #ended: number[] = []
  #poller: Poller | null = null

  /** Watches exactly these from now on. One that has ended already is told by the next `sweep`. */
  watch(pids: ReadonlySet<number>): void {
    for (const pid of [...this.#fds.keys()]) if (!pids.has(pid)) this.#forget(pid)
    for (const pid of pids) if (!this.#fds.has(pid)) this.#add(pid)
  }

  get size(): number {
    return this.#fds.size
  }

  /** Those that have ended since the last call; each is told once and then no longer watched. */
  sweep(): number[] {
    const pids = [...this.#fds.keys()]
    if (this.#poller === null && pids.length > 0) {
      this.#poller = new Poller(pids.length)
      for (const pid of pids) this.#poller.add(this.#fds.get(pid)!)
    }
    const poller = this.#poller
    if (poller !== null && poller.wait(0) > 0)
      this.#ended.push(...pids.filter((_, index) => poller.ready(index)))
    const ended = this.#ended
    this.#ended = []
    for (const pid of ended) this.#forget(pid)
    return ended
  }

  close(): void {
    for (const pid of [...this.#fds.keys()]) this.#forget(pid)
    this.#ended = []
  }

  #add(pid: number): void {
    if (this.#fds.size >= MAX_WATCHED) return
    const fd = Number(syscall(PIDFD_OPEN, BigInt(pid), 0n))
    if (fd >= 0) {
      this.#fds.set(pid, fd)
      this.#poller = null
    } else if (errnoSymbol(errno()) === 'ESRCH' && !this.#ended.includes(pid)) this.#ended.push(pid)
    // Else there is no descriptor left, or no such call: the end is noticed by other means.
  }

  #forget(pid: number): void {
    const fd = this.#fds.get(pid)
    if (fd === undefined) return
    this.#fds.delete(pid)
    this.#poller = null
    closeFd(fd)
  }
}
