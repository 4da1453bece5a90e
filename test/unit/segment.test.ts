import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { completeChecksum, segmentPacket, segmentTcp, segmentUdp } from '../../src/agent/dataplane/segment.ts'
import {
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  checksumFaults,
  dissect,
  embed,
  FLAG,
  join,
  pattern,
  type TcpOptions,
} from '../support/packets.ts'

const it = suite('segment')

type Segmenter = typeof segmentTcp

/** Runs a segmenter on a packet inside a larger buffer, and copies what it emits. */
function cut(bytes: Uint8Array, size: number, segmenter: Segmenter): Uint8Array[] {
  const buf = embed(bytes, 9)
  const before = buf.slice()
  const view = createPacketView()
  assert.is(parsePacket(buf, 9, bytes.length, view), DROP.NONE)
  const out: Uint8Array[] = []
  const count = segmenter(buf, 9, view, size, (segment, offset, length) =>
    out.push(segment.slice(offset, offset + length)),
  )
  assert.is(count, out.length)
  assert.equal(buf, before, 'the input is not changed')
  return out
}

/** The twin: builds each segment from scratch. */
function naive(build: (o: TcpOptions) => Uint8Array, o: TcpOptions, mss: number): Uint8Array[] {
  const payload = o.payload ?? new Uint8Array(0)
  const out: Uint8Array[] = []
  for (let at = 0; at === 0 || at < payload.length; at += mss) {
    const last = at + mss >= payload.length
    let flags = o.flags ?? FLAG.ACK
    if (at !== 0) flags &= ~FLAG.CWR
    if (!last) flags &= ~(FLAG.FIN | FLAG.PSH)
    out.push(
      build({
        ...o,
        flags,
        payload: payload.slice(at, at + mss),
        sequence: ((o.sequence ?? 0) + at) % 2 ** 32,
        identification: ((o.identification ?? 0) + out.length) % 65536,
        partialChecksum: false,
        padding: 0,
      }),
    )
  }
  return out
}

const tcpShape = fc.record({
  payload: fc.nat(3000).map(length => pattern(length, length)),
  sequence: fc.oneof(fc.constant(0xfffffff0), fc.integer({ min: 0, max: 0xffffffff })),
  acknowledgement: fc.integer({ min: 0, max: 0xffffffff }),
  // No SYN: a super-packet never has one.
  flags: fc.nat(255).map(flags => flags & ~FLAG.SYN),
  identification: fc.oneof(fc.constant(0xffff), fc.nat(0xffff)),
  tcpOptions: fc.constantFrom(new Uint8Array(0), pattern(12), pattern(40)),
  trafficClass: fc.nat(255),
  partialChecksum: fc.boolean(),
  padding: fc.constantFrom(0, 6),
})

it('TCP over IPv4 equals the naive twin', () => {
  const ipOptions = fc.constantFrom(new Uint8Array(0), pattern(8), pattern(40))
  fc.assert(
    fc.property(tcpShape, ipOptions, fc.integer({ min: 1, max: 1600 }), (shape, options, mss) => {
      fc.pre(shape.payload.length / mss < 200)
      const all = { ...shape, ipOptions: options }
      assert.equal(cut(buildTcp4(all), mss, segmentTcp), naive(buildTcp4, all, mss))
    }),
    { numRuns: 400 },
  )
})

it('TCP over IPv6 with extension headers equals the naive twin', () => {
  const headers = fc.constantFrom(
    [],
    [
      { type: 0, body: new Uint8Array(6) },
      { type: 60, body: new Uint8Array(14) },
    ],
  )
  fc.assert(
    fc.property(tcpShape, headers, fc.integer({ min: 1, max: 1600 }), (shape, extensionHeaders, mss) => {
      fc.pre(shape.payload.length / mss < 200)
      const all = { ...shape, extensionHeaders }
      assert.equal(cut(buildTcp6(all), mss, segmentTcp), naive(buildTcp6, all, mss))
    }),
    { numRuns: 400 },
  )
})

it('the largest super-packets come out whole, with all checksums right', () => {
  for (const [build, headers] of [
    [buildTcp4, 40],
    [buildTcp6, 20],
  ] as const) {
    const payload = pattern(65535 - headers)
    const segments = cut(
      build({ payload, partialChecksum: true, flags: FLAG.ACK | FLAG.PSH }),
      1448,
      segmentTcp,
    )
    assert.is(segments.length, Math.ceil(payload.length / 1448))
    assert.ok(segments.every(segment => checksumFaults(segment).length === 0))
    assert.equal(join(...segments.map(segment => dissect(segment).payload)), payload)
    const [single] = cut(build({ payload }), 65535, segmentTcp)
    assert.equal(single, build({ payload }))
  }
})

it('flags stay where they belong', () => {
  const flags = FLAG.FIN | FLAG.PSH | FLAG.ACK | FLAG.ECE | FLAG.CWR
  const segments = cut(buildTcp4({ payload: pattern(30), flags }), 10, segmentTcp)
  assert.equal(
    segments.map(segment => dissect(segment).l4[13]),
    [FLAG.ACK | FLAG.ECE | FLAG.CWR, FLAG.ACK | FLAG.ECE, FLAG.ACK | FLAG.ECE | FLAG.FIN | FLAG.PSH],
  )
})

it('a SYN with data keeps its flag and sequence on the first packet', () => {
  const [first, second] = cut(
    buildTcp4({ payload: pattern(15), flags: FLAG.SYN, sequence: 100 }),
    10,
    segmentTcp,
  )
  assert.equal([first[33], first[27]], [FLAG.SYN, 100])
  assert.equal([second[33], second[27]], [0, 111])
  assert.equal(checksumFaults(second), [])
})

it('a packet without payload comes out once', () => {
  const bytes = buildTcp4({ flags: FLAG.ACK })
  assert.equal(cut(bytes, 1448, segmentTcp), [bytes])
})

it('a segment size that is no size emits nothing', () => {
  for (const size of [0, -1, Number.NaN]) {
    assert.equal(cut(buildTcp4({ payload: pattern(10) }), size, segmentTcp), [])
    assert.equal(cut(buildUdp4({ payload: pattern(10) }), size, segmentUdp), [])
  }
})

it('UDP super-packets become datagrams', () => {
  fc.assert(
    fc.property(
      fc.nat(3000),
      fc.integer({ min: 20, max: 1600 }),
      fc.boolean(),
      fc.boolean(),
      (length, size, six, none) => {
        const payload = pattern(length)
        const build = six ? buildUdp6 : buildUdp4
        const shape = { noChecksum: none && !six, partialChecksum: !none, identification: 0xfffe }
        const expected: Uint8Array[] = []
        for (let at = 0; at === 0 || at < length; at += size)
          expected.push(
            build({
              ...shape,
              partialChecksum: false,
              identification: (0xfffe + expected.length) % 65536,
              payload: payload.slice(at, at + size),
            }),
          )
        assert.equal(cut(build({ ...shape, payload, padding: 3 }), size, segmentPacket), expected)
      },
    ),
    { numRuns: 300 },
  )
})

it('a partial checksum becomes the complete one', () => {
  const shapes = [{ payload: pattern(0) }, { payload: pattern(1) }, { payload: pattern(1400), padding: 4 }]
  for (const build of [buildTcp4, buildTcp6, buildUdp4, buildUdp6])
    for (const shape of shapes) {
      const bytes = build({ ...shape, partialChecksum: true })
      const buf = embed(bytes, 4)
      const view = createPacketView()
      assert.is(parsePacket(buf, 4, bytes.length, view), DROP.NONE)
      completeChecksum(buf, 4, view)
      assert.equal(buf, embed(build(shape), 4))
    }
})

it('a fragment is left as it is', () => {
  const bytes = buildUdp4({ payload: pattern(16), moreFragments: true, partialChecksum: true })
  const buf = bytes.slice()
  const view = createPacketView()
  assert.is(parsePacket(buf, 0, buf.length, view), DROP.NONE)
  completeChecksum(buf, 0, view)
  assert.equal(buf, bytes)
})

it.run()
