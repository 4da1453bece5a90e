/**
 * Peer ids and Ed25519 keys without libp2p. A peer id 12D3KooW… is base58btc of an identity multihash (0x00, length 0x24)
 * over the protobuf { type: Ed25519, data: 32 bytes } (libp2p peer-ids specification).
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { ShuntError } from '../errors.ts'

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const PREFIX = Buffer.from('002408011220', 'hex')
/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const KEY_BYTES = 32
const ID = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/

const decode = (text: string): Uint8Array => {
  let number = 0n
  for (const letter of text) number = number * 58n + BigInt(ALPHABET.indexOf(letter))
  // The first byte is zero: the leading 1 of the text, of no weight in the number.
  return Buffer.from(number.toString(16).padStart(2 * (PREFIX.length + KEY_BYTES), '0'), 'hex')
}

/** The raw key, 32 bytes, inside a peer id. Throws SHUNT_ERR_STATEMENT if it holds none. */
export const publicKeyOfPeer = (id: string): Uint8Array => {
  const bytes = ID.test(id) ? decode(id) : new Uint8Array(0)
  if (
    bytes.length !== PREFIX.length + KEY_BYTES ||
    !PREFIX.equals(bytes.subarray(0, PREFIX.length)) ||
    peerOfPublicKey(bytes.subarray(PREFIX.length)) !== id
  )
    throw new ShuntError(
      'SHUNT_ERR_STATEMENT',
      'not the peer id of an Ed25519 key; it has 52 characters that begin with 12D3KooW (shunt nodes --json shows them)',
    )
  return new Uint8Array(bytes.subarray(PREFIX.length))
}

/** The peer id of a raw key. Throws SHUNT_ERR_STATEMENT if it is not 32 bytes. */
export const peerOfPublicKey = (raw: Uint8Array): string => {
  if (raw.length !== KEY_BYTES)
    throw new ShuntError('SHUNT_ERR_STATEMENT', `an Ed25519 public key is 32 bytes, not ${raw.length}`)
  let number = BigInt(`0x${Buffer.concat([PREFIX, raw]).toString('hex')}`)
  let text = ''
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text
  return `1${text}`
}

const keyObject = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' })

/** Whether an Ed25519 signature (RFC 8032) holds; false also for keys and signatures of another length. */
export const verifyEd25519 = (publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean =>
  publicKey.length === KEY_BYTES &&
  signature.length === 64 &&
  verify(null, bytes, keyObject(publicKey), signature)
