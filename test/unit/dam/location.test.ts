import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { halfSipHash13 } from '../../../src/agent/dataplane/half-siphash.ts'
import { BUCKETS, Location } from '../../../src/dam/location.ts'
import type { Member } from '../../../src/dam/types.ts'

const it = suite('dam/location')
const members = (count: number): Member[] =>
  Array.from({ length: count }, (_, i) => ({ member: `m${i}`, incarnation: 1, hash: i * 77 + 5 }))
const located = (all: readonly Member[]): Location => {
  const location = new Location(3, 4)
  location.replace(all)
  return location
}
const names = (location: Location, bucket: number): string[] =>
  location.order(bucket).map(({ member }) => member)

it('orders the members of each bucket by their scores, the highest first', () => {
  const all = members(9)
  const location = located(all)
  const score = ({ hash }: Member, bucket: number): number =>
    halfSipHash13(3, 4, Uint32Array.of(hash, bucket), 0, 2)
  const nearest = new Set<string>()
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const sorted = all.toSorted((a, b) => score(b, bucket) - score(a, bucket))
    assert.equal(location.order(bucket), sorted)
    nearest.add(sorted[0].member)
  }
  assert.is(nearest.size, 9, 'each is the nearest somewhere')
})

it('settles ties by name, whatever order the members are told in', () => {
  const all = members(5).map(member => ({ ...member, hash: 1 }))
  for (const told of [all, all.toReversed()])
    assert.equal(names(located(told), 7), ['m0', 'm1', 'm2', 'm3', 'm4'])
})

it('leaves out those that leave, and takes in what changes', () => {
  const all = members(6)
  const location = located(all)
  const before = Array.from({ length: BUCKETS }, (_, bucket) => names(location, bucket))
  location.replace(all.map(member => (member.member === 'm2' ? { ...member, leaving: true } : member)))
  for (const [bucket, order] of before.entries())
    assert.equal(
      names(location, bucket),
      order.filter(name => name !== 'm2'),
      'nothing else moves',
    )
  assert.ok(location.member('m2')?.leaving)
  location.replace(all.map(member => ({ ...member, incarnation: 2 })))
  for (const [bucket, order] of before.entries()) {
    assert.equal(names(location, bucket), order)
    assert.ok(location.order(bucket).every(({ incarnation }) => incarnation === 2))
  }
})

it.run()
