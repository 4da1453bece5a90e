/** The atom manager (src/dam) on this node with everything around it: links, timers, the packet worker, the course (R-C4 to R-C6, R-D5). */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { NodeConfig } from '../../config/schema.ts'
import type { AtomQuery, AtomsData, LimitStatus } from '../../control/types.ts'
import { BUCKETS_A_STEP, Dam } from '../../dam/dam.ts'
import { sameOrigin } from '../../dam/order.ts'
import { ATOM_KIND, type Atom, type DamMessage, FULL, type Member } from '../../dam/types.ts'
import type { PeerLinks } from '../../gossip/links.ts'
import type { Course } from '../cluster/course.ts'
import type { Directory } from '../dataplane/directory.ts'
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'
import { ATOM_OP, ATOM_WORDS, RESOLVED } from '../dataplane/messages.ts'
import { nextIncarnation } from '../epoch.ts'
import { AtomCounts } from './atom-counts.ts'
import { atomsView } from './atoms-view.ts'
import { ClientSessions } from './client-sessions.ts'
import { damCounters, damLimits } from './dam-counts.ts'
import { DamLinks, hasAtomRole } from './dam-links.ts'
import { Due } from './due.ts'
import { memberHash } from './member-book.ts'
import { OwnerChecks } from './owner-checks.ts'
import type { OwnerAsker } from './owner-questions.ts'
import { DamPolicy, flowOf, keyOf, kindOf } from './policy.ts'
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
/** What a leaving member was not answered is told again so often. */
const LEAVE_AGAIN_MS = 1_000

/** What the packet worker is told (Dataplane). */
export interface DamWorker {
  resolved(words: Uint32Array<ArrayBuffer>): void
  claimed(words: Uint32Array<ArrayBuffer>): void
  clients(words: Uint32Array<ArrayBuffer>): void
  tellAllFlows(): void
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
  readonly #relevel: Relevel
  readonly #counts: AtomCounts
  readonly #flushDue = new Due(() => this.#flush())
  readonly #stepDue = new Due(() => this.#step())
  readonly #checkDue = new Due(() => this.#checkOwners())
  readonly #claimed: Uint32Array[] = []
  readonly #clients: ClientSessions
  #config: NodeConfig
  #atomsKey: readonly [number, number]
  #policy: DamPolicy
  #dam: Dam | null = null
  #self: Member | null = null
  #leaving = false
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
    const put = (key: Uint32Array, host: number): void => this.#put(key, host)
    const end = (key: Uint32Array): void => this.#end(key)
    this.#resolver = new Resolver({
      policy,
      query: (key, again, tell) => {
        if (this.#dam === null) tell(null, true)
        else this.#dam.query(key, performance.now(), tell, again)
      },
      isOwn: atom => this.#isOwn(atom),
      owners: () => parts.owners,
      answer: records => parts.worker.resolved(resolvedWords(records)),
    })
    this.#checks = new OwnerChecks({
      ...{ policy, put, end },
      owners: () => parts.owners,
      unsure: most => this.#dam?.unsure(most) ?? [],
      idle: most => this.#idle(most),
      own: key => this.#own(key),
      touch: key => this.#dam?.touch(key, performance.now()),
      keep: key => this.#dam?.keep(key, performance.now()),
    })
    this.#relevel = new Relevel({ ...{ table, put, end }, levelOf: key => this.#level(key) })
    this.#counts = new AtomCounts(table, key => this.#policy.serviceOf(key)?.name)
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
      if (this.#policy.wantsMoreThan(before)) this.#parts.worker.tellAllFlows()
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
    if (this.#dam === null) return
    for (let at = 0; at + ATOM_WORDS <= words.length; at += ATOM_WORDS) {
      const service = this.#policy.serviceAt(words[at + FLOW_KEY_WORDS + 2])
      const host = words[at + FLOW_KEY_WORDS]
      const op = words[at + FLOW_KEY_WORDS + 1]
      const said = words.subarray(at, at + FLOW_KEY_WORDS)
      if (kindOf(said) === ATOM_KIND.clientAddress) {
        this.#client(said, host, op)
        continue
      }
      if (this.#policy.copies(service) === null) continue
      const key = keyOf(said, ATOM_KIND.flow)
      if (op === ATOM_OP.end) this.#end(key)
      else this.#inUse(key, host, op === ATOM_OP.put)
    }
  }

  /** The worker says so only now and then, so that all hear that the session goes on; another member's is this one's by that. */
  #client(key: Uint32Array, host: number, op: number): void {
    if (op !== ATOM_OP.end) this.#put(key, host)
    // Another member may have seen more of the client.
    else if (this.#own(key) !== null) this.#end(key)
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
    return damCounters({
      dam: this.#dam,
      own: { ...this.counters, ...this.#clients.counters },
      links: this.#links.counted(),
      resolver: this.#resolver,
      checks: this.#checks.counters,
    })
  }

  limits(): LimitStatus[] {
    return damLimits(this.#dam, this.#resolver)
  }

  async view(query: AtomQuery): Promise<AtomsData> {
    const services = await this.#counts.look()
    return atomsView(
      {
        dam: this.#dam,
        self: this.#self,
        linked: this.#links.linked,
        settled: this.settled,
        config: this.#config,
        policy: this.#policy,
        services,
        counters: this.counted(),
        unsure: this.#checks.waiting,
      },
      query,
    )
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
        learnt: atom => {
          if (this.#clients.learnt(atom)) this.#flushDue.within(FLUSH_MS)
        },
      },
    )
    this.#leaving = false
    this.#parts.log.debug({ incarnation }, 'atom manager begins')
    this.#links.be(this.#self)
    this.#parts.worker.tellAllFlows()
    this.#stepDue.within(STEP_MS)
    this.#checkDue.within(CHECK_MS)
  }

  #finish(): void {
    this.#dam = null
    this.#self = null
    this.#links.be(null)
    this.#relevel.stop()
    for (const due of [this.#flushDue, this.#stepDue, this.#checkDue]) due.stop()
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

  #inUse(key: Uint32Array, host: number, isNew: boolean): void {
    const here = this.#dam?.local(key) ?? null
    if (here !== null && !here.zombie) {
      // Another member's by now is not taken back by packets that were seen before that was known.
      const isSame = this.#isOwn(here) ? here.host === host && here.level === this.#level(key) : !isNew
      if (isSame) {
        this.#dam?.touch(key, performance.now())
        return
      }
    }
    this.#put(key, host)
  }

  /** Null: no atoms. */
  #level(key: Uint32Array): number | null {
    const service = this.#policy.serviceOf(key)
    if (kindOf(key) !== ATOM_KIND.clientAddress) return this.#policy.copies(service)
    // Wherever the client's next connection comes by, its host is known.
    return service?.affinity === undefined ? null : FULL
  }

  #put(key: Uint32Array, host: number): void {
    const level = this.#level(key)
    if (level === null || this.#dam === null) return
    if (this.#dam.put(key, host, level, Date.now(), performance.now()) === undefined) this.counters.full++
    else this.counters.puts++
    this.#flushDue.within(FLUSH_MS)
  }

  #end(key: Uint32Array): void {
    if (this.#dam?.end(key, Date.now(), performance.now()) === undefined) return
    this.counters.ends++
    this.#flushDue.within(FLUSH_MS)
  }

  #isOwn({ owner }: Atom): boolean {
    return this.#self !== null && sameOrigin(owner, this.#self)
  }

  #own(key: Uint32Array): Atom | null {
    const atom = this.#dam?.local(key) ?? null
    return atom !== null && !atom.zombie && this.#isOwn(atom) ? atom : null
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
      if (atom !== null && this.#isOwn(atom)) return []
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
