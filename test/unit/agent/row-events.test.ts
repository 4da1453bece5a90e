import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RowChanges, STEADY_MS } from '../../../src/agent/health/row-changes.ts'
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

it('a host that is used for want of a better one does not get connections "again", and then is held back or well', () => {
  const told = tell(
    [
      [0, [directive('active')]],
      [10_000, [directive('overload')]],
      [20_000, [directive('overload-used')]],
      [40_000, [directive('active')]],
      [80_000, [directive('health')]],
      [90_000, [directive('health-used')]],
      [110_000, [directive('health')]],
    ],
    200_000,
  )
  const used = 'gets new connections from here all the same: no host of it is better off'
  assert.equal(
    told.map(({ severity, text }) => [severity, text]),
    [
      ['warning', 'web on h1 is overloaded: no new connections from here until its load falls'],
      ['warning', `web on h1 is overloaded, and ${used}`],
      ['info', 'web on h1 gets new connections from here in its own right again'],
      ['warning', `web on h1 fails, and ${used}`],
      ['info', 'web on h1 is held back here now because its application fails'],
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

const SENTENCES: readonly (readonly [RegExp, RowFact['of'], string])[] = [
  [/^(\w+) on (\w+) gets new connections/, 'directive', 'active'],
  [/^(\w+) on (\w+) is overloaded:/, 'directive', 'overload'],
  [/^(\w+) on (\w+) is overloaded, and gets/, 'directive', 'overload-used'],
  [/^(\w+) on (\w+) fails, and gets/, 'directive', 'health-used'],
  [/^(\w+) on (\w+): no new connections from here, by order/, 'directive', 'draining'],
  [/^(\w+) on (\w+): no packets at all/, 'directive', 'inactive'],
  [/^(\w+) on (\w+) is held back here/, 'directive', 'health'],
  [/^the application of (\w+) on (\w+) fails/, 'app', 'failing'],
  [/^the application of (\w+) on (\w+) is healthy/, 'app', 'well'],
  [/^nothing listens for (\w+) on (\w+)/, 'app', 'absent'],
  [/^an application listens again for (\w+) on (\w+)/, 'app', 'present'],
]
const wordsOf = (text: string): { key: string; word: string } => {
  for (const [pattern, of, word] of SENTENCES) {
    const match = pattern.exec(text)
    if (match !== null) return { key: `${of} ${match[2]} ${match[1]}`, word }
  }
  throw new Error(`what does this say: ${text}`)
}

const PAIRS = [
  ['h1', 'web'],
  ['h1', 'api'],
  ['h2', 'web'],
] as const
const WORDS = {
  app: ['well', 'failing', 'absent', 'unknown'],
  directive: ['active', 'overload', 'draining', 'inactive', 'health', 'health-used', 'overload-used'],
} as const
const KEYS = PAIRS.flatMap(([host, service]) => [`app ${host} ${service}`, `directive ${host} ${service}`])

it('whatever is left out: only what is so is told, and soon after the last change what was told last is so', () => {
  const change = fc.record({
    key: fc.constantFrom(...KEYS),
    word: fc.nat(19),
    afterMs: fc.oneof(fc.nat(300), fc.nat(5_000), fc.nat(90_000)),
    flaps: fc.oneof(fc.constant(0), fc.nat(40)),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), changes => {
      const rows = new RowEvents()
      const state = new Map(KEYS.map(key => [key, key.startsWith('app') ? 'well' : 'active']))
      const last = new Map(state)
      const look = (nowMs: number): number => {
        const facts = [...state].map(([key, word]): RowFact => {
          const [of, host, service] = key.split(' ') as ['app' | 'directive', string, string]
          const more = of === 'app' ? { why: '', missed: true } : {}
          return { of, host, service, word, ...more } as RowFact
        })
        const { events, wakeAtMs } = rows.observe(facts, nowMs)
        for (const { text } of events) {
          const { key, word } = wordsOf(text)
          const is = state.get(key)!
          assert.ok(word === 'present' ? is !== 'absent' && is !== 'failing' : word === is, `${text}: ${is}`)
          last.set(key, is)
        }
        return wakeAtMs
      }
      let nowMs = 0
      let wakeAtMs = look(nowMs)
      const passUntil = (untilMs: number): void => {
        while (wakeAtMs <= untilMs) {
          nowMs = wakeAtMs
          wakeAtMs = look(nowMs)
        }
        nowMs = untilMs
      }
      for (const { key, word, afterMs } of [
        ...changes.flatMap(({ flaps, ...each }) =>
          Array.from({ length: 1 + flaps }, (_, i) => ({ ...each, word: each.word + i })),
        ),
        // Not probed yet is no state to stay in.
        ...KEYS.filter(key => key.startsWith('app')).map(key => ({ key, word: 0, afterMs: 0 })),
      ]) {
        passUntil(nowMs + afterMs)
        const words = WORDS[key.startsWith('app') ? 'app' : 'directive']
        const isEnd = state.get(key) !== 'unknown' && afterMs === 0 && word === 0
        if (!isEnd) state.set(key, words[word % words.length]!)
        wakeAtMs = look(nowMs)
      }
      passUntil(nowMs + STEADY_MS + 20_000)
      const same = (told: string, is: string): boolean =>
        told === is || (told === 'active' && is === 'health') || (told === 'unknown' && is === 'well')
      for (const [key, word] of state)
        assert.ok(same(last.get(key)!, word), `${key}: ${last.get(key)}, ${word}`)
    }),
    { numRuns: 300 },
  )
})

it('an order, and its end, is told at once, however much the endpoint flapped before', () => {
  const flaps = Array.from({ length: 60 }, (_, i): [number, RowFact[]] => [
    1_000 * i,
    [directive(i % 2 === 0 ? 'active' : 'overload')],
  ])
  const told = tell([...flaps, [61_500, [directive('draining')]], [70_000, [directive('active')]]], 80_000)
  assert.equal(
    told.slice(-2).map(({ atMs, text }) => [atMs, text.split(' (')[0]]),
    [
      [61_500, 'web on h1: no new connections from here, by order'],
      [70_000, 'web on h1 gets new connections from here again'],
    ],
  )
})

it('orders that come and go faster than an operator gives them do not fill the ring', () => {
  const told = tell(
    Array.from({ length: 3_600 }, (_, i): [number, RowFact[]] => [
      1_000 * i,
      [directive(i % 2 === 0 ? 'active' : 'draining')],
    ]),
    3_600_000,
  )
  assert.ok(told.length < 300, `${told.length} events in an hour`)
})

it('what another event follows from is told before it, though it was told of a moment ago', () => {
  const rows = new RowEvents()
  const isAsked = ({ of }: RowFact): boolean => of === 'app'
  rows.observe([app('well')], 0)
  assert.is(rows.observe([app('failing')], 10_000).events.length, 1)
  assert.is(rows.observe([app('well')], 10_300).events.length, 0)
  assert.match(rows.observe([app('well')], 10_300, isAsked).events[0]!.text, /is healthy again/)
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
