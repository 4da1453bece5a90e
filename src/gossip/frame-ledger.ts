/** The frames by which nodes bring their ledgers together: hashes held or wanted, and entries (frame-format.ts). Entries are opaque here. */
import { BODY, bytesOf, frame } from './frame-encode.ts'
import { badFrame } from './frame-error.ts'
import {
  FRAME,
  HASH_BYTES,
  type LedgerEntriesFrame,
  type LedgerHashesFrame,
  MAX_ENTRY_BYTES,
  MAX_FRAME_BYTES,
  MAX_LEDGER_ENTRIES,
  MAX_LEDGER_HASHES,
} from './frame-format.ts'

const HASH = /^[0-9a-f]{64}$/
const COUNT_BYTES = 2
const ENTRY_LENGTH_BYTES = 4

const encodeHashes = (type: number, hashes: readonly string[], least: number): Uint8Array => {
  if (hashes.length < least || hashes.length > MAX_LEDGER_HASHES)
    throw new RangeError(`${least} to ${MAX_LEDGER_HASHES} hashes, not ${hashes.length}`)
  const view = frame(type, COUNT_BYTES + hashes.length * HASH_BYTES)
  view.setUint16(BODY, hashes.length)
  const bytes = bytesOf(view)
  hashes.forEach((hash, i) => {
    if (!HASH.test(hash)) throw new RangeError(`a hash is 64 of 0-9 and a-f: ${hash}`)
    bytes.set(Buffer.from(hash, 'hex'), BODY + COUNT_BYTES + i * HASH_BYTES)
  })
  return bytes
}

/** All hashes of this node's ledger, 0 to 8192 in lowercase hexadecimal. Throws RangeError. */
export const encodeLedgerList = (hashes: readonly string[]): Uint8Array =>
  encodeHashes(FRAME.LEDGER_LIST, hashes, 0)
/** Hashes of entries that this node asks for, 1 to 8192. Throws RangeError. */
export const encodeLedgerWant = (hashes: readonly string[]): Uint8Array =>
  encodeHashes(FRAME.LEDGER_WANT, hashes, 1)

/** 1 to 1024 entries of 1 to 196,608 bytes; the frame at most MAX_FRAME_BYTES. Throws RangeError. */
export const encodeLedgerEntries = (entries: readonly Uint8Array[]): Uint8Array => {
  if (entries.length < 1 || entries.length > MAX_LEDGER_ENTRIES)
    throw new RangeError(`1 to ${MAX_LEDGER_ENTRIES} entries, not ${entries.length}`)
  let size = COUNT_BYTES
  for (const entry of entries) {
    if (entry.length < 1 || entry.length > MAX_ENTRY_BYTES)
      throw new RangeError(`an entry is 1 to ${MAX_ENTRY_BYTES} bytes, not ${entry.length}`)
    size += ENTRY_LENGTH_BYTES + entry.length
  }
  if (1 + size > MAX_FRAME_BYTES) throw new RangeError(`entries of ${size} bytes do not fit one frame`)
  const view = frame(FRAME.LEDGER_ENTRIES, size)
  view.setUint16(BODY, entries.length)
  const bytes = bytesOf(view)
  let at = BODY + COUNT_BYTES
  for (const entry of entries) {
    view.setUint32(at, entry.length)
    bytes.set(entry, at + ENTRY_LENGTH_BYTES)
    at += ENTRY_LENGTH_BYTES + entry.length
  }
  return bytes
}

/** Throws SHUNT_ERR_FRAME. */
export const ledgerHashes = (type: LedgerHashesFrame['type'], body: DataView): LedgerHashesFrame => {
  if (body.byteLength < COUNT_BYTES) badFrame(`${type} cut short`)
  const count = body.getUint16(0)
  if (count > MAX_LEDGER_HASHES || (count === 0 && type === 'ledger-want'))
    badFrame(`${type} of ${count} hashes`)
  if (body.byteLength !== COUNT_BYTES + count * HASH_BYTES)
    badFrame(`${type} of ${count} hashes in ${body.byteLength} bytes`)
  const bytes = Buffer.from(body.buffer, body.byteOffset + COUNT_BYTES, count * HASH_BYTES)
  const hashes = Array.from({ length: count }, (_, i) =>
    bytes.toString('hex', i * HASH_BYTES, (i + 1) * HASH_BYTES),
  )
  return { type, hashes }
}

/** The entries are copies: the reader's buffer is used again. Throws SHUNT_ERR_FRAME. */
export const ledgerEntries = (body: DataView): LedgerEntriesFrame => {
  if (body.byteLength < COUNT_BYTES) badFrame('ledger-entries cut short')
  const count = body.getUint16(0)
  if (count < 1 || count > MAX_LEDGER_ENTRIES) badFrame(`ledger-entries of ${count} entries`)
  const entries: Uint8Array[] = []
  let at = COUNT_BYTES
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_LENGTH_BYTES > body.byteLength) badFrame('ledger-entries cut short')
    const length = body.getUint32(at)
    at += ENTRY_LENGTH_BYTES
    if (length < 1 || length > MAX_ENTRY_BYTES) badFrame(`ledger entry of ${length} bytes`)
    if (at + length > body.byteLength) badFrame('ledger entry cut short')
    entries.push(new Uint8Array(body.buffer, body.byteOffset + at, length).slice())
    at += length
  }
  if (at !== body.byteLength) badFrame(`ledger-entries with ${body.byteLength - at} bytes too many`)
  return { type: 'ledger-entries', entries }
}
