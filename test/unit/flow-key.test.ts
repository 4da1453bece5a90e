import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  addressEquals,
  FLOW_KEY_WORDS,
  formatAddress,
  formatEndpoint,
  ipv4Word,
  parseAddress,
  readFlowKey,
} from '../../src/agent/dataplane/flow-key.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { addressWords, buildTcp4, buildUdp6, embed } from '../support/packets.ts'

const it = suite('flow-key')

function keyOf(bytes: Uint8Array): number[] {
  const view = createPacketView()
  const buf = embed(bytes, 3)
  assert.is(parsePacket(buf, 3, bytes.length, view), 0)
  const key = new Uint32Array(FLOW_KEY_WORDS)
  readFlowKey(buf, 3, view, key)
  return [...key]
}

it('IPv4 stands as v4-mapped', () => {
  const key = keyOf(
    buildTcp4({ source: '203.0.113.255', destination: '10.99.0.1', sourcePort: 0xfedc, destinationPort: 80 }),
  )
  assert.equal(key, [0, 0, 0xffff, 0xcb0071ff, 0, 0, 0xffff, 0x0a630001, 0xfedc0050, 6])
})

it('IPv6 takes all words', () => {
  const key = keyOf(
    buildUdp6({
      source: 'fe80::1:2',
      destination: '2001:db8:ffff::8000',
      sourcePort: 1,
      destinationPort: 53,
    }),
  )
  assert.equal(key, [0xfe800000, 0, 0, 0x00010002, 0x20010db8, 0xffff0000, 0, 0x8000, 0x00010035, 17])
})

/** Text as it should come out, per RFC 5952 section 4. */
const CANONICAL = new Map([
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['10.99.0.1', '10.99.0.1'],
  ['::ffff:10.99.0.1', '10.99.0.1'],
  ['::ffff:a63:1', '10.99.0.1'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:db8::1', '2001:db8::1'],
  ['2001:0DB8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
])

it('reads addresses and writes them in canonical form', () => {
  const words = new Uint32Array(6)
  for (const [text, canonical] of CANONICAL) {
    assert.ok(parseAddress(text, words, 1), text)
    assert.is(formatAddress(words, 1), canonical)
  }
})

it('refuses what is no address, and writes nothing', () => {
  const words = Uint32Array.of(1, 2, 3, 4)
  const texts = [
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '1.2.3.4/24',
    '1.2.3.4:80',
    ':::',
    '1::2::3',
    '12345::',
    'fe80::1%eth0',
    '[::1]',
  ]
  for (const text of texts) assert.not(parseAddress(text, words, 0), text)
  assert.equal([...words], [1, 2, 3, 4])
})

it('any words survive writing and reading', () => {
  const read = new Uint32Array(4)
  const word = fc.oneof(
    fc.constantFrom(0, 1, 0xffff, 0x10000, 0xffff0000, 0xffffffff),
    fc.integer({ min: 0, max: 0xffffffff }),
  )
  fc.assert(
    fc.property(fc.array(word, { minLength: 4, maxLength: 4 }), parts => {
      const words = Uint32Array.from(parts)
      assert.ok(parseAddress(formatAddress(words, 0), read, 0))
      assert.ok(addressEquals(read, 0, words, 0), formatAddress(words, 0))
    }),
  )
})

it('names endpoints', () => {
  assert.is(formatEndpoint(addressWords('10.99.0.1'), 0, 80), '10.99.0.1:80')
  assert.is(formatEndpoint(addressWords('2001:db8::1'), 0, 443), '[2001:db8::1]:443')
})

it('gives an IPv4 address as a number, and -1 for IPv6', () => {
  assert.is(ipv4Word(addressWords('255.0.0.1'), 0), 0xff000001)
  assert.is(ipv4Word(addressWords('0.0.0.0'), 0), 0)
  assert.is(ipv4Word(addressWords('::1'), 0), -1)
  assert.is(ipv4Word(addressWords('1:0:0:0:0:ffff:0:1'), 0), -1)
})

it.run()
