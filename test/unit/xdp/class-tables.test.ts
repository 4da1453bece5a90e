import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChoiceHost, ChoiceTables } from '../../../src/agent/classify/choice-table.ts'
import { CHOICES, choiceOf, Rendezvous } from '../../../src/agent/classify/rendezvous.ts'
import { IdentifierAllocator } from '../../../src/agent/dataplane/identifiers.ts'
import { ClassPools, POOL_SIZE } from '../../../src/agent/dataplane/xdp/class-pools.ts'
import { ClassTables } from '../../../src/agent/dataplane/xdp/class-tables.ts'
import {
  CLASS_CHOICES_BYTES,
  CLASS_POOL,
  CLASS_POOL_BYTES,
  CLASS_SERVICE,
  CLASS_SERVICE_BYTES,
} from '../../../src/agent/dataplane/xdp/layout/edge.ts'
import { integers, seeded } from '../../support/random.ts'

const it = suite('tables of first packets')
const K: readonly [number, number] = [5, 6]

const hosts = (...weights: number[]): ChoiceHost[] =>
  weights.map((weight, i) => ({ index: i + 1, hash: 900 + i, weight }))
const tableOf = (of: readonly ChoiceHost[]): Uint8Array => {
  const out = new Uint8Array(CHOICES)
  new ChoiceTables(...K).fill(of, out)
  return out
}
const sharesOf = (table: Uint8Array, count: number): number[] => {
  const shares = new Array<number>(count + 1).fill(0)
  for (const host of table) shares[host]++
  return shares
}

it('a table holds what the rendezvous answers, for every flow', () => {
  const below = integers(seeded(1))
  const of = hosts(0.5, 0.125, 0.25, 0.1, 0.025)
  const table = tableOf(of)
  const rendezvous = new Rendezvous(...K)
  for (let n = 0; n < 3000; n++) {
    const key = Uint32Array.from({ length: 10 }, () => below(0x10000) * 0x10000 + below(0x10000))
    rendezvous.begin(key, 0)
    for (const { index, hash, weight } of of) rendezvous.offer(index, hash, weight)
    assert.is(table[choiceOf(...K, key, 0)], rendezvous.best)
  }
})

it('shares are those of a fair draw', () => {
  for (const weights of [[1, 1, 1], [10, 30, 60], [1, 99], Array.from({ length: 50 }, () => 2)]) {
    const sum = weights.reduce((a, b) => a + b, 0)
    const shares = sharesOf(tableOf(hosts(...weights)), weights.length)
    assert.is(shares[0], 0)
    weights.forEach((weight, i) => {
      const p = weight / sum
      assert.ok(
        Math.abs(shares[i + 1]! - CHOICES * p) < 5 * Math.sqrt(CHOICES * p * (1 - p)),
        `${weights}: ${shares}`,
      )
    })
  }
})

it('a host that goes moves only its own parts; a weight that changes moves parts to or from that host only', () => {
  const all = hosts(4, 3, 2, 1)
  const before = tableOf(all)
  const without = tableOf(all.filter(({ index }) => index !== 2))
  before.forEach((host, part) => {
    if (host === 2) assert.is.not(without[part], 2)
    else assert.is(without[part], host)
  })
  const heavier = tableOf(hosts(4, 3, 2.5, 1))
  let moved = 0
  before.forEach((host, part) => {
    if (heavier[part] === host) return
    moved++
    assert.is(heavier[part], 3)
  })
  assert.ok(moved > 0)
  assert.equal(tableOf([]), new Uint8Array(CHOICES))
})

it('a service has a table until it is taken out; the longest free one is used next; none is left: the agent chooses', () => {
  const services = new Uint8Array(20 * CLASS_SERVICE_BYTES)
  const choices = new Uint8Array(2 * CLASS_CHOICES_BYTES)
  const view = new DataView(services.buffer)
  const tables = new ClassTables(services, choices, ...K)
  const until = (number: number): bigint =>
    view.getBigUint64(number * CLASS_SERVICE_BYTES + CLASS_SERVICE.until, true)
  const table = (number: number): number =>
    view.getUint32(number * CLASS_SERVICE_BYTES + CLASS_SERVICE.choices, true)
  assert.ok(tables.set(3, hosts(1, 1), 77n))
  assert.ok(tables.set(4, hosts(1), 78n))
  assert.not(tables.set(5, hosts(1), 79n))
  assert.equal([until(3), until(4), until(5)], [77n, 78n, 0n])
  assert.equal([table(3), table(4)], [0, 1])
  assert.equal(choices.subarray(0, CHOICES), tableOf(hosts(1, 1)))
  tables.set(3, hosts(1, 5), 99n)
  assert.equal(choices.subarray(0, CHOICES), tableOf(hosts(1, 5)))
  assert.is(until(3), 77n, 'the limit is for renew')
  tables.renew(100n)
  assert.equal([until(3), until(4), until(5)], [100n, 100n, 0n])
  tables.delete(3)
  assert.is(until(3), 0n)
  assert.ok(tables.set(5, hosts(1), 101n))
  assert.equal([table(5), until(5)], [0, 101n])
  assert.not(tables.set(4, [], 101n), 'nobody to choose')
  assert.is(until(4), 0n)
  tables.delete(5)
  tables.delete(5)
  for (const number of [6, 7]) assert.ok(tables.set(number, hosts(1), 1n))
  assert.equal([table(6), table(7)], [1, 0])
  assert.not(tables.set(8, hosts(1), 1n))
  assert.not(tables.set(20, hosts(1), 101n), 'beyond the map')
})

const pools = () => {
  const memory = new Uint8Array(8 * CLASS_POOL_BYTES)
  return { memory, words: new Uint32Array(memory.buffer), pools: new ClassPools(memory) }
}

it('a pool is filled when half of it is gone, in order, and emptied', () => {
  const { pools: of, words } = pools()
  const at = (3 * CLASS_POOL_BYTES) / 4
  const identifiers = new IdentifierAllocator({ capacity: 100_000, quarantineMs: 1000, k0: 1, k1: 2 })
  of.refill(3, 2, identifiers, 0)
  assert.equal([of.waiting(3), identifiers.inUse], [POOL_SIZE, POOL_SIZE])
  const taken = new Set<number>()
  for (let n = 0; n < POOL_SIZE / 2; n++) taken.add(words[at + CLASS_POOL.identifiers / 4 + n]!)
  assert.is(taken.size, POOL_SIZE / 2)
  for (const identifier of taken) {
    assert.is(identifier >>> 24, 3)
    assert.ok(identifiers.isReserved(identifier))
    assert.is(identifiers.owner(identifier), -1)
  }
  words[at + CLASS_POOL.head / 4] = POOL_SIZE / 2 - 1
  of.refill(3, 2, identifiers, 0)
  assert.is(of.waiting(3), POOL_SIZE / 2 + 1, 'not yet')
  words[at + CLASS_POOL.head / 4] = POOL_SIZE / 2
  of.refill(3, 2, identifiers, 0)
  assert.is(of.waiting(3), POOL_SIZE)
  assert.is(identifiers.inUse, POOL_SIZE * 1.5)
  of.empty(3, identifiers, 0)
  assert.equal([of.waiting(3), identifiers.inUse], [0, taken.size])
  for (const identifier of taken) assert.ok(identifiers.isReserved(identifier), 'what was taken stays')
})

it('pools hold an eighth of all identifiers at most, and positions may wrap around', () => {
  const { pools: of, words } = pools()
  const identifiers = new IdentifierAllocator({ capacity: 800, quarantineMs: 1000, k0: 1, k1: 2 })
  const at = (1 * CLASS_POOL_BYTES) / 4
  words[at + CLASS_POOL.head / 4] = words[at + CLASS_POOL.tail / 4] = 0xffff_fff0
  of.refill(1, 2, identifiers, 0)
  assert.is(of.waiting(1), 50)
  assert.is(words[at + CLASS_POOL.tail / 4], 34)
  of.empty(1, identifiers, 0)
  assert.is(identifiers.inUse, 0)
})

it('reserved identifiers: given an owner once, in quarantine like others, none when all are taken', () => {
  const identifiers = new IdentifierAllocator({ capacity: 3, quarantineMs: 1000, k0: 1, k1: 2 })
  const [one, two, three] = [1, 2, 3].map(() => identifiers.reserve(9, 0))
  assert.is(new Set([one, two, three]).size, 3)
  assert.is(identifiers.reserve(9, 0), 0)
  assert.ok(identifiers.rehome(one!, 5))
  assert.not(identifiers.isReserved(one!))
  assert.is(identifiers.owner(one!), 5)
  assert.ok(identifiers.free(one!, 0, true))
  assert.is(identifiers.reserve(9, 500), 0, 'it rests')
  assert.is.not(identifiers.reserve(9, 1000), 0)
})

it.run()
