/** The distributed atom manager in virtual time: no acknowledged atom is lost, no end forgotten, one owner each, whatever happens. */
// test-timeout-ms: 600000
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Place } from '../../src/dam/atom-table.ts'
import { Copies } from '../../src/dam/copies.ts'
import { Orphans } from '../../src/dam/orphans.ts'
import { Outbox } from '../../src/dam/outbox.ts'
import { OwnAtoms } from '../../src/dam/own.ts'
import { type Found, Queries } from '../../src/dam/queries.ts'
import type { Atom, AtomOp } from '../../src/dam/types.ts'
import type { DamOptions } from '../support/sim/dam-run.ts'
import { playDam } from '../support/sim/dam-scenario.ts'
import { firstFailure, forSeeds } from '../support/sim/seeds.ts'

const it = suite('atom manager simulation')
const SEEDS = Number(process.env.SEEDS ?? 1_000)
const SEEDS_OF_A_BUG = 300

it('keeps acknowledged atoms, ends and owners through crashes, partitions, cuts, joins and leaves', () => {
  const total: Record<string, number> = {}
  forSeeds(SEEDS, 'test/sim/dam.test.ts', seed => {
    const { counts } = playDam(seed)
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count
  })
  if (process.env.SEED === undefined)
    for (const [name, count] of Object.entries(total)) assert.ok(count > SEEDS / 4, `only ${count} ${name}`)
})

/** Makes a wrong method of the right one. */
// biome-ignore lint/suspicious/noExplicitAny: of whatever method
type Bug = (right: any) => unknown

/** Runs with a method of a part in the place of its own. */
const withBug = (part: object, method: string, bug: Bug, run: () => void): void => {
  const right = Object.getOwnPropertyDescriptor(part, method)!
  assert.ok(right !== undefined, `there is no ${method} any more`)
  Object.defineProperty(part, method, { ...right, value: bug(right.value) })
  try {
    run()
  } finally {
    Object.defineProperty(part, method, right)
  }
}

const nothing = (): unknown => () => {}

/**
 * @param sign what the run has to say of it
 * @param options in which the bug shows soon
 */
const caught = (
  bug: string,
  sign: RegExp,
  part: { prototype: object },
  method: string,
  how: Bug,
  options: Partial<DamOptions> = {},
): void =>
  it(`catches a seeded bug: ${bug}`, () => {
    let why = ''
    const seed = firstFailure(SEEDS_OF_A_BUG, n => {
      try {
        withBug(part.prototype, method, how, () => void playDam(n, options))
      } catch (error) {
        why = error instanceof Error ? error.message : String(error)
        throw error
      }
    })
    assert.ok(seed !== undefined, `not caught in ${SEEDS_OF_A_BUG} seeds`)
    assert.match(why, sign)
    // It is the bug that fails there.
    playDam(seed!, options)
  })

caught(
  'says that it is stored before it is',
  /nobody|copies|does not find|lives at/,
  Outbox,
  'hasFollowed',
  () => () => true,
  // What gathers for longer is lost more often with its owner.
  { flushMs: 200 },
)
caught('never finds a difference', /come to rest/, Copies, 'sync', nothing)
caught('leaves the atoms of the dead alone', /copies|nobody/, Orphans, 'look', nothing)
caught(
  'takes a member that began anew for the one before',
  /copies|nobody|come to rest/,
  Orphans,
  'isLive',
  () => () => true,
)
caught(
  'keeps an atom that another one has claimed',
  /copies|owners|versions|come to rest/,
  OwnAtoms,
  'relinquish',
  nothing,
)
caught('places no copies anew', /come to rest/, OwnAtoms, 'replan', nothing)
caught('keeps copies that nobody takes over', /copies/, Copies, 'demote', nothing, { deadMs: 1_000 })
caught(
  'looks only at home',
  /does not find/,
  Queries,
  'ask',
  () => (_key: unknown, _nowMs: number, tell: Found) => tell(null, true),
)
caught('does not tell the earlier owner', /owners|come to rest|versions|copies/, Queries, 'refresh', nothing)
caught(
  'tells nobody of ends',
  /lives at/,
  Outbox,
  'push',
  right =>
    function (this: Outbox, op: AtomOp) {
      return op.op === 'add' && op.atom.zombie ? 0 : right.call(this, op)
    },
  // Else the next comparison finds the end before its teller dies.
  { syncMs: 2_000 },
)
caught(
  'changes a version as it keeps it',
  /versions|copies|owners|come to rest/,
  Copies,
  'accept',
  right =>
    function (this: Copies, from: string, atom: Atom, place: Place, nowMs: number) {
      return right.call(this, from, { ...atom, generation: atom.generation + 1 }, place, nowMs)
    },
)

it.run()
