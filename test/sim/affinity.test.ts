/**
 * Sessions of clients at several load balancing units (R-C2, R-C7), which hear of each other late, and not in the same order: restarts, hosts that
 * fail, fill up and come back, in virtual time. What must hold is said in `check` and `settle`.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Affinity, type AffinityChoice } from '../../src/agent/classify/affinity.ts'
import { WAITS } from '../../src/agent/classify/allotment.ts'
import { writeClientKey } from '../../src/agent/classify/client-key.ts'
import { HealthAllotment } from '../../src/agent/classify/health-allotment.ts'
import type { DirectoryIndex, ServiceEntry } from '../../src/agent/dataplane/directory.ts'
import { ATOM_OP, ATOM_WORDS } from '../../src/agent/dataplane/messages.ts'
import { directory } from '../support/cores.ts'
import { seeded } from '../support/random.ts'

const it = suite('affinity of several units')
const SEEDS = 200
const CLIENTS = 12
const UNITS = 3
const TIMEOUT_MS = 40_000
const LATEST_MS = 60
/** A unit that begins has heard of all after so long. */
const HEARS_MS = 1_000

interface Word {
  readonly atMs: number
  readonly to: number
  readonly key: Uint32Array
  readonly host: number
}

/** What is true of the hosts. */
class Hosts {
  readonly down = new Set<number>()
  readonly full = new Set<number>()
}

class Unit {
  readonly index: DirectoryIndex = directory()
  readonly service: ServiceEntry
  readonly allotment: HealthAllotment
  affinity!: Affinity
  readonly #hosts: Hosts
  #number = 0

  constructor(hosts: Hosts) {
    this.#hosts = hosts
    const { directory: value } = this.index
    this.service = { ...value.services[0]!, affinity: { prefix: 32, prefix6: 64, timeoutMs: TIMEOUT_MS } }
    this.index.replace({ ...value, services: [this.service] })
    this.allotment = new HealthAllotment(this.index, 1, 2)
    this.restart(0)
  }

  /** It knows nothing any more. */
  restart(nowMs: number): void {
    const choice: AffinityChoice = this.allotment
    this.affinity = new Affinity({ directory: this.index, choice, capacity: 64, k0: 3, k1: 4 })
    this.affinity.turn(nowMs)
    if (nowMs > 0) this.affinity.begin()
  }

  allot(nowMs: number): void {
    const { down, full } = this.#hosts
    this.allotment.turn(nowMs)
    const up = [1, 2, 3].filter(host => !down.has(host))
    this.allotment.take({
      complete: true,
      leases: [1, 2, 3].map(host => ({ host, untilMs: Number.POSITIVE_INFINITY })),
      services: [
        {
          index: 0,
          allotment: {
            ...{ number: ++this.#number, scheme: 'percentages', strategy: 'round-robin', panic: false },
            untilMs: Number.POSITIVE_INFINITY,
            shares: up.map(host => ({ host, weight: full.has(host) ? 1 : 50, tokens: 0 })),
          },
          states: [1, 2, 3].map(host => ({
            ...{ host, state: down.has(host) ? ('draining' as const) : ('active' as const), weight: 50 },
            ...(full.has(host) ? { full: true as const } : {}),
          })),
        },
      ],
    })
  }
}

class World {
  readonly hosts = new Hosts()
  readonly units = Array.from({ length: UNITS }, () => new Unit(this.hosts))
  readonly random: () => number
  nowMs = 0
  #words: Word[] = []
  readonly #open: { at: number; key: Uint32Array; host: number }[] = []
  /** By client: what the newest atom of it says. The atom manager keeps it, whoever starts anew. */
  readonly #atoms = new Map<string, { key: Uint32Array; host: number; atMs: number }>()
  /** When something last became of a host. */
  changedMs = 0
  asked = 0
  /** By client: when a unit last had to guess. */
  readonly #guessedMs = new Map<string, number>()

  constructor(seed: number) {
    this.random = seeded(seed)
    for (const unit of this.units) unit.allot(0)
  }

  below(count: number): number {
    return Math.floor(this.random() * count)
  }

  flow(client: number): Uint32Array {
    const key = new Uint32Array(10)
    key.set([0, 0, 0xffff, 0xcb007100 + client])
    key.set(this.units[0]!.service.vip, 4)
    key[8] = ((1024 + this.below(60_000)) << 16) | 80
    key[9] = 6
    return key
  }

  /** Packets of connections that have gone on since. */
  use(): void {
    for (const { at, key, host } of this.#open) {
      this.units[at]!.affinity.inUse(this.units[at]!.service, key, 0, host)
      this.#carry(at)
    }
    if (this.#open.length > 40) this.#open.splice(0, 20)
  }

  /** A connection that stands, or (a flood's) one that never will. */
  connect(at: number, client: number, stands = true): number {
    const { affinity, service } = this.units[at]!
    const key = this.flow(client)
    let host = affinity.choose(service, key, 0, true)
    if (host === WAITS) host = this.#ask(at, key)
    if (host !== 0 && stands) {
      affinity.inUse(service, key, 0, host)
      this.#open.push({ at, key, host })
    }
    this.#carry(at)
    return host
  }

  /** The others are asked about the client of a unit that has begun: one question in eight is not answered, and the packet waits for nothing more. */
  #ask(at: number, flow: Uint32Array): number {
    const { affinity, service } = this.units[at]!
    const key = flow.slice()
    writeClientKey(flow, 0, service.affinity!, key)
    this.pass(this.below(5))
    this.asked++
    const certain = this.random() > 0.125
    const atom = this.#atoms.get(key.join())
    if (certain && atom !== undefined) affinity.learnt(key, atom.host)
    else if (certain) affinity.nobodys(key)
    let host = 0
    affinity.goesOn(key, certain, () => {
      host = affinity.choose(service, flow, 0, true)
    })
    // It may be another one. Nobody else follows it, and its unit not for long.
    if (!certain) this.#guessedMs.set(key.join(), this.nowMs)
    return host
  }

  /** What a unit tells, to the others: each hears at its own time, of one client in order. */
  #carry(at: number): void {
    const words = this.units[at]!.affinity.queue.take()
    for (let i = 0; i < words.length; i += ATOM_WORDS) {
      const key = words.slice(i, i + 10)
      const client = key.join()
      const host = words[i + 10]!
      if (words[i + 11] === ATOM_OP.end) continue
      // It gives way to what there is, and its unit is told.
      const there = this.#atoms.get(client)
      if (words[i + 11] === ATOM_OP.unheard && there !== undefined) {
        this.#words.push({ atMs: this.nowMs + this.below(LATEST_MS), to: at, key, host: there.host })
        continue
      }
      this.#atoms.set(client, { key, host, atMs: this.nowMs })
      for (let to = 0; to < UNITS; to++)
        if (to !== at) this.#words.push({ atMs: this.nowMs + this.below(LATEST_MS), to, key, host })
    }
  }

  /** A replaced atom never comes after the one that replaced it: late copies lose. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms
    const due = this.#words.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)
    this.#words = this.#words.filter(({ atMs }) => atMs > endMs)
    for (const { atMs, to, key, host } of due) {
      this.#turn(Math.max(this.nowMs, atMs))
      if (this.#atoms.get(key.join())?.host === host) this.units[to]!.affinity.learnt(key, host)
    }
    this.#turn(endMs)
  }

  #turn(nowMs: number): void {
    this.nowMs = nowMs
    for (const { affinity, allotment } of this.units) {
      allotment.turn(nowMs)
      affinity.turn(nowMs)
      affinity.tick()
    }
  }

  /** The unit begins anew, and gets all atoms from the others, by and by. */
  restart(at: number): void {
    this.units[at]!.restart(this.nowMs)
    for (const { key, host } of this.#atoms.values())
      this.#words.push({ atMs: this.nowMs + this.below(HEARS_MS), to: at, key, host })
  }

  /** Index of the host that all units know for the client's; 0: they may not. */
  settled(client: number): number {
    const key = this.flow(client)
    writeClientKey(key, 0, { prefix: 32, prefix6: 64 }, key)
    const atom = this.#atoms.get(key.join())
    if (atom === undefined || atom.atMs <= this.changedMs || this.nowMs - atom.atMs <= LATEST_MS) return 0
    return this.units[0]!.index.hostAt(atom.host)!.index
  }

  hasGuessed(client: number): boolean {
    const key = this.flow(client)
    writeClientKey(key, 0, { prefix: 32, prefix6: 64 }, key)
    return this.nowMs - (this.#guessedMs.get(key.join()) ?? Number.NEGATIVE_INFINITY) <= LATEST_MS
  }

  change(): void {
    this.changedMs = this.nowMs
    const host = 1 + this.below(3)
    const set = this.random() < 0.5 ? this.hosts.down : this.hosts.full
    if (set.has(host)) set.delete(host)
    else if (set !== this.hosts.down || set.size < 2) set.add(host)
    for (const unit of this.units) unit.allot(this.nowMs)
  }
}

/** Answers how many connections were bound to go where they went. */
const run = (seed: number): number => {
  const world = new World(seed)
  const { down, full } = world.hosts
  let bound = 0
  for (let step = 0; step < 400; step++) {
    const what = world.random()
    if (what < 0.01) world.change()
    else if (what < 0.015) world.restart(world.below(UNITS))
    else if (what < 0.05) world.use()
    else if (what < 0.1) world.connect(world.below(UNITS), 1000 + world.below(1000), false)
    else {
      const client = world.below(CLIENTS)
      const expected = world.settled(client)
      const host = world.connect(world.below(UNITS), client)
      assert.ok(host !== 0 && !down.has(host), `seed ${seed}, step ${step}: nothing new goes to host ${host}`)
      // What all units have had the time to hear of, or to ask for, binds them.
      if (expected === 0 || world.hasGuessed(client)) continue
      bound++
      assert.is(host, expected, `seed ${seed}, step ${step}: client ${client} left a host for no reason`)
    }
    world.pass(world.below(30))
  }
  // Quiet: all are well, and every unit sends a client where the others do.
  down.clear()
  full.clear()
  for (const unit of world.units) unit.allot(world.nowMs)
  for (let client = 0; client < CLIENTS; client++) {
    // One that has ignored word of a host that was bad says so at its next use.
    for (let at = 0; at < UNITS; at++) {
      world.pass(LATEST_MS)
      world.connect(at, client)
    }
    world.pass(LATEST_MS)
    const hosts = world.units.map((_, at) => world.connect(at, client))
    assert.is(new Set(hosts).size, 1, `seed ${seed}: client ${client} goes to ${hosts}`)
  }
  // And nothing stays for ever.
  world.pass(TIMEOUT_MS)
  for (const { affinity } of world.units) assert.is(affinity.size, 0)
  return bound
}

it(`${SEEDS} seeds: no client leaves a host without a reason, none goes to a bad one, all units agree`, () => {
  let bound = 0
  for (let seed = 1; seed <= SEEDS; seed++) bound += run(seed)
  assert.ok(bound > 30 * SEEDS, `${bound} connections were bound`)
})

it.run()
