import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import { outerBytes } from './encapsulate.ts'
import { addressEquals, isIpv4, readIpv4, readIpv6 } from './flow-key.ts'
import type { FlowTable } from './flows.ts'
import {
  buildError,
  type IcmpError,
  isSingle,
  LARGEST_ERROR_BYTES,
  makeEchoReply,
  timeExceeded,
  tooBig,
} from './icmp-build.ts'
import { type QuotedWhole, readQuotedWhole } from './icmp-encapsulated.ts'
import { IcmpLimit } from './icmp-limit.ts'
import { ICMP_KIND, type IcmpView, innerPorts, mirrored } from './icmp-packet.ts'
import { rewriteIcmp, subtractOverhead } from './icmp-rewrite.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import type { PacketRef } from './packet-ref.ts'
import { decrementTtl } from './rewrite.ts'

/** What a forwarder's ICMP may do to the world. */
export interface IcmpForwarderPorts {
  /** Sends a finished packet towards an address: four words from `at`. */
  send(buf: Uint8Array, offset: number, length: number, destination: Uint32Array, at: number): void
  deliverLocal(packet: PacketRef): void
  drop(reason: number): void
}

/** Its owner may assign new values while packets flow. An address is four words; undefined: there is none of that family. */
export interface IcmpForwarderSettings {
  readonly tunnel: (family: 4 | 6) => Uint32Array | undefined
  readonly host: (index: number, family: 4 | 6) => Uint32Array | undefined
  /** Who this node is on a way (traceroute). */
  readonly router: (family: 4 | 6) => Uint32Array | undefined
}

/** RFC 8200, section 5: no way of IPv6 has less, whatever it says. */
const IPV6_MIN_MTU = 1280

const LIMITS = {
  /** A full window of packets that were too large makes some tens of errors at once, for each client. */
  errors: { perSecond: 2000, burst: 2000, eachPerSecond: 50, eachBurst: 50 },
  /** Errors about flows that are not known here, each of which takes a place among the half-open ones. */
  opens: { perSecond: 100, burst: 200, eachPerSecond: 5, eachBurst: 5 },
  echo: { perSecond: 1000, burst: 1000, eachPerSecond: 100, eachBurst: 200 },
} as const

/**
 * A forwarder's ICMP (R-A7): errors from clients' paths go to the host of their flow, errors from hosts' paths to the client; what is
 * too large, or has come too far, is told; a VIP answers echo. No error is ever sent about an ICMP message, or to what is no single machine
 * (RFC 1122, section 3.2.2). Pure: effects through `ports`, time as an argument.
 */
export class IcmpForwarder {
  readonly counters = { errorsToHosts: 0, errorsToClients: 0, errorsMade: 0, echoReplies: 0 }
  readonly #flows: FlowTable
  readonly #identifiers: IdentifierAllocator
  readonly #directory: DirectoryIndex
  readonly #route: (key: Uint32Array, mayOpen: () => boolean, nowMs: number) => number
  readonly #hear: () => void
  readonly #ports: IcmpForwarderPorts
  readonly #settings: IcmpForwarderSettings
  readonly #key = new Uint32Array(10)
  /** Of the packet at hand, source and destination; of the one inside it, too. */
  readonly #ends = new Uint32Array(8)
  readonly #inner = new Uint32Array(8)
  readonly #quoted: QuotedWhole = { offset: 0, length: 0, protocol: 0, ports: 0 }
  readonly #error = new Uint8Array(LARGEST_ERROR_BYTES)
  readonly #limits: { errors: IcmpLimit; opens: IcmpLimit; echo: IcmpLimit }

  constructor(parts: {
    readonly flows: FlowTable
    readonly identifiers: IdentifierAllocator
    readonly directory: DirectoryIndex
    /** ErrorRoutes.find */
    readonly route: (key: Uint32Array, mayOpen: () => boolean, nowMs: number) => number
    /** Takes up what the kernel has told of its flows: an error may be faster. */
    readonly hear: () => void
    readonly ports: IcmpForwarderPorts
    readonly settings: IcmpForwarderSettings
    readonly k0: number
    readonly k1: number
  }) {
    const { k0, k1 } = parts
    this.#flows = parts.flows
    this.#identifiers = parts.identifiers
    this.#directory = parts.directory
    this.#route = parts.route
    this.#hear = parts.hear
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.#limits = {
      errors: new IcmpLimit(LIMITS.errors, k0, k1),
      opens: new IcmpLimit(LIMITS.opens, k0, k1),
      echo: new IcmpLimit(LIMITS.echo, k0, k1),
    }
  }

  /** A message that parsed, to a VIP or to this forwarder's tunnel address. */
  packet(packet: PacketRef, icmp: IcmpView, nowMs: number): void {
    const ends = this.#ends
    readEnds(packet.buf, packet.offset, packet.view.family, ends)
    const tunnel = this.#settings.tunnel(packet.view.family)
    const toTunnel = tunnel !== undefined && addressEquals(ends, 4, tunnel, 0)
    if (!toTunnel && !this.#directory.isVip(ends, 4)) return this.#ports.drop(DROP.NOT_A_SERVICE)
    if (icmp.kind === ICMP_KIND.ECHO) {
      if (toTunnel) return this.#ports.drop(DROP.ICMP_TYPE)
      return this.#echo(packet, icmp, nowMs)
    }
    readEnds(packet.buf, icmp.inner, packet.view.family, this.#inner)
    // Errors go to who sent the packet that they are about; any other is made up.
    if (!addressEquals(ends, 4, this.#inner, 0)) return this.#ports.drop(DROP.ICMP_EMBEDDED)
    if (toTunnel) this.#fromHosts(packet, icmp, nowMs)
    else this.#fromClients(packet, icmp, nowMs)
  }

  /** An error about a packet of a host to a client: to that host, in tunnelled form (icmp-rewrite.ts). */
  #fromClients(packet: PacketRef, icmp: IcmpView, nowMs: number): void {
    const { buf, offset, view } = packet
    const key = this.#key
    key.set(this.#inner.subarray(4, 8), 0)
    key.set(this.#inner.subarray(0, 4), 4)
    key[8] = mirrored(innerPorts(buf, icmp))
    key[9] = icmp.innerProtocol
    if (!this.#limits.errors.allows(key, 0, nowMs)) return this.#ports.drop(DROP.ICMP_RATE)
    const slot = this.#route(key, () => this.#limits.opens.allows(key, 0, nowMs), nowMs)
    if (slot < 0) return
    const host = this.#directory.host(this.#flows.host[slot])
    if (host === undefined) return this.#ports.drop(DROP.NO_HOST)
    this.counters.errorsToHosts++
    if (host.self) return this.#ports.deliverLocal(packet)
    const source = this.#settings.tunnel(view.family)
    const sender = this.#settings.host(host.index, view.family)
    if (source === undefined || sender === undefined) return this.#ports.drop(DROP.NO_HOST)
    if (!decrementTtl(buf, offset, view)) return this.#ports.drop(DROP.TTL_EXPIRED)
    const ports = mirrored(this.#flows.identifier[slot])
    rewriteIcmp(buf, offset, view, icmp, {
      ...{ source, sourceAt: 0, sender, senderAt: 0 },
      ...{ receiver: source, receiverAt: 0, ports },
    })
    this.#ports.send(buf, offset, packet.length, sender, 0)
  }

  /**
   * An error about a tunnelled packet: to the client that sent what was in it, as if from the VIP, which can be reached from there.
   * That a host cannot be reached is not for clients: their next packet may go to another one.
   */
  #fromHosts(packet: PacketRef, icmp: IcmpView, nowMs: number): void {
    const { buf, offset, view } = packet
    const slot = this.#ownerOf(innerPorts(buf, icmp))
    const host = slot < 0 ? undefined : this.#settings.host(this.#flows.host[slot], view.family)
    const { keys } = this.#flows.table
    const at = slot * 10
    const fits = slot >= 0 && keys[at + 9] === icmp.innerProtocol && isIpv4(keys, at) === (view.family === 4)
    if (host === undefined || !fits || !addressEquals(host, 0, this.#inner, 4))
      return this.#ports.drop(DROP.ICMP_NO_FLOW)
    if (icmp.kind === ICMP_KIND.UNREACHABLE) return this.#ports.drop(DROP.ICMP_UNREACHABLE)
    if (!isSingle(keys, at)) return this.#ports.drop(DROP.BAD_ADDRESS)
    if (!this.#limits.errors.allows(keys, at, nowMs)) return this.#ports.drop(DROP.ICMP_RATE)
    if (!decrementTtl(buf, offset, view)) return this.#ports.drop(DROP.TTL_EXPIRED)
    rewriteIcmp(buf, offset, view, icmp, {
      ...{ source: keys, sourceAt: at + 4, sender: keys, senderAt: at },
      ...{ receiver: keys, receiverAt: at + 4, ports: keys[at + 8] },
    })
    this.counters.errorsToClients++
    this.#ports.send(buf, offset, packet.length, keys, at)
  }

  #ownerOf(identifier: number): number {
    const known = this.#identifiers.owner(identifier)
    if (known >= 0) return known
    this.#hear()
    return this.#identifiers.owner(identifier)
  }

  /**
   * An error that parseIcmp refused because what it is about carries no TCP or UDP: about one of this forwarder's packets in full encapsulation, it
   * goes to the client as if from the VIP, about the packet within. Only that it was too large is the client's concern (RFC 2003, section 4): the
   * MTU that is told has no room for the outer header.
   * @returns false: it is no such error
   */
  encapsulated(packet: PacketRef, icmp: IcmpView, nowMs: number): boolean {
    const { buf, offset, view } = packet
    const { family } = view
    const quoted = this.#quoted
    const tunnel = this.#settings.tunnel(family)
    if (tunnel === undefined || !readQuotedWhole(buf, view, icmp, quoted)) return false
    readEnds(buf, offset, family, this.#ends)
    readEnds(buf, icmp.inner, family, this.#inner)
    if (!addressEquals(this.#ends, 4, tunnel, 0) || !addressEquals(this.#inner, 0, tunnel, 0)) return false
    const key = this.#key
    readEnds(buf, quoted.offset, family, key)
    key[8] = quoted.ports
    key[9] = quoted.protocol
    const slot = this.#flows.table.find(key)
    const host = slot < 0 ? undefined : this.#settings.host(this.#flows.host[slot], family)
    if (host === undefined || !addressEquals(host, 0, this.#inner, 4)) this.#ports.drop(DROP.ICMP_NO_FLOW)
    else if (icmp.kind !== ICMP_KIND.TOO_BIG) this.#ports.drop(DROP.ICMP_UNREACHABLE)
    else if (!isSingle(key, 0)) this.#ports.drop(DROP.BAD_ADDRESS)
    else if (!this.#limits.errors.allows(key, 0, nowMs)) this.#ports.drop(DROP.ICMP_RATE)
    else {
      const mtuBytes = subtractOverhead(buf, icmp, family, outerBytes(family))
      const error = tooBig(family, family === 6 ? Math.max(mtuBytes, IPV6_MIN_MTU) : mtuBytes)
      const from = key.subarray(4, 8)
      const bytes = buildError(this.#error, error, from, buf, quoted.offset, quoted.length, family)
      this.counters.errorsToClients++
      this.#ports.send(this.#error, 0, bytes, key, 0)
    }
    return true
  }

  #echo(packet: PacketRef, icmp: IcmpView, nowMs: number): void {
    const { buf, offset, view } = packet
    const ends = this.#ends
    if (!isSingle(ends, 0) || addressEquals(ends, 0, ends, 4)) return this.#ports.drop(DROP.BAD_ADDRESS)
    if (!this.#limits.echo.allows(ends, 0, nowMs)) return this.#ports.drop(DROP.ICMP_RATE)
    makeEchoReply(buf, offset, view, icmp)
    this.counters.echoReplies++
    this.#ports.send(buf, offset, packet.length, ends, 0)
  }

  /**
   * A client's packet that the way to its host, of `mtuBytes`, has no room for. Told as if by the VIP: that address can be reached from
   * the client, and answers get through to it; those of routers inside a network often do not.
   */
  tooBig(packet: PacketRef, mtuBytes: number, nowMs: number): void {
    const { buf, offset, view } = packet
    // RFC 1191: who lets its packets be cut is not told. Nothing is ever cut here.
    if (view.family === 4 && (buf[offset + 6] & 0x40) === 0) return
    this.#tell(packet, tooBig(view.family, mtuBytes), null, nowMs)
  }

  /** A client's packet whose TTL ended here; told by this node's own address, as routers do. */
  expired(packet: PacketRef, nowMs: number): void {
    const { family } = packet.view
    this.#tell(packet, timeExceeded(family), this.#settings.router(family) ?? null, nowMs)
  }

  #tell(packet: PacketRef, error: IcmpError, source: Uint32Array | null, nowMs: number): void {
    const { buf, offset, length, view } = packet
    const ends = this.#ends
    readEnds(buf, offset, view.family, ends)
    if (!isSingle(ends, 0)) return
    if (!this.#limits.errors.allows(ends, 0, nowMs)) return this.#ports.drop(DROP.ICMP_RATE)
    const from = source ?? ends.slice(4, 8)
    const bytes = buildError(this.#error, error, from, buf, offset, length, view.family)
    this.counters.errorsMade++
    this.#ports.send(this.#error, 0, bytes, ends, 0)
  }
}

/** Source and destination of an IP header. */
export const readEnds = (buf: Uint8Array, offset: number, family: 4 | 6, out: Uint32Array): void => {
  if (family === 4) {
    readIpv4(buf, offset + 12, out, 0)
    readIpv4(buf, offset + 16, out, 4)
  } else {
    readIpv6(buf, offset + 8, out, 0)
    readIpv6(buf, offset + 24, out, 4)
  }
}
