import { EAGAIN, EBADF, EINTR, errno, fail, libc } from './ffi.ts'
import { MessageVector } from './message-vector.ts'

/** Takes datagrams from a socket that never blocks, many with one recvmmsg(2); the counterpart of SendBatch. */
export class ReceiveBatch {
  readonly #fd: number
  /** What was taken last; only valid while it is delivered. */
  readonly vector: MessageVector
  /** Errors of receiving, by errno. */
  readonly errors = new Map<number, number>()

  constructor(fd: number, count: number, slotSize: number) {
    this.#fd = fd
    this.vector = new MessageVector(count, slotSize)
  }

  /**
   * Calls `deliver` with the slot of each of up to `max` waiting messages; answers how many were taken. Throws OsError when
   * the socket is closed; other errors are counted.
   */
  receive(max: number, deliver: (index: number) => void): number {
    const { vector } = this
    let taken = 0
    while (taken < max) {
      const wanted = Math.min(max - taken, vector.count)
      const count = libc.recvmmsg(this.#fd, vector.pointer(0), wanted, 0, null)
      if (count < 0) {
        this.#noteError(errno())
        break
      }
      for (let index = 0; index < count; index++) deliver(index)
      taken += count
      if (count < wanted) break
    }
    return taken
  }

  #noteError(number: number): void {
    if (number === EAGAIN || number === EINTR) return
    if (number === EBADF) fail('recvmmsg', number)
    this.errors.set(number, (this.errors.get(number) ?? 0) + 1)
  }
}
