/**
 * What health and load cost at scale: bytes that a load balancing unit receives and the CPU time of its cache, with heartbeats sent
 * to the units by each host, by leaders of groups, and by leaders that pass on changes only (R-B5, R-B7); and beside it the links' own
 * heartbeats and the probes of machines.
 *   bench/health-scale.ts [--hosts 10,100,1000] [--seconds 60]
 */
import { parseArgs } from 'node:util'
import { decodeHealth, encodeHealth } from '../src/health/codec.ts'
import { HealthNode, type NodeMember } from '../src/health/node.ts'
import type { AppId, HealthMessage } from '../src/health/types.ts'
import { seeded } from '../test/support/random.ts'
import { ACK_BYTES, AROUND_BYTES, ETHERNET_BYTES, FRAME_BYTES } from './lib/wire.ts'
import { ownCosts } from './links-scale.ts'

const UNITS = 2
const ROWS = 2
const BEAT_MS = 1000
const STEP_MS = 50
/** Until the units have tied all hosts' beats to their clocks. */
const WARM_S = 40
const LOAD_EVERY_MS = 15_000

export interface Mode {
  name: string
  directHosts: number
  mode: 'full' | 'changes'
  leaseBeats: number
}
const MODES: readonly Mode[] = [
  { name: 'no leaders', directHosts: Number.POSITIVE_INFINITY, mode: 'full', leaseBeats: 3 },
  { name: 'leaders, full', directHosts: 3, mode: 'full', leaseBeats: 3 },
  { name: 'leaders, changes', directHosts: 3, mode: 'changes', leaseBeats: 13 },
]

interface Cost {
  messages: number
  /** Messages of one step to one receiver leave in one (link.ts). */
  writes: number
  bytes: number
  /** Had no message been deflated. */
  rawBytes: number
  byType: Map<string, number>
  cpuMs: number
}

const appOf = (host: number, row: number): AppId => ({
  vip: `10.99.0.${1 + row}`,
  port: 80,
  physical: `10.${10 + (host >> 8)}.${host & 255}.1`,
  physicalPort: 80,
  protocol: 'tcp',
  specific: '',
})

/** A heartbeat without the deflation: what its entries take one by one. */
const sizeApart = (message: HealthMessage): number => {
  if (message.type !== 'heartbeat' || message.entries.length < 2) return encodeHealth(message).length
  const empty = encodeHealth({ ...message, entries: [] }).length
  return message.entries.reduce(
    (sum, entry) => sum + encodeHealth({ ...message, gone: [], entries: [entry] }).length - BARE_BYTES,
    empty,
  )
}
const BARE_BYTES = encodeHealth({ type: 'heartbeat', leader: 1, entries: [], gone: [] }).length

/** Of this thread, whatever else the machine does meanwhile. */
const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** Virtual time in steps: all that was sent in one arrives in the next. */
const measure = (hostCount: number, mode: Mode, seconds: number): Cost => {
  const random = seeded(1)
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => random() * 256)
  const members: NodeMember[] = [
    ...Array.from({ length: hostCount }, (_, i) => ({ name: `h${i}`, id: `h${i}`, host: true, unit: false })),
    ...Array.from({ length: UNITS }, (_, i) => ({ name: `u${i}`, id: `u${i}`, host: false, unit: true })),
  ]
  const nodes = new Map<string, { node: HealthNode; wakeAtMs: number; isUnit: boolean }>()
  const cost: Cost = { messages: 0, writes: 0, bytes: 0, rawBytes: 0, byType: new Map(), cpuMs: 0 }
  const sizes = new WeakMap<HealthMessage, { bytes: number; rawBytes: number }>()
  let inFlight: { from: string; to: string; write: number; message: HealthMessage }[] = []
  let writes = 0
  let lastWrite = 0
  let nowMs = 0
  let isCounted = false

  const step = (name: string, event: Parameters<HealthNode['step']>[0]): void => {
    const place = nodes.get(name)!
    const isMeasured = name === 'u0' && isCounted
    const before = isMeasured ? cpuMs() : 0
    const { actions, wakeAtMs } = place.node.step(event, nowMs)
    if (isMeasured) cost.cpuMs += cpuMs() - before
    place.wakeAtMs = wakeAtMs
    const write = ++writes
    for (const action of actions) {
      if (action.do === 'send') inFlight.push({ from: name, to: action.to, write, message: action.message })
      if (action.do === 'apply') step(name, { on: 'applied', host: action.host, version: action.version })
    }
  }
  const count = (message: HealthMessage, write: number): void => {
    const known = sizes.get(message)
    const size = known ?? { bytes: encodeHealth(message).length, rawBytes: sizeApart(message) }
    if (known === undefined) sizes.set(message, size)
    const around = FRAME_BYTES + (write === lastWrite ? 0 : AROUND_BYTES)
    cost.messages++
    if (write !== lastWrite) cost.writes++
    lastWrite = write
    cost.bytes += size.bytes + around
    cost.rawBytes += size.rawBytes + around
    cost.byType.set(message.type, (cost.byType.get(message.type) ?? 0) + size.bytes + around)
    const body = encodeHealth(message)
    const before = cpuMs()
    decodeHealth(body)
    cost.cpuMs += cpuMs() - before
  }

  for (const { name, unit } of members) {
    const node = new HealthNode(
      {
        name,
        host: {
          beatMs: BEAT_MS,
          leaseBeats: mode.leaseBeats,
          forwardEvery: 10,
          dnsName: `${name}.example.net`,
          dnsEvery: 30,
          overload: { drain: 95, resume: 75, forMs: 30_000 },
          load: { everyMs: LOAD_EVERY_MS, step: 5, jump: 25 },
        },
        group: { beatMs: BEAT_MS, mode: mode.mode, directHosts: mode.directHosts },
      },
      { instance: () => Math.floor(random() * 2 ** 32), seed: () => bytes(32) },
    )
    nodes.set(name, { node, wakeAtMs: 0, isUnit: unit })
  }
  // Hosts did not all start at one moment: their beats are spread.
  const startMs = new Map(members.map(({ name, host }) => [name, host ? Math.floor(random() * BEAT_MS) : 0]))
  const started = new Set<string>()
  const loads = new Map<string, number>()
  for (; nowMs < (WARM_S + seconds) * 1000; nowMs += STEP_MS) {
    isCounted = nowMs >= WARM_S * 1000
    for (const { name, host } of members) {
      if (started.has(name) || startMs.get(name)! > nowMs) continue
      started.add(name)
      step(name, { on: 'members', members })
      for (const peer of started) {
        if (peer === name) continue
        step(name, { on: 'link', peer, up: true })
        step(peer, { on: 'link', peer: name, up: true })
      }
      const i = Number(name.slice(1))
      if (host)
        step(name, {
          on: 'endpoints',
          endpoints: Array.from({ length: ROWS }, (_, row) => ({
            ...{ app: appOf(i, row), capacity: 50, whenFailing: 'draining' as const },
          })),
        })
    }
    const arrived = inFlight
    inFlight = []
    for (const { from, to, write, message } of arrived) {
      if (!started.has(to)) continue
      if (to === 'u0' && isCounted) count(message, write)
      step(to, { on: 'message', from, message })
    }
    // Each host's load changes by enough to be told, four times a minute.
    for (const { name, host } of members) {
      const place = nodes.get(name)!
      const sinceMs = nowMs - (startMs.get(name) ?? 0)
      if (host && started.has(name) && sinceMs % 5000 < STEP_MS)
        for (let row = 0; row < ROWS; row++) {
          if (sinceMs % LOAD_EVERY_MS < STEP_MS) loads.set(`${name} ${row}`, 20 + 60 * random())
          const percent = loads.get(`${name} ${row}`) ?? 0
          const { vip, physical } = appOf(Number(name.slice(1)), row)
          step(name, { on: 'load', app: `tcp/${vip}:80@${physical}:80`, percent })
        }
      if (started.has(name) && place.wakeAtMs <= nowMs) step(name, { on: 'tick' })
    }
  }
  const unit = nodes.get('u0')!.node.unit!
  const without = unit.hosts().filter(({ leaseUntilMs }) => leaseUntilMs <= nowMs).length
  if (without > 0)
    process.stderr.write(`warning: ${without} of ${hostCount} hosts have no lease at the end\n`)
  return cost
}

const METHOD = `Method: the cores of all nodes in virtual time, no sockets; ${ROWS} rows a host, whose load changes up to four times a minute; ${UNITS} units;
measured at one of them for the given time after ${WARM_S} s of warming up. Bytes: encodeHealth of each message it receives, ${FRAME_BYTES} bytes of frame
around each, and ${AROUND_BYTES} (IP, TCP, Noise, Yamux) around each write: what one step of a host sends to one unit leaves in one. The ${AROUND_BYTES} were measured by
bench/framing.ts on real agents. Ethernet adds ${ETHERNET_BYTES} bytes a write, and TCP sends back up to ${ACK_BYTES} (${ACK_BYTES + ETHERNET_BYTES} with Ethernet). "apart": consolidated heartbeats as if
each entry were coded by itself, without deltas and deflation. The clock's questions, one a host in five minutes, are not in it.
CPU: of the unit's core and of decoding, in ms a second; without the streams' ciphers, the sockets and the kernel.`

const { values } = parseArgs({
  options: { hosts: { type: 'string', default: '10,100,1000' }, seconds: { type: 'string', default: '60' } },
})
const seconds = Number(values.seconds)
const sizesAsked = values.hosts.split(',').map(Number)
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const row = (first: (string | number)[], widths: number[], rest: string[]): string =>
  [...first.map(String), ...rest]
    .map((cell, i) => (i === 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
    .join('  ')

say(METHOD)
say('\nHealth and load, received by a unit')
const WIDTHS = [5, 16, 10, 8, 8, 9, 11, 11, 8]
const HEAD = [
  'hosts',
  'heartbeats',
  'messages/s',
  'writes/s',
  'bytes/s',
  'apart B/s',
  'heartb. B/s',
  'changes B/s',
  'CPU ms/s',
]
say(row(HEAD.slice(0, 2), WIDTHS, HEAD.slice(2)))
for (const hosts of sizesAsked)
  for (const mode of MODES) {
    const cost = measure(hosts, mode, seconds)
    const per = (n: number): string => Math.round(n / seconds).toString()
    const of = (type: string): string => per(cost.byType.get(type) ?? 0)
    say(
      row([hosts, mode.name], WIDTHS, [
        ...[cost.messages, cost.writes, cost.bytes, cost.rawBytes].map(per),
        ...[of('heartbeat'), of('row-change'), (cost.cpuMs / seconds).toFixed(2)],
      ]),
    )
  }

say(
  `\nThe links' own heartbeats and the probes of machines, each way, at any node (computed; before: a heartbeat every 250 ms, 64 probes a round)`,
)
const OWN_WIDTHS = [5, 6, 12, 11, 11, 8, 11, 11]
const OWN_HEAD = [
  'hosts',
  'rule',
  'heartbeats/s',
  'heartb. B/s',
  'dead after',
  'probes/s',
  'probes B/s',
  'dead within',
]
say(row(OWN_HEAD.slice(0, 2), OWN_WIDTHS, OWN_HEAD.slice(2)))
for (const hosts of sizesAsked)
  for (const own of ownCosts(hosts + UNITS - 1))
    say(
      row([hosts, own.rule], OWN_WIDTHS, [
        ...[own.heartbeatsPerS, own.heartbeatBytesPerS].map(n => Math.round(n).toString()),
        `${(own.silenceMs / 1000).toFixed(2)} s`,
        ...[own.probesPerS, own.probeBytesPerS].map(n => Math.round(n).toString()),
        `${(own.probeDeathMs / 1000).toFixed(2)} s`,
      ]),
    )
