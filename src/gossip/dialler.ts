/**
 * Calls to peers, at most one under way each. When to call, how long to wait after a failure, and when a call is given up for another one
 * are liveness.ts's to say.
 */
import type { Connection, Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import { errorText } from '../errors.ts'
import { abortConnection } from './abort.ts'
import type { LinkCounter } from './link-counters.ts'
import type { Peer } from './peer.ts'

const DIAL_TIMEOUT_MS = 3000

/** What the dialler asks of the links. */
export interface DiallerPorts {
  count(what: LinkCounter): void
  /** A new connection to a peer and the link stream on it. Rejects when either fails. */
  connect(
    id: string,
    address: string,
    signal: AbortSignal,
  ): Promise<{ stream: Stream; connection: Connection }>
  /** Whether this is still one of the peers. */
  holds(peer: Peer): boolean
  opened(peer: Peer, stream: Stream, connection: Connection): void
  failed(peer: Peer): void
}

export class Dialler {
  readonly #ports: DiallerPorts
  readonly #log: Logger
  readonly #all = new AbortController()

  constructor(ports: DiallerPorts, log: Logger) {
    this.#ports = ports
    this.#log = log
  }

  /** Calls a peer whose machine says `dialing`. What comes of it is told unless it is no peer any more, or has moved meanwhile. */
  async dial(peer: Peer): Promise<void> {
    const { id, address } = peer.config
    const outdated = (): boolean => !this.#ports.holds(peer) || peer.config.address !== address
    this.#ports.count('dials')
    const dialing = new AbortController()
    peer.dialing = dialing
    try {
      const timeout = AbortSignal.timeout(DIAL_TIMEOUT_MS)
      const signal = AbortSignal.any([this.#all.signal, dialing.signal, timeout])
      const { stream, connection } = await this.#ports.connect(id, address, signal)
      // The peer may have called meanwhile.
      if (peer.live.phase === 'dialing' && !outdated()) this.#ports.opened(peer, stream, connection)
      else abortConnection(connection, 'no longer wanted')
    } catch (error) {
      this.#ports.count('dial_failures')
      if (outdated()) return
      peer.dialFailures++
      this.#log.debug({ peer: peer.config.name, error: errorText(error) }, 'dial failed')
      this.#ports.failed(peer)
    }
  }

  /** Ends the call under way to a peer, if there is one: it fails. */
  giveUp(peer: Peer): void {
    peer.dialing?.abort()
  }

  /** Ends all calls, also those that are asked for from now on. */
  stop(): void {
    this.#all.abort()
  }
}
