/**
 * Netlink messages as bytes (RFC 3549 section 2, <linux/netlink.h>), without any I/O. Headers and plain
 * integers are in the machine's order (little-endian); nfnetlink's own integers are big-endian.
 *
 *   message:   u32 length | u16 type | u16 flags | u32 sequence | u32 port | payload, padded to 4
 *   attribute: u16 length (header included, padding not) | u16 type | value, padded to 4
 */
import { ShuntError } from '../../errors.ts'

export const HEADER_BYTES = 16
export const NLM_F_REQUEST = 0x001
export const NLM_F_ACK = 0x004
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_DUMP_INTR = 0x010
export const NLM_F_CAPPED = 0x100
export const NLM_F_ACK_TLVS = 0x200
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
const ATTRIBUTE_BYTES = 4
const NESTED = 0x8000
const TYPE_MASK = 0x3fff
const MAX_ATTRIBUTE = 0xffff

const align = (bytes: number): number => (bytes + 3) & ~3

/** Writes messages one after the other into a buffer that grows; `reset` keeps the memory. */
export class MessageWriter {
  #buffer: Buffer
  #length = 0

  constructor(bytes = 4096) {
    this.#buffer = Buffer.from(new ArrayBuffer(bytes))
  }

  get length(): number {
    return this.#length
  }

  /** What was written so far: a view, good until the next write. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  reset(): void {
    this.#length = 0
  }

  /** Begins a message; answers its position for `endMessage`. */
  beginMessage(type: number, flags: number, sequence = 0): number {
    const at = this.#take(HEADER_BYTES)
    this.#buffer.writeUInt16LE(type, at + 4)
    this.#buffer.writeUInt16LE(flags, at + 6)
    this.#buffer.writeUInt32LE(sequence, at + 8)
    return at
  }

  endMessage(at: number): void {
    this.#buffer.writeUInt32LE(this.#length - at, at)
  }

  /** A payload header (struct ifinfomsg, nfgenmsg, ...) or whole messages; its length must be a multiple of 4. */
  raw(bytes: Uint8Array): void {
    const at = this.#take(bytes.length)
    this.#buffer.set(bytes, at)
  }

  attribute(type: number, value: Uint8Array): void {
    const at = this.#header(type, value.length)
    for (let index = 0; index < value.length; index++) this.#buffer[at + index] = value[index]
  }

  string(type: number, value: string): void {
    this.attribute(type, Buffer.from(`${value}\0`))
  }

  u32(type: number, value: number): void {
    const at = this.#header(type, 4) // first: it may put another buffer in place
    this.#buffer.writeUInt32LE(value >>> 0, at)
  }

  u32be(type: number, value: number): void {
    const at = this.#header(type, 4)
    this.#buffer.writeUInt32BE(value >>> 0, at)
  }

  /** A whole number of 0..2^53-1. */
  u64be(type: number, value: number): void {
    const at = this.#header(type, 8)
    this.#buffer.writeUInt32BE(Math.floor(value / 0x100000000), at)
    this.#buffer.writeUInt32BE(value >>> 0, at + 4)
  }

  /** Begins an attribute that holds attributes; answers its position for `endNested`. */
  beginNested(type: number): number {
    const at = this.#take(ATTRIBUTE_BYTES)
    this.#buffer.writeUInt16LE(type | NESTED, at + 2)
    return at
  }

  /** Throws RangeError if the attribute became larger than its 16-bit length can say. */
  endNested(at: number): void {
    const length = this.#length - at
    if (length > MAX_ATTRIBUTE) throw new RangeError(`a netlink attribute of ${length} bytes is too long`)
    this.#buffer.writeUInt16LE(length, at)
  }

  #header(type: number, length: number): number {
    if (length + ATTRIBUTE_BYTES > MAX_ATTRIBUTE) {
      throw new RangeError(`a netlink attribute of ${length} bytes is too long`)
    }
    const at = this.#take(ATTRIBUTE_BYTES + align(length))
    this.#buffer.writeUInt16LE(ATTRIBUTE_BYTES + length, at)
    this.#buffer.writeUInt16LE(type, at + 2)
    return at + ATTRIBUTE_BYTES
  }

  /** Room for `bytes` more, zeroed: earlier contents of a reset buffer must not become padding. */
  #take(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.from(new ArrayBuffer(Math.max(this.#buffer.length * 2, this.#length)))
      larger.set(this.#buffer.subarray(0, at))
      this.#buffer = larger
    } else {
      for (let index = at; index < this.#length; index++) this.#buffer[index] = 0
    }
    return at
  }
}

export interface NetlinkMessage {
  type: number
  flags: number
  sequence: number
  /** What follows the header: a view into the input. */
  payload: Buffer
}

const malformed = (what: string): ShuntError => new ShuntError('SHUNT_ERR_OS', `malformed netlink ${what}`)

/** Splits what one receive returned. Throws ShuntError on an impossible length. */
export const readMessages = (bytes: Buffer): NetlinkMessage[] => {
  const messages: NetlinkMessage[] = []
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    if (length < HEADER_BYTES || at + length > bytes.length) throw malformed(`message: length ${length}`)
    messages.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      payload: bytes.subarray(at + HEADER_BYTES, at + length),
    })
    at += align(length)
  }
  return messages
}

/** Attributes by type (the last of a repeated type wins), from `from` to the end. Throws ShuntError. */
export const readAttributes = (bytes: Buffer, from = 0): Map<number, Buffer> => {
  const attributes = new Map<number, Buffer>()
  for (let at = align(from); at + ATTRIBUTE_BYTES <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < ATTRIBUTE_BYTES || at + length > bytes.length) throw malformed(`attribute: length ${length}`)
    attributes.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + ATTRIBUTE_BYTES, at + length))
    at += align(length)
  }
  return attributes
}

/** A string attribute without its terminating NUL. */
export const readString = (value: Buffer): string => {
  const end = value.indexOf(0)
  return value.toString('utf8', 0, end === -1 ? value.length : end)
}

export interface NetlinkError {
  /** 0: an acknowledgement. */
  errno: number
  /** The kernel's explanation (extended ACK), or ''. */
  text: string
}

const ERROR_MESSAGE = 1 // NLMSGERR_ATTR_MSG

/** Reads an NLMSG_ERROR: i32 -errno, the header of the request, its payload unless capped, attributes. */
export const readError = (message: NetlinkMessage): NetlinkError => {
  const { payload, flags } = message
  if (payload.length < 4) throw malformed('error: no number')
  const errno = -payload.readInt32LE(0)
  if ((flags & NLM_F_ACK_TLVS) === 0 || payload.length < 4 + HEADER_BYTES) return { errno, text: '' }
  const echoed = (flags & NLM_F_CAPPED) !== 0 ? HEADER_BYTES : align(payload.readUInt32LE(4))
  const text = readAttributes(payload, 4 + echoed).get(ERROR_MESSAGE)
  return { errno, text: text === undefined ? '' : readString(text) }
}
