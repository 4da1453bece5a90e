/** First packets in the kernel (bpf/classify.h, mapping-ack.h) by test runs, with the agent's own parts on the other side (R-G3, R-E8). */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readFlowKey } from '../../src/agent/dataplane/flow-key.ts'
import { FLOW_FLAG, LIST } from '../../src/agent/dataplane/flows.ts'
import {
  encodeMappingHeader,
  innerMatches,
  KIND,
  verifyMappingTag,
} from '../../src/agent/dataplane/mapping-header.ts'
import { parsePacket } from '../../src/agent/dataplane/packet.ts'
import { createPacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { eachRoute } from '../../src/agent/dataplane/xdp/route-sweep.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import {
  ClassLab,
  EPOCH,
  HEADER,
  hostKey,
  MEMBERS,
  type Member,
  OVERHEAD,
  OWN,
  ownKey,
  PORT,
  serviceIndex,
} from '../support/class-lab.ts'
import { mutate } from '../support/dataplane-mutations.ts'
import { FAMILIES, type Family, HOSTS, TUNNEL, VIP, VLAN_TAG } from '../support/dataplane-world.ts'
import { buildFrame } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import {
  addressBytes,
  addressWords,
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  checksumFaults,
  FLAG,
  join,
} from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'

const it = suite('xdp/classify')
const noBpf = missingBpf()
const SOMEONE = { 4: '192.0.2.77', 6: '2001:db8:7::77' } as const
/** Of a TCP packet. */
const HEADERS = { 4: 40, 6: 60 } as const
let lab: ClassLab
let family: Family = 4
let someone: string
let lastPort = 1024

/** With packets of both families, or of those. */
const test = (name: string, body: () => void, families: readonly Family[] = FAMILIES): void => {
  for (const each of families)
    testIf(noBpf, it, `IPv${each}: ${name}`, async () => {
      family = each
      someone = SOMEONE[each]
      lab = await ClassLab.open(each)
      try {
        body()
      } finally {
        lab.close()
        await removeNetns()
      }
    })
}
/** Another client for each number. */
const stranger = (n: number): string =>
  family === 4
    ? `10.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`
    : `2001:db8:${(n >>> 16).toString(16)}::${(n & 0xffff).toString(16)}`

const nameOf = (index: number): Member =>
  (Object.keys(MEMBERS) as Member[]).find(name => HOSTS[name].index === index)!
/** A client's port whose flows go to a host. */
const portTo = (member: Member, protocol = 6): number => {
  const words = new Uint32Array(10)
  words.set(addressWords(someone))
  words.set(addressWords(VIP[family]), 4)
  words[9] = protocol
  for (;;) {
    const port = ++lastPort
    words[8] = ((port << 16) | (protocol === 6 ? 80 : 53)) >>> 0
    const service = lab.directory.serviceAt(serviceIndex(family, protocol))!
    if (lab.allotment.choose(service, words, 0, true) === HOSTS[member].index) return port
  }
}
/** In use is what waits, what flows have, and nothing else. */
const assertNoLeak = (): void => {
  assert.is(lab.identifiers.inUse, lab.waiting + lab.owned)
}
const slotOf = (frame: Uint8Array): number => {
  const packet = createPacketRef()
  assert.is(parsePacket(frame, 14, frame.length - 14, packet.view), 0)
  const key = new Uint32Array(10)
  readFlowKey(frame, 14, packet.view, key)
  return lab.core.flows.table.find(key)
}

test('a SYN goes to its host behind the very header that the agent would write', () => {
  for (const member of ['redirected', 'sentBack', 'vlan'] as const) {
    const { index, address } = HOSTS[member]
    const port = portTo(member)
    for (const tags of [[], [{ type: 0x8100, tci: 9 }]]) {
      const before = lab.first.sequence.last
      const { verdict, data, frame, counted } = lab.send(someone, port, { frame: { tags }, ttl: 9 })
      const outTags = member === 'vlan' ? 1 : 0
      const { header, packet } = lab.decode(data, outTags)
      const what = `${member} with ${tags.length} tags`
      assert.is(counted, tags.length === 0 ? 'CLASSIFIED' : 'WITH_MAPPING', what)
      assert.is(verdict, member === 'redirected' ? XDP.redirect : XDP.tx, what)
      if (outTags === 1) assert.equal([...data.subarray(12, 16)], [0x81, 0, 0, VLAN_TAG.tci])
      assert.ok(verifyMappingTag(packet, 28, header, hostKey(index)), `${what}: tag`)
      assert.is(header.identifier >>> 24, index)
      assert.is(header.sequence, before + 1)
      assert.ok(Math.abs(header.timeS - Date.now() / 1000) < 3, `${what}: ${header.timeS}`)
      const inner = frame.slice(14 + 4 * tags.length)
      if (family === 4) {
        inner[8]--
        const sum = ((inner[10] << 8) | inner[11]) + 0x100
        new DataView(inner.buffer).setUint16(10, (sum & 0xffff) + (sum >>> 16))
      } else {
        inner[7]--
      }
      assert.equal(packet.subarray(OVERHEAD[family]), inner, `${what}: the packet inside, one hop on`)
      // The whole of it, by the agent's encoder.
      const words = new Uint8Array(HEADER[family])
      const wanted = {
        ...header,
        ...{ kind: KIND.MAP, keyNumber: index, epoch: EPOCH, protocol: 6, hostIndex: index },
        ...{ innerLength: inner.length, ports: ((port << 16) | 80) >>> 0 },
        ...{ client: addressWords(someone), vip: addressWords(VIP[family]), node: addressWords(TUNNEL[4]) },
      }
      encodeMappingHeader(wanted, words, 0, hostKey(index))
      assert.equal(packet.subarray(28, OVERHEAD[family]), words, `${what}: header`)
      assert.equal(packet.subarray(12, 20), join(addressBytes(OWN), addressBytes(address[4])))
      const udp = new DataView(packet.buffer, packet.byteOffset + 20, 8)
      assert.equal([udp.getUint16(0), udp.getUint16(2)], [PORT, PORT])
      assert.is(udp.getUint16(4), 8 + HEADER[family] + inner.length)
      assert.equal(checksumFaults(packet), [], what)
    }
  }
})

test('a SYN that is repeated has the same host and identifier; the agent knows one flow', () => {
  const port = portTo('redirected')
  const first = lab.decode(lab.send(someone, port).data)
  for (let n = 0; n < 3; n++) {
    const { data, counted } = lab.send(someone, port)
    assert.is(counted, 'WITH_MAPPING')
    assert.is(lab.decode(data).header.identifier, first.header.identifier)
    assert.ok(lab.decode(data).header.sequence > first.header.sequence)
  }
  lab.first.drain()
  assert.is(lab.core.flows.table.size, 1)
  const slot = lab.identifiers.owner(first.header.identifier)
  assert.is(lab.core.flows.identifier[slot], first.header.identifier)
  assert.is(lab.core.flows.host[slot], HOSTS.redirected.index)
  assert.is(lab.core.flows.table.listOf(slot), LIST.EMBRYONIC)
  assert.is(lab.core.tally.hostConnections[HOSTS.redirected.index], 1)
  assertNoLeak()
})

test('thousands of clients get the hosts that the agent would choose, by their shares', () => {
  const below = integers(seeded(3))
  const counts = new Map<number, number>()
  const words = new Uint32Array(10)
  const service = lab.directory.serviceAt(serviceIndex(family, 6))!
  const all = family === 4 ? 10_000 : 3_000
  for (let n = 0; n < all; n++) {
    const client = stranger(below(2 ** 24))
    const port = 1 + below(65_535)
    const { data, counted } = lab.send(client, port)
    const host = counted === 'LOCAL' ? HOSTS.local.index : lab.decode(data, data[12] === 0x81 ? 1 : 0).host
    words.set(addressWords(client))
    words.set(addressWords(VIP[family]), 4)
    words[8] = ((port << 16) | 80) >>> 0
    words[9] = 6
    assert.is(host, lab.allotment.choose(service, words, 0, true), `${client}:${port}`)
    counts.set(host, (counts.get(host) ?? 0) + 1)
    if (n % 200 === 199) lab.turn()
  }
  for (const [name, share] of Object.entries(MEMBERS)) {
    const p = share / 100
    const got = counts.get(HOSTS[name as Member].index) ?? 0
    // Five deviations of a fair draw, and of the parts that clients fall into.
    const bound = 5 * Math.sqrt(all * p * (1 - p) * (1 + all / 16_384))
    assert.ok(Math.abs(got - all * p) < bound, `${name}: ${got}`)
  }
  lab.turn()
  assertNoLeak()
})

test('nothing is tunnelled before the host has acknowledged; then the flow has a route', () => {
  const port = portTo('redirected')
  const ack = { flags: FLAG.ACK, payload: Uint8Array.of(1, 2) }
  const { header } = lab.decode(lab.send(someone, port).data)
  assert.is(lab.send(someone, port, ack).counted, 'WITH_MAPPING')
  const wrong: [string, Uint8Array][] = [
    ['tag', lab.acknowledgement(header, 'redirected', {}, hostKey(1))],
    ['host', lab.acknowledgement(header, 'redirected', {}, ownKey, HOSTS.sentBack.address[4])],
    ['epoch', lab.acknowledgement(header, 'redirected', { epoch: EPOCH - 1 })],
    ['identifier', lab.acknowledgement(header, 'redirected', { identifier: header.identifier ^ 1 })],
    ['sequence', lab.acknowledgement(header, 'redirected', { sequence: (header.sequence + 9) >>> 0 })],
    ['kind', lab.acknowledgement(header, 'redirected', { kind: KIND.ASK })],
    ['key number', lab.acknowledgement(header, 'redirected', { keyNumber: 8 })],
    ['flow', lab.acknowledgement(header, 'redirected', { ports: (header.ports + 0x10000) >>> 0 })],
  ]
  for (const [what, frame] of wrong) {
    const answer = lab.run(frame, 'edge_cluster')
    assert.is(answer.verdict, XDP.pass, what)
    assert.equal(answer.data, frame, what)
    assert.is(lab.send(someone, port, ack).counted, 'WITH_MAPPING', what)
  }
  for (const _ of [1, 2]) {
    const answer = lab.run(lab.acknowledgement(header, 'redirected'), 'edge_cluster')
    assert.equal([answer.counted, answer.verdict], ['MAPPING_ACK', XDP.drop])
  }
  assert.is(lab.send(someone, port).counted, 'WITH_MAPPING', 'a SYN that is repeated is no proof')
  const tunnelled = lab.send(someone, port, ack)
  assert.is(tunnelled.counted, 'REDIRECTED')
  assert.is(tunnelled.data.length, tunnelled.frame.length)
  assert.is(new DataView(tunnelled.data.buffer).getUint32(family === 4 ? 34 : 54), header.identifier)
  assert.is(lab.send(someone, port, ack).counted, 'REDIRECTED')
  assert.is(lab.send(someone, port).counted, 'TCP_CONTROL', 'a SYN on a live flow')
  lab.first.drain()
  const { flows } = lab.core
  const slot = lab.identifiers.owner(header.identifier)
  assert.is(flows.table.listOf(slot), LIST.TCP_YOUNG)
  assert.ok(flows.has(slot, FLOW_FLAG.MAPPED) && flows.has(slot, FLOW_FLAG.TUNNELLED))
  assert.ok(flows.plumbedUntilMs[slot] > performance.now())
  assert.equal([...eachRoute(lab.embryos)], [])
  // Its end takes the route along, and lets the identifier rest.
  lab.core.unplumbed(flows.table.keys.slice(slot * 10, slot * 10 + 10), performance.now())
  assert.equal([...eachRoute(lab.routes)], [])
  assert.is(lab.identifiers.quarantined, 1)
  assertNoLeak()
})

/** A flow with a route. */
const openFlow = (member: Member = 'redirected'): { port: number; identifier: number } => {
  const port = portTo(member)
  const { header } = lab.decode(lab.send(someone, port).data, member === 'vlan' ? 1 : 0)
  assert.is(lab.run(lab.acknowledgement(header, member)).counted, 'MAPPING_ACK')
  lab.send(someone, port, { flags: FLAG.ACK })
  return { port, identifier: header.identifier }
}
const stateOf = (identifier: number): number =>
  [...eachRoute(lab.routes)].find(({ route }) => route.identifier === identifier)?.route.state ?? -1

test('FIN and RST go by the route, and the agent hears of them; data after a RST brings the flow back', () => {
  const { port, identifier } = openFlow()
  lab.first.drain()
  const { flows, tally } = lab.core
  const slot = lab.identifiers.owner(identifier)
  const open = (): number => tally.hostFlows[HOSTS.redirected.index]
  assert.is(open(), 1)
  // Of another client: what is kept of a packet meanwhile is not this one's.
  assert.is(lab.send(stranger(1), port, { flags: FLAG.ACK }).counted, 'NO_ROUTE')
  assert.is(lab.send(someone, port, { flags: FLAG.RST }).counted, 'REDIRECTED')
  assert.is(stateOf(identifier), 4)
  lab.first.drain()
  assert.equal([flows.table.listOf(slot), open()], [LIST.CLOSING_PLUMBED, 0])
  assert.is(lab.send(someone, port, { flags: FLAG.ACK, payload: Uint8Array.of(1) }).counted, 'REDIRECTED')
  lab.first.drain()
  assert.equal([stateOf(identifier), flows.table.listOf(slot), open()], [1, LIST.TCP_YOUNG, 1])
  assert.is(lab.send(someone, port, { flags: FLAG.FIN | FLAG.ACK }).counted, 'REDIRECTED')
  assert.is(lab.send(someone, port, { flags: FLAG.ACK }).counted, 'REDIRECTED')
  lab.first.drain()
  assert.equal([stateOf(identifier), flows.table.listOf(slot), open()], [3, LIST.CLOSING_PLUMBED, 0])
  assert.is(tally.hostConnections[HOSTS.redirected.index], 1)
})

test('this node as the host: the packet goes into its stack as it came, and the flow has a route', () => {
  const port = portTo('local')
  for (const flags of [FLAG.SYN, FLAG.SYN, FLAG.ACK, FLAG.ACK, FLAG.FIN | FLAG.ACK]) {
    const { verdict, counted, data, frame } = lab.send(someone, port, { flags })
    assert.equal([verdict, counted], [XDP.pass, 'LOCAL'])
    assert.equal(data, frame)
  }
  lab.first.drain()
  assert.is(lab.core.flows.table.size, 1)
  assert.is(lab.core.tally.hostConnections[HOSTS.local.index], 1)
  assert.is([...eachRoute(lab.routes)].length, 1)
  assertNoLeak()
})

test('UDP: each datagram carries the mapping until it is acknowledged', () => {
  const port = portTo('sentBack', 17)
  const { data, counted } = lab.send(someone, port, { protocol: 17 })
  assert.is(counted, 'CLASSIFIED')
  assert.is(lab.send(someone, port, { protocol: 17 }).counted, 'WITH_MAPPING')
  lab.run(lab.acknowledgement(lab.decode(data).header, 'sentBack'))
  assert.is(lab.send(someone, port, { protocol: 17 }).counted, 'SENT_BACK')
  lab.first.drain()
  const slot = lab.identifiers.owner(lab.decode(data).header.identifier)
  assert.is(lab.core.flows.table.listOf(slot), LIST.UDP_YOUNG)
})

test('UDP: a flow that goes on, and whose route has gone, stays at its host though that gets nothing new', () => {
  const port = portTo('sentBack', 17)
  const { data } = lab.send(someone, port, { protocol: 17 })
  lab.run(lab.acknowledgement(lab.decode(data).header, 'sentBack'))
  lab.send(someone, port, { protocol: 17 })
  lab.turn()
  const { identifier } = lab.decode(data).header
  const slot = lab.identifiers.owner(identifier)
  for (const { key } of eachRoute(lab.routes)) lab.routes.remove(key)
  lab.core.flows.plumbedUntilMs[slot] = 0
  lab.directory.host(HOSTS.sentBack.index)!.draining = true
  lab.turn()
  lab.send(someone, port, { protocol: 17 })
  lab.turn()
  assert.is(lab.identifiers.owner(identifier), slot)
  assert.is(nameOf(lab.core.flows.host[slot]), 'sentBack')
  assert.is([...eachRoute(lab.embryos)].length, 0)
  assertNoLeak()
})

test("while the agent holds packets of a flow, all that follow and the host's acknowledgement are its own", () => {
  const frameOf = (sourcePort: number): Uint8Array =>
    buildFrame(
      (family === 4 ? buildUdp4 : buildUdp6)({
        ...{ source: someone, destination: VIP[family], sourcePort, destinationPort: 53 },
        payload: new Uint8Array(1400),
      }),
    )
  const acknowledge = (port: number, packets: number): void => {
    const header = lab.asked.at(-1)!
    const answer = lab.acknowledgement(header, 'sentBack')
    const passed = lab.run(answer, 'edge_cluster')
    assert.is(passed.verdict, XDP.pass)
    assert.equal(passed.data, answer)
    assert.is(lab.send(someone, port, { protocol: 17 }).counted, 'NO_ROUTE')
    lab.core.acknowledged(header, addressWords(HOSTS.sentBack.address[4])[3]!, performance.now())
    assert.equal(lab.tunnelled.splice(0).length, packets)
    assert.is(lab.send(someone, port, { protocol: 17 }).counted, 'SENT_BACK')
    lab.first.drain()
    assert.is(lab.core.flows.table.listOf(lab.identifiers.owner(header.identifier)), LIST.UDP_YOUNG)
  }
  // Too large for a mapping beside it, on the way that the agent knows.
  const port = portTo('sentBack', 17)
  lab.packet(frameOf(port))
  const small = lab.send(someone, port, { protocol: 17 })
  assert.equal([small.counted, small.verdict], ['NO_ROUTE', XDP.pass])
  lab.packet(small.frame)
  assert.is(lab.asked.length, 1)
  acknowledge(port, 2)
  // The kernel opened it, and its host has answered before the agent began to wait.
  const other = portTo('sentBack', 17)
  const { data, counted } = lab.send(someone, other, { protocol: 17 })
  assert.is(counted, 'CLASSIFIED')
  lab.first.drain()
  const header = lab.decode(data).header
  assert.is(lab.run(lab.acknowledgement(header, 'sentBack'), 'edge_cluster').counted, 'MAPPING_ACK')
  lab.packet(frameOf(other), false)
  acknowledge(other, 1)
  assertNoLeak()
})

test('what does not fit, ends, or is not known passes as it came', () => {
  const port = portTo('redirected')
  const passes = (why: string, options: Parameters<ClassLab['send']>[2], port: number): void => {
    const { verdict, data, frame, counted } = lab.send(someone, port, options)
    assert.equal([counted, verdict], [why, XDP.pass])
    assert.equal(data, frame)
  }
  passes('NO_ROUTE', { flags: FLAG.ACK }, port)
  passes('TCP_CONTROL', { flags: FLAG.FIN | FLAG.ACK }, port)
  passes('TCP_CONTROL', { flags: FLAG.SYN | FLAG.ACK }, port)
  passes('TTL_EXPIRED', { ttl: 1 }, port)
  passes('TOO_BIG', { payload: new Uint8Array(9000 - HEADERS[family] - OVERHEAD[family] + 1) }, port)
  assert.is(lab.send(someone, port, { payload: new Uint8Array(1000) }).counted, 'CLASSIFIED')
  passes(
    'TOO_BIG',
    { flags: FLAG.ACK, payload: new Uint8Array(9000 - HEADERS[family] - OVERHEAD[family] + 1) },
    port,
  )
  passes('TCP_CONTROL', { flags: FLAG.RST }, port)
  lab.first.drain()
  assert.is(lab.core.flows.table.size, 1)
  assertNoLeak()
})

test('an empty pool, a lease that is over, no agent for too long: the packet passes', () => {
  const port = portTo('redirected')
  const { index } = HOSTS.redirected
  const taken = lab.pools.waiting(index)
  assert.ok(taken >= 100, `${taken} identifiers`)
  lab.pools.empty(index, lab.identifiers, 0)
  assert.is(lab.identifiers.inUse, lab.waiting)
  assert.is(lab.send(someone, port).counted, 'NO_IDENTIFIER')
  lab.turn()
  lab.pools.lease(index, 1n)
  assert.is(lab.send(someone, port).counted, 'LEASE_OVER')
  // Nobody vouches any more: the stated grace.
  lab.first.sequence.vouch(1n, BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint())
  assert.is(lab.send(someone, port).counted, 'CLASSIFIED')
  ;(lab.plan.timeouts as { unattended: number }).unattended = -1000
  lab.first.apply(lab.plan)
  assert.is(lab.send(someone, port).counted, 'GRACE_OVER')
  assert.is(lab.send(someone, portTo('local')).counted, 'GRACE_OVER')
})

test('the kernel goes on alone with a VIP of which it opens all flows, and with none where classifiers are other nodes', () => {
  const both = lab.first.alone
  assert.is(both.length, 2)
  const service = lab.directory.directory.services[0] as { delivery?: string }
  service.delivery = 'encapsulate'
  lab.first.apply(lab.plan)
  assert.equal(lab.first.alone, both.slice(1))
  delete service.delivery
  const forwarder = lab.plan.forwarder as { hasClassifier: boolean }
  forwarder.hasClassifier = false
  lab.first.apply(lab.plan)
  assert.equal(lab.first.alone, [])
  forwarder.hasClassifier = true
  lab.first.apply(lab.plan)
  assert.equal(lab.first.alone, both)
})

test('a host that drains, dies, or has no share gets nothing new; half-open flows of a dead one are chosen for anew', () => {
  const port = portTo('redirected')
  const host = lab.directory.host(HOSTS.redirected.index)!
  const to = (): Member => {
    const { counted, data } = lab.send(someone, port)
    return counted === 'LOCAL' ? 'local' : nameOf(lab.decode(data, data[12] === 0x81 ? 1 : 0).host)
  }
  assert.is(to(), 'redirected')
  host.draining = true
  lab.turn()
  assert.is(to(), 'redirected', 'a SYN that is repeated')
  const next = portTo('sentBack')
  assert.is(nameOf(lab.decode(lab.send(someone, next).data).host), 'sentBack')
  host.live = false
  lab.turn()
  assert.is.not(to(), 'redirected')
  lab.turn()
  assert.is(lab.core.flows.table.size, 2)
  assertNoLeak()
})

test("an inactive host gets no packet at all: its service is the agent's", () => {
  const port = portTo('redirected')
  lab.send(someone, port)
  const untilMs = performance.now() + 60_000
  lab.first.drain()
  lab.allotment.take({
    services: [
      {
        index: serviceIndex(family, 6),
        allotment: {
          ...{ number: 1, scheme: 'hash', strategy: 'round-robin', untilMs, panic: false },
          shares: [{ host: HOSTS.sentBack.index, weight: 1, tokens: 0 }],
        },
        states: [{ host: HOSTS.redirected.index, state: 'inactive', weight: 1 }],
      },
    ],
    leases: Object.keys(MEMBERS).map(name => ({ host: HOSTS[name as Member].index, untilMs })),
    complete: true,
  })
  lab.first.changed(performance.now())
  lab.core.kernel.withdrawEmbryonic()
  assert.is(lab.send(someone, port).counted, 'TCP_CONTROL')
  assert.is(lab.send(someone, port, { flags: FLAG.ACK }).counted, 'NO_ROUTE')
  assert.equal([...eachRoute(lab.embryos)], [])
})

test('a flood of SYNs is bounded, and counted to the last one; routes and identifiers are whole afterwards', () => {
  const { port, identifier } = openFlow()
  const all = family === 4 ? 30_000 : 9_000
  const counts: Record<string, number> = {}
  for (let n = 0; n < all; n++) {
    const { counted } = lab.send(stranger(n), 1024 + (n % 60_000))
    counts[counted] = (counts[counted] ?? 0) + 1
    // Half of it without an agent.
    if (n > all / 2 && n % 500 === 0) lab.turn()
  }
  process.stdout.write(`\n  ${JSON.stringify(counts)}\n`)
  assert.equal(Object.keys(counts).sort(), ['CLASSIFIED', 'LOCAL', 'NO_IDENTIFIER'])
  assert.is(lab.send(someone, port, { flags: FLAG.ACK }).counted, 'REDIRECTED')
  lab.turn()
  lab.turn()
  const { flows } = lab.core
  assert.ok(flows.embryonic <= flows.embryonicCapacity)
  assert.ok([...eachRoute(lab.embryos)].length <= 4 * 1_400)
  assert.ok(lab.identifiers.owner(identifier) >= 0)
  assert.ok(lab.core.kernel.counters.kernel_gone > 0, 'some gave way')
  assertNoLeak()
})

test('events that get lost are made up for: by packets, and by sweeps', () => {
  const { port, identifier } = openFlow()
  const half = portTo('sentBack')
  const { header } = lab.decode(lab.send(someone, half).data)
  const other = portTo('sentBack')
  const { frame } = lab.send(someone, other)
  // Nobody reads them.
  lab.first.drain = () => {}
  assert.is(lab.core.flows.table.size, 0)
  const packet = createPacketRef()
  Object.assign(packet, { buf: frame, offset: 14, length: frame.length - 14 })
  parsePacket(frame, 14, packet.length, packet.view)
  lab.core.packet(packet, performance.now())
  assert.is(lab.core.flows.host[slotOf(frame)], HOSTS.sentBack.index)
  assert.ok(lab.core.flows.has(slotOf(frame), FLOW_FLAG.KERNEL))
  for (let n = 0; n < 4; n++) lab.first.tick(performance.now() + n * 10_000)
  assert.ok(lab.identifiers.owner(header.identifier) >= 0, 'a half-open one')
  const [{ key, route }] = [...eachRoute(lab.routes)]
  const words = new Uint32Array(10)
  key.client(words, 0)
  words.set(addressWords(VIP[family]), 4)
  words[8] = ((port << 16) | 80) >>> 0
  words[9] = 6
  const found = { host: route.identifier >>> 24, identifier: route.identifier, mapped: true }
  lab.core.kernel.found(words, found, performance.now())
  assert.ok(lab.identifiers.owner(identifier) >= 0, 'a route')
  assertNoLeak()
})

test('identifiers of half-open flows that came and went with all their events lost are found again, and rest', () => {
  lab.first.drain = () => {}
  // More than the kernel's table of half-open flows has places.
  for (let n = 0; n < 16_000; n++) {
    lab.send(stranger(n), 4000)
    if (n % 100 === 0) lab.turn()
  }
  const missing = (): number => lab.identifiers.inUse - lab.waiting - lab.owned
  const before = missing()
  assert.ok(before > 6000, `${before} are missing`)
  const now = performance.now()
  lab.first.tick(now)
  lab.first.tick(now + 14_000)
  assert.is(lab.identifiers.quarantined, 0, 'not before they would have been told of')
  lab.first.tick(now + 16_000)
  assert.ok(lab.identifiers.quarantined > before / 2, `${lab.identifiers.quarantined} of ${before}`)
  for (const { route } of eachRoute(lab.embryos))
    if ((route.identifier & 0xffffff) !== 0)
      assert.ok(lab.identifiers.owner(route.identifier) >= 0 || lab.identifiers.isReserved(route.identifier))
  assertNoLeak()
}, [4])

/** Where a frame's packet begins. */
const offsetOf = (frame: Uint8Array): number => {
  let at = 12
  while ([0x8100, 0x88a8].includes((frame[at] << 8) | frame[at + 1])) at += 4
  return at + 2
}
/** The parts that the tag of a message covers, and whose it is: `buildFrame` puts no tags in front. */
const said = (frame: Uint8Array): string =>
  Buffer.from(frame.subarray(14 + 12, 14 + 20))
    .toString('hex')
    .concat(Buffer.from(frame.subarray(42, 42 + HEADER[family])).toString('hex'))

test('damaged first packets: each is counted once, and goes on as it came or not at all', () => {
  const random = integers(seeded(5))
  const l4 = family === 4 ? buildTcp4 : buildTcp6
  const counts: Record<string, number> = {}
  for (let n = 0; n < 2_000; n++) {
    const packet = l4({
      ...{ source: stranger(n), destination: VIP[family], sourcePort: 5000, destinationPort: 80, flags: 2 },
      payload: new Uint8Array(random(30)),
    })
    const sent = mutate(buildFrame(packet, n % 3 === 0 ? { tags: [{ type: 0x8100, tci: 9 }] } : {}), random)
    const { data, frame, counted } = lab.run(sent)
    counts[counted] = (counts[counted] ?? 0) + 1
    if (n % 100 === 0) lab.turn()
    if (counted !== 'CLASSIFIED' && counted !== 'WITH_MAPPING') {
      assert.equal(data, frame, counted)
      continue
    }
    const view = createPacketRef().view
    const at = offsetOf(frame)
    assert.is(parsePacket(frame, at, frame.length - at, view), 0)
    const { header, packet: whole } = lab.decode(data, data[12] === 0x81 ? 1 : 0)
    const inner = whole.subarray(OVERHEAD[family], OVERHEAD[family] + header.innerLength)
    assert.is(parsePacket(inner, 0, inner.length, createPacketRef().view), 0)
    assert.ok(innerMatches(header, view, frame, at))
    assert.ok(verifyMappingTag(whole, 28, header, hostKey(header.hostIndex)))
  }
  assert.ok((counts.CLASSIFIED ?? 0) > 400, JSON.stringify(counts))
  assert.ok((counts.TRUNCATED ?? 0) > 100, JSON.stringify(counts))
})

test('damaged acknowledgements are not believed', () => {
  const random = integers(seeded(6))
  const { header } = lab.decode(lab.send(someone, portTo('redirected')).data)
  const right = lab.acknowledgement(header, 'redirected')
  let believed = 0
  for (let n = 0; n < 2_000; n++) {
    const frame = mutate(right, random)
    const { data, counted } = lab.run(frame, 'edge_cluster')
    if (counted !== 'MAPPING_ACK') assert.equal(data, frame)
    else {
      assert.is(said(frame), said(right))
      believed++
    }
  }
  assert.ok(believed > 20 && believed < 1_500, `${believed}`)
})

test("mapping messages that are not for this flow table are the agent's", () => {
  const frame = buildFrame(
    buildUdp4({
      source: HOSTS.redirected.address[4],
      destination: OWN,
      sourcePort: PORT,
      destinationPort: PORT,
    }),
  )
  assert.is(lab.run(frame, 'edge_cluster').verdict, XDP.pass)
})

it.run()
