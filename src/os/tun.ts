import { check, closeFd, errno, libc, pinned, pointerOf } from './ffi.ts'
import { VNET_HEADER_BYTES } from './vnet.ts'

const O_RDWR_NONBLOCK_CLOEXEC = 0x80802
const TUNSETIFF = 0x400454can
const IFF_TUN = 0x0001
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000
const NAME_BYTES = 16

/**
 * A TUN device to inject packets with: what is written arrives as if received on this interface. The write is
 * synchronous, and each packet has a virtio_net_hdr, so merged segments and unfinished checksums stay as they
 * are. The device lives as long as the descriptor and must be up (`setLinkUp`) before a write succeeds.
 */
export class Tun {
  readonly fd: number
  readonly name: string
  /** Interface index, in the namespace the device was made in. */
  readonly index: number
  /** Refused packets by errno. */
  readonly errors = new Map<number, number>()
  readonly #vectors = new Uint32Array(new ArrayBuffer(32)) // two of struct iovec { void *base; size_t length; }
  readonly #vectorsPointer = pointerOf(this.#vectors)
  readonly #header = pinned(VNET_HEADER_BYTES)
  #lastBuffer: Uint8Array | null = null
  #lastAddress = 0

  private constructor(fd: number, name: string, index: number) {
    this.fd = fd
    this.name = name
    this.index = index
    this.#setVector(0, Number(pointerOf(this.#header)), VNET_HEADER_BYTES)
  }

  /**
   * Makes the device in the calling thread's network namespace; `%d` in the name becomes a free number. Throws
   * OsError (EBUSY: another process holds it; EPERM without CAP_NET_ADMIN) and RangeError for a bad name.
   */
  static open(name: string): Tun {
    if (name === '' || Buffer.byteLength(name) >= NAME_BYTES || /[/\s]/.test(name)) {
      throw new RangeError(
        `${JSON.stringify(name)} is not an interface name (1..15 bytes, no spaces or slashes)`,
      )
    }
    const device = '/dev/net/tun'
    const fd = check(`open(${device})`, libc.open(device, O_RDWR_NONBLOCK_CLOEXEC, 0))
    try {
      const request = pinned(40) // struct ifreq
      request.write(name, 0)
      request.writeUInt16LE(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, NAME_BYTES)
      check(
        `ioctl(TUNSETIFF ${name})`,
        libc.ioctl(fd, TUNSETIFF, request),
        `something else has an interface ${name}; remove it (ip link delete ${name})`,
      )
      const actual = request.toString('latin1', 0, request.indexOf(0))
      return new Tun(fd, actual, libc.if_nametoindex(actual))
    } catch (error) {
      libc.close(fd)
      throw error
    }
  }

  /**
   * Injects one IP packet. `vnet` points at its virtio_net_hdr (10 bytes, relative to the IP header), or is null
   * for a finished packet. False if the kernel refused it, which is counted in `errors` (EIO: device not up).
   */
  write(
    vnet: Uint8Array | null,
    buffer: Uint8Array,
    offset: number,
    length: number,
    vnetOffset = 0,
  ): boolean {
    for (let at = 0; at < VNET_HEADER_BYTES; at++) {
      this.#header[at] = vnet === null ? 0 : vnet[vnetOffset + at]
    }
    this.#setVector(1, this.#addressOf(buffer) + offset, length)
    if (libc.writev(this.fd, this.#vectorsPointer, 2) >= 0) return true
    const number = errno()
    this.errors.set(number, (this.errors.get(number) ?? 0) + 1)
    return false
  }

  /** Removes the device. */
  close(): void {
    closeFd(this.fd)
  }

  /** Packets come from one or two long-lived buffers; remembering the last saves a call. */
  #addressOf(buffer: Uint8Array): number {
    if (buffer !== this.#lastBuffer) {
      this.#lastAddress = Number(pointerOf(buffer)) // user space addresses are below 2^53
      this.#lastBuffer = buffer
    }
    return this.#lastAddress
  }

  #setVector(index: number, address: number, length: number): void {
    this.#vectors[index * 4] = address % 0x100000000
    this.#vectors[index * 4 + 1] = Math.floor(address / 0x100000000)
    this.#vectors[index * 4 + 2] = length
  }
}
