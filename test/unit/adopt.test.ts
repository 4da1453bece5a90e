/** What an agent takes over of the one before (R-G4): flows and mappings, by the tables' columns and by what the kernel has. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  adoptFlows,
  adoptMapping,
  adoptRoute,
  type ForwarderTables,
} from '../../src/agent/dataplane/adopt.ts'
import { within } from '../../src/agent/dataplane/columns.ts'
import { DirectoryIndex } from '../../src/agent/dataplane/directory.ts'
import { FlowAtoms } from '../../src/agent/dataplane/flow-atoms.ts'
import { FLOW_FLAG, FlowTable, LIST } from '../../src/agent/dataplane/flows.ts'
import type { ForwarderSettings } from '../../src/agent/dataplane/forwarder-ports.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import { HostCore } from '../../src/agent/dataplane/host-core.ts'
import { IdentifierAllocator } from '../../src/agent/dataplane/identifiers.ts'
import { createMappingHeader, KIND } from '../../src/agent/dataplane/mapping-header.ts'
import { MAPPING_LIST, MappingTable } from '../../src/agent/dataplane/mappings.ts'
import { ATOM_OP, ATOM_WORDS } from '../../src/agent/dataplane/messages.ts'
import { Tally } from '../../src/agent/dataplane/tally.ts'
import { keptColumns } from '../support/columns.ts'
import { directory, FORWARDER, HOSTS, ip, TUNNEL, tcp, VIP, words } from '../support/cores.ts'
import { FLAG } from '../support/packets.ts'

const it = suite('adopt')
const QUARANTINE_MS = 30_000

const keyOf = (n: number): Uint32Array =>
  Uint32Array.of(0, 0, 0xffff, ip('10.20.0.1') + n, ...words(VIP), ((2000 + n) << 16) | 80, 6)

/** Each call is the next agent. */
const makeAgents = (self = '') => {
  const columns = keptColumns()
  return (index = directory(self)): ForwarderTables => ({
    flows: new FlowTable(16, 8, 1, 2, within('flows', columns)),
    identifiers: new IdentifierAllocator({
      ...{ capacity: 64, quarantineMs: QUARANTINE_MS, k0: 1, k1: 2 },
      columns: within('identifiers', columns),
    }),
    tally: new Tally(),
    directory: index,
  })
}

/** A flow of the n-th client as it stands after some packets. */
const addFlow = ({ flows, identifiers }: ForwarderTables, n: number, host: number, list: number): number => {
  const slot = flows.insert(keyOf(n), 0, n)
  flows.table.move(slot, list, n)
  flows.identifier[slot] = identifiers.allocate(host, keyOf(n)[8], slot, n)
  flows.host[slot] = host
  flows.set(slot, FLOW_FLAG.MAPPED | FLOW_FLAG.TUNNELLED)
  return slot
}

it('flows go on with host, identifier and state; what is not known to be in the kernel is not', () => {
  const next = makeAgents()
  const before = next()
  const slots = [LIST.TCP, LIST.TCP_YOUNG, LIST.CLOSING_PLUMBED, LIST.EMBRYONIC].map((list, n) =>
    addFlow(before, n, 1 + (n % 2), list),
  )
  before.flows.plumbedUntilMs[slots[0]] = Number.POSITIVE_INFINITY
  const identifiers = slots.map(slot => before.flows.identifier[slot])
  const after = next()
  assert.is(adoptFlows(after, 100, 200), 4)
  for (const [n, slot] of slots.entries()) {
    assert.is(after.flows.table.find(keyOf(n)), slot)
    assert.equal([after.flows.host[slot], after.flows.identifier[slot]], [1 + (n % 2), identifiers[n]])
    assert.ok(after.flows.has(slot, FLOW_FLAG.MAPPED))
    assert.is(after.identifiers.owner(identifiers[n]), slot)
    assert.is(after.flows.table.lastUse[slot], n + 100)
  }
  assert.is(after.flows.table.listOf(slots[2]), LIST.CLOSING_PLUMBED)
  assert.equal([after.tally.hostFlows[1], after.tally.hostFlows[2]], [1, 2], 'open ones')
  assert.ok(after.flows.plumbedUntilMs[slots[0]] > 0 && after.flows.plumbedUntilMs[slots[0]] < 200)
  assert.is(after.flows.plumbedUntilMs[slots[1]], 0)
})

it('identifiers that rest go on resting, and those whose flow is not taken over begin to', () => {
  const next = makeAgents()
  const before = next()
  const freed = before.flows.identifier[addFlow(before, 0, 1, LIST.TCP)]
  before.identifiers.free(freed, 1000, true)
  before.flows.identifier[0] = 0
  before.flows.host[0] = 0
  before.flows.table.remove(0)
  const gone = before.flows.identifier[addFlow(before, 1, 2, LIST.TCP)]
  const reserved = before.identifiers.reserve(1, 0)
  // Killed between the allocator and the flow.
  const torn = before.identifiers.allocate(1, 12345, 7, 0)
  const index = directory()
  const without = { ...index.directory, hosts: index.directory.hosts.filter(host => host.index !== 2) }
  const after = next(new DirectoryIndex(without))
  assert.is(adoptFlows(after, 0, 5000), 0)
  assert.equal([after.identifiers.inUse, after.identifiers.quarantined], [1, 3])
  assert.ok(after.identifiers.isReserved(reserved), 'the kernel may have given it to a flow')
  after.identifiers.restReserved(5000)
  assert.equal([after.identifiers.inUse, after.identifiers.quarantined], [0, 4])
  for (const identifier of [freed, gone, torn]) assert.not(after.identifiers.claim(identifier, 0, 5000))
  after.identifiers.expire(1000 + QUARANTINE_MS, 10)
  assert.is(after.identifiers.quarantined, 3, 'the first one has rested since it was freed')
  after.identifiers.expire(5000 + QUARANTINE_MS, 10)
  assert.is(after.identifiers.quarantined, 0)
})

it('a flow that was cut short is none', () => {
  for (const spoil of [
    ({ flows }: ForwarderTables) => flows.host.fill(0),
    ({ flows }: ForwarderTables) => flows.identifier.fill(0),
    ({ flows }: ForwarderTables) => flows.service.fill(3),
    ({ flows }: ForwarderTables) => flows.host.fill(3),
  ]) {
    const next = makeAgents()
    const before = next()
    addFlow(before, 0, 1, LIST.TCP)
    spoil(before)
    const after = next()
    assert.is(adoptFlows(after, 0, 10), 0)
    assert.equal([after.identifiers.inUse, after.identifiers.quarantined], [0, 1])
    assert.is(after.flows.insert(keyOf(0), 0, 10), 0)
  }
})

const route = (n: number, identifier: number, more = {}) => ({
  ...{ key: keyOf(n), identifier, closing: false, young: false, usedMs: 500 },
  ...more,
})

it('a route in the kernel is its flow; one that no flow has becomes a flow', () => {
  const next = makeAgents()
  const tables = next()
  const slot = addFlow(tables, 0, 1, LIST.TCP)
  const identifier = tables.flows.identifier[slot]
  assert.ok(adoptRoute(tables, route(0, identifier), true, 8))
  assert.is(tables.flows.plumbedUntilMs[slot], Number.POSITIVE_INFINITY)
  assert.is(tables.flows.table.lastUse[slot], 500)

  assert.ok(adoptRoute(tables, route(1, 0x02000123), true, 8))
  const made = tables.flows.table.find(keyOf(1))
  assert.equal(
    [tables.flows.host[made], tables.flows.identifier[made], tables.flows.service[made]],
    [2, 0x02000123, 0],
  )
  assert.is(tables.identifiers.owner(0x02000123), made)
  assert.ok(tables.flows.has(made, FLOW_FLAG.MAPPED) && tables.flows.has(made, FLOW_FLAG.TUNNELLED))
  assert.is(tables.flows.table.listOf(made), LIST.TCP)
  assert.ok(adoptRoute(tables, route(2, 0x02000124, { closing: true }), true, 8))
  assert.is(tables.flows.table.listOf(tables.flows.table.find(keyOf(2))), LIST.CLOSING_PLUMBED)
})

it('a flow whose end only the kernel has seen is closing, and ends for others when it goes', () => {
  const next = makeAgents()
  const before = next()
  for (const n of [0, 1]) addFlow(before, n, 1, LIST.TCP)
  const identifiers = [0, 1].map(n => before.flows.identifier[n]!)
  const tables = next()
  adoptFlows(tables, 0, 10)
  assert.ok(adoptRoute(tables, route(0, identifiers[0]!, { closing: true }), true, 8))
  assert.ok(adoptRoute(tables, route(1, identifiers[1]!), true, 8))
  const listOf = (n: number): number => tables.flows.table.listOf(tables.flows.table.find(keyOf(n)))
  assert.equal([listOf(0), listOf(1)], [LIST.CLOSING_PLUMBED, LIST.TCP])
  assert.is(tables.tally.hostFlows[1], 1)
  const index = tables.directory
  index.replace({
    ...index.directory,
    services: index.directory.services.map(service => ({ ...service, copies: 1 })),
  })
  const settings = { resolves: true } as unknown as ForwarderSettings
  const atoms = new FlowAtoms({ flows: tables.flows, directory: index, settings })
  for (const n of [0, 1]) atoms.kept(tables.flows.table.find(keyOf(n)))
  for (const n of [0, 1]) atoms.removed(tables.flows.table.find(keyOf(n)), true)
  const told = atoms.queue.take()
  assert.equal([told.length, told[11], told[8]], [ATOM_WORDS, ATOM_OP.end, keyOf(0)[8]])
})

it('a route that the kernel made by itself is an unproven flow, with the identifier that was put ready for it', () => {
  const next = makeAgents()
  const identifier = next().identifiers.reserve(2, 0)
  const tables = next()
  adoptFlows(tables, 0, 10)
  assert.ok(adoptRoute(tables, route(1, identifier, { young: true }), true, 8))
  const slot = tables.flows.table.find(keyOf(1))
  assert.is(tables.identifiers.owner(identifier), slot)
  assert.is(tables.flows.table.listOf(slot), LIST.TCP_YOUNG)
  assert.ok(tables.flows.has(slot, FLOW_FLAG.UNPROVEN))
  tables.identifiers.restReserved(20)
  assert.is(tables.identifiers.quarantined, 0)
})

it('a route that contradicts what is known, or leads nowhere, leaves the kernel', () => {
  const next = makeAgents(HOSTS[2])
  const tables = next()
  const slot = addFlow(tables, 0, 1, LIST.TCP)
  const identifier = tables.flows.identifier[slot]
  for (const [what, wrong] of [
    ['another identifier', route(0, identifier ^ 1)],
    ['the identifier of another flow', route(1, identifier)],
    ['no such host', route(1, 0x09000001)],
    ['a tunnel to itself', route(1, 0x03000001)],
    ['another host left to the own stack', route(1, 0x01000000)],
    ['no such service', route(1, 0x01000002, { key: keyOf(1).with(8, (2001 << 16) | 81) })],
  ] as const)
    assert.not(adoptRoute(tables, wrong, true, 8), what)
  assert.is(tables.flows.table.size, 1)
  assert.ok(adoptRoute(tables, route(1, 0x03000000), true, 8), 'the own host')
  for (let n = 2; n < 40; n++) adoptRoute(tables, route(n, 0x01010000 + n), true, 8)
  assert.is(tables.flows.routes, 16, 'no more than there is room for')
  assert.not(adoptRoute(tables, route(50, 0x01020000), true, 8))
})

it('in another epoch a route keeps its flow at its host, and the host is told of it again', () => {
  const tables = makeAgents()()
  assert.not(adoptRoute(tables, route(1, 0x02000123), false, 8), 'it leaves the kernel')
  const slot = tables.flows.table.find(keyOf(1))
  assert.equal(
    [tables.flows.host[slot], tables.flows.flags[slot], tables.flows.plumbedUntilMs[slot]],
    [2, 0, 0],
  )
})

const makeHosts = () => {
  const columns = keptColumns()
  return () => {
    const kinds: string[] = []
    const withdrawn: number[] = []
    const mappings = new MappingTable(16, 16, 1, 2, columns)
    const core = new HostCore({
      ...{ mappings, directory: directory(HOSTS[0]), held: new HeldPackets(8) },
      settings: {
        timeouts: { embryonic: 1000, mapping: 60_000, linger: 2000, routeLease: 10_000 },
        ...{ commitAfterPackets: 3, timeWindowS: 30, asksPerSecond: 10 },
      },
      ports: {
        ...{ restore: () => {}, inject: () => {}, commit: () => {}, drop: () => {} },
        datagram: header => kinds.push(Object.entries(KIND).find(([, kind]) => kind === header.kind)![0]),
        withdraw: slots => withdrawn.push(...slots),
      },
    })
    const map = (identifier: number, port: number, epoch: number, sequence: number): string | undefined => {
      const header = createMappingHeader()
      Object.assign(header, {
        kind: KIND.MAP,
        epoch,
        sequence,
        timeS: 1000,
        identifier,
        protocol: 6,
        hostIndex: 1,
      })
      header.ports = ((port << 16) | 80) >>> 0
      header.client.set(words('10.20.0.5'))
      header.vip.set(words(VIP))
      header.node.set(words(TUNNEL))
      core.map(header, tcp(FLAG.ACK, { sourcePort: port }), ip(FORWARDER), 0, 1000)
      return kinds.pop()
    }
    return { core, mappings, map, withdrawn }
  }
}
const tuple = (port: number): Uint32Array =>
  Uint32Array.of(...words('10.20.0.5'), ...words(VIP), ((port << 16) | 80) >>> 0, 6)

it('mappings go on, in the epoch of their forwarder', () => {
  const next = makeHosts()
  const before = next()
  before.map(0x01000001, 4001, 7, 1)
  before.map(0x01000002, 4002, 7, 2)
  const { core, mappings, map } = next()
  core.adopt(50)
  assert.is(mappings.table.size, 2)
  assert.is(mappings.vips.get(words(VIP)), 2)
  assert.ok(
    adoptMapping(mappings, { tunnel: ip(TUNNEL), identifier: 0x01000001, tuple: tuple(4001), usedMs: 60 }),
  )
  assert.is(map(0x01000003, 4003, 6, 9), 'REFUSED', 'an epoch that is over is known to be')
  assert.is(map(0x01000002, 5002, 7, 1), undefined, 'older than what is known: replayed')
  assert.is(map(0x01000002, 5002, 7, 3), 'MAP_ACK')
  assert.is(mappings.table.size, 2)
  assert.is(core.counters.epochsSeen, 0)
  assert.is(map(0x01000004, 4004, 8, 1), 'MAP_ACK')
  assert.is(mappings.table.size, 1, 'a new epoch ends them, as ever')
})

it('a mapping that was cut short, or is of no forwarder, is none', () => {
  const next = makeHosts()
  const before = next()
  before.map(0x01000001, 4001, 7, 1)
  before.map(0x01000002, 4002, 7, 2)
  before.map(0x01000003, 4003, 7, 3)
  before.mappings.tuples[9] = 0
  before.mappings.table.keys[5 + 3] = 12345
  const { core, mappings } = next()
  core.adopt(0)
  assert.is(mappings.table.size, 1)
})

it('a mapping in the kernel that the agent does not know is taken in; one that differs leaves', () => {
  const { core, mappings, map, withdrawn } = makeHosts()()
  const at = { tunnel: ip(TUNNEL), usedMs: 5 }
  assert.ok(adoptMapping(mappings, { ...at, identifier: 0x01000001, tuple: tuple(4001) }))
  const slot = mappings.table.oldest(MAPPING_LIST.COMMITTED)
  assert.is(mappings.committedUntilMs[slot], Number.POSITIVE_INFINITY)
  assert.not(adoptMapping(mappings, { ...at, identifier: 0x01000001, tuple: tuple(4002) }))
  // The forwarder gives its identifier to another: out of the kernel before that is acknowledged.
  assert.is(map(0x01000001, 4009, 7, 1), 'MAP_ACK')
  assert.equal(withdrawn, [slot])
  assert.is(core.counters.mapsReplaced, 1)
})

it.run()
