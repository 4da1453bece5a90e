/**
 * Agents that die, freeze, starve and come back in a managed cluster (architecture decision 7): their death is seen within a
 * second while their nodes stay alive, and who lives is not called dead.
 */
// test-timeout-ms: 240000
import { type ChildProcess, spawn } from 'node:child_process'
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EventsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import {
  AGENT,
  AGENT_MS,
  allAlive,
  DEATHS,
  FIVE_NODES,
  MACHINE,
  NODE_MS,
  nodesSeenBy,
  ORDER,
  othersThan,
  phase,
  restore,
  shown,
  spread,
  Watch,
} from '../support/liveness-watch.ts'
import { print } from '../support/managed-cluster.ts'
import { missingRoot, skip } from '../support/skip.ts'

const it = suite('cluster-liveness')
const FREEZE_ROUNDS = 10
const BURNT_MS = 11_000

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

it(`${2 * FREEZE_ROUNDS} frozen agents are dead to all others within a second, their nodes alive; then alive again`, async () => {
  const deadMs: number[] = []
  const backMs: number[] = []
  const from = watch.mark()
  for (let round = 0; round < FREEZE_ROUNDS; round++) {
    await phase(round)
    const frozen = [0, 1].map(i => ORDER[(2 * round + i + (round >> 1)) % ORDER.length]!)
    const mark = watch.mark()
    const observers = othersThan(lab, ...frozen)
    const frozenMs: number[] = []
    for (const name of frozen) {
      await delay((round * 61) % 125)
      frozenMs.push(performance.now())
      assert.ok(lab.kill(name, 'SIGSTOP'))
    }
    try {
      for (const [i, name] of frozen.entries())
        for (const atMs of await watch.until('agent.down', name, observers, mark))
          deadMs.push(atMs - frozenMs[i]!)
      for (const name of frozen) assert.is(await shown(lab, observers[round % 3]!, name), 'alive/dead')
    } finally {
      for (const name of frozen) lab.kill(name, 'SIGCONT')
    }
    const continuedMs = performance.now()
    for (const name of frozen)
      for (const atMs of await watch.until('agent.up', name, observers, mark)) backMs.push(atMs - continuedMs)
    await allAlive(lab)
  }
  print(`frozen agents: dead after ${spread(deadMs)}; continued: alive after ${spread(backMs)}`)
  assert.equal(watch.since(from, MACHINE), [], 'a node is no agent')
  assert.ok(Math.max(...deadMs) < AGENT_MS, spread(deadMs))
})

it('killed agents are dead to all others within a second, their nodes alive; started anew they are alive', async () => {
  const deadMs: number[] = []
  const from = watch.mark()
  for (const name of ORDER) {
    await phase(deadMs.length)
    const mark = watch.mark()
    const killedMs = performance.now()
    assert.ok(lab.kill(name, 'SIGKILL'))
    for (const atMs of await watch.until('agent.down', name, othersThan(lab, name), mark))
      deadMs.push(atMs - killedMs)
    await delay(NODE_MS) // what would follow if the node counted as dead
    for (const by of othersThan(lab, name)) assert.is(await shown(lab, by, name), 'alive/dead')
    await lab.startAgent(name)
    await watch.follow(name)
    await watch.until('agent.up', name, othersThan(lab, name), mark)
    await allAlive(lab)
  }
  print(`killed agents: dead after ${spread(deadMs)}`)
  assert.equal(watch.since(from, DEATHS), [])
  assert.ok(Math.max(...deadMs) < AGENT_MS, spread(deadMs))
})

/** What all cores together have been idle, ms. */
const idleMs = (): number => cpus().reduce((sum, { times }) => sum + times.idle, 0)

it(`with all cores burnt for ${BURNT_MS / 1000} s nobody's state changes anywhere`, async () => {
  const mark = watch.mark()
  const burners: ChildProcess[] = cpus().map(() =>
    spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }),
  )
  const ended = Promise.all(burners.map(b => new Promise(resolve => b.once('exit', resolve))))
  const idleBeforeMs = idleMs()
  try {
    const endMs = performance.now() + BURNT_MS
    while (performance.now() < endMs) {
      for (const node of othersThan(lab))
        for (const row of await nodesSeenBy(lab, node))
          assert.is(`${row.node}/${row.agent}`, 'alive/alive', `${row.name} as ${node} sees it`)
      await delay(200)
    }
  } finally {
    for (const burner of burners) burner.kill('SIGKILL')
    await ended
  }
  const wereIdleMs = idleMs() - idleBeforeMs
  print(`cores were idle for ${wereIdleMs} of ${BURNT_MS * cpus().length} ms`)
  assert.ok(wereIdleMs < (BURNT_MS * cpus().length) / 10, 'the cores were not burnt')
  assert.equal(watch.since(mark, [...MACHINE, ...AGENT]), [])
})

it('observers that were frozen for 3 s declare no node dead, and still see one die', async () => {
  const frozen = ['f1', 'c1']
  const mark = watch.mark()
  for (const name of frozen) assert.ok(lab.kill(name, 'SIGSTOP'))
  try {
    await delay(3_000)
  } finally {
    for (const name of frozen) lab.kill(name, 'SIGCONT')
  }
  await allAlive(lab)
  await delay(1_000) // longer than a death would take
  assert.equal(watch.since(mark, MACHINE), [])
  await allAlive(lab)
  const cutMark = watch.mark()
  const cutMs = performance.now()
  await lab.setLink('h1', 'down')
  try {
    for (const atMs of await watch.until('node.dead', 'h1', othersThan(lab, 'h1'), cutMark))
      assert.ok(atMs - cutMs < NODE_MS, `${atMs - cutMs} ms`)
  } finally {
    await lab.setLink('h1', 'up')
  }
  await allAlive(lab)
})

it('shunt nodes tells a dead agent from a dead node, exit code 3, and the events of both are kept', async () => {
  const mark = watch.mark()
  const { last } = await lab.api<EventsData>('f1', '/v1/events?limit=1')
  lab.kill('h1', 'SIGSTOP')
  await lab.setLink('h2', 'down')
  try {
    for (const name of ['h1', 'h2']) await watch.until('agent.down', name, ['f1'], mark)
    const { code, stdout, stderr } = await lab.shunt('f1', ['nodes'])
    assert.is(code, 3, stderr)
    const rows = new Map(stdout.split('\n').map(line => [line.split(/\s+/)[0], line.split(/\s+/)]))
    const states = (name: string): string => rows.get(name)!.slice(3, 5).join('/')
    assert.equal(['f1', 'f2', 'c1', 'h1', 'h2'].map(states), [
      'alive/alive',
      'alive/alive',
      'alive/alive',
      'alive/dead',
      'dead/dead',
    ])
    assert.match(stderr, /the agent of h1 \(10\.10\.0\.71\) is dead/)
    assert.match(stderr, /node h2 \(10\.10\.0\.72\) is dead/)
  } finally {
    lab.kill('h1', 'SIGCONT')
    await lab.setLink('h2', 'up')
  }
  await allAlive(lab)
  const { events } = await lab.api<EventsData>('f1', `/v1/events?after=${last}&limit=1000`)
  const of = (subject: string): string[] => events.filter(e => e.subject === subject).map(e => e.kind)
  assert.equal(of('h1'), ['agent.down', 'agent.up'])
  assert.equal(of('h2').slice(0, 3), ['node.suspect', 'node.dead', 'agent.down'])
  assert.equal(of('h2').slice(3).sort(), ['agent.up', 'node.alive'])
})

if (missingRoot() === undefined) it.run()
else skip('cluster-liveness', missingRoot()!)
