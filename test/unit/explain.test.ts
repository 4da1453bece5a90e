import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Explanation } from '../../src/agent/classify/explain.ts'
import { HealthAllotment } from '../../src/agent/classify/health-allotment.ts'
import type { AllotmentUpdate, ServiceAllotment } from '../../src/agent/classify/update.ts'
import type { DirectiveState } from '../../src/health/types.ts'
import { directory } from '../support/cores.ts'

const it = suite('why a host is chosen')

const start = () => {
  const index = directory()
  const allotment = new HealthAllotment(index, 1, 2)
  const service = index.serviceAt(0)!
  allotment.turn(0)
  const key = (client: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, client, 0, 0, 0xffff, 9, 80, 6)
  return {
    ...{ index, allotment, service },
    choose: (client: number): number => allotment.choose(service, key(client), 0, true),
    explain: (client: number): Explanation => allotment.explain(service, key(client), 0),
  }
}

let numbers = 0
const update = (
  shares: Record<number, number>,
  change: Partial<ServiceAllotment['allotment']> = {},
  states: Record<number, DirectiveState> = {},
  leases: Record<number, number> = { 1: 9000, 2: 9000, 3: 9000 },
): AllotmentUpdate => ({
  services: [
    {
      index: 0,
      allotment: {
        ...{ number: ++numbers, scheme: 'hash', strategy: 'round-robin', untilMs: 5000, panic: false },
        shares: Object.entries(shares).map(([host, weight]) => ({ host: Number(host), weight, tokens: 3 })),
        ...change,
      },
      states: Object.entries(states).map(([host, state]) => ({ host: Number(host), state, weight: 50 })),
    },
  ],
  leases: Object.entries(leases).map(([host, untilMs]) => ({ host: Number(host), untilMs })),
  complete: true,
})

it('before the first allotment: by capacity', () => {
  const { choose, explain } = start()
  for (let client = 0; client < 50; client++) {
    const { by, chosen } = explain(client)
    assert.equal([by, chosen], ['capacity', choose(client)])
  }
})

for (const scheme of ['hash', 'percentages', 'tokens'] as const)
  for (const strategy of ['round-robin', 'most-tokens-first', 'linear'] as const)
    it(`${scheme}, ${strategy}: what is told is what is chosen next, however often one asks`, () => {
      const { allotment, choose, explain } = start()
      allotment.take(update({ 1: 1, 2: 2, 3: 4 }, { scheme, strategy }))
      for (let client = 0; client < 9; client++) {
        const before = { ...allotment.counters }
        const told = [explain(client), explain(client), explain(client)]
        assert.equal(allotment.counters, before, 'asking is not counted')
        assert.is(allotment.takeWanted().length === 0 || client > 0, true)
        const chosen = choose(client)
        for (const { by, chosen: foretold } of told)
          assert.equal([by, foretold], [scheme, chosen], `client ${client}`)
      }
    })

it('what is left out, and why', () => {
  const { index, allotment, explain } = start()
  allotment.take(update({ 1: 1 }, {}, { 2: 'draining', 3: 'inactive' }, { 1: 9000, 2: 9000, 3: 0 }))
  const told = (): unknown[] =>
    explain(1).candidates.map(({ host, percent, leftOut }) => [host, percent, leftOut])
  assert.equal(told(), [
    [1, 100, []],
    [2, 0, ['draining', 'no share']],
    [3, 0, ['inactive', 'lease over', 'no share']],
  ])
  index.host(1)!.live = false
  assert.equal(told()[0], [1, 100, ['dead']])
  assert.is(explain(1).chosen, 0)
  index.host(1)!.live = true
  index.host(1)!.draining = true
  assert.equal(told()[0], [1, 100, ['draining']])
})

it('the last resort counts: a host whose share is there in spite of its directive', () => {
  const { allotment, explain } = start()
  allotment.take(update({ 1: 1 }, { panic: true }, { 1: 'draining' }))
  assert.equal(explain(1).candidates[0]?.leftOut, [])
  assert.is(explain(1).chosen, 1)
})

it('an allotment that is over goes on by its shares; a lease without an end has none', () => {
  const { allotment, choose, explain } = start()
  allotment.take(update({ 1: 1, 2: 1 }, { scheme: 'tokens' }, {}, { 1: 90_000, 2: Number.POSITIVE_INFINITY }))
  allotment.turn(6000)
  const { by, chosen, candidates } = explain(3)
  assert.equal([by, chosen], ['stale', choose(3)])
  assert.equal(
    candidates.map(({ leaseMs }) => leaseMs),
    [84_000, Number.POSITIVE_INFINITY, -6000],
  )
})

it('nothing allotted: nobody', () => {
  const { allotment, explain } = start()
  allotment.take({ services: [], leases: [], complete: true })
  assert.equal([explain(1).by, explain(1).chosen], ['nothing', 0])
})

it.run()
