import { check, closeFd, EAGAIN, errno, libc, pinned, pointerOf } from './ffi.ts'

const EFD_CLOEXEC_NONBLOCK = 0x80800

/**
 * A wake-up that poll(2) can wait for. One thread opens it and hands the number `fd` to another, which
 * attaches; signals that come before a drain are merged into one.
 */
export class EventFd {
  readonly fd: number
  readonly #owned: boolean
  readonly #value = pinned(8)
  readonly #pointer = pointerOf(this.#value)

  private constructor(fd: number, owned: boolean) {
    this.fd = fd
    this.#owned = owned
  }

  static open(): EventFd {
    return new EventFd(check('eventfd', libc.eventfd(0, EFD_CLOEXEC_NONBLOCK)), true)
  }

  /** The same event from another thread of this process; the opener stays the owner of the descriptor. */
  static attach(fd: number): EventFd {
    return new EventFd(fd, false)
  }

  signal(): void {
    this.#value.writeBigUInt64LE(1n, 0)
    const rc = libc.write(this.fd, this.#pointer, 8n)
    if (rc < 0 && errno() !== EAGAIN) check('write(eventfd)', rc) // EAGAIN: signalled 2^64 times already
  }

  /** Takes all signals so far; harmless when there are none. */
  drain(): void {
    const rc = libc.read(this.fd, this.#pointer, 8n)
    if (rc < 0 && errno() !== EAGAIN) check('read(eventfd)', rc)
  }

  /** Closes the descriptor if this is the owner. */
  close(): void {
    if (this.#owned) closeFd(this.fd)
  }
}
