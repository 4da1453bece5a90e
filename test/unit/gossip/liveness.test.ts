import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  backoffMs,
  LIVENESS,
  type Liveness,
  type LivenessAction,
  type LivenessEvent,
  type LivenessSettings,
  startLiveness,
  step,
} from '../../../src/gossip/liveness.ts'

const it = suite('gossip liveness')
const { heartbeatMs, deadAfterMs, greetingMs, firstContactMs, backoffMinMs, backoffMaxMs, graceIntervals } =
  LIVENESS

/** One machine in virtual time; notes what it did and when. */
class Bench {
  nowMs: number
  state: Liveness
  jitter = 0.5
  done: { atMs: number; action: LivenessAction; status: string }[] = []
  constructor(dials = true, nowMs = 10_000) {
    this.nowMs = nowMs
    this.state = startLiveness(dials, nowMs)
  }
  event(event: LivenessEvent): LivenessAction[] {
    const answer = step(this.state, event, this.nowMs, this.jitter)
    this.state = answer.state
    assert.is(answer.wakeAtMs, answer.state.wakeAtMs)
    for (const action of answer.actions)
      this.done.push({ atMs: this.nowMs, action, status: answer.state.status })
    return answer.actions
  }
  /** Wakes exactly when asked, up to a time. */
  runTo(untilMs: number): void {
    for (let rounds = 0; this.state.wakeAtMs <= untilMs; rounds++) {
      assert.ok(rounds < 100_000, 'wakes without progress')
      this.nowMs = Math.max(this.nowMs, this.state.wakeAtMs)
      this.event({ on: 'wake' })
    }
    this.nowMs = untilMs
  }
  /** Up to alive. */
  join(): this {
    this.event({ on: 'wake' })
    this.event({ on: 'opened' })
    this.event({ on: 'hello' })
    this.event({ on: 'heard', draining: false })
    assert.is(this.state.status, 'alive')
    return this
  }
  kinds(): string[] {
    return this.done.map(({ action }) => action.do)
  }
  times(kind: LivenessAction['do']): number[] {
    return this.done.filter(({ action }) => action.do === kind).map(({ atMs }) => atMs)
  }
}

it('a dialling side: dial, HELLO, first heartbeat in both directions, alive', () => {
  const bench = new Bench()
  assert.equal(bench.event({ on: 'wake' }), [{ do: 'dial' }])
  assert.equal(bench.event({ on: 'opened' }), [])
  assert.equal(bench.event({ on: 'hello' }), [{ do: 'heartbeat', sequence: 0, wantsEcho: true }])
  assert.is(bench.state.status, 'connecting', 'a valid HELLO alone does not say that the peer took ours')
  assert.equal(bench.event({ on: 'heard', draining: false }), [{ do: 'changed' }])
  assert.is(bench.state.status, 'alive')
})

it('the other side waits to be called', () => {
  const bench = new Bench(false)
  bench.runTo(bench.nowMs + 60_000)
  assert.equal(bench.times('dial'), [])
  assert.is(bench.state.status, 'dead')
  assert.is(bench.state.wakeAtMs, Number.POSITIVE_INFINITY)
  bench.event({ on: 'opened' })
  bench.event({ on: 'hello' })
  bench.event({ on: 'heard' })
  assert.is(bench.state.status, 'alive')
})

it('a peer that was never heard is connecting, and dead after firstContactMs', () => {
  const bench = new Bench(false)
  bench.runTo(10_000 + firstContactMs - 1)
  assert.is(bench.state.status, 'connecting')
  bench.runTo(10_000 + firstContactMs)
  assert.is(bench.state.status, 'dead')
  assert.equal(bench.times('changed'), [10_000 + firstContactMs])
})

it('heartbeats go out every heartbeatMs on one grid, every n-th asks for an echo', () => {
  const bench = new Bench(true, 10_100).join()
  const from = bench.done.length
  for (let i = 0; i < 20; i++) {
    bench.runTo(bench.nowMs + 100)
    bench.event({ on: 'heard' })
  }
  const beats = bench.done.slice(from).filter(({ action }) => action.do === 'heartbeat')
  assert.equal(
    beats.map(({ atMs }) => atMs),
    [10_250, 10_500, 10_750, 11_000, 11_250, 11_500, 11_750, 12_000],
  )
  assert.equal(
    beats.map(({ action }) => action.do === 'heartbeat' && action.sequence),
    [1, 2, 3, 4, 5, 6, 7, 8],
  )
  assert.equal(
    beats.map(({ action }) => action.do === 'heartbeat' && action.wantsEcho),
    [1, 2, 3, 4, 5, 6, 7, 8].map(sequence => sequence % LIVENESS.echoEvery === 0),
  )
})

it('silence: dead after exactly deadAfterMs, link closed, dialled again', () => {
  const bench = new Bench().join()
  bench.runTo(10_000 + deadAfterMs - 1)
  assert.is(bench.state.status, 'alive')
  bench.runTo(10_000 + deadAfterMs)
  assert.is(bench.state.status, 'dead')
  assert.equal(bench.done.at(-2)?.action, { do: 'close', reason: 'silence' })
  bench.runTo(bench.nowMs + backoffMaxMs)
  assert.is(bench.times('dial').length, 2)
})

it('a link on which no HELLO, or no heartbeat, follows is closed after greetingMs', () => {
  for (const hello of [false, true]) {
    const bench = new Bench()
    bench.event({ on: 'wake' })
    bench.event({ on: 'opened' })
    if (hello) bench.event({ on: 'hello' })
    bench.runTo(10_000 + greetingMs - 1)
    assert.equal(bench.times('close'), [])
    bench.runTo(10_000 + greetingMs)
    assert.equal(bench.times('close'), [10_000 + greetingMs])
    assert.is.not(bench.state.status, 'alive')
  }
})

it('disconnect: dead at once, and no close action for what is closed', () => {
  const bench = new Bench().join()
  assert.equal(bench.event({ on: 'closed' }), [{ do: 'changed' }])
  assert.is(bench.state.status, 'dead')
  assert.equal(bench.event({ on: 'closed' }), [], 'a second time changes nothing')
})

it('GOODBYE: dead at once and draining; a new life begins without', () => {
  const bench = new Bench().join()
  assert.equal(bench.event({ on: 'goodbye' }), [{ do: 'close', reason: 'goodbye' }, { do: 'changed' }])
  assert.is(bench.state.status, 'dead')
  assert.ok(bench.state.draining)
  bench.runTo(bench.nowMs + backoffMaxMs)
  bench.event({ on: 'opened' })
  bench.event({ on: 'hello' })
  bench.event({ on: 'heard' })
  assert.is(bench.state.status, 'alive')
  assert.not(bench.state.draining)
})

it('draining follows heartbeats, and each turn is told once', () => {
  const bench = new Bench().join()
  assert.equal(bench.event({ on: 'heard', draining: true }), [{ do: 'changed' }])
  assert.equal(bench.event({ on: 'heard', draining: true }), [])
  assert.equal(bench.event({ on: 'heard' }), [], 'frames other than heartbeats do not speak of it')
  assert.ok(bench.state.draining)
  assert.equal(bench.event({ on: 'heard', draining: false }), [{ do: 'changed' }])
})

it('a new link in the place of the old one shows as dead, then alive', () => {
  const bench = new Bench(false).join()
  assert.equal(bench.event({ on: 'opened' }), [{ do: 'changed' }])
  assert.is(bench.state.status, 'dead')
  bench.event({ on: 'hello' })
  bench.event({ on: 'heard' })
  assert.is(bench.state.status, 'alive')
})

it('refused by us or by the peer: never alive, no flapping, tried again within 1 to 2 s', () => {
  for (const event of [{ on: 'refused' }, { on: 'goodbye' }] as const)
    for (const jitter of [0, 0.999]) {
      const bench = new Bench()
      bench.jitter = jitter
      const dials: number[] = []
      for (let i = 0; i < 10; i++) {
        bench.runTo(Math.max(bench.nowMs, bench.state.wakeAtMs))
        while (bench.state.phase !== 'dialing') bench.runTo(bench.state.wakeAtMs)
        dials.push(bench.nowMs)
        bench.event({ on: 'opened' })
        if (event.on === 'goodbye') bench.event({ on: 'hello' })
        bench.event(event)
        assert.is(bench.state.status, 'dead')
        assert.not(bench.state.draining)
      }
      for (let i = 1; i < dials.length; i++) {
        const waitMs = dials[i]! - dials[i - 1]!
        assert.ok(waitMs >= backoffMaxMs / 2 && waitMs <= backoffMaxMs, `waited ${waitMs}`)
      }
      assert.ok(!bench.done.some(({ status }) => status === 'alive'))
    }
})

it('a machine that answers again: dialled at once, also where a dial is under way or has failed often', () => {
  const bench = new Bench()
  for (let i = 0; i < 8; i++) {
    bench.runTo(bench.nowMs + backoffMaxMs)
    assert.is(bench.state.phase, 'dialing')
    bench.event({ on: 'closed' })
  }
  assert.ok(bench.state.wakeAtMs > bench.nowMs + backoffMinMs)
  bench.event({ on: 'reachable' })
  assert.is(bench.state.wakeAtMs, bench.nowMs)
  assert.equal(bench.event({ on: 'wake' }), [{ do: 'dial' }])
  assert.equal(bench.event({ on: 'reachable' }), [], 'a dial of this moment is not given up')
  bench.nowMs += 80
  assert.equal(bench.event({ on: 'reachable' }), [{ do: 'give up' }])
  bench.event({ on: 'closed' })
  assert.ok(bench.state.wakeAtMs <= bench.nowMs + 2 * backoffMinMs, 'earlier failures do not count')
  bench.join()
  assert.equal(bench.event({ on: 'reachable' }), [], 'one that is alive is left alone')
  const waiting = new Bench(false)
  assert.equal(waiting.event({ on: 'reachable' }), [])
  assert.equal(waiting.event({ on: 'wake' }), [])
})

it('backoff: within its bounds, growing, spread by jitter', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1e6 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (n, jitter) => {
        const waitMs = backoffMs(n, jitter)
        assert.ok(waitMs >= backoffMinMs && waitMs <= backoffMaxMs)
        assert.ok(backoffMs(n + 1, jitter) >= waitMs)
      },
    ),
  )
  assert.is(backoffMs(1, 0), 100)
  assert.is(backoffMs(1, 0.5), 150)
  assert.is(backoffMs(2, 0.5), 250)
  assert.is(backoffMs(20, 0.5), 1050)
})

it('a peer that dies as soon as it is alive is redialled ever more slowly; one that lived is not', () => {
  const bench = new Bench()
  bench.jitter = 0.999
  const waits: number[] = []
  for (let i = 0; i < 6; i++) {
    while (bench.state.phase !== 'dialing') bench.runTo(Math.max(bench.nowMs, bench.state.wakeAtMs))
    bench.event({ on: 'opened' })
    bench.event({ on: 'hello' })
    bench.event({ on: 'heard' })
    bench.event({ on: 'closed' })
    waits.push(Math.round(bench.state.dialAtMs - bench.nowMs))
  }
  assert.equal(waits, [200, 400, 799, 1599, 1998, 1998])
  while (bench.state.phase !== 'dialing') bench.runTo(bench.state.wakeAtMs)
  bench.event({ on: 'opened' })
  bench.event({ on: 'hello' })
  for (const endMs = bench.nowMs + backoffMaxMs; bench.nowMs < endMs; ) {
    bench.event({ on: 'heard' })
    bench.runTo(bench.nowMs + heartbeatMs)
  }
  bench.event({ on: 'closed' })
  assert.is(Math.round(bench.state.dialAtMs - bench.nowMs), 200)
})

it('starvation: a wake that is late by more than an interval gives the peer one more interval', () => {
  const bench = new Bench().join()
  bench.nowMs += 5000
  bench.event({ on: 'wake' })
  assert.is(bench.state.status, 'alive', 'what the peer sent in these 5 s has not been read yet')
  bench.event({ on: 'heard' })
  bench.runTo(bench.nowMs + deadAfterMs - 1)
  assert.is(bench.state.status, 'alive')

  const silent = new Bench().join()
  silent.nowMs += 5000
  silent.event({ on: 'wake' })
  const lateMs = silent.nowMs
  silent.runTo(lateMs + 60_000)
  assert.equal(silent.times('close'), [lateMs + heartbeatMs], 'nothing was there to be read: dead')
})

it('starvation shows by the timer of all peers, also where we ourselves speak seldom to this one', () => {
  const after = (lateMs: number | undefined): string => {
    const bench = new Bench()
    // As with 1,000 peers, of whom this one knows few: it speaks every 250 ms.
    const event = (what: LivenessEvent): void => {
      bench.state = step(bench.state, what, bench.nowMs, 0.9, LIVENESS, 5000).state
    }
    event({ on: 'wake' })
    event({ on: 'opened' })
    event({ on: 'hello' })
    event({ on: 'heard', nextMs: heartbeatMs })
    bench.nowMs += deadAfterMs + heartbeatMs / 2
    event({ on: 'wake', ...(lateMs !== undefined && { lateMs }) })
    return bench.state.status
  }
  assert.equal([undefined, heartbeatMs, heartbeatMs + 1].map(after), ['dead', 'dead', 'alive'])
})

it('starvation without end does not keep a silent peer alive', () => {
  const bench = new Bench().join()
  for (let wakes = 0; bench.state.status === 'alive'; wakes++) {
    assert.ok(wakes <= deadAfterMs / heartbeatMs + graceIntervals + 1, 'still alive')
    bench.nowMs = bench.state.wakeAtMs + heartbeatMs + 1
    bench.event({ on: 'wake' })
  }
})

it('a wake that is late by less gives nothing', () => {
  const bench = new Bench().join()
  bench.runTo(10_000 + deadAfterMs - 1)
  bench.nowMs = bench.state.wakeAtMs + heartbeatMs
  bench.event({ on: 'wake' })
  assert.is(bench.state.status, 'dead')
})

const gaps = fc.array(fc.integer({ min: 1, max: 6000 }), { minLength: 1, maxLength: 60 })

it('property: however starved we are, a peer that goes on sending is never declared dead', () => {
  fc.assert(
    fc.property(gaps, pauses => {
      const bench = new Bench().join()
      let sentMs = bench.nowMs
      for (const pauseMs of pauses) {
        // The process does not run for a while; then its timers go first, and after them what has arrived.
        bench.nowMs += pauseMs
        if (bench.nowMs >= bench.state.wakeAtMs) bench.event({ on: 'wake' })
        while (sentMs + heartbeatMs <= bench.nowMs) {
          sentMs += heartbeatMs
          bench.event({ on: 'heard', draining: false })
        }
        assert.is(bench.state.status, 'alive')
      }
      assert.equal(bench.times('close'), [])
    }),
  )
})

it('property: a silent peer dies at deadAfterMs by a punctual clock, whenever it fell silent', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: deadAfterMs - 1 }), { maxLength: 30 }), pauses => {
      const bench = new Bench().join()
      for (const pauseMs of pauses) {
        bench.runTo(bench.nowMs + pauseMs)
        bench.event({ on: 'heard' })
      }
      const lastMs = bench.nowMs
      bench.runTo(lastMs + 10 * deadAfterMs)
      assert.equal(bench.times('close'), [lastMs + deadAfterMs])
    }),
  )
})

it('property: any events in any order keep the machine sane', () => {
  const events = fc.oneof(
    { weight: 4, arbitrary: fc.constant<LivenessEvent>({ on: 'wake' }) },
    {
      weight: 6,
      arbitrary: fc.constantFrom<LivenessEvent>(
        { on: 'opened' },
        { on: 'hello' },
        { on: 'refused' },
        { on: 'heard' },
        { on: 'heard', draining: true },
        { on: 'goodbye' },
        { on: 'closed' },
        { on: 'reachable' },
      ),
    },
  )
  const settings: LivenessSettings = LIVENESS
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(fc.tuple(events, fc.integer({ min: 0, max: 3000 })), { maxLength: 80 }),
      (dials, script) => {
        let state = startLiveness(dials, 0)
        let nowMs = 0
        for (const [event, pauseMs] of script) {
          nowMs += pauseMs
          const before = structuredClone(state)
          const { state: next, actions, wakeAtMs } = step(state, event, nowMs, 0.3, settings)
          assert.equal(state, before, 'the state that was given is not touched')
          assert.is(next.status === 'alive', next.phase === 'alive')
          assert.ok(
            next.status !== 'connecting' || state.status === 'connecting',
            'connecting is only before the first',
          )
          assert.not(Number.isNaN(wakeAtMs))
          if (event.on === 'wake') assert.ok(wakeAtMs > nowMs, 'a wake is never asked for in the past')
          const changed = next.status !== state.status || next.draining !== state.draining
          assert.is(actions.filter(({ do: what }) => what === 'changed').length, changed ? 1 : 0)
          for (const action of actions) {
            if (action.do === 'dial') assert.ok(dials && next.phase === 'dialing')
            if (action.do === 'heartbeat') assert.ok(next.phase === 'greeted' || next.phase === 'alive')
            if (action.do === 'close') assert.is(next.phase, 'idle')
          }
          state = next
        }
      },
    ),
    { numRuns: 1000 },
  )
})

/** Two machines and a wire that can be cut; both clocks run true. */
it('property: a pair whose wire comes and goes is alive on both sides soon after it came', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 10, max: 4000 }), { minLength: 1, maxLength: 12 }), periods => {
      const a = new Bench(true, 0)
      const b = new Bench(false, 0)
      let wire = false
      let linked = false
      const deliver = (from: Bench, to: Bench, seen: number): number => {
        for (const { action } of from.done.slice(seen)) {
          if (action.do === 'dial' && wire) {
            linked = true
            a.event({ on: 'opened' })
            b.event({ on: 'opened' })
            a.event({ on: 'hello' })
            b.event({ on: 'hello' })
          } else if (action.do === 'dial') from.event({ on: 'closed' })
          else if (action.do === 'heartbeat' && linked) to.event({ on: 'heard' })
          else if (action.do === 'close') linked = false
        }
        return from.done.length
      }
      let seenA = 0
      let seenB = 0
      const run = (untilMs: number): void => {
        for (let t = a.nowMs; t <= untilMs; t += 5) {
          a.nowMs = b.nowMs = t
          for (const bench of [a, b]) if (bench.state.wakeAtMs <= t) bench.event({ on: 'wake' })
          seenA = deliver(a, b, seenA)
          seenB = deliver(b, a, seenB)
        }
      }
      for (const periodMs of periods) {
        run(a.nowMs + periodMs)
        wire = !wire
        if (!wire && linked) {
          linked = false
          a.event({ on: 'closed' })
          b.event({ on: 'closed' })
        }
      }
      wire = true
      run(a.nowMs + backoffMaxMs + heartbeatMs + 10)
      assert.is(a.state.status, 'alive')
      assert.is(b.state.status, 'alive')
    }),
    { numRuns: 60 },
  )
})

it.run()
