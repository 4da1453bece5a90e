/** Forwarders' atom managers in one process, with workers and hosts that tests speak for. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Course } from '../../src/agent/cluster/course.ts'
import { DamSide } from '../../src/agent/dam/dam-side.ts'
import type { OwnerAsker } from '../../src/agent/dam/owner-questions.ts'
import { parseAddress } from '../../src/agent/dataplane/flow-key.ts'
import { ATOM_OP, ATOM_WORDS, RESOLVE_WORDS, RESOLVED_WORDS } from '../../src/agent/dataplane/messages.ts'
import { buildDirectory, ipv4Of } from '../../src/agent/plan.ts'
import type { NodeConfig, Role, ServiceConfig } from '../../src/config/schema.ts'
import { ATOM_KIND } from '../../src/dam/types.ts'
import { FakeLinks } from './fake-links.ts'
import { until } from './traffic.ts'

export type Copies = NonNullable<ServiceConfig['sessions']>['copies']

export const HOSTS = { h1: '10.10.0.31', h2: '10.10.0.32' } as const
export const VIP = '198.51.100.10'

/** Until it is so. */
export const holds = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  await until(what, async () => ((await isSo()) ? true : undefined), 30_000)
}

/** Of connection number `i` to the service. */
export const flowOf = (i: number): Uint32Array => {
  const key = new Uint32Array(10)
  parseAddress(`10.20.${(i >> 8) & 255}.${i & 255}`, key, 0)
  parseAddress(VIP, key, 4)
  key[8] = (((40_000 + (i >> 16)) << 16) | 80) >>> 0
  key[9] = 6
  return key
}

export const record = (flow: Uint32Array, host: string, op: keyof typeof ATOM_OP): Uint32Array => {
  const words = new Uint32Array(ATOM_WORDS)
  words.set(flow)
  words[10] = ipv4Of(host)
  words[11] = ATOM_OP[op]
  return words
}

export interface Unit {
  readonly side: DamSide
  readonly resolved: { flow: string; host: number; how: number }[]
  readonly claimed: string[]
  readonly claims: { host: number; how: number }[]
  readonly clients: { key: string; host: number }[]
  toldAll: number
  readonly stateDir: string
}

export interface UnitOptions {
  roles?: Role[]
  version?: number
  copies?: Copies
  capacity?: number
  /** Clients keep their hosts. */
  affinity?: boolean
}

export class DamCluster {
  readonly links = new FakeLinks()
  readonly units = new Map<string, Unit>()
  readonly #dir = mkdtempSync(join(tmpdir(), 'shunt-dam-'))
  owners: OwnerAsker | null = null
  readonly dead = new Set<string>()

  start(name: string, options: UnitOptions = {}): Unit {
    const { roles = ['forwarder', 'classifier'], version } = options
    const stateDir = join(this.#dir, name)
    const course = this.course(name, options)
    const unit: Unit = {
      ...{ resolved: [], claimed: [], claims: [], clients: [], toldAll: 0, stateDir },
      side: new DamSide(course, {
        links: this.links.of(name, roles, version),
        worker: {
          resolved: words => {
            for (let at = 0; at < words.length; at += RESOLVED_WORDS)
              unit.resolved.push({
                flow: words.slice(at, at + 10).join(),
                host: words[at + 10],
                how: words[at + 11],
              })
          },
          verified: () => {},
          clients: words => {
            for (let at = 0; at < words.length; at += RESOLVED_WORDS)
              unit.clients.push({ key: words.slice(at, at + 10).join(), host: words[at + 10]! })
          },
          claimed: words => {
            for (let at = 0; at < words.length; at += RESOLVED_WORDS) {
              unit.claimed.push(words.slice(at, at + 10).join())
              unit.claims.push({ host: words[at + 10]!, how: words[at + 11]! })
            }
          },
          tellAllFlows: () => unit.toldAll++,
        },
        log: pino({ level: 'silent' }),
        owners: { ask: async (service, keys) => (await this.owners?.ask(service, keys)) ?? [] },
        isDead: peer => this.dead.has(peer),
        directory: () => buildDirectory(course.config),
      }),
    }
    this.units.set(name, unit)
    unit.side.start()
    this.links.up(name)
    return unit
  }

  course(
    name: string,
    { roles = ['forwarder', 'classifier'], copies, capacity = 4096, affinity }: UnitOptions,
  ): Course {
    const peers = Object.entries(HOSTS).map(([host, address]) => ({
      ...{ name: host, id: host, roles: ['host'] as Role[], address },
    }))
    const service = {
      ...{ name: 'web', vip: VIP, port: 80, protocol: 'tcp' as const },
      hosts: Object.keys(HOSTS).map(host => ({ name: host, capacity: 50 })),
      ...(copies === undefined ? {} : { sessions: { copies } }),
      ...(affinity ? { affinity: { by: 'client-address', prefix: 32, prefix6: 64, timeout: 600_000 } } : {}),
    }
    const config = {
      node: { name, stateDir: join(this.#dir, name) },
      ...{ roles, peers, services: [service] },
      addresses: { cluster: '10.10.0.11', tunnel: '10.11.0.11' },
      limits: { atoms: capacity },
      timeouts: { tcpIdle: 900_000, udpIdle: 60_000 },
    }
    return {
      config: config as unknown as NodeConfig,
      atomsKey: [1, 2],
      leaving: new Set(),
    } as unknown as Course
  }

  /** Killed: nothing is said any more. */
  kill(name: string): void {
    this.links.gone(name)
    this.units.get(name)!.side.stop()
    this.units.delete(name)
  }

  put(name: string, ids: Iterable<number>, host: keyof typeof HOSTS = 'h1'): void {
    for (const i of ids) this.units.get(name)!.side.atoms(record(flowOf(i), HOSTS[host], 'put'))
  }

  end(name: string, i: number): void {
    this.units.get(name)!.side.atoms(record(flowOf(i), HOSTS.h1, 'end'))
  }

  async resolve(name: string, i: number): Promise<{ host: number; how: number } | undefined> {
    const unit = this.units.get(name)!
    const before = unit.resolved.length
    const words = new Uint32Array(RESOLVE_WORDS)
    words.set(flowOf(i))
    words[10] = ATOM_KIND.flow
    unit.side.resolve(words)
    await holds(`${name} answers`, () => unit.resolved.length > before)
    const found = unit.resolved.find(each => each.flow === flowOf(i).join())
    return found === undefined ? undefined : { host: found.host, how: found.how }
  }

  /** By member. */
  async places(): Promise<Record<string, { own: number; copies: number; cached: number; ended: number }>> {
    const found: Awaited<ReturnType<DamCluster['places']>> = {}
    for (const [name, { side }] of this.units) found[name] = (await side.view({})).places
    return found
  }

  async settled(): Promise<void> {
    await holds('all are settled', () => [...this.units.values()].every(({ side }) => side.settled))
  }

  async stop(): Promise<void> {
    for (const { side } of this.units.values()) side.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
