/** A lab under attack: good requests all the while, an attacker inside and outside, and what the nodes say of it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { encodeMappingHeader, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import { buildMappingKeys, ipv4Of } from '../../src/agent/plan.ts'
import type { DropsData, StatusData } from '../../src/control/types.ts'
import { readSecret } from '../../src/gossip/identity.ts'
import { Lab, type LabOptions } from '../../src/lab/lab.ts'
import { mustRun } from '../../src/lab/run.ts'
import { FrameSender, parseMac } from './frames.ts'
import { labName } from './lab.ts'
import { addressWords, buildUdp4 } from './packets.ts'

export const VIP = '10.99.0.1'
export const WEB = 80
export const DNS = 53
export const MAPPING_PORT = 6781
const PATIENCE_MS = 15_000
const COUNT_PATIENCE_MS = 5000
const NODE = [process.execPath, '--no-warnings']

/** Drops by reason number, kernel and agent together. */
export type Drops = ReadonlyMap<number, number>

export interface Answer {
  ms: number
  status?: number
  body?: string
  error?: string
}

/** Datagrams that the applications of the hosts got, by host; each answers with what it got. */
const ECHO = `
const socket = require('node:dgram').createSocket('udp4')
socket.on('message', (bytes, from) => { console.log(bytes.toString('hex')); socket.send(bytes, from.port, from.address) })
socket.bind(${DNS}, '${VIP}', () => console.log('ready'))`

export class HostileLab {
  readonly lab: Lab
  readonly answers: Answer[] = []
  /** Hexadecimal payloads that the UDP applications got, by host. */
  readonly datagrams = new Map<string, string[]>()
  /** Frames into the rack, and to the router from the clients' side. */
  readonly rack: FrameSender
  readonly outside: FrameSender
  readonly #macs = new Map<string, Uint8Array>()
  readonly #pids = new Map<string, number>()
  readonly #children: ChildProcess[] = []

  private constructor(lab: Lab) {
    this.lab = lab
    this.rack = FrameSender.open(lab.netns('router'))
    this.outside = FrameSender.open(lab.netns('client2'))
  }

  static async up(options: LabOptions = {}): Promise<HostileLab> {
    const lab = await Lab.up({
      ...{ name: labName(), forwarders: 2, classifiers: 1, hosts: 2, clients: 2 },
      services: [
        { name: 'web', vip: VIP, port: WEB, protocol: 'tcp' },
        { name: 'dns', vip: VIP, port: DNS, protocol: 'udp' },
      ],
      ...options,
    })
    const hostile = new HostileLab(lab)
    try {
      await hostile.#start()
    } catch (error) {
      await hostile.down()
      throw error
    }
    return hostile
  }

  async #start(): Promise<void> {
    const { lab } = this
    for (const place of [...lab.nodes.map(n => n.name), 'router']) {
      const device = place === 'router' ? 'br1' : 'eth0'
      const text = await mustRun(['ip', '-n', lab.netns(place), '-j', 'link', 'show', device])
      this.#macs.set(place, parseMac((JSON.parse(text) as [{ address: string }])[0].address))
    }
    // Where the module br_netfilter is loaded, bridges drop what is malformed; a rack's switch does not.
    if (existsSync('/proc/sys/net/bridge')) {
      const setting = 'net.bridge.bridge-nf-call-iptables=0'
      await mustRun(['ip', 'netns', 'exec', lab.netns('switch'), 'sysctl', '-qw', setting])
    }
    // Where the answers to forged sources go: nowhere, and nobody complains.
    await mustRun(['ip', '-n', lab.netns('router'), 'route', 'add', 'blackhole', '198.18.0.0/15'])
    for (const host of lab.hosts) {
      const lines: string[] = []
      this.datagrams.set(host.name, lines)
      await this.#child(host.name, [...NODE, '-e', ECHO], line => lines.push(line))
    }
    const requests = join(import.meta.dirname, 'steady-requests.ts')
    await this.#child('client1', [...NODE, requests, `http://${VIP}/`, '40'], line => {
      this.answers.push(JSON.parse(line) as Answer)
    })
    for (const node of lab.nodes) this.#pids.set(node.name, (await this.status(node.name)).pid)
  }

  /** Starts a program in a place and waits for its first line. */
  async #child(place: string, argv: string[], onLine: (line: string) => void): Promise<void> {
    const child = this.lab.spawn(place, argv)
    this.#children.push(child)
    child.stderr!.on('data', (chunk: Buffer) => process.stderr.write(chunk))
    await new Promise<void>((resolve, reject) => {
      child.once('exit', code => reject(new Error(`${argv.at(-1)} in ${place} ended with ${code}`)))
      createInterface(child.stdout!).on('line', line => {
        onLine(line)
        resolve()
      })
    })
  }

  mac(place: string): Uint8Array {
    return this.#macs.get(place)!
  }
  address(place: string): string {
    return this.lab.place(place).address!
  }
  status(node: string): Promise<StatusData> {
    return this.lab.api<StatusData>(node, '/v1/status')
  }

  async drops(node: string): Promise<Drops> {
    const sums = new Map<number, number>()
    for (const { number, count } of (await this.lab.api<DropsData>(node, '/v1/drops')).drops)
      sums.set(number, (sums.get(number) ?? 0) + count)
    return sums
  }

  /** A frame into the rack for a node, whatever it holds. */
  toNode(node: string, packet: Uint8Array): void {
    this.rack.send(this.mac(node), packet)
  }

  /** A packet from the clients' side, by way of the router. */
  toRouter(packet: Uint8Array): void {
    this.outside.send(this.mac('router'), packet)
  }

  /** A datagram to a node's mapping port from any address. */
  toMappingPort(node: string, payload: Uint8Array, source: string): void {
    const destination = this.address(node)
    this.toNode(
      node,
      buildUdp4({ source, destination, sourcePort: MAPPING_PORT, destinationPort: MAPPING_PORT, payload }),
    )
  }

  /** A mapping datagram with a true tag, as only a node of the cluster could make it for the node `to`. */
  sign(header: MappingHeader, tunnel: string, to: string, inner: Uint8Array = new Uint8Array(0)): Uint8Array {
    const directory = {
      ...{ hosts: [], classifiers: [], services: [] },
      forwarders: [{ name: 'f', tunnelWords: addressWords(tunnel), tunnelIpv4: ipv4Of(tunnel), ipv4: 0 }],
    }
    const secret = readSecret(join(this.lab.files('f1').dir, '..', 'cluster.secret'))
    const [key] = buildMappingKeys(directory, [{ number: 1, bytes: secret }], ipv4Of(this.address(to)))
    header.keyNumber = 1
    header.innerLength = inner.length
    const bytes = new Uint8Array(84 + inner.length)
    const length = encodeMappingHeader(header, bytes, 0, key!.words)
    bytes.set(inner, length)
    return bytes.slice(0, length + inner.length)
  }

  /** Waits until something holds, looking again and again; fails after a while with what it was. */
  async until(
    what: string,
    holds: () => boolean | Promise<boolean>,
    patienceMs = PATIENCE_MS,
  ): Promise<void> {
    const endAt = performance.now() + patienceMs
    while (!(await holds())) {
      if (performance.now() > endAt) throw new Error(`not within ${patienceMs} ms: ${what}`)
      await delay(20)
    }
  }

  /** What a node counts more, by reason, during an attack; waits until `enough`, or in vain. */
  async growth(
    node: string,
    enough: (grown: Record<number, number>) => boolean,
    attack: () => void | Promise<void>,
  ): Promise<Record<number, number>> {
    const before = await this.drops(node)
    await attack()
    let grown: Record<number, number> = {}
    const look = async (): Promise<boolean> => {
      const more = [...(await this.drops(node))].map(
        ([n, count]) => [n, count - (before.get(n) ?? 0)] as const,
      )
      grown = Object.fromEntries(more.filter(([, count]) => count !== 0))
      return enough(grown)
    }
    await this.until('the drops are counted', look, COUNT_PATIENCE_MS).catch(() => {})
    return grown
  }

  /**
   * Attacks, then waits until a node has counted exactly these drops more, and no other; a test of what is counted
   * is a test of what was not passed on.
   */
  async dropped(
    node: string,
    expected: Record<number, number>,
    attack: () => void | Promise<void>,
  ): Promise<void> {
    const enough = (grown: Record<number, number>): boolean =>
      Object.entries(expected).every(([n, count]) => (grown[Number(n)] ?? 0) >= count)
    assert.equal(await this.growth(node, enough, attack), expected, `drops at ${node}`)
  }

  /** The same where only the number of drops is known, not their reasons. */
  async droppedAll(node: string, count: number, attack: () => void | Promise<void>): Promise<void> {
    const sum = (grown: Record<number, number>): number => Object.values(grown).reduce((a, b) => a + b, 0)
    const grown = await this.growth(node, now => sum(now) >= count, attack)
    const text = `drops at ${node}: ${JSON.stringify(grown)}`
    // What overflows the packet ring is counted there, with packets of others among it.
    if (grown[DROP.RING_FULL] === undefined) assert.is(sum(grown), count, text)
    else assert.ok(sum(grown) - grown[DROP.RING_FULL] <= count, text)
  }

  /**
   * No agent has died or changed its state, all are in touch, and the good requests go on and were all answered.
   * @param except nodes that are not expected to be part of the cluster now
   */
  async unharmed(except: readonly string[] = []): Promise<void> {
    for (const node of this.lab.nodes.filter(n => !except.includes(n.name))) {
      const { pid, state, peers } = await this.status(node.name)
      assert.is(pid, this.#pids.get(node.name), `the agent of ${node.name} is another one`)
      assert.is(state, 'running', node.name)
      assert.equal(
        peers.filter(p => p.state !== 'alive' && !except.includes(p.name)).map(p => p.name),
        [],
        `peers of ${node.name}`,
      )
    }
    const count = this.answers.length
    await this.until('five more good requests are answered', () => this.answers.length >= count + 5)
    const bad = this.answers.filter(a => a.status !== 200 || !/^h[12]\n$/.test(a.body ?? ''))
    assert.equal(bad, [], `of ${this.answers.length} good requests`)
    for (const lines of this.datagrams.values())
      assert.equal(
        lines.filter(line => line !== 'ready' && !Buffer.from(line, 'hex').toString().startsWith('good')),
        [],
      )
    assert.equal(this.strangeRequests(), [])
  }

  /** After a restart on purpose. */
  async expectPid(node: string): Promise<void> {
    this.#pids.set(node, (await this.status(node)).pid)
  }

  /** Lines of the web servers' logs that no good client made. */
  strangeRequests(): string[] {
    const good =
      /^10\.20\.0\.1[12] (200|201|204) (GET \/(1m|10m|addr)?|(PUT|POST) \/upload\S*) \d+ 10\.99\.0\.1 \d+$/
    return this.lab.hosts.flatMap(host =>
      readFileSync(this.lab.files(host.name).webLog, 'utf8')
        .split('\n')
        .filter(line => line !== '' && !good.test(line)),
    )
  }

  async down(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.stdin?.end()
      child.kill('SIGTERM')
      await ended
    }
    this.rack.close()
    this.outside.close()
    await this.lab.down()
  }
}

/** The SHA-256 of what a client downloads, and how the download ended. */
export const download = async (
  lab: Lab,
  client: string,
  path: string,
  curl: string[] = [],
): Promise<{ sha256: string; code: number; stderr: string }> => {
  const child = spawn(
    'ip',
    [
      'netns',
      'exec',
      lab.netns(client),
      'sh',
      '-c',
      'exec curl -sS --max-time 60 "$@" | sha256sum',
      'sh',
      ...curl,
      `http://${VIP}${path}`,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const [code] = (await once(child, 'close')) as [number]
  return { sha256: stdout.split(' ')[0]!, code, stderr }
}
