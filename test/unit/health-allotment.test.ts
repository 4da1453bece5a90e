import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CapacityAllotment } from '../../src/agent/classify/allotment.ts'
import { HealthAllotment } from '../../src/agent/classify/health-allotment.ts'
import {
  type AllotmentUpdate,
  allotmentUpdate,
  leasesOf,
  type ServiceAllotment,
} from '../../src/agent/classify/update.ts'
import type { Allotment } from '../../src/health/allotment/handler.ts'
import type { DirectiveState } from '../../src/health/types.ts'
import { directory } from '../support/cores.ts'

const it = suite('allotment of the data plane (R-B10)')

const start = () => {
  const index = directory()
  const allotment = new HealthAllotment(index, 1, 2)
  const service = index.serviceAt(0)!
  allotment.turn(0)
  const key = (client: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, client, 0, 0, 0xffff, 9, 80, 6)
  const choose = (client: number, opens = true): number => allotment.choose(service, key(client), 0, opens)
  /** How often each host is chosen, of a hundred; [0] is nobody. */
  const spread = (opens = true): number[] => {
    const counts = [0, 0, 0, 0]
    for (let client = 0; client < 100; client++) counts[choose(client, opens)]!++
    return counts
  }
  return { index, allotment, service, key, choose, spread }
}

interface Given {
  shares: Record<number, number>
  tokens?: Record<number, number>
  states?: Record<number, DirectiveState>
  leases?: Record<number, number>
  change?: Partial<ServiceAllotment['allotment']>
}
let numbers = 0
const update = (
  { shares, tokens = {}, states = {}, leases, change }: Given,
  complete = false,
): AllotmentUpdate => ({
  services: [
    {
      index: 0,
      allotment: {
        ...{ number: ++numbers, scheme: 'hash', strategy: 'round-robin', untilMs: 5000, panic: false },
        shares: Object.entries(shares).map(([host, weight]) => ({
          host: Number(host),
          weight,
          tokens: tokens[Number(host)] ?? 0,
        })),
        ...change,
      },
      states: Object.entries(states).map(([host, state]) => ({ host: Number(host), state, weight: 50 })),
    },
  ],
  leases: Object.entries(leases ?? { 1: 9000, 2: 9000, 3: 9000 }).map(([host, untilMs]) => ({
    host: Number(host),
    untilMs,
  })),
  complete,
})

it('until the first allotment: as configured', () => {
  const { index, service, choose, key } = start()
  const before = new CapacityAllotment(index, 1, 2)
  for (let client = 0; client < 50; client++)
    assert.is(choose(client), before.choose(service, key(client), 0))
  assert.ok(index.takesNew(service, index.host(1)!))
  assert.not(index.isInactive(0, 1))
})

it('hash: equal weights choose as configured capacity does, so that flows stay where they are', () => {
  const { index, service, allotment, choose, key } = start()
  const before = new CapacityAllotment(index, 1, 2)
  allotment.take(update({ shares: { 1: 7, 2: 7, 3: 7 } }))
  for (let client = 0; client < 50; client++)
    assert.is(choose(client), before.choose(service, key(client), 0))
})

it('hash: by weight; who has no share, no lease, is not alive or drains gets nothing', () => {
  const { index, allotment, spread, service } = start()
  allotment.take(update({ shares: { 1: 10, 2: 30 } }))
  const [none, first, second, third] = spread()
  assert.equal([none, third], [0, 0])
  assert.ok(second! > 2 * first! && first! > 10, `${first} and ${second}`)
  assert.not(index.takesNew(service, index.host(3)!))
  allotment.renew([{ host: 2, untilMs: 0 }])
  assert.equal(spread(), [0, 100, 0, 0])
  assert.not(index.takesNew(service, index.host(2)!))
  allotment.renew([{ host: 2, untilMs: 9000 }])
  assert.ok(index.takesNew(service, index.host(2)!))
  index.host(1)!.live = false
  assert.equal(spread(), [0, 0, 100, 0])
  index.host(2)!.draining = true
  assert.equal(spread(), [100, 0, 0, 0])
})

it('a lease ends by time alone', () => {
  const { allotment, spread } = start()
  allotment.take(update({ shares: { 1: 1, 2: 1 }, leases: { 1: 1000, 2: 2000 } }))
  allotment.turn(1000)
  assert.equal(spread(), [0, 0, 100, 0])
  allotment.turn(2000)
  assert.equal(spread(), [100, 0, 0, 0])
})

it('a machine that was suspended chooses nobody until leases are told again', () => {
  const { allotment, spread, index, service } = start()
  allotment.take(update({ shares: { 1: 1, 2: 1 } }))
  allotment.stoodStill()
  assert.equal(spread(), [100, 0, 0, 0])
  assert.not(index.takesNew(service, index.host(1)!))
  assert.is.not(spread(false)[1], 0, 'flows stay where they are')
  allotment.renew([{ host: 2, untilMs: 9000 }])
  assert.equal(spread(), [0, 0, 100, 0])
})

it('a suspension ends no lease that nobody renews: of a host whose agent knows none', () => {
  const { allotment, spread } = start()
  const leases = { 1: 9000, 2: Number.POSITIVE_INFINITY }
  allotment.take(update({ shares: { 1: 1, 2: 1 }, leases }))
  allotment.stoodStill()
  assert.equal(spread(), [0, 0, 100, 0])
})

it('tokens are used up, asked for in time, and then it goes on by hash', () => {
  const { allotment, choose } = start()
  const change = { scheme: 'tokens' } as const
  allotment.take(update({ shares: { 1: 3, 2: 1 }, tokens: { 1: 6, 2: 2 }, change }))
  const chosen = Array.from({ length: 5 }, (_, client) => choose(client))
  assert.equal(chosen, [1, 2, 1, 2, 1])
  assert.equal(allotment.takeWanted(), [])
  choose(5)
  assert.equal(allotment.takeWanted(), [0])
  assert.equal([choose(6), choose(7)], [1, 1])
  assert.is(allotment.counters.allotment_stale, 0)
  assert.equal(allotment.takeWanted(), [], 'not asked again at once')
  const late = Array.from({ length: 40 }, (_, client) => choose(100 + client))
  assert.is(allotment.counters.allotment_stale, 40)
  assert.equal([...new Set(late)].sort(), [1, 2])
  assert.equal(
    late,
    Array.from({ length: 40 }, (_, client) => choose(100 + client)),
    'the same for the same flow',
  )
  allotment.turn(250)
  choose(1)
  assert.equal(allotment.takeWanted(), [0], 'a silent handler is asked again')
  allotment.take(update({ shares: { 1: 3, 2: 1 }, tokens: { 1: 3, 2: 1 }, change }))
  const { allotment_stale: before } = allotment.counters
  assert.equal(Array.from({ length: 4 }, () => choose(1)).sort(), [1, 1, 1, 2])
  assert.is(allotment.counters.allotment_stale, before)
})

it('the same allotment told again gives no tokens back', () => {
  const { allotment, choose } = start()
  const change = { scheme: 'tokens', number: 77 } as const
  const told = update({ shares: { 1: 1 }, tokens: { 1: 2 }, change })
  allotment.take(told)
  choose(1)
  choose(2)
  allotment.take(told)
  choose(3)
  assert.is(allotment.counters.allotment_stale, 1)
  assert.is(allotment.counters.allotments, 1)
})

it('tokens whose time is over are not used', () => {
  const { allotment, choose } = start()
  const change = { scheme: 'tokens', strategy: 'linear', untilMs: 1000 } as const
  allotment.take(update({ shares: { 1: 1, 2: 1 }, tokens: { 1: 100, 2: 100 }, change }))
  allotment.turn(999)
  assert.is(choose(1), 1)
  allotment.turn(1000)
  const chosen = Array.from({ length: 40 }, (_, client) => choose(client))
  assert.equal([...new Set(chosen)].sort(), [1, 2], 'by hash, not the first host only')
  assert.is(allotment.counters.allotment_stale, 40)
})

it('stale allotments end with the leases', () => {
  const { allotment, choose } = start()
  allotment.take(
    update({ shares: { 1: 1 }, leases: { 1: 2000 }, change: { scheme: 'percentages', untilMs: 1000 } }),
  )
  allotment.turn(1500)
  assert.is(choose(1), 1)
  allotment.turn(2000)
  assert.is(choose(1), 0)
  assert.is(allotment.counters.allotment_stale, 1)
})

it('percentages follow the running record, whatever the flows', () => {
  const { allotment, choose } = start()
  allotment.take(update({ shares: { 1: 75, 2: 25 }, change: { scheme: 'percentages' } }))
  const chosen = Array.from({ length: 100 }, () => choose(1))
  assert.is(chosen.filter(host => host === 1).length, 75)
})

it('asks ahead of the end of an allotment, connections or not', () => {
  const { allotment } = start()
  allotment.take(update({ shares: { 1: 1 } }))
  allotment.turn(3999)
  allotment.tick()
  assert.equal(allotment.takeWanted(), [])
  allotment.turn(4000)
  allotment.tick()
  allotment.tick()
  assert.equal(allotment.takeWanted(), [0])
  assert.is(allotment.counters.allotment_wanted, 1)
})

it('packets of flows that nobody knows go where their flow may be: not to inactive hosts, and without using tokens', () => {
  const { allotment, spread, index } = start()
  const states = { 1: 'active', 2: 'draining', 3: 'inactive' } as const
  const change = { scheme: 'tokens' } as const
  allotment.take(update({ shares: { 1: 1 }, tokens: { 1: 1 }, states, leases: {}, change }))
  const [none, first, second, third] = spread(false)
  assert.equal([none, third], [0, 0])
  assert.ok(first! > 30 && second! > 30)
  assert.ok(index.isInactive(0, 3) && !index.isInactive(0, 2))
  // Nothing is known of the hosts: their agents may be gone, their applications not.
  allotment.take(update({ shares: {}, leases: {}, change }))
  assert.ok(
    spread(false)
      .slice(1)
      .every(count => count > 20),
  )
  assert.equal(spread(), [100, 0, 0, 0])
  assert.is(allotment.counters.allotment_stale, 0)
})

it('a service that a complete update does not list has no hosts, and a later one leaves others alone', () => {
  const { allotment, spread, index, service } = start()
  allotment.take({ services: [], leases: [], complete: false })
  assert.is(spread()[0], 0)
  assert.ok(index.takesNew(service, index.host(1)!))
  allotment.take(update({ shares: { 1: 1 }, states: { 2: 'inactive' } }, true))
  allotment.take({ services: [], leases: [], complete: false })
  assert.equal(spread(), [0, 100, 0, 0])
  allotment.take({ services: [], leases: [], complete: true })
  assert.equal(spread(), [100, 0, 0, 0])
  assert.not(index.takesNew(service, index.host(1)!))
  assert.not(index.isInactive(0, 2))
})

it('another directory: hosts that left the service or the cluster get nothing, nor does what takes their index', () => {
  const { allotment, spread, index } = start()
  allotment.take(update({ shares: { 1: 1, 2: 1, 3: 1 }, states: { 3: 'inactive' } }))
  const old = index.directory
  const [service] = old.services
  index.replace({ ...old, services: [{ ...service!, hosts: service!.hosts.slice(1) }] })
  allotment.reconfigured()
  assert.equal(spread().slice(0, 2), [0, 0])
  index.replace({ ...old, hosts: old.hosts.slice(0, 2) })
  allotment.reconfigured()
  assert.is(spread()[3], 0)
  index.replace({ ...old, hosts: [...old.hosts.slice(0, 2), { ...old.hosts[2]!, name: 'h9' }] })
  allotment.reconfigured()
  assert.is(spread()[3], 0)
  assert.not(index.isInactive(0, 3))
  index.replace({ ...old, services: [] })
  allotment.reconfigured()
  index.replace(old)
  allotment.reconfigured()
  assert.is(spread()[0], 0, 'as before the first allotment')
})

it('names become indexes; hosts that are not in the service or the directory are left out', () => {
  const { directory: known } = directory()
  const [service] = known.services
  const two = { ...known, services: [{ ...service!, hosts: service!.hosts.slice(0, 2) }] }
  const share = (host: string) => ({ host, weight: 5, tokens: 3, leaseUntilMs: 70 })
  const given: Allotment = {
    ...{ number: 4, scheme: 'tokens', strategy: 'linear', untilMs: 9, panic: true, overload: false },
    shares: ['h1', 'h3', 'liar'].map(share),
    states: ['h2', 'h3', 'liar'].map(host => ({ host, state: 'draining', weight: 2 })),
  }
  const made = allotmentUpdate(
    two,
    new Map([
      ['web', given],
      ['other', given],
    ]),
    true,
  )
  assert.equal(made, {
    services: [
      {
        index: 0,
        allotment: {
          ...{ number: 4, scheme: 'tokens', strategy: 'linear', untilMs: 9, panic: true },
          shares: [{ host: 1, weight: 5, tokens: 3 }],
        },
        states: [{ host: 2, state: 'draining', weight: 2 }],
      },
    ],
    leases: [{ host: 1, untilMs: 70 }],
    complete: true,
  })
  assert.equal(
    leasesOf(
      two,
      new Map([
        ['h3', 5],
        ['liar', 6],
      ]),
    ),
    [{ host: 3, untilMs: 5 }],
  )
  const moved = { ...known.hosts[0]!, index: 9, leaving: true }
  const both = { ...known, hosts: [...known.hosts, moved] }
  assert.equal(leasesOf(both, new Map([['h1', 5]])), [{ host: 1, untilMs: 5 }], 'not the one that leaves')
})

it('performance.now() is one clock in all threads: leases cross from one to the other', async () => {
  const code = "require('node:worker_threads').parentPort.postMessage(performance.now())"
  const before = performance.now()
  const worker = new Worker(code, { eval: true })
  const there = await new Promise<number>(resolve => worker.on('message', resolve))
  await worker.terminate()
  assert.ok(before <= there && there <= performance.now(), `${before} ${there} ${performance.now()}`)
})

it('a host was heard of once it was alive with row and lease, also when its application is gone later', () => {
  const { index, allotment } = start()
  const [host] = [index.host(2)!]
  assert.not(allotment.isHeard(0, 2))
  host.live = false
  allotment.take(
    update({ shares: { 1: 50, 2: 50 }, states: { 1: 'active', 2: 'active' }, leases: { 1: 9000 } }),
  )
  assert.equal([allotment.isHeard(0, 1), allotment.isHeard(0, 2)], [true, false], 'no lease yet')
  allotment.renew([{ host: 2, untilMs: 9000 }])
  assert.not(allotment.isHeard(0, 2), 'no answer of its machine yet')
  host.live = true
  allotment.renew([{ host: 2, untilMs: 9500 }])
  allotment.take(update({ shares: { 1: 50 }, states: { 1: 'active' } }, true))
  host.live = false
  assert.ok(allotment.isHeard(0, 2))
  assert.not(allotment.isHeard(0, 3))
})

it.run()
