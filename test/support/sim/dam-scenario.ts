/** What happens to a cluster of atom managers in one run: sessions come, move and end, and between quiet times there is trouble. */
import * as assert from 'uvu/assert'
import { type DamOptions, DamRun } from './dam-run.ts'

const ROUNDS = 4
const TICK_MS = 40
/** A lone member has nobody to leave to. */
const LEAST_TO_LEAVE = 3

const busy = (run: DamRun, ms: number): void => {
  for (let left = ms; left > 0; left -= TICK_MS) {
    for (let i = run.world.integer(4); i > 0; i--) run.open()
    const live = run.sessions.filter(({ open }) => open)
    if (live.length > 0 && run.world.chance(0.5)) run.move(run.world.pick(live))
    if (live.length > 0 && run.world.chance(0.5)) run.end(run.world.pick(live))
    run.run(TICK_MS)
  }
}

const crashAndStart = (run: DamRun, victims: readonly string[]): void => {
  for (const name of victims) run.crash(name)
  if (run.world.chance(0.5)) run.run(run.world.integer(2_000))
  for (const name of victims) run.start(name)
}

const partition = (run: DamRun, names: readonly string[]): void => {
  run.counts.partitions++
  const cut = 1 + run.world.integer(names.length - 1)
  run.network.partition(names.slice(0, cut), names.slice(cut))
  busy(run, 200 + run.world.integer(6_000))
  run.network.heal()
}

const cutLinks = (run: DamRun, names: readonly string[]): void => {
  for (let i = 0; i < 10; i++) {
    run.links.cut(run.world.pick(names), run.world.pick(names))
    busy(run, 100)
  }
}

const leave = (run: DamRun, name: string): void => {
  const node = run.nodes.get(name)!
  node.leaving = true
  for (let i = 0; i < 20 && !node.dam.hasLeft; i++) run.run(250)
  assert.ok(node.dam.hasLeft, `${name} cannot leave`)
  run.crash(name)
  run.counts.left++
}

/** @param losses as many members at a time as the lowest level bears */
const trouble = (run: DamRun, losses: number): void => {
  const names = run.world.shuffled([...run.nodes.keys()])
  switch (run.world.integer(5)) {
    case 0:
      return crashAndStart(run, names.slice(0, Math.min(losses, names.length - 1)))
    case 1:
      return partition(run, names)
    case 2:
      cutLinks(run, names)
      if (run.world.chance(0.5)) crashAndStart(run, names.slice(0, Math.min(losses, names.length - 1)))
      return
    case 3:
      if (names.length >= LEAST_TO_LEAVE) leave(run, names[0]!)
      return
    default:
      run.start(`late-${run.nodes.size}-${run.counts.opened}`)
  }
}

/** One run; throws what does not hold. */
export const playDam = (seed: number, options: Partial<DamOptions> = {}): DamRun => {
  const losses = 1 + (seed % 2)
  const run = new DamRun(seed, {
    members: 3 + (seed % 3),
    levels: seed % 7 === 0 ? [15] : [losses, losses + 1],
    ...options,
  })
  for (let round = 0; round < ROUNDS; round++) {
    busy(run, 600)
    // What is acknowledged is safe at once, not only when all is quiet.
    if (run.world.chance(0.5)) {
      run.settle()
      run.check()
    }
    trouble(run, losses)
    if (run.world.chance(0.5)) busy(run, 300)
    run.settle()
    run.check()
  }
  return run
}
