/** What waits for clients on this host, in its own network namespace and in those of containers; asks the kernel. */
import { compareLooks, type Look, lookOf } from '../../health/system/listeners.ts'
import { type ListeningSocket, listListening } from '../../os/netlink/sock-diag.ts'
import type { SocketOwner } from '../../os/proc.ts'
import { readSysctl } from '../../os/sysctl.ts'
import { Containers } from './containers.ts'

/** A socket that waits for clients, and who holds it: null until that is known, or where nobody is seen to. */
export interface Listener extends ListeningSocket {
  readonly owner: SocketOwner | null
  /** Network namespace of a container, `net:[4026532281]`; null: this host's own. */
  readonly namespace: string | null
  /** Addresses of that namespace; empty for the host's own. */
  readonly local: readonly string[]
}
export type Found = Omit<Listener, 'owner'>

/** More are not told; those at ports of services come first. */
const MAX_LISTENERS = 8_192

/** Ports that the kernel gives to clients: unconnected UDP sockets there are mostly those of resolvers. */
const clientPorts = (): readonly [number, number] => {
  try {
    const [low, high] = String(readSysctl('net.ipv4.ip_local_port_range')).trim().split(/\s+/).map(Number)
    return [low ?? 32_768, high ?? 60_999]
  } catch {
    return [32_768, 60_999]
  }
}

export class ListenerLook {
  readonly #ports: () => ReadonlySet<number>
  readonly #clientPorts = clientPorts()
  readonly #containers: Containers
  #held: Look<Found> = new Map()

  /** `ports`: those of services, now. `namespacesMs`: how often new namespaces are looked for. */
  constructor(ports: () => ReadonlySet<number>, namespacesMs: number) {
    this.#ports = ports
    this.#containers = new Containers(namespacesMs)
  }

  /** Looks again. `changed`: sockets came or went, or addresses of a container did. Throws OsError. */
  look(nowMs: number): { changed: boolean; sockets: readonly Found[] } {
    const moved = this.#containers.find(nowMs)
    let now = this.#once(nowMs)
    // The kernel's lists may leave out a socket while others come and go: what is missing twice is gone.
    if (compareLooks(this.#held, now).vanished.length > 0) now = new Map([...now, ...this.#once(nowMs)])
    const { appeared, vanished } = compareLooks(this.#held, now)
    this.#held = now
    return { changed: moved || appeared.length + vanished.length > 0, sockets: [...now.values()] }
  }

  /** A process of the namespace, null for the host's own; undefined: there is no such namespace (any more). */
  processIn(namespace: string | null): number | null | undefined {
    return namespace === null ? null : this.#containers.processIn(namespace)
  }

  #once(nowMs: number): Look<Found> {
    const ports = this.#ports()
    const found: Found[] = []
    const add = (sockets: readonly ListeningSocket[], namespace: string | null, local: readonly string[]) => {
      for (const socket of sockets)
        if (ports.has(socket.port) || this.#isServer(socket)) found.push({ ...socket, namespace, local })
    }
    add(listListening(), null, [])
    for (const { id, local, sockets } of this.#containers.list(nowMs)) add(sockets, id, local)
    if (found.length > MAX_LISTENERS)
      found.sort((a, b) => Number(ports.has(b.port)) - Number(ports.has(a.port)) || a.inode - b.inode)
    return lookOf(found.slice(0, MAX_LISTENERS))
  }

  #isServer({ protocol, port }: ListeningSocket): boolean {
    return protocol === 'tcp' || port < this.#clientPorts[0] || port > this.#clientPorts[1]
  }
}
