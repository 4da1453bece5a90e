/** What applications use, on a host of very many processes: read in slices, told when whole (R-F4). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { AppsSource } from '../../../src/agent/health/apps-round.ts'
import type { Listener } from '../../../src/agent/health/listener-look.ts'
import { SHARE, SLICE_MS } from '../../../src/agent/health/slices.ts'
import { SystemSampler } from '../../../src/agent/health/system-sample.ts'
import { cpuCounters } from '../../../src/os/counters.ts'

const it = suite('system sample')

const OWNER = 10
const READ_MS = 0.03
const listener = (owner: number): Listener => ({
  ...{ protocol: 'tcp', address: '0.0.0.0', port: 80, inode: 1, uid: 0, queue: 0, backlog: 9, v6only: false },
  owner: { pid: owner, name: 'web', cgroup: '/', unit: null },
  namespace: null,
  local: [],
})

/** A machine of `count` processes, all children of OWNER, where each look takes its time and time passes only so. */
const setUp = (count: number) => {
  let nowMs = 1_000
  let timers: { atMs: number; run: () => void }[] = []
  /** `busy`: CPUs that each process keeps busy. */
  const machine = { count, fails: false, busy: 0, slices: [] as number[], pausesMs: [] as number[], ended: 0 }
  const look = <T>(value: T): T => {
    nowMs += READ_MS
    return value
  }
  const source: AppsSource = {
    *processes() {
      try {
        for (let pid = OWNER; pid < OWNER + machine.count; pid++) yield pid
      } finally {
        machine.ended++
      }
    },
    usage: pid => {
      if (machine.fails && pid === OWNER + 500) throw new Error('no descriptors left')
      return look({ pid, parent: pid === OWNER ? 1 : OWNER, started: 1, cpuMs: nowMs * machine.busy })
    },
    memory: () => look({ resident: 5_000, anonymous: 1_000 }),
    *connections() {
      for (let i = 0; i < 100; i++) {
        look(null)
        yield
      }
      return new Map([['10.0.0.1:80', 7]])
    },
    connectionsOf: () => new Map(),
  }
  const sampler = new SystemSampler(null, source, {
    nowMs: () => nowMs,
    later: (run, ms) => {
      const timer = { atMs: nowMs + ms, run }
      machine.pausesMs.push(ms)
      timers.push(timer)
      return () => {
        timers = timers.filter(each => each !== timer)
      }
    },
  })
  const timed = <T>(run: () => T): T => {
    const fromMs = nowMs
    const result = run()
    machine.slices.push(nowMs - fromMs)
    return result
  }
  const sample = () => timed(() => sampler.sample([listener(OWNER)], () => null, nowMs))
  const pass = (forMs: number) => {
    const untilMs = nowMs + forMs
    for (;;) {
      timers.sort((a, b) => a.atMs - b.atMs)
      if (!(timers[0] !== undefined && timers[0].atMs <= untilMs)) break
      const { atMs, run } = timers.shift()!
      nowMs = Math.max(nowMs, atMs)
      timed(run)
    }
    nowMs = Math.max(nowMs, untilMs)
  }
  return { sampler, machine, sample, pass, waiting: () => timers.length }
}

it('few processes are read at once', () => {
  const t = setUp(50)
  const [app] = t.sample().apps
  assert.equal([app?.pid, app?.memoryBytes, app?.connections], [OWNER, 5_000 + 49 * 1_000, 7])
  assert.is(t.waiting(), 0)
})

it('of 20,000 a short slice is read at a time, a tenth of the time, and whole rounds are told', () => {
  const t = setUp(20_000)
  assert.equal(t.sample().apps, [])
  t.pass(2_000)
  assert.equal(t.sample().apps, [], 'still the first round')
  // 20,000 looks for use and as many for memory: 1.2 s of reading.
  t.pass(13_000)
  const [app] = t.sample().apps
  assert.equal([app?.memoryBytes, app?.connections], [5_000 + 19_999 * 1_000, 7])
  assert.is(app?.cpuPercent, 0, 'nothing to compare with')
  assert.ok(t.machine.slices.length > 100, `${t.machine.slices.length} slices`)
  const longest = Math.max(...t.machine.slices)
  assert.ok(longest < SLICE_MS + 2 * READ_MS, `a slice of ${longest} ms`)
  const shortest = Math.min(...t.machine.pausesMs)
  assert.ok(shortest >= SLICE_MS * (1 / SHARE - 1), `a pause of ${shortest} ms`)
  t.sampler.close()
})

it('what an application used is what it used between whole rounds', () => {
  const t = setUp(3_000)
  t.machine.busy = cpuCounters().cpus / 2 / 3_000
  assert.equal(t.sample().apps, [])
  t.pass(4_000)
  assert.is(t.sample().apps[0]?.cpuPercent, 0, 'nothing to compare with')
  for (let round = 0; round < 3; round++) {
    // Samples come twice as often as rounds end.
    t.pass(1_000)
    t.sample()
    t.pass(1_000)
    const percent = t.sample().apps[0]!.cpuPercent
    assert.ok(round === 0 || Math.abs(percent - 50) <= 2, `${percent} %`)
  }
  t.sampler.close()
})

it('a round that fails changes nothing and is tried again; what is closed reads nothing more', () => {
  const t = setUp(1_000)
  t.sample()
  t.pass(3_000)
  assert.is(t.sample().apps.length, 1)
  t.pass(3_000)
  t.machine.fails = true
  assert.is(t.sample().apps.length, 1)
  t.pass(3_000)
  assert.is(t.sample().apps.length, 1)
  t.machine.fails = false
  t.machine.count = 2_000
  t.pass(3_000)
  t.sample()
  t.pass(5_000)
  assert.is(t.sample().apps[0]!.memoryBytes, 5_000 + 1_999 * 1_000)
  t.pass(3_000)
  t.sample()
  assert.is(t.waiting(), 1)
  const { ended, slices } = t.machine
  const before = slices.length
  t.sampler.close()
  assert.is(t.waiting(), 0)
  assert.is(t.machine.ended, ended + 1)
  t.pass(60_000)
  assert.is(slices.length, before)
})

it.run()
