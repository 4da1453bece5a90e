/** VIP ownership in virtual time (R-A6): one holder each, whatever happens to machines, agents, links and clocks; and no needless moves. */
// test-timeout-ms: 600000
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_GENERATION } from '../../src/ownership/generation.ts'
import { evenOut } from '../../src/ownership/placement.ts'
import { NO_GRACE, silentMs } from '../../src/ownership/settings.ts'
import type { Claim } from '../../src/ownership/types.ts'
import { BUGS, type Bug, OwnershipRun, SIM_TIMES } from '../support/sim/ownership-run.ts'
import { firstFailure, forSeeds } from '../support/sim/seeds.ts'

const it = suite('VIP ownership simulation')
const SEEDS = Number(process.env.SEEDS ?? 500)
const FILE = 'test/sim/ownership.test.ts'

/** From a machine's death to another holder: three probes, and what the others say of them. */
const TAKE_OVER_MS = 600
/** From healing to one holder: links, then what they told each other. */
const HEAL_MS = 4_000
const SILENT_MS = silentMs(SIM_TIMES) + 3_000
/** From an agent's end to another holder of what its kernel does not go on with: its links are missed, clocks differ, the first to take is one of several. */
const BRIEF_MS = silentMs(NO_GRACE) * 1.02 + 1_500
/** So soon another agent goes on with all that the one before held: two renewals of the lease less the links. */
const AT_ONCE_MS = 900
/** Until all know for how long they are to wait, and kernels keep what they hold as long. */
const KNOWN_MS = 4_000

const vipsOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `10.99.0.${i + 1}`)

const start = (seed: number, bug?: Bug, loss = 0): OwnershipRun => {
  const run = new OwnershipRun(seed, {
    weights: Array.from({ length: 2 + (seed % 4) }, (_, i) => (seed % 3 === 0 ? 10 * (i + 1) : 50)),
    vips: vipsOf(1 + (seed % 6)),
    loss,
    ...(bug !== undefined && { bug }),
  })
  for (const name of run.nodes.keys()) {
    run.boot(name)
    run.world.run(run.world.integer(500))
  }
  // Those that were there first have shared all.
  run.world.run(HEAL_MS + SIM_TIMES.holdMs)
  settled(run)
  even(run)
  return run
}

/** One machine answers for each VIP, and all agents know which. */
const settled = (run: OwnershipRun): void => {
  for (const vip of run.options.vips) {
    const holders = run.holders(vip)
    assert.is(holders.length, 1, `${vip} is held by ${holders.join(' and ') || 'nobody'}`)
    for (const { name, core } of run.nodes.values())
      if (core !== null)
        assert.is(core.claimOf(vip)?.holder, holders[0], `what ${name} knows of the holder of ${vip}`)
  }
}

const place = (run: OwnershipRun): string => run.options.vips.map(vip => run.holders(vip).join('+')).join()

/** As the weights ask for it: nothing is left to move. */
const even = (run: OwnershipRun): void => {
  const holders = new Map(run.options.vips.map(vip => [vip, run.holders(vip)[0]!]))
  const moves = evenOut(holders, run.up())
  assert.is(moves.size, 0, `${moves.size} VIPs are not where weights ask for them: ${place(run)}`)
}

const unheldMs = (run: OwnershipRun, vip: string, mostMs: number): number => {
  let ms = 0
  for (; run.holders(vip).length === 0 && ms < mostMs; ms += 10) run.world.run(10)
  return ms
}

/** A machine dies: what it held is held again at once, nothing else moves, and it takes back no more than its share, later. */
const death = (run: OwnershipRun): void => {
  const victim = run.world.pick([...run.nodes.keys()])
  const before = new Map(run.options.vips.map(vip => [vip, run.holders(vip)[0]!]))
  run.crash(victim)
  for (const vip of run.options.vips)
    assert.ok(
      unheldMs(run, vip, 5_000) <= TAKE_OVER_MS,
      `${vip} has had no holder for too long after ${victim} died`,
    )
  run.world.run(1_500)
  settled(run)
  for (const [vip, holder] of before)
    if (holder !== victim) assert.is(run.holders(vip)[0], holder, `${vip} moved though its holder lives`)
  run.world.run(run.world.integer(20_000))
  run.boot(victim)
  run.world.run(HEAL_MS)
  for (const vip of run.options.vips) assert.is.not(run.holders(vip)[0], victim, 'who comes back waits')
  run.world.run(SIM_TIMES.holdMs + 2_000)
  settled(run)
  even(run)
}

/**
 * An agent ends or stands still, and its machine goes on. What its kernel goes on with alone does not move within the grace; the rest is taken at
 * once, or stays if the agent is back at once. After the grace one takes over, and never do two answer.
 */
const agentAlone = (run: OwnershipRun): void => {
  const { world } = run
  const name = world.pick([...run.nodes.keys()])
  run.longestBothMs = 0
  const isKnown = !world.chance(0.3)
  if (world.chance(0.5)) {
    run.changeAlone(name, new Set(run.options.vips.filter(() => world.chance(0.5))))
    world.run(isKnown ? KNOWN_MS : world.integer(2_000))
  }
  const stays = (vip: string): boolean =>
    isKnown && (run.holders(vip)[0] !== name || run.node(name).alone.has(vip))
  const kept = new Map(run.options.vips.filter(stays).map(vip => [vip, run.holders(vip)[0]!]))
  const brief = run.options.vips.filter(vip => isKnown && !kept.has(vip))
  const unmoved = (when: string): void => {
    for (const [vip, holder] of kept) assert.equal(run.holders(vip), [holder], `${vip} moved ${when}`)
  }
  const before = place(run)
  const freezes = world.chance(0.5)
  const away = world.pick([
    world.integer(AT_ONCE_MS),
    world.integer(SIM_TIMES.graceMs),
    ...[SILENT_MS, SILENT_MS].map(ms => ms + world.integer(5_000)),
  ])
  if (freezes) run.freeze(name)
  else run.killAgent(name)
  let passedMs = 0
  const until = (atMs: number): boolean => {
    world.run(Math.max(0, Math.min(away, atMs) - passedMs))
    passedMs = Math.max(passedMs, Math.min(away, atMs))
    return away >= atMs
  }
  if (until(BRIEF_MS))
    for (const vip of brief)
      assert.ok(
        run.holders(vip).some(each => each !== name),
        `${vip} was not taken though ${name} is silent`,
      )
  until(SIM_TIMES.graceMs - 100)
  unmoved(`within the grace of ${name}`)
  until(away)
  if (freezes) run.thaw(name)
  else run.startAgent(name)
  world.run(HEAL_MS)
  settled(run)
  if (away < SIM_TIMES.graceMs) unmoved(`after ${name} came back within its grace`)
  if (isKnown && away < AT_ONCE_MS) assert.is(place(run), before, `moved though ${name} was back at once`)
  // Who evens out takes first, and the other lets go when it hears of it.
  assert.ok(run.longestBothMs <= 100, `two answered for ${run.longestBothMs} ms`)
  world.run(SIM_TIMES.holdMs + 3_000)
  even(run)
}

/** A partition: each side holds all VIPs; then the larger one, or who held before, goes on, and nobody else. */
const partition = (run: OwnershipRun): void => {
  const names = run.world.shuffled([...run.nodes.keys()])
  const isolated = run.world.chance(0.5) ? 1 : 1 + run.world.integer(names.length - 1)
  const before = new Map(run.options.vips.map(vip => [vip, run.holders(vip)[0]!]))
  const small = names.slice(0, isolated)
  run.network.partition(small, names.slice(isolated))
  run.world.run(6_000)
  run.longestTwoMs = 0
  run.network.heal()
  run.world.run(HEAL_MS)
  settled(run)
  assert.ok(run.longestTwoMs < 2_500, `two held for ${run.longestTwoMs} ms though they could hear each other`)
  if (isolated * 2 < names.length)
    for (const [vip, holder] of before)
      if (!small.includes(holder)) assert.is(run.holders(vip)[0], holder, `${vip} moved to the smaller side`)
}

/** Probes lost at one node alone move nothing for long: who sees more is asked. */
const misjudged = (run: OwnershipRun): void => {
  const [at, whom] = run.world.shuffled([...run.nodes.keys()])
  const before = place(run)
  run.misjudge(at!, whom!, 300 + run.world.integer(4_000))
  run.world.run(5_000)
  settled(run)
  if (run.nodes.size > 2) assert.is(place(run), before, 'moved though others see the machine')
}

/** A clean leave hands over first: at no time nobody answers. */
const leave = (run: OwnershipRun): void => {
  const name = run.world.pick([...run.nodes.keys()])
  let unheld = 0
  run.world.watch(() => {
    if (run.up().length === run.nodes.size)
      for (const vip of run.options.vips) if (run.holders(vip).length === 0) unheld++
  })
  run.leave(name)
  assert.is(unheld, 0, 'a VIP was held by nobody while its holder left')
  run.world.run(1_000)
  settled(run)
  run.boot(name)
  run.world.run(HEAL_MS + SIM_TIMES.holdMs + 2_000)
  settled(run)
  even(run)
}

/** An order wins, lasts, and ends with its holder. */
const order = (run: OwnershipRun): void => {
  const vip = run.world.pick(run.options.vips)
  const from = run.holders(vip)[0]!
  const to = run.world.pick([...run.nodes.keys()].filter(name => name !== from))
  const by = run.world.pick([...run.nodes.values()])
  assert.equal(by.core!.order(vip, to, run.clock(by)), { to })
  run.world.run(500)
  assert.equal(run.holders(vip), [to], `${by.name} ordered ${vip} from ${from} to ${to}`)
  run.world.run(2 * SIM_TIMES.holdMs)
  settled(run)
  assert.equal(run.holders(vip), [to], 'an order lasts')
  run.crash(to)
  run.world.run(2_000)
  settled(run)
  run.boot(to)
  run.world.run(HEAL_MS + SIM_TIMES.holdMs + 2_000)
  settled(run)
  even(run)
  assert.not(run.node(to).core!.claimOf(vip)!.ordered, 'an order ends with its holder')
}

const TROUBLES = [death, agentAlone, partition, misjudged, leave, order]

it('has one holder of each VIP after each single trouble, and moves nothing without need', () => {
  forSeeds(SEEDS, FILE, seed => {
    const run = start(seed)
    rounds(run, 3)
    const { moves } = run
    run.world.run(3 * SIM_TIMES.holdMs)
    assert.is(run.moves, moves, 'nothing moves in peace')
  })
})

/** What one trouble left uneven is even before the next, so that whatever moves then moves for it. */
const rounds = (run: OwnershipRun, count: number): void => {
  for (let round = 0; round < count; round++) {
    TROUBLES[run.world.integer(TROUBLES.length)]!(run)
    run.world.run(SIM_TIMES.holdMs + HEAL_MS)
    settled(run)
  }
}

/** Anything at any time. */
const chaos = (run: OwnershipRun): void => {
  const { world } = run
  const names = [...run.nodes.keys()]
  for (let i = 6 + world.integer(10); i > 0; i--) {
    const node = run.node(world.pick(names))
    const other = world.pick(names.filter(name => name !== node.name))
    switch (world.integer(9)) {
      case 0:
        if (node.up) run.crash(node.name)
        break
      case 1:
        if (!node.up) run.boot(node.name)
        else if (node.core === null) run.startAgent(node.name)
        break
      case 2:
        if (node.core !== null) run.killAgent(node.name)
        break
      case 3:
        if (node.core !== null && !node.frozen) run.freeze(node.name)
        break
      case 4:
        if (node.frozen) run.thaw(node.name)
        break
      case 5:
        run.cut(node.name, other)
        break
      case 6: {
        const some = world.shuffled(names)
        const cut = world.integer(names.length)
        run.network.partition(some.slice(0, cut), some.slice(cut))
        break
      }
      case 7:
        run.mend()
        break
      default:
        if (node.core !== null && !node.frozen)
          node.core.order(world.pick(run.options.vips), other, run.clock(node))
    }
    world.run(world.integer(world.chance(0.1) ? 40_000 : 3_000))
  }
}

/** Everything up again, and time for what was silent. */
const heal = (run: OwnershipRun): void => {
  run.mend()
  for (const node of run.nodes.values()) {
    if (node.frozen) run.thaw(node.name)
    if (!node.up) run.boot(node.name)
    else if (node.core === null) run.startAgent(node.name)
  }
}

it('comes to one holder of each VIP whatever has happened, also where messages are lost', () => {
  forSeeds(SEEDS, FILE, seed => {
    const run = start(seed)
    run.options.loss = seed % 2 === 0 ? 0.1 : 0
    chaos(run)
    heal(run)
    run.world.run(HEAL_MS + 4_000)
    settled(run)
    run.options.loss = 0
    run.world.run(SIM_TIMES.holdMs + 4_000)
    settled(run)
  })
})

it('a kernel keeps a VIP no longer than others know, also where they did not hear that it goes on alone now', () => {
  forSeeds(Math.ceil(SEEDS / 5), FILE, seed => {
    const run = new OwnershipRun(seed, { weights: [50, 50, 50], vips: vipsOf(3), alone: 0 })
    for (const name of run.nodes.keys()) run.boot(name)
    run.world.run(HEAL_MS + SIM_TIMES.holdMs)
    settled(run)
    const name = run.holders(run.options.vips[0]!)[0]!
    run.longestBothMs = 0
    run.options.loss = 1
    run.changeAlone(name, new Set(run.options.vips))
    run.world.run(run.world.integer(3_000))
    run.killAgent(name)
    run.options.loss = 0
    run.world.run(BRIEF_MS)
    assert.not(run.holders(run.options.vips[0]!).includes(name))
    run.world.run(SILENT_MS)
    assert.is(run.longestBothMs, 0, `two answered for ${run.longestBothMs} ms`)
  })
})

/** Of a member that lies, or a damaged disk: any holder, and a number that none came to by counting. */
const madeUp = ({ world, nodes }: OwnershipRun, vip: string): Claim => {
  const generation = world.pick([
    1 + world.integer(20),
    1_000_000 * (1 + world.integer(9)),
    MAX_GENERATION - world.integer(9),
    1 + Math.floor(world.random() * MAX_GENERATION),
  ])
  const holder = world.pick(['', ...nodes.keys()])
  const [ordered, death] = [world.chance(0.3), world.chance(0.3)]
  return { ...{ vip, generation, holder, ordered, death }, support: world.integer(6) }
}

it('comes to one holder of each VIP whatever generations were made up, and those who come later follow', () => {
  forSeeds(Math.ceil(SEEDS / 5), FILE, seed => {
    const run = start(seed)
    const { world, options } = run
    const late = world.pick([...run.nodes.keys()])
    run.crash(late)
    for (let i = 0; i < 10; i++) {
      const [from, to] = world.shuffled([...run.nodes.keys()].filter(name => name !== late || i > 4))
      if (i === 5) {
        run.node(late).disk = world.chance(0.5) ? [] : options.vips.map(vip => madeUp(run, vip))
        run.boot(late)
      }
      if (to === undefined) continue
      const claims = options.vips.map(vip => madeUp(run, vip))
      run.node(to).core!.receive(from!, { type: 'claims', claims }, run.clock(run.node(to)))
      world.run(world.integer(2_000))
    }
    world.run(HEAL_MS + 4_000)
    settled(run)
    world.run(SIM_TIMES.holdMs + 4_000)
    settled(run)
  })
})

it('finds each seeded bug', () => {
  for (const bug of BUGS) {
    const found = firstFailure(60, seed => {
      const run = start(seed, bug, bug === 'never-repairs' ? 0.2 : 0)
      rounds(run, 4)
    })
    assert.ok(found !== undefined, `the bug ${bug} was not found in 60 seeds`)
  }
})

it.run()
