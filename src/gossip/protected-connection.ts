/** A connection whose bytes pass through two stream ciphers, one a direction (protector.ts). */
import type { Cipheriv } from 'node:crypto'
import type { AbortOptions, MultiaddrConnection } from '@libp2p/interface'
import { AbstractMultiaddrConnection } from '@libp2p/utils'

type Init = ConstructorParameters<typeof AbstractMultiaddrConnection>[0]

export class ProtectedConnection extends AbstractMultiaddrConnection {
  readonly #inner: MultiaddrConnection
  readonly #outbound: Cipheriv

  constructor(inner: MultiaddrConnection, inbound: Cipheriv, outbound: Cipheriv) {
    super({
      log: inner.log.newScope('private-network'),
      remoteAddr: inner.remoteAddr,
      direction: inner.direction,
    } as Init)
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
