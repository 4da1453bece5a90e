import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RowChanges } from '../../../src/agent/health/row-changes.ts'
import { RowEvents } from '../../../src/agent/health/row-events.ts'
import type { RowFact } from '../../../src/agent/health/row-facts.ts'

const it = suite('agent/health/row-events')

type AppFact = Extract<RowFact, { of: 'app' }>
const app = (word: AppFact['word'], more: Partial<AppFact> = {}): RowFact => ({
  ...{ host: 'h1', service: 'web', of: 'app', word, why: '', missed: true },
  ...more,
})
const directive = (word: Extract<RowFact, { of: 'directive' }>['word'], host = 'h1'): RowFact => ({
  ...{ host, service: 'web', of: 'directive', word },
})
/** What is told when the facts are these at those times; asks again when it is to. */
const tell = (steps: readonly (readonly [atMs: number, facts: readonly RowFact[]])[], untilMs = 60_000) => {
  const rows = new RowEvents()
  const told: { atMs: number; kind: string; severity: string; subject: string; text: string }[] = []
  steps.forEach(([atMs, facts], i) => {
    const nextMs = steps[i + 1]?.[0] ?? untilMs
    for (let nowMs = atMs; nowMs < nextMs; ) {
      const { events, wakeAtMs } = rows.observe(facts, nowMs)
      for (const event of events) told.push({ atMs: nowMs, ...event })
      assert.ok(wakeAtMs > nowMs, 'never at once again')
      nowMs = wakeAtMs
    }
  })
  return told
}
const texts = (told: ReturnType<typeof tell>): string[] => told.map(({ atMs, text }) => `${atMs} ${text}`)

it('what is well at first is not told, and what is not well only when it stays so', () => {
  assert.equal(tell([[0, [app('well'), directive('active')]]]), [])
  assert.equal(texts(tell([[0, [app('unknown'), directive('draining')]]])), [])
  assert.equal(
    texts(
      tell([
        [0, [app('absent')]],
        [4_000, [app('unknown')]],
      ]),
    ),
    [],
  )
  assert.equal(tell([[0, [app('absent')]]]), [
    {
      atMs: 5_000,
      kind: 'app.lost',
      severity: 'warning',
      subject: 'h1',
      text: 'nothing listens for web on h1',
    },
  ])
  assert.equal(texts(tell([[0, [directive('overload')]]])), [
    '5000 web on h1 is overloaded: no new connections from here until its load falls',
  ])
})

it('lost after a second, and back; a restart is neither', () => {
  const told = tell([
    [0, [app('well')]],
    [10_000, [app('absent')]],
    [20_000, [app('unknown')]],
    [21_000, [app('well')]],
    [30_000, [app('absent')]],
    [30_900, [app('well')]],
  ])
  assert.equal(
    told.map(({ atMs, kind, severity }) => [atMs, kind, severity]),
    [
      [11_000, 'app.lost', 'warning'],
      [20_000, 'app.back', 'info'],
    ],
  )
})

it('nobody misses what the operator drained', () => {
  const told = tell([
    [0, [app('well')]],
    [10_000, [app('absent', { missed: false })]],
  ])
  assert.equal(
    told.map(({ severity, text }) => [severity, text]),
    [['info', 'nothing listens for web on h1, which is to take nothing new anyway']],
  )
  assert.equal(tell([[0, [app('absent', { missed: false })]]]), [], 'nor from the beginning')
})

it('a failing application, why, and that it is healthy again; not probed yet is neither', () => {
  const told = tell([
    [0, [app('well')]],
    [10_000, [app('failing', { why: 'connection refused' })]],
    [20_000, [app('unknown')]],
    [30_000, [app('well', { why: 'it listens' })]],
  ])
  assert.equal(texts(told), [
    '10000 the application of web on h1 fails: connection refused',
    '30000 the application of web on h1 is healthy again: it listens',
  ])
})

it('a directive in force here, with its cause; what another event says leaves it as it was', () => {
  const told = tell([
    [0, [directive('active')]],
    [10_000, [directive('overload')]],
    [20_000, [directive('active')]],
    [30_000, []],
    [31_000, [directive('active')]],
    [40_000, [directive('draining')]],
    [50_000, [directive('inactive')]],
  ])
  assert.equal(
    told.map(({ severity, text }) => [severity, text]),
    [
      ['warning', 'web on h1 is overloaded: no new connections from here until its load falls'],
      ['info', 'web on h1 gets new connections from here again'],
      ['info', 'web on h1: no new connections from here, by order'],
      ['info', 'web on h1: no packets at all from here, by order'],
    ],
  )
})

it('an endpoint that flaps is told of more and more rarely, and how often it changed; later as promptly as ever', () => {
  const flaps = Array.from({ length: 1_200 }, (_, i): [number, RowFact[]] => [
    1_000 + i * 1_000,
    [app(i % 2 === 0 ? 'failing' : 'well')],
  ])
  const calmMs = 1_000 + 1_200 * 1_000
  const laterMs = calmMs + 3_600_000
  const told = tell(
    [[0, [app('well')]], ...flaps, [calmMs, [app('well')]], [laterMs, [app('failing')]]],
    laterMs + 1,
  )
  const whileFlapping = told.filter(({ atMs }) => atMs < calmMs)
  assert.ok(whileFlapping.length >= 5 && whileFlapping.length <= 20, `${whileFlapping.length} events`)
  assert.match(whileFlapping.at(-1)!.text, / \(\d{2,} changes since it was last told of\)$/)
  assert.is(told.at(-1)!.atMs, laterMs)
  assert.is(told.at(-1)!.text, 'the application of web on h1 fails')
})

it('what changes together is told together: of one host, of one service', () => {
  const pairs = (hosts: number, services: number, word: AppFact['word']): RowFact[] =>
    Array.from({ length: hosts * services }, (_, i) =>
      app(word, {
        host: `h${1 + Math.floor(i / services)}`,
        service: `s${1 + (i % services)}`,
        why: 'refused',
      }),
    )
  const change = (hosts: number, services: number) =>
    tell([
      [0, pairs(hosts, services, 'well')],
      [10_000, pairs(hosts, services, 'failing')],
    ]).map(({ subject, text }) => `${subject}: ${text}`)
  assert.equal(change(1, 5), ['h1: the applications of s1, s2, s3 and 2 more on h1 fail'])
  assert.equal(change(4, 1), ['-: the applications of s1 on h1, h2, h3 and 1 more fail'])
  assert.equal(change(2, 1), [
    'h1: the application of s1 on h1 fails: refused',
    'h2: the application of s1 on h2 fails: refused',
  ])
})

it('whatever changes, the events are bounded, and all is told in the end', () => {
  const names = Array.from({ length: 200 }, (_, i) => i)
  // No two have a host or a service in common: nothing can be told together.
  const all = (word: AppFact['word']) => names.map(i => app(word, { host: `h${i}`, service: `s${i}` }))
  const told = tell(
    [
      [0, all('well')],
      [10_000, all('failing')],
    ],
    1_000_000,
  )
  assert.is(told.length, 200)
  for (const { atMs } of told) {
    const minute = told.filter(event => event.atMs >= atMs && event.atMs < atMs + 60_000)
    assert.ok(minute.length <= 50, `${minute.length} events in a minute`)
  }
})

it('endpoints that are gone are forgotten', () => {
  const changes = new RowChanges()
  changes.due([app('well'), directive('active')], 0)
  assert.is(changes.size, 2)
  changes.due([app('well')], 500_000)
  changes.due([], 700_000)
  assert.is(changes.size, 1)
  changes.due([], 1_200_000)
  assert.is(changes.size, 0)
})

it.run()
