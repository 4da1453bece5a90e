/** The frames by which hosts are asked who owns a socket, and answer (frame-format.ts; R-G7). */
import { BODY, bytesOf, frame } from './frame-encode.ts'
import { badFrame } from './frame-error.ts'
import { FRAME, LENGTH_BYTES, MAX_OWNER_KEYS, type OwnedFrame, type WhoOwnsFrame } from './frame-format.ts'
import { MAX_RECORD_BYTES, readRecord, writeRecord } from './records.ts'

/** Number of the question, count. */
const FIXED_BYTES = 4 + 2
const NO_HOST = new Uint32Array(4)

const checked = (id: number, count: number): void => {
  if (!Number.isInteger(id) || id < 0 || id > 0xffffffff)
    throw new RangeError(`a question's number is a u32: ${id}`)
  if (count < 1 || count > MAX_OWNER_KEYS)
    throw new RangeError(`a question has 1 to ${MAX_OWNER_KEYS} keys, not ${count}`)
}

/** `id`: u32; 1 to 256 flow keys of ten words. Throws RangeError. For peers of version 5: PeerLinks.send drops it for others. */
export const encodeWhoOwns = (id: number, keys: readonly Uint32Array[]): Uint8Array => {
  checked(id, keys.length)
  const view = frame(FRAME.WHO_OWNS, FIXED_BYTES + keys.length * MAX_RECORD_BYTES)
  view.setUint32(BODY, id)
  view.setUint16(BODY + 4, keys.length)
  let end = BODY + FIXED_BYTES
  for (const key of keys) end = writeRecord(view, end, { key, host: NO_HOST }, false)
  view.setUint32(0, end - LENGTH_BYTES)
  return bytesOf(view).slice(0, end)
}

/** The answer to question `id`, a bit for each of its keys. Throws RangeError. */
export const encodeOwned = (id: number, owned: readonly boolean[]): Uint8Array => {
  checked(id, owned.length)
  const view = frame(FRAME.OWNED, FIXED_BYTES + Math.ceil(owned.length / 8))
  view.setUint32(BODY, id)
  view.setUint16(BODY + 4, owned.length)
  const bytes = bytesOf(view)
  owned.forEach((mine, i) => {
    if (mine) bytes[BODY + FIXED_BYTES + (i >>> 3)]! |= 0x80 >>> (i & 7)
  })
  return bytes
}

const countOf = (body: DataView, what: string): number => {
  if (body.byteLength < FIXED_BYTES) badFrame(`${what} cut short`)
  const count = body.getUint16(4)
  if (count < 1 || count > MAX_OWNER_KEYS) badFrame(`${what} of ${count} keys`)
  return count
}

/** Throws SHUNT_ERR_FRAME. */
export const whoOwns = (body: DataView): WhoOwnsFrame => {
  const count = countOf(body, 'who-owns')
  const keys: Uint32Array[] = []
  let at = FIXED_BYTES
  for (let i = 0; i < count; i++) {
    const { record, end } = readRecord(body, at, false)
    keys.push(record.key)
    at = end
  }
  if (at !== body.byteLength) badFrame(`who-owns with ${body.byteLength - at} bytes too many`)
  return { type: 'who-owns', id: body.getUint32(0), keys }
}

/** Throws SHUNT_ERR_FRAME. */
export const owned = (body: DataView): OwnedFrame => {
  const count = countOf(body, 'owned')
  const bytes = Math.ceil(count / 8)
  if (body.byteLength !== FIXED_BYTES + bytes) badFrame(`owned of ${count} keys in ${body.byteLength} bytes`)
  const bit = (i: number): boolean => (body.getUint8(FIXED_BYTES + (i >>> 3)) & (0x80 >>> (i & 7))) !== 0
  for (let i = count; i < bytes * 8; i++)
    if (bit(i)) badFrame('owned with bits for keys that nobody asked about')
  return { type: 'owned', id: body.getUint32(0), owned: Array.from({ length: count }, (_, i) => bit(i)) }
}
