/**
 * Services that come, change and go in a managed cluster under traffic (R-A5): what was not changed loses nothing, a host that
 * is taken out finishes what it has, and hosts hold virtual IPs exactly as long as they are needed.
 */
// test-beside-others
// test-timeout-ms: 150000
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Lab } from '../../src/lab/lab.ts'
import { agreed, applyAt, documentText, heldByAll, type PoolPlan, vipsOn } from '../support/cluster-orders.ts'
import { labName, leftovers } from '../support/lab.ts'
import { spread } from '../support/liveness-watch.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { assertWhole, load, program, startLoad, until, VIP, webFile } from '../support/traffic.ts'

const it = suite('cluster-services')
const ROUNDS = 10
const TOGGLES = 24
const DOWNLOAD_S = 8
const OTHER_VIP = '10.99.0.2'
const OTHER_PORT = 8080
const ALL: PoolPlan = { h1: 50, h2: 50, h3: 50 }
/** A look of the agent at its virtual IPs (5 s), the end of a flow (linger), and a busy machine. */
const RELEASE_MS = 15_000

const name = labName()
let lab: Lab
const hosts = ['h1', 'h2', 'h3']
const web = { name: 'web', port: 80, pool: 'web' }
const others = [
  { name: 'other', vip: OTHER_VIP, port: 80, pool: 'others' },
  { name: 'port', port: OTHER_PORT, pool: 'others' },
]
/** So short that virtual IPs are let go soon; a host keeps a flow for both times after its end. */
const timeouts = { linger: 100, routeLease: 2000 }
const alone = (pool: PoolPlan = ALL): string => documentText({ web: pool }, [web], timeouts)
const withOthers = (pool: PoolPlan): string =>
  documentText({ web: ALL, others: pool }, [web, ...others], timeouts)
let turn = 0
/** At another node each time; resolves when all nodes have it in force. */
const change = async (document: string): Promise<void> => {
  const nodes = lab.nodes.map(node => node.name)
  await agreed(lab, await applyAt(lab, nodes[turn++ % nodes.length]!, document))
}

interface Download {
  /** Known as soon as the answer has begun. */
  host: string
  /** How it ended; empty while it runs. */
  over(): string
  /** Until it has ended, whole. */
  whole(): Promise<void>
}

/** A download that takes a while, because its reader does. */
const download = async (number: number, seconds: number): Promise<Download> => {
  const { path, bytes, sha256 } = webFile(lab, '/10m')
  const child = lab.spawn('client2', [
    ...program('slow-reader.ts'),
    ...[`http://${VIP}${path}`, String(bytes), String(seconds)],
  ])
  let [said, errors] = ['', '']
  child.stdout!.on('data', chunk => {
    said += chunk
  })
  child.stderr!.on('data', chunk => {
    errors += chunk
  })
  const ended = once(child, 'close')
  const host = await until('the first bytes', () => /^(\w+)\n/.exec(said)?.[1])
  return {
    host,
    over: () =>
      child.exitCode === null && child.signalCode === null
        ? ''
        : `download ${number} from ${host} ended with ${child.exitCode ?? child.signalCode}: ${errors}`,
    whole: async () => {
      const [code] = await ended
      assert.is(code, 0, errors)
      assert.is(said, `${host}\n${sha256}\n`)
    },
  }
}

it.before(async () => {
  lab = await Lab.up({
    name,
    mode: 'managed',
    forwarders: 2,
    classifiers: 1,
    hosts: 3,
    clients: 2,
    // So that web servers listen there and the router knows the way; the document is the tests' own.
    services: [
      { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
      { name: 'other', vip: OTHER_VIP, port: 80, protocol: 'tcp' },
      { name: 'port', vip: VIP, port: OTHER_PORT, protocol: 'tcp' },
    ],
  })
  // Else most of a slow download would wait in the reader's kernel.
  const { code } = await lab.exec('client2', ['sysctl', '-qw', 'net.ipv4.tcp_rmem=4096 65536 131072'])
  assert.is(code, 0)
  await change(alone())
})

it.after(async () => {
  await lab?.down(0)
  assert.equal(leftovers(name), [])
})

it(`services beside it come, change and go ${ROUNDS} times: no connection to the first one fails, no byte is lost`, async () => {
  const steady = startLoad(lab, 'client1', {
    concurrency: 8,
    gapMs: 5,
    jobs: [
      { kind: 'small', count: 30 },
      { kind: 'get', count: 1, path: '/1m', sha256: webFile(lab, '/1m').sha256 },
    ],
  })
  // One after the other in each lane, so that some run at any time.
  const lasted: number[] = []
  let over = false
  const lane = async (number: number): Promise<void> => {
    for (let i = 0; !over; i++) {
      const beganMs = performance.now()
      await (await download(number * 100 + i, DOWNLOAD_S)).whole()
      lasted.push(performance.now() - beganMs)
    }
  }
  const lanes = Promise.all([1, 2, 3, 4, 5, 6].map(lane))
  const reached = async (expected: string[]): Promise<void> => {
    for (const endpoint of [{ vip: OTHER_VIP }, { port: OTHER_PORT }]) {
      const result = await load(lab, 'client2', {
        ...endpoint,
        concurrency: 6,
        jobs: [{ kind: 'small', count: 40 }],
      })
      assertWhole(lab, result)
      assert.equal(Object.keys(result.byHost).toSorted(), expected)
    }
  }
  const startedMs = performance.now()
  for (let round = 0; round < ROUNDS; round++) {
    await change(withOthers({ h1: 50, h2: 50 }))
    assert.equal(
      await Promise.all(hosts.map(host => vipsOn(lab, host))),
      [[VIP, OTHER_VIP], [VIP, OTHER_VIP], [VIP]],
      `round ${round}`,
    )
    if (round % 3 === 0) await reached(['h1', 'h2'])
    await change(withOthers({ h2: 50, h3: 50 }))
    assert.equal(await vipsOn(lab, 'h3'), [VIP, OTHER_VIP])
    if (round % 3 === 0) await reached(['h2', 'h3'])
    await change(withOthers({ h2: 0, h3: 99 }))
    if (round % 3 === 0) await reached(['h3'])
    await change(alone())
    for (const host of hosts) assert.equal(await vipsOn(lab, host), [VIP], `round ${round}: ${host}`)
  }
  const tookMs = performance.now() - startedMs
  const result = await steady.stop()
  assertWhole(lab, result)
  process.stdout.write(
    `\n  ${ROUNDS * 4} changes in ${(tookMs / 1000).toFixed(1)} s; ${result.done} connections, ${spread(result.records.map(r => r.durationMs))}\n`,
  )
  assert.ok(result.done > 1_000, `${result.done} connections`)
  over = true
  await lanes
  process.stdout.write(`  downloads lasted ${spread(lasted)}\n`)
  assert.ok(Math.min(...lasted) > DOWNLOAD_S * 900, 'a download ended too early to show anything')
  for (const { node, revision } of await heldByAll(lab)) assert.is(revision, 2 + 4 * ROUNDS, node)
})

it('a host taken out of a pool finishes its downloads, gets nothing new, and gives the virtual IP back afterwards', async () => {
  const steady = startLoad(lab, 'client1', { concurrency: 4, gapMs: 10, jobs: [{ kind: 'small', count: 1 }] })
  const downloads = await Promise.all(Array.from({ length: 8 }, (_, i) => download(100 + i, 14)))
  const [{ host: victim }] = downloads as [Download]
  const own = downloads.filter(d => d.host === victim)
  const { [victim]: _, ...rest } = ALL
  await change(alone(rest))
  const after = await load(lab, 'client1', { concurrency: 16, jobs: [{ kind: 'small', count: 600 }] })
  assertWhole(lab, after)
  assert.equal(Object.keys(after.byHost).toSorted(), Object.keys(rest), JSON.stringify(after.byHost))
  // Longer than the agent looks for virtual IPs that nobody needs.
  await delay(6_000)
  for (const d of downloads) assert.is(d.over(), '')
  assert.equal(await vipsOn(lab, victim), [VIP])
  await Promise.all(own.map(d => d.whole()))
  const endedMs = performance.now()
  await until(
    'the end of the virtual IP',
    async () => ((await vipsOn(lab, victim)).length === 0 ? true : undefined),
    RELEASE_MS,
  )
  process.stdout.write(
    `\n  ${own.length} downloads from ${victim}; its virtual IP went ${(performance.now() - endedMs).toFixed(0)} ms after the last\n`,
  )
  for (const host of Object.keys(rest)) assert.equal(await vipsOn(lab, host), [VIP])
  await Promise.all(downloads.map(d => d.whole()))
  await change(alone())
  assert.equal(await vipsOn(lab, victim), [VIP])
  const back = await load(lab, 'client1', { concurrency: 16, jobs: [{ kind: 'small', count: 300 }] })
  assert.equal(Object.keys(back.byHost).toSorted(), hosts)
  assertWhole(lab, back)
  assertWhole(lab, await steady.stop())
})

it(`hosts leave a pool and come back ${TOGGLES} times under connections so few that they often have none: none fails`, async () => {
  const steady = startLoad(lab, 'client1', { concurrency: 2, gapMs: 8, jobs: [{ kind: 'small', count: 1 }] })
  for (let i = 0; i < TOGGLES; i++) {
    const { [hosts[i % 3]!]: _, ...rest } = ALL
    await change(alone(rest))
    await change(alone())
  }
  const result = await steady.stop()
  process.stdout.write(
    `\n  ${TOGGLES * 2} changes, ${result.done} connections, ${spread(result.records.map(r => r.durationMs))}\n`,
  )
  assertWhole(lab, result)
  // Nor was one saved by its client's second try, which comes after a second.
  assert.ok(Math.max(...result.records.map(r => r.durationMs)) < 900, 'a first segment was lost')
})

if (missingRoot() === undefined) it.run()
else skip('cluster-services', missingRoot()!)
