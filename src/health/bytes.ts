/** Big-endian bytes one after the other, written and read; the reader's are hostile input. */
import { badHealth } from './codec-error.ts'

const encoder = new TextEncoder()
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const INITIAL_BYTES = 256
/** Variable-length numbers: 7 bits a byte, the low ones first, the top bit says that more follow. */
const MAX_VARINT_BYTES = 5

/** Values that have no encoding throw RangeError: they are our own bugs. */
export class ByteWriter {
  #bytes = new Uint8Array(INITIAL_BYTES)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
  // In each, the room comes first: it may replace the view.
  u8(value: number, what: string): void {
    const at = this.#room(1)
    this.#view.setUint8(at, whole(value, 0xff, what))
  }
  u16(value: number, what: string): void {
    const at = this.#room(2)
    this.#view.setUint16(at, whole(value, 0xffff, what))
  }
  u32(value: number, what: string): void {
    const at = this.#room(4)
    this.#view.setUint32(at, whole(value, 0xffff_ffff, what))
  }
  /** Whole numbers to 2^53 - 1, as a u64. */
  u64(value: number, what: string): void {
    const at = this.#room(8)
    this.#view.setBigUint64(at, BigInt(whole(value, Number.MAX_SAFE_INTEGER, what)))
  }
  /** 0 to 2^35 - 1. */
  varint(value: number, what: string): void {
    let rest = whole(value, 2 ** 35 - 1, what)
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.u8(128 | (rest % 128), what)
    this.u8(rest, what)
  }
  bytes(value: Uint8Array): void {
    const at = this.#room(value.length)
    this.#bytes.set(value, at)
  }
  /** One length byte, then the text in UTF-8. */
  text(value: string, maxBytes: number, what: string): void {
    const bytes = encoder.encode(value)
    if (!value.isWellFormed() || bytes.length > maxBytes)
      throw new RangeError(`${what} is text of at most ${maxBytes} bytes, not ${JSON.stringify(value)}`)
    this.u8(bytes.length, what)
    this.bytes(bytes)
  }

  #room(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }
}

/** All methods throw HealthError when the bytes end too soon. */
export class ByteReader {
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  get left(): number {
    return this.#view.byteLength - this.#at
  }
  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2))
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }
  u64(): number {
    const value = Number(this.#view.getBigUint64(this.#take(8)))
    return Number.isSafeInteger(value) ? value : badHealth('a number above 2^53')
  }
  /** Each number has one encoding, the shortest. */
  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < MAX_VARINT_BYTES; i++, scale *= 128) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) return byte === 0 && i > 0 ? badHealth('a number longer than it need be') : value
    }
    return badHealth('a number that does not end')
  }
  hex(bytes: number): string {
    return this.bytes(bytes).toString('hex')
  }
  /** A view, not a copy. */
  bytes(length: number): Buffer {
    const at = this.#take(length)
    return Buffer.from(this.#view.buffer as ArrayBuffer, this.#view.byteOffset + at, length)
  }
  text(maxBytes: number): string {
    const length = this.u8()
    if (length > maxBytes) badHealth(`text of ${length} bytes, at most ${maxBytes} are allowed`)
    const bytes = this.bytes(length)
    try {
      return utf8.decode(bytes)
    } catch {
      return badHealth('text that is not UTF-8')
    }
  }
  /** Nothing may follow. */
  end(): void {
    if (this.left !== 0) badHealth(`${this.left} bytes too many`)
  }

  #take(bytes: number): number {
    const at = this.#at
    if (bytes > this.left) badHealth('cut short')
    this.#at = at + bytes
    return at
  }
}

const whole = (value: number, max: number, what: string): number => {
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new RangeError(`${what} is a whole number from 0 to ${max}, not ${value}`)
  return value
}
