/**
 * What a load balancing unit makes of its cache: allotments for its classifier, directives for its flows (R-B3, R-B10). Rows count as
 * in force when the data plane has answered for them.
 */
import { EventEmitter, once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { choiceOf, slowStartOf } from '../../config/health-fields.ts'
import type { NodeConfig } from '../../config/schema.ts'
import { errorText } from '../../errors.ts'
import { type Allotment, Handler } from '../../health/allotment/handler.ts'
import type { Candidate } from '../../health/allotment/shares.ts'
import { UpTimes } from '../../health/allotment/up-times.ts'
import { appType } from '../../health/app-id.ts'
import type { Row, TableVersion } from '../../health/types.ts'
import { ownPortsFirst } from './services.ts'

/** A lease is renewed each beat of each host: told to the data plane together. */
const LEASES_MS = 200
/** Leases may be said to be longer than timers are. */
const MAX_TICK_MS = 60_000
/** After the data plane refused. */
const RETRY_MS = 1_000
/**
 * Going through all services and hosts takes a third of the time at most, however often hosts change their rows: a rest of twice as
 * long (of CPU time) follows where it takes long.
 */
const REST = { factor: 2, fromMs: 5, maxMs: 200 }

export interface UnitSidePorts {
  /** Puts these in force; all services that have hosts if `complete`. Resolves when no packet follows an earlier one. */
  allot(allotments: ReadonlyMap<string, Allotment>, complete: boolean): Promise<void>
  /** Until when new connections may go to the hosts' rows in force (monotonic ms). */
  leases(untilMs: ReadonlyMap<string, number>): void
  /** Before anything is made of leases: they are over, and said to be, when this machine stood still. */
  lookAtClocks(): void
  applied(host: string, version: TableVersion): void
  /** What is known of the hosts, or what comes of it, may have changed. */
  followed(): void
  /** Machine and agent, as this node sees them. */
  alive(host: string): boolean
  /** Hosts of an earlier version, that tell nothing of their health. */
  silent(): readonly string[]
  trouble(text: string): void
}

interface Held {
  version: TableVersion
  /** The rows that count, by type of application. */
  types: ReadonlyMap<string, Row>
}

/** One row a service, whatever a host says of itself: the one at the service's own port before others. */
const byType = (rows: readonly Row[]): Map<string, Row> => {
  const types = new Map<string, Row>()
  for (const row of ownPortsFirst(rows)) {
    const type = appType(row.app)
    if (!types.has(type)) types.set(type, row)
  }
  return types
}

export class UnitSide {
  readonly #ports: UnitSidePorts
  readonly handler = new Handler()
  readonly #up = new UpTimes()
  readonly #held = new Map<string, Held>()
  readonly #leases = new Map<string, number>()
  /** Hosts of each service that the allotment in force knows. */
  readonly #given = new Map<string, ReadonlySet<string>>()
  readonly #news = new EventEmitter()
  #config: NodeConfig
  /** Of each service's application. */
  #types: ReadonlyMap<string, string> = new Map()
  #changed = false
  /** Nothing is in force yet: before that the data plane goes by capacities. */
  #isNew = true
  #isWorking = false
  /** The last time. */
  #tookMs = 0
  #leaseTimer: NodeJS.Timeout | null = null
  #tickTimer: NodeJS.Timeout | null = null
  #stopped = false

  constructor(config: NodeConfig, ports: UnitSidePorts) {
    this.#config = config
    this.#ports = ports
    this.#configure()
  }

  stop(): void {
    this.#stopped = true
    this.#news.emit('given')
    if (this.#leaseTimer !== null) clearTimeout(this.#leaseTimer)
    if (this.#tickTimer !== null) clearTimeout(this.#tickTimer)
  }

  reconfigure(config: NodeConfig): void {
    this.#config = config
    this.#configure()
    this.update()
  }

  apply(host: string, version: TableVersion, rows: readonly Row[]): void {
    this.#held.set(host, { version, types: byType(rows) })
    this.#up.update(host, rows, performance.now())
    this.update()
  }

  lease(host: string, untilMs: number): void {
    const nowMs = performance.now()
    const before = this.#leases.get(host) ?? 0
    const isOver = untilMs <= nowMs
    this.#leases.set(host, untilMs)
    // A lease that begins makes the host one to be chosen; one that ends early, one not to be.
    if (before <= nowMs || isOver) this.update()
    else void this.#sendAny(this.handler.lease(host, untilMs, nowMs))
    if (isOver && this.#leaseTimer !== null) {
      clearTimeout(this.#leaseTimer)
      this.#leaseTimer = null
    }
    this.#leaseTimer ??= setTimeout(
      () => {
        this.#leaseTimer = null
        this.#ports.lookAtClocks()
        this.#ports.leases(this.#leases)
      },
      isOver ? 0 : LEASES_MS,
    )
  }

  drop(host: string): void {
    this.#held.delete(host)
    this.#leases.delete(host)
    this.#up.update(host, [], performance.now())
    this.update()
  }

  /** Resolves when the allotments in force know all of these, or so long later. */
  async awaitHosts(pairs: readonly { service: string; host: string }[], maxMs: number): Promise<void> {
    const late = AbortSignal.timeout(maxMs)
    const given = ({ service, host }: { service: string; host: string }): boolean =>
      this.#given.get(service)?.has(host) ?? false
    while (!this.#stopped && !late.aborted && !pairs.every(given))
      await once(this.#news, 'given', { signal: late }).catch(() => {})
  }

  /** Its agent is too old to tell anything. */
  isSilent(host: string): boolean {
    return !this.#held.has(host) && this.#ports.silent().includes(host)
  }

  /** The classifier has used up what it had of a service. */
  wanted(service: string): void {
    // Nothing is given out beside a beginning.
    if (this.#isNew) return
    this.#ports.lookAtClocks()
    const allotment = this.handler.request(service, performance.now())
    if (allotment !== null) void this.#send(new Map([[service, allotment]]), false)
  }

  /** Something has changed: rows, who is alive, services. */
  update(): void {
    this.#changed = true
    if (!this.#isWorking) void this.#work()
  }

  /** One change after another; those that come meanwhile, of what it leads to itself as well, go together. */
  async #work(): Promise<void> {
    this.#isWorking = true
    try {
      while (this.#changed && !this.#stopped) {
        this.#ports.lookAtClocks()
        this.#changed = false
        await this.#putIntoForce()
        if (this.#tookMs >= REST.fromMs)
          await delay(Math.min(REST.maxMs, REST.factor * this.#tookMs), undefined, { ref: false })
      }
    } finally {
      this.#isWorking = false
    }
  }

  async #putIntoForce(): Promise<void> {
    const versions = [...this.#held].map(([host, { version }]) => ({ host, version }))
    const nowMs = performance.now()
    const before = process.threadCpuUsage()
    const changed = new Map<string, Allotment>()
    for (const [service, candidates] of this.#candidates()) {
      const allotment = this.handler.offer(service, candidates, nowMs)
      if (allotment !== null) changed.set(service, allotment)
    }
    this.#planTick()
    const { user, system } = process.threadCpuUsage(before)
    this.#tookMs = (user + system) / 1000
    if ((changed.size > 0 || this.#isNew) && !(await this.#send(changed, this.#isNew))) return
    for (const { host, version } of versions) this.#ports.applied(host, version)
    this.#ports.followed()
  }

  async #sendAny(allotments: ReadonlyMap<string, Allotment>): Promise<void> {
    if (allotments.size > 0) await this.#send(allotments, false)
  }

  async #send(allotments: ReadonlyMap<string, Allotment>, complete: boolean): Promise<boolean> {
    try {
      await this.#ports.allot(allotments, complete)
      for (const [service, { states }] of allotments)
        this.#given.set(service, new Set(states.map(({ host }) => host)))
      this.#news.emit('given')
      this.#isNew &&= !complete
      return true
    } catch (error) {
      if (this.#stopped) return false
      this.#ports.trouble(errorText(error))
      // Whether they are in force is not known: all are made again.
      this.handler.forget()
      this.#isNew = true
      await delay(RETRY_MS, undefined, { ref: false })
      this.update()
      return false
    }
  }

  #configure(): void {
    this.#types = new Map(
      this.#config.services.map(service => [service.name, appType({ ...service, specific: '' })]),
    )
    const names = new Set(this.#types.keys())
    for (const name of this.#given.keys()) if (!names.has(name)) this.#given.delete(name)
    this.handler.configure(
      new Map(
        this.#config.services.map(service => [
          service.name,
          { ...choiceOf(service), slowStartMs: slowStartOf(service), fullAt: service.affinity?.overload },
        ]),
      ),
    )
  }

  #candidates(): Map<string, Candidate[]> {
    const alive = new Map([...this.#held.keys()].map(host => [host, this.#ports.alive(host)]))
    const silent = new Set(this.#ports.silent())
    return new Map(
      this.#config.services.map(service => {
        const type = this.#types.get(service.name)!
        const told = service.hosts.flatMap(({ name, capacity }): Candidate[] => {
          const row = this.#held.get(name)?.types.get(type)
          if (row === undefined) return []
          const leaseUntilMs = this.#leases.get(name) ?? 0
          // What a host may take is the operator's word; its own is only for display.
          return [
            {
              ...{ host: name, row: { ...row, capacity }, leaseUntilMs, alive: alive.get(name)! },
              upSinceMs: this.#up.of(name, row.id),
            },
          ]
        })
        const others = service.hosts
          .filter(({ name }) => silent.has(name) && !this.#held.has(name))
          .map(({ name, capacity }) => this.#unspoken(name, capacity, service))
        return [service.name, [...told, ...others]]
      }),
    )
  }

  /** A host whose agent speaks of no health (version 2): by its configured capacity, as long as its agent lives. */
  #unspoken(host: string, capacity: number, service: NodeConfig['services'][number]): Candidate {
    const { vip, port, protocol } = service
    return {
      host,
      row: {
        ...{
          id: 1,
          health: 'unknown',
          load: 0,
          capacity,
          target: 'active',
          current: 'active',
          cause: 'default',
        },
        app: { vip, port, physical: '', physicalPort: port, protocol, specific: '' },
      },
      leaseUntilMs: Number.POSITIVE_INFINITY,
      alive: this.#ports.alive(host),
      upSinceMs: 0,
    }
  }

  #planTick(): void {
    if (this.#tickTimer !== null) clearTimeout(this.#tickTimer)
    this.#tickTimer = null
    const { wakeAtMs } = this.handler
    if (!Number.isFinite(wakeAtMs)) return
    // Leases were renewed since, as a rule: that is looked up then.
    const delayMs = Math.min(MAX_TICK_MS, Math.max(50, wakeAtMs - performance.now()))
    this.#tickTimer = setTimeout(() => this.update(), delayMs)
  }
}
