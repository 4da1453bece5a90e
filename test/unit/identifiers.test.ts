import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { halfSipHash13 } from '../../src/agent/dataplane/half-siphash.ts'
import { IdentifierAllocator } from '../../src/agent/dataplane/identifiers.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'

const it = suite('identifiers')

const make = (capacity: number, quarantineMs = 1000, maxProbes?: number): IdentifierAllocator =>
  new IdentifierAllocator({
    capacity,
    quarantineMs,
    k0: 11,
    k1: 22,
    ...(maxProbes === undefined ? {} : { maxProbes }),
  })

const PORTS = ((40000 << 16) | 80) >>> 0

/** Neutrality by its definition: the ones-complement sums of the two pairs are the same. */
function neutral(identifier: number, ports: number): boolean {
  const sum = (word: number): number => {
    const plain = Math.floor(word / 65536) + (word % 65536)
    const folded = plain > 65535 ? plain - 65535 : plain
    return folded % 65535
  }
  return sum(identifier) === sum(ports)
}

it('has the host index on top, a destination port, and is neutral, for any ports', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 255 }),
      fc.nat(0xffff),
      fc.nat(0xffff),
      (host, source, destination) => {
        const ports = ((source << 16) | destination) >>> 0
        const ids = make(8)
        for (let i = 0; i < 8; i++) {
          const id = ids.allocate(host, ports, i, 0)
          assert.is(id >>> 24, host)
          assert.is.not(id & 0xffff, 0)
          assert.ok(neutral(id, ports))
          assert.ok(ids.isNeutral(id, ports))
        }
        assert.is(ids.nonNeutral, 0)
      },
    ),
    { numRuns: 500 },
  )
})

it('knows neutral from other identifiers', () => {
  const ids = make(1)
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.integer({ min: 0, max: 0xffffffff }),
      (id, ports) => {
        assert.is(ids.isNeutral(id, ports), neutral(id, ports))
      },
    ),
  )
  assert.ok(ids.isNeutral(0xffff0000, 0))
  assert.ok(ids.isNeutral(0x05000a00, 0x0a000500))
  assert.not(ids.isNeutral(0x05000a00, 0x0a000501))
})

it('gives all 256 neutral ones of a port sum, then others of the same host', () => {
  const ids = make(1000)
  const seen = new Set<number>()
  for (let i = 0; i < 1000; i++) {
    const id = ids.allocate(9, PORTS, i, 0)
    assert.is(id >>> 24, 9)
    assert.is(neutral(id, PORTS), i < 256, `allocation ${i}`)
    seen.add(id)
  }
  assert.is(seen.size, 1000)
  assert.is(ids.nonNeutral, 744)
  assert.is(ids.inUse, 1000)
  // Another host, or another port sum, has its own class.
  assert.is(ids.allocate(9, PORTS, 0, 0), 0)
  assert.is(ids.exhausted, 1)
})

it('the low half is never 0, in the neutral class and outside of it', () => {
  // The neutral class of this port sum holds one whose low half is a multiple of 65535.
  const ports = (0x0900 << 16) | 0x50
  // A hash key with which the search outside of the class, at the 257th allocation, starts at a low half of 0.
  let k0 = 0
  while ((halfSipHash13(k0, 0, Uint32Array.of(ports, 9, 257), 0, 3) & 0xffff) !== 0) k0++
  const ids = new IdentifierAllocator({ capacity: 300, quarantineMs: 0, k0, k1: 0 })
  let full = 0
  for (let i = 0; i < 257; i++) {
    const id = ids.allocate(9, ports, i, 0)
    assert.is.not(id & 0xffff, 0)
    if ((id & 0xffff) === 0xffff) full++
    assert.is(neutral(id, ports), i < 256)
  }
  assert.ok(full > 0)
})

it('another host index and another port sum have classes of their own', () => {
  const ids = make(2000)
  for (let i = 0; i < 256; i++) ids.allocate(9, PORTS, i, 0)
  assert.ok(neutral(ids.allocate(10, PORTS, 0, 0), PORTS))
  assert.ok(neutral(ids.allocate(9, PORTS + 1, 0, 0), PORTS + 1))
  assert.not(neutral(ids.allocate(9, PORTS, 0, 0), PORTS))
})

it('choices of equal flows cannot be foretold from the one before', () => {
  const ids = make(200)
  const steps = new Set<number>()
  let before = 0
  for (let i = 0; i < 200; i++) {
    const middle = (ids.allocate(1, PORTS, i, 0) >>> 16) & 0xff
    steps.add((middle - before) & 0xff)
    before = middle
  }
  assert.ok(steps.size > 60, `${steps.size} different steps`)
})

it('keeps, changes and forgets owners', () => {
  const ids = make(4)
  const id = ids.allocate(1, PORTS, 77, 0)
  assert.is(ids.owner(id), 77)
  assert.ok(ids.rehome(id, 78))
  assert.is(ids.owner(id), 78)
  assert.ok(ids.free(id, 5, true))
  assert.is(ids.owner(id), -1)
  assert.not(ids.rehome(id, 79))
  assert.not(ids.free(id, 6, true))
  assert.not(ids.free(0, 6, true))
  assert.is(ids.owner(0), -1)
  assert.equal([ids.inUse, ids.quarantined], [0, 1])
})

it('fails rather than reuse early, and counts it', () => {
  const ids = make(2, 1000)
  const a = ids.allocate(1, PORTS, 0, 0)
  const b = ids.allocate(1, PORTS, 1, 0)
  ids.free(a, 100, true)
  assert.is(ids.allocate(1, PORTS, 2, 1099), 0)
  assert.is(ids.exhausted, 1)
  assert.is.not(ids.allocate(1, PORTS, 2, 1100), 0)
  ids.free(b, 1100, false)
  assert.is.not(ids.allocate(1, PORTS, 3, 1100), 0)
  assert.is(ids.exhausted, 1)
})

it('with few probes it gives up and says so', () => {
  const ids = make(100000, 0, 1)
  for (let i = 0; i < 2000; i++) ids.allocate(1, PORTS, i, 0)
  assert.is(ids.inUse + ids.exhausted, 2000)
  assert.ok(ids.nonNeutral > 1700)
})

it('expires in order and no more than asked', () => {
  const ids = make(10, 100)
  const all = Array.from({ length: 5 }, (_, i) => ids.allocate(1, PORTS, i, 0))
  all.forEach((id, i) => {
    ids.free(id, i * 10, true)
  })
  assert.is(ids.expire(99, 10), 0)
  assert.is(ids.expire(130, 2), 2)
  assert.is(ids.expire(130, 10), 2)
  assert.is(ids.expire(130, 10), 0)
  assert.is(ids.quarantined, 1)
})

it('refuses an impossible host index', () => {
  for (const host of [0, -1, 256, Number.NaN])
    assert.throws(() => make(1).allocate(host, PORTS, 0, 0), /host index/)
})

for (const seed of runSeeds())
  it(`equals its twin over a long run, seed ${seed}`, () => {
    const pick = integers(seeded(seed))
    const quarantineMs = 500
    const capacity = 400
    const ids = make(capacity, quarantineMs)
    const used = new Map<number, number>()
    /** Identifier -> time from which it may be used again. */
    const resting = new Map<number, number>()
    let nowMs = 0
    let failures = 0
    let reused = 0
    for (let step = 0; step < 25000; step++) {
      nowMs += pick(3)
      const known = [...used.keys()]
      const choice = pick(10)
      // Tides, so that the table is at times full.
      if (choice < (Math.floor(step / 4000) % 2 === 0 ? 6 : 3)) {
        // Few ports and hosts, so that classes are exhausted and the same identifiers come again.
        const host = 1 + pick(2)
        const ports = ((40000 + pick(2)) * 65536 + 80) >>> 0
        const id = ids.allocate(host, ports, step, nowMs)
        if (id === 0) {
          failures++
          const stillResting = [...resting.values()].filter(until => until > nowMs).length
          assert.ok(used.size + stillResting >= capacity - 2, `step ${step}: failed with room`)
          continue
        }
        assert.not(used.has(id), `step ${step}: given twice`)
        assert.ok((resting.get(id) ?? 0) <= nowMs, `step ${step}: reused in quarantine`)
        if (resting.delete(id)) reused++
        assert.is(id >>> 24, host)
        used.set(id, step)
      } else if (choice < 8 && known.length > 0) {
        const id = known[pick(known.length)]
        const quarantine = pick(4) > 0
        assert.ok(ids.free(id, nowMs, quarantine))
        used.delete(id)
        if (quarantine) resting.set(id, nowMs + quarantineMs)
      } else if (choice === 8 && known.length > 0) {
        const id = known[pick(known.length)]
        assert.ok(ids.rehome(id, step))
        used.set(id, step)
      } else {
        ids.expire(nowMs, pick(20))
      }
      assert.is(ids.inUse, used.size)
      assert.ok(ids.inUse + ids.quarantined <= capacity)
      if (step % 200 === 0) {
        for (const [id, owner] of used) assert.is(ids.owner(id), owner)
        for (const id of resting.keys()) assert.is(ids.owner(id), -1)
      }
    }
    assert.is(ids.exhausted, failures)
    assert.ok(failures > 0, 'the run must reach the limit')
    assert.ok(reused > 0, 'the run must use identifiers again')
  })

it.run()
