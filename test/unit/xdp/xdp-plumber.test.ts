import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FlowTable } from '../../../src/agent/dataplane/flows.ts'
import { MappingTable } from '../../../src/agent/dataplane/mappings.ts'
import { mappingGone, mappingUsed, routeGone, routeUsed } from '../../../src/agent/dataplane/route-use.ts'
import { eachMapping } from '../../../src/agent/dataplane/xdp/mapping-sweep.ts'
import { ROUTE_STATE } from '../../../src/agent/dataplane/xdp/route-layout.ts'
import { eachRoute } from '../../../src/agent/dataplane/xdp/route-sweep.ts'
import { ServiceNumbers } from '../../../src/agent/dataplane/xdp/service-numbers.ts'
import { TICK_MS, ticksOf } from '../../../src/agent/dataplane/xdp/tick.ts'
import { TunnelBook } from '../../../src/agent/dataplane/xdp/tunnel-book.ts'
import { XdpPlumber } from '../../../src/agent/dataplane/xdp/xdp-plumber.ts'
import { testMappings } from '../../support/mappings.ts'
import { testTable } from '../../support/routes.ts'

const it = suite('xdp-plumber')
const VIP = 0x0a630001
const TUNNEL = 0x0a0a0101
const LEASE_MS = 60_000
const SERVICE = {
  index: 4,
  name: 'web',
  vip: Uint32Array.of(0, 0, 0xffff, VIP),
  port: 80,
  protocol: 6,
  hosts: [],
}
const VIP6 = Uint32Array.of(0xfd990000, 0, 0, 1)
const KEY6 = Uint32Array.of(0x20010db8, 0, 0, 5, ...VIP6, (2005 << 16) | 80, 6)
const SERVICE6 = { ...SERVICE, index: 5, name: 'web6', vip: VIP6 }
const NUMBER = SERVICE.index + 1

/** The flow key of the n-th client. */
const flow = (n: number): Uint32Array =>
  Uint32Array.of(0, 0, 0xffff, 0x0a140001 + n, 0, 0, 0xffff, VIP, ((2000 + n) << 16) | 80, 6)
const nameOf = (key: Uint32Array): number => key[3] - 0x0a140001

interface Told {
  readonly used: [n: number, usedMs: number][]
  readonly gone: number[]
  readonly failed: number[]
}

const makeWorld = (buckets = 64) => {
  const routes = testTable(4, buckets).table
  const mappings = testMappings(4, buckets).table
  const six = { routes6: testTable(6, buckets).table, mappings6: testMappings(6, buckets).table }
  const services = new ServiceNumbers()
  services.replace([SERVICE, SERVICE6])
  const tunnels = new TunnelBook()
  tunnels.add(TUNNEL)
  const flowsTold: Told = { used: [], gone: [], failed: [] }
  const mappingsTold: Told = { used: [], gone: [], failed: [] }
  const clock = { tick: 0xfff0 }
  const plumber = new XdpPlumber(
    { routes, mappings, ...six, services, tunnels, renewTunnel: tunnel => tunnels.renew(tunnel) },
    { route: slot => flowsTold.failed.push(slot), mapping: slot => mappingsTold.failed.push(slot) },
    {
      routeUsed: (key, usedMs) => {
        const whole = key[2] === 0xffff ? flow(nameOf(key)) : KEY6
        assert.equal(key, whole, 'the whole flow key')
        flowsTold.used.push([nameOf(key), usedMs])
      },
      routeGone: key => {
        if (key[2] !== 0xffff) assert.equal(key, KEY6)
        flowsTold.gone.push(nameOf(key))
      },
      mappingUsed: (tunnel, identifier, usedMs) => {
        assert.is(tunnel, TUNNEL)
        mappingsTold.used.push([identifier, usedMs])
      },
      mappingGone: (_tunnel, identifier) => mappingsTold.gone.push(identifier),
    },
    () => clock.tick & 0xffff,
  )
  const key = routes.newKey()
  const routeKey = (n: number) => key.set(flow(n), 0, 2000 + n, NUMBER)
  let nowMs = 1_000_000
  plumber.sweep(nowMs, LEASE_MS) // time begins to count
  return {
    ...six,
    ...{ plumber, routes, mappings, services, tunnels, flowsTold, mappingsTold, clock },
    routeOf: (n: number) => routes.get(routeKey(n)),
    /** A packet of the flow passes in the kernel. */
    packet: (n: number) => {
      const content = routes.remove(routeKey(n))!
      routes.insert(routeKey(n), content, clock.tick & 0xffff)
    },
    mappingOf: (identifier: number) =>
      mappings.get({ tunnel: 1, generation: tunnels.generations[1], identifier }),
    /** Time passes, and one whole pass is made. */
    pass: (ticks: number, keepMs?: number): number => {
      clock.tick += ticks
      nowMs += LEASE_MS / 4
      plumber.sweep(nowMs, LEASE_MS, keepMs)
      return nowMs
    },
    put: (identifier: number, n: number) => plumber.mapping(n, TUNNEL, identifier, flow(n), 0),
    unmap: (identifier: number) =>
      plumber.unmap([{ tunnel: TUNNEL, identifier, protocol: 6, family: 4, neutral: false }]),
  }
}

it('IPv6 flows are in tables of their own, under the same tunnel, and swept like the others', () => {
  const { plumber, routes, routes6, mappings, mappings6, flowsTold, mappingsTold, pass } = makeWorld()
  plumber.route(1, KEY6, 0, 0x02000006)
  plumber.mapping(2, TUNNEL, 0x02000006, KEY6, 0)
  plumber.flush()
  assert.equal([[...eachRoute(routes)].length, [...eachMapping(mappings)].length], [0, 0])
  const route = routes6.get(routes6.newKey().set(KEY6, 0, 2005, NUMBER + 1))
  assert.is(route!.identifier, 0x02000006)
  const [mapping] = eachMapping(mappings6)
  assert.equal(
    [mapping!.tunnel, mapping!.identifier, [...mapping!.client], mapping!.port, mapping!.service],
    [1, 0x02000006, [...KEY6.subarray(0, 4)], 2005, NUMBER + 1],
  )
  plumber.unmap([{ tunnel: TUNNEL, identifier: 0x02000006, protocol: 6, family: 4, neutral: false }])
  assert.is([...eachMapping(mappings6)].length, 1, 'one of the other family is not this one')
  const lifetime = ticksOf(LEASE_MS)
  for (let ticks = 0; ticks <= lifetime + 1; ticks += lifetime / 4) pass(lifetime / 4)
  assert.equal([[...eachRoute(routes6)].length, [...eachMapping(mappings6)].length], [0, 0])
  assert.equal(mappingsTold.gone, [0x02000006])
  assert.equal(flowsTold.gone, [5 - 0x0a140001], 'its key is told whole')
  // A flow of IPv6 to a service of IPv4, which cannot be, has no place.
  plumber.route(9, Uint32Array.of(0x20010db8, 0, 0, 5, 0, 0, 0xffff, VIP + 1, 80, 6), 0, 0x02000007)
  plumber.flush()
  assert.equal(flowsTold.failed, [9])
})

it('a route is in force after flush, with its identifier, and out when unroute returns', () => {
  const { plumber, routeOf, flowsTold } = makeWorld()
  plumber.localHost = 7
  plumber.route(1, flow(1), 0, 0x02abcdef)
  plumber.local(2, flow(2), 0)
  assert.is(routeOf(1), null, 'not before the packets that went before it')
  plumber.flush()
  assert.is(routeOf(1)!.identifier, 0x02abcdef)
  assert.ok(routeOf(1)!.mapped)
  assert.is(routeOf(2)!.identifier, 0x07000000)
  // What waits is taken out as well.
  plumber.route(3, flow(3), 0, 0x02abcd03)
  plumber.unrouteAll([
    { key: flow(1), at: 0, kind: 'route' },
    { key: flow(2), at: 0, kind: 'local' },
    { key: flow(3), at: 0, kind: 'fixed' },
  ])
  plumber.flush()
  for (const n of [1, 2, 3]) assert.is(routeOf(n), null)
  assert.equal(flowsTold.gone, [], 'its owner knows')
  assert.equal(flowsTold.failed, [])
})

for (const halves of [7, 8])
  it(`use after ${halves} halves of a pass is told of by the next`, () => {
    const { plumber, packet, flowsTold, clock } = makeWorld()
    for (let n = 0; n < 40; n++) plumber.route(n, flow(n), 0, 0x02000000 + n)
    plumber.flush()
    let nowMs = 2_000_000
    const halfPass = (): void => {
      clock.tick += 4
      nowMs += LEASE_MS / 8
      plumber.sweep(nowMs, LEASE_MS)
    }
    for (let i = 0; i < halves; i++) halfPass()
    flowsTold.used.length = 0
    for (let n = 0; n < 40; n++) packet(n)
    for (let i = 0; i < 3; i++) halfPass()
    assert.is(new Set(flowsTold.used.map(([n]) => n)).size, 40)
  })

it('an idle route stays as long as its flow may live, so that the kernel does not open that anew; one that has ended goes', () => {
  const { plumber, routes, routeOf, flowsTold, pass } = makeWorld()
  for (const n of [1, 2]) plumber.route(n, flow(n), 0, 0x02000000 + n)
  plumber.flush()
  routes.setState(routes.newKey().set(flow(2), 0, 2002, NUMBER), ROUTE_STATE.FIN)
  const keepMs = 4 * LEASE_MS
  const lifetime = ticksOf(LEASE_MS)
  for (let ticks = 0; ticks <= 2 * lifetime; ticks += lifetime / 4) pass(lifetime / 4, keepMs)
  assert.ok(routeOf(1))
  assert.is(routeOf(2), null)
  for (let ticks = 0; ticks <= 3 * lifetime; ticks += lifetime / 4) pass(lifetime / 4, keepMs)
  assert.is(routeOf(1), null)
  assert.equal(flowsTold.gone, [2, 1])
})

it('a route that is put in again says the new identifier', () => {
  const { plumber, routeOf } = makeWorld()
  for (const identifier of [0x02000001, 0x03000002]) {
    plumber.route(1, flow(1), 0, identifier)
    plumber.flush()
  }
  assert.is(routeOf(1)!.identifier, 0x03000002)
})

it('a sweep tells which routes packets followed since the last, and takes out what none did for a lease (R-D4)', () => {
  const { plumber, routeOf, packet, flowsTold, clock, pass } = makeWorld()
  for (const n of [1, 2]) plumber.route(n, flow(n), 0, 0x02000000 + n)
  plumber.flush()
  for (let i = 0; i < 2; i++) pass(2)
  flowsTold.used.length = 0
  const lease = ticksOf(LEASE_MS)
  // Over the stamps' wrap.
  clock.tick += 20
  packet(1)
  const nowMs = pass(5)
  assert.equal(
    flowsTold.used.map(([n]) => n),
    [1],
  )
  const [[, usedMs]] = flowsTold.used
  assert.is(usedMs, nowMs - 4 * TICK_MS, 'never before the packet')
  pass(lease - 30)
  assert.equal(flowsTold.gone, [], 'one tick too early')
  pass(1)
  assert.equal(flowsTold.gone, [2])
  assert.is(routeOf(2), null)
  assert.is.not(routeOf(1), null)
  pass(lease)
  assert.equal(flowsTold.gone, [2, 1])
})

it('what gives way to another route is told of, and is no longer there', () => {
  const { plumber, flowsTold, routes } = makeWorld(2)
  for (let n = 0; n < 9; n++) plumber.route(n, flow(n), 0, 0x02000000 + n)
  plumber.flush()
  assert.is(flowsTold.gone.length, 1)
  assert.is(plumber.counters.evicted, 1)
  const left = [...eachRoute(routes)].map(({ route }) => route.identifier & 0xff).sort()
  assert.is(left.length, 8)
  assert.not.ok(left.includes(flowsTold.gone[0]))
  assert.equal(flowsTold.failed, [])
})

it('a mapping is in force after flush, with client and service, and out when unmap returns', () => {
  const { plumber, put, unmap, mappingOf } = makeWorld()
  put(0x01020304, 3)
  assert.is(mappingOf(0x01020304), null)
  plumber.flush()
  const { client, port, service } = mappingOf(0x01020304)!
  assert.equal([...client], [0, 0, 0xffff, 0x0a140004])
  assert.equal([port, service], [2003, NUMBER])
  put(0x01020305, 4)
  unmap(0x01020305)
  unmap(0x01020304)
  plumber.flush()
  assert.is(mappingOf(0x01020304), null)
  assert.is(mappingOf(0x01020305), null)
})

it('a sweep tells which mappings are used, and takes out the others after a lease, and those of a tunnel that went', () => {
  const { plumber, put, mappingOf, mappingsTold, mappings, tunnels, pass, clock } = makeWorld()
  for (const n of [1, 2]) put(n, n)
  plumber.flush()
  for (let i = 0; i < 2; i++) pass(2)
  mappingsTold.used.length = 0
  clock.tick += 20
  put(1, 1)
  plumber.flush()
  const nowMs = pass(5)
  // Its stamp lies three ticks before it was put in: no packet has followed it.
  assert.equal(mappingsTold.used, [[1, nowMs - 7 * TICK_MS]])
  pass(ticksOf(LEASE_MS) - 29)
  assert.equal(mappingsTold.gone, [2])
  assert.is(mappingOf(2), null)
  assert.is.not(mappingOf(1), null)
  tunnels.remove(TUNNEL)
  // Its index comes back only after all others: with another meaning, and another generation.
  pass(1)
  assert.equal([...eachMapping(mappings)], [])
  assert.equal(mappingsTold.gone, [2], 'nobody is told of a tunnel that went')
})

it("a new epoch ends all of a tunnel's mappings at once, and begins with none (decision 5)", () => {
  const { plumber, put, mappingOf, mappings, mappingsTold, pass } = makeWorld()
  for (let n = 1; n < 20; n++) put(n, n)
  // What still waits is of the old epoch too.
  assert.ok(plumber.unmapTunnel(TUNNEL))
  for (let n = 1; n < 20; n++) assert.is(mappingOf(n), null)
  put(5, 7)
  plumber.flush()
  assert.is(mappingOf(5)!.port, 2007)
  pass(1)
  assert.is([...eachMapping(mappings)].length, 1)
  assert.equal(mappingsTold.gone, [], 'its owner knows, and some have a new meaning')
})

it('what the tables cannot hold is told of by its slot', () => {
  const { plumber, services, flowsTold, mappingsTold } = makeWorld()
  services.replace([])
  plumber.route(11, flow(1), 0, 0x02000001)
  plumber.mapping(12, TUNNEL, 5, flow(1), 0)
  services.replace([SERVICE, SERVICE6])
  plumber.mapping(13, TUNNEL + 1, 6, flow(1), 0)
  plumber.flush()
  assert.equal(flowsTold.failed, [11])
  // A mapping's service is looked up when it goes in.
  assert.equal(mappingsTold.failed, [13])
  assert.is(plumber.counters.changeFailures, 2)
})

it('nothing stays of a role that went', () => {
  const { plumber, put, routes, mappings } = makeWorld()
  for (let n = 0; n < 30; n++) {
    plumber.route(n, flow(n), 0, 0x02000000 + n)
    put(100 + n, n)
  }
  plumber.flush()
  plumber.clearRoutes()
  assert.is([...eachRoute(routes)].length, 0)
  assert.is([...eachMapping(mappings)].length, 30)
  plumber.clearMappings()
  assert.is([...eachMapping(mappings)].length, 0)
})

it('an index of a tunnel gets another generation with another meaning, and rests longest', () => {
  const book = new TunnelBook()
  const first = book.add(1)
  assert.is(book.add(1), first, 'it keeps its own')
  const generation = book.generations[first]
  book.remove(1)
  assert.is(book.indexOf(1), 0)
  assert.is(book.addressOf(first), undefined)
  for (let tunnel = 2; tunnel < 256; tunnel++) assert.is.not(book.add(tunnel), first)
  assert.is(book.add(1000), first)
  assert.is.not(book.generations[first], generation)
  assert.is(book.add(1001), 0, 'there are no more')
})

it('use in the kernel keeps a flow and a mapping alive, only forwards; one that is gone may be plumbed again', () => {
  const flows = new FlowTable(16, 16, 1, 2)
  const slot = flows.insert(flow(1), SERVICE.index, 1000)
  flows.plumbedUntilMs[slot] = Number.POSITIVE_INFINITY
  routeUsed(flows, flow(1), 3000)
  assert.is(flows.table.lastUse[slot], 3000)
  routeUsed(flows, flow(1), 2000)
  assert.is(flows.table.lastUse[slot], 3000)
  routeGone(flows, flow(1), 4000)
  assert.is(flows.plumbedUntilMs[slot], 4000)
  routeUsed(flows, flow(2), 5000)
  routeGone(flows, flow(2), 5000)

  const mappings = new MappingTable(16, 16, 1, 2)
  const at = mappings.insert(Uint32Array.of(0, 0, 0xffff, TUNNEL, 9), flow(1), 1000)
  mappings.committedUntilMs[at] = Number.POSITIVE_INFINITY
  mappingUsed(mappings, TUNNEL, 9, 3000)
  mappingUsed(mappings, TUNNEL, 9, 2000)
  assert.is(mappings.table.lastUse[at], 3000)
  mappingGone(mappings, TUNNEL, 9, 4000)
  assert.is(mappings.committedUntilMs[at], 4000)
  mappingGone(mappings, TUNNEL, 8, 4000)
})

it.run()
