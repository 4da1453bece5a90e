/** Which endpoints of services a host's waiting sockets serve, and what changed since an earlier look (R-B2). */

export interface WaitingSocket {
  readonly protocol: 'tcp' | 'udp'
  /** As text; `0.0.0.0` and `::` are wildcards. */
  readonly address: string
  readonly port: number
  readonly inode: number
  /** Of an IPv6 wildcard: takes no IPv4. */
  readonly v6only: boolean
  /** A container's network namespace, as the kernel names it: `net:[4026532281]`; null: the host's own. */
  readonly namespace: string | null
  /** Addresses of that namespace; of the host's own they are not needed. */
  readonly local: readonly string[]
}

/** Where packets of a service arrive on this host. */
export interface ServedEndpoint {
  readonly vip: string
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  /** The host's own address, and the port there. */
  readonly physical: string
  readonly physicalPort: number
  /** New connections are given to who listens there, and to nobody else (agent/endpoints.ts). */
  readonly translated?: boolean
}

/** A look at all sockets, by key. */
export type Look<S extends WaitingSocket = WaitingSocket> = ReadonlyMap<string, S>

/** The same for the same socket in every look. */
export const socketKey = (socket: WaitingSocket): string =>
  `${socket.inode} ${socket.protocol} ${socket.address} ${socket.port} ${socket.namespace ?? ''}`

/** The kernel may list a socket twice while others come and go. */
export const lookOf = <S extends WaitingSocket>(sockets: Iterable<S>): Look<S> => {
  const look = new Map<string, S>()
  for (const socket of sockets) look.set(socketKey(socket), socket)
  return look
}

const without = <S extends WaitingSocket>(some: Look<S>, others: Look<S>): S[] => {
  const left: S[] = []
  for (const [key, socket] of some) if (!others.has(key)) left.push(socket)
  return left
}

export const compareLooks = <S extends WaitingSocket>(
  before: Look<S>,
  after: Look<S>,
): { appeared: S[]; vanished: S[] } => ({
  appeared: without(after, before),
  vanished: without(before, after),
})

const isWildcardFor = (socket: WaitingSocket, address: string): boolean =>
  address.includes(':')
    ? socket.address === '::'
    : socket.address === '0.0.0.0' || (socket.address === '::' && !socket.v6only)

/** How a socket gets packets of an endpoint: as bound to the VIP, to the wildcard, or to the host's own address. */
export type Service = 'vip' | 'wildcard' | 'physical'

/** The kernel gives connections to sockets of its own namespace only. */
const servesTranslated = (
  socket: WaitingSocket,
  { physical, physicalPort }: ServedEndpoint,
): Service | null => {
  if (socket.namespace !== null || socket.port !== physicalPort) return null
  if (socket.address === physical) return 'physical'
  return isWildcardFor(socket, physical) ? 'wildcard' : null
}

/**
 * Null: it does not serve it. In a container a wildcard serves only addresses that the container has: packets for others do
 * not come in, and an unpublished port must not draw connections.
 */
export const serves = (socket: WaitingSocket, endpoint: ServedEndpoint): Service | null => {
  if (socket.protocol !== endpoint.protocol) return null
  if (endpoint.translated) return servesTranslated(socket, endpoint)
  const arrives = (address: string): boolean => socket.namespace === null || socket.local.includes(address)
  if (socket.port === endpoint.port) {
    if (socket.address === endpoint.vip) return 'vip'
    if (isWildcardFor(socket, endpoint.vip) && arrives(endpoint.vip)) return 'wildcard'
  }
  if (socket.port === endpoint.physicalPort) {
    if (socket.address === endpoint.physical) return 'physical'
    if (isWildcardFor(socket, endpoint.physical) && arrives(endpoint.physical)) return 'wildcard'
  }
  return null
}

/** Those of `endpoints` that a socket serves, each with its sockets. */
export const servedEndpoints = <E extends ServedEndpoint, S extends WaitingSocket>(
  endpoints: readonly E[],
  sockets: readonly S[],
): Map<E, S[]> => {
  const byPort = Map.groupBy(sockets, socket => socket.port)
  const served = new Map<E, S[]>()
  for (const endpoint of endpoints) {
    const ports = new Set([endpoint.port, endpoint.physicalPort])
    const found = [...ports]
      .flatMap(port => byPort.get(port) ?? [])
      .filter(socket => serves(socket, endpoint) !== null)
    if (found.length > 0) served.set(endpoint, found)
  }
  return served
}
