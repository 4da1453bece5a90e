/** Random lives of hosts and a unit: what is held and for how long is never wrong, and in quiet times it is complete (R-B5, R-B8). */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { HealthMessage, HeartbeatEntry } from '../../../src/health/types.ts'
import { sameVersion } from '../../../src/health/unit/types.ts'
import { heartbeat, type ModelHost, modelRow } from '../../support/model-host.ts'
import { seeded } from '../../support/random.ts'
import { UnitWorld } from '../../support/unit-world.ts'

const it = suite('health/unit property')
const HOSTS = 3

type Command = { kind: number; host: number; other: number; id: number; pauseMs: number }

const commands = fc.array(
  fc.record({
    kind: fc.nat({ max: 11 }),
    host: fc.nat({ max: HOSTS - 1 }),
    other: fc.nat({ max: HOSTS - 1 }),
    id: fc.integer({ min: 1, max: 40 }),
    pauseMs: fc.oneof(fc.constant(0), fc.nat({ max: 400 }), fc.nat({ max: 6000 })),
  }),
  { minLength: 5, maxLength: 60 },
)

/** Messages about `host` that are not from it, or whose tokens prove nothing. */
const lies = (host: ModelHost, entry: HeartbeatEntry | undefined, id: number): HealthMessage[] => {
  const { version } = host
  const next = { ...version, generation: version.generation + 1 }
  const chain = { anchor: '11'.repeat(8), anchorBeat: host.anchorBeat }
  const row = modelRow(id, { target: 'inactive' })
  const forged = {
    host: host.host,
    token: '22'.repeat(8),
    hello: id % 2 === 0,
    forward: true,
    dnsName: 'evil',
  }
  const said = entry ?? { ...forged, beat: 1 }
  return [
    { type: 'row-change', host: host.host, version: next, ...chain, operations: [{ operation: 'add', row }] },
    { type: 'goodbye', host: host.host, reason: '' },
    { type: 'postulate', host: host.host, version, postulate: 1, states: [] },
    host.answer({ type: 'get-snapshot', host: host.host, request: 5_001_001 + id, chunks: [] }, 0),
    heartbeat([{ ...forged, beat: said.beat + (id % 4) }], 2),
    heartbeat([{ ...said, beat: said.beat + 1 + (id % 3), dnsName: 'evil' }], 2),
    heartbeat([{ ...said, host: 100 + ((host.host - 100 + 1) % HOSTS) }], 2),
  ]
}

const play = (world: UnitWorld, { kind, host: index, other, id, pauseMs }: Command): void => {
  const host = world.hosts[index]!
  if (kind <= 2) world.set(host, modelRow(id, { load: (kind * 40 + pauseMs) % 256 }))
  else if (kind === 3) world.delete(host, [...host.rows.keys()][0] ?? id)
  else if (kind === 4) world.kill(host)
  else if (kind === 5) world.restart(host)
  else if (kind === 6) world.restartUnit()
  else if (kind === 7) world.flap(host, id * 50)
  else if (kind === 8) world.loss = [0.1, 0.3, 0.6][other]!
  else if (kind === 9) for (let i = 0; i <= id; i++) world.replay()
  else {
    const from = kind === 10 || other === index ? 'stranger' : `h${other}`
    for (const lie of lies(host, world.newestEntry(host), id)) world.lie(from, lie)
  }
  world.run(pauseMs)
}

/** What of the living hosts is not yet as it must become. */
const unsettled = (world: UnitWorld): string[] =>
  world.unit.hosts().flatMap(({ name, version, inForce, leaseUntilMs }) => {
    const host = world.hosts.find(h => h.name === name)!
    const leaseMs = leaseUntilMs - world.unitNow
    if (world.dead.has(name)) return leaseMs > 0 ? [`${name} is dead and has a lease`] : []
    if (!sameVersion(version, host.version)) return [`${name}: not the version of the host`]
    if (!sameVersion(inForce, host.version)) return [`${name}: not in force`]
    return leaseMs > 500 ? [] : [`${name}: lease ${leaseMs}`]
  })

const settle = (world: UnitWorld): void => {
  world.loss = 0
  for (const host of world.hosts) if (!world.dead.has(host.name)) world.link(host.name, true)
  world.run(20_000)
  // Hosts begin new chains now and then, so there is not one time at which all must be settled.
  for (let i = 0; i < 16 && unsettled(world).length > 0; i++) world.run(500)
  assert.equal(unsettled(world), [])
  for (const host of world.hosts) if (world.dead.has(host.name)) world.link(host.name, false)
  world.run(35_000)
  for (const cached of world.unit.hosts())
    if (world.dead.has(cached.name))
      assert.equal([cached.version, cached.inForce, cached.rows], [null, null, []])
}

it('the cache is never wrong, no lease outlives its rows by more than its length, and all is found again', () => {
  const seen: Record<string, number> = {}
  fc.assert(
    fc.property(commands, fc.nat(), fc.constantFrom(-2e-4, 0, 2e-4), (list, seed, drift) => {
      const world = new UnitWorld({ random: seeded(seed), hosts: HOSTS, drift })
      for (const command of list) play(world, command)
      settle(world)
      for (const [counter, n] of Object.entries(world.counters)) seen[counter] = (seen[counter] ?? 0) + n
    }),
    { numRuns: 300, includeErrorInReport: true },
  )
  const all =
    'beats_verified beats_old beats_late beats_wrong beats_no_table leases row_changes row_changes_unfit'
  for (const counter of `${all} snapshots_taken snapshots_unasked hosts_aged refused`.split(' '))
    assert.ok(seen[counter]! > 10, `${counter} ${seen[counter]}`)
})

it.run()
