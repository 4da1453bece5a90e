/** Connections of machines that join with a token: a plain byte stream for somebody else's protocol, bounded in number and time. */
import type { AbortOptions, MultiaddrConnection } from '@libp2p/interface'
import type { byteStream } from '@libp2p/utils'

/** At once; more are closed and counted. */
export const MAX_JOINS = 8
/** Of one address, so that one machine that replays a recorded nonce leaves places for others. */
const MAX_JOINS_OF_ADDRESS = 4
const JOIN_TIMEOUT_MS = 5000

export interface JoinSession {
  token: string
  /** The join key that the nonce was made with, 32 bytes. */
  key: Uint8Array
  /** The two nonces of this connection, 32 bytes each. */
  ours: Uint8Array
  theirs: Uint8Array
  /** IP address of the other end. */
  remoteAddress: string
  /** Rejects when the connection ends or the five seconds of a join are over. */
  read(bytes: number): Promise<Uint8Array>
  write(bytes: Uint8Array): Promise<void>
}

export interface JoinHook {
  /** Join keys of outstanding tokens, 32 bytes each. */
  keys(): readonly { token: string; key: Uint8Array }[]
  /** A connection whose nonce carries a join key never reaches libp2p: plain byte stream after both nonces. Settling closes it. */
  serve(session: JoinSession): Promise<void>
}

export type JoinCount = 'joins' | 'joins_refused' | 'joins_failed'

export class Joins {
  readonly #hook: JoinHook
  readonly #count: (what: JoinCount) => void
  readonly #open = new Map<MultiaddrConnection, string>()

  constructor(hook: JoinHook, count: (what: JoinCount) => void) {
    this.#hook = hook
    this.#count = count
  }

  keys(): readonly { token: string; key: Uint8Array }[] {
    return this.#hook.keys()
  }

  /** Settles when the connection is closed; never rejects. */
  async serve(
    connection: MultiaddrConnection,
    bytes: ReturnType<typeof byteStream>,
    session: Omit<JoinSession, 'read' | 'write'>,
  ): Promise<void> {
    const same = [...this.#open.values()].filter(address => address === session.remoteAddress).length
    if (this.#open.size >= MAX_JOINS || same >= MAX_JOINS_OF_ADDRESS) {
      this.#count('joins_refused')
      connection.abort(new Error('too many joins at a time'))
      return
    }
    this.#open.set(connection, session.remoteAddress)
    const limits: AbortOptions = { signal: AbortSignal.timeout(JOIN_TIMEOUT_MS) }
    const timeout = setTimeout(() => connection.abort(new Error('the join took too long')), JOIN_TIMEOUT_MS)
    try {
      // A place is held no longer than its connection, whatever the hook still does.
      await Promise.race([
        ended(connection),
        this.#hook.serve({
          ...session,
          read: async count => (await bytes.read({ bytes: count, ...limits })).slice(),
          write: async data => {
            if (connection.status !== 'open') throw new Error('the joining machine has gone')
            await bytes.write(data, limits)
          },
        }),
      ])
      await connection.close(limits)
      this.#count('joins')
    } catch (error) {
      this.#count('joins_failed')
      connection.abort(error instanceof Error ? error : new Error(String(error)))
    } finally {
      clearTimeout(timeout)
      this.#open.delete(connection)
    }
  }
}

const ended = (connection: MultiaddrConnection): Promise<never> =>
  new Promise((_, reject) => {
    const gone = (): void => reject(new Error('the joining machine has gone'))
    connection.addEventListener('close', gone)
    if (connection.status !== 'open') gone()
  })
