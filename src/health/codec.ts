/** Health messages to bytes and back (codec-format.ts, R-B5); a peer's bytes are hostile input. */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { ByteReader, ByteWriter } from './bytes.ts'
import { badHealth, HealthError } from './codec-error.ts'
import {
  DEFLATE_FROM_BYTES,
  DEFLATED,
  LAST_TYPE,
  MAX_BODY_BYTES,
  MAX_HEALTH_BYTES,
  TYPE,
} from './codec-format.ts'
import { readHeartbeat, writeHeartbeat } from './codec-heartbeat.ts'
import {
  readClaim,
  readGoodbye,
  readPostulateRight,
  readServerState,
  writeClaim,
  writeGoodbye,
  writePostulateRight,
  writeServerState,
} from './codec-small.ts'
import {
  readGetSnapshot,
  readPostulate,
  readPostulateWrong,
  readRowChange,
  readSendSnapshot,
  writeGetSnapshot,
  writePostulate,
  writePostulateWrong,
  writeRowChange,
  writeSendSnapshot,
} from './codec-table.ts'
import type { HealthMessage } from './types.ts'

export { MAX_HEALTH_BYTES } from './codec-format.ts'

/** Throws RangeError for a message that has no encoding or is above MAX_HEALTH_BYTES: our own bug. */
export const encodeHealth = (message: HealthMessage): Uint8Array => {
  const out = new ByteWriter()
  writeBody(out, message)
  const body = out.take()
  if (body.length > MAX_BODY_BYTES) throw new RangeError(`a ${message.type} of ${body.length} bytes`)
  const type = TYPE[message.type]
  const deflated = body.length < DEFLATE_FROM_BYTES ? body : deflateRawSync(body)
  const encoded = deflated.length < body.length ? join(type | DEFLATED, deflated) : join(type, body)
  if (encoded.length > MAX_HEALTH_BYTES)
    throw new RangeError(`a ${message.type} of ${encoded.length} bytes; at most ${MAX_HEALTH_BYTES} are sent`)
  return encoded
}

/** A message that is inflated and not read yet: what reading it costs goes by the length of its body. */
export interface OpenedHealth {
  readonly type: number
  readonly body: Uint8Array
}

/** Throws HealthError, with `unknown` for a type above those known here. */
export const openHealth = (bytes: Uint8Array): OpenedHealth => {
  if (bytes.length === 0) badHealth('an empty message')
  if (bytes.length > MAX_HEALTH_BYTES) badHealth(`a message of ${bytes.length} bytes`)
  const type = bytes[0]! & ~DEFLATED
  if (type > LAST_TYPE) throw new HealthError(`a message of type ${type}`, true)
  const content = bytes.subarray(1)
  return { type, body: (bytes[0]! & DEFLATED) === 0 ? content : inflate(content) }
}

/** Throws HealthError. */
export const readHealth = ({ type, body }: OpenedHealth): HealthMessage => {
  const from = new ByteReader(body)
  const message = readBody(type, from)
  from.end()
  return message
}

/** Throws HealthError, with `unknown` for a type above those known here. */
export const decodeHealth = (bytes: Uint8Array): HealthMessage => readHealth(openHealth(bytes))

const join = (type: number, body: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(1 + body.length)
  bytes[0] = type
  bytes.set(body, 1)
  return bytes
}

const inflate = (content: Uint8Array): Uint8Array => {
  try {
    // The types of Node do not know what `info` does to the answer.
    const { buffer, engine } = inflateRawSync(content, {
      maxOutputLength: MAX_BODY_BYTES,
      info: true,
    }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } }
    if (engine.bytesWritten === content.length) return buffer
  } catch {
    return badHealth('a body that does not inflate, or to too much')
  }
  return badHealth('bytes after a deflated body')
}

const writeBody = (out: ByteWriter, message: HealthMessage): void => {
  switch (message.type) {
    case 'heartbeat':
      return writeHeartbeat(out, message)
    case 'goodbye':
      return writeGoodbye(out, message)
    case 'row-change':
      return writeRowChange(out, message)
    case 'get-snapshot':
      return writeGetSnapshot(out, message)
    case 'send-snapshot':
      return writeSendSnapshot(out, message)
    case 'postulate':
      return writePostulate(out, message)
    case 'postulate-wrong':
      return writePostulateWrong(out, message)
    case 'postulate-right':
      return writePostulateRight(out, message)
    case 'claim':
      return writeClaim(out, message)
    case 'server-state':
      return writeServerState(out, message)
  }
}

const readBody = (type: number, from: ByteReader): HealthMessage => {
  switch (type) {
    case TYPE.heartbeat:
      return readHeartbeat(from)
    case TYPE.goodbye:
      return readGoodbye(from)
    case TYPE['row-change']:
      return readRowChange(from)
    case TYPE['get-snapshot']:
      return readGetSnapshot(from)
    case TYPE['send-snapshot']:
      return readSendSnapshot(from)
    case TYPE.postulate:
      return readPostulate(from)
    case TYPE['postulate-wrong']:
      return readPostulateWrong(from)
    case TYPE['postulate-right']:
      return readPostulateRight(from)
    case TYPE.claim:
      return readClaim(from)
    case TYPE['server-state']:
      return readServerState(from)
    default:
      return badHealth(`a message of type ${type}`)
  }
}
