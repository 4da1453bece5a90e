/** Flows whose end may have passed unseen are asked about once they are idle; what nobody has closes, what nobody knows stays (R-D5). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DOUBT_IDLE_MS } from '../../src/agent/dataplane/flow-doubts.ts'
import { FLOW_FLAG, LIST } from '../../src/agent/dataplane/flows.ts'
import { RESOLVE_WORDS, RESOLVED } from '../../src/agent/dataplane/messages.ts'
import { HOSTS, ip, tcp } from '../support/cores.ts'
import { keyOf, setUp as setUpCore } from '../support/mid-flow-case.ts'
import { FLAG } from '../support/packets.ts'

const it = suite('flow-doubts')
const { ACK, SYN } = FLAG
const FIRST_MS = DOUBT_IDLE_MS[0]
const PASS_MS = 10_000

const setUp = (room = 16) => {
  const t = setUpCore({ room })
  const { core, flows } = t
  return {
    ...t,
    /** Flows at h1 that an agent before had, with their last packet at `usedMs`. */
    keep: (count: number, usedMs: number): void => {
      for (let n = 0; n < count; n++) {
        const slot = flows.insert(keyOf(40_000 + n), 0, usedMs)
        flows.table.move(slot, LIST.TCP, usedMs)
        flows.host[slot] = 1
        flows.set(slot, FLOW_FLAG.MAPPED)
        core.tally.open(1, 0, 1)
      }
      core.adopted()
    },
    /** Ports of what is asked from `from` until `until`. */
    asks: (from: number, until: number): number[] => {
      const ports: number[] = []
      for (let now = from; now <= until; now += 100) {
        core.tick(now)
        const words = core.doubts.queue.take()
        for (let at = 0; at < words.length; at += RESOLVE_WORDS) ports.push(words[at + 8]! >>> 16)
      }
      return ports
    },
    says: (nowMs: number, how: 'host' | 'nobody', port = 40_000, host = 1): void =>
      core.doubts.answered(keyOf(port), how === 'host' ? ip(HOSTS[host - 1]!) : 0, RESOLVED[how], nowMs),
    isOpen: (port = 40_000): boolean | undefined => {
      const slot = flows.table.find(keyOf(port))
      return slot < 0 ? undefined : flows.table.listOf(slot) === LIST.TCP
    },
  }
}

it('a kept flow that no host has any more closes as by a FIN, and its atom ends', () => {
  const t = setUp()
  t.keep(2, 0)
  while (t.core.atoms.isTelling) t.core.atoms.step()
  assert.equal(t.atoms(), ['put 40000 h1', 'put 40001 h1'])
  assert.equal(t.asks(100, FIRST_MS - 100), [], 'they may only be idle')
  assert.equal(new Set(t.asks(FIRST_MS, FIRST_MS + PASS_MS)), new Set([40_000, 40_001]))
  const now = FIRST_MS + PASS_MS
  t.says(now, 'host', 40_001)
  t.says(now, 'nobody')
  assert.is(t.isOpen(), false)
  assert.is(t.isOpen(40_001), true)
  assert.is(t.core.tally.hostFlows[1], 1)
  t.core.tick(now + 12_100)
  assert.is(t.flows.table.size, 1)
  assert.is(t.atoms().at(-1), 'end 40000 h1')
  assert.is(t.core.doubts.counters.doubtsEnded, 1)
})

it('what a host denies that has found nothing of the service yet may be of a kind that it cannot find: it stays', () => {
  const t = setUp()
  t.keep(2, 0)
  t.asks(0, FIRST_MS)
  t.says(FIRST_MS, 'nobody')
  assert.is(t.isOpen(), true)
  assert.is(t.core.doubts.counters.doubtsUnproven, 1)
  const second = DOUBT_IDLE_MS[1]
  assert.not.ok(t.asks(FIRST_MS + 100, second - 100).includes(40_000), 'not at once')
  t.says(second - 100, 'host', 40_001)
  assert.ok(t.asks(second, second + PASS_MS).includes(40_000))
  t.says(second + PASS_MS, 'nobody')
  assert.is(t.isOpen(), false)
  assert.is(t.isOpen(40_001), true)
})

it('one that its host has is asked about again after TIME-WAIT, and then trusted', () => {
  const t = setUp()
  t.keep(1, 0)
  t.asks(0, FIRST_MS)
  t.says(FIRST_MS, 'host')
  const second = DOUBT_IDLE_MS[1]
  assert.equal(t.asks(FIRST_MS + 100, second - 100), [])
  assert.is(t.asks(second, second + PASS_MS)[0], 40_000)
  t.says(second + PASS_MS, 'host')
  assert.equal(t.asks(second + PASS_MS + 100, 500_000), [], 'its end will be seen')
  assert.is(t.isOpen(), true)
})

it('while hosts are silent, and when another one has it, it stays, and is asked about again', () => {
  const t = setUp()
  t.keep(1, 0)
  assert.ok(t.asks(0, FIRST_MS + 3 * PASS_MS).length >= 3)
  t.says(FIRST_MS + 3 * PASS_MS, 'host', 40_000, 2)
  assert.is(t.isOpen(), true)
  assert.ok(t.asks(FIRST_MS + 3 * PASS_MS, FIRST_MS + 5 * PASS_MS).length > 0)
})

it('an answer that a packet has overtaken is none', () => {
  const t = setUp()
  t.keep(1, 0)
  t.asks(0, FIRST_MS)
  t.core.packet(tcp(SYN), FIRST_MS + 10)
  t.says(FIRST_MS + 20, 'nobody')
  assert.is(t.isOpen(), true)
})

it('what was opened here is not asked about; what came in its middle, stood still, or is said to have ended is', () => {
  const opened = (t: ReturnType<typeof setUp>): void => {
    t.core.packet(tcp(SYN), 0)
    for (let i = 0; i < 6; i++) t.core.packet(tcp(ACK), 1)
    for (let i = 0; i < 6; i++) t.core.packet(tcp(ACK), 2)
  }
  const plain = setUp()
  opened(plain)
  assert.is(plain.isOpen(), true)
  assert.equal(plain.asks(0, FIRST_MS + PASS_MS), [])

  const still = setUp()
  opened(still)
  still.core.doubts.doubtAll()
  assert.ok(still.asks(0, FIRST_MS + PASS_MS).length > 0)

  const said = setUp()
  opened(said)
  assert.equal(said.atoms(), ['put 40000 h1'])
  said.core.midFlow.claimed(keyOf(), ip(HOSTS[0]!), RESOLVED.nobody, 9_000)
  assert.ok(said.asks(9_000, FIRST_MS + PASS_MS).length > 0)

  for (const how of ['memberAtom', 'nobody'] as const) {
    const middle = setUp()
    middle.core.packet(tcp(ACK), 0)
    middle.answer(1, how, how === 'nobody' ? 0 : 1)
    for (let i = 0; i < 3; i++) middle.core.packet(tcp(ACK), 2)
    assert.ok(middle.asks(0, FIRST_MS + PASS_MS).length > 0, how)
  }
})

it('many are asked about some at a time, each once in a pass', () => {
  const t = setUp(2_000)
  t.keep(2_000, 0)
  const first = t.asks(FIRST_MS, FIRST_MS)
  assert.ok(first.length > 0 && first.length <= 64, `${first.length}`)
  const second = t.asks(FIRST_MS + 100, FIRST_MS + 1_000)
  assert.ok(second.length <= 256, `${second.length}`)
  const all = [...first, ...second, ...t.asks(FIRST_MS + 1_100, FIRST_MS + 8_000)]
  assert.is(new Set(all).size, 2_000)
})

it.run()
