/** A cluster of atom managers in virtual time, with sessions whose truth is known: what trouble does, and what has to hold after it. */
import * as assert from 'uvu/assert'
import { PLACE } from '../../../src/dam/atom-table.ts'
import { decodeDam, encodeDam } from '../../../src/dam/codec.ts'
import { Dam } from '../../../src/dam/dam.ts'
import type { Waits } from '../../../src/dam/own.ts'
import { ATOM_KIND, type Atom, type Member } from '../../../src/dam/types.ts'
import { Links } from './links.ts'
import { nameHash } from './name-hash.ts'
import { Network } from './network.ts'
import { World } from './world.ts'

const DEAD_AFTER_MS = 300
const DEAD_MS = 3_000
const FLUSH_MS = 20
const IDLE_MS = 2_000
/** Client address of session 0. */
const FIRST_KEY = 0x0a000001

/** A session: the host's own knowledge, which is the truth. */
export interface Session {
  readonly key: Uint32Array
  readonly host: number
  readonly level: number
  open: boolean
  /** Stored where its level asks for it. */
  acknowledged: boolean
  /** Its end is. */
  endAcknowledged: boolean
  /** Where its packets go. */
  at: string
}

export interface DamNode {
  readonly name: string
  readonly hash: number
  readonly dam: Dam
  readonly incarnation: number
  /** Of its wall clock. */
  readonly skewMs: number
  readonly reachedMs: Map<string, number>
  leaving: boolean
}

export interface DamOptions {
  readonly members: number
  readonly capacity?: number
  readonly levels: readonly number[]
  /** How long an ended atom is kept. */
  readonly deadMs?: number
  /** How often what gathered leaves. */
  readonly flushMs?: number
  /** How often members compare what they hold. */
  readonly syncMs?: number
}

export class DamRun {
  readonly world: World
  readonly network: Network<never>
  readonly links: Links<Uint8Array>
  readonly nodes = new Map<string, DamNode>()
  readonly sessions: Session[] = []
  readonly options: DamOptions
  readonly counts = {
    opened: 0,
    moved: 0,
    ended: 0,
    crashed: 0,
    partitions: 0,
    left: 0,
    checked: 0,
    adopted: 0,
  }
  readonly #incarnations = new Map<string, number>()
  /** What of a session has yet to be stored where its level asks for it. */
  readonly #waiting = new Map<Session, Waits>()

  constructor(seed: number, options: DamOptions) {
    this.world = new World(seed)
    this.options = options
    this.network = new Network<never>(this.world)
    this.links = new Links<Uint8Array>(this.network)
    for (let i = 0; i < options.members; i++) this.start(`unit-${i}`)
    this.world.run(500)
  }

  start(name: string): void {
    const incarnation = (this.#incarnations.get(name) ?? 0) + 1
    this.#incarnations.set(name, incarnation)
    const dam = new Dam(
      {
        self: { member: name, incarnation },
        capacity: this.options.capacity ?? 4_096,
        sharedKey: [1, 2],
        tableKey: [this.world.integer(2 ** 32), this.world.integer(2 ** 32)],
        deadMs: this.options.deadMs ?? DEAD_MS,
        cacheMs: DEAD_MS,
        syncMs: this.options.syncMs ?? 500,
        queryMs: 60,
        aheadMs: 5_000,
      },
      {
        send: (member, message) =>
          this.links.send(name, member, encodeDam(message, { member: name, incarnation })),
        claimed: () => {},
      },
    )
    const node: DamNode = {
      name,
      hash: nameHash(name),
      dam,
      incarnation,
      skewMs: this.world.integer(200) - 100,
      reachedMs: new Map(),
      leaving: false,
    }
    this.nodes.set(name, node)
    this.network.attach(name, () => {})
    this.links.attach(name, {
      wants: () => true,
      up: peer => {
        node.reachedMs.set(peer, this.world.nowMs)
        this.#view(node)
        node.dam.linked(peer)
      },
      down: peer => node.reachedMs.set(peer, this.world.nowMs),
      receive: (peer, bytes) => {
        const from = node.dam.location.member(peer) ?? { member: peer, incarnation: 0 }
        node.dam.receive(peer, decodeDam(bytes, from), this.wallMs(node), this.world.nowMs)
      },
    })
    this.#view(node)
    const alive = (): boolean => this.nodes.get(name) === node
    const flush = (): void => {
      if (!alive()) return
      node.dam.flush(this.world.nowMs)
      this.world.after(this.options.flushMs ?? FLUSH_MS, flush)
    }
    const step = (): void => {
      if (!alive()) return
      this.#view(node)
      if (node.leaving) node.dam.leave()
      // As an agent does: again at once while there is something to look through.
      for (let i = 0; i < 16; i++) {
        node.dam.step(this.world.nowMs)
        if (node.dam.settled) break
      }
      this.#confirm(node)
      this.world.after(50, step)
    }
    this.world.after(this.world.integer(FLUSH_MS), flush)
    this.world.after(this.world.integer(50), step)
  }

  crash(name: string): void {
    this.nodes.delete(name)
    this.network.detach(name)
    this.links.detach(name)
    this.counts.crashed++
    for (const session of this.sessions) {
      if (session.at !== name) continue
      // Its packets come to another one from now on; what was not stored anywhere else is lost, and that was said.
      session.at = this.world.pick([...this.nodes.keys()])
      this.#wait(session, undefined)
      this.world.after(this.world.integer(2_000), () => this.#arrive(session, session.at))
    }
  }

  wallMs(node: DamNode): number {
    return this.world.nowMs + node.skewMs
  }

  open(): void {
    const node = this.world.pick([...this.nodes.values()])
    const key = Uint32Array.of(
      0,
      0,
      0xffff,
      FIRST_KEY + this.sessions.length,
      0,
      0,
      0xffff,
      0xc6336401,
      80,
      (ATOM_KIND.flow << 24) | 6,
    )
    const host = this.world.integer(2 ** 32)
    const level = this.world.pick(this.options.levels)
    const waits = node.dam.put(key, host, level, this.wallMs(node), this.world.nowMs)
    const session: Session = {
      key,
      host,
      level,
      open: true,
      acknowledged: false,
      endAcknowledged: false,
      at: node.name,
    }
    this.sessions.push(session)
    this.#wait(session, waits)
    this.counts.opened++
  }

  end(session: Session): void {
    const node = this.nodes.get(session.at)
    const waits = node?.dam.end(session.key, this.wallMs(node), this.world.nowMs)
    if (waits === undefined) return
    session.open = false
    this.#wait(session, waits)
    this.counts.ended++
  }

  /** The session's packets come to another unit. */
  move(session: Session): void {
    const name = this.world.pick([...this.nodes.keys()])
    if (name !== session.at) this.#arrive(session, name)
  }

  #arrive(session: Session, name: string): void {
    const node = this.nodes.get(name)
    node?.dam.query(session.key, this.world.nowMs, atom => {
      if (atom === null || atom.zombie || !session.open || this.nodes.get(name) !== node) return
      assert.is(atom.host, session.host, 'the host of another session')
      const waits = node.dam.put(session.key, atom.host, session.level, this.wallMs(node), this.world.nowMs)
      this.#wait(session, waits)
      session.acknowledged = false
      session.at = node.name
      this.counts.moved++
    })
  }

  /** Lets time pass, and sees what is acknowledged. */
  run(ms: number): void {
    for (let left = ms; left > 0; left -= 20) {
      this.world.run(Math.min(20, left))
      for (const [session, waits] of this.#waiting) {
        const node = this.nodes.get(session.at)
        if (node === undefined || !node.dam.isReplicated(waits)) continue
        // With fewer members than its level asks for there is no more to be had: then nothing was promised.
        const promised = node.dam.location.members.length > Math.min(session.level, this.nodes.size - 1)
        if (session.open) session.acknowledged = promised
        else session.endAcknowledged = promised
        this.#waiting.delete(session)
      }
    }
  }

  #wait(session: Session, waits: Waits | undefined): void {
    if (waits === undefined) this.#waiting.delete(session)
    else this.#waiting.set(session, waits)
  }

  settle(): void {
    this.run(DEAD_AFTER_MS + 3_000)
    for (let i = 0; i < 40 && ![...this.nodes.values()].every(({ dam }) => dam.settled); i++) this.run(250)
    this.run(1_500)
    for (const { name, dam } of this.nodes.values()) assert.ok(dam.settled, `${name} does not come to rest`)
  }

  /** What has to hold when nothing has happened for a while. */
  check(): void {
    for (const session of this.sessions) {
      if (session.open && session.acknowledged) this.#checkOpen(session)
      if (!session.open && session.endAcknowledged) this.#checkEnded(session)
    }
  }

  #checkOpen(session: Session): void {
    this.counts.checked++
    const name = `session ${session.key[3] - FIRST_KEY} (level ${session.level})`
    const owners: string[] = []
    let copies = 0
    const versions = new Set<number>()
    for (const node of this.nodes.values()) {
      const slot = node.dam.table.find(session.key)
      if (slot < 0) continue
      const place = node.dam.table.place(slot)
      if (place === PLACE.own) owners.push(node.name)
      if (place === PLACE.copy) copies++
      if (place === PLACE.own || place === PLACE.copy) versions.add(node.dam.table.generation(slot))
      assert.ok(place !== PLACE.zombie, `${name} has ended at ${node.name}, but it lives`)
      assert.is(node.dam.table.host(slot), session.host, `${name} has another host at ${node.name}`)
    }
    assert.is(owners.length, 1, `${name} has the owners ${owners.join(', ') || 'nobody'}`)
    assert.is(copies, Math.min(session.level, this.nodes.size - 1), `${name}: copies`)
    assert.is(versions.size, 1, `${name}: versions`)
    const asker = this.world.pick([...this.nodes.values()])
    let found: Atom | null | undefined
    asker.dam.query(session.key, this.world.nowMs, atom => {
      found = atom
    })
    this.run(200)
    assert.ok(found, `${asker.name} does not find ${name}`)
  }

  #checkEnded(session: Session): void {
    const name = `session ${session.key[3] - FIRST_KEY} (level ${session.level})`
    for (const { name: holder, dam } of this.nodes.values()) {
      const slot = dam.table.find(session.key)
      assert.ok(slot < 0 || dam.table.isZombie(slot), `${name}, which has ended, lives at ${holder}`)
    }
  }

  #view(node: DamNode): void {
    const members: Member[] = []
    for (const [name, other] of this.nodes) {
      const up = this.links.isUp(node.name, name)
      const reached = up ? this.world.nowMs : (node.reachedMs.get(name) ?? Number.NEGATIVE_INFINITY)
      if (name === node.name || reached + DEAD_AFTER_MS > this.world.nowMs)
        members.push({
          member: name,
          incarnation: this.#known(node, name, other, up),
          hash: other.hash,
          leaving: other.leaving,
        })
    }
    node.dam.members(members)
  }

  /** A node that began anew is another one only once it has said so. */
  #known(node: DamNode, name: string, other: DamNode, up: boolean): number {
    if (name === node.name || up) return other.incarnation
    return node.dam.location.member(name)?.incarnation ?? other.incarnation
  }

  #confirm(node: DamNode): void {
    for (const key of node.dam.unsure(100)) {
      this.counts.adopted++
      this.#ask(node, key)
    }
    for (const key of node.dam.idle(this.world.nowMs - IDLE_MS, 100)) this.#ask(node, key)
  }

  /** The hosts know. */
  #ask(node: DamNode, key: Uint32Array): void {
    const session = this.sessions[key[3] - FIRST_KEY]
    const { table } = node.dam
    const slot = table.find(key)
    if (session === undefined || slot < 0 || table.isZombie(slot)) return
    if (session.open) node.dam.touch(key, this.world.nowMs)
    else node.dam.end(key, this.wallMs(node), this.world.nowMs)
  }
}
