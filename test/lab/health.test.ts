/**
 * Health and load on real agents and applications (R-B1 to R-B8): an application that dies gets nothing new within a second, a busy
 * host gets less, a drain is over only when every unit follows it, a leader that dies is replaced and nobody is taken for dead.
 */
// test-timeout-ms: 280000
import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EventsData, HealthData, OwnRow } from '../../src/control/types.ts'
import { cgroupDirs } from '../../src/lab/cgroup.ts'
import { Lab } from '../../src/lab/lab.ts'
import { isAlive } from '../../src/lab/processes.ts'
import { labName, leftovers } from '../support/lab.ts'
import { spread } from '../support/liveness-watch.ts'
import type { LoadRecord } from '../support/load-client.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { assertWhole, load, startLoad, until } from '../support/traffic.ts'

const it = suite('health')
/** Each host at least once; KILLS and CUTS in the environment for more. */
const KILLS = Number(process.env.KILLS ?? 8)
const CUTS = Number(process.env.CUTS ?? 4)
/** Within which a dead application, or host, gets nothing new. */
const LIMIT_MS = 1_000
const UNITS = ['f1', 'f2', 'c1']
const HOSTS = ['h1', 'h2', 'h3', 'h4']

let lab: Lab
const print = (text: string): void => void process.stdout.write(`\n  ${text}\n`)
const health = (node: string): Promise<HealthData> => lab.api<HealthData>(node, '/v1/health')
const rowOf = async (host: string): Promise<OwnRow | undefined> => (await health(host)).own!.rows[0]
/** Percent of the service's new connections that a unit gives to each host. */
const shares = async (unit: string): Promise<Record<string, number>> =>
  Object.fromEntries(
    ((await health(unit)).shares![0]?.hosts ?? []).map(({ host, percent }) => [host, percent]),
  )
const mean = (values: Record<string, number>): number =>
  Object.values(values).reduce((sum, value) => sum + value, 0) / Object.keys(values).length
const hasShare = async (host: string): Promise<true | undefined> => {
  const all = await Promise.all(UNITS.map(shares))
  return all.every(share => host in share) ? true : undefined
}
/** When a host was drained, as far as its command said. */
const quiet: { host: string; fromMs: number; toMs: number }[] = []
/** Once the one that was killed is gone. */
const startAgain = async (node: string): Promise<void> => {
  const old = lab.process(node)!
  await until(`the end of ${node}`, () => (isAlive(old) ? undefined : true))
  await lab.startAgent(node)
}
/** That place gets the CPU time that it wants, whatever runs beside the lab. */
const outweigh = (place: string): void => {
  for (const dir of cgroupDirs(lab.name, [place]))
    for (const [file, weight] of Object.entries({ 'cpu.shares': 50_000, 'cpu.weight': 5_000 }))
      if (existsSync(join(dir, file))) writeFileSync(join(dir, file), String(weight))
}
const steady = (concurrency = 4, gapMs = 15, timeoutMs = 5_000) =>
  startLoad(lab, 'client1', { concurrency, gapMs, jobs: [{ kind: 'small', count: 1 }], timeoutMs })
/** Those that began within a time and failed, or were served by that host. */
const began = (
  records: readonly LoadRecord[],
  fromMs: number,
  toMs = Number.POSITIVE_INFINITY,
): LoadRecord[] => records.filter(({ startMs }) => startMs >= fromMs && startMs < toMs)

it.before(async () => {
  lab = await Lab.up({ name: labName(), mode: 'managed', forwarders: 2, classifiers: 1, hosts: 4 })
  for (const { name } of lab.nodes.filter(({ roles }) => roles.includes('host')))
    await until(`${name} to have a share everywhere`, () => hasShare(name))
})

it.after(async () => {
  if (lab === undefined) return
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

it('each row is known at each unit, in force and with a lease; hosts elect one leader (R-B1, R-B3, R-B7)', async () => {
  for (const unit of UNITS) {
    const { cache } = await health(unit)
    assert.equal(
      cache!.map(table => table.host),
      HOSTS,
    )
    for (const { generation, inForce, leaseMs, rows, host } of cache!) {
      assert.is(inForce, generation, host)
      assert.ok(leaseMs! > 0, `${host} at ${unit}: ${leaseMs}`)
      const [row] = rows
      assert.is(rows.length, 1)
      assert.equal(
        [row!.service, row!.vip, row!.health, row!.target, row!.current, row!.capacity],
        ['web', '10.99.0.1:80', 'healthy', 'active', 'active', 50],
      )
    }
  }
  await until('one leader', async () => {
    const leaders = await Promise.all(HOSTS.map(async host => (await health(host)).own!.leader))
    return leaders[0] !== null && new Set(leaders).size === 1 ? true : undefined
  })
})

it(`an application killed with -9 gets no new connection ${LIMIT_MS} ms later, ${KILLS} times; when it is back it has its share`, async () => {
  const lastMs: number[] = []
  const backMs: number[] = []
  for (let i = 0; i < KILLS; i++) {
    const host = `h${(i % 4) + 1}`
    const traffic = steady()
    await delay(300)
    const killedMs = Date.now()
    lab.killWeb(host)
    await delay(LIMIT_MS + 400)
    const { records } = await traffic.stop()
    const failed = records.filter(({ error }) => error !== null)
    // What failed began before anybody could know; nobody else's connection did.
    const late = failed.filter(({ startMs }) => startMs > killedMs + LIMIT_MS)
    assert.equal(late, [])
    assert.equal(
      failed.filter(({ startMs, durationMs }) => startMs + durationMs < killedMs),
      [],
    )
    lastMs.push(Math.max(0, ...failed.map(({ startMs }) => startMs - killedMs)))
    assert.ok(began(records, killedMs + LIMIT_MS).length > 10, 'connections went on')
    const startMs = performance.now()
    await lab.startWeb(host)
    await until(`${host} to be back`, () => hasShare(host))
    backMs.push(performance.now() - startMs)
  }
  print(
    `the last connection to a killed application began after ${spread(lastMs)}; back after ${spread(backMs)}`,
  )
})

it(`a host cut off gets no new connection ${LIMIT_MS} ms later, ${CUTS} times`, async () => {
  const lastMs: number[] = []
  for (let i = 0; i < CUTS; i++) {
    const host = `h${(i % 4) + 1}`
    const traffic = steady()
    await delay(300)
    const cutMs = Date.now()
    await lab.setLink(host, 'down')
    await delay(LIMIT_MS + 400)
    await lab.setLink(host, 'up')
    const { records } = await traffic.stop()
    // A connection to it would be served only after its cable is back: slowly, or never.
    const slow = records.filter(r => r.startMs >= cutMs && (r.error !== null || r.durationMs > 400))
    assert.equal(
      slow.filter(({ startMs }) => startMs > cutMs + LIMIT_MS && startMs < cutMs + LIMIT_MS + 300),
      [],
    )
    lastMs.push(Math.max(0, ...slow.filter(r => r.startMs < cutMs + LIMIT_MS).map(r => r.startMs - cutMs)))
    await until(`${host} to be back`, () => hasShare(host))
  }
  print(`the last connection to a host that was cut off began after ${spread(lastMs)}`)
})

/** Resolves when the command has returned. @returns how long that took (ms) */
const order = async (command: 'drain' | 'undrain', host: string): Promise<number> => {
  const startMs = performance.now()
  const { code, stdout, stderr } = await lab.shunt('f1', [command, host, '--yes', '--timeout', '30s'])
  assert.is(code, 0, `${stdout}${stderr}`)
  return performance.now() - startMs
}

it('drains under some 200 connections a second: none fails, and nothing new comes once the command has returned (R-B6)', async () => {
  const traffic = steady(20, 80)
  const tookMs: number[] = []
  for (const host of HOSTS) {
    tookMs.push(await order('drain', host))
    const fromMs = Date.now()
    const row = await rowOf(host)
    assert.equal([row?.target, row?.current, row?.cause], ['draining', 'draining', 'order'])
    quiet.push({ host, fromMs, toMs: await delay(600).then(() => Date.now()) })
    tookMs.push(await order('undrain', host))
    await until(`${host} to be back`, () => hasShare(host))
  }
  const result = await traffic.stop()
  assertWhole(lab, result)
  for (const { host, fromMs, toMs } of quiet.splice(0)) {
    const meanwhile = began(result.records, fromMs, toMs)
    assert.ok(meanwhile.length > 20, `${meanwhile.length} connections while ${host} was drained`)
    assert.equal(
      meanwhile.filter(r => r.host === host),
      [],
    )
  }
  const rate = (1000 * result.done) / result.ms
  assert.ok(rate > 100, `${rate} connections a second`)
  print(`${result.done} connections, ${rate.toFixed(0)} a second; drains and undrains took ${spread(tookMs)}`)
})

it('a unit that is cut off is waited for until its lease is over; back, it holds what the others hold (R-B6, R-B8)', async () => {
  // Without its only classifier nothing new begins for a while, and nothing fails for that.
  const traffic = steady(4, 15, 20_000)
  await lab.setLink('c1', 'down')
  const tookMs = await order('drain', 'h2')
  assert.ok(tookMs > 2_000, `c1 was not waited for: ${tookMs} ms`)
  await lab.setLink('c1', 'up')
  await until('c1 to hold what the others hold', async () => {
    const table = (await health('c1')).cache!.find(({ host }) => host === 'h2')
    return table?.rows[0]?.current === 'draining' && table.inForce === table.generation ? true : undefined
  })
  const back = await load(lab, 'client1', { concurrency: 4, jobs: [{ kind: 'small', count: 100 }] })
  assertWhole(lab, back)
  assert.is(back.done, 100)
  assert.is(back.byHost.h2, undefined)
  await order('undrain', 'h2')
  assertWhole(lab, await traffic.stop())
  print(`a drain while a unit was cut off took ${tookMs.toFixed(0)} ms`)
})

it('a leader that is killed is replaced within a second, and no host is taken for dead meanwhile (R-B7)', async () => {
  const events = async (): Promise<EventsData> => lab.api<EventsData>('f1', '/v1/events?limit=1000')
  for (let i = 0; i < 3; i++) {
    const leader = (await health('h1')).own!.leader ?? ''
    const others = HOSTS.filter(host => host !== leader)
    const { last } = await events()
    const killedMs = performance.now()
    lab.kill(leader, 'SIGKILL')
    let leastMs = Number.POSITIVE_INFINITY
    await until('another leader', async () => {
      for (const { host, leaseMs } of (await health('f2')).cache!)
        if (others.includes(host)) leastMs = Math.min(leastMs, leaseMs!)
      const now = await Promise.all(others.map(async host => (await health(host)).own!.leader))
      return now.every(name => name !== null && name !== leader && name === now[0]) ? true : undefined
    })
    const tookMs = performance.now() - killedMs
    print(
      `${leader} replaced after ${tookMs.toFixed(0)} ms; shortest lease of the others meanwhile ${leastMs} ms`,
    )
    assert.ok(tookMs < 1_000, `${tookMs} ms`)
    assert.ok(leastMs > 0, 'a lease of a living host ran out')
    const wronged = (await lab.api<EventsData>('f1', `/v1/events?after=${last}`)).events.filter(
      ({ kind, subject }) => kind === 'agent.down' && subject !== leader,
    )
    assert.equal(wronged, [])
    await startAgain(leader)
    await until(`${leader} to be back`, () => hasShare(leader))
  }
})

it('a unit that was killed has its whole cache again by itself (R-B8)', async () => {
  lab.kill('f2', 'SIGKILL')
  await startAgain('f2')
  const startMs = performance.now()
  for (const host of HOSTS) await until(`${host} at f2`, () => hasShare(host))
  print(`all four tables were there ${(performance.now() - startMs).toFixed(0)} ms after the agent was ready`)
  assertWhole(lab, await load(lab, 'client1', { concurrency: 8, jobs: [{ kind: 'small', count: 200 }] }))
})

it('a host whose CPU is busy gets measurably less (R-B1, R-B10)', async () => {
  // Half of the CPUs, whatever else wants them: what is left over is enough for all the other nodes, which run on the same ones.
  outweigh('h3')
  const burners: ChildProcess[] = Array.from({ length: Math.max(1, availableParallelism() / 2) }, () =>
    lab.spawn('h3', ['/bin/sh', '-c', 'while :; do :; done']),
  )
  try {
    await until(
      'less for h3',
      async () => {
        const all = await Promise.all(UNITS.map(shares))
        return all.every(({ h3, ...others }) => h3! < 0.7 * mean(others)) ? true : undefined
      },
      60_000,
    )
    // At a rate that makes no other host busy.
    const running = steady()
    await delay(8_000)
    const result = await running.stop()
    assertWhole(lab, result)
    const { h3 = 0, ...others } = result.byHost
    print(`load ${(await rowOf('h3'))!.load} %; connections: ${JSON.stringify(result.byHost)}`)
    assert.ok(h3 < 0.8 * mean(others), `${h3} of ${JSON.stringify(result.byHost)}`)
  } finally {
    for (const burner of burners) {
      burner.kill('SIGKILL')
      if (burner.exitCode === null && burner.signalCode === null) await once(burner, 'exit')
    }
  }
})

const missing = missingRoot()
if (missing === undefined && spawnSync('ip', ['-V']).error === undefined) it.run()
else skip('health', missing ?? 'needs ip (iproute2)')
