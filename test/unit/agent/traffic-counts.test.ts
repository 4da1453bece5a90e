import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type RuleTraffic, trafficCounts } from '../../../src/agent/traffic-counts.ts'
import { directory } from '../../support/cores.ts'

const it = suite('agent/traffic-counts')

const own = directory().directory
const [service] = own.services
const key = (): Buffer => {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32BE(service!.vip[3]!, 0)
  bytes[4] = service!.protocol
  bytes.writeUInt16BE(service!.port, 8)
  return bytes
}
const worker = {
  edge: null,
  hostPackets: [0, 5, 0, 0],
  hostBytes: [0, 500, 0, 0],
  hostConnections: [0, 2, 1, 0],
  serviceConnections: [3],
}
const NOTHING: RuleTraffic = { services: [], hosts: [], local: { packets: 0, bytes: 0 } }
const edge = {
  ...{ counters: {}, forwardedBytes: 0, restoredBytes: 0 },
  byService: [{ number: service!.index + 1, packets: 1000, bytes: 100_000 }],
  byHost: [{ number: 1, packets: 700, bytes: 70_000 }],
}

it('rules, XDP and the agent together; what came by both counts once in each', () => {
  const rules: RuleTraffic = {
    services: [{ key: key(), packets: 10, bytes: 1000 }],
    hosts: [
      { key: Uint8Array.of(1, 0, 0, 0), packets: 4, bytes: 400 },
      // The other family's map.
      { key: Uint8Array.of(1, 0, 0, 0), packets: 2, bytes: 200 },
    ],
    local: { packets: 9, bytes: 900 },
  }
  const counts = trafficCounts(own, { ...worker, edge }, rules)
  assert.equal(counts.get(`service ${service!.name}`), { packets: 1010, bytes: 101_000, connections: 3 })
  const [h1, h2] = own.hosts
  assert.equal(counts.get(`host ${h1!.name}`), {
    packets: 4 + 2 + 700 + 5 + (h1!.self ? 9 : 0),
    bytes: 400 + 200 + 70_000 + 500 + (h1!.self ? 900 : 0),
    connections: 2,
  })
  assert.equal(counts.get(`host ${h2!.name}`)?.connections, 1)
})

it('a host that is no forwarder: its services by XDP, and nothing by host', () => {
  const counts = trafficCounts(own, { ...worker, edge }, NOTHING)
  assert.equal([...counts.keys()], [`service ${service!.name}`])
  assert.is(counts.get(`service ${service!.name}`)?.connections, null, 'it does not know of connections')
  assert.equal([...trafficCounts(own, worker, NOTHING).keys()], [], 'with nftables: nothing')
})

it('IPv6 services by their own key', () => {
  const vip = Uint32Array.of(0x20010db8, 0, 0, 0x10)
  const six = { ...own, services: [{ ...service!, vip }] }
  const bytes = Buffer.alloc(24)
  for (const [i, word] of vip.entries()) bytes.writeUInt32BE(word, 4 * i)
  bytes[16] = service!.protocol
  bytes.writeUInt16BE(service!.port, 20)
  const rules = { ...NOTHING, services: [{ key: bytes, packets: 7, bytes: 70 }] }
  assert.is(trafficCounts(six, worker, rules).get(`service ${service!.name}`)?.packets, 7)
})

it.run()
