import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import {
  createMappingHeader,
  decodeMappingHeader,
  encodeMappingHeader,
  innerMatches,
  KIND,
  MAPPING_HEADER_IPV4,
  MAPPING_HEADER_IPV6,
  type MappingHeader,
  mappingHeaderLength,
  mappingOverhead,
  verifyMappingTag,
} from '../../src/agent/dataplane/mapping-header.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { sipHash24 } from '../../src/agent/dataplane/siphash.ts'
import { addressWords, buildTcp4, buildTcp6, buildUdp4, embed, hex, join } from '../support/packets.ts'

const it = suite('mapping-header')

const KEY = Uint32Array.of(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c)

function header(fields: Partial<MappingHeader>, client: string, vip: string, node: string): MappingHeader {
  const h = Object.assign(createMappingHeader(), fields)
  h.client.set(addressWords(client))
  h.vip.set(addressWords(vip))
  h.node.set(addressWords(node))
  return h
}

const FIELDS = {
  kind: KIND.MAP,
  keyNumber: 7,
  epoch: 0x80010203,
  sequence: 0xfffffffe,
  timeS: 0x6a000000,
  identifier: 0x05aabbcc,
  protocol: 6,
  hostIndex: 5,
  ports: ((40000 << 16) | 80) >>> 0,
}
const HEAD4 = `53 11 07 00  80010203  fffffffe  6a000000  05aabbcc  06 05 0000  9c40 0050
  c0000201  0a630001  0a0a010b`
const HEAD6 = `53 14 07 03  80010203  fffffffe  6a000000  05aabbcc  06 05 0003  9c40 0050
  20010db8000000000000000000000001  20010db8008000000000000000000080  0000000000000000 0000ffff 0a0a010b`

/** The tag's bytes as the definition has them. */
function tagOf(bytes: Uint8Array): Uint8Array {
  const out = new Uint32Array(2)
  sipHash24(KEY, bytes, 0, bytes.length, out)
  return new Uint8Array(out.buffer)
}

const v4 = (): MappingHeader => header(FIELDS, '192.0.2.1', '10.99.0.1', '10.10.1.11')
const v6 = (innerLength = 3): MappingHeader =>
  header({ ...FIELDS, kind: KIND.CLASSIFY, innerLength }, '2001:db8::1', '2001:db8:80::80', '10.10.1.11')

function encode(h: MappingHeader): Uint8Array {
  const buf = new Uint8Array(200)
  const length = encodeMappingHeader(h, buf, 0, KEY)
  return buf.slice(0, length + h.innerLength)
}

const decode = (bytes: Uint8Array, out = createMappingHeader()): number =>
  decodeMappingHeader(embed(bytes, 3), 3, bytes.length, out)

it('golden bytes, IPv4, header only', () => {
  const expected = join(hex(HEAD4), tagOf(hex(HEAD4)))
  assert.is(expected.length, MAPPING_HEADER_IPV4)
  const buf = new Uint8Array(60).fill(0xee)
  const h = v4()
  assert.is(encodeMappingHeader(h, buf, 5, KEY), 48)
  assert.equal(buf.slice(5, 53), expected)
  assert.ok(buf.subarray(0, 5).every(byte => byte === 0xee) && buf.subarray(53).every(byte => byte === 0xee))
  assert.is(h.tagOffset, 45)
  assert.is(h.innerOffset, 53)
})

it('golden bytes, IPv6 flow through an IPv4 node, with an inner packet', () => {
  const expected = join(hex(HEAD6), tagOf(hex(HEAD6)), hex('000000'))
  assert.is(expected.length, MAPPING_HEADER_IPV6 + 3)
  assert.equal(encode(v6()), expected)
})

it('the overhead counts the outer IP and UDP headers', () => {
  assert.is(mappingOverhead(4), 76)
  assert.is(mappingOverhead(6), 112, 'datagrams are of IPv4')
  assert.is(mappingHeaderLength(v4()), 48)
  assert.is(mappingHeaderLength(v6()), 84)
})

it('reads what it writes', () => {
  const u32 = fc.integer({ min: 0, max: 0xffffffff })
  const address4 = u32.map(word => Uint32Array.of(0, 0, 0xffff, word))
  const address6 = fc.tuple(u32, u32, u32, u32).map(words => Uint32Array.from(words))
  const pair = fc.oneof(
    fc.tuple(address4, address4),
    fc.tuple(address6, address6).filter(([a, b]) => a[0] !== 0 && b[0] !== 0),
  )
  const record = fc.record({
    kind: fc.constantFrom(...Object.values(KIND)),
    keyNumber: fc.nat(255),
    epoch: u32,
    sequence: u32,
    timeS: u32,
    identifier: u32,
    protocol: fc.nat(255),
    hostIndex: fc.nat(255),
    innerLength: fc.oneof(fc.constant(0), fc.nat(0xffff)),
    ports: u32,
  })
  const buf = new Uint8Array(66000)
  const out = createMappingHeader()
  fc.assert(
    fc.property(
      record,
      pair,
      fc.oneof(address4, address6),
      fc.nat(100),
      (fields, [client, vip], node, at) => {
        const h = Object.assign(createMappingHeader(), fields)
        h.client.set(client)
        h.vip.set(vip)
        h.node.set(node)
        const length = encodeMappingHeader(h, buf, at, KEY)
        assert.is(decodeMappingHeader(buf, at, length + fields.innerLength, out), DROP.NONE)
        assert.equal(out, h)
        assert.ok(verifyMappingTag(buf, at, out, KEY))
        assert.is(out.innerOffset, at + length)
        assert.is(out.tagOffset, at + length - 8)
      },
    ),
    { numRuns: 1000 },
  )
})

it('one byte too few or too many is refused, at every length', () => {
  for (const [bytes, least] of [
    [encode(v4()), 48],
    [encode(v6(0)), 84],
    [encode(v6(20)), 84],
  ] as const) {
    assert.is(decode(bytes), DROP.NONE)
    for (let length = 0; length < bytes.length; length++)
      assert.is(
        decode(bytes.slice(0, length)),
        length < least ? DROP.MAPPING_TRUNCATED : DROP.MAPPING_BAD_LENGTH,
        `${length} of ${bytes.length}`,
      )
    assert.is(decode(join(bytes, Uint8Array.of(0))), DROP.MAPPING_BAD_LENGTH)
  }
})

it('refuses other magic, version, kind and flags', () => {
  const patched = (at: number, value: number, bytes = encode(v4())): Uint8Array => {
    bytes[at] = value
    return bytes
  }
  for (let value = 0; value < 256; value++) {
    if (value !== 0x53) assert.is(decode(patched(0, value)), DROP.MAPPING_BAD_MAGIC)
    if (value >>> 4 !== 1) assert.is(decode(patched(1, value)), DROP.MAPPING_BAD_VERSION)
    else if ((value & 15) < 1 || (value & 15) > 8) assert.is(decode(patched(1, value)), DROP.MAPPING_BAD_KIND)
    else assert.is(decode(patched(1, value)), DROP.NONE)
    if (value > 3) assert.is(decode(patched(3, value)), DROP.MAPPING_BAD_FLAGS)
  }
  // The inner flag without an inner packet, and the reverse.
  assert.is(decode(patched(3, 2)), DROP.MAPPING_BAD_LENGTH)
  assert.is(decode(patched(3, 1, encode(v6()))), DROP.MAPPING_BAD_LENGTH)
  // The IPv6 flag on a header too short for it.
  assert.is(decode(patched(3, 1)), DROP.MAPPING_TRUNCATED)
})

it('refuses addresses that do not agree with the flag or with each other', () => {
  const needless = encode(v6(0))
  needless.set(hex('00000000000000000000ffff01020304'), 28)
  assert.is(decode(needless), DROP.MAPPING_BAD_FLAGS, 'client IPv4, VIP IPv6')
  needless.set(hex('00000000000000000000ffff01020304'), 44)
  assert.is(decode(needless), DROP.MAPPING_BAD_FLAGS, 'all IPv4 in the long form')
})

it('a flow of IPv4 may have an IPv6 node', () => {
  const h = header(FIELDS, '192.0.2.1', '10.99.0.1', '2001:db8::11')
  const out = createMappingHeader()
  assert.is(encode(h).length, 84)
  assert.is(decode(encode(h), out), DROP.NONE)
  assert.equal(out.node, h.node)
})

it('the tag covers every bit of the header, and the key', () => {
  for (const h of [v4(), v6(0)]) {
    const bytes = encode(h)
    const out = createMappingHeader()
    assert.is(decodeMappingHeader(bytes, 0, bytes.length, out), DROP.NONE)
    assert.ok(verifyMappingTag(bytes, 0, out, KEY))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = bytes.slice()
      forged[bit >> 3] ^= 1 << (bit & 7)
      assert.not(verifyMappingTag(forged, 0, out, KEY), `bit ${bit}`)
    }
    assert.not(verifyMappingTag(bytes, 0, out, Uint32Array.of(KEY[0], KEY[1], KEY[2], KEY[3] ^ 1)))
  }
})

it('refuses to write what cannot be read', () => {
  const buf = new Uint8Array(83)
  assert.throws(() => encodeMappingHeader(v6(0), buf, 0, KEY), /no room/)
  assert.throws(() => encodeMappingHeader(v4(), buf, 36, KEY), /no room/)
  assert.throws(() => encodeMappingHeader(v4(), buf, -1, KEY), /no room/)
  assert.throws(
    () => encodeMappingHeader({ ...v4(), innerLength: 65536 }, buf, 0, KEY),
    /inner packet of 65536/,
  )
  for (const kind of [0, 9, 17])
    assert.throws(() => encodeMappingHeader({ ...v4(), kind }, buf, 0, KEY), /kind/)
})

it('random bytes never throw and are never read outside', () => {
  const out = createMappingHeader()
  const plausible = fc
    .tuple(
      fc.constantFrom(encode(v4()), encode(v6())),
      fc.array(fc.tuple(fc.nat(47), fc.nat(255)), { maxLength: 3 }),
    )
    .map(([bytes, changes]) => {
      const copy = bytes.slice()
      for (const [at, value] of changes) copy[at] = value
      return copy
    })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), plausible), fc.nat(90), (bytes, cut) => {
      const length = Math.max(0, bytes.length - cut)
      let outside = 0
      const buf = new Proxy(embed(bytes, 4), {
        get(target, name) {
          const index = typeof name === 'string' ? Number(name) : Number.NaN
          if (Number.isInteger(index) && (index < 4 || index >= 4 + length)) outside++
          return Reflect.get(target, name) as unknown
        },
      })
      if (decodeMappingHeader(buf, 4, length, out) === DROP.NONE) {
        verifyMappingTag(buf, 4, out, KEY)
        assert.is(out.innerOffset + out.innerLength, 4 + length)
      }
      assert.is(outside, 0)
    }),
    { numRuns: 3000 },
  )
})

it('an inner packet must be of the same flow', () => {
  const view = createPacketView()
  const matches = (h: MappingHeader, bytes: Uint8Array): boolean => {
    const buf = embed(bytes, 6)
    assert.is(parsePacket(buf, 6, bytes.length, view), DROP.NONE)
    return innerMatches(h, view, buf, 6)
  }
  const good = { source: '192.0.2.1', destination: '10.99.0.1', sourcePort: 40000, destinationPort: 80 }
  assert.ok(matches(v4(), buildTcp4(good)))
  assert.not(matches(v4(), buildUdp4(good)))
  assert.not(
    matches({ ...v4(), protocol: 17 }, buildUdp4({ ...good, fragmentOffset: 8, payload: new Uint8Array(8) })),
  )
  assert.ok(matches({ ...v4(), protocol: 17 }, buildUdp4(good)))
  assert.not(matches(v4(), buildTcp4({ ...good, source: '192.0.2.2' })))
  assert.not(matches(v4(), buildTcp4({ ...good, destination: '10.99.0.2' })))
  assert.not(matches(v4(), buildTcp4({ ...good, sourcePort: 40001 })))
  assert.not(matches(v4(), buildTcp4({ ...good, destinationPort: 81 })))
  const six = {
    source: '2001:db8::1',
    destination: '2001:db8:80::80',
    sourcePort: 40000,
    destinationPort: 80,
  }
  assert.ok(matches(v6(), buildTcp6(six)))
  assert.not(matches(v6(), buildTcp6({ ...six, source: '2001:db8:1::1' })))
  assert.not(matches(v6(), buildTcp6({ ...six, destination: '2001:db8:80::' })))
  assert.not(matches(v6(), buildTcp4(good)))
  assert.not(matches(v4(), buildTcp6(six)))
})

it.run()
