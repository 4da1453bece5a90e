import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as vnet from '../../src/agent/dataplane/vnet-header.ts'
import { hex } from '../support/packets.ts'

const it = suite('vnet-header')

it('reads each field, little-endian', () => {
  const buf = hex('eeee 01 81 3600 a805 2200 1000')
  assert.is(vnet.vnetFlags(buf, 2), vnet.VNET_NEEDS_CSUM)
  assert.ok(vnet.vnetNeedsChecksum(buf, 2))
  assert.is(vnet.vnetGsoType(buf, 2), vnet.VNET_GSO_TCPV4)
  assert.ok(vnet.vnetGsoEcn(buf, 2))
  assert.is(vnet.vnetHeadersLength(buf, 2), 54)
  assert.is(vnet.vnetGsoSize(buf, 2), 1448)
  assert.is(vnet.vnetChecksumStart(buf, 2), 34)
  assert.is(vnet.vnetChecksumOffset(buf, 2), 16)
})

it('a verified packet needs no checksum', () => {
  const buf = hex('02 05 0000 0000 0000 0000')
  assert.not(vnet.vnetNeedsChecksum(buf, 0))
  assert.not(vnet.vnetGsoEcn(buf, 0))
  assert.is(vnet.vnetGsoType(buf, 0), vnet.VNET_GSO_UDP_L4)
})

it('writes what it reads, and nothing beside it', () => {
  const buf = new Uint8Array(14).fill(0xee)
  vnet.writeVnetHeader(buf, 2, 1, 4, 0x1234, 0x5678, 0x9abc, 0xdef0)
  assert.equal(buf, hex('eeee 01 04 3412 7856 bc9a f0de eeee'))
  assert.is(vnet.VNET_HEADER_LENGTH, 10)
})

it.run()
