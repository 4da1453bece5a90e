/** Counters of the whole machine and of this network namespace, from /proc and /sys (proc(5)). */
import { existsSync, readFileSync } from 'node:fs'

const TICK_US = 10_000

const readText = (path: string): string => {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

export interface CpuCounters {
  /** Time that was not idle, since boot, microseconds: what the hypervisor took counts as used. */
  readonly usedUs: number
  readonly cpus: number
}

/** /proc/stat. */
export const parseCpu = (text: string): CpuCounters => {
  const fields = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '').split(' ').map(Number)
  // user nice system idle iowait irq softirq steal; guest time is in user and nice already
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields
  return {
    usedUs: (user + nice + system + irq + softirq + steal) * TICK_US,
    cpus: Math.max(1, text.match(/^cpu\d+ /gm)?.length ?? 1),
  }
}

/** /proc/meminfo: total, and what new work could have without swapping. */
export const parseMemory = (text: string): { totalBytes: number; availableBytes: number } => {
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024
  return { totalBytes: bytes('MemTotal'), availableBytes: bytes('MemAvailable') }
}

export interface LinkBytes {
  readonly name: string
  readonly receivedBytes: number
  readonly sentBytes: number
}

/** /proc/net/dev. */
export const parseLinks = (text: string): LinkBytes[] =>
  [...text.matchAll(/^ *([^:\s]+): *(\d+)(?: +\d+){7} +(\d+)/gm)].map(match => ({
    name: match[1]!,
    receivedBytes: Number(match[2]),
    sentBytes: Number(match[3]),
  }))

/** /proc/net/snmp: TCP connections that are established or that the other side has half closed. */
export const parseConnections = (text: string): number => {
  const [names = '', values = ''] = text.split('\n').filter(line => line.startsWith('Tcp: '))
  return Number(values.split(' ')[names.split(' ').indexOf('CurrEstab')] ?? 0)
}

export const cpuCounters = (): CpuCounters => parseCpu(readText('/proc/stat'))
export const memoryCounters = (): ReturnType<typeof parseMemory> => parseMemory(readText('/proc/meminfo'))
export const connectionCount = (): number => parseConnections(readText('/proc/thread-self/net/snmp'))

export interface Bandwidth {
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Sum of the speeds, bits a second; null when a link does not say its own. */
  readonly speedBits: number | null
}

/** In megabits a second; null: a virtual interface, one without carrier, or one that is not known to this /sys. */
const speedOf = (name: string): number | null => {
  const speed = Number.parseInt(readText(`/sys/class/net/${name}/speed`), 10)
  return speed > 0 ? speed : null
}

/**
 * Traffic of this network namespace at its edge: of its network cards, or where there are none (a container, a lab) of all
 * interfaces but the loopback and tunnels. A bridge above a card would count its bytes again.
 */
export const bandwidthCounters = (): Bandwidth => {
  const all = parseLinks(readText('/proc/thread-self/net/dev'))
  const cards = all.filter(link => existsSync(`/sys/class/net/${link.name}/device`))
  const counted =
    cards.length > 0 ? cards : all.filter(link => !/^(lo|tun|tap|ifb|dummy|shunt|br-|docker)/.test(link.name))
  const speeds = counted.map(link => speedOf(link.name))
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  return {
    receivedBytes: sum(counted.map(link => link.receivedBytes)),
    sentBytes: sum(counted.map(link => link.sentBytes)),
    speedBits:
      counted.length === 0 || speeds.includes(null) ? null : sum(speeds.map(speed => speed! * 1_000_000)),
  }
}
