import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { beats } from '../../../src/ownership/claims.ts'
import { countOf, evenOut, inOrder, takers } from '../../../src/ownership/placement.ts'
import { leaseMs, renewMs, silentMs } from '../../../src/ownership/settings.ts'
import { Support } from '../../../src/ownership/support.ts'
import type { Claim } from '../../../src/ownership/types.ts'
import { seeded } from '../../support/random.ts'

const it = suite('ownership/placement')
const vips = (count: number): string[] =>
  inOrder(Array.from({ length: count }, (_, i) => `10.99.${i >> 8}.${i & 255}`))
const give = (count: number, weights: Record<string, number>): Map<string, number> => {
  const places = Object.entries(weights).map(([name, weight]) => ({ name, weight }))
  const held = new Map<string, number>()
  for (const vip of vips(count)) {
    const [to] = takers(vip, places, held)
    held.set(to!, (held.get(to!) ?? 0) + 1)
  }
  return held
}

it('VIPs are given out by weight, each of two its own, and none to weight 0 while there is another', () => {
  assert.equal([...give(2, { f1: 50, f2: 50 }).values()], [1, 1])
  assert.equal(Object.fromEntries(give(60, { f1: 10, f2: 20, f3: 30 })), { f1: 10, f2: 20, f3: 30 })
  assert.equal(Object.fromEntries(give(5, { f1: 0, f2: 1 })), { f2: 5 })
  assert.equal(Object.fromEntries(give(5, { f1: 0 })), { f1: 5 })
})

it('the order in which forwarders are named, or were met, makes no difference', () => {
  const random = seeded(3)
  const places = Array.from({ length: 7 }, (_, i) => ({ name: `f${i}`, weight: 10 + i }))
  for (const vip of vips(50)) {
    const held = new Map(places.map(({ name }) => [name, Math.floor(random() * 3)]))
    const mixed = places.toSorted(() => random() - 0.5)
    assert.equal(takers(vip, mixed, held), takers(vip, places, held))
  }
})

it('evening out moves as many as weights ask for and leaves nothing to move', () => {
  const random = seeded(4)
  for (let run = 0; run < 300; run++) {
    const places = Array.from({ length: 1 + (run % 6) }, (_, i) => ({
      name: `f${i}`,
      weight: Math.floor(random() * 100),
    }))
    const holders = new Map(
      vips(run % 25).map(vip => [vip, places[Math.floor(random() * places.length)]!.name]),
    )
    const moves = evenOut(holders, places)
    for (const [vip, to] of moves) assert.is.not(holders.get(vip), to)
    const after = new Map([...holders, ...moves])
    assert.is(evenOut(after, places).size, 0)
    const held = countOf(after.values())
    for (const from of places)
      for (const to of places)
        assert.not(
          (held.get(from.name) ?? 0) > 0 &&
            ((held.get(to.name) ?? 0) + 1) / to.weight < held.get(from.name)! / from.weight,
          `${JSON.stringify([...held])} of ${JSON.stringify(places)}`,
        )
  }
  // One more forwarder of the same weight takes its share and nothing else.
  const two = new Map(vips(6).map((vip, i) => [vip, `f${i % 2}`]))
  const three = ['f0', 'f1', 'f2'].map(name => ({ name, weight: 50 }))
  assert.equal([...evenOut(two, three).values()], ['f2', 'f2'])
})

it('evening out as many VIPs as there can be looks at each forwarder some times for each that moves', () => {
  let looks = 0
  const places = Array.from({ length: 8 }, (_, i) => ({
    name: `f${i}`,
    get weight(): number {
      looks++
      return 50
    },
  }))
  const moves = evenOut(new Map(vips(1_024).map(vip => [vip, 'f0'])), places)
  assert.is(moves.size, 896)
  assert.ok(looks < 50 * moves.size * places.length, `${looks} looks`)
})

it('of two different claims of a VIP one beats the other, whoever compares, and chains have no circles', () => {
  const random = seeded(5)
  const claims = Array.from(
    { length: 60 },
    (): Claim => ({
      ...{ vip: '10.99.0.1', generation: 1 + Math.floor(random() * 3) },
      holder: ['', 'f1', 'f2', 'f3'][Math.floor(random() * 4)]!,
      ...{ ordered: random() < 0.3, death: random() < 0.3, support: Math.floor(random() * 4) },
      ...(random() < 0.3 && { brief: true }),
    }),
  )
  const same = (a: Claim, b: Claim): boolean => JSON.stringify(a) === JSON.stringify(b)
  for (const a of claims)
    for (const b of claims) {
      if (!same(a, b) && !(a.holder === '' && b.holder === ''))
        assert.is(beats(a, b), !beats(b, a), JSON.stringify([a, b]))
      for (const c of claims)
        if (beats(a, b) && beats(b, c)) assert.ok(beats(a, c) || same(a, c), JSON.stringify([a, b, c]))
    }
})

it('the kernel lets go of an address before others take the VIP, and not before the grace is over', () => {
  for (const graceMs of [0, 1_000, 30_000, 3_600_000]) {
    assert.ok(leaseMs({ graceMs }) - renewMs({ graceMs }) >= graceMs)
    // Whole seconds, and up to one more until the kernel looks.
    assert.ok(silentMs({ graceMs }) >= Math.ceil(leaseMs({ graceMs }) / 1000) * 1000 + 1000)
    assert.is(leaseMs({ graceMs }) % 1000, 0, 'the kernel counts in seconds')
    assert.ok(leaseMs({ graceMs }) >= 3 * renewMs({ graceMs }), 'one renewal that is late takes nothing away')
  }
})

it('support is the least that was seen lately', () => {
  const support = new Support(5_000)
  support.see(4, 0)
  support.see(1, 1_000)
  support.see(4, 2_000)
  assert.is(support.now(), 4)
  assert.is(support.lately(2_500), 1)
  assert.is(support.lately(6_999), 1)
  assert.is(support.lately(7_000), 4)
  support.reset(8_000)
  assert.is(support.lately(8_001), 1, 'what was seen before it stood still says nothing')
})

it.run()
