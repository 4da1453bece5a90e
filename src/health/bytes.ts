/** Big-endian bytes one after the other, written and read; the reader's are hostile input. */
import { badHealth } from './codec-error.ts'

const encoder = new TextEncoder()
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const INITIAL_BYTES = 256
const NO_BYTES = new Uint8Array()
/** Variable-length numbers: 7 bits a byte, the low ones first, the top bit says that more follow. */
const MAX_VARINT_BYTES = 5

/**
 * The buffer of the last writer that was taken from: most messages fit it, and making one costs more than filling it.
 * A larger one is not kept.
 */
let spare: Uint8Array | null = null
const MAX_SPARE_BYTES = 65_536

/** Values that have no encoding throw RangeError: they are our own bugs. */
export class ByteWriter {
  #bytes: Uint8Array
  #length = 0

  constructor() {
    this.#bytes = spare ?? new Uint8Array(INITIAL_BYTES)
    spare = null
  }

  /** A copy of what was written; the writer is empty after it. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length)
    if (this.#bytes.length <= MAX_SPARE_BYTES) spare = this.#bytes
    this.#bytes = NO_BYTES
    this.#length = 0
    return taken
  }
  u8(value: number, what: string): void {
    const at = this.#room(1)
    this.#bytes[at] = whole(value, 0xff, what)
  }
  u16(value: number, what: string): void {
    const at = this.#room(2)
    this.#put(at, 2, whole(value, 0xffff, what))
  }
  u32(value: number, what: string): void {
    const at = this.#room(4)
    this.#put(at, 4, whole(value, 0xffff_ffff, what))
  }
  /** Whole numbers to 2^53 - 1, as a u64. */
  u64(value: number, what: string): void {
    const at = this.#room(8)
    const high = Math.floor(whole(value, Number.MAX_SAFE_INTEGER, what) / 2 ** 32)
    this.#put(at, 4, high)
    this.#put(at + 4, 4, value - high * 2 ** 32)
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

  /** @param value below 2^(8 * `bytes`) and 2^32 */
  #put(at: number, bytes: number, value: number): void {
    for (let i = at + bytes - 1, rest = value; i >= at; i--, rest >>>= 8) this.#bytes[i] = rest & 0xff
  }
  /** Makes room; it may replace the buffer. */
  #room(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(INITIAL_BYTES, this.#bytes.length * 2, this.#length))
      grown.set(this.#bytes)
      this.#bytes = grown
    }
    return at
  }
}

/** All methods throw HealthError when the bytes end too soon. */
export class ByteReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }
  u8(): number {
    return this.#number(1)
  }
  u16(): number {
    return this.#number(2)
  }
  u32(): number {
    return this.#number(4)
  }
  u64(): number {
    const value = this.#number(8)
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
    return Buffer.from(this.#bytes.buffer as ArrayBuffer, this.#bytes.byteOffset + at, length)
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

  /** Above 2^53 it is not exact, but never rounds to below that. */
  #number(bytes: number): number {
    let value = 0
    for (let at = this.#take(bytes), end = at + bytes; at < end; at++)
      value = value * 256 + (this.#bytes[at] as number)
    return value
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
