/** What an application says of itself holds as long as the process that said it (R-B2): real processes, real sockets. */
// test-beside-others
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type AppReport, OwnApps } from '../../src/agent/health/own-apps.ts'
import { overload } from '../../src/config/health-fields.ts'
import type { NodeConfig } from '../../src/config/schema.ts'
import type { Health } from '../../src/health/types.ts'
import { enterNetns, enterNetnsPath, ipBatch } from '../../src/os/netns.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab/own-apps')
const lab = (name: string, run: () => Promise<void>): void => testIf(missingRoot(), it, name, run)
const PATIENCE_MS = 20_000
const SAID = 'the application says that it fails'

/** Listens so that another may have the port too; on a line of input it starts a child that has the same socket. */
const APPLICATION = `
const { spawn } = require('node:child_process')
const server = require('node:net').createServer()
server.listen({ host: '127.0.0.1', port: Number(process.argv[1]), reusePort: true }, () => console.log(server.address().port))
process.stdin.once('data', () => {
  const stdio = ['ignore', 'ignore', 'ignore', server._handle.fd]
  console.log(spawn('sleep', ['60'], { stdio, detached: true }).pid)
}).on('end', () => process.exit())`

const children: ChildProcess[] = []
const pids: number[] = []
let running: OwnApps | null = null

const home = openSync('/proc/thread-self/ns/net', 'r')
it.before(async () => {
  if (missingRoot() !== undefined) return
  // Other sockets of the machine would make this host look more often.
  const { name } = await makeNetns()
  await ipBatch(name, ['link set lo up'])
  enterNetns(name)
})
it.after(async () => {
  enterNetnsPath(`/proc/self/fd/${home}`)
  await removeNetns()
})
it.after.each(async () => {
  running?.stop()
  for (const child of children.splice(0)) await end(child)
  for (const pid of pids.splice(0)) kill(pid)
})
const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}
const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
const line = async (child: ChildProcess): Promise<number> => Number((await once(child.stdout!, 'data'))[0])

const start = async (port = 0) => {
  const child = spawn(process.execPath, ['-e', APPLICATION, String(port)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.push(child)
  const at = await line(child)
  const heir = async (): Promise<number> => {
    child.stdin!.write('heir\n')
    const pid = await line(child)
    pids.push(pid)
    return pid
  }
  return { child, pid: child.pid!, port: at, heir }
}

/** Watches one service at that port; what was told last can be waited for. */
const watch = (port: number) => {
  const told = { health: '' as Health | '', why: '', load: -1 }
  const waiting = new Set<() => void>()
  const news = (): void => {
    for (const wake of waiting) wake()
  }
  const config = {
    node: { name: 'h1' },
    addresses: { cluster: '127.0.0.1' },
    overload: overload.parse({}),
    services: [
      { name: 'web', vip: '127.0.0.1', port, protocol: 'tcp', hosts: [{ name: 'h1', capacity: 50 }] },
    ],
  } as unknown as NodeConfig
  const apps = new OwnApps(config, {
    endpoints: news,
    health: (_, health, why) => {
      Object.assign(told, { health, why })
      news()
    },
    load: (_, load) => {
      told.load = load
      news()
    },
    server: () => {},
    trouble: text => assert.unreachable(text),
    warning: text => assert.unreachable(text),
  })
  running = apps
  apps.start()
  const until = (what: string, isSo: () => boolean): Promise<void> => {
    if (isSo()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!isSo()) return
        clearTimeout(late)
        waiting.delete(look)
        resolve()
      }
      const fail = (): void => reject(new Error(`${what}: ${JSON.stringify(told)}`))
      const late = setTimeout(fail, PATIENCE_MS)
      waiting.add(look)
    })
  }
  const sockets = () => apps.endpoints[0]?.sockets ?? []
  const report = (said: AppReport, pid: number): void => apps.report(apps.endpoints[0]!.key, said, pid)
  const isKnown = () => sockets().length > 0 && sockets().every(({ owner }) => owner !== null)
  return { told, until, report, sockets, isKnown }
}

lab('a report dies with its process, also when another one has the port at once', async () => {
  const one = await start()
  const other = await start(one.port)
  const { told, until, report, sockets, isKnown } = watch(one.port)
  await until('both sockets', () => sockets().length === 2 && isKnown())
  report({ health: 'failing', load: 222 }, one.pid)
  assert.equal([told.health, told.why, told.load], ['failing', SAID, 222])
  await end(one.child)
  await until('the end of one', () => sockets().length === 1)
  assert.is(sockets()[0]!.owner?.pid, other.pid)
  assert.equal([told.health, told.why], ['healthy', 'it listens'])
  await until('its own load', () => told.load <= 100)
  report({ health: 'failing' }, other.pid)
  await end(other.child)
  await until('no endpoint', () => sockets().length === 0)
  const third = await start(one.port)
  await until('the third', () => sockets()[0]?.owner?.pid === third.pid)
  assert.equal([told.health, told.why], ['healthy', 'it listens'])
})

lab('a report dies with its process, also when another one inherits the very socket', async () => {
  const one = await start()
  const heir = await one.heir()
  const { told, until, report, sockets, isKnown } = watch(one.port)
  await until('its owner', isKnown)
  assert.is(sockets()[0]!.owner?.pid, one.pid)
  report({ health: 'failing', load: 222 }, one.pid)
  assert.is(told.health, 'failing')
  await end(one.child)
  await until('the heir', () => sockets()[0]?.owner?.pid === heir)
  assert.equal([told.health, told.why], ['healthy', 'it listens'])
})

lab('a report of a process that shares the socket of another dies with it', async () => {
  const one = await start()
  const worker = await one.heir()
  const { told, until, report, sockets, isKnown } = watch(one.port)
  await until('its owner', isKnown)
  report({ health: 'failing' }, worker)
  assert.is(told.health, 'failing')
  // Stopped, its parent does not take note of its end: a zombie has a number still.
  process.kill(one.pid, 'SIGSTOP')
  kill(worker)
  await until('healthy', () => told.health === 'healthy')
  assert.is(sockets()[0]!.owner?.pid, one.pid)
})

it('a control group that cannot be read is told once', () => {
  const config = { node: { name: 'h1', cgroup: '/no/such/group' }, services: [] } as unknown as NodeConfig
  const warnings: string[] = []
  const ignore = (): void => {}
  const apps = new OwnApps(config, {
    ...{ endpoints: ignore, health: ignore, load: ignore, server: ignore, trouble: ignore },
    warning: text => warnings.push(text),
  })
  running = apps
  apps.start()
  apps.reconfigure(config)
  assert.is(warnings.length, 1)
  assert.match(warnings[0]!, /node\.cgroup \(\/no\/such\/group\) cannot be read, .* whole machine; mount /)
})

it.run()
