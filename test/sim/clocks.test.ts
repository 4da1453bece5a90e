/** Members of the atom manager whose clocks are minutes apart, in virtual time: ports that are used again are the later connection's (R-C4). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GenerationClock } from '../../src/dam/clock.ts'
import { type Flow, SimCluster } from '../support/sim-cluster.ts'
import { type SessionOptions, SimSessions } from '../support/sim-sessions.ts'

const it = suite('wrong clocks in virtual time')
const CALM = { loss: 0, duplicate: 0, jitterMs: 0 }
const MINUTES = 60_000
const START_MS = 1_200
const SEEDS = 4

interface Setting extends Partial<SessionOptions> {
  readonly seed: number
  /** Of the forwarder that carries the first connections; the others' are right. */
  readonly firstAheadMs?: number
  /** Of the one that carries the second ones. */
  readonly nextAheadMs?: number
  /** The first ones are closed; else their clients are gone without a word. */
  readonly closed: boolean
  readonly connections?: number
}

/** Connections by one forwarder; then others on the same ports, at other hosts, by another forwarder, which move to a third in their middle. */
const again = ({
  seed,
  firstAheadMs = 0,
  nextAheadMs = 0,
  closed,
  connections = 12,
  ...options
}: Setting) => {
  const sim = new SimCluster({
    ...{ seed, forwarders: 3, hosts: 3, remoteClassifier: false, faults: CALM, copies: 1, resolves: true },
    limits: { embryonicFlows: 128 },
  })
  const [first, next, third] = sim.forwarders as [number, number, number]
  const sessions = new SimSessions(sim, {
    ...{ copies: 1, asksHosts: true, aheadMs: { '10.10.0.1': firstAheadMs, '10.10.0.2': nextAheadMs } },
    ...options,
  })
  sim.run(START_MS)
  const old = Array.from({ length: connections }, () => sim.open())
  for (const flow of old) {
    flow.forwarder = first
    if (closed) sim.session(flow, 20, 600)
    else {
      sim.send(flow, 2, 8)
      for (let i = 1; i < 20; i++) sim.at(i * 30, () => sim.send(flow, 16, 8))
    }
  }
  sim.at(650, () => {
    sim.capacities = new Map([
      ['h1', 1],
      ['h2', 1],
      ['h3', 99],
    ])
    sim.reconfigure({})
  })
  const later: Flow[] = []
  // After the linger, and while the ends are known.
  sim.at(closed ? 3_500 : 8_000, () => {
    for (const flow of old) {
      const reopened = sim.reopen(flow)
      reopened.forwarder = next
      later.push(reopened)
      sim.session(reopened, 40, 1_200)
      sim.at(600, () => {
        reopened.forwarder = third
      })
    }
  })
  sim.run(START_MS + 11_000)
  return { sim, sessions, later }
}

const problemsOf = ({ sim, later }: ReturnType<typeof again>): string[] => [
  ...sim.problems,
  ...later
    .filter(({ received, sent }) => received.length !== sent)
    .map(({ id }) => `flow ${id} lost packets`),
]

const refutedIn = ({ sim }: ReturnType<typeof again>): number =>
  [...sim.nodes.values()].reduce(
    (sum, { engine }) => sum + (engine.forwarder?.midFlow.counters.claimsRefuted ?? 0),
    0,
  )

const WRONG: readonly (Pick<Setting, 'firstAheadMs' | 'nextAheadMs'> & { readonly name: string })[] = [
  { name: 'the first one’s clock is four minutes ahead', firstAheadMs: 4 * MINUTES },
  { name: 'the second one’s clock is four minutes behind', nextAheadMs: -4 * MINUTES },
  { name: 'both are wrong', firstAheadMs: 2 * MINUTES, nextAheadMs: -2 * MINUTES },
]

for (const closed of [true, false]) {
  const after = `ports used again after ${closed ? 'a close' : 'a client’s death'}`
  it(`${after}: with right clocks no word is said against another`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = again({ seed, closed })
      assert.equal(problemsOf(run), [], `seed ${seed}`)
      assert.is(refutedIn(run), 0)
      assert.is(run.later.length, 12)
    }
  })
  for (const { name, ...clocks } of WRONG) {
    it(`${after}: ${name}, and the others have followed it`, () => {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const run = again({ seed, closed, ...clocks })
        assert.equal(problemsOf(run), [], `seed ${seed}`)
        assert.is(refutedIn(run), 0)
      }
    })
    it(`${after}: ${name}, and nobody has heard of it before: the later one is told of again`, () => {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const run = again({ seed, closed, ...clocks, connections: 1 })
        assert.equal(problemsOf(run), [], `seed ${seed}`)
        assert.is(refutedIn(run), 1)
      }
    })
  }
}

it('the simulation notices when clocks are not followed, and when all claims are believed', () => {
  const wrong = { seed: 1, closed: true, firstAheadMs: 4 * MINUTES }
  const bug = 'all claims are believed'
  assert.ok(problemsOf(again({ ...wrong, connections: 1, bug })).length > 0)
  const { saw } = GenerationClock.prototype
  GenerationClock.prototype.saw = () => {}
  try {
    assert.ok(refutedIn(again(wrong)) > 0)
    assert.ok(problemsOf(again({ ...wrong, bug })).length > 0)
  } finally {
    GenerationClock.prototype.saw = saw
  }
})

it.run()
