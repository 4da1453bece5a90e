import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type GroupHost, groupsOf } from '../../../src/health/group/groups.ts'

const it = suite('groups of hosts (R-B7)')

const anId = fc.integer({ min: 0, max: 0xff_ffff }).map(n => n.toString(16).padStart(6, '0'))
const ids = fc.uniqueArray(anId, { minLength: 1, maxLength: 200 })
const hostsOf = (names: readonly string[]): GroupHost[] =>
  names.map(id => ({ name: `n${id}`, id, host: Number.parseInt(id, 16) + 1 }))
const placesOf = (hosts: readonly GroupHost[], size: number): Map<string, number> =>
  new Map(groupsOf(hosts, size).flatMap(({ index, hosts }) => hosts.map(({ id }) => [id, index] as const)))

it('each host is in one group, of at most `size`, whatever the order of the list; sizes differ by at most one', () => {
  fc.assert(
    fc.property(ids, fc.integer({ min: 1, max: 40 }), (names, size) => {
      const groups = groupsOf(hostsOf(names), size)
      assert.equal(groups.flatMap(({ hosts }) => hosts.map(({ id }) => id)).sort(), [...names].sort())
      const sizes = groups.map(({ hosts }) => hosts.length)
      assert.ok(Math.max(...sizes) <= size)
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
      assert.is(new Set(groups.map(({ index }) => index)).size, groups.length)
      assert.equal(groupsOf(hostsOf([...names].reverse()), size), groups)
    }),
  )
})

it('groups are more than half full', () => {
  for (let count = 33; count <= 300; count++) {
    const names = Array.from({ length: count }, (_, i) => (i * 7919 + 100_000).toString(16))
    for (const { hosts } of groupsOf(hostsOf(names))) assert.ok(hosts.length >= 16, `${count} hosts`)
  }
})

it('a host that comes moves at most one host over each border, and half of them when all groups are cut in two', () => {
  fc.assert(
    fc.property(ids, anId, fc.integer({ min: 2, max: 40 }), (names, id, size) => {
      fc.pre(!names.includes(id))
      const before = placesOf(hostsOf(names), size)
      const after = placesOf(hostsOf([...names, id]), size)
      const moved = names.filter(name => before.get(name) !== after.get(name)).length
      const groups = new Set(before.values()).size
      const isCut = new Set(after.values()).size > groups
      const most = isCut ? Math.ceil(names.length / 2) + groups : groups - 1
      assert.ok(moved <= most, `${moved} of ${names.length} moved, of ${groups} groups`)
    }),
    { numRuns: 500 },
  )
})

it('no hosts make no groups; a size that is none is taken as one', () => {
  assert.equal(groupsOf([]), [])
  assert.is(groupsOf(hostsOf(['aa', 'bb', 'cc']), 0).length, 3)
})

it.run()
