/** From a peer's bytes, which are hostile input, to values (frame-format.ts). */

import { atomMember, atoms } from './frame-atoms.ts'
import { badFrame } from './frame-error.ts'
import {
  type BatchFrame,
  type BatchType,
  type DecodedFrame,
  DIGEST_BYTES,
  ECHO_BYTES,
  FLAG_DRAINING,
  FLAG_NO_DIGEST,
  FLAG_WANTS_ECHO,
  FRAME,
  HEARTBEAT_BYTES,
  HELLO_FIXED_BYTES,
  type HeartbeatEcho,
  type HelloFrame,
  LAST_TYPE,
  MAX_BATCH_RECORDS,
  NAME_PATTERN,
  NEXT_BYTES,
} from './frame-format.ts'
import { health } from './frame-health.ts'
import { ledgerEntries, ledgerHashes } from './frame-ledger.ts'
import { owned, whoOwns } from './frame-owners.ts'
import { type FlowRecord, readRecord } from './records.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const exactly = (body: DataView, bytes: number, what: string): void => {
  if (body.byteLength !== bytes) badFrame(`${what} of ${body.byteLength} bytes instead of ${bytes}`)
}

const text = (body: DataView, at: number, length: number, what: string): string => {
  try {
    return utf8.decode(new Uint8Array(body.buffer, body.byteOffset + at, length))
  } catch {
    return badFrame(`${what} that is not UTF-8`)
  }
}

const hello = (body: DataView): HelloFrame => {
  if (body.byteLength < HELLO_FIXED_BYTES) badFrame('HELLO cut short')
  const nameLength = body.getUint8(HELLO_FIXED_BYTES - 1)
  if (HELLO_FIXED_BYTES + nameLength > body.byteLength) badFrame('HELLO whose name is cut short')
  const name = text(body, HELLO_FIXED_BYTES, nameLength, 'HELLO name')
  if (!NAME_PATTERN.test(name)) badFrame('HELLO with an impossible name')
  const minVersion = body.getUint16(0)
  const maxVersion = body.getUint16(2)
  if (minVersion > maxVersion) badFrame(`HELLO with versions ${minVersion} to ${maxVersion}`)
  return {
    type: 'hello',
    minVersion,
    maxVersion,
    name,
    roles: body.getUint16(4),
    epoch: body.getUint32(6),
  }
}

const clock = (body: DataView): HeartbeatEcho => {
  const sentMs = body.getFloat64(4)
  if (!Number.isFinite(sentMs) || sentMs < 0) badFrame('heartbeat with an impossible time')
  return { sequence: body.getUint32(0), sentMs }
}

const heartbeat = (body: DataView): DecodedFrame => {
  const known = body.byteLength >= HEARTBEAT_BYTES + DIGEST_BYTES
  if (!known) exactly(body, HEARTBEAT_BYTES, 'HEARTBEAT')
  const isPaced = body.byteLength >= HEARTBEAT_BYTES + DIGEST_BYTES + NEXT_BYTES
  const flags = body.getUint8(ECHO_BYTES)
  // Unknown flags are a newer peer's and are ignored.
  return {
    type: 'heartbeat',
    ...clock(body),
    draining: (flags & FLAG_DRAINING) !== 0,
    wantsEcho: (flags & FLAG_WANTS_ECHO) !== 0,
    ...(known &&
      (flags & FLAG_NO_DIGEST) === 0 && {
        knowledge: {
          digest: body.getBigUint64(HEARTBEAT_BYTES),
          revision: body.getUint32(HEARTBEAT_BYTES + 8),
        },
      }),
    ...(isPaced && { nextMs: body.getUint16(HEARTBEAT_BYTES + DIGEST_BYTES) }),
  }
}

const echo = (body: DataView): DecodedFrame => {
  exactly(body, ECHO_BYTES, 'HEARTBEAT_ECHO')
  return { type: 'heartbeat-echo', ...clock(body) }
}

const goodbye = (body: DataView): DecodedFrame => {
  if (body.byteLength < 1) badFrame('GOODBYE cut short')
  exactly(body, 1 + body.getUint8(0), 'GOODBYE')
  const reason = text(body, 1, body.byteLength - 1, 'GOODBYE reason')
  // The text goes to logs and terminals: control characters would let a peer write there.
  return { type: 'goodbye', reason: reason.replace(/\p{C}/gu, '?') }
}

const batch = (type: BatchType, body: DataView): BatchFrame => {
  if (body.byteLength < 2) badFrame(`${type} batch cut short`)
  const count = body.getUint16(0)
  if (count < 1 || count > MAX_BATCH_RECORDS) badFrame(`${type} batch of ${count} records`)
  const records: FlowRecord[] = []
  let at = 2
  for (let i = 0; i < count; i++) {
    const { record, end } = readRecord(body, at, type === 'plumb')
    records.push(record)
    at = end
  }
  if (at !== body.byteLength) badFrame(`${type} batch with ${body.byteLength - at} bytes too many`)
  return { type, records }
}

/**
 * Decodes one frame (`content`: type byte and body, without the length). Answers undefined for a type above
 * the known ones. Throws SHUNT_ERR_FRAME on anything else that is not a valid frame.
 */
export const decodeFrame = (content: Uint8Array): DecodedFrame | undefined => {
  if (content.length < 1) badFrame('empty frame')
  const type = content[0]!
  const body = new DataView(content.buffer, content.byteOffset + 1, content.length - 1)
  switch (type) {
    case FRAME.HELLO:
      return hello(body)
    case FRAME.HEARTBEAT:
      return heartbeat(body)
    case FRAME.HEARTBEAT_ECHO:
      return echo(body)
    case FRAME.GOODBYE:
      return goodbye(body)
    case FRAME.PLUMB:
      return batch('plumb', body)
    case FRAME.UNPLUMB:
      return batch('unplumb', body)
    case FRAME.ENDED:
      return batch('ended', body)
    case FRAME.LEDGER_LIST:
      return ledgerHashes('ledger-list', body)
    case FRAME.LEDGER_WANT:
      return ledgerHashes('ledger-want', body)
    case FRAME.LEDGER_ENTRIES:
      return ledgerEntries(body)
    case FRAME.HEALTH:
      return health(body)
    case FRAME.WHO_OWNS:
      return whoOwns(body)
    case FRAME.OWNED:
      return owned(body)
    case FRAME.ATOMS:
      return atoms(body)
    case FRAME.ATOM_MEMBER:
      return atomMember(body)
    default:
      return type > LAST_TYPE ? undefined : badFrame(`frame of impossible type ${type}`)
  }
}
