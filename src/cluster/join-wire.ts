/**
 * The join protocol's bytes (architecture decision 13), after the two nonces of hello-nonce.ts that are made with the join key:
 *
 *    joining machine                                     issuer of the token
 *      record 0: { x25519, facts, proof }            ──▶
 *                                                    ◀──  record 0: { x25519 } or { error: { code, message } }
 *                                                    ◀──  sealed record: the statements
 *
 *   record: u32 length of what follows | ChaCha20-Poly1305 (RFC 8439) ciphertext and 16-byte tag
 *   key     HKDF-SHA256(join key, salt: joiner's nonce | issuer's nonce, "shunt join channel 1")
 *   sealed  the same of (join key | X25519 shared secret), "shunt join answer 1": the cluster's secrets stay closed to
 *           one who learns the token later
 *   IV      u8 direction (0 to the issuer, 1 back) | 3 zero bytes | u64 record number
 *   statements  u32 count, then each: u32 length | canonical JSON
 *
 * Pure: keys and random bytes are arguments.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { ShuntError } from '../errors.ts'

export const LENGTH_BYTES = 4
const TAG_BYTES = 16
/** Of a record to the issuer, and of one back. */
export const MAX_REQUEST_BYTES = 65_536
export const MAX_ANSWER_BYTES = 8 * 1024 * 1024
export const MAX_ANSWER_STATEMENTS = 8_192

/** 0: to the issuer; 1: back; 2: back, sealed. */
export type Lane = 0 | 1 | 2

const malformed = (why: string): ShuntError =>
  new ShuntError('SHUNT_ERR_TOKEN', `the other end of the join does not speak as it should: ${why}`)

const ivOf = (lane: Lane, number: number): Uint8Array => {
  const iv = Buffer.alloc(12)
  iv[0] = lane
  iv.writeBigUInt64BE(BigInt(number), 4)
  return iv
}

const derive = (secret: Uint8Array, joiner: Uint8Array, issuer: Uint8Array, label: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secret, Buffer.concat([joiner, issuer]), label, 32))

/** The key of the records that are not sealed. Nonces: 32 bytes each. */
export const channelKey = (joinKey: Uint8Array, joiner: Uint8Array, issuer: Uint8Array): Uint8Array =>
  derive(joinKey, joiner, issuer, 'shunt join channel 1')

/** The key of the sealed record. `shared`: of agree(). */
export const answerKey = (
  joinKey: Uint8Array,
  shared: Uint8Array,
  joiner: Uint8Array,
  issuer: Uint8Array,
): Uint8Array => derive(Buffer.concat([joinKey, shared]), joiner, issuer, 'shunt join answer 1')

/** A whole record, with its length in front. */
export const sealRecord = (key: Uint8Array, lane: Lane, number: number, plain: Uint8Array): Uint8Array => {
  const cipher = createCipheriv('chacha20-poly1305', key, ivOf(lane, number), { authTagLength: TAG_BYTES })
  const body = Buffer.concat([cipher.update(plain), cipher.final()])
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(body.length + TAG_BYTES)
  return Buffer.concat([length, body, cipher.getAuthTag()])
}

/** How many bytes follow. Throws SHUNT_ERR_TOKEN when they are too few, or more than `max`. */
export const recordLength = (prefix: Uint8Array, max: number): number => {
  const length = Buffer.from(prefix).readUInt32BE()
  if (length < TAG_BYTES || length > max) throw malformed(`a record of ${length} bytes`)
  return length
}

/** What is in a record without its length. Throws SHUNT_ERR_TOKEN when it was made with another key, or altered. */
export const openRecord = (key: Uint8Array, lane: Lane, number: number, record: Uint8Array): Uint8Array => {
  const decipher = createDecipheriv('chacha20-poly1305', key, ivOf(lane, number), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAuthTag(record.subarray(record.length - TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(record.subarray(0, -TAG_BYTES)), decipher.final()])
  } catch {
    throw malformed('a record that was altered, or made with another key')
  }
}

/** PKCS #8 and SubjectPublicKeyInfo of an X25519 key up to the key itself (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const SPKI = Buffer.from('302a300506032b656e032100', 'hex')

export interface Ephemeral {
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
  readonly privateKey: KeyObject
}
/** An X25519 key (RFC 7748) of 32 random bytes, for one connection. */
export const ephemeral = (random32: Uint8Array): Ephemeral => {
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8, random32]),
    format: 'der',
    type: 'pkcs8',
  })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return { privateKey, publicKey: new Uint8Array(spki.subarray(-32)) }
}

/** The secret of both ends. Throws SHUNT_ERR_TOKEN for what is no X25519 key, or one of low order. */
export const agree = (own: Ephemeral, theirs: Uint8Array): Uint8Array => {
  if (theirs.length !== 32) throw malformed(`a key of ${theirs.length} bytes`)
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([SPKI, theirs]), format: 'der', type: 'spki' })
    return new Uint8Array(diffieHellman({ privateKey: own.privateKey, publicKey }))
  } catch {
    throw malformed('a key that is none')
  }
}

export const encodeList = (entries: readonly Uint8Array[]): Uint8Array => {
  const u32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return bytes
  }
  return Buffer.concat([u32(entries.length), ...entries.flatMap(entry => [u32(entry.length), entry])])
}

/** Throws SHUNT_ERR_TOKEN when counts and lengths do not fit the bytes. */
export const decodeList = (bytes: Uint8Array): Uint8Array[] => {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const entries: Uint8Array[] = []
  let at = 4
  const count = view.length < at ? -1 : view.readUInt32BE(0)
  if (count < 0 || count > MAX_ANSWER_STATEMENTS) throw malformed(`a list of ${count} statements`)
  for (let i = 0; i < count; i++) {
    const length = at + 4 <= view.length ? view.readUInt32BE(at) : Number.POSITIVE_INFINITY
    if (at + 4 + length > view.length) throw malformed('a list that ends early')
    entries.push(view.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  if (at !== view.length) throw malformed('bytes after the list')
  return entries
}
