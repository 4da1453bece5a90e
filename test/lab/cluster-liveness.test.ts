/**
 * Nodes and agents that die, freeze, starve and come back in a managed cluster (architecture decision 7): an agent's death is seen
 * within a second while its node stays alive, a node's within half a second, and nobody's who lives.
 */
// test-timeout-ms: 240000
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EventKind, EventsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import { allAlive, nodesSeenBy, shown, spread, Watch } from '../support/liveness-watch.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { load, startLoad } from '../support/traffic.ts'

const it = suite('cluster-liveness')
const AGENT_MS = 1_000
const NODE_MS = 500
const CUTS = 20
const FREEZE_ROUNDS = 12
const BURNT_MS = 12_000
const MACHINE: EventKind[] = ['node.suspect', 'node.dead', 'node.alive']
const DEATHS: EventKind[] = ['node.suspect', 'node.dead']
const AGENT: EventKind[] = ['agent.down', 'agent.up', 'agent.draining']
const ORDER = ['h1', 'f2', 'h2', 'c1']

let lab: Lab
let watch: Watch
const names = (): string[] => lab.nodes.map(n => n.name)
const othersThan = (...some: string[]): string[] => names().filter(n => !some.includes(n))
const print = (text: string): void => void process.stdout.write(`\n  ${text}\n`)
/** At another phase of heartbeats and probes each time. */
const phase = (run: number): Promise<void> => delay(250 + ((run * 37) % 250))

it.before(async () => {
  lab = await Lab.up({
    name: labName(),
    mode: 'managed',
    forwarders: 2,
    classifiers: 1,
    hosts: 2,
  })
  watch = await Watch.start(lab)
  await allAlive(lab)
})

it.after(async () => {
  await watch?.stop()
  await lab?.down(0)
  assert.equal(leftovers(lab.name), [])
})

// What a failed test left cut or frozen is not the next one's.
it.before.each(async () => {
  for (const name of names()) {
    lab.kill(name, 'SIGCONT')
    await lab.setLink(name, 'up')
  }
  await allAlive(lab)
})

it(`${2 * FREEZE_ROUNDS} frozen agents are dead to all others within a second, their nodes alive; then alive again`, async () => {
  const deadMs: number[] = []
  const backMs: number[] = []
  const from = watch.mark()
  for (let round = 0; round < FREEZE_ROUNDS; round++) {
    await phase(round)
    const frozen = [0, 1].map(i => ORDER[(2 * round + i + (round >> 1)) % ORDER.length]!)
    const mark = watch.mark()
    const observers = othersThan(...frozen)
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
    for (const atMs of await watch.until('agent.down', name, othersThan(name), mark))
      deadMs.push(atMs - killedMs)
    await delay(NODE_MS) // what would follow if the node counted as dead
    for (const by of othersThan(name)) assert.is(await shown(lab, by, name), 'alive/dead')
    await lab.startAgent(name)
    await watch.follow(name)
    await watch.until('agent.up', name, othersThan(name), mark)
    await allAlive(lab)
  }
  print(`killed agents: dead after ${spread(deadMs)}`)
  assert.equal(watch.since(from, DEATHS), [])
  assert.ok(Math.max(...deadMs) < AGENT_MS, spread(deadMs))
})

it(`a node cut off with no goodbye is suspect and dead within ${NODE_MS} ms at every other node, ${CUTS} times; healed it is back`, async () => {
  const suspectMs: number[] = []
  const deadMs: number[] = []
  const agentMs: number[] = []
  const aliveMs: number[] = []
  const linkMs: number[] = []
  for (let cut = 0; cut < CUTS; cut++) {
    await phase(cut)
    const name = ORDER[(cut + (cut >> 2)) % ORDER.length]!
    const others = othersThan(name)
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

/** What a process has used of the cores, ms. */
const cpuMs = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

it(`with all cores burnt for ${BURNT_MS / 1000} s nobody's state changes anywhere`, async () => {
  const mark = watch.mark()
  const burners: ChildProcess[] = cpus().map(() =>
    spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }),
  )
  const ended = Promise.all(burners.map(b => new Promise(resolve => b.once('exit', resolve))))
  let usedMs = 0
  try {
    const endMs = performance.now() + BURNT_MS
    while (performance.now() < endMs) {
      for (const node of names())
        for (const row of await nodesSeenBy(lab, node))
          assert.is(`${row.node}/${row.agent}`, 'alive/alive', `${row.name} as ${node} sees it`)
      await delay(200)
    }
    usedMs = burners.reduce((sum, b) => sum + cpuMs(b.pid!), 0)
  } finally {
    for (const burner of burners) burner.kill('SIGKILL')
    await ended
  }
  print(`burners used ${usedMs} ms in ${BURNT_MS} ms`)
  assert.ok(usedMs > BURNT_MS / 2, 'the cores were not burnt')
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
    for (const atMs of await watch.until('node.dead', 'h1', othersThan('h1'), cutMark))
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

it('new connections go to the other host once a cut one is seen as dead, and to both after it is back', async () => {
  const jobs = [{ kind: 'small', count: 1 } as const]
  const stream = startLoad(lab, lab.client(), { concurrency: 8, gapMs: 10, jobs, timeoutMs: 5_000 })
  await delay(1_500)
  const cuts: { name: string; cutMs: number; healMs: number }[] = []
  for (const name of ['h1', 'h2', 'h1']) {
    const mark = watch.mark()
    const cutMs = Date.now()
    await lab.setLink(name, 'down')
    try {
      await watch.until('node.dead', name, othersThan(name), mark)
      await delay(2_500)
    } finally {
      cuts.push({ name, cutMs, healMs: Date.now() })
      await lab.setLink(name, 'up')
    }
    await allAlive(lab)
    await delay(500)
  }
  const { records } = await stream.stop()
  for (const { name, cutMs, healMs } of cuts) {
    const begunIn = (fromMs: number, toMs: number) =>
      records.filter(r => r.startMs >= fromMs && r.startMs < toMs)
    const failed = (some: typeof records): number => some.filter(r => r.error !== null).length
    const slowest = (some: typeof records): string => Math.max(0, ...some.map(r => r.durationMs)).toFixed(0)
    const inFlight = begunIn(cutMs - 5_000, cutMs).filter(r => r.startMs + r.durationMs > cutMs)
    const between = begunIn(cutMs, cutMs + NODE_MS)
    const late = begunIn(cutMs + NODE_MS, healMs)
    print(
      `${name} cut: of ${inFlight.length} in flight ${failed(inFlight)} failed; of ${between.length} begun before it was seen ${failed(between)}, slowest ${slowest(between)} ms; of ${late.length} after ${failed(late)}, slowest ${slowest(late)} ms`,
    )
    assert.ok(late.length > 100, `only ${late.length} requests`)
    assert.equal(
      late.filter(r => r.error !== null),
      [],
    )
    assert.not(late.some(r => r.host === name))
    // Less than the second after which a client would send its SYN again.
    assert.ok(Number(slowest(late)) < 1_000, `${slowest(late)} ms`)
  }
  const again = await load(lab, lab.client(), { concurrency: 8, jobs: [{ kind: 'small', count: 200 }] })
  assert.is(again.failed, 0)
  for (const host of ['h1', 'h2']) assert.ok(again.byHost[host]! > 50, `${host} got ${again.byHost[host]}`)
})

if (missingRoot() === undefined) it.run()
else skip('cluster-liveness', missingRoot()!)
