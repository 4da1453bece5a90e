import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProbe, PROBE, type ProbeState } from '../../../src/health/node-probe.ts'

const it = suite('health/node-probe')

interface Sent {
  ipv4: number
  high: number
  low: number
  atMs: number
}

/** The core with a network of virtual time: a probe is answered after `delayMs(probe)`, or never (null). */
const world = (names: string[], delayMs: (probe: Sent) => number | null) => {
  let seed = 1
  let nowMs = 0
  const all: Sent[] = []
  const waiting: { atMs: number; probe: Sent }[] = []
  const log: { atMs: number; name: string; state: ProbeState }[] = []
  const ports = {
    random: () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      return seed
    },
    send: (ipv4: number, _sequence: number, high: number, low: number): void => {
      const probe = { ipv4, high, low, atMs: nowMs }
      all.push(probe)
      const delay = delayMs(probe)
      if (delay !== null) waiting.push({ atMs: nowMs + delay, probe })
    },
  }
  // Round numbers, whatever the product's are.
  const core = new NodeProbe(ports, { ...PROBE, roundMs: 100 })
  const states = new Map<string, ProbeState>()
  /** When anything was told of anyone. */
  const told: number[] = []
  const drain = (): void => {
    for (let at = 0; at < waiting.length; ) {
      if (waiting[at].atMs > nowMs) at++
      else {
        const [{ probe }] = waiting.splice(at, 1)
        core.answer(probe.ipv4, probe.high, probe.low, nowMs)
      }
    }
  }
  const note = (): void => {
    for (const { name, state } of core.takeChanges() ?? []) {
      told.push(nowMs)
      if (states.get(name) === state || state === 'unknown') continue
      states.set(name, state)
      log.push({ atMs: nowMs, name, state })
    }
  }
  /** The shell's turn, as prober.ts does it. */
  const turn = (atMs: number): void => {
    nowMs = atMs
    drain()
    core.round(nowMs)
    note()
  }
  /** Runs like a prompt shell: wakes for answers and for rounds. */
  const run = (untilMs: number): void => {
    for (;;) {
      const next = Math.min(core.wakeAtMs, ...waiting.map(w => w.atMs))
      if (next > untilMs) break
      turn(Math.max(next, nowMs))
    }
    nowMs = untilMs
  }
  core.setTargets(
    names.map((name, index) => ({ name, ipv4: index + 1 })),
    0,
  )
  return { core, all, log, told, states, turn, run }
}

it('knows a node after its first answer, and measures the round trip', () => {
  const { core, run, states } = world(['a'], () => 3)
  assert.equal(core.states(), [{ name: 'a', state: 'unknown', rttMs: null }])
  run(50)
  assert.is(states.get('a'), 'alive')
  assert.equal(core.states(), [{ name: 'a', state: 'alive', rttMs: 3 }])
})

it('sees a node that goes at any moment suspect and dead in less than 500 ms', () => {
  for (let goesMs = 1000; goesMs < 1100; goesMs += 7) {
    const { run, log } = world(['a'], probe => (probe.atMs + 1 < goesMs ? 1 : null))
    run(3000)
    assert.equal(
      log.map(entry => entry.state),
      ['alive', 'suspect', 'dead'],
    )
    const [suspect, dead] = log.slice(-2)
    assert.ok(
      suspect.atMs - goesMs >= 199 && suspect.atMs - goesMs <= 301,
      `suspect ${suspect.atMs - goesMs}`,
    )
    assert.ok(dead.atMs - goesMs >= 299 && dead.atMs - goesMs <= 401, `dead ${dead.atMs - goesMs}`)
  }
})

it('never calls dead what never answered', () => {
  const { run, states } = world(['a'], () => null)
  run(60_000)
  assert.is(states.get('a') ?? 'unknown', 'unknown')
})

it('takes two answers in a row to come back', () => {
  const answered = new Set<number>([0, 1, 2, 10, 20, 21])
  const { run, log } = world(['a'], probe => (answered.has(Math.round(probe.atMs / 100)) ? 1 : null))
  run(1950)
  assert.is(log.at(-1)?.state, 'dead', 'one answer, at 1000 ms, is not enough')
  run(2150)
  assert.is(log.at(-1)?.state, 'alive')
  assert.is(log.at(-1)?.atMs, 2101)
})

it('one lost answer, or two, kill nobody', () => {
  const { run, log } = world(['a'], probe => (Math.round(probe.atMs / 100) % 4 < 2 ? 1 : null))
  run(5000)
  assert.ok(log.some(entry => entry.state === 'suspect'))
  assert.is(
    log.find(entry => entry.state === 'dead'),
    undefined,
  )
})

it('bears a round trip longer than a round', () => {
  const { run, log } = world(['a'], () => 180)
  run(5000)
  assert.equal(
    log.map(entry => entry.state).filter(state => state !== 'unknown'),
    ['alive'],
  )
})

it('believes no answer without the nonce, from another address, repeated, or old', () => {
  const { core, run, all } = world(['a', 'b'], () => null)
  run(0)
  const [first, other] = all
  assert.is(core.answer(first.ipv4, first.high ^ 1, first.low, 1), false)
  assert.is(core.answer(first.ipv4, 0, 0, 1), false)
  assert.is(core.answer(other.ipv4, first.high, first.low, 1), false)
  assert.is(core.answer(99, first.high, first.low, 1), false)
  assert.is(core.answer(first.ipv4, first.high, first.low, 1), true)
  assert.is(core.answer(first.ipv4, first.high, first.low, 2), false)
  run(2000)
  assert.is(core.answer(other.ipv4, other.high, other.low, 2001), false, 'twenty probes ago')
})

it('replayed answers keep nobody alive', () => {
  const { core, run, all, states } = world(['a'], probe => (probe.atMs < 500 ? 1 : null))
  run(500)
  const old = all.filter(probe => probe.atMs < 500)
  for (let atMs = 550; atMs < 2000; atMs += 50) {
    run(atMs)
    for (const { ipv4, high, low } of old) core.answer(ipv4, high, low, atMs)
  }
  assert.is(states.get('a'), 'dead')
})

it('property: our own lateness, of any pattern, calls nobody suspect or dead', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 120 }), fc.integer({ min: 100, max: 5000 })), {
        minLength: 5,
        maxLength: 80,
      }),
      fc.integer({ min: 0, max: 45 }),
      (gaps, delay) => {
        const { turn, log } = world(['a', 'b', 'c'], () => delay)
        let atMs = 0
        for (const gap of gaps) {
          atMs += gap
          turn(atMs)
        }
        for (const { state } of log) assert.ok(state === 'alive' || state === 'unknown', state)
      },
    ),
  )
})

it('after a stop of ours, answers that come up late are waited for; but not for ever', () => {
  // Each time we sleep 2 s, and what was answered meanwhile arrives only after we judged.
  const { core, turn, all, log } = world(['a'], probe => (probe.atMs < 300 ? 1 : null))
  for (let atMs = 0; atMs <= 300; atMs += 50) turn(atMs)
  const lateAnswer = all.at(-1)
  turn(2300)
  assert.ok(lateAnswer !== undefined && core.answer(1, lateAnswer.high, lateAnswer.low, 2301))
  for (let atMs = 4300; atMs < 16_300; atMs += 2000) turn(atMs)
  assert.is(log.at(-1)?.state, 'dead', 'a starved prober still sees a death')
  assert.ok((log.at(-1)?.atMs ?? 0) >= 2300 + (PROBE.graces + PROBE.deadAfter) * 2000)
})

it('does not catch up: after a stop the next round is a whole round away', () => {
  const { core, turn, all } = world(['a'], () => 1)
  turn(0)
  turn(2000)
  assert.is(all.length, 2)
  assert.is(core.wakeAtMs, 2100)
  turn(2180)
  assert.is(core.wakeAtMs, 2230, 'a little late: keeps the pace, with half a round at least')
})

it('probes that our own kernel refused count against nobody, for a while', () => {
  const { core, turn, log } = world(['a'], probe => (probe.atMs < 300 ? 1 : null))
  for (let atMs = 0; atMs < 300; atMs += 10) turn(atMs)
  for (let atMs = 300; atMs < 600; atMs += 100) {
    turn(atMs)
    core.unsent()
  }
  turn(600)
  assert.is(log.at(-1)?.state, 'alive')
  for (let atMs = 700; atMs < 1200; atMs += 100) turn(atMs)
  assert.is(log.at(-1)?.state, 'dead')
})

it('bounds the packets a second: above 50 targets, each one is probed less often, in proportion', () => {
  const names = Array.from({ length: 160 }, (_, index) => `n${index}`)
  const { run, all, log } = world(names, probe => (probe.atMs < 3000 || probe.ipv4 > 2 ? 1 : null))
  run(2999)
  const counts = new Map<number, number>()
  for (const { ipv4 } of all) counts.set(ipv4, (counts.get(ipv4) ?? 0) + 1)
  assert.is(counts.size, 160)
  assert.equal(new Set(counts.values()), new Set([9, 10]), 'every 320 ms, on average')
  for (let atMs = 0; atMs < 3000; atMs += 100)
    assert.ok(all.filter(probe => probe.atMs === atMs).length <= 50)
  run(4600)
  assert.equal(
    log.filter(entry => entry.state === 'dead').map(entry => entry.name),
    ['n0', 'n1'],
  )
})

it('property: at most 50 probes a round, no target twice in one, and none is left out for longer than its share', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 40 }), (count, rounds) => {
      const { run, all } = world(
        Array.from({ length: count }, (_, index) => `n${index}`),
        () => 1,
      )
      run(rounds * 100 - 1)
      const lasts = new Map<number, number>()
      const most = Math.ceil(count / 50) * 100
      for (const { ipv4, atMs } of all) {
        const last = lasts.get(ipv4)
        if (last !== undefined) assert.ok(atMs > last && atMs - last <= most, `${last} to ${atMs} ms`)
        lasts.set(ipv4, atMs)
      }
      assert.is(all.length, rounds * Math.min(count, 50))
      assert.is(lasts.size, Math.min(count, rounds * 50))
    }),
    { numRuns: 50 },
  )
})

it('targets that stay are not forgotten when others come and go', () => {
  const { core, run, states } = world(['a', 'b'], probe => (probe.ipv4 === 2 && probe.atMs > 500 ? null : 1))
  run(1500)
  assert.is(states.get('b'), 'dead')
  core.setTargets(
    [
      { name: 'c', ipv4: 7 },
      { name: 'b', ipv4: 2 },
      { name: 'a', ipv4: 9 },
      { name: 'twin', ipv4: 9 },
    ],
    1500,
  )
  assert.equal(
    core.states().map(({ name, state }) => `${name} ${state}`),
    ['c unknown', 'b dead', 'a unknown'],
  )
  run(1700)
  assert.is(states.get('c'), 'alive')
  core.setTargets([], 1700)
  assert.is(core.wakeAtMs, Number.POSITIVE_INFINITY)
})

it('tells a moved round trip at most once a second, and a steady one never again', () => {
  let delay = 2
  const { run, told } = world(['a'], () => delay)
  run(2000)
  const before = told.length
  run(5000)
  assert.is(told.length, before)
  delay = 40
  run(10_000)
  const after = told.slice(before)
  assert.ok(after.length >= 2 && after.length <= 5, `told ${after.length} times`)
  assert.ok(after.every((atMs, index) => index === 0 || atMs - after[index - 1] >= 900))
})

it.run()
