/** Whole clusters of ledgers and replicas in virtual time: in whatever order and trouble, all nodes come to one view. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type AddResult, Ledger } from '../../src/cluster/ledger.ts'
import type { Entry } from '../../src/cluster/precedence.ts'
import { type Bugs, ClusterRun, RememberingLedger } from '../support/sim/cluster-run.ts'
import { CLUSTER } from '../support/sim/operator.ts'
import { firstFailure, forSeeds } from '../support/sim/seeds.ts'

const it = suite('cluster simulation')
const ORDERS = 25

it('converges through loss, partitions, crashes, evictions and a member that lies', () => {
  forSeeds(300, 'test/sim/cluster.test.ts', seed => new ClusterRun(seed).play(ORDERS))
})

it('replays a seed exactly', () => {
  const digest = (): string => {
    const run = new ClusterRun(7)
    run.play(ORDERS)
    const up = [...run.nodes.values()].map(n => n.ledger.digest())
    return `${up.join(' ')} ${run.world.random()}`
  }
  assert.is(digest(), digest())
})

class Gullible extends Ledger {
  protected override verify(): undefined {
    return undefined
  }
}

/** Of two revisions of one number the one that came first stays. */
class FirstComeFirstServed extends RememberingLedger {
  override take(entry: Entry): AddResult {
    const { body } = entry.statement
    const isLate =
      body.kind === 'config' &&
      this.statements().some(s => s.body.kind === 'config' && s.body.revision === body.revision)
    return isLate ? 'stale' : super.take(entry)
  }
}

const caught = (name: string, bugs: Bugs, sign: RegExp): void => {
  it(`catches a seeded bug: ${name}`, () => {
    let why = ''
    const seed = firstFailure(40, n => {
      try {
        new ClusterRun(n, bugs).play(ORDERS)
      } catch (error) {
        why = String(error)
        throw error
      }
    })
    assert.ok(seed !== undefined, 'not caught in 40 seeds')
    assert.match(why, sign)
  })
}

/** An issuer may say that an admission is older than its token. */
class Timeless extends RememberingLedger {
  protected override verify(entry: Entry): string | undefined {
    const why = super.verify(entry)
    return why === 'the token was not made yet' ? undefined : why
  }
}

caught('signatures are not verified', { makeLedger: () => new Gullible(CLUSTER) }, /forged/)
caught('times before a token was made', { makeLedger: () => new Timeless(CLUSTER) }, /forged/)
caught('ties are settled by arrival', { makeLedger: () => new FirstComeFirstServed(CLUSTER) }, /another set/)
caught('evicted nodes are told what everyone is told', { servesEvicted: true }, /evicted before/)
caught('lists of peers are ignored', { ignoresLists: true }, /another set|no member/)

it.run()
