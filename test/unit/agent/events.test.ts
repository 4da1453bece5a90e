import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventLog } from '../../../src/agent/events.ts'
import type { EventRow } from '../../../src/control/types.ts'

const it = suite('agent/events')
const AT = Date.parse('2026-03-02T09:30:00.000Z')
const fill = (log: EventLog, events: number): void => {
  for (let i = 1; i <= events; i++) log.add('agent.up', 'info', 'h1', `event ${i}`)
}

it('numbers and dates what it is told', () => {
  const log = new EventLog(10, () => AT)
  log.add('node.dead', 'error', 'h2', 'the machine h2 does not answer')
  assert.equal(log.query({ after: 0, limit: 10 }), {
    last: 1,
    missed: false,
    events: [
      {
        sequence: 1,
        time: '2026-03-02T09:30:00.000Z',
        kind: 'node.dead',
        severity: 'error',
        subject: 'h2',
        text: 'the machine h2 does not answer',
      },
    ],
  })
  assert.equal(new EventLog(10, () => AT).query({ after: 0, limit: 10 }), {
    last: 0,
    missed: false,
    events: [],
  })
})

it('a long sentence is cut', () => {
  const log = new EventLog(10, () => AT)
  log.add('statement.refused', 'warning', 'h2', 'x'.repeat(10_000))
  assert.is(log.query({ after: 0, limit: 1 }).events[0]!.text.length, 500)
})

it('answers as a list without a bound would, and says what is missing', () => {
  const whole = fc.nat({ max: 30 })
  fc.assert(
    fc.property(
      whole,
      fc.integer({ min: 1, max: 12 }),
      whole,
      fc.integer({ min: 1, max: 12 }),
      (n, size, after, limit) => {
        const log = new EventLog(size, () => AT)
        fill(log, n)
        const answer = log.query({ after, limit })
        const all = Array.from({ length: n }, (_, i) => i + 1)
        const asked = after > n ? all : all.filter(sequence => sequence > after)
        const expected = asked.slice(-Math.min(limit, size))
        assert.equal(
          answer.events.map(event => event.sequence),
          expected,
        )
        assert.is(answer.last, n)
        assert.is(answer.missed, after > n || expected.length < asked.length)
      },
    ),
  )
})

it('followers hear what comes, each until it stops', () => {
  const log = new EventLog(10, () => AT)
  fill(log, 2)
  const heard: number[] = []
  const listener = (event: EventRow): void => void heard.push(event.sequence)
  const [stopFirst, stopSecond] = [log.follow(listener), log.follow(listener)]
  fill(log, 1)
  stopFirst()
  stopFirst()
  fill(log, 1)
  stopSecond()
  fill(log, 1)
  assert.equal(heard, [3, 3, 4])
})

it.run()
