/**
 * Hosts of one cluster that elect leaders of their groups, and units that hear them, in virtual time. Links are in order and
 * without loss; both ends notice after a while that one went down. What comes to a frozen host waits until
 * it goes on.
 */

import { type GroupEvent, HealthGroup } from '../../../src/health/group/group.ts'
import type { GroupHost } from '../../../src/health/group/groups.ts'
import type { HealthMessage } from '../../../src/health/types.ts'
import type { World } from './world.ts'

export type Heartbeat = Extract<HealthMessage, { type: 'heartbeat' }>
export const BEAT = 1000
export const UNITS = ['u1', 'u2']

export interface GroupsOptions {
  hosts: number
  mode?: 'full' | 'changes'
  size?: number
  directHosts?: number
  forwardEvery?: number
}

const keyOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

class Node {
  readonly group: HealthGroup
  readonly startedMs: number
  readonly phaseMs: number
  leader: string | null = null
  isFrozen = false
  beat = 0
  readonly inbox: GroupEvent[] = []
  cancelWake = () => {}

  constructor(group: HealthGroup, nowMs: number, phaseMs: number) {
    this.group = group
    this.startedMs = nowMs
    this.phaseMs = phaseMs
  }
}

export class Groups {
  readonly world: World
  readonly all: GroupHost[]
  readonly nodes = new Map<string, Node>()
  /** What units got, with the time: newest last. */
  readonly heard: { atMs: number; unit: string; from: string; message: Heartbeat }[] = []
  readonly refused: string[] = []
  /** What hosts were told of their leaders. */
  readonly changes: { atMs: number; node: string; leader: string | null }[] = []
  /** How long the links of a frozen host stay up (ms); infinite: for ever. */
  keepMs = 3000
  readonly #options: Required<GroupsOptions>
  #members: GroupHost[]
  #sides = new Map<string, number>()
  /** Of each end, when the last message of the other one arrives. */
  readonly #links = new Map<string, { arrivals: number[] }>()

  constructor(world: World, options: GroupsOptions) {
    this.world = world
    this.#options = { mode: 'full', size: 32, directHosts: 3, forwardEvery: 10, ...options }
    const numbers = world.shuffled(Array.from({ length: options.hosts }, (_, i) => 1000 + 7 * i))
    this.all = numbers.map((host, i) => ({ name: `h${i}`, id: `12D3Koo${numbers[i]! * 7919}x${i}`, host }))
    this.#members = this.all
    for (const { name } of this.all) this.start(name)
  }

  get members(): GroupHost[] {
    return this.#members
  }

  setMembers(members: GroupHost[], spreadMs = 500): void {
    this.#members = members
    for (const name of this.nodes.keys())
      this.world.after(this.world.integer(spreadMs), () => {
        const now = this.nodes.get(name)
        if (now !== undefined) this.#event(name, now, { on: 'hosts', hosts: this.#members })
      })
  }

  start(name: string): void {
    const { mode, size, directHosts } = this.#options
    const { nowMs } = this.world
    const node = new Node(
      new HealthGroup({ name, beatMs: BEAT, mode, size, directHosts }, nowMs),
      nowMs,
      this.world.integer(BEAT),
    )
    this.nodes.set(name, node)
    this.#event(name, node, { on: 'units', units: UNITS })
    this.#event(name, node, { on: 'hosts', hosts: this.#members })
    this.#beats(name, node)
    this.#check()
  }

  /** Its peers' kernels close the links: noticed within 20 ms; of a machine that is gone, within `noticeMs`. */
  kill(name: string, noticeMs = 20): void {
    this.nodes.get(name)?.cancelWake()
    this.nodes.delete(name)
    this.#check(noticeMs)
  }

  freeze(name: string): void {
    const node = this.nodes.get(name)!
    node.isFrozen = true
    const isStill = (): boolean => node.isFrozen && this.nodes.get(name) === node
    if (this.keepMs === Number.POSITIVE_INFINITY) return
    this.world.after(this.keepMs, () => {
      if (isStill())
        for (const { name: other } of this.all) if (this.isLinked(name, other)) this.#down(name, other, 0)
    })
  }

  thaw(name: string): void {
    const node = this.nodes.get(name)
    if (node === undefined) return
    node.isFrozen = false
    for (const event of node.inbox.splice(0)) this.#event(name, node, event)
    this.#event(name, node, { on: 'tick' })
    this.#check()
  }

  partition(...sides: string[][]): void {
    this.#sides = new Map(sides.flatMap((side, at) => side.map(name => [name, at] as const)))
    this.#check(400)
  }

  stopping(name: string): void {
    this.#event(name, this.nodes.get(name)!, { on: 'stopping' })
  }

  say(from: string, to: string, message: HealthMessage): void {
    this.#event(to, this.nodes.get(to)!, { on: 'message', from, message })
  }

  reachable(a: string, b: string): boolean {
    return this.nodes.has(a) && this.nodes.has(b) && this.#sides.get(a) === this.#sides.get(b)
  }

  isLinked(a: string, b: string): boolean {
    return this.#links.has(keyOf(a, b))
  }

  /** Running hosts, not frozen. */
  running(): string[] {
    return [...this.nodes].filter(([, node]) => !node.isFrozen).map(([name]) => name)
  }

  leaders(): string[] {
    return this.running().filter(name => this.nodes.get(name)!.leader === name)
  }

  #check(noticeMs = 20): void {
    const names = this.all.map(({ name }) => name)
    for (const [i, a] of names.entries())
      for (const b of names.slice(i + 1)) {
        const key = keyOf(a, b)
        const isFrozen = this.nodes.get(a)?.isFrozen || this.nodes.get(b)?.isFrozen
        const isPossible = this.reachable(a, b)
        const link = this.#links.get(key)
        if (link !== undefined && !isPossible) this.#down(a, b, noticeMs)
        else if (link === undefined && isPossible && !isFrozen) this.#up(key, a, b)
      }
  }

  #down(a: string, b: string, noticeMs: number): void {
    const key = keyOf(a, b)
    this.#links.delete(key)
    for (const [at, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const node = this.nodes.get(at)
      this.world.after(this.world.integer(noticeMs + 1), () => {
        if (node !== undefined && !this.#links.has(key))
          this.#event(at, node, { on: 'alive', host: other, alive: false })
      })
    }
  }

  #up(key: string, a: string, b: string): void {
    const ends = [this.nodes.get(a), this.nodes.get(b)]
    this.world.after(20 + this.world.integer(300), () => {
      if (this.#links.has(key) || !this.reachable(a, b)) return
      if (this.nodes.get(a) !== ends[0] || this.nodes.get(b) !== ends[1]) return
      if (ends[0]!.isFrozen || ends[1]!.isFrozen) return
      this.#links.set(key, { arrivals: [0, 0] })
      // A peer that started again while its link was up: down comes before up.
      for (const [at, other] of [
        [a, b],
        [b, a],
      ] as const) {
        this.#event(at, this.nodes.get(at)!, { on: 'alive', host: other, alive: false })
        this.#event(at, this.nodes.get(at)!, { on: 'alive', host: other, alive: true })
      }
    })
  }

  #beats(name: string, node: Node): void {
    this.world.after(node.beat === 0 ? node.phaseMs : BEAT, () => {
      if (this.nodes.get(name) !== node) return
      node.beat++
      if (!node.isFrozen) this.#heartbeat(name, node)
      this.#beats(name, node)
    })
  }

  #heartbeat(name: string, node: Node): void {
    const { host } = this.all.find(one => one.name === name)!
    const message: Heartbeat = {
      type: 'heartbeat',
      leader: 0,
      entries: [
        {
          host,
          beat: node.beat,
          token: node.beat.toString(16).padStart(16, '0'),
          hello: node.beat <= 3,
          forward: node.beat % this.#options.forwardEvery === 0,
          dnsName: node.beat % 30 === 0 ? `${name}.example` : '',
        },
      ],
      gone: [],
    }
    for (const to of node.leader === null ? UNITS : [node.leader]) this.#send(name, to, message)
  }

  #send(from: string, to: string, message: HealthMessage): void {
    if (to === from) {
      this.world.after(0, () => this.#deliver(from, to, message))
      return
    }
    if (UNITS.includes(to)) {
      this.world.after(1 + this.world.integer(5), () => {
        if (message.type === 'heartbeat') this.heard.push({ atMs: this.world.nowMs, unit: to, from, message })
      })
      return
    }
    const link = this.#links.get(keyOf(from, to))
    if (link === undefined) return
    const way = from < to ? 0 : 1
    const atMs = Math.max(this.world.nowMs + 1 + this.world.integer(10), link.arrivals[way]!)
    link.arrivals[way] = atMs
    this.world.after(atMs - this.world.nowMs, () => {
      if (this.#links.get(keyOf(from, to)) === link) this.#deliver(from, to, message)
    })
  }

  #deliver(from: string, to: string, message: HealthMessage): void {
    const node = this.nodes.get(to)
    if (node !== undefined) this.#event(to, node, { on: 'message', from, message })
  }

  #event(name: string, node: Node, event: GroupEvent): void {
    if (this.nodes.get(name) !== node) return
    if (node.isFrozen) return void node.inbox.push(event)
    const { nowMs } = this.world
    const { actions, wakeAtMs } = node.group.step(event, nowMs)
    if (wakeAtMs <= nowMs) throw new Error(`${name} wants to wake at ${wakeAtMs}, which is not in the future`)
    for (const action of actions) {
      if (action.do === 'send') this.#send(name, action.to, action.message)
      else if (action.do === 'refused') this.refused.push(`${name} from ${action.from}: ${action.why}`)
      else {
        node.leader = action.leader
        this.changes.push({ atMs: nowMs, node: name, leader: action.leader })
        if (node.beat > 0) this.#heartbeat(name, node)
      }
    }
    node.cancelWake()
    if (wakeAtMs === Number.POSITIVE_INFINITY) return
    node.cancelWake = this.world.after(wakeAtMs - nowMs, () => this.#event(name, node, { on: 'tick' }))
  }
}
