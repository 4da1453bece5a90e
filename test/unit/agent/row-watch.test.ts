/** Looking at all endpoints has its part of the time, however many there are and however often they change. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventLog } from '../../../src/agent/events.ts'
import type { RowFact } from '../../../src/agent/health/row-facts.ts'
import { RowWatch } from '../../../src/agent/health/row-watch.ts'

const it = suite('agent/health/row-watch')

/** News all the time for 60 s, with looks that take `lookMs`; what was looked at, and how many looks there were. */
const pass = (lookMs: number) => {
  let nowMs = 1000
  let looks = 0
  let due: { run: () => void; atMs: number } | null = null
  const events = new EventLog(1000, () => 0)
  const fact = (): RowFact => ({
    ...{ host: 'h2', service: 'web', of: 'app', why: '', missed: true },
    word: nowMs < 40_000 ? 'well' : 'failing',
  })
  const watch = new RowWatch(
    events,
    () => {
      looks++
      nowMs += lookMs
      return [fact()]
    },
    {
      nowMs: () => nowMs,
      later: (run, ms) => {
        const timer = { run, atMs: nowMs + ms }
        due = timer
        return () => {
          if (due === timer) due = null
        }
      },
    },
  )
  while (nowMs < 61_000) {
    watch.soon()
    const timer = due as { run: () => void; atMs: number } | null
    nowMs = Math.max(nowMs, timer!.atMs)
    timer!.run()
  }
  watch.stop()
  return { looks, said: events.query({ after: 0, limit: 9 }).events.map(({ text }) => text) }
}

it('a tenth of the time, and nothing is lost by it', () => {
  for (const [lookMs, most] of [
    [0, 241],
    [100, 61],
    [400, 16],
    [5_000, 7],
  ] as const) {
    const { looks, said } = pass(lookMs)
    assert.ok(looks <= most && looks >= most / 2, `${looks} looks of ${lookMs} ms`)
    assert.equal(said, ['the application of web on h2 fails'])
  }
})

it.run()
