import { ShuntError } from '../errors.ts'
import { check, EINTR, errno, libc, pinned, pointerOf } from './ffi.ts'

const POLLIN = 0x001
const POLLNVAL = 0x020
const POLLFD_BYTES = 8 // struct pollfd { int fd; short events; short revents; }

/**
 * Waits for any of a few descriptors to be readable, by poll(2), without allocating. Blocks its thread:
 * meant for a worker that does nothing else.
 */
export class Poller {
  readonly #fds: Buffer
  readonly #pointer: bigint
  readonly #capacity: number
  #used = 0n
  #anyReady = false

  constructor(capacity = 16) {
    this.#capacity = capacity
    this.#fds = pinned(capacity * POLLFD_BYTES)
    this.#pointer = pointerOf(this.#fds)
  }

  /** Watches `fd` for reading; answers the index to ask `ready` with. Throws RangeError beyond the capacity. */
  add(fd: number): number {
    const index = Number(this.#used)
    if (index >= this.#capacity) throw new RangeError(`a Poller of ${this.#capacity} descriptors is full`)
    this.#fds.writeInt32LE(fd, index * POLLFD_BYTES)
    this.#fds.writeInt16LE(POLLIN, index * POLLFD_BYTES + 4)
    this.#used += 1n
    return index
  }

  /** Blocks up to `timeoutMs` (rounded up; negative: for ever). Answers how many are ready; 0 also for EINTR. */
  wait(timeoutMs: number): number {
    const count = libc.poll(this.#pointer, this.#used, Math.ceil(timeoutMs))
    this.#anyReady = count > 0 // after EINTR the kernel leaves the old revents in place
    if (count < 0 && errno() !== EINTR) check('poll', count)
    return Math.max(count, 0)
  }

  /**
   * Whether the last `wait` found `index` readable. An error on the socket counts as readable too: its
   * `receive` is what clears it. Throws if the descriptor was closed, which would otherwise spin.
   */
  ready(index: number): boolean {
    if (!this.#anyReady) return false
    const at = index * POLLFD_BYTES
    const events = this.#fds.readInt16LE(at + 6)
    if ((events & POLLNVAL) !== 0) {
      const fd = this.#fds.readInt32LE(at)
      throw new ShuntError('SHUNT_ERR_OS', `poll: descriptor ${fd} was closed while still being watched`)
    }
    return events !== 0
  }
}

/** Stops this thread for some microseconds (the kernel adds its timer slack, about 50). */
export const sleepUs = (microseconds: number): void => {
  libc.usleep(microseconds)
}
