/** A forwarder and a host, whole engines, and one IPv6 flow between them: bytes on the wire, kernel elements, and what must not mix. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { buildDirectory, buildPlan } from '../../src/agent/plan.ts'
import { nodeConfigSchema } from '../../src/config/schema.ts'
import {
  addressBytes,
  buildTcp4,
  buildTcp6,
  buildUdp6,
  checksumFaults,
  dissect,
  FLAG,
  hex,
  pattern,
} from '../support/packets.ts'
import { SimNode } from '../support/sim-node.ts'

const it = suite('IPv6 flows through engines')
const ID = `12D3KooW${'1'.repeat(44)}`
const SECRETS = [{ number: 1, bytes: new Uint8Array(32).fill(7) }]
const VIP6 = 'fd99::1'
const CLIENT6 = '2001:db8::5'
const NODES = {
  f1: { address: '10.10.0.11', tunnel: '10.10.1.11', address6: 'fd00::11', tunnel6: 'fd01::11' },
  h1: { address: '10.10.0.71', address6: 'fd00::71' },
} as const

const planOf = (own: 'f1' | 'h1', six: boolean): DataplanePlan => {
  const other = own === 'f1' ? 'h1' : 'f1'
  const roles = { f1: ['forwarder', 'classifier'], h1: ['host'] }
  const addresses = (name: 'f1' | 'h1') => {
    const { address, ...more } = NODES[name]
    const kept = Object.entries(more).filter(([key]) => six || !key.endsWith('6'))
    return { address, ...Object.fromEntries(kept) } as { address: string; address6?: string }
  }
  const { address: cluster, address6: cluster6, ...tunnels } = addresses(own)
  const hosts = [{ name: 'h1' }]
  const config = nodeConfigSchema.parse({
    version: 1,
    node: { name: own, identityFile: '/x' },
    roles: roles[own],
    interfaces: { uplink: ['u0'], cluster: ['c0'] },
    addresses: { cluster, ...(cluster6 && { cluster6 }), ...tunnels },
    cluster: { secrets: [{ number: 1, file: '/s' }] },
    peers: [{ name: other, id: ID, roles: roles[other], ...addresses(other) }],
    services: [
      { name: 'web6', vip: VIP6, port: 80, protocol: 'tcp', hosts },
      { name: 'dns6', vip: VIP6, port: 53, protocol: 'udp', hosts },
      { name: 'web', vip: '10.99.0.1', port: 80, protocol: 'tcp', hosts },
    ],
  })
  const directory = buildDirectory(config)
  for (const host of directory.hosts) host.live = true
  const settled = { links: [], mtuBytes: 1500, epoch: 7, tableKey: [1, 2], choiceKey: [3, 4] } as const
  return buildPlan({ config, directory, secrets: SECRETS, ...settled })
}

const world = (six = true) => {
  const wire: Uint8Array[] = []
  const datagrams: number[] = []
  const delivered: Uint8Array[] = []
  const nodes = new Map<number, SimNode>()
  let nowMs = 0
  const out = {
    packet: (_from: number, _to: number, bytes: Uint8Array) => {
      wire.push(bytes)
      h1.arrive(bytes, nowMs)
    },
    datagram: (from: number, to: number, bytes: Uint8Array) => {
      datagrams.push(bytes[1]! & 15)
      const node = nodes.get(to)!
      node.clock(nowMs)
      assert.is(node.datagrams.accept(bytes, 0, bytes.length, from), DROP.NONE)
    },
    delivered: (_node: string, bytes: Uint8Array) => delivered.push(bytes),
  }
  const f1 = new SimNode('f1', planOf('f1', six), out)
  const h1 = new SimNode('h1', planOf('h1', six), out)
  for (const node of [f1, h1]) nodes.set(node.address, node)
  const send = (bytes: Uint8Array): void => f1.arrive(bytes, ++nowMs)
  return { f1, h1, wire, datagrams, delivered, send }
}

const client = (flags: number, payload = 0) =>
  buildTcp6({
    ...{ source: CLIENT6, destination: VIP6, sourcePort: 40_000, destinationPort: 80 },
    ...{ flags, payload: pattern(payload), ttl: 64 },
  })

it('the first packets travel with the mapping, later ones in tunnelled form, of the same family and right checksums', () => {
  const t = world()
  t.send(client(FLAG.SYN))
  assert.equal(t.datagrams, [1, 2], 'MAP and MAP_ACK')
  t.send(client(FLAG.ACK))
  for (let i = 0; i < 3; i++) t.send(client(FLAG.ACK, 100 + i))
  assert.is(t.wire.length, 4)
  for (const packet of t.wire) {
    const { family, source, destination } = dissect(packet)
    assert.is(family, 6)
    assert.equal(source, addressBytes('fd01::11'))
    assert.equal(destination, addressBytes('fd00::71'))
    assert.is(packet[7], 63)
    assert.equal(checksumFaults(packet), [])
  }
  assert.is(t.delivered.length, 5)
  for (const packet of t.delivered) {
    const { source, destination, l4 } = dissect(packet)
    assert.equal(source, addressBytes(CLIENT6))
    assert.equal(destination, addressBytes(VIP6))
    assert.equal([...l4.subarray(0, 4)], [...hex('9c400050')])
    assert.equal(checksumFaults(packet), [])
  }
  assert.equal(dissect(t.delivered[4]!).payload, pattern(102))
})

it('a busy flow gets elements of IPv6 sets, keyed as the rules look them up', () => {
  const t = world()
  t.send(client(FLAG.SYN))
  for (let i = 0; i < 8; i++) t.send(client(FLAG.ACK, 10))
  const keys = (node: SimNode, set: string): string[] => [...(node.kernel.sets.get(set)?.keys() ?? [])]
  const text = (...addresses: string[]): string[] =>
    addresses.map(ip => Buffer.from(addressBytes(ip)).toString('hex'))
  const [source, vip, tunnel] = text(CLIENT6, VIP6, 'fd01::11')
  assert.equal(keys(t.f1, 'route6'), [`${source}9c400000${vip}0050000006000000`])
  const identifier = Buffer.from(dissect(t.wire[0]!).l4.subarray(0, 4)).toString('hex')
  assert.equal(keys(t.h1, 'dec6'), [`${tunnel}${identifier}06000000`])
  const [mark] = keys(t.h1, 'client6')
  const data = (set: string) => Buffer.from(t.h1.kernel.sets.get(set)!.get(mark!)!.data!).toString('hex')
  assert.equal([data('client6'), data('vip_of6'), data('ports')], [source, vip, '9c400050'])
  for (const set of ['route', 'dec', 'client']) assert.equal(keys(t.f1, set).concat(keys(t.h1, set)), [])
  // With its end the mapping leaves them, under the key that it has.
  t.h1.reconfigure(
    { ...planOf('h1', true), directory: { ...planOf('h1', true).directory, services: [] } },
    100,
  )
  assert.equal(keys(t.h1, 'dec6'), [])
})

it('a UDP flow keeps a checksum, which IPv6 must have', () => {
  const t = world()
  const datagram = buildUdp6({
    ...{ source: CLIENT6, destination: VIP6, sourcePort: 5000, destinationPort: 53 },
    payload: pattern(20),
  })
  for (let i = 0; i < 4; i++) t.send(datagram)
  assert.ok(t.wire.length >= 2)
  for (const packet of [...t.wire, ...t.delivered]) {
    const { l4 } = dissect(packet)
    assert.is.not((l4[6]! << 8) | l4[7]!, 0)
    assert.equal(checksumFaults(packet), [])
  }
})

it('an identifier of an IPv6 flow is nothing to an IPv4 packet, and the other way round', () => {
  const t = world()
  t.send(client(FLAG.SYN))
  t.send(client(FLAG.ACK))
  t.send(client(FLAG.ACK, 5))
  const { l4 } = dissect(t.wire.at(-1)!)
  const identifier = new DataView(l4.buffer, l4.byteOffset).getUint32(0)
  const before = t.delivered.length
  t.h1.arrive(
    buildTcp4({
      ...{ source: NODES.f1.tunnel, destination: NODES.h1.address, flags: FLAG.ACK },
      ...{ sourcePort: identifier >>> 16, destinationPort: identifier & 0xffff },
    }),
    50,
  )
  assert.is(t.delivered.length, before)
  assert.is(t.h1.drops.counts[DROP.MAPPING_TUPLE_MISMATCH], 1)
  // From another address than the forwarder's, or to another than ours, it is no tunnelled packet.
  for (const [i, byte] of [8, 23, 24, 39].entries()) {
    const stray = t.wire.at(-1)!.slice()
    stray[byte]! ^= 1
    t.h1.arrive(stray, 51)
    assert.is(t.h1.drops.counts[DROP.NOT_A_SERVICE], i + 1)
  }
  assert.is(t.delivered.length, before)
})

it('hosts without an IPv6 address are chosen for nothing of IPv6, and go on with IPv4', () => {
  const t = world(false)
  const { services } = t.f1.engine.directory.directory
  assert.equal(
    services.map(({ name, hosts }) => [name, hosts.length]),
    [
      ['web6', 0],
      ['dns6', 0],
      ['web', 1],
    ],
  )
  t.send(client(FLAG.SYN))
  assert.equal(t.datagrams, [])
  assert.is(t.f1.drops.counts[DROP.NO_HOST], 1)
  t.send(buildTcp4({ source: '10.20.0.5', destination: '10.99.0.1', destinationPort: 80, flags: FLAG.SYN }))
  assert.equal(t.datagrams, [1, 2])
})

it.run()
