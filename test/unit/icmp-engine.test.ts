/** ICMP through the engines of a forwarder and its hosts (R-A7), wired to one another: who gets what, and what nobody gets. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { buildDirectory, buildPlan } from '../../src/agent/plan.ts'
import type { NodeConfig } from '../../src/config/schema.ts'
import { buildIcmp, endsOf, type IcmpOptions, icmpAt, icmpFaults, quotedOf } from '../support/icmp.ts'
import { buildTcp4, buildUdp4, checksumFaults, FLAG, pattern, type TcpOptions } from '../support/packets.ts'
import { SimNode } from '../support/sim-node.ts'

const it = suite('ICMP of forwarder and host')

const CLIENT = '10.20.0.5'
const VIP = '10.99.0.1'
const ROUTER = '192.0.2.254'
const TUNNEL = '10.10.1.11'
const ADDRESS = { f1: '10.10.0.11', c1: '10.10.0.41', h1: '10.10.0.71', h2: '10.10.0.72' } as const
type Name = keyof typeof ADDRESS
const FRAGMENTATION_NEEDED = { type: 3, code: 4, word: 1280 }

const SERVICES = [
  { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
  { name: 'dns', vip: VIP, port: 53, protocol: 'udp' },
]

const planOf = (name: Name, roles: Record<Name, readonly string[]>): DataplanePlan => {
  const names = Object.keys(ADDRESS) as Name[]
  const hosts = names.filter(one => roles[one].includes('host'))
  const tunnelOf = (one: Name) => (roles[one].includes('forwarder') ? { tunnel: TUNNEL } : {})
  const config = {
    ...{ node: { name, stateDir: '' }, roles: roles[name], cluster: { mappingPort: 6781 } },
    addresses: { cluster: ADDRESS[name], ...tunnelOf(name) },
    peers: names
      .filter(one => one !== name)
      .map(one => ({ name: one, id: one, roles: roles[one], address: ADDRESS[one], ...tunnelOf(one) })),
    services: SERVICES.map(one => ({ ...one, hosts: hosts.map(host => ({ name: host, capacity: 50 })) })),
    limits: { flows: 1024, embryonicFlows: 512, mappings: 1024, heldPackets: 64 },
    timeouts: {
      ...{ embryonic: 3000, tcpIdle: 30_000, udpIdle: 10_000, linger: 2000 },
      ...{ quarantine: 8000, routeLease: 4000, drain: 0 },
    },
  } as unknown as NodeConfig
  const directory = buildDirectory(config)
  for (const host of directory.hosts) host.live = true
  for (const classifier of directory.classifiers) classifier.live = true
  return buildPlan({
    ...{ config, directory, links: [], mtuBytes: 1500, epoch: 1001 },
    secrets: [{ number: 1, bytes: new Uint8Array(32).fill(7) }],
    ...{ tableKey: [13, 14], choiceKey: [11, 12] },
  })
}

const text = (ipv4: number): string => [24, 16, 8, 0].map(shift => (ipv4 >>> shift) & 255).join('.')

class Cluster {
  readonly nodes: Record<string, SimNode> = {}
  /** What left a node for a machine that is none of these. */
  readonly out: Uint8Array[] = []
  readonly delivered: Record<string, Uint8Array[]> = {}
  /** Packets on their way to hosts. */
  readonly wire: Uint8Array[] = []
  nowMs = 0
  /** Datagrams that vanish. */
  lose = false

  constructor(roles: Partial<Record<Name, readonly string[]>> = {}) {
    const all: Record<Name, readonly string[]> = {
      ...{ f1: ['forwarder', 'classifier'], c1: [], h1: ['host'], h2: ['host'] },
      ...roles,
    }
    for (const name of Object.keys(ADDRESS) as Name[]) {
      this.delivered[name] = []
      this.nodes[name] = new SimNode(name, planOf(name, all), {
        packet: (_from, to, bytes) => {
          const host = this.#at(to)
          if (host === undefined) this.out.push(bytes)
          else {
            this.wire.push(bytes)
            this.nodes[host]!.arrive(bytes.slice(), this.nowMs)
          }
        },
        datagram: (from, to, bytes) => {
          const node = this.nodes[this.#at(to)!]!
          if (!this.lose) node.datagrams.accept(bytes.slice(), 0, bytes.length, from)
        },
        delivered: (at, bytes) => this.delivered[at]!.push(bytes),
      })
    }
    for (const node of Object.values(this.nodes)) node.clock(0)
  }

  #at(ipv4: number): Name | undefined {
    return (Object.keys(ADDRESS) as Name[]).find(name => ADDRESS[name] === text(ipv4))
  }

  get f1(): SimNode {
    return this.nodes.f1!
  }
  icmp(name: Name): Record<string, number> {
    return this.nodes[name]!.engine.icmp.counters
  }
  dropped(name: Name, reason: number): number {
    return this.nodes[name]!.drops.counts[reason]!
  }

  arrive(name: Name, bytes: Uint8Array): void {
    this.nodes[name]!.arrive(bytes, this.nowMs)
  }

  /** A connection from the client, of which so many packets have passed; answers the name of its host. */
  connect(sourcePort = 40_000, packets = 3): Name {
    const tcp = (flags: number): Uint8Array =>
      buildTcp4({ source: CLIENT, destination: VIP, sourcePort, destinationPort: 80, flags })
    for (let i = 0; i < packets; i++) this.arrive('f1', tcp(i === 0 ? FLAG.SYN : FLAG.ACK))
    return this.hostOf(sourcePort)
  }

  hostOf(port: number): Name {
    for (const name of ['f1', 'h1', 'h2'] as const)
      if (this.delivered[name]!.some(bytes => bytes[9] === 6 && endsOf(bytes).ports[0] === port)) return name
    throw new Error('no host got anything')
  }

  icmpAt(name: Name): Uint8Array[] {
    return this.delivered[name]!.filter(bytes => bytes[9] === 1)
  }

  identifier(sourcePort = 40_000): number {
    const { flows } = this.f1.engine.forwarder!
    const { table } = flows
    const slot = table.select(one => table.keyWord(one, 8) >>> 16 === sourcePort)[0]!
    return flows.identifier[slot]!
  }
}

/** A host's packet to the client, as a router on the way there saw it. */
const answer = (more: TcpOptions = {}): Uint8Array =>
  buildTcp4({
    ...{ source: VIP, destination: CLIENT, sourcePort: 80, destinationPort: 40_000, dontFragment: true },
    ...{ payload: pattern(1000), sequence: 77 },
    ...more,
  })
const error = (about: Uint8Array, more: Partial<IcmpOptions> = {}): Uint8Array =>
  buildIcmp(4, {
    source: ROUTER,
    destination: VIP,
    ...FRAGMENTATION_NEEDED,
    body: about.slice(0, 548),
    ...more,
  })

/** A forwarder's packet to the host, as a router in the cluster saw it. */
const tunnelled = (identifier: number, host: Name, more: TcpOptions = {}): Uint8Array =>
  buildTcp4({
    ...{
      source: TUNNEL,
      destination: ADDRESS[host],
      payload: pattern(1400),
      sequence: 99,
      dontFragment: true,
    },
    ...{ sourcePort: identifier >>> 16, destinationPort: identifier & 0xffff },
    ...more,
  })
const inside = (about: Uint8Array, more: Partial<IcmpOptions> = {}): Uint8Array =>
  error(about, { destination: TUNNEL, ...more })

it('an error from the way to the client gets to the host of its flow as it was, from the tunnel address', () => {
  for (const type of [
    FRAGMENTATION_NEEDED,
    { type: 3, code: 1, word: 0 },
    { type: 11, word: 0 },
    { type: 12, word: 0x14 << 24 },
  ]) {
    const cluster = new Cluster()
    const host = cluster.connect()
    const about = answer()
    cluster.arrive('f1', error(about, { ...type, ttl: 50 }))
    const [got, ...more] = cluster.icmpAt(host)
    assert.equal(more, [])
    assert.equal(got, error(about, { ...type, ttl: 49, source: TUNNEL }))
    assert.is(cluster.icmp('f1').errorsToHosts, 1)
    assert.is(cluster.icmp(host).errorsRestored, 1)
    // No byte more on the way there.
    assert.is(cluster.wire.at(-1)!.length, got!.length)
    assert.equal(icmpFaults(cluster.wire.at(-1)!), [])
  }
})

it('so does one about a flow of which only the first packet was seen, and it prolongs no life', () => {
  const cluster = new Cluster()
  cluster.connect(40_000, 1)
  const { flows } = cluster.f1.engine.forwarder!
  cluster.nowMs = 2900
  cluster.arrive('f1', error(answer()))
  assert.is(cluster.icmpAt(cluster.hostOf(40_000)).length, 1)
  cluster.nowMs = 3100
  cluster.f1.tick(cluster.nowMs)
  assert.is(flows.table.size, 0)
  // Half-open flows leave no identifiers at rest, errors or not.
  assert.is(cluster.f1.engine.identifiers!.quarantined, 0)
})

it('one about a flow that is not known here goes where a packet from its middle would go', () => {
  const other = new Cluster()
  const expected = other.connect(40_000, 1)
  const cluster = new Cluster()
  cluster.arrive('f1', error(answer()))
  assert.equal([expected, cluster.icmpAt(expected).length], [expected, 1])
  // But one address cannot fill the table of half-open flows by forging them.
  for (let port = 0; port < 100; port++)
    cluster.arrive('f1', error(answer({ destinationPort: 50_000 + port })))
  assert.ok(cluster.f1.engine.forwarder!.flows.table.size <= 6)
  assert.ok(cluster.dropped('f1', DROP.ICMP_RATE) >= 94)
})

it('a forwarder without a classifier of its own asks for the flow, and knows the next time', () => {
  const cluster = new Cluster({ f1: ['forwarder'], c1: ['classifier'] })
  cluster.arrive('f1', error(answer()))
  assert.is(cluster.dropped('f1', DROP.ICMP_NO_FLOW), 1)
  cluster.arrive('f1', error(answer()))
  assert.is(cluster.icmp('f1').errorsToHosts, 1)
  assert.is(cluster.icmpAt('h1').length + cluster.icmpAt('h2').length, 1)
})

it('a forwarder that is the host gives the error to its own stack, unchanged', () => {
  const cluster = new Cluster({ f1: ['forwarder', 'classifier', 'host'], h1: [], h2: [] })
  assert.is(cluster.connect(), 'f1')
  const bytes = error(answer())
  cluster.arrive('f1', bytes)
  assert.equal(cluster.icmpAt('f1'), [bytes])
})

it('a host that does not know the identifier gives the error to nobody', () => {
  const cluster = new Cluster()
  cluster.lose = true
  cluster.arrive('f1', error(answer()))
  assert.is(cluster.icmp('f1').errorsToHosts, 1)
  assert.is(cluster.dropped('h1', DROP.ICMP_NO_FLOW) + cluster.dropped('h2', DROP.ICMP_NO_FLOW), 1)
  assert.is(cluster.delivered.h1!.length + cluster.delivered.h2!.length, 0)
})

it('what is forged in the tunnel reaches no other connection', () => {
  const cluster = new Cluster()
  const host = cluster.connect()
  const identifier = cluster.identifier()
  const about = (id: number, more: TcpOptions = {}): Uint8Array =>
    buildTcp4({
      ...{ source: ADDRESS[host], destination: TUNNEL, sourcePort: id & 0xffff, destinationPort: id >>> 16 },
      ...more,
    })
  const tell = (body: Uint8Array): void =>
    cluster.arrive(host, error(body, { source: TUNNEL, destination: ADDRESS[host] }))
  tell(about(identifier + 1))
  tell(
    buildUdp4({
      source: ADDRESS[host],
      destination: TUNNEL,
      sourcePort: identifier & 0xffff,
      destinationPort: identifier >>> 16,
    }),
  )
  assert.is(cluster.dropped(host, DROP.ICMP_NO_FLOW), 2)
  tell(about(identifier, { destination: CLIENT }))
  tell(about(identifier, { source: CLIENT }))
  assert.is(cluster.dropped(host, DROP.ICMP_EMBEDDED), 2)
  assert.equal(cluster.icmpAt(host), [])
  tell(about(identifier))
  assert.is(cluster.icmpAt(host).length, 1)
})

it('an error from the way to the host gets to the client, about the packet that it sent, from the VIP', () => {
  for (const type of [FRAGMENTATION_NEEDED, { type: 11, word: 0 }, { type: 12, word: 0 }]) {
    const cluster = new Cluster()
    const host = cluster.connect()
    cluster.arrive('f1', inside(tunnelled(cluster.identifier(), host), { ...type, ttl: 9 }))
    const sent = buildTcp4({
      ...{ source: CLIENT, destination: VIP, sourcePort: 40_000, destinationPort: 80 },
      ...{ payload: pattern(1400), sequence: 99, dontFragment: true },
    })
    assert.equal(cluster.out, [error(sent, { ...type, ttl: 8, source: VIP, destination: CLIENT })])
    assert.is(cluster.icmp('f1').errorsToClients, 1)
  }
})

it('errors about identifiers that are not in use, or not the host’s, are told to nobody', () => {
  const cluster = new Cluster()
  const host = cluster.connect()
  const other = host === 'h1' ? 'h2' : 'h1'
  const identifier = cluster.identifier()
  for (const [id, name] of [
    [identifier + 1, host],
    [identifier ^ 0x01000000, host],
    [identifier, other],
    [0, host],
  ] as const)
    cluster.arrive('f1', inside(tunnelled(id, name)))
  const udp = {
    source: TUNNEL,
    destination: ADDRESS[host],
    sourcePort: identifier >>> 16,
    destinationPort: identifier & 0xffff,
  }
  cluster.arrive('f1', inside(buildUdp4(udp)))
  assert.is(cluster.dropped('f1', DROP.ICMP_NO_FLOW), 5)
  cluster.arrive('f1', inside(tunnelled(identifier, host, { source: ROUTER })))
  assert.is(cluster.dropped('f1', DROP.ICMP_EMBEDDED), 1)
  // Its flow has ended.
  const { forwarder } = cluster.f1.engine
  forwarder!.endAll(cluster.nowMs)
  cluster.arrive('f1', inside(tunnelled(identifier, host)))
  assert.is(cluster.dropped('f1', DROP.ICMP_NO_FLOW), 6)
  assert.equal(cluster.out, [])
})

it('that a host cannot be reached is not the client’s concern', () => {
  const cluster = new Cluster()
  const host = cluster.connect()
  for (const code of [0, 1, 2, 3, 13])
    cluster.arrive('f1', inside(tunnelled(cluster.identifier(), host), { code, word: 0 }))
  assert.is(cluster.dropped('f1', DROP.ICMP_UNREACHABLE), 5)
  assert.equal(cluster.out, [])
})

it('errors to one client are limited, and those to others go on', () => {
  const cluster = new Cluster()
  const host = cluster.connect()
  for (let i = 0; i < 500; i++) cluster.arrive('f1', inside(tunnelled(cluster.identifier(), host)))
  assert.equal([cluster.out.length, cluster.dropped('f1', DROP.ICMP_RATE)], [50, 450])
  cluster.nowMs += 1000
  for (let i = 0; i < 500; i++) cluster.arrive('f1', inside(tunnelled(cluster.identifier(), host)))
  assert.is(cluster.out.length, 100)
  cluster.arrive('f1', buildIcmp(4, { source: '10.20.0.6', destination: VIP, type: 8 }))
  assert.is(cluster.out.length, 101)
})

it('nothing is told about ICMP messages, nor passed on when its time is up', () => {
  const cluster = new Cluster()
  const host = cluster.connect()
  cluster.arrive('f1', error(answer(), { ttl: 1 }))
  cluster.arrive('f1', inside(tunnelled(cluster.identifier(), host), { ttl: 1 }))
  assert.is(cluster.dropped('f1', DROP.TTL_EXPIRED), 2)
  cluster.arrive('f1', error(error(answer())))
  cluster.arrive('f1', inside(inside(tunnelled(cluster.identifier(), host))))
  cluster.arrive('f1', error(answer(), { destination: '10.99.0.1', type: 5 }))
  assert.equal([cluster.dropped('f1', DROP.ICMP_EMBEDDED), cluster.dropped('f1', DROP.ICMP_TYPE)], [2, 1])
  assert.equal(cluster.out, [])
  assert.equal(cluster.icmpAt(host), [])
})

const fromClient = (more: TcpOptions = {}): Uint8Array =>
  buildTcp4({
    source: CLIENT,
    destination: VIP,
    sourcePort: 40_000,
    destinationPort: 80,
    dontFragment: true,
    ...more,
  })

it('a packet whose TTL ends here is told of by the forwarder’s own address', () => {
  const cluster = new Cluster()
  cluster.connect()
  const packet = fromClient({ ttl: 1, payload: pattern(30) })
  cluster.arrive('f1', packet)
  const [told, ...more] = cluster.out
  assert.equal(more, [])
  assert.equal(icmpFaults(told!), [])
  assert.equal(
    [told![20], told![21], endsOf(told!).source, endsOf(told!).destination],
    [11, 0, ADDRESS.f1, CLIENT],
  )
  assert.equal(quotedOf(told!), packet)
  assert.is(cluster.dropped('f1', DROP.TTL_EXPIRED), 1)
  for (let i = 0; i < 200; i++) cluster.arrive('f1', packet)
  assert.is(cluster.out.length, 50)
})

it('a packet that is too large for the way to its host is told of by the VIP, with the MTU; one that may be cut is not', () => {
  const cluster = new Cluster()
  cluster.connect(40_000, 4)
  cluster.arrive('f1', fromClient({ payload: pattern(1460) }))
  assert.is(cluster.out.length, 0)
  const large = fromClient({ payload: pattern(1461) })
  cluster.arrive('f1', large)
  const told = cluster.out[0]!
  assert.equal(icmpFaults(told), [])
  assert.equal([told[20], told[21], endsOf(told).source, endsOf(told).destination], [3, 4, VIP, CLIENT])
  assert.is(new DataView(told.buffer).getUint16(icmpAt(told) + 6), 1500)
  const quoted = quotedOf(told)
  assert.is(quoted[8], large[8]! - 1)
  assert.equal(quoted.slice(12), large.slice(12, quoted.length))
  cluster.arrive('f1', fromClient({ payload: pattern(1461), dontFragment: false }))
  assert.is(cluster.out.length, 1)
  assert.is(cluster.dropped('f1', DROP.TOO_BIG), 2)
})

it('echo to a VIP is answered, within bounds; to no other address, and to no machine that is none', () => {
  const cluster = new Cluster()
  const ping = (more: Partial<IcmpOptions> = {}): void =>
    cluster.arrive(
      'f1',
      buildIcmp(4, {
        source: CLIENT,
        destination: VIP,
        type: 8,
        word: 0x00010002,
        body: pattern(56),
        ...more,
      }),
    )
  ping()
  assert.equal(cluster.out, [
    buildIcmp(4, { source: VIP, destination: CLIENT, type: 0, word: 0x00010002, body: pattern(56) }),
  ])
  for (const source of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', VIP]) ping({ source })
  assert.is(cluster.dropped('f1', DROP.BAD_ADDRESS), 5)
  ping({ destination: '10.99.0.2' })
  assert.is(cluster.dropped('f1', DROP.NOT_A_SERVICE), 1)
  ping({ destination: TUNNEL })
  assert.is(cluster.dropped('f1', DROP.ICMP_TYPE), 1)
  ping({ wrongChecksum: true })
  assert.is(cluster.dropped('f1', DROP.ICMP_CHECKSUM), 1)
  assert.is(cluster.out.length, 1)
  for (let i = 0; i < 1000; i++) ping()
  assert.is(cluster.out.length, 200)
  for (let client = 1; client <= 255; client++)
    for (let i = 0; i < 10; i++) ping({ source: `10.21.0.${client}` })
  assert.is(cluster.out.length, 1000)
})

it('the packet inside is whole again at the host, its checksums too', () => {
  const cluster = new Cluster()
  const host = cluster.connect()
  const about = answer({ payload: pattern(100) })
  cluster.arrive('f1', error(about))
  assert.equal(checksumFaults(quotedOf(cluster.wire.at(-1)!)), [])
  assert.equal(quotedOf(cluster.icmpAt(host)[0]!), about)
})

it.run()
