/**
 * The private network (architecture decision 9): every byte of a connection after the nonces is encrypted under a network key
 * of the cluster, so that a stranger learns nothing and reaches nothing behind it. Noise, inside, authenticates the peers.
 *
 *   each side sends a nonce (hello-nonce.ts); then each direction is a ChaCha20 stream (RFC 8439) whose key and
 *   IV are HKDF-SHA256(network key, salt = sender's nonce | receiver's nonce, "shunt private network 1")
 *
 * Dialler: 1. send a nonce; 2. wait for 32 bytes, within the handshake's time-out; 3. refuse our own nonce come back (both
 * directions would use one key stream), and one of another key. Acceptor: 1. wait for 32 bytes; 2. look for the key that made
 * them, network keys first; nobody's: close at once, nothing is answered; 3. answer a nonce of the same key; 4. of a join key:
 * the connection is the join hook's (joins.ts) and never reaches libp2p.
 *
 * Our own rather than libp2p's, whose cipher keeps all connections in one WebAssembly memory that is never given
 * back: some thousand connections, with no key at all, end the process.
 */
import { type Cipheriv, createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { AbortOptions, ConnectionProtector, MessageStream, MultiaddrConnection } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { helloNonce, NONCE_BYTES, NONCE_RANDOM_BYTES, nonceMatches } from './hello-nonce.ts'
import type { Joins } from './joins.ts'
import { ProtectedConnection } from './protected-connection.ts'

const KEY_BYTES = 32
const IV_BYTES = 16
const LABEL = 'shunt private network 1'
/** Longest wait for the peer's nonce, milliseconds, where the caller sets none. */
const TIMEOUT_MS = 3000
/** Room for one message of a joining machine; one that sends more ahead of being read is cut off. */
const MAX_UNREAD_BYTES = 256 * 1024

/** The stream cipher of one direction; encrypts and decrypts alike. */
export const directionCipher = (
  networkKey: Uint8Array,
  sender: Uint8Array,
  receiver: Uint8Array,
): Cipheriv => {
  const secret = Buffer.from(
    hkdfSync('sha256', networkKey, Buffer.concat([sender, receiver]), LABEL, KEY_BYTES + IV_BYTES),
  )
  return createCipheriv('chacha20', secret.subarray(0, KEY_BYTES), secret.subarray(KEY_BYTES))
}

export interface Keyring {
  /** The network key to call a peer with, 32 bytes. */
  dialKey(peerId: string): Uint8Array
  /** Network keys that are taken from callers. */
  accepted(): readonly Uint8Array[]
  joins?: Joins | undefined
  onWrongKey(): void
  /** The connection is a join: the admission of peers has no more to do with it. */
  onJoin(connection: MultiaddrConnection): void
}

interface Nonces {
  key: Uint8Array
  ours: Uint8Array
  theirs: Uint8Array
}
type Bytes = ReturnType<typeof byteStream>

const newNonce = (key: Uint8Array): Uint8Array => helloNonce(key, randomBytes(NONCE_RANDOM_BYTES))

const call = async (bytes: Bytes, limits: AbortOptions, key: Uint8Array): Promise<Nonces> => {
  const ours = newNonce(key)
  const [received] = await Promise.all([
    bytes.read({ bytes: NONCE_BYTES, ...limits }),
    bytes.write(ours, limits),
  ])
  const theirs = received.slice()
  if (Buffer.compare(ours, theirs) === 0) throw new Error('the peer sent our own nonce back')
  if (!nonceMatches(key, theirs)) throw new Error('the peer answered with another network key')
  return { key, ours, theirs }
}

const answer = async (
  bytes: Bytes,
  limits: AbortOptions,
  keys: Keyring,
): Promise<(Nonces & { token?: string }) | undefined> => {
  const theirs = (await bytes.read({ bytes: NONCE_BYTES, ...limits })).slice()
  const key = keys.accepted().find(candidate => nonceMatches(candidate, theirs))
  const join = key === undefined ? keys.joins?.keys().find(one => nonceMatches(one.key, theirs)) : undefined
  const found = key ?? join?.key
  if (found === undefined) return undefined
  const ours = newNonce(found)
  await bytes.write(ours, limits)
  return { key: found, ours, theirs, ...(join !== undefined && { token: join.token }) }
}

const peerIdOf = (connection: MultiaddrConnection): string =>
  connection.remoteAddr.getComponents().findLast(({ name }) => name === 'p2p')?.value ?? ''

/** For libp2p's `connectionProtector`. */
export const privateNetwork = (keys: Keyring) => (): ConnectionProtector => ({
  async protect(connection: MessageStream, options?: AbortOptions): Promise<MessageStream> {
    const inner = connection as MultiaddrConnection
    const limits = options ?? { signal: AbortSignal.timeout(TIMEOUT_MS) }
    const bytes = byteStream(inner, { maxBufferSize: MAX_UNREAD_BYTES })
    const nonces: (Nonces & { token?: string }) | undefined =
      inner.direction === 'outbound'
        ? await call(bytes, limits, keys.dialKey(peerIdOf(inner)))
        : await answer(bytes, limits, keys)
    if (nonces === undefined) {
      keys.onWrongKey()
      throw new Error('the caller has no key of this cluster')
    }
    const { key, ours, theirs, token } = nonces
    if (token !== undefined) {
      keys.onJoin(inner)
      const remoteAddress = inner.remoteAddr.toString().split('/')[2] ?? ''
      await keys.joins?.serve(inner, bytes, { token, key, ours, theirs, remoteAddress })
      throw new Error('a join, served')
    }
    bytes.unwrap()
    return new ProtectedConnection(
      inner,
      directionCipher(key, theirs, ours),
      directionCipher(key, ours, theirs),
    )
  },
})
