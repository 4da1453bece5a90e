/**
 * An application that fails gets nothing new, and what it has goes on, unless its service says that not one packet may pass (R-B6);
 * when all fail, they are used all the same (R-B10).
 */
// test-beside-others
// test-timeout-ms: 150000
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EventsData, HealthData } from '../../src/control/types.ts'
import type { WhenFailing } from '../../src/health/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { agreed, applyAt, documentText } from '../support/cluster-orders.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { assertWhole, load, program, until, VIP, webFile } from '../support/traffic.ts'

const it = suite('failing')
const UNITS = ['f1', 'c1']
/** Until after the last change that is made meanwhile, on a busy machine too. */
const DOWNLOAD_S = 25
let lab: Lab

const setHealthy = (host: string, isHealthy: boolean): void => {
  const file = `${lab.files(host).web}/uploads/healthz`
  if (isHealthy) writeFileSync(file, 'ok')
  else rmSync(file)
}
const apply = async (whenFailing?: WhenFailing): Promise<void> => {
  const health = { type: 'http', path: '/upload/healthz', interval: 200, rise: 1, fall: 1 } as const
  const service = { name: 'web', port: 80, pool: 'web', health, ...(whenFailing && { whenFailing }) }
  await agreed(lab, await applyAt(lab, 'f1', documentText({ web: { h1: 50, h2: 50 } }, [service])))
}
/** Resolves when each unit has the application of a host like that. */
const reached = (host: string, state: string): Promise<unknown[]> =>
  Promise.all(
    UNITS.map(unit =>
      until(`${host} ${state} on ${unit}`, async () => {
        const { cache } = await lab.api<HealthData>(unit, '/v1/health')
        const row = cache!.find(table => table.host === host)?.rows[0]
        return row !== undefined && `${row.health} ${row.current}>${row.target} (${row.cause})` === state
          ? true
          : undefined
      }),
    ),
  )
const small = (count = 120) => load(lab, 'client1', { concurrency: 8, jobs: [{ kind: 'small', count }] })

/** Bytes that clients have acknowledged of what a host's web server sends to them now. */
const ackedBytes = async (host: string): Promise<number> => {
  const filter = ['state', 'established', 'sport', '=', ':80', 'and', 'dst', '10.20.0.0/24']
  const { stdout } = await lab.exec(host, ['ss', '-Htin', ...filter])
  return [...stdout.matchAll(/bytes_acked:(\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0)
}
const goesOn = async (host: string): Promise<void> => {
  const before = await ackedBytes(host)
  assert.ok(before > 0, 'no download is there')
  await until('a byte more', async () => ((await ackedBytes(host)) > before ? true : undefined))
}

const download = async () => {
  const { path, bytes, sha256 } = webFile(lab, '/10m')
  const child = lab.spawn('client2', [
    ...program('slow-reader.ts'),
    ...[`http://${VIP}${path}`, String(bytes), String(DOWNLOAD_S)],
  ])
  let said = ''
  child.stdout!.on('data', chunk => {
    said += chunk
  })
  const ended = once(child, 'close')
  const host = await until('the first bytes', () => /^(\w+)\n/.exec(said)?.[1])
  return {
    host,
    isOver: () => child.exitCode !== null || child.signalCode !== null,
    whole: async () => {
      assert.equal(await ended, [0, null])
      assert.is(said, `${host}\n${sha256}\n`)
    },
  }
}

it.before(async () => {
  lab = await Lab.up({
    ...{ name: labName(), mode: 'managed', forwarders: 1, classifiers: 1, hosts: 2, clients: 2 },
  })
  const { code } = await lab.exec('client2', ['sysctl', '-qw', 'net.ipv4.tcp_rmem=4096 65536 131072'])
  assert.is(code, 0)
  for (const host of ['h1', 'h2']) setHealthy(host, true)
  await apply()
  for (const host of ['h1', 'h2']) await reached(host, 'healthy active>active (default)')
})

it.after(async () => {
  if (lab === undefined) return
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

it('downloads from a host that fails end whole, also under an order to drain; new connections go elsewhere; "inactive" is a halt', async () => {
  const downloads = await Promise.all(Array.from({ length: 10 }, download))
  const hosts = new Set(downloads.map(({ host }) => host))
  assert.is(hosts.size, 2, 'all downloads are from one host')
  setHealthy('h1', false)
  await reached('h1', 'failing draining>draining (health)')
  const others = await small()
  assertWhole(lab, others)
  assert.equal(Object.keys(others.byHost), ['h2'])
  await goesOn('h1')

  const drain = await lab.shunt('f1', ['drain', 'h1', '--timeout', '30s'])
  assert.is(drain.code, 0, drain.stderr)
  await reached('h1', 'failing draining>draining (order)')
  await goesOn('h1')
  const undrain = await lab.shunt('f1', ['undrain', 'h1', '--timeout', '30s'])
  assert.match(undrain.stdout, /web is failing: it gets new connections only while no host of it is well/)

  await apply('inactive')
  await reached('h1', 'failing inactive>inactive (health)')
  const still = await ackedBytes('h1')
  assert.ok(still > 0, 'no download is there')
  await delay(1_000)
  assert.is(await ackedBytes('h1'), still, 'a packet passed')
  await apply('draining')
  await reached('h1', 'failing draining>draining (health)')
  await goesOn('h1')
  assert.not.ok(
    downloads.some(each => each.isOver()),
    'a download ended too early to show anything',
  )
  await Promise.all(downloads.map(each => each.whole()))
})

it('when all fail they are used all the same, and say so; the last of them that is used is asked about', async () => {
  setHealthy('h2', false)
  for (const host of ['h1', 'h2']) await reached(host, 'failing draining>draining (health)')
  const both = await small(300)
  assertWhole(lab, both)
  assert.equal(Object.keys(both.byHost).toSorted(), ['h1', 'h2'])
  for (const unit of UNITS) {
    const { stdout } = await lab.shunt(unit, ['hosts', '-o', 'wide'])
    for (const host of ['h1', 'h2'])
      assert.match(stdout, new RegExp(`\\n${host} +web .* draining +draining +health, used .* 50%`))
    await until(`${unit} to tell it`, async () => {
      const { events } = await lab.api<EventsData>(unit, '/v1/events?limit=1000')
      const texts = events.filter(({ kind }) => kind === 'directive.followed').map(({ text }) => text)
      return ['h1', 'h2'].every(host => texts.some(text => text.startsWith(`web on ${host} fails, and gets`)))
        ? true
        : undefined
    })
  }
  const drain = await lab.shunt('f1', ['drain', 'h1', '--timeout', '30s'])
  assert.is(drain.code, 0, drain.stderr)
  const last = await lab.shunt('f1', ['drain', 'h2', '--timeout', '30s'])
  assert.is(last.code, 5, last.stdout)
  assert.match(last.stderr, /h2 is the last host that gets new connections of web/)
  assert.equal(Object.keys((await small()).byHost), ['h2'])
})

const missing = missingRoot()
if (missing === undefined) it.run()
else skip('failing', missing)
