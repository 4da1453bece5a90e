/**
 * The directive protocol against units that lose messages, lag behind in their data plane, are cut off, and forget everything: a row
 * that is not pending is followed by every unit that still has a lease, and no cache is ever anything but the table of its generation.
 */
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { verifyToken } from '../../../src/health/chain.ts'
import { isStricter } from '../../../src/health/host/directive.ts'
import type { HealthMessage, Row } from '../../../src/health/types.ts'
import {
  applyOperations,
  byId,
  endpointOf,
  HOST,
  HOST_SETTINGS,
  HostRig,
  keyOf,
  START_MS,
} from '../../support/health-host.ts'

const it = suite('health host: properties')

const UNITS = ['u1', 'u2', 'u3']
const PORTS = [80, 81, 82]
const LEASE_MS = HOST_SETTINGS.beatMs * HOST_SETTINGS.leaseBeats

interface Table {
  generation: number
  rows: Map<number, Row>
  anchor: string
  anchorBeat: number
}
const copy = (table: Table): Table => ({ ...table, rows: new Map(table.rows) })

/** A slow, obvious unit; its clock is the host's own, so that its leases are as long as they may be. */
class ModelUnit {
  isLinked = true
  isLazy = false
  held: Table | null = null
  inForce: Table | null = null
  leaseUntilMs = 0
  asked: Extract<HealthMessage, { type: 'postulate' }> | null = null

  take(message: HealthMessage, answer: (message: HealthMessage) => void): void {
    const ask = () => answer({ type: 'get-snapshot', host: HOST, request: 1, chunks: [] })
    if (message.type === 'row-change') {
      const { generation } = message.version
      if (this.held !== null && generation <= this.held.generation) return
      if (this.held === null || generation !== this.held.generation + 1) return ask()
      const { rows } = copy(this.held)
      applyOperations(rows, message.operations)
      this.held = { generation, rows, anchor: message.anchor, anchorBeat: message.anchorBeat }
    } else if (message.type === 'send-snapshot') {
      const rows = new Map(message.chunks.flatMap(({ rows }) => rows).map(row => [row.id, row]))
      this.held = { ...message.version, rows, anchor: message.anchor, anchorBeat: message.anchorBeat }
    } else if (message.type === 'heartbeat') {
      const { token, beat } = message.entries[0]!
      const { held } = this
      if (held === null || !verifyToken({ token: held.anchor, position: 0 }, token, beat - held.anchorBeat))
        return ask()
      if (this.inForce?.generation === held.generation)
        this.leaseUntilMs = START_MS + (beat - 1) * HOST_SETTINGS.beatMs + LEASE_MS
    } else if (message.type === 'postulate') {
      const { postulate } = message
      this.asked = message
      if (this.held !== null && this.held.generation >= message.version.generation) {
        const differs = wrongOf(this.held, message)
        if (differs.length > 0) answer({ type: 'postulate-wrong', host: HOST, postulate, differs })
      } else answer({ type: 'postulate-wrong', host: HOST, postulate, differs: [] })
    }
    if (!this.isLazy) this.apply(answer)
  }

  apply(answer: (message: HealthMessage) => void): void {
    this.inForce = this.held
    const { asked, inForce } = this
    if (asked === null || inForce === null || inForce.generation < asked.version.generation) return
    this.asked = null
    if (wrongOf(inForce, asked).length === 0)
      answer({ type: 'postulate-right', host: HOST, postulate: asked.postulate })
  }

  forget(): void {
    this.held = null
    this.inForce = null
    this.asked = null
    this.leaseUntilMs = 0
  }
}
const wrongOf = ({ rows }: Table, { states }: Extract<HealthMessage, { type: 'postulate' }>): number[] =>
  states.filter(({ id, state }) => rows.get(id)?.target !== state).map(({ id }) => id)

const port = fc.constantFrom(...PORTS)
const unit = fc.constantFrom(...UNITS)
const state = fc.constantFrom('active' as const, 'draining' as const, 'inactive' as const, null)
const command = fc.oneof(
  fc.record({ kind: fc.constant('endpoints' as const), ports: fc.uniqueArray(port, { minLength: 1 }) }),
  fc.record({
    kind: fc.constant('health' as const),
    port,
    health: fc.constantFrom('healthy' as const, 'failing' as const),
  }),
  fc.record({ kind: fc.constant('order' as const), port: fc.option(port), state }),
  fc.record({ kind: fc.constant('load' as const), port, percent: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant('link' as const), unit, up: fc.boolean() }),
  // Cut off without anyone being told.
  fc.record({ kind: fc.constant('cut' as const), unit, isCut: fc.boolean() }),
  fc.record({ kind: fc.constant('lazy' as const), unit, isLazy: fc.boolean() }),
  fc.record({ kind: fc.constant('forget' as const), unit }),
  fc.record({ kind: fc.constant('members' as const), units: fc.uniqueArray(unit) }),
  {
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 2500 }) }),
    weight: 6,
  },
)
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never

class World {
  readonly rig = new HostRig({}, UNITS)
  readonly units = new Map(UNITS.map(name => [name, new ModelUnit()]))
  readonly cut = new Set<string>()
  /** Fed by row changes alone, on a link that is never down. */
  readonly cache = new Map<number, Row>()
  readonly tables = new Map<number, Row[]>()
  currents = new Map<number, Row>()
  settled = 0

  run({ kind, ...rest }: Command): void {
    const { rig } = this
    const given = { kind, ...rest } as Command
    if (given.kind === 'endpoints')
      rig.step({ on: 'endpoints', endpoints: given.ports.map(p => endpointOf(p)) })
    else if (given.kind === 'health') rig.step({ on: 'health', app: keyOf(given.port), health: given.health })
    else if (given.kind === 'load') rig.step({ on: 'load', app: keyOf(given.port), percent: given.percent })
    else if (given.kind === 'members') rig.step({ on: 'units', units: [...given.units, 'witness'] })
    else if (given.kind === 'order')
      rig.step({ on: 'order', app: given.port === null ? '*' : keyOf(given.port), state: given.state })
    else if (given.kind === 'link') this.link(given.unit, given.up)
    else if (given.kind === 'cut') given.isCut ? this.cut.add(given.unit) : this.cut.delete(given.unit)
    else if (given.kind === 'lazy') this.units.get(given.unit)!.isLazy = given.isLazy
    else if (given.kind === 'forget') this.units.get(given.unit)!.forget()
    else this.pass(given.ms)
    this.deliver()
  }

  link(name: string, up: boolean): void {
    this.units.get(name)!.isLinked = up
    this.rig.step({ on: 'link', unit: name, up })
    if (up) this.reply(name, { type: 'get-snapshot', host: HOST, request: 1, chunks: [] })
  }

  reply(from: string, message: HealthMessage): void {
    if (this.cut.has(from) || !this.units.get(from)!.isLinked) return
    this.rig.step({ on: 'message', from, message })
  }

  deliver(): void {
    for (let rounds = 0; this.rig.sent.length > 0; rounds++) {
      assert.ok(rounds < 50, 'messages without end')
      const sent = this.rig.sent
      this.rig.sent = []
      for (const { to, message } of sent) {
        if (to === 'witness') this.witness(message)
        const unit = this.units.get(to)
        if (unit === undefined || this.cut.has(to) || !unit.isLinked) continue
        unit.take(message, answer => this.reply(to, answer))
      }
    }
    this.check()
  }

  witness(message: HealthMessage): void {
    if (message.type === 'postulate') {
      const { postulate } = message
      this.rig.step({
        on: 'message',
        from: 'witness',
        message: { type: 'postulate-right', host: HOST, postulate },
      })
    }
    if (message.type !== 'row-change') return
    applyOperations(this.cache, message.operations)
    this.tables.set(message.version.generation, byId(this.cache.values()))
  }

  /** In small steps, so that nothing goes unseen. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 50) {
      this.rig.pass(Math.min(50, left))
      this.deliver()
    }
  }

  check(): void {
    const { rig } = this
    assert.equal(byId(this.cache.values()), byId(rig.host.rows()))
    const pending = new Set(rig.host.pending().map(({ id }) => id))
    for (const row of rig.host.rows()) {
      if (!pending.has(row.id)) assert.is(row.current, row.target)
      for (const [name, { inForce, leaseUntilMs }] of this.units) {
        const followed = inForce?.rows.get(row.id)
        if (followed === undefined || leaseUntilMs <= rig.nowMs || pending.has(row.id)) continue
        assert.not.ok(isStricter(row.current, followed.target), `${name} still follows ${followed.target}`)
      }
    }
    for (const { held } of this.units.values())
      if (held !== null && this.tables.has(held.generation))
        assert.equal(byId(held.rows.values()), this.tables.get(held.generation))
  }
}

const start = (): World => {
  const world = new World()
  world.rig.step({ on: 'units', units: [...UNITS, 'witness'] })
  world.rig.step({ on: 'link', unit: 'witness', up: true })
  for (const name of UNITS) world.link(name, true)
  world.deliver()
  world.rig.step({ on: 'endpoints', endpoints: PORTS.map(p => endpointOf(p)) })
  world.deliver()
  return world
}

it('lets no unit that has a lease follow less than what is current', () => {
  let settled = 0
  fc.assert(
    fc.property(fc.array(command, { minLength: 20, maxLength: 150, size: 'max' }), commands => {
      const world = start()
      for (const each of commands) world.run(each)
      settled += world.rig.actions.filter(({ do: what }) => what === 'settled').length
    }),
    { numRuns: 100 },
  )
  assert.ok(settled > 150, `the runs settle directives: ${settled}`)
})

it('settles everything once all is well again, whatever happened before', () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 10, maxLength: 60, size: 'max' }), commands => {
      const world = start()
      for (const each of commands) world.run(each)
      world.cut.clear()
      for (const [name, unit] of world.units) {
        unit.isLazy = false
        unit.apply(answer => world.reply(name, answer))
        world.link(name, true)
      }
      world.run({ kind: 'members', units: UNITS })
      world.pass(5000)
      assert.equal(world.rig.host.pending(), [])
      for (const unit of world.units.values())
        assert.equal(byId(unit.inForce!.rows.values()), byId(world.rig.host.rows()))
    }),
    { numRuns: 40 },
  )
})

it.run()
