/** Waiting for a revision on all nodes: whom it waits for, how long, and what it says in the end. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { followRollout, type Rollout, UNHEARD_MS } from '../../../src/cli/change/rollout.ts'
import type { ConfigData } from '../../../src/control/cluster-types.ts'

const it = suite('rollout')
const TEXT = 'version: 1\n'

/** Revisions that the nodes are heard with, by time (ms). */
type Heard = (nowMs: number) => Record<string, number | null>

const follow = async (heard: Heard, waitMs = 30_000, text = TEXT): Promise<Rollout & { afterMs: number }> => {
  let nowMs = 0
  const rollout = await followRollout({
    ...{ revision: 2, text, waitMs },
    now: () => nowMs,
    ask: async () => {
      const rows = Object.entries(heard(nowMs)).map(([node, revision]) => ({ node, revision }))
      return { revision: 2, text: TEXT, rollout: rows } as ConfigData
    },
    sleep: async ms => {
      nowMs += ms
    },
  })
  return { ...rollout, afterMs: nowMs }
}

it('all have it: no wait', async () => {
  const { behind, unheard, afterMs } = await follow(() => ({ a: 2, b: 2 }))
  assert.equal([behind, unheard, afterMs], [[], [], 0])
})

it('one that cannot be heard for a moment is awaited, and then as long as any other', async () => {
  const heard: Heard = nowMs => ({ a: 2, c1: nowMs < 1000 ? null : nowMs < 9000 ? 1 : 2 })
  const { behind, unheard, afterMs } = await follow(heard)
  assert.equal([behind, unheard], [[], []])
  assert.is(afterMs, 9000)
})

it('one that stays away is given a stated while and no more', async () => {
  const { behind, unheard, afterMs } = await follow(() => ({ a: 2, c1: null }))
  assert.equal([behind, unheard, afterMs], [[], ['c1'], UNHEARD_MS])
})

it('the while counts from when it was last heard', async () => {
  const heard: Heard = nowMs => ({ a: nowMs < 6000 ? 1 : 2, c1: nowMs < 5000 ? 2 : null })
  const { behind, unheard, afterMs } = await follow(heard)
  assert.equal([behind, unheard, afterMs], [[], ['c1'], 5000 + UNHEARD_MS])
})

it('never beyond --wait; 0 looks once', async () => {
  const away: Heard = () => ({ a: 1, c1: null })
  for (const waitMs of [0, 500, UNHEARD_MS - 1, 10_000]) {
    const { behind, unheard, afterMs } = await follow(away, waitMs)
    assert.equal([behind, unheard, afterMs], [['a'], ['c1'], waitMs])
  }
})

it('the text of another operator ends it', async () => {
  try {
    await follow(() => ({ a: null }), 10_000, 'other')
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, 'another operator came at the same time and won')
  }
})

it.run()
