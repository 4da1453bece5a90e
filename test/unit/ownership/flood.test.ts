import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Ownership } from '../../../src/ownership/ownership.ts'
import { OWNERSHIP_TIMES } from '../../../src/ownership/settings.ts'
import {
  type Claim,
  DIGEST_LENGTH,
  MOST_CLAIMS,
  type OwnershipMessage,
  type Standing,
} from '../../../src/ownership/types.ts'

const it = suite('ownership/floods')

it('who says again and again that it knows other claims is not told of all of them each time', () => {
  const sent: { to: string; message: OwnershipMessage }[] = []
  const nothing = (): void => {}
  const port = { hold: nothing, release: nothing, renew: nothing, changed: nothing }
  const times = { ...OWNERSHIP_TIMES, graceMs: 30_000, holdMs: 60_000 }
  const core = new Ownership('f1', times, { ...port, send: (to, message) => sent.push({ to, message }) }, 0)
  const vips = Array.from({ length: 20 }, (_, i) => `10.99.0.${i}`)
  core.configure({ forwarders: ['f2', 'f3'], vips, weight: 50, times }, 0)
  for (const name of ['f2', 'f3']) {
    core.machine(name, 'alive', 0)
    core.link(name, true, 0)
  }
  const standing: Standing = {
    ...{ type: 'standing', weight: 50, ready: false, leaving: true, sees: [] },
    digest: 'x'.repeat(DIGEST_LENGTH),
  }
  core.tick(times.startMs)
  assert.is(core.held.size, vips.length)
  const toldTo = (name: string): number =>
    sent.splice(0).filter(({ to, message }) => to === name && message.type === 'claims').length
  toldTo('f2')
  for (let i = 0; i < 1_000; i++) core.receive('f2', standing, times.startMs)
  assert.is(toldTo('f2'), 16)
  assert.is(core.counters.unanswered, 984)
  core.receive('f3', standing, times.startMs)
  assert.is(toldTo('f3'), 1, 'others are')
  core.receive('f2', standing, times.startMs + 250)
  assert.is(toldTo('f2'), 1, 'and it is again')
})

/** A forwarder that holds a VIP, and what it does because of one that says the same things over and over. */
const holder = () => {
  const done = { sent: 0, held: 0 }
  const nothing = (): void => {}
  const port = { release: nothing, renew: nothing, changed: nothing }
  const times = { ...OWNERSHIP_TIMES, graceMs: 30_000, holdMs: 60_000 }
  const core = new Ownership(
    'f1',
    times,
    { ...port, send: () => void done.sent++, hold: () => void done.held++ },
    0,
  )
  core.configure({ forwarders: ['f2', 'f3'], vips: ['10.99.0.1'], weight: 50, times }, 0)
  for (const name of ['f2', 'f3']) {
    core.machine(name, 'alive', 0)
    core.link(name, true, 0)
  }
  core.tick(times.startMs)
  assert.is(core.held.size, 1)
  return { core, done, nowMs: times.startMs }
}
const MOST_AT_ONCE = 2_048

it('orders to take it again and again are followed some times a second; those of others are all the same', () => {
  const { core, done, nowMs } = holder()
  const order = (from: string, ordered: boolean, atMs: number): number => {
    const before = done.held
    const generation = core.claimOf('10.99.0.1')!.generation
    core.receive(from, { type: 'take', vip: '10.99.0.1', generation, ordered }, atMs)
    return done.held - before
  }
  let followed = 0
  for (let i = 0; i < 20_000; i++) followed += order('f2', i % 2 === 0, nowMs)
  assert.is(followed, MOST_AT_ONCE)
  assert.is(core.counters.over_rate, 20_000 - MOST_AT_ONCE)
  const now = core.claimOf('10.99.0.1')!.ordered
  assert.is(order('f3', !now, nowMs), 1)
  assert.is(order('f2', now, nowMs + 1_000), 1, 'and its own again later')
})

it('claims that it has to answer are answered some times a second, and then made up for', () => {
  const { core, done, nowMs } = holder()
  core.seen(9, 0)
  core.seen(9, nowMs)
  done.sent = 0
  const claims = (): Claim[] => {
    const { generation } = core.claimOf('10.99.0.1')!
    return Array.from({ length: MOST_CLAIMS }, (_, i) => ({
      ...{ vip: '10.99.0.1', generation: generation + 2 * i + 1, holder: 'f2' },
      ...{ ordered: false, death: true, support: 1 },
    }))
  }
  for (let i = 0; i < 100; i++) core.receive('f2', { type: 'claims', claims: claims() }, nowMs)
  assert.ok(core.counters.contested > 1_000, 'they were answered')
  assert.ok(done.held < 2 * MOST_AT_ONCE && done.sent < 6 * MOST_AT_ONCE, JSON.stringify(done))
  const [last] = claims()
  core.receive('f2', { type: 'claims', claims: [{ ...last!, death: false }] }, nowMs + 1_000)
  assert.is(core.claimOf('10.99.0.1')!.holder, 'f2', 'a later one counts')
})

it.run()
