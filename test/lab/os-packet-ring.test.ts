import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseIpv4 } from '../../src/os/inet.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { applyRuleset } from '../../src/os/nft.ts'
import { PacketRing } from '../../src/os/packet-ring.ts'
import type { PacketRingOptions } from '../../src/os/packet-socket.ts'
import { setInt } from '../../src/os/sockopt.ts'
import { UdpBatchSocket } from '../../src/os/udp-socket.ts'
import { removeNetns } from '../support/netns.ts'
import { collect, makePair, type Pair, readable } from '../support/os-lab.ts'
import { dissect, partialChecksumFaults, pattern } from '../support/packets.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('os/packet-ring')
const lab = (name: string, run: () => Promise<void>): void => testIf(missingRoot(), it, name, run)

const MARK = 0x53480000
const MASK = 0xffff0000
const SOL_UDP = 17
const UDP_SEGMENT = 103
const RIGHT = parseIpv4('10.9.0.2')

interface Seen {
  bytes: Uint8Array
  vnet: Uint8Array
  length: number
}

let pair: Pair
let sender: UdpBatchSocket

it.before(async () => {
  if (missingRoot() !== undefined) return
  pair = await makePair(9000)
  sender = pair.left.run(() => UdpBatchSocket.open({ address: '10.9.0.1', port: 0, slotSize: 65536 }))
  await pair.right.run(() =>
    applyRuleset(`table netdev t {
      chain in { type filter hook ingress device "v0" priority 0; policy accept;
        udp dport 7001 meta mark set 0x5348abcd
        udp dport 7002 meta mark set 0x5349abcd
      }
    }`),
  )
})
it.after(removeNetns)

const open = (options: Partial<PacketRingOptions> = {}): PacketRing =>
  pair.right.run(() =>
    PacketRing.open({ interfaceIndex: pair.index, mark: MARK, markMask: MASK, ...options }),
  )

const send = (port: number, payload: Uint8Array): void => {
  sender.queue(payload, payload.length, null, 0, 0, RIGHT, port)
  assert.is(sender.flush(), 0)
}

/** Waits for `count` packets and copies them. */
const take = (ring: PacketRing, count: number): Seen[] => {
  const seen: Seen[] = []
  collect(ring.fd, count, () =>
    ring.receive(count, (buffer, offset, length, vnet, interfaceIndex) => {
      assert.is(interfaceIndex, pair.index)
      const bytes = buffer.slice(offset, offset + length)
      seen.push({ bytes, vnet: buffer.slice(vnet, vnet + 10), length })
    }),
  )
  return seen
}

const u16 = (bytes: Uint8Array, at: number): number => bytes[at] | (bytes[at + 1] << 8)

lab('receives only packets with the mark that nftables set at ingress', async () => {
  const ring = open()
  send(7000, pattern(10, 1)) // no mark
  send(7002, pattern(10, 2)) // another mark
  send(7001, pattern(100, 3)) // comes last: when it is here, the others were decided on
  const [packet] = take(ring, 1)
  assert.equal(dissect(packet.bytes).payload, pattern(100, 3))
  assert.is(packet.length, 128)
  assert.is(readable(ring.fd), false)
  assert.equal(ring.stats(), { packets: 1, drops: 0, truncated: 0 })
  ring.close()
})

lab('gives the virtio header relative to the IP header', async () => {
  const ring = open()
  send(7001, pattern(64))
  const [{ bytes, vnet }] = take(ring, 1)
  assert.is(vnet[0] & 1, 1, 'the sender left the checksum to the device')
  assert.is(u16(vnet, 6), 20)
  assert.is(u16(vnet, 8), 6)
  assert.equal(partialChecksumFaults(bytes), [])
  ring.close()
})

lab('goes round a small ring many times, in order', async () => {
  const ring = open({ frames: 32 })
  for (let round = 0; round < 10; round++) {
    for (let n = 0; n < 20; n++) send(7001, pattern(20 + n, round))
    const payloads = take(ring, 20).map(({ bytes }) => dissect(bytes).payload)
    for (let n = 0; n < 20; n++) assert.equal(payloads[n], pattern(20 + n, round))
  }
  assert.is(ring.stats().packets, 200)
  ring.close()
})

lab('takes packets larger than a frame whole, between smaller ones', async () => {
  const ring = open()
  const sizes = [100, 8000, 50, 1900, 2000, 8972, 10]
  for (const size of sizes) send(7001, pattern(size, size))
  const payloads = take(ring, sizes.length).map(({ bytes }) => dissect(bytes).payload)
  sizes.forEach((size, index) => {
    assert.equal(payloads[index], pattern(size, size))
  })
  assert.is(readable(ring.fd), false, 'the queue of large packets is empty too')
  assert.equal(ring.stats(), { packets: sizes.length, drops: 0, truncated: 0 })
  ring.close()
})

lab('takes a merged packet of many segments with its segment size', async () => {
  const ring = open()
  const segmenting = pair.left.run(() =>
    UdpBatchSocket.open({ address: '10.9.0.1', port: 0, slotSize: 65536 }),
  )
  setInt(segmenting.fd, SOL_UDP, UDP_SEGMENT, 1400, 'setsockopt(UDP_SEGMENT)')
  const payload = pattern(40_000)
  segmenting.queue(payload, payload.length, null, 0, 0, RIGHT, 7001)
  assert.is(segmenting.flush(), 0)
  const [{ bytes, vnet }] = take(ring, 1)
  assert.is(bytes.length, 40_028)
  assert.equal(bytes.subarray(28), payload)
  assert.is(vnet[1], 5, 'VIRTIO_NET_HDR_GSO_UDP_L4')
  assert.is(u16(vnet, 4), 1400)
  assert.is(u16(vnet, 6), 20)
  assert.ok(u16(vnet, 2) <= bytes.length)
  segmenting.close()
  ring.close()
})

lab('counts what finds the ring full, and goes on after', async () => {
  const ring = open({ frames: 32 })
  for (let n = 0; n < 50; n++) send(7001, pattern(30, n))
  const first = take(ring, 32).map(({ bytes }) => dissect(bytes).payload)
  first.forEach((payload, n) => {
    assert.equal(payload, pattern(30, n))
  })
  assert.equal(ring.stats(), { packets: 32, drops: 18, truncated: 0 })
  send(7001, pattern(30, 99))
  assert.equal(dissect(take(ring, 1)[0].bytes).payload, pattern(30, 99))
  ring.close()
})

lab('gives a frame back also when the handler throws', async () => {
  const ring = open()
  send(7001, pattern(30, 1))
  send(7001, pattern(30, 2))
  collect(ring.fd, 1, () => {
    assert.throws(() =>
      ring.receive(8, () => {
        throw new Error('handler')
      }),
    )
    return 1
  })
  assert.equal(dissect(take(ring, 1)[0].bytes).payload, pattern(30, 2))
  ring.close()
})

lab('survives its interface going down and up, without a spinning poll', async () => {
  const ring = open()
  await ipBatch(pair.right.name, ['link set v0 down'])
  assert.is(readable(ring.fd, 1000), true, 'the error makes it ready')
  const none = (): void => assert.unreachable('no packet was sent')
  assert.is(ring.receive(8, none), 0)
  assert.is(ring.receive(8, none), 0)
  assert.is(readable(ring.fd), false)
  assert.is(ring.errors.size, 1)
  await ipBatch(pair.right.name, ['link set v0 up'])
  await ipBatch(pair.left.name, ['neighbour flush dev v0'])
  send(7001, pattern(30, 7))
  assert.equal(dissect(take(ring, 1)[0].bytes).payload, pattern(30, 7))
  ring.close()
})

lab('refuses an interface that is not there, and frame sizes the kernel cannot use', async () => {
  assert.throws(() => open({ interfaceIndex: 4_000_000 }), /ENODEV.*ip link/)
  assert.throws(() => open({ frameSize: 1500 }), /power of two/)
  assert.throws(() => open({ frameSize: 128 }), /power of two/)
})

it.run()
