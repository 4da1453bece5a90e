import { isIPv6 } from 'node:net'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatAddress, formatIpv4, parseAddress, parseIpv4 } from '../../src/os/inet.ts'
import { addressBytes } from '../support/packets.ts'

const it = suite('inet')

it('IPv4 as a number and back', () => {
  assert.is(parseIpv4('10.0.0.1'), 0x0a000001)
  assert.is(parseIpv4('255.255.255.255'), 0xffffffff)
  assert.is(formatIpv4(0xffffff00), '255.255.255.0')
  fc.assert(fc.property(fc.ipV4(), text => assert.is(formatIpv4(parseIpv4(text)), text)))
})

it('refuses what is no address', () => {
  for (const bad of ['', '10.0.0', '10.0.0.256', '010.0.0.1', '10.0.0.1/8', ' 10.0.0.1', '::1']) {
    assert.throws(() => parseIpv4(bad), /not an IPv4 address/)
  }
  for (const bad of ['', 'x', '1::2::3', 'fe80::1%eth0', '10.0.0.1:80']) {
    assert.throws(() => parseAddress(bad), /not an IP address/)
  }
  assert.throws(() => formatAddress(new Uint8Array(6)), /4 or 16 bytes/)
})

it('writes IPv6 as RFC 5952 says', () => {
  for (const [given, written] of [
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8:0:0:0:0:0:5', '2001:db8::5'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // a single zero is not shortened
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], // the longest run is
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // the first of equal runs is
    ['1:0:0:10:0:0:0:0', '1:0:0:10::'],
    ['10:0:0:0:1::', '10::1:0:0:0'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ]) {
    assert.is(formatAddress(parseAddress(given)), written)
  }
})

it('any IPv6 address keeps its bytes through text (property)', () => {
  const sparse = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })), {
    minLength: 16,
    maxLength: 16,
  })
  fc.assert(
    fc.property(sparse, bytes => {
      const text = formatAddress(Uint8Array.from(bytes))
      assert.ok(isIPv6(text), text)
      assert.equal([...parseAddress(text)], bytes)
      assert.equal([...addressBytes(text)], bytes)
    }),
    { numRuns: 500 },
  )
})

it.run()
