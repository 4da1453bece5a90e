import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Allotment, Handler, type ServiceChoice } from '../../../src/health/allotment/handler.ts'
import type { Candidate } from '../../../src/health/allotment/shares.ts'
import type { Row } from '../../../src/health/types.ts'

const it = suite('allotment handler')

const app = {
  vip: '10.99.0.1',
  port: 80,
  physical: '10.10.0.71',
  physicalPort: 80,
  protocol: 'tcp',
  specific: '',
} as const
const candidate = (host: string, change: Partial<Row> = {}, rest: Partial<Candidate> = {}): Candidate => ({
  host,
  row: {
    id: 1,
    app,
    health: 'healthy',
    load: 0,
    capacity: 50,
    target: 'active',
    current: 'active',
    cause: 'default',
    ...change,
  },
  leaseUntilMs: 3000,
  alive: true,
  upSinceMs: Number.NEGATIVE_INFINITY,
  ...rest,
})
const choice = (change: Partial<ServiceChoice> = {}): ServiceChoice => ({
  scheme: 'hash',
  strategy: 'round-robin',
  tokens: undefined,
  duration: 5000,
  slowStartMs: 0,
  ...change,
})
const handler = (change: Partial<ServiceChoice> = {}): Handler => {
  const made = new Handler()
  made.configure(new Map([['web', choice(change)]]))
  return made
}
const hosts = (allotment: Allotment | null | undefined): string[] =>
  (allotment?.shares ?? []).map(share => share.host)

it('the first answer comes at once, even when there is no host', () => {
  const made = handler()
  const first = made.offer('web', [], 0)!
  assert.equal([first.number, hosts(first), first.untilMs], [1, [], 5000])
  assert.is(made.offer('web', [], 1), null)
  assert.is(made.offer('mail', [], 1), null)
  assert.is(made.request('mail', 1), null)
})

it('another answer when a share has changed by a percent point, a host came, or a state changed', () => {
  const made = handler()
  made.offer('web', [candidate('a'), candidate('b')], 0)
  assert.is(made.offer('web', [candidate('a', { load: 2 }), candidate('b')], 1), null)
  // Small steps add up: it compares with what classifiers have, not with the last offer.
  assert.is.not(made.offer('web', [candidate('a', { load: 4 }), candidate('b')], 2), null)
  assert.is(made.offer('web', [candidate('a', { load: 4 }), candidate('b')], 3), null)
  const three = [candidate('a', { load: 4 }), candidate('b'), candidate('c')]
  assert.equal(hosts(made.offer('web', three, 4)), ['a', 'b', 'c'])
  const order = { target: 'draining', cause: 'order' } as const
  const drained = made.offer('web', [three[0], three[1], candidate('c', order)], 5)
  assert.equal(hosts(drained), ['a', 'b'])
  assert.is(drained!.states[2].state, 'draining')
  const off = candidate('c', { target: 'inactive', cause: 'order' })
  const inactive = made.offer('web', [three[0], three[1], off], 6)
  assert.equal(hosts(inactive), ['a', 'b'])
  assert.is(inactive!.states[2].state, 'inactive')
  assert.equal(inactive!.number, 5)
})

it('all unhealthy: counted, and their flows go on', () => {
  const made = handler()
  const failing = { health: 'failing', cause: 'health', target: 'inactive', current: 'inactive' } as const
  const all = made.offer('web', [candidate('a', failing), candidate('b', failing)], 0)!
  assert.ok(all.panic)
  assert.equal(
    all.states.map(({ state }) => state),
    ['active', 'active'],
  )
  assert.is(made.counters.allotment_panic, 1)
  const one = made.offer('web', [candidate('a', failing), candidate('b')], 1)!
  assert.not(one.panic)
  assert.equal(
    one.states.map(({ state }) => state),
    ['inactive', 'active'],
  )
})

it('tells whose slow start goes on, and how long, as long as others get connections too', () => {
  const made = handler({ slowStartMs: 1_000 })
  const slow = (nowMs: number) => [...made.slowStarts('web', nowMs)]
  assert.equal(slow(0), [])
  const [old, fresh] = [candidate('a', {}, { upSinceMs: 0 }), candidate('b', {}, { upSinceMs: 1_000 })]
  made.offer('web', [old, fresh], 1_000)
  assert.equal(slow(1_400), [['b', 600]])
  assert.equal(slow(2_000), [])
  const drained = candidate(
    'a',
    { target: 'draining', cause: 'order' },
    { upSinceMs: Number.POSITIVE_INFINITY },
  )
  made.offer('web', [drained, fresh], 1_500)
  assert.equal(slow(1_500), [], 'it gets all of it')
  assert.equal([...made.slowStarts('dns', 1_500)], [])
})

it('tokens: as many as the service says, the classifier says, or the handler finds', () => {
  const made = handler({ scheme: 'tokens', tokens: 20 })
  const tokens = (allotment: Allotment | null): number[] => allotment!.shares.map(share => share.tokens)
  assert.equal(tokens(made.offer('web', [candidate('a'), candidate('b', { load: 50 })], 0)), [13, 7])
  assert.equal(tokens(made.request('web', 1, 30)), [20, 10])
  assert.equal(tokens(made.request('web', 2, 1)), [7, 3])
  assert.is(made.counters.allotment_wanted, 2)
  const own = handler({ scheme: 'tokens' })
  assert.equal(tokens(own.offer('web', [candidate('a'), candidate('b')], 0)), [50, 50])
  assert.equal(tokens(own.request('web', 100)), [100, 100])
})

it('a lease that is renewed changes nothing; one that ends takes the host out', () => {
  const made = handler()
  made.offer('web', [candidate('a'), candidate('b')], 0)
  assert.is(made.wakeAtMs, 3000)
  assert.equal(made.lease('a', 4000, 1000), new Map())
  assert.equal(hosts(made.tick(3000).get('web')), ['a'])
  assert.is(made.wakeAtMs, 4000)
  assert.equal(hosts(made.lease('b', 6000, 3500).get('web')), ['a', 'b'])
  assert.equal(hosts(made.lease('a', 0, 3600).get('web')), ['b'])
  assert.equal(hosts(made.tick(6000).get('web')), [])
  assert.is(made.wakeAtMs, Number.POSITIVE_INFINITY)
})

it('a slow start comes in steps', () => {
  const made = handler({ slowStartMs: 1000 })
  const share = (allotment: Allotment | null | undefined): number => {
    const [a, b] = allotment!.shares
    return Math.round((a.weight / (a.weight + b.weight)) * 100)
  }
  const seen = [share(made.offer('web', [candidate('a', {}, { upSinceMs: 0 }), candidate('b')], 0))]
  while (made.wakeAtMs < 2000) seen.push(share(made.tick(made.wakeAtMs).get('web')))
  assert.equal(seen, [9, 25, 35, 44, 50])
})

it('another choice takes effect with the next offer; a service that went is forgotten', () => {
  const made = handler()
  made.offer('web', [candidate('a')], 0)
  made.configure(new Map([['web', choice({ scheme: 'percentages' })]]))
  assert.is(made.offer('web', [candidate('a')], 1)?.scheme, 'percentages')
  made.configure(new Map([['web', choice({ scheme: 'percentages' })]]))
  assert.is(made.offer('web', [candidate('a')], 2), null)
  made.configure(new Map())
  assert.is(made.offer('web', [candidate('a')], 3), null)
  assert.is(made.allotments().size, 0)
})

it.run()
