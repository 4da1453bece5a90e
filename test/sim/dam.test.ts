/** The distributed atom manager in virtual time: no acknowledged atom is lost, no end forgotten, one owner each, whatever happens. */
// test-timeout-ms: 600000
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DamRun } from '../support/sim/dam-run.ts'
import { forSeeds } from '../support/sim/seeds.ts'

const it = suite('atom manager simulation')
const SEEDS = Number(process.env.SEEDS ?? 200)

const busy = (run: DamRun, ms: number): void => {
  for (let left = ms; left > 0; left -= 40) {
    for (let i = run.world.integer(4); i > 0; i--) run.open()
    const live = run.sessions.filter(({ open }) => open)
    if (live.length > 0 && run.world.chance(0.5)) run.move(run.world.pick(live))
    if (live.length > 0 && run.world.chance(0.5)) run.end(run.world.pick(live))
    run.run(40)
  }
}

/** As many members at a time as the lowest level bears. */
const trouble = (run: DamRun, losses: number): void => {
  const names = run.world.shuffled([...run.nodes.keys()])
  switch (run.world.integer(5)) {
    case 0: {
      const victims = names.slice(0, Math.min(losses, names.length - 1))
      for (const name of victims) run.crash(name)
      if (run.world.chance(0.5)) run.run(run.world.integer(2_000))
      for (const name of victims) run.start(name)
      return
    }
    case 1: {
      run.counts.partitions++
      const cut = 1 + run.world.integer(names.length - 1)
      run.network.partition(names.slice(0, cut), names.slice(cut))
      busy(run, 200 + run.world.integer(6_000))
      run.network.heal()
      return
    }
    case 2:
      for (let i = 0; i < 10; i++) {
        run.links.cut(run.world.pick(names), run.world.pick(names))
        busy(run, 100)
      }
      return
    case 3: {
      const [name] = names
      const node = run.nodes.get(name!)!
      if (names.length < 3) return
      node.leaving = true
      for (let i = 0; i < 20 && !node.dam.hasLeft; i++) run.run(250)
      assert.ok(node.dam.hasLeft, `${name} cannot leave`)
      run.crash(name!)
      run.counts.left++
      return
    }
    default:
      run.start(`late-${run.nodes.size}-${run.counts.opened}`)
  }
}

it('keeps acknowledged atoms, ends and owners through crashes, partitions, cuts, joins and leaves', () => {
  const total: Record<string, number> = {}
  forSeeds(SEEDS, 'test/sim/dam.test.ts', seed => {
    const losses = 1 + (seed % 2)
    const run = new DamRun(seed, {
      members: 3 + (seed % 3),
      levels: seed % 7 === 0 ? [15] : [losses, losses + 1],
    })
    for (let round = 0; round < 4; round++) {
      busy(run, 600)
      run.settle()
      run.check()
      trouble(run, losses)
      if (run.world.chance(0.5)) busy(run, 300)
      run.settle()
      run.check()
    }
    for (const [name, count] of Object.entries(run.counts)) total[name] = (total[name] ?? 0) + count
  })
  if (process.env.SEED === undefined)
    for (const [name, count] of Object.entries(total)) assert.ok(count > SEEDS / 4, `only ${count} ${name}`)
})

it.run()
