/** What the fault suite makes of its measurements. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { longestHeld, outcomeOf, type ProbeLine } from '../../bench/faults/lib/measure.ts'
import { readOptions } from '../../bench/faults/lib/options.ts'
import { joinReports } from '../../bench/faults/lib/reports.ts'
import { brokenShare, rowsOf, spread } from '../../bench/faults/lib/summary.ts'

const it = suite('faults-measure')

const NO_TIMES = { struckMs: 0, healMs: null, healedMs: null }
/** New connections every 20 ms: `o` good, `x` failed, `s` slow. */
const probes = (text: string): ProbeLine[] =>
  [...text].map((what, i) => [1000 + 20 * i, what === 's' ? 1015 : 3, what === 'x' ? 'refused' : ''])

it('no trouble takes no time', () => {
  assert.equal(longestHeld([]), { ms: 0, fromMs: null })
  assert.equal(longestHeld(probes('oooooo')), { ms: 0, fromMs: null })
})

it('trouble lasts from the first that suffers to the next that does not', () => {
  assert.equal(longestHeld(probes('ooxxxoo')), { ms: 60, fromMs: 1040 })
  assert.equal(longestHeld(probes('ossxo')), { ms: 60, fromMs: 1020 })
  // The last that is known of it.
  assert.is(longestHeld(probes('oxxx')).ms, 40)
})

it('half of the balancers gone is one trouble, and the longest of several counts', () => {
  assert.is(longestHeld(probes('oxoxoxo')).ms, 100)
  assert.is(longestHeld(probes(`oxo${'o'.repeat(30)}xxxxo`)).ms, 80)
  assert.is(longestHeld(probes(`xxxxo${'o'.repeat(30)}xo`)).ms, 80)
})

it('probes that ended late come in any order', () => {
  assert.is(longestHeld(probes('ooxxxoo').toReversed()).ms, 60)
})

it('connections of a lost host count apart, and their waits nowhere', () => {
  const outcome = outcomeOf(
    {
      nowMs: 9000,
      flows: [
        [0, 'h1', 'reset', 0, 0],
        [0, 'h2', 'reset', 0, 0],
        [0, 'h2', '', 4000, 0],
        [1, 'h1', '', 9000, 0],
        [1, 'h2', 'silent', 1500, 0],
        [1, 'h3', '', 20, 0],
      ],
      probes: probes('oxo'),
    },
    ['h1'],
    { struckMs: 1000, healMs: 1500, healedMs: 1600 },
    null,
  )
  assert.equal(outcome, {
    ...{ brokenIdle: 1, brokenActive: 1, own: 1, causes: { reset: 1, silent: 1 } },
    ...{ stallMs: 1500, stalled: 1, newHeldMs: 20, newHeldAtMs: 20, newFailed: 1, newAll: 3 },
    ...{ healMs: 500, healedMs: 600, redundantMs: null },
  })
})

it('spreads: least, middle and most; what is not known is left out', () => {
  assert.is(spread([]), '-')
  assert.is(spread([null, null]), '-')
  assert.is(spread([3, 3, 3]), '3')
  assert.is(spread([9, 1, null, 4]), '1/4/9')
})

it('rows stand by fault, then by balancer', () => {
  const outcome = outcomeOf({ nowMs: 0, flows: [[0, 'h2', 'reset', 0, 0]], probes: [] }, [], NO_TIMES, null)
  const common = { outcome, error: null }
  const rows = rowsOf(
    [
      { driver: 'b', component: 'router', way: 'hash changed', ...common },
      { driver: 'b', component: 'balancer node', way: 'dead', outcome: null, error: 'why' },
      { driver: 'a', component: 'balancer node', way: 'dead', ...common },
      { driver: 'b', component: 'balancer node', way: 'dead', ...common },
      { driver: 'b', component: 'balancer node', way: 'cut off', ...common },
    ],
    ['a', 'b'],
  )
  assert.equal(
    rows.map(({ way, driver, outcomes, failed }) => [way, driver, outcomes.length, failed]),
    [
      ['cut off', 'b', 1, 0],
      ['dead', 'a', 1, 0],
      ['dead', 'b', 1, 1],
      ['hash changed', 'b', 1, 0],
    ],
  )
  assert.is(brokenShare(rows[0]!, 4), '25.0')
})

it('runs of one load are told together, others are not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shunt-faults-'))
  const written = (name: string, content: unknown): string => {
    const file = join(dir, name)
    writeFileSync(file, JSON.stringify(content))
    return file
  }
  const report = (driver: string, idle: string): unknown => ({
    method: 'so',
    options: readOptions(['--driver', driver], { FLOWS: idle }),
    results: [{ driver, component: 'router', way: 'hash changed', outcome: null, error: 'why' }],
  })
  try {
    const files = [written('a', report('shunt', '7')), written('b', report('haproxy', '7'))]
    const { options, results } = joinReports([...files, files[0]!])
    assert.equal(options.drivers, ['shunt', 'haproxy'])
    assert.equal(
      results.map(({ driver }) => driver),
      ['shunt', 'haproxy', 'shunt'],
    )
    const other = written('c', report('shunt', '8'))
    assert.throws(() => joinReports([files[0]!, other]), /different loads/)
    assert.throws(() => joinReports([written('d', { results: 1 })]), /is no report/)
    assert.throws(() => joinReports([written('e', null)]), /is no report/)
    assert.throws(() => joinReports([join(dir, 'none')]), /ENOENT/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

it.run()
