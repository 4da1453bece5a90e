/**
 * Health and load of one node: its own table (if it is a host), the consolidated cache (if it is a load balancing unit) and its part
 * in its group, wired to each other. What a node says to itself does not leave it. Pure: the agent and the simulator drive the same.
 */
import {
  type GroupAction,
  type GroupEvent,
  type GroupPolicy,
  type GroupSettings,
  HealthGroup,
} from './group/group.ts'
import { Hold } from './host/hold.ts'
import {
  HealthHost,
  type HostAction,
  type HostEvent,
  type HostPolicy,
  type HostSettings,
} from './host/host.ts'
import { hostNumbers } from './host-number.ts'
import type { HealthMessage, ServerState } from './types.ts'
import { UNIT_DEFAULTS, type UnitAction, type UnitEvent, type UnitSettings } from './unit/types.ts'
import { HealthUnit } from './unit/unit.ts'

export interface NodeMember {
  readonly name: string
  /** Peer id. */
  readonly id: string
  readonly host: boolean
  /** Load balancing unit: forwarder or classifier. */
  readonly unit: boolean
}

export interface HealthNodeSettings {
  readonly name: string
  readonly host: Omit<HostSettings, 'host' | 'name'> & {
    /** Leases of the run before lasted so many beats; no more than now if left out. */
    formerLeaseBeats?: number
  }
  readonly group: Omit<GroupSettings, 'name'>
  readonly unit?: Partial<Omit<UnitSettings, 'name'>>
}

/** What the cluster document may change while the node runs. */
export interface HealthNodePolicy {
  readonly host: HostPolicy
  readonly group: GroupPolicy
}

/** Random numbers of the shell. */
export interface HealthNodePorts {
  /** u32, for a table that begins. */
  instance(): number
  /** 32 bytes, for a chain of tokens. */
  seed(): Uint8Array
}

/** What the shell of a host tells its table. */
export type OwnEvent = Extract<
  HostEvent,
  { on: 'endpoints' | 'health' | 'load' | 'order' | 'stopping' | 'goodbye' }
>

export type HealthNodeEvent =
  | OwnEvent
  /** All members, this node among them; what this node is follows from it. */
  | { on: 'members'; members: readonly NodeMember[] }
  /** In force from now on, whatever this node is. */
  | { on: 'settings'; settings: HealthNodePolicy }
  /** This node's own link to that node's agent. */
  | { on: 'link'; peer: string; up: boolean }
  | { on: 'message'; from: string; message: HealthMessage }
  | Extract<UnitEvent, { on: 'applied' | 'stood-still' }>
  /** To be told to every unit (R-F4). */
  | { on: 'server-state'; state: ServerState }
  | { on: 'tick' }

export type HealthNodeAction =
  | { do: 'send'; to: string; message: HealthMessage }
  | Extract<HostAction, { do: 'rows' | 'settled' | 'refused' }>
  | Extract<UnitAction, { do: 'apply' | 'lease' | 'drop' | 'check' }>
  | Extract<GroupAction, { do: 'leader' }>
  | { do: 'server-state'; from: string; state: ServerState }

export interface HealthNodeStep {
  actions: HealthNodeAction[]
  /** When to tick at the latest; infinite when nothing is due. */
  wakeAtMs: number
}

type Part = { step(event: never, nowMs: number): { actions: unknown[]; wakeAtMs: number } }

/** Messages that a message may cause among the parts of one node; more is a fault of ours. */
const MAX_TURNS = 10_000

export class HealthNode {
  #settings: HealthNodeSettings
  readonly #ports: HealthNodePorts
  #members: readonly NodeMember[] = []
  readonly #linked = new Set<string>()
  #host: HealthHost | null = null
  #unit: HealthUnit | null = null
  #group: HealthGroup | null = null
  #hostNumber = 0
  /** Of the last table: units may still use rows of it. */
  #hold: Hold | null = null
  #both: readonly Part[] = []
  readonly #wakes = new Map<Part, number>()
  /** Of this node to itself, in order. */
  #own: HealthMessage[] = []
  #actions: HealthNodeAction[] = []

  constructor(settings: HealthNodeSettings, ports: HealthNodePorts) {
    this.#settings = settings
    this.#ports = ports
  }

  /** Null where this node is no host. */
  get host(): HealthHost | null {
    return this.#host
  }
  /** Null where this node is no load balancing unit. */
  get unit(): HealthUnit | null {
    return this.#unit
  }
  get group(): HealthGroup | null {
    return this.#group
  }

  step(event: HealthNodeEvent, nowMs: number): HealthNodeStep {
    this.#take(event, nowMs)
    const { name } = this.#settings
    for (let turn = 0; this.#own.length > 0; turn++) {
      if (turn > MAX_TURNS) throw new Error('the parts of a node talk to each other without end')
      this.#message(name, this.#own.shift()!, nowMs)
    }
    const actions = this.#actions
    this.#actions = []
    return { actions, wakeAtMs: Math.min(Number.POSITIVE_INFINITY, ...this.#wakes.values()) }
  }

  #take(event: HealthNodeEvent, nowMs: number): void {
    switch (event.on) {
      case 'members':
        return this.#become(event.members, nowMs)
      case 'settings':
        return this.#follow(event.settings, nowMs)
      case 'link':
        return this.#link(event.peer, event.up, nowMs)
      case 'message':
        return this.#message(event.from, event.message, nowMs)
      case 'applied':
      case 'stood-still':
        return this.#toUnit(event, nowMs)
      case 'server-state':
        for (const { name, unit } of this.#members)
          if (unit) this.#send(name, { type: 'server-state', host: this.#hostNumber, state: event.state })
        return
      case 'tick':
        this.#toHost(event, nowMs)
        this.#toGroup(event, nowMs)
        return this.#toUnit(event, nowMs)
      default:
        this.#toHost(event, nowMs)
        if (event.on === 'stopping' || event.on === 'goodbye') this.#toGroup({ on: 'stopping' }, nowMs)
    }
  }

  #follow({ host, group }: HealthNodePolicy, nowMs: number): void {
    const before = this.#settings
    this.#settings = { ...before, host: { ...before.host, ...host }, group: { ...before.group, ...group } }
    if (this.#host === null) this.#hold?.change(before.host.beatMs * host.leaseBeats, nowMs)
    this.#toHost({ on: 'settings', settings: host, instance: this.#ports.instance() }, nowMs)
    this.#toGroup({ on: 'settings', settings: group }, nowMs)
  }

  #become(members: readonly NodeMember[], nowMs: number): void {
    this.#members = members
    const { name, host, group, unit } = this.#settings
    const self = members.find(member => member.name === name)
    const ids = members.filter(member => member.host)
    const numbers = hostNumbers(ids.map(({ id }) => id))
    const hosts = ids.map(({ name, id }) => ({ name, id, host: numbers.get(id)! }))
    const units = members.filter(member => member.unit).map(member => member.name)
    const ownNumber = hosts.find(each => each.name === name)?.host ?? 0
    // A table is known by its number: with another one it begins anew.
    if (this.#host !== null && ownNumber !== this.#hostNumber) this.#endHost(nowMs)
    this.#hostNumber = ownNumber
    if (ownNumber !== 0 && this.#host === null) {
      // Units may still hold rows of the table that this one follows.
      const own = {
        ...host,
        name,
        host: ownNumber,
        isRestart: host.isRestart === true || this.#hold !== null,
      }
      const seed = (): Uint8Array => this.#ports.seed()
      const leaseMs = host.beatMs * host.leaseBeats
      this.#hold ??= new Hold(Math.max(leaseMs, host.beatMs * (host.formerLeaseBeats ?? 0)))
      this.#hold.change(leaseMs, nowMs)
      this.#host = new HealthHost(own, this.#ports.instance(), nowMs, seed, this.#hold)
      this.#group = new HealthGroup({ ...group, name }, nowMs)
      for (const peer of this.#linked) this.#linkParts(peer, true, nowMs)
    }
    if (self?.unit !== true) this.#unit = this.#end(this.#unit)
    else if (this.#unit === null) {
      this.#unit = new HealthUnit({ ...UNIT_DEFAULTS, ...unit, name }, nowMs)
      this.#toUnit({ on: 'hosts', hosts }, nowMs)
      for (const peer of this.#linked) this.#toUnit({ on: 'link', host: peer, up: true }, nowMs)
    }
    this.#toUnit({ on: 'hosts', hosts }, nowMs)
    this.#toHost({ on: 'units', units }, nowMs)
    this.#toGroup({ on: 'hosts', hosts }, nowMs)
    this.#toGroup({ on: 'units', units }, nowMs)
    // What is said to oneself always arrives: as if by a link that comes up when both parts are there.
    const both = this.#host !== null && this.#unit !== null ? [this.#host, this.#unit] : []
    if (both.some((part, i) => part !== this.#both[i]))
      this.#toUnit({ on: 'link', host: name, up: true }, nowMs)
    this.#both = both
  }

  /** The role is gone: units forget the rows at once. */
  #endHost(nowMs: number): void {
    this.#toHost({ on: 'goodbye', reason: 'no host any more' }, nowMs)
    this.#toGroup({ on: 'stopping' }, nowMs)
    this.#host = this.#end(this.#host)
    this.#group = this.#end(this.#group)
  }

  #end(part: Part | null): null {
    if (part !== null) this.#wakes.delete(part)
    return null
  }

  #link(peer: string, up: boolean, nowMs: number): void {
    if (up) this.#linked.add(peer)
    else this.#linked.delete(peer)
    this.#linkParts(peer, up, nowMs)
    this.#toUnit({ on: 'link', host: peer, up }, nowMs)
  }

  #linkParts(peer: string, up: boolean, nowMs: number): void {
    this.#toHost({ on: 'link', unit: peer, up }, nowMs)
    this.#toGroup({ on: 'alive', host: peer, alive: up }, nowMs)
  }

  #message(from: string, message: HealthMessage, nowMs: number): void {
    const event = { on: 'message', from, message } as const
    switch (message.type) {
      case 'heartbeat':
        if (message.leader === 0) this.#toGroup(event, nowMs)
        return this.#toUnit(event, nowMs)
      case 'goodbye':
      case 'row-change':
      case 'send-snapshot':
      case 'postulate':
        return this.#toUnit(event, nowMs)
      case 'get-snapshot':
      case 'postulate-right':
      case 'postulate-wrong':
        return this.#toHost(event, nowMs)
      case 'claim':
        return this.#toGroup(event, nowMs)
      case 'server-state':
        this.#actions.push({ do: 'server-state', from, state: message.state })
    }
  }

  #toHost(event: HostEvent, nowMs: number): void {
    if (this.#host === null) return
    const { actions, wakeAtMs } = this.#host.step(event, nowMs)
    this.#wakes.set(this.#host, wakeAtMs)
    for (const action of actions) {
      if (action.do === 'send') this.#send(action.to, action.message)
      else this.#actions.push(action)
    }
  }

  #toUnit(event: UnitEvent, nowMs: number): void {
    if (this.#unit === null) return
    const { actions, wakeAtMs } = this.#unit.step(event, nowMs)
    this.#wakes.set(this.#unit, wakeAtMs)
    for (const action of actions) {
      if (action.do === 'send') this.#send(action.to, action.message)
      else this.#actions.push(action)
    }
  }

  #toGroup(event: GroupEvent, nowMs: number): void {
    if (this.#group === null) return
    const { actions, wakeAtMs } = this.#group.step(event, nowMs)
    this.#wakes.set(this.#group, wakeAtMs)
    for (const action of actions) {
      if (action.do === 'send') this.#send(action.to, action.message)
      else {
        if (action.do === 'leader') this.#toHost({ on: 'leader', leader: action.leader }, nowMs)
        this.#actions.push(action)
      }
    }
  }

  #send(to: string, message: HealthMessage): void {
    if (to === this.#settings.name) this.#own.push(message)
    else this.#actions.push({ do: 'send', to, message })
  }
}
