/** Whole clusters of the cores of health and load in virtual time: directives, leases, caches and leaders, in whatever trouble. */
// test-timeout-ms: 600000
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bug } from '../support/sim/health-bugs.ts'
import { HealthRun, type RunOptions } from '../support/sim/health-run.ts'
import { firstFailure, forSeeds } from '../support/sim/seeds.ts'

const it = suite('health simulation')
const EVENTS = 40
/** The rarest shows in one of 150. */
const SEEDS_OF_A_BUG = 1200
const SEEDS = Number(process.env.SEEDS ?? 1000)

it('keeps directives, leases and caches through cuts, partitions, crashes, freezes and lies', () => {
  const counts = { chosen: 0, lastResort: 0, directives: 0 }
  forSeeds(SEEDS, 'test/sim/health.test.ts', seed => {
    const run = new HealthRun(seed)
    run.play(EVENTS)
    for (const kind of ['chosen', 'lastResort', 'directives'] as const)
      counts[kind] += run.invariants.counts[kind]
  })
  // A run in which little happened would prove little.
  if (process.env.SEED !== undefined) return
  assert.ok(counts.chosen > 400 * SEEDS, `${counts.chosen} choices of units`)
  assert.ok(counts.directives > SEEDS, `${counts.directives} directives became current`)
  if (SEEDS >= 100) assert.ok(counts.lastResort > 0, 'no unhealthy host was used for want of a better one')
})

it('replays a seed exactly', () => {
  const digest = (): string => {
    const run = new HealthRun(7)
    run.play(EVENTS)
    const nodes = [...run.nodes.values()]
    const held = nodes.map(node => node.core?.unit?.hosts() ?? node.core?.host?.version ?? null)
    return `${JSON.stringify(held)} ${run.world.random()}`
  }
  assert.is(digest(), digest())
})

it('the death of a leader costs no other host its lease', () => {
  forSeeds(Math.min(SEEDS, 40), 'test/sim/health.test.ts', seed => {
    const run = new HealthRun(seed, { hosts: 5, units: 2, directHosts: 3, groupSize: 32, maxDelayMs: 20 })
    run.world.run(8000)
    const [leader, ...more] = run.leaders()
    assert.ok(leader !== undefined && more.length === 0, 'one leader of one group')
    leader.crash()
    for (let ms = 0; ms < 8000; ms += 100) {
      run.world.run(100)
      for (const unit of run.nodes.values())
        for (const host of run.nodes.values()) {
          if (!unit.isChoosing || host.core?.host == null || host.table.size === 0) continue
          const leftMs = unit.plane.leaseUntilMs(host.name) - unit.nowMs
          assert.ok(leftMs > 0, `${unit.name} has no lease of ${host.name} ${ms} ms after the leader's end`)
        }
    }
    assert.is(run.leaders().length, 1, 'another leads')
  })
})

it('a new document costs no host its lease, and groups that are cut anew have one leader each', () => {
  forSeeds(Math.min(SEEDS, 60), 'test/sim/health.test.ts', seed => {
    const cut = { groupSize: 32, directHosts: 3, overload: { drain: 95, resume: 75, forMs: 3000 } }
    const full = { ...cut, leaseBeats: 3, mode: 'full', forwardEvery: 1 } as const
    const changes = { ...cut, leaseBeats: 6, mode: 'changes', forwardEvery: 3 } as const
    const run = new HealthRun(seed, {
      hosts: 9,
      units: 2,
      ...full,
      maxDelayMs: 20,
      applyMs: 20,
      slowApplies: 0,
    })
    run.world.run(8000)
    for (const policy of [
      { ...full, groupSize: 3 },
      { ...changes, groupSize: 4 },
      { ...full, directHosts: 9 },
      changes,
    ]) {
      run.changePolicy(policy)
      for (let ms = 0; ms < 9000; ms += 100) {
        run.world.run(100)
        for (const unit of run.nodes.values())
          for (const host of run.nodes.values()) {
            if (!unit.isChoosing || host.core?.host == null || host.table.size === 0) continue
            const leftMs = unit.plane.leaseUntilMs(host.name) - unit.nowMs
            const when = `${ms} ms after ${JSON.stringify(policy)}`
            assert.ok(leftMs > 0, `${unit.name} has no lease of ${host.name} ${when}`)
          }
      }
      const leaders = policy.directHosts === 9 ? 0 : Math.ceil(9 / policy.groupSize) === 1 ? 1 : 4
      assert.is(run.leaders().length, leaders, JSON.stringify(policy))
    }
  })
})

const caught = (bug: Bug, sign: RegExp, options: RunOptions = {}): void => {
  it(`catches a seeded bug: ${bug}`, () => {
    let why = ''
    const seed = firstFailure(SEEDS_OF_A_BUG, n => {
      try {
        new HealthRun(n, { ...options, bug }).play(EVENTS)
      } catch (error) {
        why = String(error)
        throw error
      }
    })
    assert.ok(seed !== undefined, `not caught in ${SEEDS_OF_A_BUG} seeds`)
    assert.match(why, sign)
  })
}

caught('wrong-is-right', /directive:/)
caught('lease-not-checked', /directive:|dead:/)
caught('never-forgets', /forgets:|goodbye:/)
caught('deaf-to-goodbye', /goodbye:|forgets:/)
// A node that is host and unit would hear the host's wrong idea of a lease itself.
caught('settles-at-once', /directive:/, { isMixed: false })
caught('right-before-applied', /directive:/)
caught('old-beats-renew', /dead:|directive:/)
caught('restart-not-told', /directive:/)
caught('keeps-long-leases', /dead:|directive:/)
caught('freezes-failing', /frozen:/)
caught('repairs-nothing', /converge:|dead:|directive:|lease:/)
caught('deaf-leader', /leader:/)

it.run()
