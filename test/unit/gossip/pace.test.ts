/** Heartbeats of nodes with many peers: bounded, spread, and no reason to call anybody dead (R-B7). */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  LIVENESS,
  type Liveness,
  type LivenessAction,
  type LivenessEvent,
  startLiveness,
  step,
} from '../../../src/gossip/liveness.ts'
import { believed, intervalOf, PACE, silenceOf } from '../../../src/gossip/pace.ts'

const it = suite('gossip pace')
const { heartbeatMs, deadAfterMs } = LIVENESS
const peersCount = fc.integer({ min: 1, max: 6000 })

/** A machine whose node has so many peers, in virtual time. */
class Machine {
  nowMs = 10_000
  peers: number
  jitter = 0.5
  state: Liveness = startLiveness(true, 10_000)
  beats: { atMs: number; nextMs: number }[] = []
  constructor(peers: number) {
    this.peers = peers
  }
  event(event: LivenessEvent): LivenessAction[] {
    const { state, actions } = step(
      this.state,
      event,
      this.nowMs,
      this.jitter,
      LIVENESS,
      intervalOf(this.peers, heartbeatMs),
    )
    this.state = state
    for (const action of actions)
      if (action.do === 'heartbeat') this.beats.push({ atMs: this.nowMs, nextMs: state.intervalMs })
    return actions
  }
  join(): this {
    this.event({ on: 'wake' })
    this.event({ on: 'opened' })
    this.event({ on: 'hello' })
    this.event({ on: 'heard', nextMs: intervalOf(this.peers, heartbeatMs) })
    return this
  }
  /** Wakes exactly when asked; the peer is heard every 200 ms. */
  runTo(untilMs: number): void {
    while (this.nowMs < untilMs) {
      const heardMs = this.state.heardAtMs! + 200
      this.nowMs = Math.min(untilMs, heardMs, this.state.wakeAtMs)
      if (this.nowMs >= heardMs) this.event({ on: 'heard' })
      if (this.nowMs >= this.state.wakeAtMs) this.event({ on: 'wake' })
    }
  }
}

it('up to 50 peers nothing changes; above, the interval grows in proportion; it ends at 30 s', () => {
  assert.equal(
    [1, 49, 50, 51, 60, 100, 255, 1000, 6000, 100_000].map(peers => intervalOf(peers, heartbeatMs)),
    [250, 250, 250, 300, 300, 500, 1300, 5000, 30_000, 30_000],
  )
  assert.is(silenceOf(heartbeatMs, heartbeatMs, deadAfterMs), deadAfterMs)
  assert.is(silenceOf(5000, heartbeatMs, deadAfterMs), 10_400)
})

it('property: at most 200 heartbeats a second whatever the size, and a larger cluster never a shorter interval', () => {
  fc.assert(
    fc.property(peersCount, peers => {
      const intervalMs = intervalOf(peers, heartbeatMs)
      assert.ok((peers * 1000) / intervalMs <= 200)
      assert.ok(intervalOf(peers + 1, heartbeatMs) >= intervalMs)
      // No more is stretched than the budget and the grid ask for.
      if (peers > PACE.peers) assert.ok(intervalMs < 5 * peers + PACE.gridMs)
    }),
  )
})

it('what a peer says of its interval is taken within bounds', () => {
  assert.equal(
    [0, 1, 250, 5000, 65_535].map(ms => believed(ms, heartbeatMs)),
    [250, 250, 250, 5000, 30_000],
  )
  const machine = new Machine(1).join()
  machine.event({ on: 'heard', nextMs: 65_535 })
  machine.nowMs += silenceOf(30_000, heartbeatMs, deadAfterMs) - 1
  machine.state = { ...machine.state, wakeAtMs: machine.nowMs }
  machine.event({ on: 'wake' })
  assert.is(machine.state.status, 'alive')
  machine.nowMs++
  assert.equal(machine.event({ on: 'wake' })[0], { do: 'close', reason: 'silence' })
})

it('a new link begins with the short silence, whatever was said on the one before', () => {
  const machine = new Machine(1).join()
  machine.event({ on: 'heard', nextMs: 30_000 })
  machine.event({ on: 'opened' })
  machine.event({ on: 'hello' })
  machine.event({ on: 'heard' })
  assert.is(machine.state.peerIntervalMs, heartbeatMs)
})

it('heartbeats to 1,000 peers that were all linked at one moment are spread, and stay so', () => {
  const machines = Array.from({ length: 1000 }, (_, i) => {
    const machine = new Machine(1000)
    machine.jitter = ((i * 617) % 1000) / 1000
    return machine.join()
  })
  const bySecond = new Map<number, number>()
  for (const machine of machines) {
    machine.runTo(40_000)
    for (const { atMs } of machine.beats)
      if (atMs >= 15_000)
        bySecond.set(Math.floor(atMs / 1000), (bySecond.get(Math.floor(atMs / 1000)) ?? 0) + 1)
  }
  const counts = [...bySecond.values()]
  assert.ok(Math.max(...counts.slice(0, 24)) <= 280, `${counts}`)
  assert.ok(Math.min(...counts.slice(0, 24)) >= 120, `${counts}`)
})

/** Machines with so many peers each, linked at one moment and run up to a time. */
const crowd = (peers: number, untilMs: number): Machine[] =>
  Array.from({ length: peers }, (_, i) => {
    const machine = new Machine(peers)
    machine.jitter = ((i * 617) % peers) / peers
    machine.join().runTo(untilMs)
    return machine
  })
const countBy = (machines: Machine[], fromMs: number, untilMs: number, byMs: number): number[] => {
  const counts = new Array<number>(Math.ceil((untilMs - fromMs) / byMs)).fill(0)
  for (const { beats } of machines)
    for (const { atMs } of beats)
      if (atMs >= fromMs && atMs < untilMs) counts[Math.floor((atMs - fromMs) / byMs)]!++
  return counts
}

it('news for 1,000 peers at one moment: their heartbeats are spread over the second, and over the interval again', () => {
  const machines = crowd(1000, 20_000)
  for (const [i, machine] of machines.entries()) {
    machine.event({ on: 'news' })
    machine.jitter = ((i * 331) % 1000) / 1000
    machine.runTo(45_000)
  }
  const second = countBy(machines, 20_000, 21_000, PACE.gridMs)
  assert.ok(Math.max(...second) <= 120, `${second}`)
  const after = countBy(machines, 26_000, 45_000, 1000)
  assert.ok(Math.max(...after) <= 280 && Math.min(...after) >= 120, `${after}`)
})

it('news every 10 ms hurry heartbeats to 1,000 peers no more than news now and then', () => {
  const machines = crowd(1000, 20_000)
  for (const [i, machine] of machines.entries())
    for (let round = 1; round <= 300; round++) {
      machine.jitter = ((i * 617 + round * 409) % 1000) / 1000
      machine.event({ on: 'news' })
      machine.runTo(20_000 + round * 10)
    }
  const [sent] = countBy(machines, 20_000, 23_000, 3000)
  // One in 625 ms on average, not one in 250.
  assert.ok(sent! <= 6000, `${sent} heartbeats in 3 s`)
})

it('property: no heartbeat follows later than its forerunner said, however the cluster grows and shrinks', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          peersCount,
          fc.integer({ min: 0, max: 20_000 }),
          fc.double({ min: 0, max: 0.999, noNaN: true }),
        ),
        {
          minLength: 1,
          maxLength: 8,
        },
      ),
      phases => {
        const machine = new Machine(phases[0]![0]).join()
        for (const [peers, forMs, jitter] of phases) {
          machine.peers = peers
          machine.jitter = jitter
          machine.runTo(machine.nowMs + forMs)
        }
        machine.beats.reduce((before, beat) => {
          const gapMs = beat.atMs - before.atMs
          assert.ok(gapMs > 0 && gapMs <= before.nextMs, `${gapMs} ms after one that said ${before.nextMs}`)
          return beat
        })
        const last = machine.beats.at(-1)!
        assert.ok(machine.nowMs - last.atMs <= last.nextMs, 'one is overdue')
      },
    ),
    { numRuns: 100 },
  )
})

/** Two machines that count their peers differently; what one sends the other hears `delayMs` later. */
it('property: a pair stays alive while its heartbeats arrive, and a silent one dies when its last word says', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(peersCount, peersCount), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 0, max: 300 }),
      (sizes, delayMs) => {
        const [a, b] = [new Machine(sizes[0]![0]).join(), new Machine(sizes[0]![1]).join()]
        // What was sent while joining is under way.
        const seen = new Map([a, b].map(machine => [machine, 0]))
        const runTo = (untilMs: number, hears: boolean): void => {
          for (let t = a.nowMs; t <= untilMs; t += 10)
            for (const [me, other] of [[a, b] as const, [b, a] as const]) {
              me.nowMs = t
              const next = other.beats[seen.get(other)!]
              if (next !== undefined && next.atMs + delayMs <= t && (hears || me === b)) {
                seen.set(other, seen.get(other)! + 1)
                me.event({ on: 'heard', nextMs: next.nextMs })
              }
              if (me.state.wakeAtMs <= t) me.event({ on: 'wake' })
            }
        }
        for (const [ofA, ofB] of sizes) {
          a.peers = ofA
          b.peers = ofB
          runTo(a.nowMs + 40_000, true)
          assert.equal([a.state.status, b.state.status], ['alive', 'alive'])
        }
        const silentMs = a.state.heardAtMs!
        const dueMs = silentMs + silenceOf(a.state.peerIntervalMs, heartbeatMs, deadAfterMs)
        runTo(dueMs - 20, false)
        assert.is(a.state.status, 'alive')
        runTo(dueMs + 20, false)
        assert.is(a.state.status, 'dead')
      },
    ),
    { numRuns: 30 },
  )
})

it('property: what is new is said within a second at 1,000 peers, and a fifth of an interval at most', () => {
  fc.assert(
    fc.property(
      peersCount,
      fc.integer({ min: 0, max: 40_000 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (peers, forMs, jitter) => {
        const machine = new Machine(peers).join()
        machine.runTo(machine.nowMs + forMs)
        machine.jitter = jitter
        const newsMs = machine.nowMs
        const count = machine.beats.length
        machine.event({ on: 'news' })
        const withinMs = Math.max(heartbeatMs, intervalOf(peers, heartbeatMs) / 5)
        machine.runTo(newsMs + withinMs)
        assert.ok(machine.beats.length > count, `${peers} peers: nothing within ${withinMs} ms`)
        machine.runTo(newsMs + withinMs + 1)
        assert.ok(
          machine.state.nextHeartbeatMs - machine.beats.at(-1)!.atMs <= intervalOf(peers, heartbeatMs),
        )
      },
    ),
    { numRuns: 200 },
  )
})

it.run()
