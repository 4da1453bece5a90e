/** Errors from the way between forwarder and host about packets in full encapsulation (R-A4, R-A7): to the client, about its own packet. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP, DropCounters } from '../../src/agent/dataplane/drops.ts'
import { outerBytes, writeOuter } from '../../src/agent/dataplane/encapsulate.ts'
import { IcmpForwarder } from '../../src/agent/dataplane/icmp-forwarder.ts'
import { IcmpSide } from '../../src/agent/dataplane/icmp-side.ts'
import { createPacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { readRingPacket } from '../../src/agent/dataplane/slow-path.ts'
import { buildIcmp, type Family, type IcmpOptions, icmpAt, icmpFaults, quotedOf } from '../support/icmp.ts'
import { addressWords, buildTcp4, buildTcp6, join, pattern, type TcpOptions } from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'

const it = suite('ICMP about encapsulated packets')
const FAMILIES: readonly Family[] = [4, 6]
const CLIENT = { 4: '10.20.0.5', 6: 'fd10:20::5' }
const VIP = { 4: '10.99.0.1', 6: 'fd10:99::1' }
const TUNNEL = { 4: '10.10.1.11', 6: 'fd10:11::11' }
const HOST = { 4: '10.10.0.71', 6: 'fd10:10::71' }
const ROUTER = { 4: '192.0.2.254', 6: '2001:db8::254' }
const TOO_BIG = { 4: { type: 3, code: 4 }, 6: { type: 2, code: 0 } }
const MIN_MTU = { 4: 0, 6: 1280 }

const setUp = () => {
  const sent: { bytes: Uint8Array; to: number[] }[] = []
  const drops = new DropCounters()
  const flowOf = (key: Uint32Array, family: Family): boolean =>
    String(key) ===
    String([...addressWords(CLIENT[family]), ...addressWords(VIP[family]), ((40_000 << 16) | 80) >>> 0, 6])
  const side = new IcmpSide(drops)
  side.forwarder = new IcmpForwarder({
    flows: {
      table: {
        keys: new Uint32Array(0),
        find: (key: Uint32Array) => (FAMILIES.some(family => flowOf(key, family)) ? 3 : -1),
      },
      host: { 3: 1 },
    } as never,
    identifiers: { owner: () => -1 } as never,
    directory: { isVip: () => false } as never,
    route: () => -1,
    hear: () => {},
    ports: {
      send: (buf, offset, length, destination, at) =>
        sent.push({ bytes: buf.slice(offset, offset + length), to: [...destination.subarray(at, at + 4)] }),
      deliverLocal: () => {},
      drop: reason => drops.add(reason),
    },
    settings: {
      tunnel: family => addressWords(TUNNEL[family]),
      host: (index, family) => (index === 1 ? addressWords(HOST[family]) : undefined),
      router: () => undefined,
    },
    ...{ k0: 1, k1: 2 },
  })
  const packet = createPacketRef()
  /** In the middle of a larger buffer, as in the ring. */
  const arrive = (bytes: Uint8Array): void => {
    const reason = readRingPacket(
      packet,
      join(new Uint8Array(32), bytes, new Uint8Array(64)),
      32,
      bytes.length,
      -1,
    )
    assert.is(reason, DROP.NONE)
    side.packet(packet, undefined, 0)
  }
  const dropped = (): Record<string, number> =>
    Object.fromEntries(
      Object.entries(DROP)
        .map(([name, reason]): [string, number] => [name, drops.counts[reason]!])
        .filter(([, count]) => count > 0),
    )
  return { arrive, sent, dropped, side }
}

const client = (family: Family, more: TcpOptions = {}): Uint8Array =>
  (family === 4 ? buildTcp4 : buildTcp6)({
    ...{ source: CLIENT[family], destination: VIP[family], sourcePort: 40_000, destinationPort: 80 },
    ...{ payload: pattern(1440), sequence: 99, dontFragment: true },
    ...more,
  })

/** As the forwarder sends it. */
const encapsulated = (
  family: Family,
  packet: Uint8Array,
  to = HOST[family],
  from = TUNNEL[family],
): Uint8Array => {
  const outer = new Uint8Array(outerBytes(family))
  writeOuter(outer, packet, 0, packet.length, addressWords(from), addressWords(to))
  return join(outer, packet)
}

const LARGEST = { 4: 548, 6: 1232 }
const error = (family: Family, about: Uint8Array, more: Partial<IcmpOptions> = {}): Uint8Array =>
  buildIcmp(family, {
    ...{ source: ROUTER[family], destination: TUNNEL[family], ...TOO_BIG[family], word: 1400 },
    body: about.slice(0, LARGEST[family]),
    ...more,
  })

for (const family of FAMILIES)
  it(`IPv${family}: too big: to the client, from the VIP, about its packet, with the MTU that is left`, () => {
    for (const quoted of [LARGEST[family], 2 * outerBytes(family) + 8]) {
      const { arrive, sent, side } = setUp()
      const packet = client(family)
      arrive(
        error(family, encapsulated(family, packet), { body: encapsulated(family, packet).slice(0, quoted) }),
      )
      assert.is(sent.length, 1)
      const [{ bytes, to }] = sent as [{ bytes: Uint8Array; to: number[] }]
      assert.equal(to, [...addressWords(CLIENT[family])])
      assert.equal(icmpFaults(bytes), [])
      const at = icmpAt(bytes)
      assert.equal([...bytes.subarray(at, at + 2)], [TOO_BIG[family].type, TOO_BIG[family].code])
      assert.is(new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 4), 1400 - outerBytes(family))
      assert.equal(quotedOf(bytes), packet.slice(0, quoted - outerBytes(family)))
      const ends = family === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40)
      const wanted = family === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40)
      const half = ends.length / 2
      assert.equal(ends, join(wanted.subarray(half), wanted.subarray(0, half)))
      assert.is(side.counters.errorsToClients, 1)
    }
  })

it('MTUs that make no sense: none stays none, and IPv6 has 1280 at least', () => {
  for (const family of FAMILIES)
    for (const [word, left] of [
      [0, 0],
      [20, 0],
      [1290, 1290 - outerBytes(family)],
    ] as const) {
      const { arrive, sent } = setUp()
      arrive(error(family, encapsulated(family, client(family)), { word }))
      const { bytes } = sent[0]!
      const told = new DataView(bytes.buffer, bytes.byteOffset).getUint32(icmpAt(bytes) + 4)
      assert.is(told, Math.max(left, MIN_MTU[family]), `IPv${family}, ${word}`)
    }
})

it('what is not the client’s concern, and what is about no flow of here, is told to nobody', () => {
  for (const family of FAMILIES) {
    const whole = encapsulated(family, client(family))
    const head = outerBytes(family)
    const cases: readonly (readonly [what: string, bytes: Uint8Array, reason: string])[] = [
      [
        'unreachable',
        error(family, whole, { type: family === 4 ? 3 : 1, code: 1, word: 0 }),
        'ICMP_UNREACHABLE',
      ],
      ['TTL', error(family, whole, { type: family === 4 ? 11 : 3, code: 0, word: 0 }), 'ICMP_UNREACHABLE'],
      [
        'another port',
        error(family, encapsulated(family, client(family, { sourcePort: 40_001 }))),
        'ICMP_NO_FLOW',
      ],
      ['another host', error(family, encapsulated(family, client(family), ROUTER[family])), 'ICMP_NO_FLOW'],
      [
        'of another sender',
        error(family, encapsulated(family, client(family), HOST[family], ROUTER[family])),
        'ICMP_EMBEDDED',
      ],
      ['to another', error(family, whole, { destination: VIP[family] }), 'ICMP_EMBEDDED'],
      ['no ports', error(family, whole, { body: whole.slice(0, 2 * head + 7) }), 'ICMP_EMBEDDED'],
      ['8 bytes', error(family, whole, { body: whole.slice(0, head + 8) }), 'ICMP_EMBEDDED'],
      ['twice', error(family, encapsulated(family, whole)), 'ICMP_EMBEDDED'],
      ['a damaged one', error(family, whole, { wrongChecksum: true }), 'ICMP_CHECKSUM'],
    ]
    for (const [what, bytes, reason] of cases) {
      const { arrive, sent, dropped } = setUp()
      arrive(bytes)
      assert.equal([sent, dropped()], [[], { [reason]: 1 }], `IPv${family}: ${what}`)
    }
  }
})

it('errors to one client are limited', () => {
  const { arrive, sent, dropped } = setUp()
  for (let i = 0; i < 500; i++) arrive(error(4, encapsulated(4, client(4))))
  assert.equal([sent.length, dropped()], [50, { ICMP_RATE: 450 }])
})

it('cut and damaged inside: nothing is thrown, and nothing is read behind the packet', () => {
  const random = integers(seeded(7))
  for (const family of FAMILIES) {
    const whole = encapsulated(family, client(family))
    for (let n = 0; n < 3000; n++) {
      const { arrive, sent } = setUp()
      const body = whole.slice(0, random(200))
      for (let i = random(6); i > 0 && body.length > 0; i--) body[random(body.length)] = random(256)
      arrive(error(family, body))
      for (const { bytes } of sent) assert.ok(bytes.length <= icmpAt(bytes) + 8 + body.length)
    }
  }
})

it.run()
