/** Many that ask for the same dear work cost one or two of it, and none hears of what was before it asked. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SharedWork } from '../../../src/agent/health/shared-work.ts'

const it = suite('agent/health/shared-work')

it('whoever asks while it is under way shares the next one', async () => {
  const work = new SharedWork<number>()
  const ends: (() => void)[] = []
  const ask = (): Promise<number> =>
    work.ask(async () => {
      const number = ends.length
      await new Promise<void>(resolve => void ends.push(resolve))
      return number
    })
  const first = ask()
  const others = Array.from({ length: 100 }, ask)
  assert.is(ends.length, 1)
  ends[0]!()
  assert.is(await first, 0)
  await new Promise(setImmediate)
  assert.is(ends.length, 2)
  const late = ask()
  ends[1]!()
  assert.equal(new Set(await Promise.all(others)), new Set([1]))
  await new Promise(setImmediate)
  ends[2]!()
  assert.is(await late, 2)
  assert.is(ends.length, 3)
})

it('one that fails does not end the others', async () => {
  const work = new SharedWork<string>()
  const failing = work.ask(() => Promise.reject(new Error('no')))
  const next = work.ask(async () => 'yes')
  assert.is(await failing.catch(({ message }: Error) => message), 'no')
  assert.is(await next, 'yes')
  assert.is(await work.ask(async () => 'again'), 'again')
})

it.run()
