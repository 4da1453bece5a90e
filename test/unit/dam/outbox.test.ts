/** What a member is known to have followed, when links go and come. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeDam } from '../../../src/dam/codec.ts'
import { Outbox } from '../../../src/dam/outbox.ts'
import { ATOM_KIND, type AtomOp, type DamMessage } from '../../../src/dam/types.ts'

const it = suite('atoms outbox')
const op: AtomOp = {
  op: 'forget',
  key: Uint32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, ATOM_KIND.flow << 24),
  generation: 1,
}

const opened = (first?: number): { outbox: Outbox; sent: DamMessage[] } => {
  const sent: DamMessage[] = []
  return { outbox: new Outbox(message => sent.push(message), first), sent }
}
const sequenceOf = (message: DamMessage | undefined): number => {
  assert.is(message?.type, 'batch')
  return (message as { sequence: number }).sequence
}

it('operations gather, and leave as one batch; its acknowledgement says that all of them are followed', () => {
  const { outbox, sent } = opened()
  const numbers = [outbox.push(op), outbox.push(op)]
  assert.is(sent.length, 0)
  outbox.flush()
  outbox.flush()
  assert.is(sent.length, 1)
  for (const number of numbers) assert.not(outbox.hasFollowed(number))
  outbox.acknowledged(sequenceOf(sent[0]))
  for (const number of numbers) assert.ok(outbox.hasFollowed(number))
})

it('after a link was lost only a whole comparison counts, for a later batch may be acknowledged and an earlier one be lost', () => {
  const { outbox, sent } = opened()
  const early = outbox.push(op)
  outbox.flush()
  outbox.lost()
  const late = outbox.push(op)
  outbox.flush()
  outbox.acknowledged(sequenceOf(sent[1]))
  assert.not(outbox.hasFollowed(early))
  assert.not(outbox.hasFollowed(late))
  const mark = outbox.mark()
  outbox.same(mark)
  assert.ok(outbox.hasFollowed(early))
  assert.ok(outbox.hasFollowed(late))
  const next = outbox.push(op)
  outbox.flush()
  outbox.acknowledged(sequenceOf(sent[2]))
  assert.ok(outbox.hasFollowed(next), 'acknowledgements count again')
})

it('numbers that were never sent are not believed', () => {
  const { outbox } = opened()
  const number = outbox.push(op)
  outbox.flush()
  outbox.acknowledged(number + 1_000)
  assert.not(outbox.hasFollowed(number))
})

it('numbers of batches go on when 32 bits are used up', () => {
  const { outbox, sent } = opened(2 ** 32 - 1)
  const numbers = [0, 1, 2].map(() => {
    const number = outbox.push(op)
    outbox.flush()
    return number
  })
  assert.equal(sent.map(sequenceOf), [2 ** 32 - 1, 0, 1])
  outbox.acknowledged(2)
  assert.is(outbox.hasFollowed(numbers[0]!), false, 'what has not left')
  outbox.acknowledged(0)
  assert.equal(
    numbers.map(number => outbox.hasFollowed(number)),
    [true, true, false],
  )
  for (const message of sent) encodeDam(message, { member: 'f1', incarnation: 1 })
})

it.run()
