/** Liveness of machines: real probes between namespaces, answered by a kernel without any agent on it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpus } from 'node:os'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Prober } from '../../src/agent/dataplane/prober.ts'
import { IcmpEchoSocket } from '../../src/os/icmp-socket.ts'
import { parseIpv4 } from '../../src/os/inet.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { removeNetns } from '../support/netns.ts'
import { collect, makePair, PATIENCE_MS, type Pair, readable } from '../support/os-lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab/node-probes')
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missingRoot(), it, name, run)

const LEFT = parseIpv4('10.9.0.1')
const RIGHT = parseIpv4('10.9.0.2')
const RUNS = 20
const STOPPED_MS = 2000
const BURNT_MS = 10_000

let pair: Pair
const children: ChildProcess[] = []

it.before(async () => {
  if (missingRoot() === undefined) pair = await makePair()
})
it.after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await removeNetns()
})

interface Change {
  atMs: number
  state: string
}

/** A prober in the left namespace that watches the right one. */
const startProber = () => {
  const child = spawn(
    process.execPath,
    [
      '--no-warnings',
      fileURLToPath(new URL('../support/prober-process.ts', import.meta.url)),
      pair.left.name,
      '10.9.0.1',
      'right=10.9.0.2',
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  children.push(child)
  const log: Change[] = []
  let wake = (): void => {}
  createInterface({ input: child.stdout }).on('line', line => {
    const [atMs, , state] = line.split(' ')
    log.push({ atMs: Number(atMs), state })
    wake()
  })
  /** The next change to `state` at entry `from` or later. */
  const until = async (state: string, from: number): Promise<Change> => {
    const deadlineMs = performance.now() + PATIENCE_MS
    for (;;) {
      const found = log.slice(from).find(change => change.state === state)
      if (found !== undefined) return found
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0) throw new Error(`never ${state}: ${JSON.stringify(log.slice(from))}`)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
  return { child, log, until, end: () => child.stdin?.end() }
}

const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6

const spread = (values: number[]): string => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): string => sorted[Math.floor((sorted.length - 1) * share)].toFixed(0)
  return `min ${at(0)} p50 ${at(0.5)} p90 ${at(0.9)} max ${at(1)} ms`
}

lab('icmp: a peer kernel answers with our nonce; other identifiers and requests do not wake us', () => {
  const ours = pair.left.run(() => IcmpEchoSocket.open('10.9.0.1', 0x1234))
  const others = pair.left.run(() => IcmpEchoSocket.open('10.9.0.1', 0x1235))
  const reverse = pair.right.run(() => IcmpEchoSocket.open('10.9.0.2', 0x1234))
  for (let n = 0; n < 130; n++) ours.queue(RIGHT, n, 0xdeadbeef, n)
  assert.is(ours.flush(), 0)
  const seen: unknown[] = []
  collect(ours.fd, 130, () => ours.receive(200, (...reply) => void seen.push(reply)))
  assert.equal(
    seen,
    Array.from({ length: 130 }, (_, n) => [RIGHT, n, 0xdeadbeef, n]),
  )
  assert.is(readable(others.fd), false)
  reverse.queue(LEFT, 1, 2, 3)
  reverse.flush()
  collect(reverse.fd, 1, () => reverse.receive(1, () => {}))
  assert.is(readable(ours.fd), false, 'the request that our kernel just answered')
  assert.is(ours.malformed, 0)
  for (const socket of [ours, others, reverse]) socket.close()
})

lab('icmp: says which address cannot be had', () => {
  assert.throws(() => pair.left.run(() => Prober.open('10.9.9.9')), /ICMP 10\.9\.9\.9.*EADDRNOTAVAIL/)
  assert.throws(() => pair.left.run(() => Prober.open('nowhere')), /not an IPv4 address/)
})

lab(`a node whose links go is dead in less than 500 ms, ${RUNS} times`, async () => {
  const { log, until, end } = startProber()
  await until('alive', 0)
  const suspectMs: number[] = []
  const deadMs: number[] = []
  for (let run = 0; run < RUNS; run++) {
    await delay(250 + ((run * 37) % 100)) // enough answers to be settled, at another phase each time
    const from = log.length
    const goneMs = monotonicMs() // before the command: what it takes is counted too
    await ipBatch(pair.right.name, ['link set v0 down'])
    suspectMs.push((await until('suspect', from)).atMs - goneMs)
    deadMs.push((await until('dead', from)).atMs - goneMs)
    await ipBatch(pair.right.name, ['link set v0 up'])
    await until('alive', from)
  }
  end()
  process.stdout.write(`\n  suspect after ${spread(suspectMs)}; dead after ${spread(deadMs)}\n`)
  assert.ok(Math.max(...deadMs) < 500, spread(deadMs))
  assert.ok(Math.max(...suspectMs) < 400, spread(suspectMs))
})

lab('a kernel that stops to answer is dead, though its link is up', async () => {
  const { log, until, end } = startProber()
  await until('alive', 0)
  await delay(300)
  const from = log.length
  const goneMs = monotonicMs()
  pair.right.run(() => writeSysctl('net.ipv4.icmp_echo_ignore_all', 1))
  try {
    const dead = await until('dead', from)
    assert.ok(dead.atMs - goneMs < 500, `${dead.atMs - goneMs}`)
  } finally {
    pair.right.run(() => writeSysctl('net.ipv4.icmp_echo_ignore_all', 0))
  }
  await until('alive', from)
  end()
})

lab('a prober that was stopped for 2 s calls nobody dead', async () => {
  const { child, log, until, end } = startProber()
  await until('alive', 0)
  for (let round = 0; round < 3; round++) {
    await delay(200 + round * 35)
    child.kill('SIGSTOP')
    await delay(STOPPED_MS)
    child.kill('SIGCONT')
    await delay(600)
  }
  assert.equal(
    log.map(change => change.state).filter(state => state !== 'unknown'),
    ['alive'],
  )
  // It is awake, and still sees a death.
  const from = log.length
  await ipBatch(pair.right.name, ['link set v0 down'])
  await until('dead', from)
  await ipBatch(pair.right.name, ['link set v0 up'])
  end()
})

lab('with all cores burnt nobody flaps in 10 s', async () => {
  const { log, until, end } = startProber()
  await until('alive', 0)
  const burners = cpus().map(() => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }))
  children.push(...burners)
  try {
    await delay(BURNT_MS)
  } finally {
    for (const burner of burners) burner.kill('SIGKILL')
  }
  assert.equal(
    log.map(change => change.state).filter(state => state !== 'unknown'),
    ['alive'],
  )
  end()
})

it.run()
