/** What waits for clients on a real machine: real processes, their ends, containers' namespaces, and what looking costs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Containers } from '../../src/agent/health/containers.ts'
import { ListenerLook } from '../../src/agent/health/listener-look.ts'
import {
  type Listener,
  type SystemSample,
  SystemWatch,
  type SystemWatchOptions,
} from '../../src/agent/health/system-watch.ts'
import { OsError } from '../../src/errors.ts'
import { serves } from '../../src/health/system/listeners.ts'
import { countEstablished, listListening } from '../../src/os/netlink/sock-diag.ts'
import { currentNetnsInode, ipBatch } from '../../src/os/netns.ts'
import { openInNetns } from '../../src/os/netns-visit.ts'
import { ProcessEnds } from '../../src/os/pidfd.ts'
import { socketOwners } from '../../src/os/proc.ts'
import { countEstablishedOf, listListeningOf } from '../../src/os/proc-net.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab/system')
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missingRoot(), it, name, run)

const PATIENCE_MS = 20_000
/** So long that what a test waits for can come by another way only. */
const NEVER_MS = 600_000

const children: ChildProcess[] = []
const heirs: number[] = []
const watches: SystemWatch[] = []
const clients: Socket[] = []

const end = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Ended already.
  }
}
it.after(async () => {
  for (const watch of watches) watch.stop()
  for (const client of clients) client.destroy()
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  heirs.forEach(end)
  await removeNetns()
})

/** A process that waits for clients as told. */
const startWaiting = (netns?: string) => {
  const script = fileURLToPath(new URL('../support/waiting-process.ts', import.meta.url))
  const words = [process.execPath, '--no-warnings', script]
  const [program, ...args] = netns === undefined ? words : ['ip', 'netns', 'exec', netns, ...words]
  const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    pid: child.pid!,
    child,
    tell: async (order: string): Promise<number> => {
      child.stdin.write(`${order}\n`)
      return Number((await answers.next()).value)
    },
  }
}

/** A watch, and a way to wait for what it tells. */
const startWatch = (options: Partial<SystemWatchOptions> = {}) => {
  let latest: readonly Listener[] = []
  let wake = (): void => {}
  const troubles: string[] = []
  const watch = new SystemWatch({
    onListeners: sockets => {
      latest = sockets
      wake()
    },
    onTrouble: text => troubles.push(text),
    ...options,
  })
  watches.push(watch)
  watch.start()
  const until = async <T>(
    what: string,
    wanted: (sockets: readonly Listener[]) => T | undefined,
  ): Promise<T> => {
    const late = AbortSignal.timeout(PATIENCE_MS)
    for (;;) {
      const found = wanted(latest)
      if (found !== undefined) return found
      if (late.aborted) throw new Error(`${what} was not told; troubles: ${troubles.join('; ')}`)
      await new Promise<void>(resolve => {
        wake = resolve
        late.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }
  return { watch, until, sockets: () => latest }
}
const at = (port: number) => (sockets: readonly Listener[]) => sockets.find(socket => socket.port === port)
const notAt = (port: number) => (sockets: readonly Listener[]) => at(port)(sockets) === undefined || undefined

const meet = async (port: number): Promise<Socket> => {
  const client = connect({ host: '127.0.0.1', port })
  clients.push(client)
  await once(client, 'connect')
  return client
}

lab('a socket is told with its owner when it comes, and when it goes while its process stays', async () => {
  const server = startWaiting()
  const { watch, until } = startWatch({ pollMs: 50, endsMs: NEVER_MS })
  const port = await server.tell('tcp 127.0.0.1 0 77')
  const found = await until('the socket', at(port))
  const { address, protocol, backlog, queue, namespace, owner, uid } = found
  assert.equal(
    { address, protocol, backlog, queue, namespace, uid },
    { address: '127.0.0.1', protocol: 'tcp', backlog: 77, queue: 0, namespace: null, uid: 0 },
  )
  const known = owner ?? (await until('its owner', sockets => at(port)(sockets)?.owner ?? undefined))
  assert.is(known.pid, server.pid)
  await server.tell('shut')
  await until('its end', notAt(port))
  watch.stop()
})

lab("a killed process's sockets go by its pidfd alone", async () => {
  const server = startWaiting()
  const port = await server.tell('tcp 0.0.0.0 0')
  const { watch, until } = startWatch({ pollMs: NEVER_MS })
  await until('its owner', sockets => at(port)(sockets)?.owner?.pid)
  server.child.kill('SIGKILL')
  await until('its end', notAt(port))
  watch.stop()
})

lab('a socket that another process inherited outlives its owner and has a new one', async () => {
  const server = startWaiting()
  const port = await server.tell('tcp 0.0.0.0 0')
  const heir = await server.tell('heir')
  heirs.push(heir)
  const { watch, until } = startWatch({ pollMs: 50 })
  await until('its owner', sockets => (at(port)(sockets)?.owner?.pid === server.pid ? true : undefined))
  server.child.kill('SIGKILL')
  await until('the heir', sockets => (at(port)(sockets)?.owner?.pid === heir ? true : undefined))
  end(heir)
  await until('its end', notAt(port))
  watch.stop()
})

lab('UDP at the ports of clients counts only for services', async () => {
  const server = startWaiting()
  const port = await server.tell('udp 127.0.0.1 0')
  const ports = new Set<number>()
  const look = new ListenerLook(() => ports, NEVER_MS)
  const found = () => look.look(0).sockets.filter(socket => socket.port === port && socket.protocol === 'udp')
  assert.is(found().length, 0)
  ports.add(port)
  assert.equal(
    found().map(({ address, queue, backlog }) => ({ address, queue, backlog })),
    [{ address: '127.0.0.1', queue: 0, backlog: 0 }],
  )
})

lab('accept queues and connections, by the kernel and by /proc alike', async () => {
  const server = startWaiting()
  const port = await server.tell('tcp 127.0.0.1 0 50')
  const { watch, until } = startWatch({ pollMs: 50 })
  await until('its owner', sockets => at(port)(sockets)?.owner ?? undefined)
  watch.sample(performance.now())
  server.child.kill('SIGSTOP')
  for (let index = 0; index < 3; index++) await meet(port)
  const mine = <T extends { port: number }>(sockets: readonly T[]): T =>
    sockets.find(socket => socket.port === port)!
  const byDiag = mine(listListening())
  assert.equal([byDiag.queue, byDiag.backlog], [3, 50])
  assert.equal({ ...mine(listListeningOf('thread-self')), backlog: 50 }, byDiag)
  assert.is(countEstablished().get(`127.0.0.1:${port}`), 3)
  assert.is(countEstablishedOf('thread-self', new Set([port])).get(`127.0.0.1:${port}`), 3)
  // With many processes a round of reading takes several samples, and one may have begun before the connections.
  const deadlineMs = performance.now() + PATIENCE_MS
  const appNow = (sample: SystemSample) => sample.apps.find(({ pid }) => pid === server.pid)
  let sampled = watch.sample(performance.now())
  while (appNow(sampled)?.connections !== 3) {
    assert.ok(performance.now() < deadlineMs, `${appNow(sampled)?.connections} connections`)
    await delay(20)
    sampled = watch.sample(performance.now())
  }
  const { server: state, self } = sampled
  const app = appNow(sampled)!
  assert.ok(app.memoryBytes > 1_000_000, `${app.memoryBytes} bytes`)
  assert.ok(state.connections >= 3 && state.memoryBytes > state.memoryFreeBytes)
  assert.ok(self.memoryBytes > 1_000_000)
  server.child.kill('SIGCONT')
  watch.stop()
})

lab("listeners in a container's network namespace", async () => {
  const netns = await makeNetns()
  await ipBatch(netns.name, ['link set lo up', 'address add 10.99.7.1/32 dev lo'])
  const inside = startWaiting(netns.name)
  const port = await inside.tell('tcp 0.0.0.0 0')
  const { watch, until } = startWatch({ pollMs: 50, namespacesMs: 100 })
  const found = await until('the socket inside', sockets =>
    sockets.find(socket => socket.port === port && socket.namespace !== null && socket.owner !== null),
  )
  assert.is(found.owner?.pid, inside.pid)
  assert.equal(found.local, ['10.99.7.1'])
  assert.ok(!listListening().some(socket => socket.port === port && socket.inode === found.inode))
  const endpoint = { port, protocol: 'tcp', physical: '192.0.2.1', physicalPort: port } as const
  assert.is(serves(found, { ...endpoint, vip: '10.99.7.1' }), 'wildcard')
  assert.is(serves(found, { ...endpoint, vip: '10.99.7.2' }), null)
  // Its own process is killed; the namespace lives on.
  inside.child.kill('SIGKILL')
  await until('its end', sockets => !sockets.some(socket => socket.inode === found.inode) || undefined)
  watch.stop()
})

lab(
  'a container is read by /proc where it may not be entered, also when the process asked first has ended',
  async () => {
    const netns = await makeNetns()
    await ipBatch(netns.name, ['link set lo up', 'address add 10.99.7.3/32 dev lo'])
    const [first, second] = [startWaiting(netns.name), startWaiting(netns.name)]
    const ports = [await first.tell('tcp 0.0.0.0 0'), await second.tell('tcp 0.0.0.0 0')]
    let asked = 0
    const denied = new Containers(0, {
      enter: path => {
        asked++
        throw new OsError(`setns(${path})`, 1, 'EPERM')
      },
    })
    for (const containers of [new Containers(0), denied]) {
      const portsNow = (): number[] => {
        // Other namespaces of the machine may come first where each is dear.
        for (let look = 0; look < 100; look++) {
          const own = [...containers.list(look)].find(({ local }) => local.includes('10.99.7.3'))
          if (own !== undefined && Number.isFinite(own.readAtMs) === (containers === denied))
            return own.sockets.map(({ port }) => port).sort((a, b) => a - b)
        }
        throw new Error('the namespace is not listed')
      }
      containers.find(0)
      assert.equal(
        portsNow(),
        ports.toSorted((a, b) => a - b),
      )
    }
    assert.is(asked, 1)
    const entered = new Containers(0)
    entered.find(0)
    first.child.kill('SIGKILL')
    await once(first.child, 'exit')
    const own = [...entered.list(0)].find(({ local }) => local.includes('10.99.7.3'))
    assert.equal(
      own?.sockets.map(({ port }) => port),
      [ports[1]],
    )
    assert.is(entered.find(1), false)
    await ipBatch(netns.name, ['address add 10.99.7.4/32 dev lo'])
    assert.is(entered.find(2), true)
  },
)

lab('a visit to a namespace ends where it began, also when it fails', async () => {
  const netns = await makeNetns()
  const home = currentNetnsInode()
  const path = `/run/netns/${netns.name}`
  assert.is.not(openInNetns(path, currentNetnsInode), home)
  assert.is(currentNetnsInode(), home)
  assert.throws(
    () =>
      openInNetns(path, () => {
        throw new Error('no socket')
      }),
    'no socket',
  )
  assert.throws(() => openInNetns('/proc/self/comm', () => 1), /setns/)
  assert.throws(() => openInNetns('/run/netns/none-such', () => 1), /ENOENT/)
  assert.is(currentNetnsInode(), home)
})

lab("this process's use of the CPU is counted", () => {
  const { watch } = startWatch({ pollMs: NEVER_MS })
  watch.sample(performance.now())
  const { user: from } = process.cpuUsage()
  while (process.cpuUsage().user - from < 300_000) Math.hypot(Math.random())
  const { self, server } = watch.sample(performance.now())
  assert.ok(self.cpuPercent > 0 && self.cpuPercent <= 100, `${self.cpuPercent} %`)
  assert.ok(server.cpuPercent > 0 && server.cpuPercent <= 100, `${server.cpuPercent} %`)
  watch.stop()
})

lab('from inside a namespace the others are no containers', async () => {
  const netns = await makeNetns()
  const server = startWaiting()
  const port = await server.tell('tcp 0.0.0.0 0')
  const { sockets } = netns.run(() => new ListenerLook(() => new Set(), 0).look(0))
  assert.equal(sockets, [])
  assert.ok(new ListenerLook(() => new Set(), 0).look(0).sockets.some(socket => socket.port === port))
})

lab('ends of processes: one that runs, one that is gone already, none twice', async () => {
  const child = spawn('sleep', ['60'])
  children.push(child)
  await once(child, 'spawn')
  const ends = new ProcessEnds()
  ends.watch(new Set([child.pid!, process.pid]))
  assert.equal(ends.sweep(), [])
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.equal(ends.sweep(), [child.pid])
  assert.equal(ends.sweep(), [])
  assert.is(ends.size, 1)
  ends.watch(new Set([child.pid!]))
  assert.equal(ends.sweep(), [child.pid])
  assert.is(ends.size, 0)
  ends.close()
})

lab('a look at 2,000 sockets and 300 processes costs a fraction of a search for owners', async () => {
  const netns = await makeNetns()
  await ipBatch(netns.name, ['link set lo up'])
  const server = startWaiting(netns.name)
  await server.tell('many 2000')
  const crowd = spawn('sh', ['-c', 'for i in $(seq 300); do sleep 300 & done; echo up; wait'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  try {
    await once(crowd.stdout, 'data')
    const [lookMs, searchMs] = netns.run(() => {
      const look = new ListenerLook(() => new Set(), NEVER_MS)
      const inodes = new Set(look.look(0).sockets.map(socket => socket.inode))
      assert.is(inodes.size, 2000)
      const cpuMs = (run: () => void): number => {
        run() // once before, for what is compiled at first
        const before = process.cpuUsage()
        for (let index = 0; index < 5; index++) run()
        const { user, system } = process.cpuUsage(before)
        return (user + system) / 5000
      }
      return [
        cpuMs(() => assert.is(look.look(0).changed, false)),
        cpuMs(() => assert.is(socketOwners(new Set([...inodes, -1])).size, 2000)),
      ]
    })
    const share = ((lookMs / 400) * 100).toFixed(1)
    process.stdout.write(
      `\n2,000 sockets, 300 processes: ${lookMs.toFixed(1)} ms of CPU a look (${share} % at one each 400 ms), ` +
        `${searchMs.toFixed(1)} ms a search\n`,
    )
    assert.ok(lookMs < searchMs / 2, `${lookMs} ms a look, ${searchMs} ms a search`)
  } finally {
    process.kill(-crowd.pid!, 'SIGKILL')
  }
})

it.run()
