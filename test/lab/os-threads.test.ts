import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventFd } from '../../src/os/eventfd.ts'
import { currentNetnsInode, deleteNetns, enterNetns } from '../../src/os/netns.ts'
import { Poller } from '../../src/os/poller.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { PATIENCE_MS } from '../support/os-lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('os/threads')
const src = join(import.meta.dirname, '..', '..', 'src', 'os')
let folder: string

it.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'os-threads-'))
})
it.after(async () => {
  rmSync(folder, { recursive: true })
  await removeNetns()
})

it('eventfd: signals before a drain are one, and a drain without a signal is harmless', () => {
  const event = EventFd.open()
  const poller = new Poller()
  const index = poller.add(event.fd)
  assert.is(poller.wait(0), 0)
  assert.is(poller.ready(index), false)
  event.signal()
  EventFd.attach(event.fd).signal()
  assert.is(poller.wait(PATIENCE_MS), 1)
  assert.is(poller.ready(index), true)
  event.drain()
  event.drain()
  assert.is(poller.wait(0), 0)
  assert.is(poller.ready(index), false)
  event.close()
})

it('poller: tells the ready from the others', () => {
  const events = [EventFd.open(), EventFd.open(), EventFd.open()]
  const poller = new Poller(3)
  const indexes = events.map(({ fd }) => poller.add(fd))
  events[0].signal()
  events[2].signal()
  assert.is(poller.wait(PATIENCE_MS), 2)
  assert.equal(
    indexes.map(index => poller.ready(index)),
    [true, false, true],
  )
  assert.throws(() => poller.add(0), /full/)
  for (const event of events) event.close()
})

it('poller: waits about as long as it was told, and no shorter', () => {
  const poller = new Poller()
  const startMs = performance.now()
  assert.is(poller.wait(20.4), 0)
  assert.ok(performance.now() - startMs >= 20)
})

it('poller: says when a descriptor was closed under it, instead of spinning', () => {
  const event = EventFd.open()
  const poller = new Poller()
  const index = poller.add(event.fd)
  event.close()
  poller.wait(PATIENCE_MS)
  assert.throws(() => poller.ready(index), /closed while still being watched/)
  assert.throws(() => event.signal(), /EBADF/)
})

/** What the worker does: enters a namespace, blocks in poll until woken, answers over its own eventfd and port. */
const workerText = `
import { parentPort, workerData } from 'node:worker_threads'
import { EventFd } from ${JSON.stringify(join(src, 'eventfd.ts'))}
import { currentNetnsInode, enterNetns } from ${JSON.stringify(join(src, 'netns.ts'))}
import { links } from ${JSON.stringify(join(src, 'netlink', 'route.ts'))}
import { Poller } from ${JSON.stringify(join(src, 'poller.ts'))}
enterNetns(workerData.netns)
const poller = new Poller()
const wake = EventFd.attach(workerData.wake)
poller.add(wake.fd)
EventFd.attach(workerData.ready).signal()
const woken = poller.wait(${PATIENCE_MS})
wake.drain()
let missing
try { enterNetns('no-such-namespace') } catch (error) { missing = error.symbol }
parentPort.postMessage({ woken, missing, inode: currentNetnsInode(), links: links().map(({ name }) => name) })
`

testIf(
  missingRoot(),
  it,
  'a worker of a CommonJS bundle has a namespace and an errno of its own',
  async () => {
    const netns = await makeNetns()
    const file = join(folder, 'worker.cjs')
    await build({
      stdin: { contents: workerText, resolveDir: src, loader: 'ts' },
      outfile: file,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      logLevel: 'error',
    })
    const before = currentNetnsInode()
    const wake = EventFd.open()
    const ready = EventFd.open()
    const worker = new Worker(file, {
      workerData: { netns: netns.name, wake: wake.fd, ready: ready.fd },
      execArgv: ['--no-warnings'],
    })
    const answer = once(worker, 'message')
    const poller = new Poller()
    poller.add(ready.fd)
    assert.is(poller.wait(PATIENCE_MS), 1, 'the worker starts')
    wake.signal()
    const [message] = await answer
    assert.is(message.woken, 1)
    assert.is(message.missing, 'ENOENT')
    assert.equal(message.links, ['lo'])
    assert.is(message.inode, netns.run(currentNetnsInode))
    assert.is.not(message.inode, before)
    assert.is(currentNetnsInode(), before, 'the main thread stayed where it was')
    await worker.terminate()
    wake.close()
    ready.close()
  },
)

testIf(
  missingRoot(),
  it,
  'namespaces: names are checked, a missing one is named, deleting twice is success',
  async () => {
    assert.throws(() => enterNetns('../proc'), /not a namespace name/)
    assert.throws(() => enterNetns('no-such-namespace'), /no-such-namespace.*ENOENT.*ip netns list/)
    const { name } = await makeNetns()
    await deleteNetns(name)
    await deleteNetns(name)
  },
)

it.run()
