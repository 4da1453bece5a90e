/** One timer for many deadlines: it says how late it was. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Alarm } from '../../../src/gossip/alarm.ts'

const it = suite('gossip alarm')

/** The lateness that is told of an alarm set `afterMs` from now, when this process does nothing else for `busyMs`. */
const lateness = (afterMs: number, busyMs: number): Promise<number> =>
  new Promise(resolve => {
    const startMs = performance.now()
    new Alarm(resolve).notAfter(startMs + afterMs)
    while (performance.now() < startMs + busyMs);
  })

it('a process that was busy past the time hears by how much', async () => {
  assert.ok((await lateness(5, 80)) >= 75)
})

it('a time that had passed when it was asked for is no lateness of the process', async () => {
  assert.ok((await lateness(-60_000, 0)) < 60_000)
})

it.run()
