/** A member that lies, repeats itself and makes up names costs the others little, and takes no room that theirs needs (R-C4). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DamInbox } from '../../../src/agent/dam/inbox.ts'
import { PLACE } from '../../../src/dam/atom-table.ts'
import { encodeDam } from '../../../src/dam/codec.ts'
import { Dam } from '../../../src/dam/dam.ts'
import { BUCKETS } from '../../../src/dam/location.ts'
import { ATOM_KIND, type Atom, type DamMessage, type Member, type Origin } from '../../../src/dam/types.ts'

const it = suite('hostile members of the atom manager')
const WALL_MS = 1_700_000_000_000
const member = (name: string, incarnation = 1): Member => ({
  member: name,
  incarnation,
  hash: name.charCodeAt(0) * 0x9e3779b1,
})
const [SELF, LIAR, OTHER] = [member('a'), member('b'), member('c')]
const originOf = ({ member: name, incarnation }: Member): Origin => ({ member: name, incarnation })

const keyOf = (i: number): Uint32Array =>
  Uint32Array.of(0, 0, 0xffff, i, 0, 0, 0xffff, 0x0a000001, 443, ((ATOM_KIND.flow << 24) | 6) >>> 0)
const atomOf = (i: number, owner: Origin, more: Partial<Atom> = {}): Atom => ({
  ...{ key: keyOf(i), host: 7, generation: WALL_MS * 1024, zombie: false, level: 1, owner, home: owner },
  ...more,
})

class World {
  readonly sent: { readonly to: string; readonly message: DamMessage }[] = []
  readonly dam: Dam
  constructor(capacity = 100_000) {
    this.dam = new Dam(
      {
        ...{ self: originOf(SELF), capacity, sharedKey: [1, 2], tableKey: [3, 4] },
        ...{ deadMs: 65_000, cacheMs: 60_000, syncMs: 10_000, queryMs: 60, aheadMs: 600_000 },
      },
      { send: (to, message) => void this.sent.push({ to, message }), claimed: () => {} },
    )
    this.dam.members([SELF, LIAR, OTHER])
    this.settle(0)
  }

  /** Everything is looked through once. */
  settle(nowMs: number): void {
    this.dam.step(nowMs, BUCKETS)
  }

  /** What is sent because of it. */
  says(from: Member, message: DamMessage, nowMs = 0): DamMessage[] {
    this.sent.length = 0
    this.dam.receive(from.member, message, WALL_MS, nowMs)
    this.dam.flush(nowMs)
    return this.sent.map(({ message: each }) => each)
  }
}

it('made-up names of earlier owners leave room for members that come', () => {
  const { dam } = new World(100_000)
  for (let at = 0; at < 70_000; at += 1_000) {
    const ops = Array.from({ length: 1_000 }, (_, i) => {
      const home = { member: `ghost-${at + i}`, incarnation: at + i }
      return { op: 'tell' as const, atom: atomOf(at + i, originOf(LIAR), { home }) }
    })
    dam.receive('b', { type: 'batch', sequence: at, ops }, WALL_MS, 0)
  }
  assert.ok(dam.put(keyOf(1_000_000), 7, 1, WALL_MS, 0) !== undefined, 'its own')
  dam.members([SELF, LIAR, member('c', 2)])
  const atom = atomOf(2_000_000, { member: 'c', incarnation: 2 })
  dam.receive('c', { type: 'batch', sequence: 1, ops: [{ op: 'add', atom }] }, WALL_MS, 0)
  assert.is(dam.local(atom.key)?.owner.incarnation, 2, "another member's")
})

it('made-up names of owners of what has ended, in answers, leave room for members that come', () => {
  const world = new World()
  let ghosts = 0
  for (let turn = 0; turn < 9; turn++) {
    const nowMs = turn * 500
    world.dam.step(nowMs, 0)
    for (const i of ids(4_000, turn * 4_000)) world.dam.query(keyOf(i), nowMs, () => {})
    world.sent.length = 0
    world.dam.flush(nowMs)
    for (const { to, message } of [...world.sent]) {
      if (to !== LIAR.member || message.type !== 'query') continue
      const atoms = message.keys.map(key => {
        const owner = { member: `ghost-${ghosts++}`, incarnation: 1 }
        return { ...atomOf(0, owner, { zombie: true }), key }
      })
      world.says(LIAR, { type: 'return', id: message.id, atoms }, nowMs)
    }
  }
  const names = [...world.dam.table.origins.known()].length
  assert.ok(ghosts > 35_000 && names <= 0x8000, `${names} names of ${ghosts}`)
})

it('the same orphan over and over waits for one question', () => {
  const { dam } = new World()
  const owner = originOf(LIAR)
  const bucket = dam.location.bucketOf(keyOf(1))
  for (let i = 0; i < 1_000; i++) {
    const atoms = [atomOf(1, owner, { generation: WALL_MS * 1024 + 2 * i })]
    dam.receive('b', { type: 'orphans', owner, bucket, last: true, atoms }, WALL_MS, 0)
  }
  assert.equal(dam.unsure(1_000), [keyOf(1)])
  assert.equal(dam.unsure(1_000), [])
})

/** Atoms of an owner that is gone, as a member hands them over. */
const handOver = (world: World, from: Member, owner: Origin, ids: readonly number[]): void => {
  for (const i of ids) {
    const bucket = world.dam.location.bucketOf(keyOf(i))
    world.says(from, { type: 'orphans', owner, bucket, last: true, atoms: [atomOf(i, owner)] })
  }
}
const ids = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i)
const held = ({ dam }: World, place: keyof typeof PLACE): number => dam.table.count(PLACE[place])

it("what one member says it takes over fills a quarter of the table, in whatever owners' names; all together half", () => {
  const world = new World(1_000)
  for (const i of ids(1_000)) handOver(world, LIAR, { member: `ghost-${i % 40}`, incarnation: i }, [i])
  assert.equal([held(world, 'own'), world.dam.counters.refusedOrphans], [250, 750])
  // What it has taken over already takes no more room, and is refused to nobody.
  handOver(world, LIAR, { member: 'ghost-1', incarnation: 1 }, [1])
  assert.equal([held(world, 'own'), world.dam.counters.refusedOrphans], [250, 750])
  // A new life is the same member.
  const again = member('b', 2)
  world.dam.members([SELF, again, OTHER])
  handOver(world, again, originOf(again), ids(100, 2_000))
  assert.is(held(world, 'own'), 250)
  handOver(world, OTHER, { member: 'lost', incarnation: 1 }, ids(400, 3_000))
  assert.equal([held(world, 'own'), world.dam.takenOver.size], [500, 500])
  for (const i of ids(500, 5_000))
    assert.ok(world.dam.put(keyOf(i), 7, 1, WALL_MS, 0), 'there is room for its own')
  assert.is(world.dam.put(keyOf(9_999), 7, 1, WALL_MS, 0), undefined)
})

it('what is vouched for, has ended, or is claimed by another makes room for more', () => {
  const world = new World(1_000)
  const lost = { member: 'lost', incarnation: 1 }
  handOver(world, OTHER, lost, ids(300))
  assert.is(world.dam.unsure(1_000).length, 250)
  assert.is(world.dam.unsure(1_000).length, 0, 'each is given once')
  for (const i of ids(10)) world.dam.put(keyOf(i), 7, 1, WALL_MS, 0)
  for (const i of ids(10, 10)) world.dam.end(keyOf(i), WALL_MS, 0)
  for (const i of ids(10, 20)) world.dam.touch(keyOf(i), 0)
  for (const i of ids(10, 30)) world.dam.keep(keyOf(i), 0)
  const ops = ids(10, 40).map(i => ({
    op: 'add' as const,
    atom: atomOf(i, originOf(LIAR), { generation: WALL_MS * 1024 + 9 }),
  }))
  world.says(LIAR, { type: 'batch', sequence: 1, ops })
  assert.is(world.dam.takenOver.size, 210)
  handOver(world, OTHER, lost, ids(100, 1_000))
  assert.equal([world.dam.takenOver.size, world.dam.unsure(1_000).length], [250, 40])
})

it("a lost member's copies are taken over to half of the table; the rest are found as copies, and follow", () => {
  const world = new World(1_000)
  for (const name of ['c', 'd', 'e']) {
    const lost = member(name)
    world.dam.members([SELF, lost])
    const ops = ids(300, name.charCodeAt(0) * 1_000).map(i => ({
      op: 'add' as const,
      atom: atomOf(i, originOf(lost)),
    }))
    world.says(lost, { type: 'batch', sequence: 1, ops })
    world.dam.members([SELF])
    world.settle(1)
  }
  assert.equal([held(world, 'own'), held(world, 'copy')], [500, 400])
  for (const i of ids(300, 101_000)) {
    let found: Atom | null = null
    world.dam.query(keyOf(i), 1, atom => {
      found = atom
    })
    assert.ok(found !== null)
  }
  for (const key of world.dam.unsure(1_000)) world.dam.put(key, 7, 1, WALL_MS, 1)
  world.settle(20_000)
  world.settle(20_001)
  assert.equal([held(world, 'own'), held(world, 'copy')], [900, 0])
})

it('differences are told after a comparison, not whenever it pleases', () => {
  const world = new World()
  for (let i = 0; i < 500; i++) world.dam.put(keyOf(i), 7, 15, WALL_MS, 0)
  world.settle(10_000)
  const differs: DamMessage = { type: 'differs', buckets: [] }
  assert.ok(
    world.says(LIAR, differs).some(({ type }) => type === 'bucket'),
    'it was asked',
  )
  let buckets = 0
  for (let i = 0; i < 100; i++)
    buckets += world.says(LIAR, differs).filter(({ type }) => type === 'bucket').length
  assert.ok(buckets <= 128, `${buckets} buckets`)
  assert.ok(world.dam.counters.unaskedReturns >= 98)
  world.settle(20_000)
  assert.ok(
    world.says(LIAR, differs).some(({ type }) => type === 'bucket'),
    'it is asked again',
  )
})

it("a lost member's atoms are sent to who was told of them, once", () => {
  const world = new World()
  const lost = originOf(OTHER)
  const ops = Array.from({ length: 500 }, (_, i) => ({ op: 'add' as const, atom: atomOf(i, lost) }))
  world.says(OTHER, { type: 'batch', sequence: 1, ops })
  const want: DamMessage = {
    type: 'orphans-want',
    owner: lost,
    buckets: Array.from({ length: BUCKETS }, (_, i) => i),
  }
  assert.is(world.says(LIAR, want).length, 0, 'it lives')
  world.dam.members([SELF, LIAR])
  world.sent.length = 0
  world.settle(1)
  assert.ok(world.sent.some(({ to, message }) => to === 'b' && message.type === 'orphans-here'))
  assert.ok(world.says(LIAR, want).length > 0)
  assert.is(world.says(LIAR, want).length, 0, 'again')
})

it('what a leaving member hands over is taken over by its heir, not by whoever says so', () => {
  const world = new World()
  for (let i = 0; i < 500; i++) world.dam.put(keyOf(i), 7, 1, WALL_MS, 0)
  world.dam.members([{ ...SELF, leaving: true }, LIAR, OTHER])
  world.sent.length = 0
  world.dam.leave()
  const heirs = new Map(
    world.sent.flatMap(({ to, message }) => (message.type === 'orphans' ? [[message.bucket, to]] : [])),
  )
  for (const bucket of heirs.keys()) world.says(LIAR, { type: 'taken', bucket })
  assert.is(world.dam.hasLeft, false)
  for (const bucket of heirs.keys()) world.says(OTHER, { type: 'taken', bucket })
  assert.is(world.dam.hasLeft, true)
})

it("a newer version of what is not this member's is nothing that it asks others for", () => {
  const world = new World()
  world.dam.put(keyOf(1), 7, 1, WALL_MS, 0)
  const outdated = (i: number): DamMessage => ({ type: 'outdated', owner: originOf(OTHER), keys: [keyOf(i)] })
  assert.equal(world.says(LIAR, outdated(1)).filter(({ type }) => type === 'query').length, 1)
  assert.is(world.says(LIAR, outdated(2)).filter(({ type }) => type === 'query').length, 0)
})

it('who asks for more than it may gets no answer, for a part of one would say that the rest is not here', () => {
  const world = new World()
  for (let i = 0; i < 256; i++) world.dam.put(keyOf(i), 7, 1, WALL_MS, 0)
  const keys = Array.from({ length: 256 }, (_, i) => keyOf(i))
  const answers: number[] = []
  for (let id = 0; id < 50; id++)
    for (const message of world.says(LIAR, { type: 'query', id, keys }))
      if (message.type === 'return') answers.push(message.atoms.length)
  assert.is(answers.length, 39)
  assert.ok(answers.every(found => found === 256))
  assert.is(world.dam.counters.refusedQueries, 11 * 256)
  assert.is(
    world.says(OTHER, { type: 'query', id: 1, keys }).some(({ type }) => type === 'return'),
    true,
    'others are answered',
  )
})

it('a flood asks members for no more than they answer, and leaves a part for what is asked for again', () => {
  const world = new World()
  const refused: boolean[] = []
  const ask = (i: number, again: boolean): void =>
    world.dam.query(
      keyOf(i),
      0,
      (_atom, certain) => {
        assert.is(certain, false)
        refused.push(again)
      },
      again,
    )
  for (let i = 0; i < 6_000; i++) ask(i, false)
  assert.equal([refused.length, world.dam.querying], [2_000, 4_000])
  for (let i = 10_000; i < 12_000; i++) ask(i, true)
  assert.equal([refused.length, world.dam.querying], [3_000, 5_000])
  assert.is(world.dam.counters.refusedAsks, 3_000)
  world.sent.length = 0
  world.dam.flush(0)
  const keys = world.sent.map(({ message }) => (message.type === 'query' ? message.keys.length : 0))
  assert.is(
    keys.reduce((sum, count) => sum + count, 0),
    2 * 5_000,
    'each of both members once',
  )
  // What it is told to ask an owner for is not more.
  world.dam.put(keyOf(1), 7, 1, WALL_MS, 0)
  const outdated: DamMessage = { type: 'outdated', owner: originOf(OTHER), keys: [keyOf(1)] }
  assert.is(world.says(LIAR, outdated).filter(({ type }) => type === 'query').length, 0)
  assert.is(world.says(LIAR, outdated, 1_000).filter(({ type }) => type === 'query').length, 1)
})

it('short messages that are much work are dear', () => {
  const inbox = new DamInbox()
  const body = encodeDam({ type: 'sync', sequence: 1, all: { count: 1, sum: 1 } }, originOf(LIAR))
  let taken = 0
  for (let i = 0; i < 10_000; i++) if (inbox.take(originOf(LIAR), body, 0) !== null) taken++
  assert.ok(taken > 100 && taken < 1_000, `${taken}`)
})

it.run()
