/** Looks in the kernel for the sockets of flows: an exact look-up each, however many sockets there are (sock_diag(7)). */
import { type SocketEnd, SocketFinder, type SocketState } from '../../os/netlink/sock-lookup.ts'
import { formatAddress, KEY_CLIENT, KEY_PORTS, KEY_PROTOCOL, KEY_VIP } from '../dataplane/flow-key.ts'
import { PROTOCOL_NUMBER } from '../plan.ts'

/** Namespaces of containers that are asked about one question. */
const MOST_NAMESPACES = 64

export interface SocketPlaces {
  /** Whether packets to that address are for this host: four words of the key from `at`. Others' connections are nobody's business. */
  isVip(key: Uint32Array, at: number): boolean
  /** Paths of containers' network namespaces in which somebody waits for clients of the service of this key. */
  namespaces(key: Uint32Array): readonly string[]
  /** Whether this host holds a mapping of each of these flows. */
  mapped(keys: readonly Uint32Array[]): Promise<boolean[]>
}

/**
 * Of TCP every state but a wait for others: half-open ones are this host's as much as established ones, and those in TIME-WAIT answer
 * a late FIN again as nobody else would (RFC 9293 section 3.10.7.4). Of UDP only a connected socket.
 */
const isOwn = (protocol: 'tcp' | 'udp', state: SocketState | null): boolean =>
  protocol === 'tcp' ? state !== null && state !== 'listen' && state !== 'closed' : state === 'established'

interface Flow {
  readonly protocol: 'tcp' | 'udp'
  readonly local: SocketEnd
  readonly remote: SocketEnd
}

const flowOf = (key: Uint32Array): Flow | null => {
  const protocol = key[KEY_PROTOCOL]
  if (protocol !== PROTOCOL_NUMBER.tcp && protocol !== PROTOCOL_NUMBER.udp) return null
  const ports = key[KEY_PORTS]!
  return {
    protocol: protocol === PROTOCOL_NUMBER.tcp ? 'tcp' : 'udp',
    local: { address: formatAddress(key, KEY_VIP), port: ports & 0xffff },
    remote: { address: formatAddress(key, KEY_CLIENT), port: ports >>> 16 },
  }
}

export class OwnSockets {
  readonly #places: SocketPlaces
  #finder: SocketFinder | null = null

  constructor(places: SocketPlaces) {
    this.#places = places
  }

  /** Whether this host has the socket of each flow, or, of UDP without one, a mapping of it. Rejects with OsError. */
  async owned(keys: readonly Uint32Array[]): Promise<boolean[]> {
    this.#finder ??= SocketFinder.open()
    const inside = new Map<string, SocketFinder>()
    try {
      const owned = keys.map(key => this.#isOwned(key, inside))
      const unsure = keys.flatMap((key, i) => (this.#mayBeMapped(key, owned[i]!) ? [i] : []))
      if (unsure.length === 0) return owned
      const mapped = await this.#places.mapped(unsure.map(i => keys[i]!))
      unsure.forEach((i, at) => {
        owned[i] = mapped[at] === true
      })
      return owned
    } finally {
      for (const finder of inside.values()) finder.close()
    }
  }

  close(): void {
    this.#finder?.close()
    this.#finder = null
  }

  /** A socket that serves all clients of UDP tells nothing of one. */
  #mayBeMapped(key: Uint32Array, owned: boolean): boolean {
    return !owned && key[KEY_PROTOCOL] === PROTOCOL_NUMBER.udp && this.#places.isVip(key, KEY_VIP)
  }

  #isOwned(key: Uint32Array, inside: Map<string, SocketFinder>): boolean {
    const flow = flowOf(key)
    if (flow === null || !this.#places.isVip(key, KEY_VIP)) return false
    const isIn = (finder: SocketFinder): boolean =>
      isOwn(flow.protocol, finder.find(flow.protocol, flow.local, flow.remote))
    if (isIn(this.#finder!)) return true
    for (const path of this.#places.namespaces(key)) {
      const finder = inside.get(path) ?? this.#enter(path, inside)
      if (finder !== null && isIn(finder)) return true
    }
    return false
  }

  /** A container may have ended meanwhile, and its sockets with it. */
  #enter(path: string, inside: Map<string, SocketFinder>): SocketFinder | null {
    if (inside.size >= MOST_NAMESPACES) return null
    try {
      const finder = SocketFinder.open(path)
      inside.set(path, finder)
      return finder
    } catch {
      return null
    }
  }
}
