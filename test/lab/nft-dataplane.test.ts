/** The rules in the kernel against the user-space path: the same packets, byte for byte (R-E8, decision 1). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { isNeutral } from '../../src/agent/dataplane/identifiers.ts'
import { NftPlumber } from '../../src/agent/dataplane/nft/plumber.ts'
import { buildRuleset, SLOW_MARK, tableName } from '../../src/agent/dataplane/nft/ruleset.ts'
import { decrementTtl, rewriteTuple } from '../../src/agent/dataplane/rewrite.ts'
import { readCounters } from '../../src/os/netlink/nftables-counters.ts'
import { SetElements } from '../../src/os/netlink/nftables-elements.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { applyRuleset } from '../../src/os/nft.ts'
import { PacketRing } from '../../src/os/packet-ring.ts'
import { RawSender } from '../../src/os/raw-socket.ts'
import { ip, packetOf, words } from '../support/cores.ts'
import { removeNetns } from '../support/netns.ts'
import { collect, makePair, type Pair, readable } from '../support/os-lab.ts'
import { buildTcp4, buildUdp4, checksumFaults, FLAG, type TcpOptions } from '../support/packets.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('nftables data plane')
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missingRoot(), it, name, run)

const NODE = 'left-side'
const TABLE = tableName(NODE)
const VIP = '10.99.0.1'
const TUNNEL = '10.9.0.200'
const CLIENT = '10.20.0.5'
const LEASE_MS = 60_000
/** `left` sends as clients and forwarders would and receives as the host; `right` is the node under test. */
let pair: Pair
let elements: SetElements
let plumber: NftPlumber
let sender: RawSender
let atHost: PacketRing
let slow: PacketRing
let restored: PacketRing
const failed: string[] = []

it.before(async () => {
  if (missingRoot() !== undefined) return
  pair = await makePair()
  await ipBatch(pair.left.name, [`route add ${VIP} via 10.9.0.2`])
  await pair.right.run(() =>
    applyRuleset(
      buildRuleset({
        node: NODE,
        uplink: ['v0'],
        cluster: ['v0'],
        clusterAddress: '10.9.0.2',
        forwarder: {
          tunnelAddress: TUNNEL,
          services: [
            { vip: VIP, protocol: 'tcp', port: 80 },
            { vip: VIP, protocol: 'udp', port: 53 },
          ],
          hosts: [{ index: 1, address: '10.9.0.1', hop: '10.9.0.1', link: 'v0' }],
          routeCapacity: 1024,
        },
        host: { tunnels: [TUNNEL], mappingCapacity: 1024 },
      }),
    ),
  )
  elements = pair.right.run(() => new SetElements())
  plumber = new NftPlumber(elements, TABLE, {
    route: slot => failed.push(`route ${slot}`),
    mapping: slot => failed.push(`mapping ${slot}`),
  })
  const all = { mark: 0, markMask: 0, frames: 64 }
  const leftIndex = pair.left.run(() => PacketRing.open({ ...all, interfaceIndex: pair.index }))
  atHost = leftIndex
  slow = pair.right.run(() =>
    PacketRing.open({ interfaceIndex: pair.index, mark: SLOW_MARK, markMask: 0xffffffff, frames: 64 }),
  )
  restored = pair.right.run(() => PacketRing.open({ ...all, interfaceIndex: pair.index }))
  sender = pair.left.run(() => RawSender.open())
})
it.after(async () => {
  for (const part of [atHost, slow, restored, sender, elements]) part?.close()
  await removeNetns()
})

const send = (bytes: Uint8Array, to: string): void => {
  sender.queue(bytes, 0, bytes.length, ip(to))
  assert.is(sender.flush(), 0, 'the packet left')
}
/** The next packet at a ring that is ours (the tests' addresses), without padding. */
const next = (ring: PacketRing): Uint8Array => {
  let packet: Uint8Array | undefined
  collect(ring.fd, 1, () => {
    ring.receive(1, (buf, offset, length) => {
      const bytes = buf.slice(offset, offset + length)
      packet = bytes.slice(0, (bytes[2] << 8) | bytes[3])
    })
    return packet === undefined ? 0 : 1
  })
  return packet!
}
const empty = (ring: PacketRing): void => {
  while (readable(ring.fd)) ring.receive(64, () => {})
}
const counters = (): Record<string, number> =>
  Object.fromEntries(
    Object.entries(pair.right.run(() => readCounters(TABLE))).map(([name, { packets }]) => [name, packets]),
  )
/** Runs and tells by how much each kernel counter went up. */
const counted = (run: () => void): Record<string, number> => {
  const before = counters()
  run()
  const after = counters()
  return Object.fromEntries(
    Object.entries(after).flatMap(([name, value]) =>
      value > before[name] ? [[name, value - before[name]]] : [],
    ),
  )
}

const tcp = (options: TcpOptions = {}): Uint8Array =>
  buildTcp4({
    source: CLIENT,
    destination: VIP,
    sourcePort: 40_000,
    destinationPort: 80,
    flags: FLAG.ACK,
    ttl: 64,
    payload: new Uint8Array(33).fill(7),
    dontFragment: true,
    ...options,
  })
const keyOf = (port: number, vipPort = 80, protocol = 6): Uint32Array =>
  Uint32Array.from([...words(CLIENT), ...words(VIP), ((port << 16) | vipPort) >>> 0, protocol])
/** What the slow path would send for the same packet. */
const tunnelled = (bytes: Uint8Array, identifier: number): Uint8Array => {
  const packet = packetOf(bytes.slice())
  decrementTtl(packet.buf, 0, packet.view)
  rewriteTuple(packet.buf, 0, packet.view, words(TUNNEL), 0, words('10.9.0.1'), 0, identifier, false)
  return packet.buf
}
const neutralOf = (ports: number, high: number): number => {
  const sum = ((ports >>> 16) + (ports & 0xffff)) % 65535
  return ((high << 16) | ((sum - high + 65535) % 65535 || 65535)) >>> 0
}
const ports = (port: number, vipPort: number): number => ((port << 16) | vipPort) >>> 0

lab('a route rewrites and sends like the slow path, with right checksums: neutral identifiers', () => {
  const identifier = neutralOf(ports(40_000, 80), 0x0142)
  plumber.route(0, keyOf(40_000), 0, identifier, true, LEASE_MS)
  pair.right.run(() => plumber.flush())
  empty(atHost)
  for (const payload of [0, 1, 700, 1448]) {
    const packet = tcp({ payload: new Uint8Array(payload).fill(3) })
    const up = counted(() => {
      send(packet, VIP)
      const got = next(atHost)
      assert.equal(got, tunnelled(packet, identifier))
      assert.equal(checksumFaults(got), [])
    })
    assert.equal(up, { route_hit: 1 })
  }
})

lab('identifiers that are not neutral get the checksum fixed', () => {
  const identifier = 0x01abcdef
  assert.not(isNeutral(identifier, ports(40_001, 80)))
  plumber.route(1, keyOf(40_001), 0, identifier, false, LEASE_MS)
  pair.right.run(() => plumber.flush())
  empty(atHost)
  const packet = tcp({ sourcePort: 40_001 })
  send(packet, VIP)
  const got = next(atHost)
  assert.equal(checksumFaults(got), [])
  assert.equal(got, tunnelled(packet, identifier))
})

lab('UDP with and without a checksum, by neutral identifiers', () => {
  const identifier = neutralOf(ports(5353, 53), 0x0107)
  plumber.route(2, keyOf(5353, 53, 17), 0, identifier, true, LEASE_MS)
  pair.right.run(() => plumber.flush())
  empty(atHost)
  for (const noChecksum of [false, true]) {
    const packet = buildUdp4({
      source: CLIENT,
      destination: VIP,
      sourcePort: 5353,
      destinationPort: 53,
      noChecksum,
      payload: new Uint8Array(20).fill(9),
      dontFragment: true,
    })
    send(packet, VIP)
    assert.equal(next(atHost), tunnelled(packet, identifier))
  }
})

lab('SYN, FIN, RST and misses reach the ring with their bytes unchanged, and nothing else does', () => {
  empty(slow)
  for (const [flags, sourcePort] of [
    [FLAG.SYN, 40_000],
    [FLAG.FIN | FLAG.ACK, 40_000],
    [FLAG.RST, 40_000],
    [FLAG.ACK, 41_000],
  ]) {
    const packet = tcp({ flags, sourcePort })
    assert.equal(
      counted(() => send(packet, VIP)),
      { slow_vip: 1 },
    )
    assert.equal(next(slow), packet)
  }
  send(tcp(), VIP)
  next(atHost)
  assert.not(readable(slow.fd), 'a plumbed packet does not come to user space')
})

lab('what no service takes, and fragments, are dropped in the kernel and counted', () => {
  empty(slow)
  assert.equal(
    counted(() => send(tcp({ destinationPort: 81 }), VIP)),
    { not_a_service: 1 },
  )
  assert.equal(
    counted(() => send(tcp({ moreFragments: true }), VIP)),
    { fragment_vip: 1 },
  )
  assert.equal(
    counted(() => send(tcp({ fragmentOffset: 64 }), VIP)),
    { fragment_vip: 1 },
  )
  assert.not(readable(slow.fd))
  assert.is(DROP.FRAGMENT, 6, 'reason numbers are append-only')
})

lab('a host restores the tuple like the slow path, and clears the mark', () => {
  for (const [slot, identifier, port] of [
    [0, neutralOf(ports(40_000, 80), 0x0155), 40_000],
    [1, 0x01ab0001, 40_001],
  ]) {
    const original = tcp({ sourcePort: port })
    const neutral = isNeutral(identifier, ports(port, 80))
    plumber.mapping(slot, ip(TUNNEL), identifier, keyOf(port), 0, neutral, LEASE_MS)
    pair.right.run(() => plumber.flush())
    const packet = packetOf(original.slice())
    rewriteTuple(packet.buf, 0, packet.view, words(TUNNEL), 0, words('10.9.0.2'), 0, identifier, false)
    empty(restored)
    assert.equal(
      counted(() => send(packet.buf, '10.9.0.2')),
      { decap_hit: 1 },
    )
    assert.equal(next(restored), original, neutral ? 'neutral' : 'not neutral')
  }
  assert.not(readable(slow.fd))
})

lab('an unknown identifier comes to user space and is never answered by the stack', () => {
  empty(slow)
  empty(atHost)
  const packet = tcp({ source: TUNNEL, destination: '10.9.0.2', sourcePort: 0x01ff, destinationPort: 0x1234 })
  assert.equal(
    counted(() => send(packet, '10.9.0.2')),
    { slow_tunnel: 1 },
  )
  assert.equal(next(slow), packet)
  assert.not(readable(atHost.fd, 50), 'no RST')
})

lab('a lease ends by itself: the next packet misses; the route can be plumbed again', async () => {
  plumber.route(5, keyOf(42_000), 0, neutralOf(ports(42_000, 80), 0x0110), true, 50)
  pair.right.run(() => plumber.flush())
  await new Promise(resolve => setTimeout(resolve, 100))
  empty(slow)
  assert.equal(
    counted(() => send(tcp({ sourcePort: 42_000 }), VIP)),
    { slow_vip: 1 },
  )
  plumber.route(5, keyOf(42_000), 0, neutralOf(ports(42_000, 80), 0x0111), true, LEASE_MS)
  pair.right.run(() => plumber.flush())
  assert.equal(
    counted(() => send(tcp({ sourcePort: 42_000 }), VIP)),
    { route_hit: 1 },
  )
  assert.equal(failed, [])
})

lab(
  'a route that stands in the way is replaced; unroute takes any kind out; a full map fails only its own flows',
  () => {
    const other = neutralOf(ports(42_000, 80), 0x0120)
    pair.right.run(() => {
      plumber.route(5, keyOf(42_000), 0, other, true, LEASE_MS)
      plumber.flush()
    })
    assert.is(
      plumber.counters.batchFailures,
      1,
      'the kernel refused the batch (the route was there with other data)',
    )
    assert.equal(failed, [])
    empty(atHost)
    const packet = tcp({ sourcePort: 42_000 })
    send(packet, VIP)
    assert.equal(next(atHost), tunnelled(packet, other))
    pair.right.run(() => plumber.unroute(keyOf(42_000), 0, 'route'))
    assert.equal(
      counted(() => send(packet, VIP)),
      { slow_vip: 1 },
    )
    pair.right.run(() => {
      for (let i = 0; i < 1100; i++) {
        plumber.local(100 + i, keyOf(10_000 + i), 0, LEASE_MS)
        if (i % 50 === 49) plumber.flush()
      }
    })
    assert.ok(
      failed.length >= 76 && failed.length <= 100,
      `${failed.length} of 1100 refused by a set of 1024, in batches of 50`,
    )
    empty(restored)
    assert.equal(
      counted(() => send(tcp({ sourcePort: 10_000 }), VIP)),
      { route_hit: 1, local_hit: 1 },
    )
    assert.equal(next(restored), tcp({ sourcePort: 10_000 }), 'a local flow goes on untouched')
  },
)

it.run()
