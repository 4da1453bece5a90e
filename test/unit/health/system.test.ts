import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  appInfo,
  applicationProcesses,
  connectionsAt,
  queuePercent,
  usedBetween,
} from '../../../src/health/system/app-state.ts'
import {
  compareLooks,
  lookOf,
  servedEndpoints,
  serves,
  socketKey,
  type WaitingSocket,
} from '../../../src/health/system/listeners.ts'
import { cpuPercent, type ServerCounters, serverState } from '../../../src/health/system/server-state.ts'

const it = suite('health/system')

const socket = (over: Partial<WaitingSocket>): WaitingSocket => ({
  protocol: 'tcp',
  address: '0.0.0.0',
  port: 80,
  inode: 1,
  v6only: false,
  namespace: null,
  local: [],
  ...over,
})
const endpoint = {
  vip: '10.99.0.1',
  port: 80,
  protocol: 'tcp' as const,
  physical: '10.10.0.71',
  physicalPort: 8080,
}

it('a socket serves an endpoint by VIP, wildcard or the own address', () => {
  const cases: [Partial<WaitingSocket>, ReturnType<typeof serves>][] = [
    [{ address: '10.99.0.1' }, 'vip'],
    [{}, 'wildcard'],
    [{ address: '::' }, 'wildcard'],
    [{ address: '::', v6only: true }, null],
    [{ address: '10.10.0.71', port: 8080 }, 'physical'],
    [{ port: 8080 }, 'wildcard'],
    [{ address: '10.99.0.1', port: 8080 }, null],
    [{ address: '10.10.0.71' }, null],
    [{ address: '127.0.0.1' }, null],
    [{ protocol: 'udp' }, null],
    [{ port: 81 }, null],
  ]
  for (const [over, expected] of cases)
    assert.is(serves(socket(over), endpoint), expected, JSON.stringify(over))
})

it('an IPv6 VIP is served by the IPv6 wildcard alone', () => {
  const six = { ...endpoint, vip: 'fd00::1', physical: 'fd00::2', physicalPort: 80 }
  assert.is(serves(socket({}), six), null)
  assert.is(serves(socket({ address: '::', v6only: true }), six), 'wildcard')
})

it('in a container the wildcard serves only what the container has', () => {
  const inside = (over: Partial<WaitingSocket>) => serves(socket({ namespace: 'net:[7]', ...over }), endpoint)
  assert.is(inside({ local: ['172.17.0.2'] }), null)
  assert.is(inside({ local: ['172.17.0.2', '10.99.0.1'] }), 'wildcard')
  assert.is(inside({ address: '10.99.0.1' }), 'vip')
  assert.is(inside({ port: 8080, local: ['10.10.0.71'] }), 'wildcard')
})

it('endpoints are listed with all sockets that serve them', () => {
  const other = { ...endpoint, port: 443, physicalPort: 443 }
  const sockets = [
    socket({ inode: 1 }),
    socket({ inode: 2, address: '10.99.0.1' }),
    socket({ inode: 3, port: 22 }),
  ]
  const served = servedEndpoints([endpoint, other], sockets)
  assert.equal(
    served.get(endpoint)?.map(({ inode }) => inode),
    [1, 2],
  )
  assert.is(served.has(other), false)
})

const looks = fc.uniqueArray(
  fc.record({ inode: fc.integer({ min: 1, max: 9 }), port: fc.integer({ min: 1, max: 3 }) }).map(socket),
  { selector: socketKey },
)
it('a look is the one before without what vanished and with what appeared', () => {
  fc.assert(
    fc.property(looks, looks, (before, after) => {
      const { appeared, vanished } = compareLooks(lookOf(before), lookOf(after))
      const gone = new Set(vanished.map(socketKey))
      const keys = [...before.map(socketKey).filter(key => !gone.has(key)), ...appeared.map(socketKey)]
      assert.equal(keys.sort(), after.map(socketKey).sort())
      assert.ok(vanished.every(one => before.includes(one)))
    }),
  )
})

const counters = (over: Partial<ServerCounters>): ServerCounters => ({
  atMs: 1000,
  cpuUsedUs: 5_000_000,
  cpus: 2,
  memoryBytes: 8000,
  memoryFreeBytes: 3000,
  receivedBytes: 1000,
  sentBytes: 1000,
  speedBits: 1_000_000,
  connections: 12,
  ...over,
})

it('rates are those between two samples, of the busier direction', () => {
  const later = counters({ atMs: 3000, cpuUsedUs: 6_000_000, receivedBytes: 11_000, sentBytes: 101_000 })
  assert.equal(serverState(counters({}), later), {
    connections: 12,
    cpuPercent: 25, // 1 s of 2 s on 2 CPUs
    memoryBytes: 8000,
    memoryFreeBytes: 3000,
    bandwidthBits: 400_000, // 100,000 bytes in 2 s
    bandwidthFreeBits: 600_000,
  })
})

it('no earlier sample, an unknown speed, and counters that began anew', () => {
  const first = serverState(null, counters({}))
  assert.equal([first.cpuPercent, first.bandwidthBits, first.bandwidthFreeBits], [0, 0, 1_000_000])
  const anew = serverState(
    counters({}),
    counters({ atMs: 2000, cpuUsedUs: 3, receivedBytes: 0, sentBytes: 0, speedBits: null }),
  )
  assert.equal([anew.cpuPercent, anew.bandwidthBits, anew.bandwidthFreeBits], [0, 0, 0])
})

it('all of a state is whole and within its range, whatever the counters', () => {
  const number = fc.double({ min: -1e6, max: 1e18 })
  const sample = fc.record({
    atMs: number,
    cpuUsedUs: number,
    cpus: fc.double({ min: 0, max: 512 }),
    memoryBytes: number,
    memoryFreeBytes: number,
    receivedBytes: number,
    sentBytes: number,
    speedBits: fc.option(number),
    connections: number,
  })
  fc.assert(
    fc.property(fc.option(sample), sample, (before, after) => {
      const state = serverState(before, after)
      for (const value of Object.values(state)) assert.ok(Number.isSafeInteger(value) && value >= 0)
      assert.ok(state.cpuPercent <= 100)
      assert.ok(state.memoryFreeBytes <= state.memoryBytes)
    }),
  )
})

it('CPU beyond what a limit allows for a moment is 100', () => {
  assert.is(cpuPercent(800_000, 1000, 0.5), 100)
  assert.is(cpuPercent(125_000, 1000, 0.5), 25)
})

const sample = (pid: number, parent: number, cpuMs = 0, started = pid) => ({ pid, parent, started, cpuMs })

it('an application is its process and all below it, but not another application', () => {
  const processes = [
    sample(1, 0),
    sample(10, 1),
    sample(11, 10),
    sample(12, 11),
    sample(20, 10),
    sample(21, 20),
    sample(30, 1),
  ]
  const trees = applicationProcesses(new Set([1, 10, 20]), processes)
  assert.equal(
    [...trees],
    [
      [1, [1]],
      [10, [10, 11, 12]],
      [20, [20, 21]],
    ],
  )
})

it('CPU of processes that came, went, or took the number of another', () => {
  const map = (...all: ReturnType<typeof sample>[]) => new Map(all.map(one => [one.pid, one]))
  const before = map(sample(1, 0, 100), sample(2, 1, 900), sample(3, 1, 500))
  const after = map(sample(1, 0, 160), sample(3, 1, 20, 77), sample(4, 1, 5))
  assert.is(usedBetween([1, 2, 3, 4], before, after), 60 + 20 + 5)
})

const listening = (address: string, port: number, queue = 0, backlog = 0) => ({
  protocol: 'tcp' as const,
  address,
  port,
  queue,
  backlog,
})

it('connections count once at each local end, with the wildcard all of its port', () => {
  const established = new Map([
    ['10.0.0.1:80', 3],
    ['10.0.0.2:80', 4],
    ['fd00::1:80', 5],
    ['10.0.0.1:8080', 100],
  ])
  assert.is(connectionsAt([listening('10.0.0.1', 80)], established), 3)
  assert.is(connectionsAt([listening('0.0.0.0', 80), listening('10.0.0.1', 80)], established), 12)
  assert.is(connectionsAt([{ ...listening('0.0.0.0', 80), protocol: 'udp' }], established), 0)
})

it('a row of the application table', () => {
  const app = {
    pid: 5,
    name: 'nginx',
    unit: 'nginx.service',
    sockets: [{ ...listening('0.0.0.0', 80, 3, 128), inode: 9 }],
    pids: [5, 6],
    memoryBytes: 700,
    established: new Map([['10.0.0.1:80', 2]]),
  }
  const before = new Map([[5, sample(5, 1, 1000)]])
  const after = new Map([
    [5, sample(5, 1, 1400)],
    [6, sample(6, 5, 100)],
  ])
  assert.equal(appInfo(app, before, after, 1000, 2), {
    pid: 5,
    name: 'nginx',
    unit: 'nginx.service',
    memoryBytes: 700,
    cpuPercent: 25,
    connections: 2,
    sockets: [listening('0.0.0.0', 80, 3, 128)],
  })
})

it('the fullest accept queue counts; one without a known limit does not', () => {
  const sockets = [listening('a', 1, 5, 10), listening('b', 2, 300, 0), listening('c', 3, 1, 100)]
  assert.is(queuePercent(sockets), 50)
  assert.is(queuePercent([listening('a', 1, 11, 10)]), 100)
})

it.run()
