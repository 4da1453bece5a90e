/** A host whose kernel learns mappings by itself (bpf/learn.h): XdpHostLab with one forwarder's keys, and mapping datagrams as that one sends them. */
import {
  createMappingHeader,
  encodeMappingHeader,
  KIND,
  mappingHeaderLength,
} from '../../src/agent/dataplane/mapping-header.ts'
import { LearnTable } from '../../src/agent/dataplane/xdp/learn-table.ts'
import { createLearnt, LearntMap, readMappingEvent } from '../../src/agent/dataplane/xdp/learnt-map.ts'
import { ServiceTable } from '../../src/agent/dataplane/xdp/service-table.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { BpfRing } from '../../src/os/bpf/ring.ts'
import { readClocks } from '../../src/os/clock.ts'
import { index } from './bpf.ts'
import { buildPacket, identifierOf, type PacketShape, type Protocol, TCP } from './dataplane-case.ts'
import { CLIENT, FAMILIES, type Family, HOSTS, SERVICES, TUNNEL, VIP } from './dataplane-world.ts'
import { buildFrame, type VlanTag } from './ethernet.ts'
import { OWN } from './host-cases.ts'
import { addressWords, buildUdp4, buildUdp6, FLAG } from './packets.ts'
import { TUNNELS, XdpHostLab } from './xdp-host-lab.ts'

export const FORWARDER: Readonly<Record<Family, string>> = { 4: '10.51.0.9', 6: 'fd00:51::9' }
export const MAPPING_PORT = 7411
export const EPOCH = 0x80000005
export const WINDOW_S = 30
export const KEY = { number: 3, words: Uint32Array.of(0x01020304, 0x89abcdef, 0xfedcba98, 0x0badcafe) }
/** Of what the host sends to the forwarder. */
export const ANSWER_KEY = { number: 9, words: Uint32Array.of(0xdeadbeef, 0x01234567, 0x89abcdef, 0x76543210) }
export const IDENTIFIER = identifierOf(HOSTS.local.index, 0x123456)

export interface DatagramShape {
  readonly protocol?: Protocol
  /** Of the packet inside. */
  readonly packet?: PacketShape
  /** Takes its place. */
  readonly inner?: Uint8Array | null
  readonly kind?: number
  readonly epoch?: number
  readonly sequence?: number
  /** s, later than now. */
  readonly late?: number
  readonly identifier?: number
  readonly keyNumber?: number
  readonly key?: Uint32Array
  readonly client?: string
  readonly clientPort?: number
  readonly vip?: string
  readonly vipPort?: number
  readonly tunnel?: string
  readonly from?: string
  readonly to?: string
  readonly port?: number
  readonly tags?: readonly VlanTag[]
  /** Of the datagram, whatever its flow is of. Default: IPv4, as agents send it. */
  readonly outer?: Family
}

/** A mapping datagram by the agent's own encoder, in a frame; and the frame of the packet inside. */
export const datagram = (
  family: Family,
  shape: DatagramShape = {},
): { frame: Uint8Array; inner: Uint8Array } => {
  const { protocol = TCP, clientPort = 40_000, vipPort = protocol === TCP ? 80 : 53, tags = [] } = shape
  const outer = shape.outer ?? 4
  const packet =
    shape.inner ??
    buildPacket(family, protocol, {
      ...{ sourcePort: clientPort, destinationPort: vipPort },
      ...(protocol === TCP ? { flags: FLAG.SYN, payload: new Uint8Array(0) } : {}),
      ...shape.packet,
    })
  const header = createMappingHeader()
  header.kind = shape.kind ?? KIND.MAP
  header.keyNumber = shape.keyNumber ?? KEY.number
  header.epoch = shape.epoch ?? EPOCH
  header.sequence = shape.sequence ?? 77
  header.timeS = Math.floor(Date.now() / 1000) + (shape.late ?? 0)
  header.identifier = shape.identifier ?? IDENTIFIER
  header.protocol = protocol
  header.hostIndex = 9
  header.ports = ((clientPort << 16) | vipPort) >>> 0
  header.client.set(addressWords(shape.client ?? CLIENT[family]))
  header.vip.set(addressWords(shape.vip ?? VIP[family]))
  header.node.set(addressWords(shape.tunnel ?? TUNNEL[outer]))
  header.innerLength = shape.inner === null ? 0 : packet.length
  const payload = new Uint8Array(mappingHeaderLength(header) + header.innerLength)
  const length = encodeMappingHeader(header, payload, 0, shape.key ?? KEY.words)
  if (shape.inner !== null) payload.set(packet, length)
  const whole = (outer === 4 ? buildUdp4 : buildUdp6)({
    source: shape.from ?? FORWARDER[outer],
    destination: shape.to ?? OWN[outer],
    sourcePort: MAPPING_PORT,
    destinationPort: shape.port ?? MAPPING_PORT,
    payload,
  })
  return { frame: buildFrame(whole, { tags }), inner: buildFrame(packet, { tags }) }
}

/** Bytes of a frame in front of the mapping header, and of that header for a flow of the family. */
export const headerPlace = (family: Family): { readonly at: number; readonly bytes: number } =>
  family === 4 ? { at: 14 + 28, bytes: 48 } : { at: 14 + 28, bytes: 84 }

export interface ToldEvent {
  readonly kind: 'learnt' | 'closes'
  readonly identifier: number
  readonly tunnel: number
  readonly generation: number
  readonly tcpFlags: number
}

export class XdpLearnLab extends XdpHostLab {
  readonly learn: LearnTable
  readonly learnt: LearntMap
  readonly ring: BpfRing
  answerKey: typeof ANSWER_KEY | null = ANSWER_KEY
  readonly #answered: MappedArray
  readonly #learnMapped: readonly MappedArray[]

  constructor(sizes: Readonly<Record<string, number>> = {}) {
    super(1000, sizes)
    const [tunnels, bss, services, answered] = ['learn_tunnels', 'bss', 'services', 'answered'].map(
      name => new MappedArray(this.object.map(name)),
    )
    this.#learnMapped = [tunnels, bss, services, answered]
    this.#answered = answered
    this.learn = new LearnTable(tunnels, bss, answered)
    this.learnt = new LearntMap(this.object.map('learnt'))
    this.ring = new BpfRing(this.object.map('mapping_events'))
    const table = new ServiceTable(services.bytes)
    for (const family of FAMILIES)
      for (const { vip, port, protocol, number } of SERVICES)
        table.set(addressWords(vip[family]), 0, port, protocol, number)
    this.learn.configure({
      port: MAPPING_PORT,
      windowS: WINDOW_S,
      own4: addressWords(OWN[4]),
      own6: addressWords(OWN[6]),
    })
    this.tunnel(4)
    this.renew()
  }

  /** The forwarder's key is there, for datagrams from its address of that family. */
  tunnel(family: Family, epoch = EPOCH): void {
    const { index, generation } = TUNNELS.first
    this.learn.set(index, {
      generation,
      epoch,
      sender: addressWords(FORWARDER[family]),
      keys: [KEY],
      answer: this.answerKey,
    })
  }

  /** Whether the interface may send back what it gets. */
  sends(may: boolean): void {
    const devices = this.object.map('devices')
    if (may) devices.update(index(1), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    else devices.delete(index(1))
  }

  renew(graceMs = 3_600_000): void {
    const { bootMs, wallMs } = readClocks()
    this.learn.renew(bootMs, wallMs, graceMs)
  }

  /** What the ring holds; it is empty then. */
  told(): ToldEvent[] {
    const told: ToldEvent[] = []
    const record = createLearnt()
    this.ring.receive(100_000, (view, at, length) => {
      const kind = readMappingEvent(view, at, length, record)
      const { identifier, tunnel, generation, tcpFlags } = record
      told.push({ kind, identifier, tunnel, generation, tcpFlags })
    })
    return told
  }

  /** Nothing is learnt any more. */
  forget(): void {
    for (const { tunnel, generation, identifier } of this.learnt.some(Number.MAX_SAFE_INTEGER))
      this.learnt.delete(tunnel, generation, identifier)
    this.#answered.bytes.fill(0)
    this.told()
    this.resetCounters()
  }

  override close(): void {
    this.ring.close()
    for (const mapped of this.#learnMapped) mapped.release()
    super.close()
  }
}
