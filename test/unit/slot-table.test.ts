import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { halfSipHash13 } from '../../src/agent/dataplane/half-siphash.ts'
import { SlotTable } from '../../src/agent/dataplane/slot-table.ts'
import { keptColumns } from '../support/columns.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'

const it = suite('slot-table')

/** The slow, obvious twin: a Map for the keys and an array per list, oldest first. */
class Twin {
  readonly slots = new Map<string, number>()
  readonly lists: string[][]
  readonly lastUse = new Map<string, number>()
  constructor(lists: number) {
    this.lists = Array.from({ length: lists }, () => [])
  }
  insert(key: string, slot: number, list: number, nowMs: number): void {
    this.slots.set(key, slot)
    this.lists[list].push(key)
    this.lastUse.set(key, nowMs)
  }
  unlist(key: string): number {
    const list = this.lists.findIndex(keys => keys.includes(key))
    this.lists[list].splice(this.lists[list].indexOf(key), 1)
    return list
  }
  move(key: string, list: number, nowMs: number): void {
    this.unlist(key)
    this.lists[list].push(key)
    this.lastUse.set(key, nowMs)
  }
  remove(key: string): void {
    this.unlist(key)
    this.slots.delete(key)
  }
}

function compare(table: SlotTable, twin: Twin): void {
  assert.is(table.size, twin.slots.size)
  twin.lists.forEach((keys, list) => {
    assert.is(table.length(list), keys.length)
    const slots: number[] = []
    for (let slot = table.oldest(list); slot >= 0; slot = table.newer(slot)) slots.push(slot)
    assert.equal(
      slots,
      keys.map(key => twin.slots.get(key)),
      `order of list ${list}`,
    )
    for (const key of keys) {
      const slot = twin.slots.get(key)!
      const words = Uint32Array.from(key.split(','), Number)
      assert.is(table.find(words), slot)
      assert.is(table.listOf(slot), list)
      assert.is(table.lastUse[slot], twin.lastUse.get(key))
      words.forEach((word, i) => {
        assert.is(table.keyWord(slot, i), word)
      })
    }
  })
}

for (const { capacity, keyWords, lists, universe } of [
  { capacity: 1, keyWords: 1, lists: 1, universe: 3 },
  { capacity: 61, keyWords: 2, lists: 3, universe: 150 },
  { capacity: 256, keyWords: 10, lists: 5, universe: 300 },
])
  for (const seed of runSeeds())
    it(`equals its twin, whoever goes on with its columns: capacity ${capacity}, keys of ${keyWords} words, seed ${seed}`, () => {
      const pick = integers(seeded(seed))
      const columns = keptColumns()
      const makeTable = (k0: number): SlotTable =>
        new SlotTable({ capacity, keyWords, lists, k0, k1: ~seed, columns })
      let table = makeTable(seed)
      const twin = new Twin(lists)
      const keys = Array.from({ length: universe }, (_, i) =>
        Uint32Array.from({ length: keyWords }, (_, word) =>
          word === 0 ? i : pick(2) === 0 ? 0 : pick(2 ** 32),
        ),
      )
      const held = new Uint32Array(keyWords + 3)
      for (let step = 0; step < 24000; step++) {
        const key = keys[pick(universe)]
        const name = key.join()
        const known = twin.slots.get(name)
        const at = pick(4)
        held.set(key, at)
        assert.is(table.find(held, at), known ?? -1)
        // Inserts and removals come in long tides, so that the table is at times full and at times empty.
        const growing = Math.floor(step / 3000) % 2 === 0
        const choice = pick(10)
        if (known === undefined) {
          if (choice > (growing ? 7 : 1)) continue
          const list = pick(lists)
          const slot = table.insert(held, at, list, step)
          assert.is(slot < 0, twin.slots.size === capacity)
          if (slot < 0) continue
          assert.ok(slot < capacity && ![...twin.slots.values()].includes(slot))
          twin.insert(name, slot, list, step)
        } else if (choice === 0) {
          assert.throws(() => table.insert(held, at, 0, step), /already/)
        } else if (choice <= (growing ? 1 : 6)) {
          table.remove(known)
          twin.remove(name)
          assert.is(table.listOf(known), -1)
        } else if (choice <= 8) {
          const list = twin.lists.findIndex(all => all.includes(name))
          table.touch(known, step)
          twin.move(name, list, step)
        } else {
          const list = pick(lists)
          table.move(known, list, step)
          twin.move(name, list, step)
        }
        if (step % 500 === 0) compare(table, twin)
        if (step % 1700 === 0) {
          // Each entry of a list is of another time, so that the order is known.
          table = makeTable(step)
          table.adopt(0, () => true)
          compare(table, twin)
        }
      }
      compare(table, twin)
    })

it('takes over what is wanted, at later times, and nothing that is torn', () => {
  const columns = keptColumns()
  const settings = { capacity: 8, keyWords: 1, lists: 2, columns }
  const before = new SlotTable({ ...settings, k0: 1, k1: 2 })
  for (let key = 0; key < 6; key++) before.insert(Uint32Array.of(key), 0, key % 2, 10 * key)
  columns.u8('lists', 8)[5] = 77
  columns.f64('last-use', 8)[4] = Number.NaN
  columns.u32('keys', 8)[3] = 1 // twice the same key: the one that was used last
  const table = new SlotTable({ ...settings, k0: 3, k1: 4 })
  table.adopt(-1000, slot => slot !== 2)
  assert.equal(
    [0, 1, 2, 3, 4, 5].map(key => table.find(Uint32Array.of(key))),
    [0, 1, -1, -1, -1, -1],
  )
  assert.equal([table.size, table.lastUse[0], table.lastUse[1]], [2, -1000, -990])
  for (let key = 10; key < 16; key++) assert.ok(table.insert(Uint32Array.of(key), 0, 0, 1) >= 0)
  assert.is(table.insert(Uint32Array.of(99), 0, 0, 1), -1, 'every place is used again, once')
})

it('keeps colliding entries findable through any order of removals', () => {
  // 64 keys in 128 buckets, again and again with other hash keys: chains that wrap around the end appear.
  for (let round = 0; round < 200; round++) {
    const pick = integers(seeded(round))
    const table = new SlotTable({ capacity: 64, keyWords: 1, lists: 1, k0: round, k1: 7 })
    const present = new Set<number>()
    for (let key = 0; key < 64; key++) {
      table.insert(Uint32Array.of(key), 0, 0, 0)
      present.add(key)
    }
    while (present.size > 0) {
      const key = [...present][pick(present.size)]
      table.remove(table.find(Uint32Array.of(key)))
      present.delete(key)
      for (let other = 0; other < 64; other++)
        assert.is(table.find(Uint32Array.of(other)) >= 0, present.has(other), `round ${round}, key ${other}`)
    }
  }
})

it('tells keys with the same hash apart', () => {
  // Among 300,000 words some pairs share all 32 bits of the hash (about 10 are expected).
  const first = new Map<number, number>()
  const pairs: [number, number][] = []
  for (let key = 0; key < 300_000; key++) {
    const hash = halfSipHash13(1, 2, Uint32Array.of(key), 0, 1)
    const other = first.get(hash)
    if (other === undefined) first.set(hash, key)
    else pairs.push([other, key])
  }
  assert.ok(pairs.length > 0)
  for (const [a, b] of pairs) {
    const table = new SlotTable({ capacity: 4, keyWords: 1, lists: 1, k0: 1, k1: 2 })
    const slot = table.insert(Uint32Array.of(a), 0, 0, 0)
    assert.is(table.find(Uint32Array.of(b)), -1)
    const other = table.insert(Uint32Array.of(b), 0, 0, 0)
    assert.is(table.find(Uint32Array.of(a)), slot)
    table.remove(slot)
    assert.is(table.find(Uint32Array.of(b)), other)
  }
})

it('a full table says so, and takes again after a removal', () => {
  const table = new SlotTable({ capacity: 2, keyWords: 1, lists: 1, k0: 1, k1: 2 })
  const a = table.insert(Uint32Array.of(10), 0, 0, 1)
  table.insert(Uint32Array.of(11), 0, 0, 2)
  assert.is(table.insert(Uint32Array.of(12), 0, 0, 3), -1)
  assert.is(table.find(Uint32Array.of(12)), -1)
  assert.throws(() => table.insert(Uint32Array.of(10), 0, 0, 3), /already/)
  table.remove(a)
  assert.is(table.insert(Uint32Array.of(12), 0, 0, 3), a)
  assert.is(table.size, 2)
})

it('refuses slots that are not in use, lists that do not exist, and impossible settings', () => {
  const table = new SlotTable({ capacity: 4, keyWords: 1, lists: 2, k0: 1, k1: 2 })
  const slot = table.insert(Uint32Array.of(5), 0, 1, 1)
  table.remove(slot)
  for (const wrong of [slot, -1, 4, 1.5, Number.NaN]) {
    assert.throws(() => table.remove(wrong), /not in use/)
    assert.throws(() => table.touch(wrong, 2), /not in use/)
    assert.throws(() => table.move(wrong, 0, 2), /not in use/)
    assert.throws(() => table.newer(wrong), /not in use/)
  }
  const again = table.insert(Uint32Array.of(5), 0, 1, 1)
  for (const wrong of [-1, 2, Number.NaN]) {
    assert.throws(() => table.insert(Uint32Array.of(6), 0, wrong, 1), /no list/)
    assert.throws(() => table.move(again, wrong, 1), /no list/)
  }
  assert.is(table.size, 1)
  assert.is(table.oldest(1), again)
  for (const wrong of [{ capacity: 0 }, { capacity: 1.5 }, { keyWords: 0 }, { lists: 0 }, { lists: 255 }])
    assert.throws(
      () => new SlotTable({ capacity: 4, keyWords: 1, lists: 2, k0: 1, k1: 2, ...wrong }),
      /must be an integer/,
    )
})

it.run()
