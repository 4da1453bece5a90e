/** The atom manager (src/dam) on this node with everything around it: links, timers, the packet worker, the course (R-C4 to R-C6, R-D5). */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { NodeConfig } from '../../config/schema.ts'
import type { AtomQuery, AtomsData, LimitStatus } from '../../control/types.ts'
import { BUCKETS_A_STEP, Dam } from '../../dam/dam.ts'
import { ATOM_KIND, type Atom, type DamMessage, type Member } from '../../dam/types.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { Course } from '../cluster/course.ts'
import type { Directory } from '../dataplane/directory.ts'
import { RESOLVED } from '../dataplane/messages.ts'
import { nextIncarnation } from '../epoch.ts'
import { ClientSessions } from './client-sessions.ts'
import { DamLinks, hasAtomRole } from './dam-links.ts'
import { DamReport } from './dam-report.ts'
import { Due } from './due.ts'
import { FlowChecks } from './flow-checks.ts'
import { memberHash } from './member-book.ts'
import { OwnSessions } from './own-sessions.ts'
import { OwnerChecks } from './owner-checks.ts'
import type { OwnerAsker } from './owner-questions.ts'
import { DamPolicy, flowOf, kindOf } from './policy.ts'
import { Relevel } from './relevel.ts'
import { Resolver } from './resolver.ts'
import { resolvedWords } from './words.ts'

/** Late packets of an ended connection still find its host so long (R-C6): TIME_WAIT and a little. */
const DEAD_MS = 65_000
const CACHE_MS = 60_000
/** Two messages of some bytes a member each time. */
const SYNC_MS = 10_000
/** A member that is asked answers in a millisecond or two. */
const QUERY_MS = 60
/** Versions of a member whose clock is further ahead are refused. */
const AHEAD_MS = 600_000
/** What gathers for members leaves together. */
const FLUSH_MS = 4
const STEP_MS = 500
/** While copies move to other places, or a query is open. */
const BUSY_STEP_MS = 10
/** A step takes so long at most, whatever the table holds: packets wait for queries. */
const STEP_COST_MS = 5
/** No copies move on while more than this waits to be sent. */
const MOST_WAITING_BYTES = 1024 * 1024
const CHECK_MS = 1_000
const LEAVE_POLL_MS = 50
/** A unit that begins waits so long for its links to the others, before it asks those that are there about clients. */
const HEAR_MS = 1_500
/** What a leaving member was not answered is told again so often. */
const LEAVE_AGAIN_MS = 1_000

/** What the packet worker is told (Dataplane). */
export interface DamWorker {
  resolved(words: Uint32Array<ArrayBuffer>): void
  verified(words: Uint32Array<ArrayBuffer>): void
  claimed(words: Uint32Array<ArrayBuffer>): void
  clients(words: Uint32Array<ArrayBuffer>): void
  /** @param begins nothing has been heard of the others yet */
  tellAllFlows(begins: boolean): void
}

export interface DamSideParts {
  links: PeerLinks
  worker: DamWorker
  log: Logger
  /** Null: hosts cannot be asked. */
  owners: OwnerAsker | null
  /** That machine answers no probes. */
  isDead(name: string): boolean
  directory(): Directory
}

export class DamSide {
  readonly #parts: DamSideParts
  readonly #links: DamLinks
  readonly #resolver: Resolver
  readonly #checks: OwnerChecks
  readonly #flowChecks: FlowChecks
  readonly #relevel: Relevel
  readonly #report: DamReport
  readonly #sessions: OwnSessions
  readonly #flushDue = new Due(() => this.#flush())
  readonly #stepDue = new Due(() => this.#step())
  readonly #checkDue = new Due(() => this.#checkOwners())
  readonly #hearDue = new Due(() => this.#hear(true))
  readonly #claimed: Uint32Array[] = []
  readonly #clients: ClientSessions
  #config: NodeConfig
  #atomsKey: readonly [number, number]
  #policy: DamPolicy
  #dam: Dam | null = null
  #self: Member | null = null
  #leaving = false
  /** The others can be asked, or it is no use to wait for them any longer. */
  #hasHeard = false
  /** Buckets that a step of STEP_COST_MS goes through. */
  #buckets = BUCKETS_A_STEP
  #stopped = false
  readonly counters = { puts: 0, ends: 0, full: 0, ends_unsaid: 0 }

  constructor(course: Course, parts: DamSideParts) {
    this.#parts = parts
    this.#config = course.config
    this.#atomsKey = course.atomsKey
    this.#policy = new DamPolicy(course.config, parts.directory())
    this.#clients = new ClientSessions(words => parts.worker.clients(words))
    this.#links = new DamLinks(parts.links, parts.log, {
      members: members => {
        this.#dam?.members(members)
        this.#hear()
        this.#stepSoon()
      },
      linked: member => {
        this.#dam?.linked(member)
        this.#stepSoon()
      },
      member: peer => this.#dam?.location.member(peer),
      receive: (member, message) => this.#receive(member, message),
      isDead: parts.isDead,
    })
    const policy = (): DamPolicy => this.#policy
    const table = () => this.#dam?.table ?? null
    this.#sessions = new OwnSessions({
      ...{ dam: () => this.#dam, self: () => this.#self, policy, counters: this.counters },
      outdated: atom => this.#learnt(atom),
      written: () => this.#flushDue.within(FLUSH_MS),
    })
    const put = (key: Uint32Array, host: number): void => this.#sessions.put(key, host)
    const end = (key: Uint32Array): void => this.#sessions.end(key)
    this.#resolver = new Resolver({
      policy,
      query: (key, again, tell) => {
        if (this.#dam === null) tell(null, true)
        else this.#dam.query(key, performance.now(), tell, again)
      },
      isOwn: atom => this.#sessions.isOwn(atom),
      hasHeard: () => this.#hasHeard,
      owners: () => parts.owners,
      answer: records => parts.worker.resolved(resolvedWords(records)),
    })
    this.#checks = new OwnerChecks({
      ...{ policy, put, end },
      nowMs: () => performance.now(),
      owners: () => parts.owners,
      unsure: most => this.#dam?.unsure(most) ?? [],
      idle: most => this.#idle(most),
      own: key => this.#sessions.own(key),
      touch: key => this.#dam?.touch(key, performance.now()),
      keep: key => this.#dam?.keep(key, performance.now()),
    })
    this.#flowChecks = new FlowChecks({
      policy,
      owners: () => parts.owners,
      answer: records => parts.worker.verified(resolvedWords(records)),
    })
    this.#relevel = new Relevel({ ...{ table, put, end }, levelOf: key => this.#sessions.levelOf(key) })
    this.#report = new DamReport({
      ...{ dam: () => this.#dam, self: () => this.#self, policy, config: () => this.#config },
      isSettled: () => this.settled,
      links: this.#links,
      unsure: () => this.#checks.waiting,
      resolver: this.#resolver,
      counters: {
        own: this.counters,
        clients: this.#clients.counters,
        checks: this.#checks.counters,
        flowChecks: this.#flowChecks.counters,
      },
    })
  }

  start(): void {
    this.#begin()
    this.#links.look()
  }

  /** The cluster has changed, and the packets follow it already. */
  follow(course: Course): void {
    const before = this.#policy
    this.#config = course.config
    this.#atomsKey = course.atomsKey
    this.#policy = new DamPolicy(course.config, this.#parts.directory())
    if (!hasAtomRole(course.config.roles)) this.#finish()
    else if (this.#dam === null) this.#begin()
    else {
      if (this.#policy.differsFrom(before)) this.#relevel.begin()
      if (this.#policy.wantsMoreThan(before)) this.#parts.worker.tellAllFlows(false)
    }
    this.#links.look()
    this.#stepSoon()
  }

  /** A peer's machine came or went. */
  peersChanged(): void {
    this.#links.look()
  }

  /** @param words records of ATOM_WORDS */
  atoms(words: Uint32Array): void {
    this.#sessions.said(words)
  }

  /** Some ends were not told: those atoms stay until they are idle. */
  atomsLost(): void {
    this.counters.ends_unsaid++
  }

  /** @param words records of RESOLVE_WORDS */
  resolve(words: Uint32Array): void {
    this.#resolver.resolve(words)
    this.#hasten()
  }

  /** @param words records of RESOLVE_WORDS */
  verify(words: Uint32Array): void {
    void this.#flowChecks.verify(words)
  }

  /** Hands everything over to other members (R-D6), for so long at most. */
  async leave(boundMs: number, hurry: () => boolean): Promise<void> {
    const dam = this.#dam
    if (dam === null || this.#self === null || this.#leaving) return
    this.#leaving = true
    this.#self = { ...this.#self, leaving: true }
    this.#links.be(this.#self)
    this.#links.look()
    const untilMs = performance.now() + boundMs
    let againMs = 0
    while (!dam.hasLeft && !hurry() && performance.now() < untilMs) {
      if (performance.now() >= againMs) {
        dam.leave()
        againMs = performance.now() + LEAVE_AGAIN_MS
      }
      this.#flush()
      if (!dam.hasLeft) await delay(LEAVE_POLL_MS)
    }
    if (!dam.hasLeft && dam.location.members.length > 1)
      this.#parts.log.warn('not all connections could be handed to other members before the end')
  }

  stop(): void {
    this.#stopped = true
    this.#finish()
    this.#links.stop()
  }

  /** All copies are where the members of now want them, and nothing waits to be sent. */
  get settled(): boolean {
    return this.#dam?.settled === true && this.#links.waitingBytes === 0 && !this.#relevel.isBusy
  }

  /** For shunt status. */
  counted(): Record<string, number> {
    return this.#report.counted()
  }

  limits(): LimitStatus[] {
    return this.#report.limits()
  }

  view(query: AtomQuery): Promise<AtomsData> {
    return this.#report.view(query)
  }

  #begin(): void {
    const { node, limits, roles } = this.#config
    if (this.#stopped || !hasAtomRole(roles)) return
    const incarnation = nextIncarnation(node.stateDir, Math.floor(Date.now() / 1000))
    const seed = randomBytes(8)
    this.#self = { member: node.name, incarnation, hash: memberHash(node.name) }
    this.#dam = new Dam(
      {
        self: { member: node.name, incarnation },
        capacity: limits.atoms,
        sharedKey: this.#atomsKey,
        tableKey: [seed.readUInt32LE(0), seed.readUInt32LE(4)],
        ...{ deadMs: DEAD_MS, cacheMs: CACHE_MS, syncMs: SYNC_MS, queryMs: QUERY_MS, aheadMs: AHEAD_MS },
      },
      {
        send: (member, message) => this.#links.send(member, message),
        reaches: member => this.#links.linked.has(member),
        claimed: atom => this.#claim(atom),
        learnt: atom => this.#learnt(atom),
      },
    )
    this.#leaving = false
    this.#parts.log.debug({ incarnation }, 'atom manager begins')
    this.#links.be(this.#self)
    this.#hasHeard = false
    this.#hearDue.within(HEAR_MS)
    this.#parts.worker.tellAllFlows(true)
    this.#stepDue.within(STEP_MS)
    this.#checkDue.within(CHECK_MS)
  }

  #finish(): void {
    this.#dam = null
    this.#self = null
    this.#links.be(null)
    this.#relevel.stop()
    for (const due of [this.#flushDue, this.#stepDue, this.#checkDue, this.#hearDue]) due.stop()
  }

  #learnt(atom: Atom): void {
    if (this.#clients.learnt(atom)) this.#flushDue.within(FLUSH_MS)
  }

  #hear(isLate = false): void {
    if (this.#hasHeard || this.#dam === null || (!isLate && this.#links.awaited.length > 0)) return
    this.#hasHeard = true
    this.#resolver.heard()
    this.#hasten()
  }

  #receive(member: string, message: DamMessage): void {
    const dam = this.#dam
    if (dam === null) return
    dam.receive(member, message, Date.now(), performance.now())
    if (message.type === 'query' || message.type === 'return') this.#hasten()
    else this.#flushDue.within(FLUSH_MS)
    if (!dam.settled) this.#stepSoon()
  }

  /** A packet waits: what is asked leaves at once, not with what gathers. */
  #hasten(): void {
    this.#dam?.flush(performance.now())
    this.#links.pump()
    if ((this.#dam?.querying ?? 0) > 0) this.#stepSoon()
  }

  /** Longer than the packet path keeps a flow without packets: it has ended, or goes another way. */
  #idle(most: number): Uint32Array[] {
    const { timeouts, services } = this.#config
    const sessions = services.map(({ affinity }) => affinity?.timeout ?? 0)
    const longestMs = Math.max(timeouts.tcpIdle, timeouts.udpIdle, ...sessions)
    return this.#dam?.idle(performance.now() - 2 * longestMs, most) ?? []
  }

  #claim({ key }: Atom): void {
    // One that leaves goes on with its routes until it ends.
    if (this.#leaving || kindOf(key) !== ATOM_KIND.flow) return
    this.#claimed.push(key)
    this.#flushDue.within(FLUSH_MS)
  }

  #checkOwners(): void {
    void this.#checks.round()
    this.#checkDue.within(CHECK_MS)
  }

  #flush(): void {
    this.#dam?.flush(performance.now())
    this.#links.pump()
    this.#clients.flush()
    if (this.#claimed.length === 0) return
    const records = this.#claimed.splice(0).flatMap(key => {
      const atom = this.#dam?.local(key) ?? null
      if (atom !== null && this.#sessions.isOwn(atom)) return []
      const how = atom?.zombie === true ? RESOLVED.nobody : RESOLVED.memberAtom
      return [{ flow: flowOf(key), host: atom?.host ?? 0, how }]
    })
    if (records.length > 0) this.#parts.worker.claimed(resolvedWords(records))
  }

  #stepSoon(): void {
    if (this.#dam !== null) this.#stepDue.within(BUSY_STEP_MS)
  }

  #step(): void {
    const dam = this.#dam
    if (dam === null) return
    const startMs = performance.now()
    const moves = this.#links.waitingBytes <= MOST_WAITING_BYTES
    dam.step(startMs, moves ? this.#buckets : 0)
    if (moves) this.#relevel.step(this.#buckets)
    this.#flush()
    const isBusy = !dam.settled || this.#relevel.isBusy
    if (moves && isBusy) this.#pace(performance.now() - startMs)
    this.#stepDue.within(isBusy || dam.querying > 0 ? BUSY_STEP_MS : STEP_MS)
  }

  #pace(tookMs: number): void {
    const fits = Math.floor((this.#buckets * STEP_COST_MS) / Math.max(tookMs, 0.1))
    this.#buckets = Math.max(1, Math.min(BUCKETS_A_STEP, fits))
  }
}
