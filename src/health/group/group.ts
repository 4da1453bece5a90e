/**
 * One host's part in its group (R-B7), as a pure core: it elects a leader with the others, and while it leads, it sends the
 * units one consolidated heartbeat a beat. Without a leader (a small cluster, or between two leaders) `leader` is null: hosts
 * send their heartbeats straight to the units, so that no lease runs out for want of a leader.
 *
 * Memory is bounded by the group: the newest heartbeat of each member, nothing of hosts that are no members.
 */
import type { HealthMessage } from '../types.ts'
import { Election, type Place } from './election.ts'
import { type GroupHost, groupsOf } from './groups.ts'
import { Roll } from './roll.ts'

export interface GroupSettings {
  /** This host's. */
  readonly name: string
  readonly beatMs: number
  /** 'full': every living member's newest heartbeat each beat. 'changes': those with a flag, and losses. */
  readonly mode: 'full' | 'changes'
  /** With this many hosts or fewer in the cluster, no group elects a leader. */
  readonly directHosts: number
  /** Hosts of a group at most; GROUP_SIZE by default. The same on all nodes. */
  readonly size?: number
}

/** What the cluster document may change while the host runs. */
export type GroupPolicy = Pick<GroupSettings, 'mode' | 'directHosts' | 'size'>

export type GroupEvent =
  /** In force from now on. Other nodes may learn of it a while sooner or later. */
  | { on: 'settings'; settings: GroupPolicy }
  /** All hosts of the cluster. */
  | { on: 'hosts'; hosts: readonly GroupHost[] }
  | { on: 'units'; units: readonly string[] }
  /** This node's own link to that host's agent; not alive until said so. */
  | { on: 'alive'; host: string; alive: boolean }
  /** Claims, and heartbeats of one host; this host's own too. All others are ignored. */
  | { on: 'message'; from: string; message: HealthMessage }
  | { on: 'tick' }
  /** This host leads no more. */
  | { on: 'stopping' }

export type GroupAction =
  | { do: 'send'; to: string; message: HealthMessage }
  /** It changed. Null: heartbeats go straight to the units; the own name: this host leads. */
  | { do: 'leader'; leader: string | null }
  | { do: 'refused'; from: string; why: string }

export interface GroupStep {
  actions: GroupAction[]
  /** Infinite when nothing is due. */
  wakeAtMs: number
}

export class HealthGroup {
  #settings: GroupSettings
  readonly #alive = new Set<string>()
  #hosts: ReadonlyMap<string, GroupHost> = new Map()
  #units: readonly string[] = []
  /** Null: no group, or one that elects nobody. */
  #place: Place | null = null
  #election: Election | null = null
  /** Of the reign of this host. */
  #roll: Roll | null = null
  #sendAtMs = Number.POSITIVE_INFINITY
  #wakeAtMs = Number.POSITIVE_INFINITY
  #told: string | null = null
  #isStopping = false
  #actions: GroupAction[] = []

  /** `nowMs` of all calls is of one monotonic clock. */
  constructor(settings: GroupSettings, nowMs: number) {
    this.#settings = settings
    this.#advance(nowMs)
  }

  get leader(): string | null {
    return this.#election?.leader ?? null
  }

  /** All hosts of the group, this one too; none where it elects nobody. */
  get names(): string[] {
    return [...(this.#place?.members.keys() ?? [])].sort((a, b) =>
      a.localeCompare(b, 'en', { numeric: true }),
    )
  }

  /** Number of the group; null where there is none. */
  get index(): number | null {
    return this.#place?.index ?? null
  }

  /** Of the leader; without one, the highest heard of; 0 when none was. */
  get generation(): number {
    return this.#election?.generation ?? 0
  }

  /** Of a leader: those whose heartbeats it heard in this reign; else none. */
  members(): { name: string; beat: number; heardMs: number }[] {
    return this.#roll?.members() ?? []
  }

  /** Never throws for what a peer sent. */
  step(event: GroupEvent, nowMs: number): GroupStep {
    this.#election?.wasLate(nowMs - this.#wakeAtMs, nowMs)
    this.#handle(event, nowMs)
    this.#advance(nowMs)
    const actions = this.#actions
    this.#actions = []
    return { actions, wakeAtMs: this.#wakeAtMs }
  }

  #handle(event: GroupEvent, nowMs: number): void {
    switch (event.on) {
      case 'settings':
        this.#settings = { ...this.#settings, ...event.settings }
        return this.#regroup([...this.#hosts.values()], nowMs)
      case 'hosts':
        return this.#regroup(event.hosts, nowMs)
      case 'units':
        this.#units = [...new Set(event.units)]
        return
      case 'alive':
        if (event.alive === this.#alive.has(event.host)) return
        if (event.alive) this.#alive.add(event.host)
        else this.#alive.delete(event.host)
        return this.#election?.link(event.host, event.alive, nowMs)
      case 'message':
        return this.#message(event.from, event.message, nowMs)
      case 'stopping':
        this.#isStopping = true
        return this.#election?.resign(nowMs)
    }
  }

  #regroup(hosts: readonly GroupHost[], nowMs: number): void {
    const { name, directHosts, beatMs, size } = this.#settings
    this.#hosts = new Map(hosts.map(host => [host.name, host]))
    const me = this.#hosts.get(name)
    const group = groupsOf([...this.#hosts.values()], size).find(({ hosts }) => hosts.includes(me!))
    if (me === undefined || group === undefined || this.#hosts.size <= directHosts) {
      this.#place = null
      this.#election?.resign(nowMs)
      this.#election = null
      return
    }
    const members = new Map(group.hosts.map(host => [host.name, host]))
    this.#place = { me, index: group.index, members }
    if (this.#election !== null) this.#election.regroup(this.#place, nowMs)
    else {
      this.#election = new Election(beatMs, this.#place, this.#isAlive, this.#send, nowMs)
      if (this.#isStopping) this.#election.resign(nowMs)
    }
    this.#roll?.setMembers(members, nowMs)
  }

  #message(from: string, message: HealthMessage, nowMs: number): void {
    const isClaim = message.type === 'claim'
    if (!isClaim && !(message.type === 'heartbeat' && message.leader === 0)) return
    const sender = this.#hosts.get(from)
    if (sender === undefined)
      return this.#refuse(from, `a ${message.type} of what is no host of this cluster`)
    const said = isClaim ? message.host : message.entries[0]?.host
    if (said !== sender.host || (!isClaim && message.entries.length !== 1))
      return this.#refuse(from, `a ${message.type} in the name of another host`)
    // Of another group, or from before its link went down: normal while nodes learn of changes one after another.
    if (!this.#place?.members.has(from) || !this.#isAlive(from)) return
    const isOwn = from === this.#settings.name
    if (!isClaim) {
      this.#roll?.heard(from, message.entries[0]!, nowMs)
      if (!isOwn) this.#election?.followed()
    } else if (message.group === this.#place.index && !isOwn)
      this.#election?.heard(sender, message.generation, nowMs)
  }

  #advance(nowMs: number): void {
    this.#election?.advance(nowMs)
    const { leader } = this
    const isMine = leader === this.#settings.name
    if (!isMine) this.#roll = null
    else if (this.#roll === null) this.#reign(nowMs)
    if (leader !== this.#told) this.#actions.push({ do: 'leader', leader })
    this.#told = leader
    if (isMine && this.#sendAtMs <= nowMs) this.#consolidate(nowMs)
    this.#wakeAtMs = Math.min(
      this.#election?.dueMs() ?? Number.POSITIVE_INFINITY,
      isMine ? this.#sendAtMs : Number.POSITIVE_INFINITY,
    )
  }

  #reign(nowMs: number): void {
    const { name, beatMs } = this.#settings
    this.#roll = new Roll(name, beatMs, this.#isAlive, this.#place!.members.values(), nowMs)
    // Between two claims: what members send when they hear the first one is in it.
    this.#sendAtMs = nowMs + beatMs / 2
  }

  #consolidate(nowMs: number): void {
    const { beatMs, mode } = this.#settings
    const { entries, gone } = this.#roll!.take(mode === 'changes', nowMs)
    this.#sendAtMs = Math.max(this.#sendAtMs + beatMs, nowMs + beatMs / 2)
    if (entries.length + gone.length === 0) return
    const message = { type: 'heartbeat', leader: this.generation, entries, gone } as const
    for (const unit of this.#units) this.#actions.push({ do: 'send', to: unit, message })
  }

  #refuse(from: string, why: string): void {
    this.#actions.push({ do: 'refused', from, why })
  }

  readonly #isAlive = (name: string): boolean => name === this.#settings.name || this.#alive.has(name)

  readonly #send = (to: string, message: HealthMessage): void => {
    this.#actions.push({ do: 'send', to, message })
  }
}
