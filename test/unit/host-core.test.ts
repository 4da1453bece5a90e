import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import { HostCore } from '../../src/agent/dataplane/host-core.ts'
import { createMappingHeader, KIND, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import { MAPPING_LIST, MappingTable } from '../../src/agent/dataplane/mappings.ts'
import {
  copyHeader,
  directory,
  FORWARDER,
  HOSTS,
  ip,
  packetOf,
  TUNNEL,
  tcp,
  VIP,
  words,
} from '../support/cores.ts'
import { buildTcp4, buildUdp4, FLAG } from '../support/packets.ts'

const it = suite('host core (R-E8, decisions 2-4)')
const NOW_S = 1_000_000
const ID = 0x01001234
const TIMEOUTS = { embryonic: 1000, mapping: 60_000, linger: 2000, routeLease: 10_000 }

const setUp = (options: { capacity?: number; embryonic?: number; asks?: number } = {}) => {
  const log: string[] = []
  const headers: MappingHeader[] = []
  const drops: number[] = []
  const index = directory(HOSTS[0])
  const mappings = new MappingTable(options.capacity ?? 16, options.embryonic ?? 16, 1, 2)
  const held = new HeldPackets(8)
  const core = new HostCore({
    mappings,
    directory: index,
    held,
    settings: {
      timeouts: TIMEOUTS,
      commitAfterPackets: 3,
      timeWindowS: 30,
      asksPerSecond: options.asks ?? 100,
    },
    ports: {
      restore: (packet, slot) =>
        log.push(`restore ${packet.view.payloadLength} from port ${mappings.tuples[slot * 10 + 8] >>> 16}`),
      inject: packet => log.push(`inject ${packet.view.payloadLength}`),
      datagram: header => {
        headers.push(copyHeader(header))
        log.push(Object.entries(KIND).find(([, kind]) => kind === header.kind)![0])
      },
      commit: slot => log.push(`commit ${slot}`),
      withdraw: slots => log.push(`withdraw ${slots}`),
      drop: reason => drops.push(reason),
    },
  })
  const take = (): string[] => log.splice(0)
  const map = (
    sequence: number,
    options: {
      port?: number
      epoch?: number
      identifier?: number
      timeS?: number
      from?: string
      flags?: number
      nowMs?: number
    } = {},
  ): void => {
    const header = createMappingHeader()
    const {
      port = 40_000,
      identifier = ID,
      epoch = 5,
      timeS = NOW_S,
      from = FORWARDER,
      flags,
      nowMs = 0,
    } = options
    Object.assign(header, {
      kind: KIND.MAP,
      epoch,
      sequence,
      timeS,
      identifier,
      protocol: 6,
      hostIndex: 1,
      ports: ((port << 16) | 80) >>> 0,
    })
    header.client.set(words('10.20.0.5'))
    header.vip.set(words(VIP))
    header.node.set(words(TUNNEL))
    core.map(header, flags === undefined ? null : tcp(flags, { sourcePort: port }), ip(from), nowMs, NOW_S)
  }
  const tunnelled = (
    payload: number,
    nowMs: number,
    options: { identifier?: number; flags?: number; from?: string } = {},
  ): void => {
    const { identifier = ID, flags = FLAG.ACK, from = TUNNEL } = options
    const bytes = buildTcp4({
      source: from,
      destination: HOSTS[0],
      sourcePort: identifier >>> 16,
      destinationPort: identifier & 0xffff,
      flags,
      payload: new Uint8Array(payload),
    })
    core.tunnelled(packetOf(bytes), ip(from), nowMs)
  }
  return { core, index, mappings, held, headers, drops, take, map, tunnelled }
}

it('learns a mapping, acknowledges it, delivers the packet that came along; later packets are restored', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN })
  assert.equal(t.take(), ['MAP_ACK', 'inject 0'])
  assert.equal([t.headers[0].identifier, t.headers[0].sequence, t.headers[0].epoch], [ID, 1, 5])
  t.tunnelled(7, 1)
  assert.equal(t.take(), ['restore 7 from port 40000'])
  assert.is(t.mappings.table.listOf(0), MAPPING_LIST.ESTABLISHED)
})

it('commits a mapping that proves busy to the kernel, once a lease', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN })
  for (let i = 0; i < 6; i++) t.tunnelled(i, i)
  assert.is(t.take().filter(line => line.startsWith('commit')).length, 1)
  t.tunnelled(0, TIMEOUTS.routeLease + 5)
  assert.is(t.take().filter(line => line.startsWith('commit')).length, 1)
})

it('takes an old mapping out of the kernel before it acknowledges another one of the same identifier', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN })
  for (let i = 0; i < 4; i++) t.tunnelled(1, i)
  t.take()
  t.map(2, { port: 50_000, nowMs: 10 })
  assert.equal(t.take(), ['withdraw 0', 'MAP_ACK'])
  t.tunnelled(2, 11)
  assert.equal(t.take(), ['restore 2 from port 50000'])
})

it('refuses an older message that would give the identifier back to its former owner', () => {
  const t = setUp()
  t.map(9)
  t.map(8, { port: 50_000 })
  assert.equal(t.drops, [DROP.MAPPING_OLD_SEQUENCE])
  assert.equal(t.take(), ['MAP_ACK'])
  t.map(7)
  assert.equal(t.take(), ['MAP_ACK'], 'the same mapping again is harmless')
  t.map(8, { port: 50_000 })
  assert.is(t.drops.length, 2, 'nor does it open the door for one in between')
  t.map((9 + 2 ** 31) >>> 0, { port: 50_001 })
  assert.equal(t.drops.length, 3, 'half the circle away counts as older')
})

it('a newer epoch ends all mappings of the older, in the kernel too; an older epoch is refused with the newer', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN })
  for (let i = 0; i < 4; i++) t.tunnelled(1, i)
  t.take()
  t.map(1, { epoch: 6, identifier: ID + 1, nowMs: 10 })
  assert.equal(t.take(), ['withdraw 0', 'MAP_ACK'])
  t.tunnelled(3, 11)
  assert.equal(t.take(), ['ASK'], 'the old mapping is not used')
  t.map(99, { epoch: 5, nowMs: 12 })
  assert.equal(t.take(), ['REFUSED'])
  assert.is(t.headers.at(-1)!.epoch, 6)
  assert.equal(t.drops, [DROP.MAPPING_OLD_EPOCH])
})

it('asks for an unknown identifier, never resets it; delivers what waited in order when the mapping comes', () => {
  const t = setUp()
  t.tunnelled(1, 0)
  t.tunnelled(2, 1)
  assert.equal(t.take(), ['ASK'])
  assert.equal([t.headers[0].identifier, t.headers[0].node[3]], [ID, ip(TUNNEL)])
  t.map(1)
  assert.equal(t.take(), ['MAP_ACK', 'restore 1 from port 40000', 'restore 2 from port 40000'])
})

it('asks again, and gives up after a bound, counted; UNKNOWN ends it at once', () => {
  const t = setUp()
  t.tunnelled(1, 0)
  for (let now = 10; now <= 2000; now += 10) t.core.tick(now)
  assert.ok(t.take().filter(line => line === 'ASK').length >= 3)
  assert.equal(t.drops, [DROP.HOLD_TIMEOUT])
  t.tunnelled(1, 3000)
  const answer = copyHeader(t.headers.at(-1)!)
  answer.kind = KIND.UNKNOWN
  t.core.unknown(answer, ip(HOSTS[1]))
  assert.is(t.held.size, 1, 'only the forwarder itself may say so')
  t.core.unknown(answer, ip(FORWARDER))
  assert.is(t.held.size, 0)
  assert.equal(t.drops.slice(1), [DROP.MAPPING_NOT_A_PEER, DROP.UNKNOWN_IDENTIFIER])
})

it('bounds what it holds and how often it asks', () => {
  const t = setUp({ asks: 3 })
  for (let i = 0; i < 20; i++) t.tunnelled(1, 1, { identifier: ID + i })
  assert.is(t.take().length, 3)
  assert.is(t.held.size, 8)
  assert.is(t.drops.filter(reason => reason === DROP.HOLD_FULL).length, 12)
})

it('refuses a message outside the time window, and tells its own time', () => {
  const t = setUp()
  t.map(1, { timeS: NOW_S - 31 })
  t.map(2, { timeS: NOW_S + 31 })
  assert.equal(t.take(), ['STALE_TIME', 'STALE_TIME'])
  assert.is(t.headers[0].timeS, NOW_S)
  assert.equal(t.drops, [DROP.MAPPING_TIME, DROP.MAPPING_TIME])
  assert.is(t.mappings.table.size, 0)
})

it('takes mappings only from the forwarder that they speak for', () => {
  const t = setUp()
  t.map(1, { from: HOSTS[1] })
  t.tunnelled(1, 0, { from: '10.10.1.99' })
  assert.equal(t.drops, [DROP.MAPPING_NOT_A_PEER, DROP.MAPPING_NOT_A_PEER])
  assert.equal(t.take(), [])
})

it('refuses a tunnelled packet of another protocol than its mapping', () => {
  const t = setUp()
  t.map(1)
  t.core.tunnelled(
    packetOf(
      buildUdp4({
        source: TUNNEL,
        destination: HOSTS[0],
        sourcePort: ID >>> 16,
        destinationPort: ID & 0xffff,
      }),
    ),
    ip(TUNNEL),
    1,
  )
  assert.equal(t.drops, [DROP.MAPPING_TUPLE_MISMATCH])
})

it('a flood of half-open mappings displaces no established one; whatever is gone is asked for again', () => {
  const t = setUp({ capacity: 4, embryonic: 4 })
  t.map(1, { flags: FLAG.SYN })
  t.tunnelled(1, 1)
  for (let i = 1; i <= 50; i++)
    t.map(i + 1, { identifier: ID + i, port: 40_000 + i, flags: FLAG.SYN, nowMs: 2 })
  assert.ok(t.mappings.table.size <= 8)
  assert.is(t.core.counters.evicted, 46)
  t.take()
  t.tunnelled(1, 3)
  assert.is(t.take()[0], 'restore 1 from port 40000')
})

it('forgets: half-open mappings soon, closed ones after lease and linger, others when unused', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN, identifier: 1 })
  t.map(2, { flags: FLAG.ACK, identifier: 2, port: 2 })
  t.map(3, { flags: FLAG.FIN | FLAG.ACK, identifier: 3, port: 3 })
  t.core.tick(TIMEOUTS.embryonic)
  assert.is(t.mappings.table.size, 2)
  t.core.tick(TIMEOUTS.routeLease + TIMEOUTS.linger - 1)
  assert.is(t.mappings.table.size, 2)
  t.core.tick(TIMEOUTS.routeLease + TIMEOUTS.linger)
  assert.is(t.mappings.table.size, 1)
  t.core.tick(TIMEOUTS.mapping)
  assert.is(t.mappings.table.size, 0)
})

it('a forwarder that is gone takes its mappings along, and what waits for one; with its address comes a new beginning', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN })
  for (let i = 0; i < 4; i++) t.tunnelled(10, i)
  t.tunnelled(77, 5, { identifier: ID + 1 })
  assert.is(t.held.size, 1)
  t.take()
  const { directory: before } = t.index
  t.index.replace({ ...before, forwarders: [] })
  t.core.reconfigured(10)
  assert.equal(t.take(), ['withdraw 0'])
  assert.is(t.mappings.table.size, 0)
  assert.is(t.held.size, 0)
  t.tunnelled(10, 11)
  assert.is(t.drops.at(-1), DROP.MAPPING_NOT_A_PEER)
  t.index.replace(before)
  t.core.reconfigured(12)
  t.map(1, { identifier: ID + 1, port: 50_000, epoch: 3, nowMs: 13 })
  assert.equal(t.take(), ['MAP_ACK'], 'an earlier packet under its identifier is not for the new connection')
})

it('a service that is gone takes its mappings along; VIPs are counted', () => {
  const t = setUp()
  t.map(1, { flags: FLAG.SYN })
  t.map(2, { identifier: ID + 1, port: 40_001 })
  assert.equal([...t.mappings.vips.entries()], [[words(VIP), 2]])
  t.index.replace({ ...t.index.directory })
  t.core.reconfigured(1)
  assert.is(t.mappings.table.size, 2)
  t.index.replace({ ...t.index.directory, services: [] })
  t.core.reconfigured(2)
  assert.is(t.mappings.table.size, 0)
  assert.equal([...t.mappings.vips.entries()], [])
})

it.run()
