/**
 * The first 32 bytes that each side of a connection sends (architecture decision 9): a nonce that only a holder of a key can
 * make, so that an acceptor with several keys (rotation, joins) knows which one is meant, and drops at once what has none.
 *
 *  0                              24              32
 * +------------------------------+---------------+
 * | random                       | tag           |   tag: first 8 bytes of HMAC-SHA256(tag key, random)
 * +------------------------------+---------------+   tag key: HKDF-SHA256(key, no salt, "shunt hello 1"), 32 bytes
 *
 * A recorded nonce matches again: it opens nothing, since the key streams take a fresh nonce of the other side too.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

export const NONCE_BYTES = 32
export const NONCE_RANDOM_BYTES = 24
const TAG_BYTES = NONCE_BYTES - NONCE_RANDOM_BYTES
const LABEL = 'shunt hello 1'
const NO_SALT = new Uint8Array(0)

const tag = (key: Uint8Array, random: Uint8Array): Uint8Array =>
  createHmac('sha256', new Uint8Array(hkdfSync('sha256', key, NO_SALT, LABEL, 32)))
    .update(random)
    .digest()
    .subarray(0, TAG_BYTES)

/** The nonce of a holder of `key` (32 bytes). Throws RangeError unless `random24` is 24 bytes. */
export const helloNonce = (key: Uint8Array, random24: Uint8Array): Uint8Array => {
  if (random24.length !== NONCE_RANDOM_BYTES)
    throw new RangeError(`a nonce begins with ${NONCE_RANDOM_BYTES} random bytes, not ${random24.length}`)
  const nonce = new Uint8Array(NONCE_BYTES)
  nonce.set(random24)
  nonce.set(tag(key, random24), NONCE_RANDOM_BYTES)
  return nonce
}

/** Whether a holder of `key` made this nonce; false also for other sizes. Takes the same time either way. */
export const nonceMatches = (key: Uint8Array, nonce: Uint8Array): boolean =>
  nonce.length === NONCE_BYTES &&
  timingSafeEqual(tag(key, nonce.subarray(0, NONCE_RANDOM_BYTES)), nonce.subarray(NONCE_RANDOM_BYTES))
