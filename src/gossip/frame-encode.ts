/** From values to bytes (frame-format.ts). Values that have no encoding throw RangeError: they are our own bugs. */
import {
  DIGEST_BYTES,
  ECHO_BYTES,
  FLAG_DRAINING,
  FLAG_NO_DIGEST,
  FLAG_WANTS_ECHO,
  FRAME,
  HEARTBEAT_BYTES,
  HELLO_FIXED_BYTES,
  type Heartbeat,
  type HeartbeatEcho,
  type Hello,
  LENGTH_BYTES,
  MAX_BATCH_RECORDS,
  MAX_REASON_BYTES,
  NAME_PATTERN,
  NEXT_BYTES,
} from './frame-format.ts'
import { type FlowRecord, MAX_RECORD_BYTES, writeRecord } from './records.ts'

/** Where a body begins. */
export const BODY = LENGTH_BYTES + 1
const encoder = new TextEncoder()

/** A frame of this type whose body is yet to be filled in. */
export const frame = (type: number, bodyBytes: number): DataView => {
  const view = new DataView(new ArrayBuffer(BODY + bodyBytes))
  view.setUint32(0, 1 + bodyBytes)
  view.setUint8(LENGTH_BYTES, type)
  return view
}
export const bytesOf = (view: DataView): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
export const unsigned = (value: number, bits: 16 | 32, what: string): number => {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits)
    throw new RangeError(`${what} is a u${bits}: ${value}`)
  return value
}

export const encodeHello = (hello: Hello): Uint8Array => {
  if (!NAME_PATTERN.test(hello.name))
    throw new RangeError(`a node name is 1 to 63 of a-z, 0-9 and -: ${hello.name}`)
  const view = frame(FRAME.HELLO, HELLO_FIXED_BYTES + hello.name.length)
  view.setUint16(BODY, unsigned(hello.minVersion, 16, 'minVersion'))
  view.setUint16(BODY + 2, unsigned(hello.maxVersion, 16, 'maxVersion'))
  view.setUint16(BODY + 4, unsigned(hello.roles, 16, 'roles'))
  view.setUint32(BODY + 6, unsigned(hello.epoch, 32, 'epoch'))
  view.setUint8(BODY + 10, hello.name.length)
  const bytes = bytesOf(view)
  encoder.encodeInto(hello.name, bytes.subarray(BODY + HELLO_FIXED_BYTES))
  return bytes
}

const clock = (view: DataView, { sequence, sentMs }: HeartbeatEcho): void => {
  if (!Number.isFinite(sentMs) || sentMs < 0) throw new RangeError(`sentMs is a time: ${sentMs}`)
  view.setUint32(BODY, unsigned(sequence, 32, 'sequence'))
  view.setFloat64(BODY + 4, sentMs)
}

export const encodeHeartbeat = (heartbeat: Heartbeat): Uint8Array => {
  const { knowledge, nextMs } = heartbeat
  const digestBytes = knowledge === undefined && nextMs === undefined ? 0 : DIGEST_BYTES
  const nextBytes = nextMs === undefined ? 0 : NEXT_BYTES
  const view = frame(FRAME.HEARTBEAT, HEARTBEAT_BYTES + digestBytes + nextBytes)
  clock(view, heartbeat)
  const flags = (heartbeat.draining ? FLAG_DRAINING : 0) | (heartbeat.wantsEcho ? FLAG_WANTS_ECHO : 0)
  const isBlank = knowledge === undefined && digestBytes > 0
  view.setUint8(BODY + ECHO_BYTES, flags | (isBlank ? FLAG_NO_DIGEST : 0))
  if (knowledge !== undefined) {
    if (BigInt.asUintN(64, knowledge.digest) !== knowledge.digest)
      throw new RangeError(`a digest is a u64: ${knowledge.digest}`)
    view.setBigUint64(BODY + HEARTBEAT_BYTES, knowledge.digest)
    view.setUint32(BODY + HEARTBEAT_BYTES + 8, unsigned(knowledge.revision, 32, 'revision'))
  }
  if (nextMs !== undefined)
    view.setUint16(BODY + HEARTBEAT_BYTES + DIGEST_BYTES, unsigned(nextMs, 16, 'nextMs'))
  return bytesOf(view)
}

export const encodeHeartbeatEcho = (echo: HeartbeatEcho): Uint8Array => {
  const view = frame(FRAME.HEARTBEAT_ECHO, ECHO_BYTES)
  clock(view, echo)
  return bytesOf(view)
}

/** A reason above 255 bytes is cut, at a character. */
export const encodeGoodbye = (reason: string): Uint8Array => {
  const text = new Uint8Array(MAX_REASON_BYTES)
  const { written } = encoder.encodeInto(reason.toWellFormed(), text)
  const view = frame(FRAME.GOODBYE, 1 + written)
  view.setUint8(BODY, written)
  const bytes = bytesOf(view)
  bytes.set(text.subarray(0, written), BODY + 1)
  return bytes
}

const batch = (type: number, records: readonly FlowRecord[], withHost: boolean): Uint8Array => {
  if (records.length < 1 || records.length > MAX_BATCH_RECORDS)
    throw new RangeError(`a batch holds 1 to ${MAX_BATCH_RECORDS} records, not ${records.length}`)
  const view = frame(type, 2 + records.length * MAX_RECORD_BYTES)
  view.setUint16(BODY, records.length)
  let end = BODY + 2
  for (const record of records) end = writeRecord(view, end, record, withHost)
  view.setUint32(0, end - LENGTH_BYTES)
  // Copied to its own size: the frame may wait in a queue, and most records are far below the longest.
  return bytesOf(view).slice(0, end)
}

/** Routes to add, each with its host. Throws RangeError on 0 or more than 4096 records. */
export const encodePlumb = (records: readonly FlowRecord[]): Uint8Array => batch(FRAME.PLUMB, records, true)
/** Routes to remove; hosts are zero. Throws as encodePlumb. */
export const encodeUnplumb = (records: readonly FlowRecord[]): Uint8Array =>
  batch(FRAME.UNPLUMB, records, false)
/** Routes that a forwarder has purged; hosts are zero. Throws as encodePlumb. */
export const encodeEnded = (records: readonly FlowRecord[]): Uint8Array => batch(FRAME.ENDED, records, false)
