/** The topology that all balancers share: a lab without its web servers' part in it; the applications are the suite's own. */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Lab } from '../../../src/lab/lab.ts'
import { commandOf, processesInside, signalProcess } from '../../../src/lab/processes.ts'
import { mustRun } from '../../../src/lab/run.ts'
import { Lines } from './lines.ts'

/** Where clients' addresses come from: behind the lab's client. */
const CLIENTS = '10.77'
export const SERVICE_PORT = 9000

/** Labs of the suite, so that those of one that was killed can be told and removed. */
export const PREFIX = 'faults-'
export const newName = (): string => `${PREFIX}${process.pid}-${randomBytes(2).toString('hex')}`

export const ip = (netns: string, lines: readonly string[]): Promise<string> =>
  mustRun(['ip', '-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` })

/** Runs a program in a namespace, past the lab's bookkeeping: it costs less, and what is struck must be struck at once. */
export const inside = (netns: string, argv: readonly string[], input?: string): Promise<string> =>
  mustRun(['ip', 'netns', 'exec', netns, ...argv], { input })

/** What a suite that was killed has left on this machine. */
export const removeAbandoned = async (): Promise<string[]> => {
  const left = Lab.all().filter(lab => lab.name.startsWith(PREFIX) && !lab.inUse)
  for (const lab of left) await lab.down(0)
  return left.map(({ name }) => name)
}

/**
 * Hash policy 3: by these fields of the packet (addresses, protocol, ports). Policy 1 would take the hash that a client's socket has given its
 * packets, which no cable carries; the socket changes it at each time-out, and no seed of the router changes anything about it.
 */
const HASH = ['net.ipv4.fib_multipath_hash_policy=3', `net.ipv4.fib_multipath_hash_fields=${0x37}`]

/** Address of each node's cable. */
export const macsOf = async (lab: Lab, names: readonly string[]): Promise<Map<string, string>> => {
  const one = async (name: string): Promise<[string, string]> => {
    const text = await inside(lab.netns(name), ['cat', '/sys/class/net/eth0/address'])
    return [name, text.trim()]
  }
  return new Map(await Promise.all(names.map(one)))
}

/**
 * Many connections from one address at a time: roomier than the kernel's defaults. And a switch that keeps what it has learnt of a cable that is out:
 * else it would send what is for that machine to all others, whose network cards take in only their own; but a veth takes in everything.
 */
export const prepareNetwork = async (lab: Lab): Promise<void> => {
  const macs = await macsOf(lab, ['router', ...lab.nodes.map(({ name }) => name)])
  const known = [...macs].map(([name, mac]) => `fdb replace ${mac} dev to-${name} master static\n`).join('')
  await inside(lab.netns('switch'), ['bridge', '-batch', '-'], known)
  const client = lab.place(lab.client())
  await inside(lab.netns('router'), ['sysctl', '-qw', ...HASH])
  await inside(client.netns, ['sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535'])
  await ip(lab.netns('router'), [`route add ${CLIENTS}.0.0/16 via ${client.address}`])
  for (const { netns } of lab.hosts) await inside(netns, ['sysctl', '-qw', 'net.core.somaxconn=4096'])
}

/** An address of the client's that no run before had: the next one never meets its ports again. */
let used = 0
export const freshAddress = async (lab: Lab): Promise<string> => {
  used++
  const address = `${CLIENTS}.${used >> 8}.${used & 255}`
  await ip(lab.netns(lab.client()), [`addr add ${address}/32 dev lo`])
  return address
}

/** The hosts' applications: each says which host it is on. */
export class Applications {
  readonly #lab: Lab
  readonly #program: string
  readonly #running = new Map<string, Lines>()

  constructor(lab: Lab, program: string) {
    this.#lab = lab
    this.#program = program
  }

  async start(host: string): Promise<void> {
    const child = this.#lab.spawn(host, [this.#program, 'server', String(SERVICE_PORT), host])
    const lines = new Lines(child)
    await lines.next()
    this.#running.set(host, lines)
  }

  async startAll(): Promise<void> {
    await Promise.all(this.#lab.hosts.map(({ name }) => this.start(name)))
  }

  /** Its sockets go with it. */
  kill(host: string): void {
    this.#running.get(host)?.child.kill('SIGKILL')
  }

  process(host: string): ChildProcess {
    return this.#running.get(host)!.child
  }

  /** The next `count` answers of it come back with a bit turned. */
  spoil(host: string, count: number): void {
    this.#running.get(host)!.tell(`spoil ${count}`)
  }
}

/** Signals every process of these names in a place. @returns how many there were */
export const signalAll = (
  lab: Lab,
  place: string,
  commands: readonly string[],
  signal: NodeJS.Signals,
): number => {
  const found = processesInside([lab.netns(place)]).filter(({ pid }) => commands.includes(commandOf(pid)))
  for (const p of found) signalProcess(p, signal)
  return found.length
}
