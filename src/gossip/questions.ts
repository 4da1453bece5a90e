/** Who may ask whom (ask.ts): only linked peers, over the connection of their link, and only so many at a time. */
import type { Connection, Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import { errorText, ShuntError } from '../errors.ts'
import { ask, serve } from './ask.ts'
import type { Peer } from './peer.ts'

/** Bounds what answers in the making may hold, whoever asks. */
const MAX_ASKED_IN_ALL = 32

export type RequestHandler = (peer: string, body: Uint8Array) => Promise<Uint8Array>
export type QuestionCount = 'requests_out' | 'requests_failed' | 'requests_in' | 'requests_in_failed'

export class Questions {
  readonly #log: Logger
  readonly #count: (what: QuestionCount) => void
  #handler: RequestHandler | undefined
  #asked = 0

  constructor(log: Logger, count: (what: QuestionCount) => void) {
    this.#log = log
    this.#count = count
  }

  answerWith(handler: RequestHandler): void {
    this.#handler = handler
  }

  /** Rejects with SHUNT_ERR_PEER; `peer` is the one called `name`, if there is one. */
  async ask(
    name: string,
    peer: Peer | undefined,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    this.#count('requests_out')
    try {
      if (peer?.link === undefined || peer.live.phase !== 'alive')
        throw new ShuntError(
          'SHUNT_ERR_PEER',
          peer === undefined
            ? `there is no node ${name}; see shunt nodes`
            : `this node has no link to ${name} at present; see shunt nodes, and the log of its agent`,
        )
      return await ask(name, peer.link.connection, body, signal)
    } catch (error) {
      this.#count('requests_failed')
      throw error
    }
  }

  /** Answers a peer's question, or resets its stream. Never rejects. */
  async answer(peer: Peer | undefined, stream: Stream, connection: Connection): Promise<void> {
    const handler = this.#handler
    this.#count('requests_in')
    // What else a peer may have opened beside its link does not count as linked.
    const linked = peer?.link?.connection === connection && peer.live.phase === 'alive'
    if (!linked || handler === undefined || this.#asked >= MAX_ASKED_IN_ALL) {
      this.#count('requests_in_failed')
      stream.abort(new Error('not answered here'))
      return
    }
    this.#asked++
    try {
      await serve(stream, body => handler(peer.config.name, body))
    } catch (error) {
      this.#count('requests_in_failed')
      this.#log.debug({ peer: peer.config.name, error: errorText(error) }, 'request not answered')
    } finally {
      this.#asked--
    }
  }
}
