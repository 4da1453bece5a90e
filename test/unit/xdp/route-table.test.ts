import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type Family,
  ROUTE_RESULT,
  ROUTE_STATE,
  routeMapSize,
  USED,
} from '../../../src/agent/dataplane/xdp/route-layout.ts'
import {
  formatRouteMemory,
  newRouteSecret,
  openRouteMemory,
} from '../../../src/agent/dataplane/xdp/route-memory.ts'
import { eachRoute, RouteSweep } from '../../../src/agent/dataplane/xdp/route-sweep.ts'
import { RouteTable } from '../../../src/agent/dataplane/xdp/route-table.ts'
import {
  hostOf,
  isOlder,
  type Route,
  type RouteContent,
} from '../../../src/agent/dataplane/xdp/route-value.ts'
import { ShuntError } from '../../../src/errors.ts'
import { client, content, setClient, testSecret, testTable } from '../../support/routes.ts'

const it = suite('route table')
const { INSERTED, KICKED, EVICTED, EXISTS, FULL, UPDATED, STALE, MISSING, REMOVED } = ROUTE_RESULT

const FAMILIES: readonly Family[] = [4, 6]
const arbitraryContent = fc.record<RouteContent>({
  identifier: fc.integer({ min: 0, max: 0xffffffff }),
  state: fc.integer({ min: 0, max: 6 }),
  generation: fc.integer({ min: 0, max: 63 }),
  mapped: fc.boolean(),
  pinned: fc.boolean(),
})

/** All that is in a table, by client number. */
const listed = (table: RouteTable, family: Family, clients: number): Map<number, Route> => {
  const words = new Map<string, number>()
  const key = table.newKey()
  const name = (): string => `${key.word} ${key.clientHigh} ${key.clientLow}`
  for (let n = 0; n < clients; n++) {
    setClient(key, family, n)
    words.set(name(), n)
  }
  const found = new Map<number, Route>()
  for (const { key: at, route } of eachRoute(table)) {
    const n = words.get(`${at.word} ${at.clientHigh} ${at.clientLow}`)
    assert.is.not(n, undefined)
    assert.not.ok(found.has(n!), 'a key is there twice')
    found.set(n!, route)
  }
  return found
}

for (const family of FAMILIES) {
  it(`answers as a map would, IPv${family}, whatever is evicted`, () => {
    const clients = 40
    const operation = fc.record({
      kind: fc.constantFrom('insert', 'insert', 'update', 'state', 'remove', 'get'),
      n: fc.nat(clients - 1),
      content: arbitraryContent,
      now: fc.nat(0xffff),
    })
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 120 }),
        fc.integer({ min: 2, max: 9 }),
        (operations, buckets) => {
          const { table } = testTable(family, buckets)
          const model = new Map<number, Route>()
          const key = table.newKey()
          const other = table.newKey()
          for (const { kind, n, content, now } of operations) {
            setClient(key, family, n)
            const known = model.get(n)
            if (kind === 'insert') {
              const { result, existing, victim } = table.insert(key, content, now)
              if (known !== undefined) assert.equal([result, existing], [EXISTS, known])
              if (victim !== null) {
                assert.is(result, EVICTED)
                const gone = [...model.keys()].find(m => setClient(other, family, m).word === victim.key.word)
                assert.is.not(gone, undefined)
                assert.equal(victim.route, model.get(gone!))
                assert.not.ok(victim.route.pinned)
                model.delete(gone!)
              }
              if (result === INSERTED || result === KICKED || result === EVICTED)
                model.set(n, { ...content, stamp: now })
              else assert.ok(result === FULL || result === EXISTS)
            } else if (kind === 'update') {
              const expected =
                known === undefined
                  ? MISSING
                  : isOlder(content.generation, known.generation)
                    ? STALE
                    : UPDATED
              assert.is(table.update(key, content), expected)
              if (expected === UPDATED) model.set(n, { ...content, stamp: known!.stamp })
            } else if (kind === 'state') {
              assert.is(table.setState(key, content.state), known === undefined ? MISSING : UPDATED)
              if (known !== undefined) model.set(n, { ...known, state: content.state })
            } else if (kind === 'remove') {
              assert.equal(table.remove(key), known ?? null)
              model.delete(n)
            } else assert.equal(table.get(key), known ?? null)
          }
          assert.equal(new Map([...listed(table, family, clients)].sort()), new Map([...model].sort()))
        },
      ),
      { numRuns: 300 },
    )
  })

  it(`moves routes on before it evicts, and holds nine tenths of its places without loss, IPv${family}`, () => {
    const buckets = 512
    const { table } = testTable(family, buckets)
    const key = table.newKey()
    const clients = Math.floor(buckets * 4 * 0.7)
    for (let n = 0; n < clients; n++) table.insert(setClient(key, family, n), content(n + 1), 0)
    assert.is(table.counts[EVICTED], 0)
    assert.ok(table.counts[KICKED] > 0)
    for (let n = 0; n < clients; n++)
      assert.is(table.get(setClient(key, family, n))?.identifier, n + 1, `client ${n}`)
    for (let n = clients; n < buckets * 4 * 0.9; n++)
      table.insert(setClient(key, family, n), content(n + 1), 0)
    assert.ok(table.counts[EVICTED] < buckets * 4 * 0.02, `${table.counts[EVICTED]} evictions`)
  })

  it(`evicts closed routes first, then young ones, then the oldest; pinned ones never, IPv${family}`, () => {
    // With two buckets all keys share their eight places.
    const { table } = testTable(family, 2)
    const key = table.newKey()
    const states = [
      { state: ROUTE_STATE.ESTABLISHED, stamp: 3 },
      { state: ROUTE_STATE.YOUNG, stamp: 9 },
      { state: ROUTE_STATE.FIN, stamp: 8 },
      { state: ROUTE_STATE.ESTABLISHED, stamp: 1, pinned: true },
      { state: ROUTE_STATE.ESTABLISHED, stamp: 2 },
      { state: ROUTE_STATE.RESET, stamp: 7 },
      { state: ROUTE_STATE.YOUNG, stamp: 8 },
      { state: ROUTE_STATE.ESTABLISHED, stamp: 4 },
    ]
    states.forEach(({ state, stamp, pinned = false }, n) => {
      table.insert(setClient(key, family, n), content(n, { state, pinned }), stamp)
    })
    const gone: number[] = []
    for (let n = 8; n < 16; n++) {
      const { result, victim } = table.insert(setClient(key, family, n), content(n, { pinned: true }), 10)
      if (result === EVICTED) gone.push(victim!.route.identifier)
      else assert.is(result, FULL)
    }
    assert.equal(gone, [5, 2, 6, 1, 4, 0, 7])
    assert.is(table.counts[FULL], 1)
    assert.is(table.get(setClient(key, family, 3))?.stamp, 1)
  })

  it(`promotes an embryonic flow once, IPv${family}`, () => {
    const { table: embryonic } = testTable(family, 4, testSecret(7))
    const { table: routes } = testTable(family, 8)
    const from = setClient(embryonic.newKey(), family, 5)
    const to = setClient(routes.newKey(), family, 5)
    assert.is(embryonic.promote(from, routes, to, 3).result, MISSING)
    embryonic.insert(from, content(0x07000001, { state: ROUTE_STATE.EMBRYONIC, generation: 9 }), 1)
    assert.is(embryonic.promote(from, routes, to, 3).result, INSERTED)
    assert.is(embryonic.get(from), null)
    const route = routes.get(to)!
    assert.equal(route, { ...content(0x07000001, { state: ROUTE_STATE.YOUNG, generation: 9 }), stamp: 3 })
    assert.is(hostOf(route), 7)
  })

  it(`leaves an embryonic flow where it is when its places are pinned, IPv${family}`, () => {
    const { table: embryonic } = testTable(family, 4, testSecret(7))
    const { table: routes } = testTable(family, 2)
    const key = routes.newKey()
    for (let n = 0; n < 8; n++) routes.insert(setClient(key, family, n), content(n, { pinned: true }), 0)
    const from = setClient(embryonic.newKey(), family, 9)
    embryonic.insert(from, content(1, { state: ROUTE_STATE.EMBRYONIC }), 0)
    assert.is(embryonic.promote(from, routes, setClient(key, family, 9), 0).result, FULL)
    assert.ok(embryonic.get(from) !== null)
  })

  it(`keys know their client, port and service, IPv${family}`, () => {
    const { table } = testTable(family, 3)
    const key = table.newKey()
    const out = new Uint32Array(4)
    fc.assert(
      fc.property(fc.nat(1 << 20), fc.integer({ min: 1, max: 0xffff }), (n, service) => {
        setClient(key, family, n, service).client(out, 0)
        assert.equal([out, key.port, key.service], [client(family, n).words, client(family, n).port, service])
        assert.is.not(key.first, key.second)
        assert.ok(key.first < 3 && key.second < 3)
      }),
    )
    assert.throws(() => setClient(key, family, 1, 0), /1\.\.65535/)
    assert.throws(() => key.set(client(family === 4 ? 6 : 4, 1).words, 0, 1, 1), /is not IPv/)
  })
}

it('refuses the change of an older generation, also across the end of the numbers', () => {
  const { table } = testTable(4, 2)
  const key = setClient(table.newKey(), 4, 1)
  table.insert(key, content(1, { generation: 62 }), 0)
  assert.is(table.update(key, content(2, { generation: 61 })), STALE)
  assert.is(table.update(key, content(3, { generation: 1 })), UPDATED)
  assert.is(table.update(key, content(4, { generation: 62 })), STALE)
  assert.is(table.update(key, content(5, { generation: 1, state: ROUTE_STATE.HELD })), UPDATED)
  assert.is(table.get(key)?.identifier, 5)
  assert.equal([table.counts[STALE], table.counts[UPDATED]], [2, 2])
})

const rules = (
  expired: number[],
  shortest = 5,
  lifetime = (_state: number, service: number) => service * 5,
) => ({
  shortest,
  lifetime,
  expired: (_: unknown, route: Route) => {
    expired.push(route.identifier)
  },
})

it('sweeps in slices: takes out what has expired by its rule, keeps what is pinned or new', () => {
  const { table } = testTable(4, 64)
  const key = table.newKey()
  table.insert(setClient(key, 4, 1, 1), content(1), 90)
  table.insert(setClient(key, 4, 2, 1), content(2), 96)
  table.insert(setClient(key, 4, 3, 2), content(3), 91)
  table.insert(setClient(key, 4, 4, 2), content(4), 90)
  table.insert(setClient(key, 4, 5, 1), content(5, { pinned: true }), 0)
  // From a processor whose tick is one ahead.
  table.insert(setClient(key, 4, 6, 1), content(6), 101)
  const sweep = new RouteSweep(table)
  const expired: number[] = []
  let slices = 1
  while (!sweep.slice(10, 100, rules(expired))) slices++
  assert.is(slices, 7)
  assert.equal(expired.sort(), [1, 4])
  assert.equal(sweep.last, { used: 6, pinned: 1, expired: 2, orphans: 0 })
  assert.is(table.get(setClient(key, 4, 1, 1)), null)
  assert.is(table.get(setClient(key, 4, 3, 2))?.identifier, 3)
  while (!sweep.slice(64, 100, rules(expired))) {}
  assert.equal(sweep.last, { used: 4, pinned: 1, expired: 0, orphans: 0 })
})

it('does little more in one slice than it may, though all has expired', () => {
  const { table } = testTable(4, 64)
  const key = table.newKey()
  for (let n = 0; n < 100; n++) table.insert(setClient(key, 4, n), content(n), 0)
  const sweep = new RouteSweep(table)
  const expired: number[] = []
  assert.is(sweep.slice(64, 100, rules(expired), 10), false)
  assert.ok(expired.length >= 10 && expired.length < 14, `${expired.length}`)
  while (!sweep.slice(64, 100, rules(expired), 10)) {}
  assert.equal([expired.length, new Set(expired).size, sweep.last.expired], [100, 100, 100])
})

it('counts ages across the end of the ticks', () => {
  const { table } = testTable(6, 8)
  const key = table.newKey()
  table.insert(setClient(key, 6, 1), content(1), 65530)
  const sweep = new RouteSweep(table)
  const expired: number[] = []
  sweep.slice(8, 65534, rules(expired))
  assert.equal(expired, [])
  sweep.slice(8, 2, rules(expired))
  assert.equal(expired, [1])
})

it('frees what a maker left half-made, but not before it can only be dead', () => {
  const { table } = testTable(4, 4)
  const { buckets } = table
  assert.ok(buckets.claim(buckets.at(1), USED | (65400n << 32n)) >= 0)
  const sweep = new RouteSweep(table, 60)
  const pass = (now: number): number => {
    while (!sweep.slice(4, now, rules([]))) {}
    return sweep.last.orphans
  }
  assert.equal([pass(65500), pass(65530), pass(10), pass(24), pass(25)], [0, 0, 0, 1, 0])
  assert.is(sweep.last.used, 0)
})

it('takes a copy that a dead mover left for what it is: the route lives on', () => {
  const { table } = testTable(4, 16)
  const { buckets } = table
  const key = setClient(table.newKey(), 4, 1)
  table.insert(key, content(1), 0)
  const copy = buckets.claim(buckets.at(key.second), buckets.find(key))
  buckets.publish(copy, key)
  const first = buckets.at(key.first)
  assert.ok(buckets.exchangeValue(first, buckets.valueAt(first), buckets.valueAt(first) | (99n << 32n)))
  const expired: number[] = []
  const sweep = new RouteSweep(table)
  assert.is([...eachRoute(table)].length, 1)
  while (!sweep.slice(16, 100, rules(expired))) {}
  assert.equal(expired, [])
  assert.is(buckets.keyAt(copy), 0n)
  assert.is(table.get(key)?.stamp, 99)
})

it('opens what was made before with all its routes, and refuses what it cannot read', () => {
  const { bytes, table } = testTable(6, 8)
  table.insert(setClient(table.newKey(), 6, 3), content(77), 5)
  const again = new RouteTable(openRouteMemory(bytes))
  assert.is(again.get(setClient(again.newKey(), 6, 3))?.identifier, 77)
  const refused = (change: (view: DataView) => void, pattern: RegExp): void => {
    const copy = new Uint8Array(bytes)
    change(new DataView(copy.buffer))
    assert.throws(
      () => openRouteMemory(copy),
      (error: unknown) =>
        error instanceof ShuntError && pattern.test(error.message) && /flush/.test(error.message),
    )
  }
  refused(view => view.setUint32(0, 0), /no header/)
  refused(view => view.setUint32(4, 2, true), /version 2/)
  refused(view => view.setUint32(8, 5, true), /family, 5/)
  refused(view => view.setUint32(12, 9, true), /9 buckets/)
  refused(view => view.setUint32(12, 1, true), /1 buckets/)
  assert.throws(() => openRouteMemory(new Uint8Array(64)), /no header/)
})

it('makes secrets that differ, with odd factors, and maps of the size that is asked for', () => {
  const [one, two] = [newRouteSecret(), newRouteSecret()]
  assert.is.not(one[0], two[0])
  for (const odd of [5, 6, 7]) assert.is(one[odd] & 1n, 1n)
  for (const family of FAMILIES) {
    const { valueBytes, entries, buckets } = routeMapSize(family, 1_000_000)
    const memory = new Uint8Array(valueBytes * entries)
    assert.is(formatRouteMemory(memory, family, buckets, one).buckets, buckets)
    assert.ok(buckets * 4 * 0.75 >= 1_000_000 && buckets * 4 * 0.75 < 1_000_004)
  }
  assert.is(routeMapSize(4, 1).buckets, 2)
})

it('spreads keys that differ little evenly', () => {
  const buckets = 1024
  for (const family of FAMILIES) {
    const { table } = testTable(family, buckets)
    const key = table.newKey()
    const load = new Uint32Array(buckets)
    for (let n = 0; n < buckets * 32; n++) {
      setClient(key, family, n)
      load[key.first]++
      load[key.second]++
    }
    // 64 each on average; twelve standard deviations of it.
    for (const count of load) assert.ok(count > 64 - 8 * 6 && count < 64 + 8 * 6, `${count} keys`)
  }
})

it('counts what it removes', () => {
  const { table } = testTable(4, 2)
  const key = setClient(table.newKey(), 4, 1)
  table.insert(key, content(1), 0)
  table.remove(key)
  table.remove(key)
  assert.equal([table.counts[REMOVED], table.counts[MISSING]], [1, 1])
})

it.run()
