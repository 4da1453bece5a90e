/** One unit and a few model hosts in virtual time, with lost, late and repeated messages; checks after each step what must always hold. */
import * as assert from 'uvu/assert'
import type { HealthMessage, HeartbeatEntry, Row, TableVersion } from '../../src/health/types.ts'
import type { UnitAction, UnitEvent } from '../../src/health/unit/types.ts'
import { HealthUnit } from '../../src/health/unit/unit.ts'
import { heartbeat, ModelHost } from './model-host.ts'

interface Past {
  rows: Row[]
  /** By the unit's clock, when the host no longer had this version. */
  endedMs: number
}

export interface WorldOptions {
  random: () => number
  hosts: number
  /** What the unit's clock gains on the hosts'. */
  drift: number
}

const START = 1000
/** Leases by a clock that drifts end so much later in the worst case. */
const TOLERANCE_MS = 2
const key = (name: string, { instance, generation }: TableVersion) => `${name} ${instance}.${generation}`
const sorted = (rows: Iterable<Row>) => [...rows].sort((a, b) => a.id - b.id)

export class UnitWorld {
  readonly hosts: ModelHost[]
  readonly dead = new Set<string>()
  readonly #random: () => number
  readonly #drift: number
  #now = START
  #unit!: HealthUnit
  #unitLife = 0
  #wakeAtMs = 0
  readonly #queue: { atMs: number; order: number; run: () => void }[] = []
  #orders = 0
  readonly #past = new Map<string, Past>()
  readonly #heard: HeartbeatEntry[] = []
  readonly #verified = new Set<string>()
  readonly #up = new Set<string>()
  /** The last that came over the link of a host: a link keeps its order. */
  readonly #lastAt = new Map<string, number>()
  readonly #linkLife = new Map<string, number>()
  /** Chance of a message to be lost. */
  loss = 0
  /** Those of all lives of the unit, and its leases. */
  readonly counters: Record<string, number> = {}

  constructor({ random, hosts, drift }: WorldOptions) {
    this.#random = random
    this.#drift = drift
    this.hosts = Array.from({ length: hosts }, (_, i) => new ModelHost(`h${i}`, 100 + i, START + i * 370))
    for (const host of this.hosts) {
      this.#record(host)
      this.#beatLater(host)
    }
    this.restartUnit()
  }

  get unit(): HealthUnit {
    return this.#unit
  }

  /** By the unit's clock. */
  get unitNow(): number {
    return 5_000_000 + this.#now * (1 + this.#drift)
  }

  /** Its cache is lost. */
  restartUnit(): void {
    this.#unitLife++
    this.#verified.clear()
    this.#unit = new HealthUnit({ name: 'u', retieMs: 20_000, askAgainMs: 1000, ageMs: 30_000 }, this.unitNow)
    this.step({ on: 'hosts', hosts: this.hosts.map(({ name, host }) => ({ name, host })) })
    this.#up.clear()
    for (const { name } of this.hosts) if (!this.dead.has(name)) this.link(name, true)
  }

  link(name: string, up: boolean): void {
    if (up === this.#up.has(name)) return
    if (up) this.#up.add(name)
    else this.#up.delete(name)
    this.#linkLife.set(name, (this.#linkLife.get(name) ?? 0) + 1)
    this.step({ on: 'link', host: name, up })
  }

  /** Down, and up again later. */
  flap(host: ModelHost, forMs: number): void {
    this.link(host.name, false)
    this.#later(forMs, () => !this.dead.has(host.name) && this.link(host.name, true))
  }

  set(host: ModelHost, row: Row): void {
    if (!this.dead.has(host.name)) this.#changed(host, () => host.set(row))
  }

  delete(host: ModelHost, id: number): void {
    if (this.dead.has(host.name) || !host.rows.has(id)) return
    this.#changed(host, () => host.change([{ operation: 'delete', id }]))
  }

  kill(host: ModelHost): void {
    if (this.dead.has(host.name)) return
    this.dead.add(host.name)
    this.#end(host)
    this.#later(this.#random() * 2000, () => this.dead.has(host.name) && this.link(host.name, false))
  }

  restart(host: ModelHost): void {
    if (!this.dead.delete(host.name)) this.#end(host)
    // Its link may come up anew before the unit saw that it was down.
    this.link(host.name, false)
    host.restart(this.#now)
    this.#record(host)
    this.link(host.name, true)
    this.#beatLater(host)
  }

  /** Somebody who once heard a heartbeat passes it on. */
  replay(): void {
    if (this.#heard.length === 0) return
    const entry = this.#heard[Math.floor(this.#random() * this.#heard.length)]!
    const before = this.#unit.counters.beats_verified ?? 0
    this.step({ on: 'tick' })
    const name = this.hosts.find(h => h.host === entry.host)!.name
    const mark = `${this.#unitLife} ${name} ${entry.token}`
    const actions = this.step({ on: 'message', from: 'h0', message: heartbeat([entry], 9) })
    if (this.#verified.has(mark)) {
      assert.is(this.#unit.counters.beats_verified ?? 0, before)
      assert.not(actions.some(a => a.do === 'lease'))
    } else if ((this.#unit.counters.beats_verified ?? 0) > before) this.#verified.add(mark)
  }

  /** What is not true must change nothing; it may make the unit ask. */
  lie(from: string, message: HealthMessage): void {
    this.step({ on: 'tick' })
    const before = this.#unit.hosts()
    const verified = this.#unit.counters.beats_verified
    const actions = this.step({ on: 'message', from, message })
    assert.equal(this.#unit.hosts(), before)
    assert.is(this.#unit.counters.beats_verified, verified)
    for (const action of actions)
      assert.ok(action.do === 'refused' || (action.do === 'send' && action.message.type === 'get-snapshot'))
  }

  newestEntry(host: ModelHost): HeartbeatEntry | undefined {
    return this.#heard.findLast(entry => entry.host === host.host)
  }

  run(forMs: number): void {
    const untilMs = this.#now + forMs
    for (;;) {
      let next = -1
      for (const [i, event] of this.#queue.entries()) {
        const first = this.#queue[next]
        const isEarlier = event.atMs < (first?.atMs ?? untilMs)
        if (isEarlier || (event.atMs === first?.atMs && event.order < first.order)) next = i
      }
      const wakeMs = (this.#wakeAtMs - 5_000_000) / (1 + this.#drift)
      const atMs = this.#queue[next]?.atMs ?? untilMs
      if (wakeMs < atMs) {
        this.#now = Math.max(this.#now + 0.01, wakeMs)
        this.step({ on: 'tick' })
        continue
      }
      this.#now = Math.max(this.#now, atMs)
      if (next < 0) return
      this.#queue.splice(next, 1)[0]!.run()
    }
  }

  step(event: UnitEvent): UnitAction[] {
    const before = { ...this.#unit.counters }
    const { actions, wakeAtMs } = this.#unit.step(event, this.unitNow)
    for (const [counter, n] of Object.entries(this.#unit.counters))
      this.counters[counter] = (this.counters[counter] ?? 0) + n - (before[counter] ?? 0)
    this.#wakeAtMs = wakeAtMs
    for (const action of actions) this.#act(action)
    this.#check()
    return actions
  }

  #act(action: UnitAction): void {
    if (action.do === 'lease') this.counters.leases = (this.counters.leases ?? 0) + 1
    const life = this.#unitLife
    if (action.do === 'apply') {
      const { host, version } = action
      assert.equal(sorted(action.rows), this.#past.get(key(host, version))!.rows)
      const apply = () => life === this.#unitLife && void this.step({ on: 'applied', host, version })
      this.#later(this.#random() < 0.1 ? 2000 * this.#random() : 5, apply)
    }
    if (action.do !== 'send' || action.message.type !== 'get-snapshot') return
    const get = action.message
    const host = this.hosts.find(h => h.name === action.to)!
    this.#overLink(host, () => {
      if (this.dead.has(host.name)) return
      const answer = host.answer(get, this.#now)
      this.#overLink(host, () => this.#tell(host.name, answer))
    })
  }

  /** A link loses whole messages (queues that are full), and all that is under way when it goes down. */
  #overLink(host: ModelHost, run: () => void): void {
    if (this.#random() < this.loss) return
    const life = this.#linkLife.get(host.name)
    const mayPass = () => this.#linkLife.get(host.name) === life && this.#up.has(host.name) && run()
    const delay = this.#random() < 0.1 ? this.#random() * 1500 : this.#random() * 20
    const atMs = Math.max(this.#now + delay, this.#lastAt.get(host.name) ?? 0)
    this.#lastAt.set(host.name, atMs)
    this.#later(atMs - this.#now, mayPass)
  }

  #tell(from: string, message: HealthMessage): void {
    if (message.type !== 'heartbeat') return void this.step({ on: 'message', from, message })
    const before = this.#unit.counters.beats_verified ?? 0
    this.step({ on: 'message', from, message })
    const [entry] = message.entries
    const name = this.hosts.find(h => h.host === entry!.host)!.name
    const after = this.#unit.counters.beats_verified ?? 0
    if (after > before) this.#verified.add(`${this.#unitLife} ${name} ${entry!.token}`)
  }

  #beatLater(host: ModelHost): void {
    const { instance } = host.version
    this.#later(host.nextBeatMs - this.#now, () => {
      if (this.dead.has(host.name) || host.version.instance !== instance) return
      let entry = host.beat()
      if (entry === null) {
        this.#changed(host, () => host.change([]))
        entry = host.beat()!
      }
      const message = heartbeat([entry], this.#random() < 0.5 ? 0 : 3)
      this.#heard.push(entry)
      if (message.type === 'heartbeat' && message.leader === 0)
        this.#overLink(host, () => this.#tell(host.name, message))
      else if (this.#random() >= this.loss) {
        const leader = this.hosts[Math.floor(this.#random() * this.hosts.length)]!.name
        const life = this.#unitLife
        this.#later(this.#random() * (this.loss > 0 ? 4000 : 600), () => {
          if (life === this.#unitLife) this.#tell(leader, message)
        })
      }
      this.#beatLater(host)
    })
  }

  #changed(host: ModelHost, change: () => HealthMessage): void {
    this.#end(host)
    const message = change()
    this.#record(host)
    this.#overLink(host, () => this.#tell(host.name, message))
  }

  #record(host: ModelHost): void {
    const past = { rows: sorted(host.rows.values()), endedMs: Number.POSITIVE_INFINITY }
    this.#past.set(key(host.name, host.version), past)
  }

  #end(host: ModelHost): void {
    this.#past.get(key(host.name, host.version))!.endedMs = this.unitNow
  }

  #later(inMs: number, run: () => void): void {
    this.#queue.push({ atMs: this.#now + inMs, order: this.#orders++, run })
  }

  #check(): void {
    for (const { name, version, inForce, leaseUntilMs, rows } of this.#unit.hosts()) {
      if (version !== null) assert.equal(sorted(rows), this.#past.get(key(name, version))!.rows)
      else assert.is(rows.length, 0)
      const leaseMs = 3000 + TOLERANCE_MS
      if (leaseUntilMs <= this.unitNow) continue
      assert.ok(inForce !== null, 'a lease for nothing')
      const endedMs = Math.min(this.unitNow, this.#past.get(key(name, inForce!))!.endedMs)
      assert.ok(leaseUntilMs <= endedMs + leaseMs, `${name}: ${leaseUntilMs - endedMs} ms after the change`)
    }
  }
}
