import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { health } from '../../../src/config/health-fields.ts'
import { MAX_AT_ONCE, type ProbeAction, ProbeSchedule } from '../../../src/health/probe/schedule.ts'
import { type CheckTarget, checkTarget, portOf } from '../../../src/health/probe/target.ts'
import { judge, unprobed, type Verdict } from '../../../src/health/probe/verdict.ts'

const it = suite('health/probe-schedule')

const target = (key: string, check: Partial<CheckTarget['check']> = {}): CheckTarget => ({
  key,
  service: 'web',
  address: '10.99.0.1',
  port: 80,
  check: { ...health.parse({ type: 'tcp', jitter: 0 }), ...check },
})
const half = (): number => 0.5
const probes = (actions: readonly ProbeAction[]) => actions.filter(action => action.do === 'probe')
const verdicts = (actions: readonly ProbeAction[]): string[] =>
  actions.flatMap(action =>
    action.do === 'verdict' ? [`${action.key} ${action.health}: ${action.why}`] : [],
  )

/** Answers at once, in virtual time, until `untilMs`. @returns times of probes, and verdicts with theirs */
const play = (
  schedule: ProbeSchedule,
  targets: readonly CheckTarget[],
  untilMs: number,
  answer: (key: string, nowMs: number) => boolean,
  random = half,
) => {
  const times: number[] = []
  const told: string[] = []
  let nowMs = 0
  let { actions, wakeAtMs } = schedule.step({ on: 'targets', targets }, nowMs, random)
  for (;;) {
    told.push(...verdicts(actions).map(text => `${nowMs} ${text}`))
    const [first, ...others] = probes(actions)
    assert.is(others.length, 0, 'this player is for one target')
    if (first !== undefined) {
      times.push(nowMs)
      const ok = answer(first.target.key, nowMs)
      const why = ok ? 'good' : 'bad'
      ;({ actions, wakeAtMs } = schedule.step(
        { on: 'result', key: first.target.key, run: first.run, ok, why },
        nowMs,
        random,
      ))
      continue
    }
    nowMs = wakeAtMs
    if (nowMs > untilMs) return { times, told }
    ;({ actions, wakeAtMs } = schedule.step({ on: 'tick' }, nowMs, random))
  }
}

it('a target is probed at once, then every interval; the first good result is enough', () => {
  const { times, told } = play(new ProbeSchedule(), [target('a')], 6_000, () => true)
  assert.equal(times, [0, 2_000, 4_000, 6_000])
  assert.equal(told, ['0 a healthy: good'])
})

it('while nothing is known it is probed in haste, and fails after fall bad results', () => {
  const { times, told } = play(new ProbeSchedule(), [target('a', { fall: 3 })], 3_000, () => false)
  assert.equal(times, [0, 500, 1_000, 3_000])
  assert.equal(told, ['1000 a failing: bad'])
})

it('rise and fall count results in a row; a verdict is told once', () => {
  const bad = [[4_000], [8_000, 10_000, 12_000], [16_000]].flat()
  const { told } = play(
    new ProbeSchedule(),
    [target('a', { rise: 3 })],
    30_000,
    (_, nowMs) => !bad.includes(nowMs),
  )
  assert.equal(told, ['0 a healthy: good', '10000 a failing: bad', '22000 a healthy: good'])
})

it('the jitter is a share of the interval, both ways', () => {
  const at = (random: number): number =>
    play(
      new ProbeSchedule(),
      [target('a', { jitter: 0.1 })],
      2_500,
      () => true,
      () => random,
    ).times[1]!
  assert.is(at(0), 1_800)
  assert.is(at(0.5), 2_000)
  assert.ok(at(0.999) > 2_190 && at(0.999) < 2_200)
})

it('a probe that takes longer than the interval is followed by the next at once, never overlapped', () => {
  const schedule = new ProbeSchedule()
  const [first] = probes(schedule.step({ on: 'targets', targets: [target('a')] }, 0, half).actions)
  assert.equal(schedule.step({ on: 'tick' }, 5_000, half), {
    actions: [],
    wakeAtMs: Number.POSITIVE_INFINITY,
  })
  assert.equal(schedule.status()[0]!.probing, true)
  const { actions } = schedule.step(
    { on: 'result', key: 'a', run: first!.run, ok: true, why: '' },
    5_001,
    half,
  )
  assert.equal(
    probes(actions).map(action => action.target.key),
    ['a'],
  )
})

it('a target that stays goes on; one that goes or changes is cancelled, and its late result ignored', () => {
  const schedule = new ProbeSchedule()
  const [a, b] = probes(
    schedule.step({ on: 'targets', targets: [target('a'), target('b')] }, 0, half).actions,
  )
  assert.equal(schedule.step({ on: 'targets', targets: [target('a'), target('b')] }, 1, half).actions, [])
  assert.equal(schedule.step({ on: 'targets', targets: [target('a')] }, 2, half).actions, [
    { do: 'cancel', key: 'b', run: b!.run },
  ])
  assert.equal(schedule.step({ on: 'result', key: 'b', run: b!.run, ok: true, why: '' }, 3, half).actions, [])
  schedule.step({ on: 'result', key: 'a', run: a!.run, ok: true, why: 'good' }, 4, half)
  const changed = schedule.step({ on: 'targets', targets: [target('a', { port: 81 })] }, 5, half).actions
  assert.equal(verdicts(changed), ['a unknown: its health check changed'])
  assert.is(probes(changed)[0]!.target.check.port, 81)
  assert.equal(
    schedule.step({ on: 'result', key: 'a', run: a!.run, ok: true, why: '' }, 6, half).actions,
    [],
    'a result of before the change',
  )
  schedule.step({ on: 'result', key: 'a', run: probes(changed)[0]!.run, ok: true, why: 'good' }, 7, half)
  assert.equal(verdicts(schedule.step({ on: 'targets', targets: [] }, 8, half).actions), [
    'a unknown: it is not probed any more',
  ])
  assert.equal(schedule.status(), [])
})

it('random targets and results: never more at once than allowed, one a target, and the verdicts of a plain model', () => {
  type Op =
    | { do: 'targets'; keys: number[] }
    | { do: 'result'; pick: number; ok: boolean }
    | { do: 'pass'; ms: number }
  const op: fc.Arbitrary<Op> = fc.oneof(
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('targets' as const), keys: fc.uniqueArray(fc.nat(40)) }),
    },
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('result' as const), pick: fc.nat(), ok: fc.boolean() }),
    },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(3_000) }) },
  )
  fc.assert(
    fc.property(
      fc.array(op, { maxLength: 120 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (ops, random) => {
        const schedule = new ProbeSchedule()
        const running = new Map<string, number>()
        const known = new Set<string>()
        const model = new Map<string, Verdict>()
        const told = new Map<string, string>()
        let nowMs = 0
        const step = (event: Parameters<ProbeSchedule['step']>[0]): void => {
          const { actions, wakeAtMs } = schedule.step(event, nowMs, () => random)
          for (const action of actions) {
            if (action.do === 'cancel') {
              assert.is(running.get(action.key), action.run)
              running.delete(action.key)
            } else if (action.do === 'verdict') told.set(action.key, action.health)
            else {
              assert.not(running.has(action.target.key))
              assert.ok(known.has(action.target.key))
              running.set(action.target.key, action.run)
            }
          }
          assert.ok(running.size <= MAX_AT_ONCE)
          const idle = known.size - running.size
          assert.is(wakeAtMs === Number.POSITIVE_INFINITY, running.size === MAX_AT_ONCE || idle === 0)
        }
        for (const each of ops) {
          if (each.do === 'targets') {
            const keys = each.keys.map(String)
            for (const key of known)
              if (!keys.includes(key)) {
                known.delete(key)
                model.delete(key)
              }
            for (const key of keys) known.add(key)
            step({ on: 'targets', targets: keys.map(key => target(key, { jitter: 0.5 })) })
          } else if (each.do === 'pass') {
            nowMs += each.ms
            step({ on: 'tick' })
          } else if (running.size > 0) {
            const [key, run] = [...running][each.pick % running.size]!
            running.delete(key)
            model.set(
              key,
              judge(model.get(key) ?? unprobed(0), { rise: 2, fall: 2 }, { ok: each.ok, why: '' }, nowMs),
            )
            step({ on: 'result', key, run, ok: each.ok, why: '' })
          }
          for (const { key, health } of schedule.status()) {
            assert.is(health, model.get(key)?.health ?? 'unknown')
            assert.is(told.get(key) ?? 'unknown', health)
          }
        }
      },
    ),
  )
})

it('with more targets than may be probed at once, each has its turn', () => {
  const schedule = new ProbeSchedule(2)
  const keys = ['a', 'b', 'c', 'd', 'e']
  const seen = new Map<string, number>()
  let nowMs = 0
  let running = probes(
    schedule.step({ on: 'targets', targets: keys.map(key => target(key)) }, 0, half).actions,
  )
  for (let turn = 0; turn < 50; turn++) {
    nowMs += 1_000
    const [first, ...rest] = running
    seen.set(first!.target.key, (seen.get(first!.target.key) ?? 0) + 1)
    const { actions } = schedule.step(
      { on: 'result', key: first!.target.key, run: first!.run, ok: false, why: 'hangs' },
      nowMs,
      half,
    )
    running = [...rest, ...probes(actions)]
  }
  assert.equal([...seen.values()], [10, 10, 10, 10, 10])
})

it('targets come from services with a check', () => {
  const service = { name: 'web', vip: '10.99.0.1', port: 80 }
  assert.is(checkTarget('k', service), null)
  assert.is(checkTarget('k', { ...service, health: health.parse({}) }), null)
  const check = health.parse({ type: 'tcp' })
  assert.equal(checkTarget('k', { ...service, health: check }), {
    key: 'k',
    service: 'web',
    address: '10.99.0.1',
    port: 80,
    check,
  })
  assert.is(portOf(target('k')), 80)
  assert.is(portOf(target('k', { port: 8080 })), 8080)
})

it.run()
