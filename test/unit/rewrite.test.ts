import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import {
  FLOW_KEY_WORDS,
  KEY_CLIENT,
  KEY_PORTS,
  KEY_VIP,
  readFlowKey,
} from '../../src/agent/dataplane/flow-key.ts'
import { createPacketView, type PacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { decrementTtl, rewriteTuple } from '../../src/agent/dataplane/rewrite.ts'
import {
  addressWords,
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  checksumFaults,
  dissect,
  embed,
  partialChecksumFaults,
  pattern,
  type TcpOptions,
  type UdpOptions,
} from '../support/packets.ts'

const it = suite('rewrite')

const AT = 5

function load(bytes: Uint8Array): { buf: Uint8Array; view: PacketView; packet: () => Uint8Array } {
  const buf = embed(bytes, AT)
  const view = createPacketView()
  assert.is(parsePacket(buf, AT, bytes.length, view), DROP.NONE)
  return { buf, view, packet: () => buf.slice(AT, AT + bytes.length) }
}

const ADDRESS4 = fc.integer({ min: 0, max: 0xffffffff }).map(word => Uint32Array.of(0, 0, 0xffff, word))
const ADDRESS6 = fc
  .array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: 4, maxLength: 4 })
  .map(words => Uint32Array.from(words))
const TEXT6 = ADDRESS6.map(words =>
  [...words].map(w => `${(w >>> 16).toString(16)}:${(w & 0xffff).toString(16)}`).join(':'),
)
const TEXT4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(bytes => bytes.join('.'))

const byFours = (maxWords: number) =>
  fc.uint8Array({ maxLength: maxWords * 4 }).map(bytes => bytes.subarray(0, bytes.length & ~3))

const shape = fc.record({
  sourcePort: fc.nat(0xffff),
  destinationPort: fc.nat(0xffff),
  payload: fc.uint8Array({ maxLength: 70 }),
  ttl: fc.nat(255),
  sequence: fc.integer({ min: 0, max: 0xffffffff }),
  flags: fc.nat(255),
  tcpOptions: byFours(10),
  partialChecksum: fc.boolean(),
  noChecksum: fc.boolean(),
})

const packet4 = fc
  .tuple(shape, TEXT4, TEXT4, byFours(10), fc.boolean())
  .map(([options, source, destination, ipOptions, udp]) => {
    const all: TcpOptions & UdpOptions = { ...options, source, destination, ipOptions }
    return { all, bytes: udp ? buildUdp4(all) : buildTcp4(all), udp }
  })

const packet6 = fc
  .tuple(shape, TEXT6, TEXT6, fc.array(fc.constantFrom(43, 60), { maxLength: 3 }), fc.boolean(), fc.boolean())
  .map(([options, source, destination, types, fragmentHeader, udp]) => {
    const extensionHeaders = types.map(type => ({ type, body: new Uint8Array(6) }))
    const all = { ...options, source, destination, extensionHeaders, fragmentHeader, noChecksum: false }
    return { all, bytes: udp ? buildUdp6(all) : buildTcp6(all), udp }
  })

const PORTS = fc.integer({ min: 0, max: 0xffffffff })

/** Encapsulates and decapsulates; both forms must be right by full recomputation, and the last equal to the first. */
function roundTrip(
  { all, bytes, udp }: { all: TcpOptions & UdpOptions; bytes: Uint8Array; udp: boolean },
  forwarder: Uint32Array,
  host: Uint32Array,
  identifier: number,
): void {
  const partial = all.partialChecksum ?? false
  const faults = (packet: Uint8Array): string[] =>
    partial
      ? [...checksumFaults(packet).filter(fault => fault.startsWith('IP')), ...partialChecksumFaults(packet)]
      : checksumFaults(packet)
  const { buf, view, packet } = load(bytes)
  assert.equal(faults(bytes), [])
  const key = new Uint32Array(FLOW_KEY_WORDS)
  readFlowKey(buf, AT, view, key)

  rewriteTuple(buf, AT, view, forwarder, 0, host, 0, identifier, partial)
  const tunnelled = packet()
  assert.equal(faults(tunnelled), [])
  assert.is(((view.sourcePort << 16) | view.destinationPort) >>> 0, identifier)
  const after = new Uint32Array(FLOW_KEY_WORDS)
  const again = createPacketView()
  assert.is(parsePacket(tunnelled, 0, tunnelled.length, again), DROP.NONE)
  readFlowKey(tunnelled, 0, again, after)
  assert.equal([...after.subarray(0, 4)], [...forwarder])
  assert.equal([...after.subarray(4, 8)], [...host])
  assert.is(after[KEY_PORTS], identifier)
  assert.equal(dissect(tunnelled).payload, dissect(bytes).payload)
  if (udp && !partial && all.noChecksum) assert.equal([...dissect(tunnelled).l4.subarray(6, 8)], [0, 0])

  rewriteTuple(buf, AT, view, key, KEY_CLIENT, key, KEY_VIP, key[KEY_PORTS], partial)
  assert.equal(packet(), bytes)
  assert.ok(
    buf.subarray(0, AT).every(byte => byte === 0xa5) &&
      buf.subarray(AT + bytes.length).every(byte => byte === 0xa5),
  )
}

it('encapsulation and decapsulation give back the packet, checksums right at each step (IPv4)', () => {
  fc.assert(fc.property(packet4, ADDRESS4, ADDRESS4, PORTS, roundTrip), { numRuns: 3000 })
})

it('encapsulation and decapsulation give back the packet, checksums right at each step (IPv6)', () => {
  const unmapped = ADDRESS6.filter(words => words[0] !== 0)
  fc.assert(
    fc.property(packet6, unmapped, unmapped, PORTS, (packet, forwarder, host, identifier) => {
      fc.pre(
        packet.all.source?.startsWith('0:0') === false && packet.all.destination?.startsWith('0:0') === false,
      )
      roundTrip(packet, forwarder, host, identifier)
    }),
    { numRuns: 3000 },
  )
})

it('words of any array offset are used', () => {
  const bytes = buildTcp4({ payload: pattern(5) })
  const { buf, view, packet } = load(bytes)
  const words = Uint32Array.of(9, ...addressWords('10.0.0.1'), 9, ...addressWords('10.0.0.2'))
  rewriteTuple(buf, AT, view, words, 1, words, 6, 0x01020304, false)
  assert.equal([...packet().subarray(12, 24)], [10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4])
  assert.equal(checksumFaults(packet()), [])
})

it('a UDP checksum that comes to 0 is written as 0xffff', () => {
  const source = addressWords('10.0.0.1')
  const destination = addressWords('10.0.0.2')
  const reach = (bytes: Uint8Array, ports: number): Uint8Array => {
    const { buf, view, packet } = load(bytes)
    rewriteTuple(buf, AT, view, source, 0, destination, 0, ports, false)
    return packet()
  }
  for (const bytes of [buildUdp4({ payload: pattern(6) })]) {
    // With ports 0 the checksum is c; with source port c the sum is 0xffff and the checksum 0.
    const { l4 } = dissect(reach(bytes, 0))
    const c = (l4[6] << 8) | l4[7]
    const result = reach(bytes, (c << 16) >>> 0)
    assert.equal([...dissect(result).l4.subarray(6, 8)], [0xff, 0xff])
    assert.equal(checksumFaults(result), [])
  }
})

it('a checksum-neutral identifier with neutral addresses leaves the checksum alone', () => {
  const bytes = buildTcp4({
    sourcePort: 1000,
    destinationPort: 80,
    source: '10.0.0.1',
    destination: '10.0.0.2',
  })
  const { buf, view, packet } = load(bytes)
  rewriteTuple(
    buf,
    AT,
    view,
    addressWords('10.0.0.2'),
    0,
    addressWords('10.0.0.1'),
    0,
    ((1040 << 16) | 40) >>> 0,
    false,
  )
  assert.equal(dissect(packet()).l4.slice(16, 18), dissect(bytes).l4.slice(16, 18))
})

it('a later fragment changes its addresses only', () => {
  for (const [build, to] of [
    [buildUdp4, '10.0.0.9'],
    [buildUdp6, '2001:db8::9'],
  ] as const) {
    const bytes = build({ fragmentOffset: 8, payload: pattern(24) })
    const { buf, view, packet } = load(bytes)
    rewriteTuple(buf, AT, view, addressWords(to), 0, addressWords(to), 0, 0x01020304, false)
    const result = packet()
    const expected = build({ source: to, destination: to, fragmentOffset: 8, payload: pattern(24) })
    assert.equal(result, expected)
  }
})

it('a first fragment keeps the checksum of the whole datagram right', () => {
  const payload = pattern(64)
  const whole = buildUdp4({ payload })
  const first = buildUdp4({ payload, moreFragments: true })
  const target = { source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 0x0102, destinationPort: 0x0304 }
  assert.is(first.length, whole.length)
  const { buf, view, packet } = load(first)
  rewriteTuple(
    buf,
    AT,
    view,
    addressWords(target.source),
    0,
    addressWords(target.destination),
    0,
    0x01020304,
    false,
  )
  assert.equal(packet(), buildUdp4({ ...target, payload, moreFragments: true }))
})

it('TTL goes down by one, with the header checksum, and never to 0', () => {
  for (let ttl = 0; ttl <= 255; ttl++) {
    for (const build of [buildTcp4, buildTcp6]) {
      const bytes = build({ ttl, identification: 0xffff })
      const { buf, view, packet } = load(bytes)
      assert.is(decrementTtl(buf, AT, view), ttl > 1)
      assert.is(view.ttl, ttl > 1 ? ttl - 1 : ttl)
      assert.equal(packet(), ttl > 1 ? build({ ttl: ttl - 1, identification: 0xffff }) : bytes)
    }
  }
})

it.run()
