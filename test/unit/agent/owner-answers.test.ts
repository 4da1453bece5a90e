/** The answering side of R-G7. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { mappedFlows } from '../../../src/agent/dataplane/mapped.ts'
import { MappingTable } from '../../../src/agent/dataplane/mappings.ts'
import { OwnerAnswers } from '../../../src/agent/owners/answers.ts'
import { MappedLook } from '../../../src/agent/owners/mapped-look.ts'

const it = suite('owner answers')
const key = (number: number, protocol = 6): Uint32Array =>
  Uint32Array.from([0, 0, 0xffff, number, 0, 0, 0xffff, 0x0a630001, (number << 16) | 80, protocol])
const keys = (count: number): Uint32Array[] => Array.from({ length: count }, (_, i) => key(i))

class World {
  nowMs = 0
  readonly turns: (() => void)[] = []
  readonly sent: { unit: string; id: number; owned: readonly boolean[] }[] = []
  looked = 0
  look = (asked: readonly Uint32Array[]): Promise<boolean[]> =>
    Promise.resolve(asked.map(each => each[3]! % 2 === 1))
  readonly answers = new OwnerAnswers({
    nowMs: () => this.nowMs,
    soon: run => this.turns.push(run),
    look: asked => {
      this.looked += asked.length
      return this.look(asked)
    },
    send: (unit, id, owned) => this.sent.push({ unit, id, owned }),
  })

  async turn(): Promise<void> {
    this.turns.shift()?.()
    for (let i = 0; i < 10; i++) await null
  }
}

it('answers a bit for each key, a question a turn', async () => {
  const world = new World()
  world.answers.asked('f1', 1, [key(1), key(2), key(3)])
  world.answers.asked('f2', 1, [key(4)])
  assert.equal(world.sent, [])
  await world.turn()
  assert.equal(world.sent, [{ unit: 'f1', id: 1, owned: [true, false, true] }])
  await world.turn()
  assert.equal(world.sent.at(-1), { unit: 'f2', id: 1, owned: [false] })
  assert.is(world.turns.length, 0)
  assert.is(world.answers.counters.mine, 2)
})

it('what cannot be looked at, or comes too late, has no answer: that would be "not mine"', async () => {
  const world = new World()
  world.look = () => Promise.reject(new Error('the system refused'))
  world.answers.asked('f1', 1, [key(1)])
  await world.turn()
  world.look = asked => Promise.resolve(asked.map(() => true))
  world.answers.asked('f1', 2, [key(1)])
  world.nowMs += 301
  await world.turn()
  const own: unknown[] = []
  world.answers.own([key(1)], owned => own.push(owned))
  world.answers.stop()
  assert.equal([world.sent, own], [[], [null]])
  assert.equal([world.answers.counters.failed, world.answers.counters.late], [1, 1])
})

it('a unit that floods gets no more than its rate, others theirs; what waits is bounded', async () => {
  const world = new World()
  for (let i = 0; i < 40; i++) world.answers.asked('f1', i, keys(256))
  assert.is(world.answers.counters.over_rate, 40 - 16)
  world.answers.asked('f2', 1, [key(1)])
  for (let i = 0; i < 100; i++) world.answers.asked(`u${i}`, i, keys(256))
  const own: unknown[] = []
  world.answers.own(keys(256), owned => own.push(owned))
  assert.equal(own, [null])
  for (let left = 200; left > 0 && world.turns.length > 0; left--) await world.turn()
  assert.ok(world.looked <= 8192, `${world.looked}`)
  assert.is(world.turns.length, 0)
  assert.ok(world.sent.some(({ unit }) => unit === 'f2'))
})

it('mappings of flows, of all forwarders; freed and half-written ones are none', () => {
  const mappings = new MappingTable(64, 64, 1, 2)
  const insert = (identifier: number, tuple: Uint32Array): number =>
    mappings.insert(Uint32Array.of(0, 0, 0xffff, 9, identifier), tuple, 0)
  insert(1, key(1, 17))
  insert(2, key(2, 17))
  mappings.remove(insert(3, key(3, 17)))
  mappings.setTuple(insert(4, key(4, 17)), key(5, 17))
  const words = Uint32Array.from(
    [1, 2, 3, 4, 5, 1].flatMap((number, i) => [...key(number, i === 1 ? 6 : 17)]),
  )
  assert.equal([...mappedFlows({ mappings }, words)], [1, 0, 0, 0, 1, 1])
  assert.equal([...mappedFlows(null, words)], [0, 0, 0, 0, 0, 0])
})

it('looks for mappings are put together, one at a time with a pause, and bounded', async () => {
  const asked: number[] = []
  const later: (() => void)[] = []
  let fail = false
  const look = new MappedLook(
    words => {
      asked.push(words.length / 10)
      return fail
        ? Promise.reject(new Error('no'))
        : Promise.resolve(Uint8Array.from(words.filter((_, i) => i % 10 === 3)))
    },
    run => {
      later.push(run)
      return () => {}
    },
  )
  assert.equal(await look.mapped([key(1), key(0)]), [true, false])
  const both = [look.mapped([key(0)]), look.mapped([key(1), key(1)])]
  assert.equal(asked, [2], 'not before the pause is over')
  later.shift()!()
  assert.equal(await Promise.all(both), [[false], [true, true]])
  assert.equal(asked, [2, 3])
  fail = true
  const failing = look.mapped([key(1)])
  const most = look.mapped(keys(4095))
  let refused = ''
  await look.mapped([key(1)]).catch(error => {
    refused = String(error)
  })
  assert.match(refused, /too many/)
  later.shift()!()
  const ends = await Promise.allSettled([failing, most])
  assert.equal(
    ends.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
})

it.run()
