import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { announcement } from '../../../src/agent/ownership/neighbour-frames.ts'

const it = suite('ownership/neighbour-frames')
const MAC = Buffer.from('020000000001', 'hex')

it('ARP: a request whose sender and target are the VIP (RFC 5227, section 3)', () => {
  assert.is(
    announcement('10.99.0.1', MAC).toString('hex'),
    'ffffffffffff' +
      '020000000001' +
      '0806' +
      '0001' +
      '0800' +
      '06' +
      '04' +
      '0001' +
      '020000000001' +
      '0a630001' +
      '000000000000' +
      '0a630001',
  )
})

it('IPv6: an unsolicited advertisement to all nodes that overrides (RFC 4861, section 7.2.6)', () => {
  const frame = announcement('fd10:99::1', MAC)
  const vip = 'fd100099000000000000000000000001'
  const allNodes = 'ff020000000000000000000000000001'
  assert.is(
    frame.subarray(0, 54).toString('hex'),
    `33330000000102000000000186dd6000000000203aff${vip}${allNodes}`,
  )
  const message = frame.subarray(54)
  assert.is(message.subarray(0, 2).toString('hex'), '8800')
  assert.is(message.subarray(4).toString('hex'), `20000000${vip}0201020000000001`)
  // With the pseudo-header everything adds up to all ones (RFC 1071).
  const sum = [frame.subarray(22, 54), Buffer.from('000000200000003a', 'hex'), message]
    .flatMap(part => Array.from({ length: part.length / 2 }, (_, i) => part.readUInt16BE(i * 2)))
    .reduce((a, b) => a + b, 0)
  assert.is(((sum & 0xffff) + (sum >>> 16)) % 0xffff, 0)
})

it.run()
