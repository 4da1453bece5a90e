/** Which hosts are asked whose a connection is, and for which of the others a packet waits (R-G7). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type AskableView, hostsToAsk } from '../../../src/agent/owners/askable.ts'
import type { MachineState } from '../../../src/control/cluster-types.ts'
import { OWNERS_VERSION } from '../../../src/gossip/frames.ts'

const it = suite('hosts to ask')
type Peer = AskableView['peers'][number]
const peer = (more: Partial<Peer>): Peer => ({
  ...{ name: 'h1', state: 'alive', version: OWNERS_VERSION, lastHeardMs: 100 },
  ...more,
})
const ask = (
  one: Partial<Peer> | null,
  machine: MachineState,
  times: { upMs?: number; patienceMs?: number } = {},
) =>
  hostsToAsk(['h1'], {
    ...{ self: 'f1', peers: one === null ? [] : [peer(one)], machine: () => machine },
    ...{ upMs: 600_000, patienceMs: 30_000, ...times },
  })
const LIVE = { live: ['h1'], silent: 0 }
const SILENT = { live: [], silent: 1 }
const GONE = { live: [], silent: 0 }

it('who is linked is asked, this node itself too', () => {
  assert.equal(ask({}, 'alive'), LIVE)
  assert.equal(ask({}, 'dead'), LIVE)
  const view = { ...{ self: 'h1', peers: [], machine: () => 'unknown' as const }, upMs: 0, patienceMs: 0 }
  assert.equal(hostsToAsk(['h1'], view), LIVE)
})

it('one of an older version leaves it open for ever', () => {
  assert.equal(ask({ version: OWNERS_VERSION - 1 }, 'alive'), SILENT)
})

it('an agent that is away, however long, leaves its connections to the kernel', () => {
  for (const machine of ['alive', 'suspect'] as const)
    assert.equal(ask({ state: 'dead', lastHeardMs: 3_600_000 }, machine), SILENT)
})

it('a dead machine is waited for, then its connections are over', () => {
  assert.equal(ask({ state: 'dead', lastHeardMs: 29_000 }, 'dead'), SILENT)
  assert.equal(ask({ state: 'dead', lastHeardMs: 31_000 }, 'dead'), GONE)
  // A moment without its cable is nothing, whatever is set.
  assert.equal(ask({ state: 'dead', lastHeardMs: 4_900 }, 'dead', { patienceMs: 0 }), SILENT)
  assert.equal(ask({ state: 'dead', lastHeardMs: 5_100 }, 'dead', { patienceMs: 0 }), GONE)
})

it('one that this agent never heard of: from its own start', () => {
  for (const machine of ['dead', 'unknown'] as const) {
    assert.equal(ask({ state: 'dead', lastHeardMs: null }, machine, { upMs: 29_000 }), SILENT)
    assert.equal(ask({ state: 'dead', lastHeardMs: null }, machine, { upMs: 31_000 }), GONE)
  }
  assert.equal(ask(null, 'unknown'), GONE)
})

it('where probes are filtered one that was heard may be frozen only', () => {
  assert.equal(ask({ state: 'dead', lastHeardMs: 3_600_000 }, 'unknown'), SILENT)
})

it.run()
