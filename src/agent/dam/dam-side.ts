/** The atom manager (src/dam) on this node with everything around it: links, timers, the packet worker, the course (R-C4 to R-C6, R-D5). */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { NodeConfig } from '../../config/schema.ts'
import type { AtomQuery, AtomsData } from '../../control/types.ts'
import { encodeDam } from '../../dam/codec.ts'
import { BUCKETS_A_STEP, Dam } from '../../dam/dam.ts'
import { sameOrigin } from '../../dam/order.ts'
import { ATOM_KIND, type Atom, type DamMessage, type Member } from '../../dam/types.ts'
import { errorText } from '../../errors.ts'
import { ATOM_ROLES, ATOMS_VERSION, encodeAtomMember, encodeAtoms } from '../../gossip/frames.ts'
import type { PeerLinks, PeerState } from '../../gossip/links.ts'
import type { Course } from '../cluster/course.ts'
import type { Directory } from '../dataplane/directory.ts'
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'
import { nextIncarnation } from '../epoch.ts'
import { AtomCounts } from './atom-counts.ts'
import { atomsView } from './atoms-view.ts'
import { DamInbox } from './inbox.ts'
import { MemberBook, memberHash } from './member-book.ts'
import { Outgoing } from './outgoing.ts'
import { OwnerChecks } from './owner-checks.ts'
import type { OwnerAsker } from './owner-questions.ts'
import { DamPolicy, flowOf, keyOf, kindOf } from './policy.ts'
import { Relevel } from './relevel.ts'
import { Resolver } from './resolver.ts'
import { ATOM_OP, ATOM_WORDS, RESOLVED, type Resolved, resolvedWords } from './words.ts'

/** Late packets of an ended connection (R-C6): longer than TIME_WAIT. */
const DEAD_MS = 65_000
const CACHE_MS = 60_000
/** Two messages of some bytes a member each time. */
const SYNC_MS = 10_000
/** A member that is asked answers in a millisecond or two. */
const QUERY_MS = 60
/** Clocks further apart than this would let one member's versions win for so long. */
const AHEAD_MS = 600_000
/** What gathers for members leaves together. */
const FLUSH_MS = 4
const STEP_MS = 500
/** While copies move to other places, or a query is open. */
const BUSY_STEP_MS = 10
/** A step with a full table takes so long at most: packets wait for queries. */
const STEP_COST_MS = 5
/** No copies move on while more than this waits to be sent. */
const MOST_WAITING_BYTES = 1024 * 1024
const CHECK_MS = 1_000
/** Words of one leave's turn. */
const LEAVE_POLL_MS = 50

/** What the packet worker is told. */
export interface DamWorker {
  resolved(words: Uint32Array<ArrayBuffer>): void
  /** Another member's now: this forwarder may forget its routes. */
  claimed(words: Uint32Array<ArrayBuffer>): void
  /** Tell of all routes. */
  flowsAll(): void
}

export interface DamSideParts {
  links: PeerLinks
  worker: DamWorker
  log: Logger
  /** Null until there is somebody to ask. */
  owners: OwnerAsker | null
  /** That machine answers no probes. */
  isDead(name: string): boolean
  directory(): Directory
}

export class DamSide {
  readonly #parts: DamSideParts
  readonly #book = new MemberBook()
  readonly #inbox = new DamInbox()
  readonly #outgoing: Outgoing
  readonly #resolver: Resolver
  readonly #checks: OwnerChecks
  readonly #relevel: Relevel
  readonly #counts: AtomCounts
  readonly #claimed: Uint32Array[] = []
  #config: NodeConfig
  #atomsKey: readonly [number, number]
  #policy: DamPolicy
  #dam: Dam | null = null
  #self: Member | null = null
  /** Members that can be asked, and peers whose links are up. */
  #linked: ReadonlySet<string> = new Set()
  readonly #up = new Set<string>()
  #leaving = false
  /** Measured: so many buckets of a full table are gone through in STEP_COST_MS. */
  #buckets = BUCKETS_A_STEP
  #timers: { flush: NodeJS.Timeout | null; step: NodeJS.Timeout | null; pump: NodeJS.Timeout | null } = {
    flush: null,
    step: null,
    pump: null,
  }
  #stepDueMs = Number.POSITIVE_INFINITY
  #lookAtMs = Number.POSITIVE_INFINITY
  #check: NodeJS.Timeout | null = null
  #stopped = false
  readonly counters = { strangers: 0, puts: 0, ends: 0, full: 0 }

  constructor(course: Course, parts: DamSideParts) {
    this.#parts = parts
    this.#config = course.config
    this.#atomsKey = course.atomsKey
    this.#policy = new DamPolicy(course.config, parts.directory())
    const { links } = parts
    this.#outgoing = new Outgoing({
      send: (member, frame) => links.send(member, frame),
      backlog: member => links.backlog(member),
      lost: member => this.#dam?.linked(member),
    })
    this.#resolver = new Resolver({
      policy: () => this.#policy,
      query: (key, tell) => {
        if (this.#dam === null) tell(null)
        else this.#dam.query(key, performance.now(), tell)
      },
      isOwn: atom => this.#self !== null && sameOrigin(atom.owner, this.#self),
      owners: () => parts.owners,
      answer: records => this.#answer(records),
    })
    this.#checks = new OwnerChecks({
      policy: () => this.#policy,
      owners: () => parts.owners,
      unsure: most => this.#dam?.unsure(most) ?? [],
      idle: most => this.#idle(most),
      own: key => this.#own(key),
      put: (key, host) => this.#put(key, host),
      touch: key => this.#dam?.touch(key, performance.now()),
      end: key => this.#end(key),
    })
    this.#relevel = new Relevel({
      table: () => this.#dam?.table ?? null,
      levelOf: key => this.#policy.copies(this.#policy.serviceOf(key)),
      put: (key, host) => this.#put(key, host),
      end: key => this.#end(key),
    })
    this.#counts = new AtomCounts(
      () => this.#dam?.table ?? null,
      key => this.#policy.serviceOf(key)?.name,
    )
  }

  /** Links run, or begin to. */
  start(): void {
    const { links } = this.#parts
    links.onFrame((peer, frame) => {
      if (frame.type === 'atom-member') this.#said(peer, frame.incarnation, frame.leaving)
      else if (frame.type === 'atoms') this.#receive(peer, frame.body)
    })
    links.onChange(peer => this.#changed(peer))
    this.#check = setInterval(() => void this.#checks.round(), CHECK_MS)
    this.#check.unref()
    this.#follow()
    for (const peer of links.states()) this.#changed(peer)
  }

  /** The cluster has changed, and the packets follow it already. */
  follow(course: Course): void {
    this.#config = course.config
    this.#atomsKey = course.atomsKey
    this.#follow()
  }

  /** A peer's machine came or went. */
  peersChanged(): void {
    this.#look()
  }

  /** @param words records of ATOM_WORDS */
  atoms(words: Uint32Array): void {
    const dam = this.#dam
    if (dam === null) return
    for (let at = 0; at + ATOM_WORDS <= words.length; at += ATOM_WORDS) {
      const service = this.#policy.serviceAt(words[at + FLOW_KEY_WORDS + 2])
      if (this.#policy.copies(service) === null) continue
      const key = keyOf(words.subarray(at, at + FLOW_KEY_WORDS), ATOM_KIND.flow)
      const host = words[at + FLOW_KEY_WORDS]
      const op = words[at + FLOW_KEY_WORDS + 1]
      if (op === ATOM_OP.end) this.#end(key)
      else this.#isInUse(dam, key, host, op === ATOM_OP.put)
    }
    this.#flushSoon()
  }

  /** @param words records of RESOLVE_WORDS */
  resolve(words: Uint32Array): void {
    this.#resolver.resolve(words)
    if (this.#dam === null || this.#dam.querying === 0) return
    // Packets wait: at once, not with what gathers.
    this.#dam.flush(performance.now())
    this.#pump()
    this.#stepWithin(BUSY_STEP_MS)
  }

  /** Hands everything over (R-D6), for so long at most. */
  async leave(boundMs: number, hurry: () => boolean): Promise<void> {
    const dam = this.#dam
    if (dam === null || this.#leaving) return
    this.#leaving = true
    this.#self = { ...this.#self!, leaving: true }
    this.#say()
    this.#look()
    const untilMs = performance.now() + boundMs
    while (!dam.hasLeft && !hurry() && performance.now() < untilMs && this.#dam === dam) {
      dam.leave()
      this.#flush()
      await new Promise(resolve => setTimeout(resolve, LEAVE_POLL_MS))
    }
    if (!dam.hasLeft)
      this.#parts.log.warn('connections that other members had to take over were not all handed to them')
  }

  stop(): void {
    this.#stopped = true
    if (this.#check !== null) clearInterval(this.#check)
    this.#finish()
  }

  /** Null where this node is no member. */
  get dam(): Dam | null {
    return this.#dam
  }

  /** All copies are where the members of now want them, and nothing waits to be sent. */
  get settled(): boolean {
    return this.#dam !== null && this.#dam.settled && this.#outgoing.mostBytes === 0 && !this.#relevel.isBusy
  }

  /** For shunt status. */
  counted(): Record<string, number> {
    const { counters } = this
    const dam = this.#dam?.counters
    const parts = {
      ...counters,
      ...this.#inbox.counters,
      ...this.#outgoing.counters,
      refused_atoms: dam?.refusedAtoms ?? 0,
      refused_room: dam?.refusedRoom ?? 0,
      refused_queries: dam?.refusedQueries ?? 0,
      outdated: dam?.outdated ?? 0,
      unasked_returns: dam?.unaskedReturns ?? 0,
      core_strangers: dam?.strangers ?? 0,
    }
    return Object.fromEntries([
      ...Object.entries(parts).map(([name, value]) => [`atoms_${name}`, value]),
      ...Object.entries(this.#resolver.counters).map(([name, value]) => [`atoms_resolve_${name}`, value]),
      ...Object.entries(this.#checks.counters).map(([name, value]) => [`atoms_check_${name}`, value]),
    ])
  }

  limit(): { name: string; used: number; capacity: number; evicted: number }[] {
    const table = this.#dam?.table
    if (table === undefined) return []
    const { cached, zombie, copy } = table.evicted
    return [{ name: 'atoms', used: table.size, capacity: table.capacity, evicted: cached + zombie + copy }]
  }

  async view(query: AtomQuery): Promise<AtomsData> {
    return atomsView(
      {
        dam: this.#dam,
        self: this.#self,
        linked: this.#linked,
        settled: this.settled,
        config: this.#config,
        policy: this.#policy,
        services: await this.#counts.look(),
        counters: this.counted(),
        unsure: this.#checks.waiting,
      },
      query,
    )
  }

  #follow(): void {
    const before = this.#policy
    this.#policy = new DamPolicy(this.#config, this.#parts.directory())
    const { roles } = this.#config
    const isMember = roles.some(role => ATOM_ROLES.includes(role))
    if (!isMember) this.#finish()
    else if (this.#dam === null) this.#begin()
    else {
      if (this.#policy.differsFrom(before)) this.#relevel.begin()
      if (this.#policy.wantsMoreThan(before)) this.#parts.worker.flowsAll()
    }
    this.#look()
    this.#stepWithin(BUSY_STEP_MS)
  }

  #begin(): void {
    if (this.#stopped) return
    const { node, limits } = this.#config
    const incarnation = nextIncarnation(node.stateDir, Math.floor(Date.now() / 1000))
    const self = { member: node.name, incarnation, hash: memberHash(node.name) }
    const seed = randomBytes(8)
    this.#self = self
    this.#dam = new Dam(
      {
        self: { member: node.name, incarnation },
        capacity: limits.atoms,
        sharedKey: this.#atomsKey,
        tableKey: [seed.readUInt32LE(0), seed.readUInt32LE(4)],
        ...{ deadMs: DEAD_MS, cacheMs: CACHE_MS, syncMs: SYNC_MS, queryMs: QUERY_MS, aheadMs: AHEAD_MS },
      },
      {
        send: (member, message) => this.#send(member, message),
        reaches: member => this.#linked.has(member),
        claimed: atom => this.#claim(atom),
      },
    )
    this.#parts.log.debug({ incarnation }, 'atom manager begins')
    this.#say()
    this.#parts.worker.flowsAll()
  }

  #finish(): void {
    this.#dam = null
    this.#self = null
    this.#leaving = false
    this.#relevel.stop()
    for (const name of ['flush', 'step', 'pump'] as const) {
      const timer = this.#timers[name]
      if (timer !== null) clearTimeout(timer)
      this.#timers[name] = null
    }
    this.#stepDueMs = Number.POSITIVE_INFINITY
  }

  /** To members, and to those that may become some. */
  #say(only?: string): void {
    if (this.#self === null) return
    const { incarnation, leaving = false } = this.#self
    const frame = encodeAtomMember({ incarnation, leaving })
    for (const peer of this.#parts.links.states())
      if ((only === undefined || peer.name === only) && speaks(peer) && hasRole(peer.roles))
        this.#parts.links.send(peer.name, frame)
  }

  #said(peer: string, incarnation: number, leaving: boolean): void {
    this.#book.said(peer, incarnation, leaving)
    this.#look()
  }

  #changed(peer: PeerState): void {
    if (speaks(peer)) {
      this.#say(peer.name)
      const isNew = !this.#up.has(peer.name)
      this.#up.add(peer.name)
      this.#look()
      // Atoms that were sent before this link may be lost.
      if (isNew) this.#dam?.linked(peer.name)
    } else {
      this.#up.delete(peer.name)
      this.#outgoing.drop(peer.name)
      this.#look()
    }
    this.#stepWithin(BUSY_STEP_MS)
  }

  #look(): void {
    const nowMs = performance.now()
    const peers = this.#parts.links.states().map(peer => ({
      name: peer.name,
      hasRole: hasRole(peer.roles),
      linked: speaks(peer),
      dead: this.#parts.isDead(peer.name),
    }))
    const { members, linked, wakeAtMs } = this.#book.look(peers, this.#self, nowMs)
    this.#linked = linked
    this.#lookAtMs = wakeAtMs
    if (this.#dam === null) return
    this.#dam.members(members)
    this.#stepWithin(Number.isFinite(wakeAtMs) ? Math.max(BUSY_STEP_MS, wakeAtMs - nowMs) : STEP_MS)
  }

  #receive(peer: string, body: Uint8Array): void {
    const from = this.#dam?.location.member(peer)
    if (this.#dam === null || from === undefined) {
      this.counters.strangers++
      return
    }
    const nowMs = performance.now()
    const message = this.#inbox.take(from, body, nowMs)
    if (message === null) return
    this.#dam.receive(peer, message, Date.now(), nowMs)
    if (message.type === 'query' || message.type === 'return') {
      // The next stage of a query, if there is one.
      this.#dam.flush(nowMs)
      this.#pump()
    } else this.#flushSoon()
    if (this.#dam.querying > 0 || !this.#dam.settled) this.#stepWithin(BUSY_STEP_MS)
  }

  #send(member: string, message: DamMessage): void {
    if (!this.#linked.has(member) || this.#self === null) return
    try {
      const isUrgent = message.type === 'query' || message.type === 'return'
      this.#outgoing.push(member, encodeAtoms(encodeDam(message, this.#self)), isUrgent, performance.now())
    } catch (error) {
      this.#parts.log.error({ error: errorText(error), type: message.type }, 'atoms could not be written')
    }
  }

  #isInUse(dam: Dam, key: Uint32Array, host: number, isNew: boolean): void {
    const here = dam.local(key)
    if (here !== null && !here.zombie) {
      const isOwn = this.#self !== null && sameOrigin(here.owner, this.#self)
      if (isOwn ? here.host === host && here.level === this.#level(key) : !isNew) {
        dam.touch(key, performance.now())
        return
      }
    }
    this.#put(key, host)
  }

  #level(key: Uint32Array): number | null {
    return this.#policy.copies(this.#policy.serviceOf(key))
  }

  #put(key: Uint32Array, host: number): void {
    const level = this.#level(key)
    if (level === null || this.#dam === null) return
    if (this.#dam.put(key, host, level, Date.now(), performance.now()) === undefined) this.counters.full++
    else this.counters.puts++
    this.#flushSoon()
  }

  #end(key: Uint32Array): void {
    if (this.#dam?.end(key, Date.now(), performance.now()) === undefined) return
    this.counters.ends++
    this.#flushSoon()
  }

  #own(key: Uint32Array): Atom | null {
    const atom = this.#dam?.local(key) ?? null
    return atom !== null && !atom.zombie && this.#self !== null && sameOrigin(atom.owner, this.#self)
      ? atom
      : null
  }

  /** Longer than the packet path keeps a flow without packets: then it has ended there, or went elsewhere. */
  #idle(most: number): Uint32Array[] {
    const { tcpIdle, udpIdle } = this.#config.timeouts
    return this.#dam?.idle(performance.now() - 2 * Math.max(tcpIdle, udpIdle), most) ?? []
  }

  #claim(atom: Atom): void {
    if (atom.zombie || kindOf(atom.key) !== ATOM_KIND.flow) return
    this.#claimed.push(atom.key)
    this.#flushSoon()
  }

  #answer(records: readonly Resolved[]): void {
    this.#parts.worker.resolved(resolvedWords(records))
  }

  #flushSoon(): void {
    this.#timers.flush ??= setTimeout(() => {
      this.#timers.flush = null
      this.#flush()
    }, FLUSH_MS)
  }

  #flush(): void {
    this.#dam?.flush(performance.now())
    this.#pump()
    if (this.#claimed.length === 0) return
    const claimed = this.#claimed.splice(0)
    const records = claimed.map(key => {
      const host = this.#dam?.local(key)?.host ?? 0
      return { flow: flowOf(key), host, how: RESOLVED.memberAtom }
    })
    this.#parts.worker.claimed(resolvedWords(records))
  }

  #pump(): void {
    const nowMs = performance.now()
    const wakeAtMs = this.#outgoing.pump(nowMs)
    if (!Number.isFinite(wakeAtMs) || this.#timers.pump !== null) return
    this.#timers.pump = setTimeout(() => {
      this.#timers.pump = null
      this.#pump()
    }, wakeAtMs - nowMs)
  }

  #stepWithin(ms: number): void {
    if (this.#dam === null || this.#stopped) return
    const dueMs = performance.now() + ms
    if (this.#timers.step !== null) {
      if (dueMs >= this.#stepDueMs) return
      clearTimeout(this.#timers.step)
    }
    this.#stepDueMs = dueMs
    this.#timers.step = setTimeout(() => this.#step(), ms)
  }

  #step(): void {
    this.#timers.step = null
    this.#stepDueMs = Number.POSITIVE_INFINITY
    const startMs = performance.now()
    if (startMs >= this.#lookAtMs) this.#look()
    const dam = this.#dam
    if (dam === null) return
    const isFull = this.#outgoing.mostBytes > MOST_WAITING_BYTES
    const work = isFull ? 0 : this.#buckets
    dam.step(startMs, work)
    if (!isFull) this.#relevel.step(this.#buckets)
    this.#flush()
    const tookMs = performance.now() - startMs
    if (!isFull && !dam.settled) {
      const fits = Math.floor((this.#buckets * STEP_COST_MS) / Math.max(tookMs, 0.1))
      this.#buckets = Math.max(1, Math.min(BUCKETS_A_STEP, fits))
    }
    const isBusy = !dam.settled || dam.querying > 0 || this.#relevel.isBusy
    this.#stepWithin(isBusy ? BUSY_STEP_MS : STEP_MS)
  }
}

const hasRole = (roles: readonly string[]): boolean =>
  roles.some(role => (ATOM_ROLES as readonly string[]).includes(role))
const speaks = ({ state, version }: PeerState): boolean =>
  state === 'alive' && (version ?? 0) >= ATOMS_VERSION
