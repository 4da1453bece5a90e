/** A machine that was suspended is noticed by its clocks (R-B6). */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Clocks, Standstill } from '../../../src/health/unit/standstill.ts'
import { readClocks, sinceBootMs } from '../../../src/os/clock.ts'

const it = suite('health/standstill')

const at = (monotonicMs: number, boot = 0, wall = 0): Clocks => ({
  monotonicMs,
  bootMs: monotonicMs + 5_000 + boot,
  wallMs: monotonicMs + 1.7e12 + wall,
})

it('a suspended machine, and a paused one whose wall clock is set again, once each', () => {
  const standstill = new Standstill()
  assert.not(standstill.passed(at(0, 1e9, 1e9)), 'nothing to compare with')
  const before = new Standstill()
  assert.not(before.passed(at(0)))
  assert.not(before.passed(at(1_000)))
  assert.ok(before.passed(at(1_001, 3_600_000, 3_600_000)))
  assert.not(before.passed(at(1_002, 3_600_000, 3_600_000)))
  assert.ok(before.passed(at(2_000, 3_600_000, 7_200_000)), 'by the wall clock alone')
  assert.ok(before.passed(at(2_100, 3_601_001, 7_200_000)), 'by the time since boot alone')
})

it('a clock that is set back, slewed or read late is none', () => {
  const standstill = new Standstill()
  standstill.passed(at(0))
  assert.not(standstill.passed(at(1_000, 0, -86_400_000)))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 10_000 }), fc.nat({ max: 20 })), { maxLength: 200 }),
      gaps => {
        const each = new Standstill()
        let [nowMs, wall] = [0, 0]
        for (const [gapMs, lateMs] of gaps) {
          nowMs += gapMs
          wall += gapMs * 5e-4
          assert.not(each.passed(at(nowMs, lateMs, wall + lateMs)))
        }
      },
    ),
    { includeErrorInReport: true },
  )
})

it('the kernel tells the time since boot', () => {
  const uptime = (): number => Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000
  const [before, now, after] = [uptime(), sinceBootMs(), uptime()]
  // /proc/uptime is cut to 10 ms.
  assert.ok(before <= now && now <= after + 10, `${before} ${now} ${after}`)
  const clocks = readClocks()
  assert.ok(Math.abs(clocks.wallMs - Date.now()) < 60_000 && clocks.bootMs >= now)
  const standstill = new Standstill()
  assert.equal([standstill.passed(clocks), standstill.passed(readClocks())], [false, false])
})

it.run()
