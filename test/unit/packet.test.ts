import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createPacketView, type PacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import {
  buildIp4,
  buildIp6,
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  embed,
  FLAG,
  hex,
  onesSum,
  pattern,
} from '../support/packets.ts'

const it = suite('packet')

/** Parses at an odd offset inside a larger buffer. */
function parse(bytes: Uint8Array): { reason: number; view: PacketView } {
  const view = createPacketView()
  return { reason: parsePacket(embed(bytes, 7), 7, bytes.length, view), view }
}

const reasonOf = (bytes: Uint8Array): number => parse(bytes).reason

/** Sets bytes and, for IPv4, makes the header checksum right again. */
function patch(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const out = bytes.slice()
  out.set(values, at)
  if (out[0] >>> 4 === 4) {
    out[10] = 0
    out[11] = 0
    const check = 0xffff - onesSum(out.subarray(0, Math.max(20, (out[0] & 15) * 4)))
    out[10] = check >>> 8
    out[11] = check & 0xff
  }
  return out
}

it('reads a TCP segment over IPv4, byte by byte', () => {
  const bytes = hex(`
    45 00 00 2c  12 34 40 00  3f 06 3d 13  c0 00 02 01  c6 33 64 50
    9c 40 00 50  00 00 00 01  00 00 00 02  50 18 ff ff  00 00 00 00  61 62 63 64`)
  const { reason, view } = parse(bytes)
  assert.is(reason, DROP.NONE)
  assert.equal(view, {
    family: 4,
    protocol: 6,
    l4: 27,
    payload: 47,
    end: 51,
    fragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    identification: 0x1234,
    tcpFlags: FLAG.PSH | FLAG.ACK,
    sourcePort: 40000,
    destinationPort: 80,
    ttl: 63,
    payloadLength: 4,
  })
})

it('reads a UDP datagram over IPv6', () => {
  const { reason, view } = parse(
    buildUdp6({ sourcePort: 1, destinationPort: 65535, ttl: 1, payload: pattern(9) }),
  )
  assert.is(reason, DROP.NONE)
  assert.is(view.family, 6)
  assert.is(view.protocol, 17)
  assert.is(view.l4, 47)
  assert.is(view.sourcePort, 1)
  assert.is(view.destinationPort, 65535)
  assert.is(view.ttl, 1)
  assert.is(view.tcpFlags, 0)
  assert.is(view.payloadLength, 9)
})

it('steps over IPv4 and TCP options, and ignores padding', () => {
  const { reason, view } = parse(
    buildTcp4({ ipOptions: pattern(40), tcpOptions: pattern(40), payload: pattern(3), padding: 20 }),
  )
  assert.is(reason, DROP.NONE)
  assert.is(view.l4, 7 + 60)
  assert.is(view.payload, 7 + 120)
  assert.is(view.end, 7 + 123)
  assert.is(view.payloadLength, 3)
})

it('a view keeps nothing of the packet before', () => {
  const view = createPacketView()
  const first = buildTcp6({ fragmentHeader: true, moreFragments: true, flags: 0xff, identification: 77 })
  assert.is(parsePacket(first, 0, first.length, view), DROP.NONE)
  assert.ok(view.fragment)
  const second = buildUdp6()
  assert.is(parsePacket(second, 0, second.length, view), DROP.NONE)
  const fresh = createPacketView()
  parsePacket(second, 0, second.length, fresh)
  assert.equal(view, fresh)
})

it('every truncation of every kind of packet is TRUNCATED', () => {
  const packets = [
    buildTcp4({ payload: pattern(5), ipOptions: pattern(8), tcpOptions: pattern(12) }),
    buildUdp4({ payload: pattern(5) }),
    buildTcp6({ payload: pattern(5), extensionHeaders: [{ type: 60, body: new Uint8Array(14) }] }),
    buildUdp6({ payload: pattern(5), fragmentHeader: true }),
  ]
  for (const bytes of packets) {
    assert.is(reasonOf(bytes), DROP.NONE)
    for (let length = 0; length < bytes.length; length++)
      assert.is(reasonOf(bytes.subarray(0, length)), DROP.TRUNCATED, `${length} of ${bytes.length} bytes`)
  }
})

it('an IPv4 length that cuts the L4 header is TRUNCATED, at every length', () => {
  for (const [protocol, header] of [
    [6, 20],
    [17, 8],
  ])
    for (let length = 0; length < header; length++)
      assert.is(reasonOf(buildIp4(protocol, new Uint8Array(length))), DROP.TRUNCATED)
})

it('refuses impossible headers', () => {
  const tcp = buildTcp4({ payload: pattern(4) })
  assert.is(reasonOf(patch(tcp, 0, 0x55)), DROP.BAD_VERSION)
  assert.is(reasonOf(patch(tcp, 0, 0x05)), DROP.BAD_VERSION)
  assert.is(reasonOf(patch(tcp, 0, 0x44)), DROP.BAD_HEADER_LENGTH)
  assert.is(reasonOf(patch(tcp, 2, 0, 19)), DROP.BAD_TOTAL_LENGTH)
  assert.is(reasonOf(patch(tcp, 2, 0, 0)), DROP.BAD_TOTAL_LENGTH)
  assert.is(reasonOf(patch(tcp, 20 + 12, 0x40)), DROP.BAD_HEADER_LENGTH)
  assert.is(reasonOf(patch(tcp, 20 + 12, 0x70)), DROP.BAD_HEADER_LENGTH)
  assert.is(reasonOf(patch(tcp, 20 + 12, 0x60)), DROP.NONE)
  const udp = buildUdp4({ payload: pattern(4) })
  assert.is(reasonOf(patch(udp, 24, 0, 7)), DROP.BAD_TOTAL_LENGTH)
  assert.is(reasonOf(patch(udp, 24, 0, 13)), DROP.BAD_TOTAL_LENGTH)
  assert.is(reasonOf(patch(udp, 24, 0, 8)), DROP.NONE)
})

it('refuses every single-bit error in an IPv4 header', () => {
  const bytes = buildTcp4({ ipOptions: pattern(4) })
  for (let bit = 0; bit < 24 * 8; bit++) {
    const damaged = bytes.slice()
    damaged[bit >> 3] ^= 1 << (bit & 7)
    assert.is.not(reasonOf(damaged), DROP.NONE, `bit ${bit}`)
  }
})

it('UDP shorter than its IP packet counts by its own length', () => {
  const { reason, view } = parse(buildUdp4({ payload: pattern(10), udpLength: 12 }))
  assert.is(reason, DROP.NONE)
  assert.is(view.payloadLength, 4)
})

it('other protocols are told apart from damage, with the view filled', () => {
  for (const bytes of [buildIp4(1, pattern(8)), buildIp6(58, pattern(8)), buildIp6(59, pattern(8))]) {
    const { reason, view } = parse(bytes)
    assert.is(reason, DROP.UNSUPPORTED_PROTOCOL)
    assert.is(view.end - view.l4, 8)
    assert.is(view.payload, view.l4)
    assert.is(view.sourcePort, 0)
  }
})

it('flags fragments: the first has ports, later ones do not', () => {
  for (const build of [buildUdp4, buildUdp6]) {
    const first = parse(
      build({ moreFragments: true, payload: pattern(16), udpLength: 4000, identification: 0x4321 }),
    )
    assert.is(first.reason, DROP.NONE)
    assert.ok(first.view.fragment && first.view.moreFragments)
    assert.is(first.view.fragmentOffset, 0)
    assert.is(first.view.identification, 0x4321)
    assert.is(first.view.destinationPort, 53)
    assert.is(first.view.payloadLength, 16)

    const later = parse(build({ fragmentOffset: 1480, payload: pattern(3), identification: 0x4321 }))
    assert.is(later.reason, DROP.NONE)
    assert.ok(later.view.fragment && !later.view.moreFragments)
    assert.is(later.view.fragmentOffset, 1480)
    assert.is(later.view.protocol, 17)
    assert.is(later.view.destinationPort, 0)
    assert.is(later.view.payloadLength, 3)
  }
  assert.is(parse(buildUdp4({ fragmentOffset: 65528, moreFragments: true })).view.fragmentOffset, 65528)
})

it('an atomic IPv6 fragment is a whole packet (RFC 6946)', () => {
  const { reason, view } = parse(buildTcp6({ fragmentHeader: true, identification: 0xfedcba98 }))
  assert.is(reason, DROP.NONE)
  assert.not(view.fragment)
  assert.is(view.identification, 0xfedcba98)
  assert.is(view.destinationPort, 80)
})

const options = (type: number, length = 6): { type: number; body: Uint8Array } => ({
  type,
  body: new Uint8Array(length),
})

it('follows up to 8 IPv6 extension headers', () => {
  const chain = (count: number): Uint8Array =>
    buildTcp6({ extensionHeaders: [options(0), ...Array.from({ length: count - 1 }, () => options(60, 14))] })
  const { reason, view } = parse(chain(8))
  assert.is(reason, DROP.NONE)
  assert.is(view.l4, 7 + 40 + 8 + 7 * 16)
  assert.is(view.destinationPort, 80)
  assert.is(reasonOf(chain(9)), DROP.EXTENSION_HEADERS)
})

it('refuses IPv6 extension headers that change who is meant, or stand in the wrong place', () => {
  const routing = (segmentsLeft: number) => ({ type: 43, body: Uint8Array.of(0, segmentsLeft, 0, 0, 0, 0) })
  assert.is(reasonOf(buildTcp6({ extensionHeaders: [routing(0)] })), DROP.NONE)
  assert.is(reasonOf(buildTcp6({ extensionHeaders: [routing(1)] })), DROP.EXTENSION_HEADERS)
  assert.is(reasonOf(buildTcp6({ extensionHeaders: [options(60), options(0)] })), DROP.EXTENSION_HEADERS)
  assert.is(reasonOf(buildTcp6({ extensionHeaders: [options(44), options(44)] })), DROP.EXTENSION_HEADERS)
})

it('an IPv6 extension header must end within the packet', () => {
  const bytes = buildTcp6({ extensionHeaders: [options(60)] })
  assert.is(reasonOf(patch(bytes, 41, 2)), DROP.TRUNCATED)
  assert.is(reasonOf(patch(bytes, 41, 255)), DROP.TRUNCATED)
})

it('an IPv6 length that cuts the extension headers is TRUNCATED, at every length, whatever follows', () => {
  const headers = [options(0), options(43), options(44), options(60, 14)]
  for (const bytes of [
    buildTcp6({ extensionHeaders: headers }),
    buildIp6(58, pattern(8), { extensionHeaders: headers }),
  ])
    for (let length = 0; length < 40; length++) {
      const shortened = patch(bytes, 4, 0, length)
      const { buf, outside } = guarded(embed(shortened, 7), 7, 7 + 40 + length)
      assert.is(parsePacket(buf, 7, shortened.length, createPacketView()), DROP.TRUNCATED, `${length} bytes`)
      assert.is(outside(), 0)
    }
})

it('refuses v4-mapped addresses on the wire', () => {
  const mapped = '0:0:0:0:0:ffff:c000:201'
  assert.is(reasonOf(buildTcp6({ source: mapped })), DROP.BAD_ADDRESS)
  assert.is(reasonOf(buildTcp6({ destination: mapped })), DROP.BAD_ADDRESS)
  assert.is(reasonOf(buildTcp6({ source: '0:0:0:1:0:ffff:c000:201' })), DROP.NONE)
})

/** A typed array that tells of every read outside its first `limit` elements. */
function guarded(bytes: Uint8Array, from: number, to: number): { buf: Uint8Array; outside: () => number } {
  let outside = 0
  const buf = new Proxy(bytes, {
    get(target, name) {
      const index = typeof name === 'string' ? Number(name) : Number.NaN
      if (Number.isInteger(index) && (index < from || index >= to)) outside++
      return Reflect.get(target, name) as unknown
    },
  })
  return { buf, outside: () => outside }
}

it('random bytes never throw and are never read outside', () => {
  const view = createPacketView()
  const shapes = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    // Bytes that get further: a plausible first byte, and packets with some bytes changed.
    fc.uint8Array({ minLength: 1, maxLength: 120 }).map(bytes => patch(bytes, 0, 0x45)),
    fc.uint8Array({ minLength: 1, maxLength: 120 }).map(bytes => patch(bytes, 0, 0x60)),
    fc
      .tuple(
        fc.constantFrom(
          buildTcp4({ payload: pattern(20) }),
          buildUdp4({ payload: pattern(20) }),
          buildTcp6({ extensionHeaders: [options(0), options(43), options(44), options(60)] }),
        ),
        fc.array(fc.tuple(fc.nat(47), fc.nat(255)), { maxLength: 4 }),
      )
      .map(([bytes, changes]) => changes.reduce((all, [at, value]) => patch(all, at, value), bytes)),
  )
  fc.assert(
    fc.property(shapes, fc.nat(20), (bytes, cut) => {
      const length = Math.max(0, bytes.length - cut)
      const { buf, outside } = guarded(embed(bytes, 5), 5, 5 + length)
      const reason = parsePacket(buf, 5, length, view)
      assert.is(outside(), 0)
      assert.ok(Number.isInteger(reason) && reason >= 0)
      if (reason !== DROP.NONE) return
      assert.ok(view.l4 >= 25 && view.l4 <= view.payload)
      assert.ok(view.payload + view.payloadLength <= view.end && view.end <= 5 + length)
    }),
    { numRuns: 4000 },
  )
})

it.run()
