import { constants } from 'node:os'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { addAddress, setLinkUp } from '../../src/os/netlink/route.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { Tun } from '../../src/os/tun.ts'
import { UdpBatchSocket } from '../../src/os/udp-socket.ts'
import { makeNetns, removeNetns, type TestNetns } from '../support/netns.ts'
import { collect } from '../support/os-lab.ts'
import { buildUdp4, embed, pattern } from '../support/packets.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('os/tun')
const lab = (name: string, run: () => void): void => testIf(missingRoot(), it, name, run)

let netns: TestNetns
let tun: Tun
let socket: UdpBatchSocket

it.before(async () => {
  if (missingRoot() !== undefined) return
  netns = await makeNetns()
  netns.run(() => {
    writeSysctl('net.ipv4.conf.all.rp_filter', 0)
    writeSysctl('net.ipv4.conf.default.rp_filter', 0)
    tun = Tun.open('shunt%d')
  })
})
it.after(async () => {
  tun?.close()
  await removeNetns()
})

const build = (payload: Uint8Array, partialChecksum = false): Uint8Array =>
  buildUdp4({
    source: '10.9.5.2',
    destination: '10.9.5.1',
    sourcePort: 999,
    destinationPort: socket.port,
    payload,
    partialChecksum,
  })

const take = (count: number): Uint8Array[] => {
  const seen: Uint8Array[] = []
  collect(socket.fd, count, () =>
    socket.receive(count, (buffer, offset, length) => {
      seen.push(buffer.slice(offset, offset + length))
    }),
  )
  return seen
}

lab('makes a device, which refuses packets until it is up', () => {
  assert.is(tun.name, 'shunt0')
  assert.ok(tun.index > 1)
  const bytes = buildUdp4()
  assert.is(tun.write(null, bytes, 0, bytes.length), false)
  assert.equal([...tun.errors], [[constants.errno.EIO, 1]])
  netns.run(() => {
    setLinkUp('shunt0')
    assert.is(addAddress(tun.index, '10.9.5.1/24'), true)
    socket = UdpBatchSocket.open({ address: '10.9.5.1', port: 0 })
  })
})

lab('injects a finished packet, from an offset, so that a local socket gets it', () => {
  const bytes = build(pattern(100))
  assert.is(tun.write(null, embed(bytes, 37), 37, bytes.length), true)
  assert.equal(take(1)[0], pattern(100))
})

lab('injects from changing buffers in order', () => {
  for (let n = 0; n < 10; n++) assert.is(tun.write(null, build(pattern(20 + n, n)), 0, 48 + n), true)
  take(10).forEach((payload, n) => {
    assert.equal(payload, pattern(20 + n, n))
  })
})

lab('lets the kernel finish a checksum that the virtio header calls unfinished', () => {
  const header = Uint8Array.of(1, 0, 0, 0, 0, 0, 20, 0, 6, 0)
  const bytes = build(pattern(60), true)
  // The same packet without the header's word for it has a wrong checksum and is dropped by the receiver.
  assert.is(tun.write(null, bytes, 0, bytes.length), true)
  assert.is(tun.write(embed(header, 5), bytes, 0, bytes.length, 5), true)
  const last = build(pattern(3))
  tun.write(null, last, 0, last.length)
  assert.equal(take(2), [pattern(60), pattern(3)])
})

lab('injects a merged packet, which the receiver gets segment by segment', () => {
  const payload = pattern(2500)
  const bytes = build(payload, true)
  const header = Uint8Array.of(1, 5, 28, 0, 1000 & 255, 1000 >> 8, 20, 0, 6, 0) // UDP_L4, segments of 1000 bytes
  assert.is(tun.write(header, bytes, 0, bytes.length), true)
  assert.equal(take(3), [payload.slice(0, 1000), payload.slice(1000, 2000), payload.slice(2000)])
})

lab('refuses and counts what is no packet', () => {
  const before = tun.errors.get(constants.errno.EINVAL) ?? 0
  assert.is(tun.write(null, Uint8Array.of(0, 1, 2, 3), 0, 4), false)
  assert.is(tun.errors.get(constants.errno.EINVAL), before + 1)
})

lab('says when a name is taken or impossible', () => {
  netns.run(() => {
    assert.throws(() => Tun.open('shunt0'), /EBUSY/)
    assert.throws(() => Tun.open('a-name-of-16-byte'), /1\.\.15 bytes/)
    assert.throws(() => Tun.open('a/b'), /interface name/)
  })
})

it.run()
