/**
 * The consolidated health and load cache of a load balancing unit (R-B3), as a pure core: it takes row changes and snapshots of the
 * hosts' tables, notices by the tokens of heartbeats when it holds another version (R-B5), repairs itself (R-B8), answers
 * postulates (R-B6), and says until when the data plane may follow a host's rows.
 *
 * Rows, goodbyes and postulates are believed only from the host that they are about. Heartbeats prove themselves, so anybody may
 * bring them; a lying leader can at most make the unit ask the host.
 */
import type { HealthMessage, Row } from '../types.ts'
import { HashAccount } from './hash-account.ts'
import { HostCache, type Turn } from './host-cache.ts'
import type { CachedHost, UnitAction, UnitCounter, UnitEvent, UnitSettings, UnitStep } from './types.ts'

export class HealthUnit {
  readonly counters: Record<string, number> = {}
  readonly #settings: UnitSettings
  #hosts = new Map<string, HostCache>()
  #byNumber = new Map<number, HostCache>()
  /** By the name of the sender. */
  #accounts = new Map<string, HashAccount>()
  /** Links may come up before the membership is told. */
  readonly #linked = new Set<string>()
  /** Those that this step told something; the others are left alone until they are due. */
  readonly #touched = new Set<HostCache>()
  #requests: number

  constructor(settings: UnitSettings, nowMs: number) {
    this.#settings = settings
    // Answers to this node's earlier life must not seem to answer questions of this one.
    this.#requests = Math.trunc(nowMs) >>> 0
  }

  /** Never throws for what a peer sent. */
  step(event: UnitEvent, nowMs: number): UnitStep {
    const actions: UnitAction[] = []
    const turn: Turn = {
      nowMs,
      actions,
      count: counter => this.#count(counter),
      request: () => (this.#requests = (this.#requests + 1) >>> 0),
    }
    this.#handle(event, turn)
    let wakeAtMs = Number.POSITIVE_INFINITY
    for (const host of this.#hosts.values()) {
      if (this.#touched.has(host) || nowMs >= host.dueMs) {
        host.plan(turn)
        host.dueMs = host.wakeAtMs(nowMs)
      }
      wakeAtMs = Math.min(wakeAtMs, host.dueMs)
    }
    this.#touched.clear()
    return { actions, wakeAtMs }
  }

  /** All hosts of the membership, those without rows too. */
  hosts(): CachedHost[] {
    return [...this.#hosts.values()].map(host => ({
      name: host.name,
      host: host.host,
      version: host.version,
      inForce: host.inForce,
      leaseUntilMs: host.leaseUntilMs,
      via: host.via,
      rows: host.rows(),
      dnsName: host.dnsName,
    }))
  }

  /** The rows held of applications of one type (app-id.ts, `appType`), on all hosts. */
  ofType(type: string): { host: string; row: Row; leaseUntilMs: number }[] {
    return [...this.#hosts.values()].flatMap(host =>
      host.ofType(type).map(row => ({ host: host.name, row, leaseUntilMs: host.leaseUntilMs })),
    )
  }

  #handle(event: UnitEvent, turn: Turn): void {
    if (event.on === 'tick') return
    if (event.on === 'stood-still') {
      for (const host of this.#hosts.values()) this.#touch(host)!.stoodStill(turn)
      return
    }
    if (event.on === 'hosts') return this.#setHosts(event.hosts, turn)
    if (event.on === 'message') return this.#take(event.from, event.message, turn)
    const host = this.#touch(this.#hosts.get(event.host))
    if (event.on === 'applied') return host?.applied(event.version, turn)
    if (event.up) this.#linked.add(event.host)
    else this.#linked.delete(event.host)
    host?.link(event.up, turn)
  }

  #setHosts(list: readonly { name: string; host: number }[], turn: Turn): void {
    const before = this.#hosts
    this.#hosts = new Map()
    this.#byNumber = new Map()
    const accounts = this.#accounts
    this.#accounts = new Map()
    for (const { name, host: number } of list) {
      const known = before.get(name)
      const host = known ?? new HostCache(name, number, this.#settings)
      host.host = number
      this.#touch(host)
      this.#hosts.set(name, host)
      this.#byNumber.set(number, host)
      this.#accounts.set(name, accounts.get(name) ?? new HashAccount())
      if (known === undefined && this.#linked.has(name)) host.link(true, turn)
    }
    for (const [name, host] of before) if (!this.#hosts.has(name)) host.drop(turn)
  }

  #take(from: string, message: HealthMessage, turn: Turn): void {
    const sender = this.#touch(this.#hosts.get(from))
    if (sender === undefined) return this.#refuse(from, `${message.type} of no host of this cluster`, turn)
    if (message.type === 'heartbeat') return this.#heartbeat(sender, message, turn)
    if (!isAboutRows(message)) return
    if (message.host !== sender.host)
      return this.#refuse(from, `${message.type} about host ${message.host}, which is another`, turn)
    if (message.type === 'row-change') return sender.rowChange(message, turn)
    if (message.type === 'send-snapshot') return sender.snapshot(message, turn)
    if (message.type === 'postulate') return sender.postulate(message, turn)
    sender.goodbye(turn)
  }

  #heartbeat(sender: HostCache, message: Extract<HealthMessage, { type: 'heartbeat' }>, turn: Turn): void {
    const account = this.#accounts.get(sender.name)!
    for (const entry of message.entries) {
      const host = this.#touch(this.#byNumber.get(entry.host))
      if (host === undefined) this.#count('beats_unknown_host')
      else {
        if (message.leader === 0 && host === sender) host.isHere()
        host.beat(entry, account, message.leader === 0 ? null : sender.name, turn)
      }
    }
    if (message.leader === 0) return
    for (const number of message.gone) this.#touch(this.#byNumber.get(number))?.gone(turn)
  }

  #touch(host: HostCache | undefined): HostCache | undefined {
    if (host !== undefined) this.#touched.add(host)
    return host
  }

  #refuse(from: string, why: string, turn: Turn): void {
    this.#count('refused')
    turn.actions.push({ do: 'refused', from, why })
  }

  #count(counter: UnitCounter): void {
    this.counters[counter] = (this.counters[counter] ?? 0) + 1
  }
}

type AboutRows = Extract<HealthMessage, { type: 'row-change' | 'send-snapshot' | 'postulate' | 'goodbye' }>

const isAboutRows = (message: HealthMessage): message is AboutRows =>
  message.type === 'row-change' ||
  message.type === 'send-snapshot' ||
  message.type === 'postulate' ||
  message.type === 'goodbye'
