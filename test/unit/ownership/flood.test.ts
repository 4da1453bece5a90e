import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Ownership } from '../../../src/ownership/ownership.ts'
import { OWNERSHIP_TIMES } from '../../../src/ownership/settings.ts'
import { DIGEST_LENGTH, type OwnershipMessage, type Standing } from '../../../src/ownership/types.ts'

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

it.run()
