import { PacketRing } from '../../os/packet-ring.ts'
import { ETH_P_IPV6 } from '../../os/packet-socket.ts'
import { RawSender } from '../../os/raw-socket.ts'
import { Tun } from '../../os/tun.ts'
import { UdpBatchSocket } from '../../os/udp-socket.ts'
import type { DataplanePlan, LinkRef } from './messages.ts'
import { SLOW_MARK } from './nft/ruleset.ts'

const FRAME_MTU_BYTES = 1800
const SMALL_FRAME = 2048
const LARGE_FRAME = 16_384
const RING_BYTES = 4 << 20

/** What another plan needs: that of the plan in force where it has the same. */
export interface PreparedDevices {
  readonly raw: RawSender | null
  readonly tun: Tun | null
  /** Rings of the plan, by what they are for (`ringKey`). */
  readonly links: ReadonlySet<number>
  /** Those of them that were not there. */
  readonly newRings: ReadonlyMap<number, PacketRing>
}

interface RingPlace {
  readonly key: number
  readonly link: LinkRef
  readonly six: boolean
}

/** A ring has one protocol: with ETH_P_ALL it would see packets before the rules do. */
const ringPlaces = ({ links, clusterWords6 }: DataplanePlan): RingPlace[] =>
  (clusterWords6 === undefined ? [false] : [false, true]).flatMap(six =>
    links.map(link => ({ key: ringKey(link.index, six), link, six })),
  )

const ringKey = (index: number, six: boolean): number => index * 2 + (six ? 1 : 0)

/** Where packets come from and go to: a ring an interface and family, the mapping socket, and by role the raw and TUN output. */
export class Devices {
  readonly socket: UdpBatchSocket
  /** By `ringKey`. */
  readonly #rings = new Map<number, PacketRing>()
  /** Bytes of a frame and of a slot, for life; what is larger is refused and counted (DROP.TOO_BIG). */
  readonly frameSize: number
  #raw: RawSender | null
  #tun: Tun | null
  readonly #closedRings = { packets: 0, drops: 0 }

  /** Throws OsError: what the plan needs cannot be had. */
  constructor(plan: DataplanePlan) {
    // Jumbo frames need a larger frame; a super-packet (GRO) takes the ring's slower way.
    this.frameSize = plan.mtuBytes <= FRAME_MTU_BYTES ? SMALL_FRAME : LARGE_FRAME
    const slotSize = this.frameSize
    for (const place of ringPlaces(plan)) this.#rings.set(place.key, this.#openRing(place))
    this.socket = UdpBatchSocket.open({ address: plan.clusterAddress, port: plan.mappingPort, slotSize })
    this.#raw = plan.forwarder === null ? null : this.#openRaw(plan)
    this.#tun = plan.host === null ? null : Tun.open(plan.host.tun)
  }

  #openRaw({ clusterWords6 }: DataplanePlan): RawSender {
    return RawSender.open({ slotSize: this.frameSize, ipv6: clusterWords6 !== undefined })
  }

  #openRing({ link, six }: RingPlace): PacketRing {
    return PacketRing.open({
      interfaceIndex: link.index,
      mark: SLOW_MARK,
      markMask: 0xffffffff,
      frameSize: this.frameSize,
      frames: RING_BYTES / this.frameSize,
      ...(six && { etherType: ETH_P_IPV6 }),
    })
  }

  get rings(): ReadonlyMap<number, PacketRing> {
    return this.#rings
  }

  get raw(): RawSender | null {
    return this.#raw
  }

  get tun(): Tun | null {
    return this.#tun
  }

  /**
   * Opens all that another plan needs before anything changes. Throws OsError: what cannot be had leaves the plan before in
   * force.
   */
  prepare(plan: DataplanePlan): PreparedDevices {
    const newRings = new Map<number, PacketRing>()
    let raw: RawSender | null = null
    let tun: Tun | null = null
    try {
      const places = ringPlaces(plan)
      for (const place of places)
        if (!this.#rings.has(place.key)) newRings.set(place.key, this.#openRing(place))
      if (plan.forwarder !== null) raw = this.#raw ?? this.#openRaw(plan)
      if (plan.host !== null) tun = this.#tun ?? Tun.open(plan.host.tun)
      return { raw, tun, newRings, links: new Set(places.map(({ key }) => key)) }
    } catch (error) {
      for (const ring of newRings.values()) ring.close()
      if (raw !== this.#raw) raw?.close()
      throw error
    }
  }

  /** Puts in force what was prepared, and closes what the plan has no use for. */
  use({ raw, tun, links, newRings }: PreparedDevices): void {
    if (raw !== this.#raw) this.#raw?.close()
    if (tun !== this.#tun) this.#tun?.close()
    this.#raw = raw
    this.#tun = tun
    for (const [index, ring] of this.#rings) {
      if (links.has(index)) continue
      const { packets, drops, truncated } = ring.stats()
      this.#closedRings.packets += packets
      this.#closedRings.drops += drops + truncated
      ring.close()
      this.#rings.delete(index)
    }
    for (const [index, ring] of newRings) this.#rings.set(index, ring)
  }

  /** Of all rings, the closed ones too: packets taken, and packets lost for want of room. */
  ringStats(): { packets: number; drops: number } {
    let { packets, drops } = this.#closedRings
    for (const ring of this.#rings.values()) {
      const stats = ring.stats()
      packets += stats.packets
      drops += stats.drops + stats.truncated
    }
    return { packets, drops }
  }

  close(): void {
    for (const ring of this.#rings.values()) ring.close()
    this.socket.close()
    this.#raw?.close()
    this.#tun?.close()
  }
}
