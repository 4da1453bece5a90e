/**
 * What the main threads of a simulated cluster's forwarders do about sessions: real atom managers over links with delays, hosts that know their
 * sockets, and the truth about each connection, which is checked at each delivery.
 */

import {
  ATOM_OP,
  ATOM_WORDS,
  type FromWorker,
  RESOLVE_WORDS,
  RESOLVED,
  RESOLVED_WORDS,
} from '../../src/agent/dataplane/messages.ts'
import type { Resolution } from '../../src/agent/dataplane/resolution.ts'
import { SessionDesk } from '../../src/agent/dataplane/session-desk.ts'
import { decodeDam, encodeDam } from '../../src/dam/codec.ts'
import { Dam } from '../../src/dam/dam.ts'
import type { Waits } from '../../src/dam/own.ts'
import { ATOM_KIND, type Member } from '../../src/dam/types.ts'
import { nameHash } from './sim/name-hash.ts'
import { dotted, type Flow, type SimCluster } from './sim-cluster.ts'
import type { SimNode } from './sim-node.ts'

const DEAD_AFTER_MS = 300
const LINK_MS = 1
const HOST_ANSWER_MS = 5
/** Unix time when the run begins. */
const START_MS = 1_000_000_000

export interface SessionOptions {
  readonly copies: number | null
  /** Hosts can be asked who owns a socket. */
  readonly asksHosts: boolean
  /** Of answers to questions of the packet path, how many get lost. */
  readonly lost?: number
  /** By member (its address): how far its wall clock is ahead. */
  readonly aheadMs?: Readonly<Record<string, number>>
  /** Something that is wrong on purpose. */
  readonly bug?: SessionBug | undefined
}

export type SessionBug =
  | 'puts are forgotten'
  | 'claims are not told'
  | 'all claims are believed'
  | 'one member’s atoms only'
  | 'the wrong host is named'
  | 'packets are let go in any order'
  | 'nothing is asked again'

interface Unit {
  readonly node: SimNode
  readonly dam: Dam
  readonly desk: SessionDesk
  readonly member: string
  readonly incarnation: number
  readonly hash: number
}

export class SimSessions {
  readonly counts = { puts: 0, ends: 0, byAtom: 0, byHost: 0, nobody: 0, claimed: 0, checked: 0 }
  readonly units = new Map<number, Unit>()
  readonly #cluster: SimCluster
  readonly #options: SessionOptions
  /** Which host has the connection on a client's ports. */
  readonly #owner = new Map<string, { readonly flow: Flow; readonly host: string }>()
  readonly #stored = new Map<string, { readonly unit: Unit; readonly waits: Waits }>()
  /** Of which an answer has been lost. */
  readonly #unanswered = new Set<string>()
  readonly #diedMs = new Map<number, number>()
  #incarnation = 0

  constructor(cluster: SimCluster, options: SessionOptions) {
    this.#cluster = cluster
    this.#options = options
    cluster.onStarted = node => this.#start(node)
    cluster.onTick = () => this.#tick()
    cluster.onDelivered = (flow, host, flags) => this.#delivered(flow, host, flags)
    for (const node of cluster.nodes.values()) this.#start(node)
  }

  /** The connection's atom is stored wherever its level asks for it. */
  isStored(flow: Flow): boolean {
    const stored = this.#stored.get(nameOf(flow.client, flow.port))
    return stored?.unit.dam.isReplicated(stored.waits) ?? false
  }

  /** An answer to a question about the connection has been lost. */
  isUnanswered(flow: Flow): boolean {
    return this.#unanswered.has(nameOf(flow.client, flow.port))
  }

  /** The node dies; the router finds out, and throws its flows elsewhere. */
  crash(address: number): void {
    this.#cluster.crash(address)
    this.units.delete(address)
    this.#diedMs.set(address, this.#cluster.nowMs)
    for (const { dam } of this.units.values()) dam.linked(dotted(address))
  }

  #start(node: SimNode): void {
    const { engine, address } = node
    if (engine.forwarder === null) return
    this.#diedMs.delete(address)
    const incarnation = ++this.#incarnation
    const member = dotted(address)
    const unit: Unit = {
      ...{ node, member, incarnation, hash: nameHash(member) },
      desk: new SessionDesk(
        () => node.engine,
        message => this.#take(unit, message),
      ),
      dam: new Dam(
        {
          ...{ self: { member, incarnation }, capacity: 4096, sharedKey: [1, 2], tableKey: [3, incarnation] },
          ...{ deadMs: 5_000, cacheMs: 5_000, syncMs: 500, queryMs: 60, aheadMs: 600_000 },
        },
        {
          send: (to, message) => {
            const bytes = encodeDam(message, { member, incarnation })
            this.#cluster.at(LINK_MS, () => {
              const other = [...this.units.values()].find(({ member: name }) => name === to)
              if (this.units.get(address) !== unit || other === undefined) return
              const from = other.dam.location.member(member) ?? { member, incarnation: 0 }
              other.dam.receive(member, decodeDam(bytes, from), this.#wallMs(other), this.#cluster.nowMs)
            })
          },
          claimed: atom => {
            if (this.#options.bug === 'claims are not told') return
            if (!atom.zombie) this.counts.claimed++
            const words = new Uint32Array(RESOLVED_WORDS)
            words.set(atom.key)
            words[9] = words[9]! & 0xffffff
            words[10] = atom.host
            words[11] = atom.zombie ? RESOLVED.nobody : RESOLVED.memberAtom
            if (this.#options.bug === 'all claims are believed') words[10] = 0
            this.#cluster.at(LINK_MS, () => this.#order(unit, { type: 'claimed', words }))
          },
        },
      ),
    }
    this.units.set(address, unit)
    const resolution = engine.resolving?.resolution
    if (resolution !== undefined) this.#spoil(resolution)
    for (const other of this.units.values()) {
      this.#view(other)
      if (other !== unit) other.dam.linked(member)
    }
  }

  #wallMs({ member }: Unit): number {
    return START_MS + this.#cluster.nowMs + (this.#options.aheadMs?.[member] ?? 0)
  }

  #spoil(resolution: Resolution): void {
    const { bug } = this.#options
    const take = resolution.take.bind(resolution)
    if (bug === 'packets are let go in any order')
      resolution.take = key => {
        const taken = take(key)
        return taken === null ? null : [...taken].reverse()
      }
    if (bug === 'nothing is asked again') resolution.tick = () => {}
  }

  #order(unit: Unit, message: Parameters<SessionDesk['take']>[0]): void {
    if (this.units.get(unit.node.address) !== unit) return
    unit.node.clock(this.#cluster.nowMs)
    unit.desk.take(message, this.#cluster.nowMs)
  }

  #view(unit: Unit): void {
    const members: Member[] = [...this.units.values()].map(({ member, incarnation, hash }) => ({
      ...{ member, incarnation, hash },
    }))
    // Who died is not known at once.
    for (const [address, atMs] of this.#diedMs) {
      const known = unit.dam.location.member(dotted(address))
      if (known !== undefined && this.#cluster.nowMs - atMs < DEAD_AFTER_MS) members.push(known)
    }
    unit.dam.members(members)
  }

  #tick(): void {
    const { nowMs } = this.#cluster
    for (const unit of this.units.values()) {
      unit.desk.turn()
      this.#view(unit)
      unit.dam.flush(nowMs)
      if (nowMs % 50 === 0) unit.dam.step(nowMs)
    }
  }

  #take(unit: Unit, message: FromWorker): void {
    if (message.type === 'resolve')
      for (let at = 0; at < message.words.length; at += RESOLVE_WORDS)
        this.#resolve(unit, message.words.slice(at, at + 10))
    if (message.type !== 'atoms') return
    this.#cluster.at(LINK_MS, () => {
      for (let at = 0; at < message.words.length; at += ATOM_WORDS)
        this.#atom(unit, message.words.slice(at, at + ATOM_WORDS))
      this.#order(unit, { type: 'atoms-taken', messages: 1 })
    })
  }

  #atom(unit: Unit, words: Uint32Array): void {
    if (this.units.get(unit.node.address) !== unit) return
    const { nowMs } = this.#cluster
    const { bug, copies } = this.#options
    const flow = words.slice(0, 10)
    const key = atomKey(flow)
    if (words[11] === ATOM_OP.put) {
      if (bug === 'puts are forgotten') return
      this.counts.puts++
      const here = this.#owner.get(nameOf(flow[3]!, flow[8]! >>> 16))
      if (here !== undefined && here.host !== dotted(words[10]!))
        this.#cluster.problems.push(`an atom names ${dotted(words[10]!)}, and ${here.host} has it`)
      const level = bug === 'one member’s atoms only' ? 0 : (copies ?? 0)
      const waits = unit.dam.put(key, words[10]!, level, this.#wallMs(unit), nowMs)
      if (waits !== undefined) this.#stored.set(nameOf(flow[3]!, flow[8]! >>> 16), { unit, waits })
    } else if (words[11] === ATOM_OP.end) {
      this.counts.ends++
      unit.dam.end(key, this.#wallMs(unit), nowMs)
    }
  }

  #resolve(unit: Unit, flow: Uint32Array): void {
    const answer = (host: string | null, how: number): void => {
      if (this.#cluster.random() < (this.#options.lost ?? 0)) {
        this.#unanswered.add(nameOf(flow[3]!, flow[8]! >>> 16))
        return
      }
      const words = new Uint32Array(RESOLVED_WORDS)
      words.set(flow)
      const wrong = this.#options.bug === 'the wrong host is named'
      words[10] = host === null ? 0 : addressOf(wrong ? this.#another(host) : host)
      words[11] = how
      this.#order(unit, { type: 'resolved', words })
    }
    const ask = (): void => {
      this.#cluster.at(HOST_ANSWER_MS, () => {
        const owner = this.#owner.get(nameOf(flow[3]!, flow[8]! >>> 16))
        if (this.#options.asksHosts && owner !== undefined) {
          this.counts.byHost++
          answer(owner.host, RESOLVED.host)
        } else {
          this.counts.nobody++
          answer(null, RESOLVED.nobody)
        }
      })
    }
    if (this.#options.copies === null) return ask()
    unit.dam.query(atomKey(flow), this.#cluster.nowMs, atom => {
      if (atom === null) return ask()
      this.counts.byAtom++
      const own = atom.owner.member === unit.member
      this.#cluster.at(LINK_MS, () => answer(dotted(atom.host), own ? RESOLVED.ownAtom : RESOLVED.memberAtom))
    })
  }

  #another(host: string): string {
    const hosts = this.#cluster.hosts.map(dotted)
    return hosts[(hosts.indexOf(host) + 1) % hosts.length]!
  }

  /** A stack takes a SYN for a connection of its own, and answers anything else that it has none for by a reset. */
  #delivered(flow: Flow, host: string, flags: number): void {
    const name = nameOf(flow.client, flow.port)
    const isSyn = (flags & 2) !== 0
    const owner = this.#owner.get(name)
    if (isSyn) {
      if (owner === undefined || owner.flow !== flow) this.#owner.set(name, { flow, host })
      return
    }
    this.counts.checked++
    // Of a connection that never began nobody is the host; of one before it, late packets harm nobody.
    if (owner === undefined || owner.flow !== flow || owner.host === host) return
    this.#cluster.problems.push(
      `${this.#cluster.nowMs} ms: a packet of flow ${flow.id}, which ${owner.host} has, reached ${host}`,
    )
  }
}

const nameOf = (client: number, port: number): string => `${client} ${port}`
const addressOf = (text: string): number =>
  text.split('.').reduce((word, part) => word * 256 + Number(part), 0)
const atomKey = (flow: Uint32Array): Uint32Array => {
  const key = flow.slice()
  key[9] = ((key[9]! & 0xffffff) | (ATOM_KIND.flow << 24)) >>> 0
  return key
}
