import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  addBytes,
  fold,
  incremental,
  ipv4HeaderChecksum,
  l4Checksum,
} from '../../src/agent/dataplane/checksum.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import {
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  dissect,
  embed,
  hex,
  onesSum,
  pattern,
} from '../support/packets.ts'

const it = suite('checksum')

it('sums the example of RFC 1071, section 3', () => {
  const bytes = hex('0001 f203 f4f5 f6f7')
  assert.is(fold(addBytes(0, bytes, 0, 8)), 0xddf2)
})

it('folds carries of carries', () => {
  assert.is(fold(0), 0)
  assert.is(fold(0xffff), 0xffff)
  assert.is(fold(0x10000), 1)
  assert.is(fold(0x1ffff), 1)
  assert.is(fold(0xffffffff), 0xffff)
})

it('does the example of RFC 1624, section 4: no minus zero', () => {
  assert.is(incremental(0xdd2f, 0x5555, 0x3285), 0x0000)
})

it('computes a known IPv4 header checksum, whatever stands in the field', () => {
  const header = hex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7')
  assert.is(ipv4HeaderChecksum(header, 0), 0xb861)
  header.set([0xff, 0xff], 10)
  assert.is(ipv4HeaderChecksum(embed(header, 5), 5), 0xb861)
})

it('equals the definition for any bytes, also beyond one block and of odd length', () => {
  for (const length of [0, 1, 2, 3, 16383, 16384, 16385, 16386, 32769, 65535, 150001]) {
    for (const bytes of [pattern(length), new Uint8Array(length).fill(0xff), new Uint8Array(length)])
      assert.is(fold(addBytes(0, embed(bytes, 3), 3, length)), onesSum(bytes), `${length} bytes`)
  }
})

it('an incremental update equals a full one', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 8, maxLength: 64 }),
      fc.nat(0xffff),
      fc.nat(3),
      (bytes, word, pick) => {
        bytes[7] |= 1
        const even = bytes.subarray(0, bytes.length & ~1)
        const check = 0xffff - onesSum(even)
        const at = Math.min(pick * 2, even.length - 2)
        const old = (even[at] << 8) | even[at + 1]
        even[at] = word >>> 8
        even[at + 1] = word & 0xff
        // All-zero data is the one case in which the two zeros of ones-complement arithmetic differ.
        if (onesSum(even) !== 0) assert.is(incremental(check, old, word), 0xffff - onesSum(even))
      },
    ),
    { numRuns: 2000 },
  )
})

it('computes L4 checksums as the builder does', () => {
  const view = createPacketView()
  const packets = [
    buildTcp4({ payload: pattern(7), ipOptions: pattern(4), tcpOptions: pattern(8) }),
    buildUdp4({ payload: pattern(8) }),
    buildUdp4({ payload: pattern(9), udpLength: 10 }),
    buildTcp6({ payload: pattern(1), extensionHeaders: [{ type: 60, body: new Uint8Array(6) }] }),
    buildUdp6({ payload: pattern(0) }),
  ]
  for (const bytes of packets) {
    const { l4, protocol } = dissect(bytes)
    const at = protocol === 6 ? 16 : 6
    assert.is(parsePacket(bytes, 0, bytes.length, view), 0)
    assert.is(l4Checksum(bytes, 0, view), (l4[at] << 8) | l4[at + 1])
  }
})

it('a UDP checksum that comes to 0 is sent as 0xffff', () => {
  const view = createPacketView()
  // The payload word that makes the sum 0xffff is the checksum of the packet with the word 0.
  const probe = buildUdp4({ payload: Uint8Array.of(0, 0) })
  const payload = probe.slice(26, 28)
  const bytes = buildUdp4({ payload })
  assert.equal([...bytes.subarray(26, 28)], [0xff, 0xff])
  assert.is(parsePacket(bytes, 0, bytes.length, view), 0)
  assert.is(l4Checksum(bytes, 0, view), 0xffff)
})

it.run()
