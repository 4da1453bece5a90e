import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Rotation, rotate } from '../../../src/agent/cluster/rotation.ts'
import type { ClusterSecret } from '../../../src/cluster/types.ts'

const it = suite('rotation')

const secret = (number: number, graceMs = 60_000): ClusterSecret => ({
  number,
  bytes: new Uint8Array(32).fill(number),
  graceMs,
  hash: String(number),
})
const states = (step: ReturnType<typeof rotate>): string =>
  step.usable.map(({ secret: { number }, state }) => `${number} ${state}`).join(', ')
/** A node that runs by secret 1 since long ago. */
const settled = (): Rotation => rotate(null, [secret(1)], true, 0).state

it('a node that starts signs by the newest secret and knows no other', () => {
  const step = rotate(null, [secret(3), secret(2), secret(1)], false, 1000)
  assert.is(states(step), '3 signing')
  assert.is(step.wakeAtMs, Number.POSITIVE_INFINITY)
})

it('a new secret is only accepted until every live member holds it, then signs; the old one ends with its grace', () => {
  const coming = rotate(settled(), [secret(2), secret(1)], false, 1000)
  assert.is(states(coming), '1 signing, 2 coming')
  assert.is(coming.wakeAtMs, 3000)
  const signing = rotate(coming.state, [secret(2), secret(1)], true, 1200)
  assert.is(states(signing), '2 signing, 1 ending')
  assert.is(signing.wakeAtMs, 61_000)
  // A member that is no longer in step changes nothing any more.
  const later = rotate(signing.state, [secret(2), secret(1)], false, 60_999)
  assert.is(states(later), '2 signing, 1 ending')
  assert.is(states(rotate(later.state, [secret(2), secret(1)], false, 61_000)), '2 signing')
})

it('a member that does not answer holds it up for two seconds at most, and for half of a short grace', () => {
  const coming = rotate(settled(), [secret(2), secret(1)], false, 1000)
  assert.is(states(rotate(coming.state, [secret(2), secret(1)], false, 2999)), '1 signing, 2 coming')
  assert.is(states(rotate(coming.state, [secret(2), secret(1)], false, 3000)), '2 signing, 1 ending')
  const evicting = rotate(settled(), [secret(2, 1000), secret(1)], false, 1000)
  assert.is(evicting.wakeAtMs, 1500)
  const switched = rotate(evicting.state, [secret(2, 1000), secret(1)], false, 1500)
  assert.is(states(switched), '2 signing, 1 ending')
  assert.is(states(rotate(switched.state, [secret(2, 1000), secret(1)], false, 2000)), '2 signing')
})

it('two rotations at once: the newest wins, and nothing older than the one that signs outlives the grace', () => {
  const first = rotate(settled(), [secret(2), secret(1)], false, 1000)
  const second = rotate(first.state, [secret(3), secret(2), secret(1)], false, 1100)
  assert.is(states(second), '1 signing, 3 coming, 2 ending')
  const third = rotate(second.state, [secret(3), secret(2), secret(1)], true, 1200)
  assert.is(states(third), '3 signing, 2 ending, 1 ending')
  assert.is(states(rotate(third.state, [secret(3), secret(2), secret(1)], true, 61_100)), '3 signing')
})

it('the secret that signed may vanish from the list: the newest takes its place', () => {
  assert.is(states(rotate(settled(), [secret(5), secret(4)], false, 10)), '5 signing, 4 ending')
})

it.run()
