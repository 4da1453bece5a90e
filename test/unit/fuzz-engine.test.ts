/** The whole engine under hostile input: any packet in the ring, any datagram at the mapping port (decisions 2-4). */
import { createHash } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { formatAddress, readIpv6 } from '../../src/agent/dataplane/flow-key.ts'
import { emptyBook } from '../../src/agent/dataplane/index-book.ts'
import { createMappingHeader, decodeMappingHeader, KIND } from '../../src/agent/dataplane/mapping-header.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { buildMappingKeys, ipv4Of } from '../../src/agent/plan.ts'
import { type Cast, hostileDatagram, hostilePacket, type Known, sixOf } from '../support/hostile.ts'
import { icmpAt, icmpFaults, quotedOf } from '../support/icmp.ts'
import { addressWords, onesSum } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { SimNode } from '../support/sim-node.ts'

const it = suite('engine under hostile input')

const SECRET = new Uint8Array(32).fill(7)
const LIMITS = { flows: 24, embryonicFlows: 12, mappings: 8, heldPackets: 48, affinity: 1_024, atoms: 16 }
const EPOCH = 1001
const HOSTS = ['10.10.0.71', '10.10.0.72', '10.10.0.73']
const FORWARDERS = ['10.10.0.11', '10.10.0.12']
const TUNNELS = ['10.10.1.11', '10.10.1.12']
const CLASSIFIER = '10.10.0.41'
const EVERY_KIND = Object.values(KIND)
const castOf = (own: string, hosts: readonly string[], kinds: readonly number[]): Cast => ({
  clients: ['10.20.0.11', '10.20.0.12', '10.20.0.13', '0.0.0.0', '255.255.255.255', '127.0.0.1'],
  vips: ['10.99.0.1', '10.99.0.2'],
  hosts,
  forwarders: FORWARDERS,
  tunnels: TUNNELS,
  classifier: CLASSIFIER,
  own,
  ipv6: true,
  ports: [0, 1, 40_000, 40_001, 40_002, 40_003, 40_004, 40_005, 65_535],
  kinds,
})

type Kind = 'forwarder' | 'forwarder+classifier' | 'classifier' | 'host' | 'all'
const ADDRESS: Record<Kind, string> = {
  forwarder: FORWARDERS[0]!,
  'forwarder+classifier': FORWARDERS[0]!,
  classifier: CLASSIFIER,
  host: HOSTS[0]!,
  all: FORWARDERS[0]!,
}

const hostsOf = (kind: Kind): string[] => (kind === 'all' ? [ADDRESS.all, ...HOSTS.slice(1)] : HOSTS)

const makePlan = (kind: Kind): DataplanePlan => {
  const address = ADDRESS[kind]
  const hostAddresses = hostsOf(kind)
  const directory = {
    hosts: hostAddresses.map((host, i) => ({
      index: i + 1,
      name: `h${i + 1}`,
      words: addressWords(host),
      ipv4: ipv4Of(host),
      words6: addressWords(sixOf(host)),
      self: host === address,
      hash: createHash('sha256')
        .update(`h${i + 1}`)
        .digest()
        .readUInt32BE(0),
      leaving: false,
      live: true,
      draining: false,
    })),
    forwarders: FORWARDERS.map((forwarder, i) => ({
      name: `f${i + 1}`,
      tunnelWords: addressWords(TUNNELS[i]!),
      tunnelIpv4: ipv4Of(TUNNELS[i]!),
      tunnelWords6: addressWords(sixOf(TUNNELS[i]!)),
      ipv4: ipv4Of(forwarder),
    })),
    classifiers: kind === 'forwarder' ? [{ name: 'c1', ipv4: ipv4Of(CLASSIFIER), live: true }] : [],
    services: ['10.99.0.1', sixOf('10.99.0.1')].flatMap((vip, i) =>
      (
        [
          ['web', 80, 6],
          ['dns', 53, 17],
        ] as const
      ).map(([name, port, protocol], j) => ({
        ...{ index: 2 * i + j, name: `${name}${i}`, vip: addressWords(vip), port, protocol },
        hosts: [1, 2, 3].map(index => ({ index, capacity: 50 })),
      })),
    ),
    hostIndexes: emptyBook(4),
    serviceIndexes: emptyBook(4),
  }
  const forwards = kind === 'forwarder' || kind === 'forwarder+classifier' || kind === 'all'
  return {
    table: 'sim',
    directory,
    clusterAddress: address,
    clusterIpv4: ipv4Of(address),
    clusterWords6: addressWords(sixOf(address)),
    mappingPort: 6781,
    links: [],
    mtuBytes: 1500,
    forwarder: forwards
      ? {
          tunnelIpv4: ipv4Of(TUNNELS[0]!),
          tunnelWords: addressWords(TUNNELS[0]!),
          tunnelWords6: addressWords(sixOf(TUNNELS[0]!)),
          epoch: EPOCH,
          hasClassifier: kind !== 'forwarder',
        }
      : null,
    classifier: kind !== 'forwarder' && kind !== 'host',
    host: kind === 'host' || kind === 'all' ? { tun: 'sim' } : null,
    keys: buildMappingKeys(directory, [{ number: 1, bytes: SECRET }], ipv4Of(ADDRESS[kind])),
    choiceKey: [11, 12],
    tableKey: [13, 14],
    limits: LIMITS,
    timeouts: {
      embryonic: 3000,
      tcpIdle: 30_000,
      udpIdle: 10_000,
      linger: 2000,
      quarantine: 8000,
      routeLease: 4000,
      unattended: 30_000,
      drain: 0,
    },
  }
}

/** What the next node would choke on; by the RFCs, with no code of the data plane. */
const headerFaults = (bytes: Uint8Array): string[] => {
  const at = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes[0]! >>> 4 === 6) return at.getUint16(4) + 40 === bytes.length ? [] : ['IPv6 payload length']
  const head = (bytes[0]! & 15) * 4
  if (bytes[0]! >>> 4 !== 4 || head < 20 || head > bytes.length) return ['version or header length']
  const faults: string[] = []
  if (at.getUint16(2) !== bytes.length) faults.push('total length')
  if (onesSum(bytes.subarray(0, head)) !== 0xffff) faults.push('header checksum')
  if ((at.getUint16(6) & 0x1fff) !== 0) faults.push('a later fragment')
  const l4 = bytes.subarray(head)
  if (bytes[9] === 6) {
    const offset = l4.length < 20 ? 0 : (l4[12]! >>> 4) * 4
    if (offset < 20 || offset > l4.length) faults.push('TCP header length')
  } else if (bytes[9] === 17) {
    const length = l4.length < 8 ? 0 : at.getUint16(head + 4)
    if (length < 8 || (length > l4.length && (at.getUint16(6) & 0x2000) === 0)) faults.push('UDP length')
  } else if (bytes[9] === 1) faults.push(...icmpErrorFaults(bytes))
  else faults.push(`protocol ${bytes[9]}`)
  return faults
}

/** An echo reply, or an error about TCP or UDP: never about ICMP (RFC 1122, section 3.2.2), nor to what is no single machine. */
const icmpErrorFaults = (bytes: Uint8Array): string[] => {
  const faults = icmpFaults(bytes)
  const type = bytes[icmpAt(bytes)]!
  if (bytes[16] === 0 || bytes[16] === 127 || bytes[16]! >= 224) faults.push('to no single machine')
  if (type === 0) return faults
  if (![3, 11, 12].includes(type)) faults.push(`ICMP type ${type}`)
  const inner = quotedOf(bytes)
  if (inner[0]! >>> 4 !== 4 || ![6, 17].includes(inner[9]!)) faults.push('about what is no TCP or UDP')
  if (bytes.slice(16, 20).join() !== inner.slice(12, 16).join()) faults.push('not to the sender')
  return faults
}

const wordsAt = (bytes: Uint8Array, at: number): Uint32Array => {
  const words = new Uint32Array(4)
  readIpv6(bytes, at, words, 0)
  return words
}

/** One engine with all that leaves it on record. */
class Victim {
  readonly node: SimNode
  readonly plan: DataplanePlan
  packets = 0
  packets6 = 0
  delivered6 = 0
  datagrams = 0
  delivered = 0
  lastSequence = 0
  epoch = EPOCH
  /** The last mappings that were sent or heard. */
  readonly known: Known[] = []

  constructor(kind: Kind) {
    this.plan = makePlan(kind)
    this.node = new SimNode(kind, this.plan, {
      packet: (_from, to, bytes) => {
        this.packets++
        this.#wellFormed('sent', bytes)
        const six = bytes[0]! >>> 4 === 6
        if (six) this.packets6++
        const there = six ? formatAddress(wordsAt(bytes, 24), 0) : to
        assert.ok(
          (six ? bytes[6] === 58 : bytes[9] === 1) ||
            this.plan.directory.hosts.some(host =>
              six ? formatAddress(host.words6!, 0) === there : host.ipv4 === there,
            ),
          `a packet went to ${there}, which is no host`,
        )
      },
      datagram: (_from, to, bytes) => {
        this.datagrams++
        const known = [...HOSTS, ...FORWARDERS, CLASSIFIER].map(ipv4Of)
        assert.ok(known.includes(to), `a datagram went to ${to}, which is no peer`)
        this.hear(bytes, to)
      },
      delivered: (_name, bytes) => {
        this.delivered++
        if (bytes[0]! >>> 4 === 6) this.delivered6++
        this.#wellFormed('delivered', bytes)
      },
    })
  }

  /** Keeps a true MAP in mind, as an eavesdropper on the wire could. */
  hear(bytes: Uint8Array, to: number): void {
    const header = createMappingHeader()
    if (decodeMappingHeader(bytes, 0, bytes.length, header) !== DROP.NONE || header.kind !== KIND.MAP) return
    this.lastSequence = header.sequence
    this.epoch = header.epoch
    this.known.push({ ...header, host: [24, 16, 8, 0].map(shift => (to >>> shift) & 255).join('.') })
    if (this.known.length > 24) this.known.shift()
  }

  /** Damage may pass in the payload and its checksum, never in what the next one parses. */
  #wellFormed(how: string, bytes: Uint8Array): void {
    assert.equal(headerFaults(bytes), [], `${how}: ${Buffer.from(bytes).toString('hex')}`)
  }

  get held(): number {
    return this.node.engine.heldByForwarder.size + this.node.engine.heldByHost.size
  }

  get drops(): number {
    return this.node.drops.counts.reduce((sum, count) => sum + count, 0)
  }

  /** Everything that can come of an input; each input must move it. */
  get traces(): number {
    const { datagrams } = this.node
    const believed = datagrams.received.reduce((sum, count) => sum + count, 0)
    return this.drops + believed + this.packets + this.datagrams + this.delivered
  }

  checkBounds(): void {
    const { forwarder, host, classifier, identifiers, heldByForwarder, heldByHost, plumbs, ended } =
      this.node.engine
    if (forwarder !== null) {
      const { flows } = forwarder
      assert.ok(flows.embryonic <= LIMITS.embryonicFlows, `${flows.embryonic} embryonic flows`)
      assert.ok(flows.routes <= LIMITS.flows, `${flows.routes} routes`)
      assert.ok(identifiers!.inUse + identifiers!.quarantined <= identifiers!.capacity)
      assert.ok(
        identifiers!.inUse <= flows.table.size,
        `${identifiers!.inUse} identifiers for ${flows.table.size} flows`,
      )
    }
    if (host !== null) assert.ok(host.mappings.table.size <= LIMITS.mappings + LIMITS.embryonicFlows)
    if (classifier !== null) assert.ok(classifier.inventory.size <= LIMITS.flows)
    for (const held of [heldByForwarder, heldByHost]) {
      assert.ok(held.size <= LIMITS.heldPackets && held.bytes <= held.byteCapacity, `${held.size} held`)
      assert.ok(held.queues.size <= held.size, 'a queue without packets stays')
      assert.is(
        [...held.queues.values()].reduce((sum, queue) => sum + queue.packets.length, 0),
        held.size,
      )
    }
    // The worker takes them every few milliseconds.
    for (const batch of plumbs.values()) batch.take()
    ended.take()
  }
}

const INPUTS = 15_000
const KINDS = Object.keys(ADDRESS) as Kind[]
/** Counters that show that the input gets as far as it must for the rest to mean something. */
const DEPTH: Record<Kind, readonly string[]> = {
  forwarder: [
    'adoptedFlows',
    'promotedFlows',
    'reusedFlows',
    'evictedEmbryonic',
    'evictedRoutes',
    'mappingsAcknowledged',
    'asksAnswered',
    'asksUnknown',
    'heldPackets',
    'errorsToClients',
    'errorsMade',
    'echoReplies',
  ],
  'forwarder+classifier': [
    'errorsToHosts',
    'errorsToClients',
    'promotedFlows',
    'reusedFlows',
    'evictedRoutes',
    'mappingsAcknowledged',
    'classified',
    'inventoryEvicted',
  ],
  classifier: ['classified', 'inventoryEvicted'],
  host: [
    'errorsRestored',
    'mapsRefreshed',
    'mapsReplaced',
    'epochsSeen',
    'asksSent',
    'injected',
    'evicted',
    'heldPackets',
  ],
  all: ['plumbs', 'promotedFlows', 'evictedRoutes', 'mapsReceived', 'injected', 'heldPackets'],
}

/** virtio_net_hdr as a kernel might give it: nothing, an unfinished checksum, merged segments. */
const writeVnet = (buf: Uint8Array, below: (n: number) => number): void => {
  buf.fill(0, 0, 10)
  if (below(8) === 0) buf[0] = 1
  if (below(16) !== 0) return
  buf[1] = [1, 3, 5, 0x81][below(4)]!
  const size = below(4) === 0 ? below(65_536) : 536 + below(1000)
  buf[4] = size & 255
  buf[5] = size >>> 8
}

const RING = 10 + 64

for (const kind of KINDS) {
  for (const seed of runSeeds()) {
    it(`${kind}: ${INPUTS} hostile inputs, each leaves a trace, nothing grows, nothing throws (seed ${seed})`, () => {
      const below = integers(seeded(seed))
      const victim = new Victim(kind)
      const { node } = victim
      const cast = castOf(
        ADDRESS[kind],
        hostsOf(kind),
        kind === 'host' ? [...EVERY_KIND, ...Array<number>(12).fill(KIND.MAP)] : EVERY_KIND,
      )
      const keyOf = (tunnel: string): Uint32Array =>
        victim.plan.keys.find(
          key => key.tunnelIpv4 === ipv4Of(tunnel) && key.recipientIpv4 === victim.plan.clusterIpv4,
        )!.words
      let nowMs = 0
      for (let i = 0; i < INPUTS; i++) {
        nowMs += below(1024) === 0 ? below(5000) : below(4)
        node.clock(nowMs)
        const traces = victim.traces + victim.held
        const before = victim.held
        const { forwarder } = node.engine
        const near = {
          epoch: forwarder?.epoch ?? victim.epoch,
          nowS: Math.floor(1_000_000 + nowMs / 1000),
          sequence: victim.lastSequence,
          known: victim.known,
        }
        let input: Uint8Array
        if (below(4) !== 0) {
          input = hostilePacket(below, cast, near)
          const buf = new Uint8Array(RING + input.length + below(2) * 46)
          writeVnet(buf, below)
          buf.set(input, RING)
          node.engine.ringPacket(buf, RING, buf.length - RING, 0)
        } else {
          const { bytes, source } = hostileDatagram(below, cast, keyOf, near)
          input = bytes
          const drops = victim.drops
          const reason = node.datagrams.accept(input.slice(), 0, input.length, ipv4Of(source))
          if (reason !== DROP.NONE) node.drops.add(reason)
          else if (forwarder === null && victim.drops === drops) victim.hear(input, victim.plan.clusterIpv4)
        }
        // What was held and is released leaves as a packet: the sum never stands still.
        assert.ok(
          victim.traces + Math.max(victim.held, before) > traces,
          `input ${i} vanished: ${Buffer.from(input).toString('hex')}`,
        )
        if (below(16) === 0) node.tick(nowMs)
        if (i % 64 === 0) victim.checkBounds()
      }
      victim.checkBounds()
      const reached: Record<string, number> = {
        ...node.engine.forwarder?.counters,
        ...node.engine.host?.counters,
        ...node.engine.host?.unknownCounters,
        ...node.engine.classifier?.counters,
        ...node.engine.icmp.counters,
      }
      if (kind !== 'host' && kind !== 'classifier')
        assert.ok(victim.packets6 > 0, 'no IPv6 packet was tunnelled')
      if (node.engine.host !== null) assert.ok(victim.delivered6 > 0, 'no IPv6 packet was delivered')
      for (const counter of DEPTH[kind])
        assert.ok(reached[counter]! > 0, `the input never reaches ${counter}`)
      node.tick(nowMs + 200_000)
      for (let later = 0; later < 4; later++) node.tick(nowMs + 400_000 + later * 100_000)
      const { forwarder, host, identifiers } = node.engine
      assert.is(victim.held, 0, 'something is held for ever')
      assert.is(forwarder?.flows.table.size ?? 0, 0, 'flows stay for ever')
      assert.is((identifiers?.inUse ?? 0) + (identifiers?.quarantined ?? 0), 0, 'identifiers leak')
      assert.is(host?.mappings.table.size ?? 0, 0, 'mappings stay for ever')
      assert.is(
        forwarder?.tally.hostFlows.reduce((sum, n) => sum + n, 0) ?? 0,
        0,
        'the tally of flows drifts',
      )
    })
  }
}

it.run()
