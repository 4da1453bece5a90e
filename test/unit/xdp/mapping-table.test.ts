import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_TUNNEL, mappingMapSize } from '../../../src/agent/dataplane/xdp/mapping-layout.ts'
import { formatMappingMemory, openMappingMemory } from '../../../src/agent/dataplane/xdp/mapping-memory.ts'
import type { Mapping } from '../../../src/agent/dataplane/xdp/mapping-slots.ts'
import { eachMapping, MappingSweep, NO_TUNNEL } from '../../../src/agent/dataplane/xdp/mapping-sweep.ts'
import { KernelMappings } from '../../../src/agent/dataplane/xdp/mapping-table.ts'
import { type Family, ROUTE_MAX_BUCKETS } from '../../../src/agent/dataplane/xdp/route-layout.ts'
import { newRouteSecret } from '../../../src/agent/dataplane/xdp/route-memory.ts'
import { ShuntError } from '../../../src/errors.ts'
import { mappingContent, mappingKey, testMappings } from '../../support/mappings.ts'

const it = suite('mapping table')
const FAMILIES: readonly Family[] = [4, 6]

const name = ({ tunnel, identifier }: { tunnel: number; identifier: number }): string =>
  `${tunnel} ${identifier}`

const listed = (table: KernelMappings): Map<string, Mapping> => {
  const all = [...eachMapping(table)]
  const found = new Map(all.map(mapping => [name(mapping), mapping]))
  assert.is(found.size, all.length, 'an identifier is there twice')
  return new Map([...found].sort())
}

for (const family of FAMILIES) {
  it(`answers as a map would, IPv${family}, whatever is evicted`, () => {
    const identifiers = 40
    const operation = fc.record({
      kind: fc.constantFrom('put', 'put', 'put', 'remove', 'get'),
      n: fc.nat(identifiers - 1),
      generation: fc.integer({ min: 14, max: 15 }),
      client: fc.nat(3),
      now: fc.nat(0xffff),
    })
    const seen = new Set<string>()
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 160, size: 'max' }),
        fc.integer({ min: 2, max: 9 }),
        (operations, buckets) => {
          const { table } = testMappings(family, buckets)
          const model = new Map<string, Mapping>()
          for (const { kind, n, generation, client, now } of operations) {
            const key = mappingKey(n, generation)
            const known = model.get(name(key))
            if (kind === 'put') {
              const content = mappingContent(family, client)
              const { result, victim } = table.put(key, content, now)
              seen.add(result)
              if (known === undefined) assert.ok(['inserted', 'moved', 'evicted'].includes(result))
              else {
                const { stamp: _, ...was } = known
                const same = JSON.stringify(was) === JSON.stringify({ ...key, ...content })
                assert.is(result, same ? 'renewed' : 'replaced')
              }
              assert.is(result === 'evicted', victim !== null)
              if (victim !== null) {
                assert.equal(victim, model.get(name(victim)))
                model.delete(name(victim))
              }
              model.set(name(key), { ...key, ...content, stamp: now })
            } else if (kind === 'remove') {
              assert.equal(table.remove(key.tunnel, key.identifier), known ?? null)
              model.delete(name(key))
            } else assert.equal(table.get(key), known?.generation === generation ? known : null)
          }
          assert.equal(listed(table), new Map([...model].sort()))
        },
      ),
      { numRuns: 200 },
    )
    assert.is(seen.size, 5, [...seen].join())
  })

  it(`moves mappings on before it evicts, and holds nine tenths of its places with few losses, IPv${family}`, () => {
    const buckets = 512
    const { table } = testMappings(family, buckets)
    const count = Math.floor(buckets * 4 * 0.7)
    for (let n = 0; n < count; n++) table.put(mappingKey(n), mappingContent(family, n), 0)
    assert.is(table.counts.evicted, 0)
    assert.ok(table.counts.moved > 0)
    for (let n = 0; n < count; n++)
      assert.equal(table.get(mappingKey(n)), { ...mappingKey(n), ...mappingContent(family, n), stamp: 0 })
    for (let n = count; n < buckets * 4 * 0.9; n++) table.put(mappingKey(n), mappingContent(family, n), 0)
    assert.ok(table.counts.evicted < buckets * 4 * 0.02, `${table.counts.evicted} evictions`)
  })

  it(`evicts what is unused longest, also across the end of the ticks, IPv${family}`, () => {
    const { table } = testMappings(family, 2)
    const stamps = [65_500, 3, 65_535, 9, 65_400, 0, 65_501, 65_534]
    stamps.forEach((stamp, n) => {
      table.put(mappingKey(n), mappingContent(family, n), stamp)
    })
    const gone = stamps.map(
      (_, n) => table.put(mappingKey(8 + n), mappingContent(family, n), 10).victim?.stamp,
    )
    assert.equal(gone, [65_400, 65_500, 65_501, 65_534, 65_535, 0, 3, 9])
  })

  it(`opens what was made before with all its mappings, and refuses what it cannot read, IPv${family}`, () => {
    const { bytes, table } = testMappings(family, 8)
    table.put(mappingKey(3), mappingContent(family, 3), 5)
    const again = new KernelMappings(openMappingMemory(bytes))
    assert.equal(listed(again), listed(table))
    const refused = (change: (view: DataView) => void, pattern: RegExp): void => {
      const copy = new Uint8Array(bytes)
      change(new DataView(copy.buffer))
      assert.throws(
        () => openMappingMemory(copy),
        (error: unknown) => error instanceof ShuntError && pattern.test(error.message),
      )
    }
    refused(view => view.setUint32(0, 0), /no header/)
    refused(view => view.setUint32(4, 99, true), /version 99/)
    refused(view => view.setUint32(8, 5, true), /family, 5/)
    refused(view => view.setUint32(12, 9, true), /9 buckets/)
    assert.throws(() => openMappingMemory(new Uint8Array(64)), /no header/)
  })
}

it('refuses what does not fit', () => {
  const { table } = testMappings(4, 4)
  const key = mappingKey(1)
  const content = mappingContent(4, 1)
  assert.throws(() => table.put({ ...key, tunnel: 0 }, content, 0), /1\.\.255/)
  assert.throws(() => table.put({ ...key, tunnel: MAX_TUNNEL + 1 }, content, 0), /1\.\.255/)
  assert.throws(() => table.put({ ...key, generation: 16 }, content, 0), /0\.\.15/)
  assert.throws(() => table.put({ ...key, identifier: 0 }, content, 0), /identifier/)
  assert.throws(() => table.put(key, { ...content, service: 0 }, 0), /1\.\.65535/)
  assert.throws(() => table.put(key, mappingContent(6, 1), 0), /is not IPv4/)
  assert.is([...eachMapping(table)].length, 0)
})

it('is large enough, and no larger than the hash reaches', () => {
  const size = mappingMapSize(4, 262_144)
  assert.equal(size, { valueBytes: 64, entries: 87_384, buckets: 87_382 })
  assert.is(mappingMapSize(6, 1).entries, 3)
  assert.is(mappingMapSize(6, 1e9).buckets, ROUTE_MAX_BUCKETS)
  const { valueBytes, entries, buckets } = mappingMapSize(6, 100)
  formatMappingMemory(new Uint8Array(valueBytes * entries), 6, buckets, newRouteSecret())
})

const sweepWith = (
  table: KernelMappings,
  other: { generations?: readonly (readonly [number, number])[]; recent?: number; shortest?: number } = {},
) => {
  const generations = new Uint8Array(256).fill(NO_TUNNEL)
  for (const [tunnel, generation] of other.generations ?? [
    [1, 0],
    [255, 0],
  ])
    generations[tunnel] = generation
  const told = { expired: [] as Mapping[], used: [] as Mapping[] }
  const sweep = new MappingSweep(table)
  const rules = {
    generations,
    shortest: other.shortest ?? 5,
    lifetime: (service: number) => service * 5,
    expired: (mapping: Mapping) => void told.expired.push(mapping),
    recent: other.recent ?? -1,
    used: (mapping: Mapping) => void told.used.push(mapping),
  }
  const pass = (now: number, buckets = 1000): number => {
    let slices = 1
    while (!sweep.slice(buckets, now, rules)) slices++
    return slices
  }
  return { told, pass, sweep }
}
const services = (mappings: readonly Mapping[]): number[] =>
  mappings.map(({ port }) => port).sort((a, b) => a - b)

for (const family of FAMILIES) {
  it(`sweeps in slices: takes out what has expired by its rule, tells of what is used, IPv${family}`, () => {
    const { table } = testMappings(family, 64)
    const put = (n: number, service: number, stamp: number) =>
      table.put(mappingKey(n), { ...mappingContent(family, n), port: n, service }, stamp)
    put(1, 1, 90)
    put(2, 1, 96)
    put(3, 2, 91)
    put(4, 2, 90)
    // From a processor whose tick is one ahead.
    put(5, 1, 101)
    put(6, 1, 99)
    const { told, pass, sweep } = sweepWith(table, { recent: 1 })
    assert.is(pass(100, 10), 7)
    assert.equal(services(told.expired), [1, 4])
    assert.equal(
      told.expired.map(({ stamp }) => stamp),
      [90, 90],
    )
    assert.equal(services(told.used), [5, 6])
    assert.equal(sweep.last, { used: 6, expired: 2, outdated: 0 })
    assert.is(table.get(mappingKey(1)), null)
    assert.is(table.get(mappingKey(3))?.stamp, 91)
    pass(100)
    assert.equal([sweep.last, sweep.passes], [{ used: 4, expired: 0, outdated: 0 }, 2])
  })

  it(`takes out about as many as it may in a slice, however many have expired, IPv${family}`, () => {
    const { table } = testMappings(family, 4096)
    const many = 5000
    for (let n = 0; n < many; n++) table.put(mappingKey(n), { ...mappingContent(family, n), service: 1 }, 0)
    const there = [...eachMapping(table)].length
    const { told, pass, sweep } = sweepWith(table)
    const rules = { generations: new Uint8Array(256), shortest: 5, lifetime: () => 5, recent: -1 }
    const slice = (most?: number): number => {
      const before = told.expired.length
      const owner = { expired: (mapping: Mapping) => void told.expired.push(mapping), used: () => {} }
      sweep.slice(4096, 100, { ...rules, ...owner }, most)
      return told.expired.length - before
    }
    const first = slice(100)
    assert.ok(first >= 100 && first < 100 + 4, `${first}`)
    const second = slice()
    assert.ok(second >= 2048 && second < 2048 + 4, `${second}`)
    pass(100)
    assert.is(told.expired.length, there)
    assert.is(sweep.last.expired + sweep.last.outdated, there, 'none is missed, none told of twice')
  })

  it(`takes out what is of an earlier epoch, or of a tunnel that has gone, IPv${family}`, () => {
    const { table } = testMappings(family, 64)
    for (let n = 0; n < 6; n++) table.put(mappingKey(n, n < 2 ? 15 : 0), mappingContent(family, n), 7)
    const gone = sweepWith(table, { generations: [[1, 0]] })
    gone.pass(7)
    assert.equal(gone.sweep.last, { used: 6, expired: 0, outdated: 4 })
    assert.equal(
      [...eachMapping(table)].map(({ tunnel, generation }) => `${tunnel} ${generation}`),
      ['1 0', '1 0'],
    )
  })

  it(`an agent that takes over finds each mapping once, where look-ups find it, IPv${family}`, () => {
    const { bytes, table } = testMappings(family, 16)
    const { slots } = table
    for (let n = 0; n < 20; n++) table.put(mappingKey(n), mappingContent(family, n), n)
    const before = listed(table)
    let left = 0
    for (const slot of [...slots.used()]) {
      slots.place(slots.identifierAt(slot), slots.tunnelAt(slot))
      const to = slots.freeSlot(slots.second)
      if (slots.slotOf(slots.first, slots.identifierAt(slot), slots.tunnelAt(slot)) !== slot || to < 0)
        continue
      slots.copy(slot, to)
      slots.touch(slot, 99)
      left++
    }
    assert.ok(left > 10)
    const again = new KernelMappings(openMappingMemory(bytes))
    const after = listed(again)
    assert.equal([...after.keys()], [...before.keys()])
    assert.is([...after.values()].filter(({ stamp }) => stamp === 99).length, left)
    for (const { tunnel, identifier } of before.values()) assert.ok(again.remove(tunnel, identifier))
    assert.is([...again.slots.used()].length, 0)
  })
}

it.run()
