import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseProcNet } from '../../../src/doctor/proc-net.ts'

const it = suite('doctor/proc-net')

// As a kernel printed them.
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1A7C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0
   1: 1F0A0A0A:1A7C 150A0A0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0000000000000000 20 4 30 10 -1
`
const UDP6 = `  sl  local_address                         remote_address                        st tx_queue
  812: 00000000000000000000000000000000:1A7D 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
  813: 0000000000000000FFFF00001F0A0A0A:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
  814: 000080FE00000000FF005450B6C1A2FE:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
`

it('reads addresses, ports and what listens', () => {
  assert.equal(parseProcNet(TCP, 'tcp'), [
    { protocol: 'tcp', address: '127.0.0.1', port: 6780, listening: true },
    { protocol: 'tcp', address: '10.10.10.31', port: 6780, listening: false },
  ])
})

it('takes IPv6 sockets for the IPv4 addresses that they cover', () => {
  assert.equal(parseProcNet(UDP6, 'udp'), [
    { protocol: 'udp', address: '0.0.0.0', port: 6781, listening: false },
    { protocol: 'udp', address: '10.10.10.31', port: 53, listening: false },
  ])
})

it('leaves out what is no socket', () => {
  assert.equal(parseProcNet('', 'tcp'), [])
  assert.equal(parseProcNet('junk\n  0: XYZ:0000 0:0 0A \n', 'tcp'), [])
})

it.run()
