/** Reads a stream by counts of bytes. */
import type { Duplex } from 'node:stream'

export class SocketReader {
  readonly #socket: Duplex
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array(0)

  constructor(socket: Duplex) {
    this.#socket = socket
    // The iterator reports an error only to a read; one before the first read is kept for it.
    socket.on('error', () => {})
    this.#chunks = socket[Symbol.asyncIterator]()
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** Exactly so many. Rejects when the stream ends or fails before. */
  async read(count: number): Promise<Uint8Array> {
    const parts = [this.#rest]
    let held = this.#rest.length
    while (held < count) {
      const { value, done } = await this.#chunks.next()
      if (done === true) throw new Error('the connection was closed')
      parts.push(value)
      held += value.length
    }
    const all = Buffer.concat(parts)
    this.#rest = all.subarray(count)
    return all.subarray(0, count)
  }
}
