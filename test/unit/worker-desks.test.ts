import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { AllotmentDesk } from '../../src/agent/dataplane/allotment-desk.ts'
import { RouteBatch } from '../../src/agent/dataplane/batch.ts'
import type { Engine } from '../../src/agent/dataplane/engine.ts'
import {
  BATCH_WORDS,
  type FromWorker,
  RESOLVE_WORDS,
  RESOLVED,
  RESOLVED_WORDS,
} from '../../src/agent/dataplane/messages.ts'
import { PacketLoad } from '../../src/agent/dataplane/packet-load.ts'
import { RecordQueue } from '../../src/agent/dataplane/record-queue.ts'
import { RouteDesk } from '../../src/agent/dataplane/route-desk.ts'
import { SessionDesk } from '../../src/agent/dataplane/session-desk.ts'

const it = suite('what the packet path and the main thread tell each other')

const posts = () => {
  const posted: FromWorker[] = []
  const transferred: Uint32Array[] = []
  const post = (message: FromWorker, transfer: Uint32Array[] = []) => {
    posted.push(message)
    transferred.push(...transfer)
  }
  return { posted, transferred, post }
}
const keyOf = (port: number) => Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8, port, 6)
const HOST = Uint32Array.of(0, 0, 0xffff, 0x0a000009)

it('routes leave by forwarder, what has ended after them, and nothing is said twice', () => {
  const plumbs = new Map([10, 20, 30].map(ipv4 => [ipv4, new RouteBatch()]))
  const ended = new RouteBatch()
  const { posted, transferred, post } = posts()
  const desk = new RouteDesk(() => ({ plumbs, ended }) as unknown as Engine, post)
  assert.not(desk.isWaiting)
  plumbs.get(10)!.add(keyOf(80), 0, HOST)
  assert.ok(desk.isWaiting)
  plumbs.get(30)!.add(keyOf(81), 0, HOST)
  ended.add(keyOf(82), 0, null)
  desk.turn()
  assert.not(desk.isWaiting)
  desk.turn()
  assert.equal(
    posted.map(message => (message.type === 'plumb' ? message.forwarderIpv4 : message.type)),
    [10, 30, 'ended'],
  )
  assert.equal(
    transferred.map(words => [words[8], words[13], words.length]),
    [
      [80, HOST[3], BATCH_WORDS],
      [81, HOST[3], BATCH_WORDS],
      [82, 0, BATCH_WORDS],
    ],
    'their buffers are handed over',
  )
  ended.add(keyOf(83), 0, null)
  assert.ok(desk.isWaiting, 'an end alone is told as well')
})

it('idle flows in doubt are asked about, and what hosts say of them comes back', () => {
  const queue = new RecordQueue(RESOLVE_WORDS, 4)
  const none = new RecordQueue(RESOLVE_WORDS, 4)
  const answered: unknown[] = []
  const forwarder = {
    atoms: { queue: none, isTelling: false, takeLost: () => false },
    doubts: {
      queue,
      answered: (key: Uint32Array, host: number, how: number, nowMs: number) =>
        answered.push([key[8], host, how, nowMs]),
    },
  }
  const { posted, transferred, post } = posts()
  const engine = {
    forwarder,
    resolving: null,
    affinity: { queue: none },
    clients: { questions: none },
  } as unknown as Engine
  const desk = new SessionDesk(() => engine, post)
  assert.not(desk.isWaiting)
  queue.add(keyOf(80), 0, 1, 0, 0)
  assert.ok(desk.isWaiting)
  desk.turn()
  assert.not(desk.isWaiting)
  assert.equal(
    posted.map(({ type }) => type),
    ['verify'],
  )
  assert.is(transferred[0]![8], 80)
  const words = new Uint32Array(RESOLVED_WORDS)
  words.set(keyOf(80))
  words.set([9, RESOLVED.host], 10)
  desk.take({ type: 'verified', words }, 5)
  assert.equal(answered, [[80, 9, RESOLVED.host, 5]])
})

it('routes from elsewhere reach the forwarder, ends the classifier, in order; without the role they are passed over', () => {
  const seen: unknown[] = []
  const forwarder = {
    plumbed: (key: Uint32Array, host: number, nowMs: number) => seen.push(['plumbed', key[8], host, nowMs]),
    unplumbed: (key: Uint32Array, nowMs: number) => seen.push(['unplumbed', key[8], nowMs]),
  }
  const classifier = { ended: (key: Uint32Array) => seen.push(['ended', key[8]]) }
  let engine = { forwarder, classifier } as unknown as Engine
  const desk = new RouteDesk(() => engine, posts().post)
  const batch = new RouteBatch()
  batch.add(keyOf(80), 0, HOST)
  batch.add(keyOf(81), 0, HOST)
  const words = batch.take()
  desk.take({ type: 'plumb', words }, 7)
  desk.take({ type: 'unplumb', words: words.subarray(0, BATCH_WORDS) }, 8)
  desk.take({ type: 'ended', words: words.subarray(BATCH_WORDS) }, 9)
  assert.equal(seen, [
    ['plumbed', 80, HOST[3], 7],
    ['plumbed', 81, HOST[3], 7],
    ['unplumbed', 80, 8],
    ['ended', 81],
  ])
  engine = { forwarder: null, classifier: null } as unknown as Engine
  for (const type of ['plumb', 'unplumb', 'ended'] as const) desk.take({ type, words }, 9)
  assert.is(seen.length, 4)
})

it('allotments are answered once no packet follows an earlier one; those used up are asked for', () => {
  let left = 2
  const wanted = [3]
  const engine = {
    allotment: {
      renew: (leases: unknown) => taken.push(leases),
      takeWanted: () => wanted.splice(0),
    },
    allot: (update: unknown) => taken.push(update),
    get isWithdrawing() {
      return left > 0
    },
    withdraw: () => {
      left--
    },
  }
  const taken: unknown[] = []
  const { posted, post } = posts()
  const desk = new AllotmentDesk(() => engine as unknown as Engine, post)
  const update = { services: [], leases: [], complete: true }
  desk.take({ type: 'allotments', id: 1, update }, 0)
  desk.take({ type: 'allotments', id: 2, update }, 0)
  const leases = [{ host: 1, untilMs: 5 }]
  desk.take({ type: 'leases', leases }, 0)
  assert.equal(taken, [update, update, leases])
  desk.turn(0)
  assert.equal(posted, [{ type: 'allotments-wanted', services: [3] }], 'some are still being withdrawn')
  desk.turn(1)
  desk.turn(2)
  assert.equal(posted.slice(1), [
    { type: 'answer', id: 1, data: null },
    { type: 'answer', id: 2, data: null },
  ])
})

it('packets are gathered from the 24th of a window on, until a window has less or turns are far apart', () => {
  const load = new PacketLoad()
  const windowOf = (fromMs: number, packets: number): boolean => {
    load.turn(fromMs)
    load.add(packets)
    load.turn(fromMs + 1)
    load.turn(fromMs + 2)
    return load.isHeavy(fromMs + 2)
  }
  assert.not(windowOf(1000, 23))
  assert.ok(windowOf(1002, 24))
  assert.ok(load.isHeavy(1004 + 3.9), 'the one after it')
  assert.not(load.isHeavy(1004 + 4))
  assert.not(windowOf(1004, 23), 'a window with less ends it')
  load.add(100)
  load.turn(1010)
  assert.not(load.isHeavy(1010), 'they had longer than a window to come')
})

it.run()
