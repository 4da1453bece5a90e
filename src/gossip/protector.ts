/**
 * The private network (architecture decision 9): every byte of a connection, from the first, is encrypted under the cluster's
 * network key, so that a stranger learns nothing and reaches nothing behind it. Noise, inside, authenticates the peers.
 *
 *   each side sends a nonce (32 random bytes); then each direction is a ChaCha20 stream (RFC 8439) whose key and
 *   IV are HKDF-SHA256(network key, salt = sender's nonce | receiver's nonce, "shunt private network 1")
 *
 * Receiver: 1. wait for 32 bytes, within the handshake's time-out; 2. refuse our own nonce come back (both directions
 * would use one key stream); 3. decrypt. Wrong keys show as garbage to Noise, which ends the connection.
 *
 * Our own rather than libp2p's, whose cipher keeps all connections in one WebAssembly memory that is never given
 * back: some thousand connections, with no key at all, end the process.
 */
import { type Cipheriv, createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { AbortOptions, ConnectionProtector, MessageStream, MultiaddrConnection } from '@libp2p/interface'
import { AbstractMultiaddrConnection, byteStream } from '@libp2p/utils'

export const NONCE_BYTES = 32
const KEY_BYTES = 32
const IV_BYTES = 16
const LABEL = 'shunt private network 1'
/** Longest wait for the peer's nonce, milliseconds, where the caller sets none. */
const TIMEOUT_MS = 3000

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

type Base = ConstructorParameters<typeof AbstractMultiaddrConnection>[0]

/** A connection whose bytes pass through two ciphers. */
class ProtectedConnection extends AbstractMultiaddrConnection {
  readonly #inner: MultiaddrConnection
  readonly #outbound: Cipheriv

  constructor(init: Base, inner: MultiaddrConnection, inbound: Cipheriv, outbound: Cipheriv) {
    super(init)
    this.#inner = inner
    this.#outbound = outbound
    inner.addEventListener('message', ({ data }) => {
      for (const part of data instanceof Uint8Array ? [data] : data) this.onData(inbound.update(part))
    })
    inner.addEventListener('drain', () => this.onMuxerDrain())
    inner.addEventListener('close', event => {
      if (event.error == null) this.onTransportClosed()
      else if (event.local === true) this.abort(event.error)
      else this.onRemoteReset()
    })
  }

  override async sendClose(options?: AbortOptions): Promise<void> {
    await this.#inner.close(options)
  }

  override sendData(data: Parameters<AbstractMultiaddrConnection['sendData']>[0]): {
    sentBytes: number
    canSendMore: boolean
  } {
    return {
      sentBytes: data.byteLength,
      canSendMore: this.#inner.send(this.#outbound.update(data.subarray())),
    }
  }

  override sendReset(error: Error): void {
    this.#inner.abort(error)
  }

  override sendPause(): void {
    this.#inner.pause()
  }

  override sendResume(): void {
    this.#inner.resume()
  }
}

/** For libp2p's `connectionProtector`. */
export const privateNetwork = (networkKey: Uint8Array) => (): ConnectionProtector => ({
  async protect(connection: MessageStream, options?: AbortOptions): Promise<MessageStream> {
    const inner = connection as MultiaddrConnection
    const own = randomBytes(NONCE_BYTES)
    const limits = options ?? { signal: AbortSignal.timeout(TIMEOUT_MS) }
    const bytes = byteStream(inner)
    const [received] = await Promise.all([
      bytes.read({ bytes: NONCE_BYTES, ...limits }),
      bytes.write(own, limits),
    ])
    const theirs = received.slice()
    if (own.equals(theirs)) throw new Error('the peer sent our own nonce back')
    const init = {
      log: inner.log.newScope('private-network'),
      remoteAddr: inner.remoteAddr,
      direction: inner.direction,
    }
    return new ProtectedConnection(
      init as Base,
      bytes.unwrap() as MultiaddrConnection,
      directionCipher(networkKey, theirs, own),
      directionCipher(networkKey, own, theirs),
    )
  },
})
