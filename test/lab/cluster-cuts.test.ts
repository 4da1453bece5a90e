/**
 * Nodes that are cut off without a goodbye (architecture decision 7): suspect and dead within half a second at every other node, and
 * out of the way of new connections.
 */
// test-timeout-ms: 240000
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import {
  allAlive,
  FIVE_NODES,
  MACHINE,
  NODE_MS,
  ORDER,
  othersThan,
  phase,
  restore,
  shown,
  spread,
  Watch,
} from '../support/liveness-watch.ts'
import type { LoadRecord } from '../support/load-client.ts'
import { print } from '../support/managed-cluster.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { load, startLoad } from '../support/traffic.ts'

const it = suite('cluster-cuts')
const CUTS = 20

let lab: Lab
let watch: Watch

it.before(async () => {
  lab = await Lab.up({ name: labName(), ...FIVE_NODES })
  watch = await Watch.start(lab)
  await allAlive(lab)
})

it.after(async () => {
  await watch?.stop()
  await lab?.down(0)
  assert.equal(leftovers(lab.name), [])
})

it.before.each(() => restore(lab))

it(`a node cut off with no goodbye is suspect and dead within ${NODE_MS} ms at every other node, ${CUTS} times; healed it is back`, async () => {
  const suspectMs: number[] = []
  const deadMs: number[] = []
  const agentMs: number[] = []
  const aliveMs: number[] = []
  const linkMs: number[] = []
  for (let cut = 0; cut < CUTS; cut++) {
    await phase(cut)
    const name = ORDER[(cut + (cut >> 2)) % ORDER.length]!
    const others = othersThan(lab, name)
    const mark = watch.mark()
    const cutMs = performance.now() // before the command: what it takes is counted too
    await lab.setLink(name, 'down')
    let healMark: number
    let healedMs: number
    // Of most cuts the links survive; of each fifth they must not.
    const long = cut % 5 === 4
    try {
      for (const atMs of await watch.until('node.suspect', name, others, mark)) suspectMs.push(atMs - cutMs)
      for (const atMs of await watch.until('node.dead', name, others, mark)) deadMs.push(atMs - cutMs)
      if (long) {
        for (const atMs of await watch.until('agent.down', name, others, mark)) agentMs.push(atMs - cutMs)
        for (const by of others) assert.is(await shown(lab, by, name), 'dead/dead')
        // It cannot know that it is the one who is away.
        for (const other of others) {
          await watch.until('agent.down', other, [name], mark)
          assert.is(await shown(lab, name, other), 'dead/dead')
        }
      } else for (const by of others) assert.match(await shown(lab, by, name), /^dead\//)
    } finally {
      healMark = watch.mark()
      healedMs = performance.now()
      await lab.setLink(name, 'up')
    }
    for (const atMs of await watch.until('node.alive', name, others, healMark)) aliveMs.push(atMs - healedMs)
    if (long)
      for (const atMs of await watch.until('agent.up', name, others, healMark)) linkMs.push(atMs - healedMs)
    await allAlive(lab)
    const wronged = watch.since(mark, MACHINE).filter(s => s.subject !== name && s.by !== name)
    assert.equal(wronged, [], `of those who were there while ${name} was away`)
  }
  print(
    [
      `${CUTS} cuts: suspect after ${spread(suspectMs)}; dead after ${spread(deadMs)}; agent dead after ${spread(agentMs)}`,
      `healed: node alive after ${spread(aliveMs)}; links back after ${spread(linkMs)}`,
    ].join('\n  '),
  )
  assert.ok(Math.max(...suspectMs) < NODE_MS, spread(suspectMs))
  assert.ok(Math.max(...deadMs) < NODE_MS, spread(deadMs))
})

/** Unix times: before the cut, when it was there, when it was healed. */
interface Cut {
  name: string
  cutMs: number
  downMs: number
  healMs: number
}

const failures = (some: LoadRecord[]): LoadRecord[] => some.filter(r => r.error !== null)
const slowest = (some: LoadRecord[]): number => Math.round(Math.max(0, ...some.map(r => r.durationMs)))

/** Only what the host had begun to serve may wait for it, or fail. */
const assertSpared = (records: LoadRecord[], { name, cutMs, downMs, healMs }: Cut): void => {
  const begun = (fromMs: number, toMs: number): LoadRecord[] =>
    records.filter(r => r.startMs >= fromMs && r.startMs < toMs)
  const inFlight = begun(cutMs - 5_000, downMs).filter(r => r.startMs + r.durationMs > cutMs)
  const between = begun(downMs, cutMs + NODE_MS)
  const after = begun(cutMs + NODE_MS, healMs)
  const say = (some: LoadRecord[]): string =>
    `${some.length}, ${failures(some).length} failed, slowest ${slowest(some)} ms`
  print(`${name} cut: in flight ${say(inFlight)}; before it was seen ${say(between)}; after ${say(after)}`)
  assert.ok(after.length > 100, `only ${after.length} requests`)
  assert.equal(failures([...between, ...after]), [])
  assert.not([...between, ...after].some(r => r.host === name))
  // A SYN to the lost host is sent again after a second, and then goes to the other one.
  assert.ok(slowest(between) < 2_000, `${slowest(between)} ms`)
  assert.ok(slowest(after) < 1_000, `${slowest(after)} ms`)
}

it('new connections go to the other host once a cut one is seen as dead, and to both after it is back', async () => {
  const jobs = [{ kind: 'small', count: 1 } as const]
  const stream = startLoad(lab, lab.client(), { concurrency: 8, gapMs: 10, jobs, timeoutMs: 5_000 })
  await delay(1_500)
  const cuts: Cut[] = []
  for (const name of ['h1', 'h2', 'h1']) {
    const mark = watch.mark()
    const cutMs = Date.now()
    await lab.setLink(name, 'down')
    const downMs = Date.now()
    try {
      await watch.until('node.dead', name, othersThan(lab, name), mark)
      await delay(2_500)
    } finally {
      cuts.push({ name, cutMs, downMs, healMs: Date.now() })
      await lab.setLink(name, 'up')
    }
    await allAlive(lab)
    await delay(500)
  }
  const { records } = await stream.stop()
  for (const cut of cuts) assertSpared(records, cut)
  const again = await load(lab, lab.client(), { concurrency: 8, jobs: [{ kind: 'small', count: 200 }] })
  assert.is(again.failed, 0)
  for (const host of ['h1', 'h2']) assert.ok(again.byHost[host]! > 50, `${host} got ${again.byHost[host]}`)
})

if (missingRoot() === undefined) it.run()
else skip('cluster-cuts', missingRoot()!)
