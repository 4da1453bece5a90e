import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { place } from '../../../src/tui/layout.ts'
import { arrange, moveTo, settle } from '../../../src/tui/list.ts'
import type { ListState } from '../../../src/tui/model.ts'
import type { Column, Row } from '../../../src/tui/screens/screen.ts'

const it = suite('tui/list')

const COLUMNS: Column[] = [
  { id: 'name', head: 'NAME', min: 6 },
  { id: 'size', head: 'SIZE', right: true, drop: 1 },
  { id: 'note', head: 'NOTE', grow: 40, min: 4, drop: 2 },
]
const row = (name: string, size = 0, note = ''): Row => ({
  key: name,
  cells: [{ text: name }, { text: String(size), sort: size }, { text: note }],
})
const LIST: ListState = { key: null, index: 0, top: 0, sort: 'name', reverse: false, filter: '' }
const names = (rows: Row[]): string[] => rows.map(({ key }) => key)

it('numbers inside names are numbers', () => {
  assert.equal(names(arrange([row('h10'), row('h2'), row('h1')], COLUMNS, LIST)), ['h1', 'h2', 'h10'])
})

it('sorts by value, equal ones by key, also when reversed', () => {
  const rows = [row('b', 9), row('a', 9), row('c', 10), row('d', 1)]
  assert.equal(names(arrange(rows, COLUMNS, { ...LIST, sort: 'size' })), ['d', 'a', 'b', 'c'])
  assert.equal(names(arrange(rows, COLUMNS, { ...LIST, sort: 'size', reverse: true })), ['c', 'a', 'b', 'd'])
})

it('a filter wants every word, in any column and case', () => {
  const rows = [row('h1', 5, 'Dead'), row('h2', 5, 'alive'), row('x1', 5, 'dead')]
  assert.equal(names(arrange(rows, COLUMNS, { ...LIST, filter: 'dead h' })), ['h1'])
})

it('the cursor stays with its row when others come and go', () => {
  const list = moveTo(LIST, [row('a'), row('b'), row('c')], 1)
  assert.is(settle(list, [row('0'), row('a'), row('b')], 10).index, 2)
  assert.equal(settle(list, [row('a'), row('c')], 10), { ...list, key: 'c', index: 1, top: 0 })
  assert.is(settle(list, [], 10).key, 'b')
})

it('the cursor is in the window, and the window in the rows', () => {
  const keys = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { maxLength: 60 })
  fc.assert(
    fc.property(
      keys,
      keys,
      fc.nat(80),
      fc.integer({ min: -3, max: 30 }),
      fc.nat(80),
      (before, after, to, height, top) => {
        const moved = moveTo(
          { ...LIST, top },
          before.map(key => row(key)),
          to,
        )
        const list = settle(
          moved,
          after.map(key => row(key)),
          height,
        )
        const visible = Math.max(1, height)
        if (after.length === 0) return assert.is(list.index, 0)
        assert.ok(list.index >= 0 && list.index < after.length)
        assert.ok(list.top <= list.index && list.index < list.top + visible)
        // No empty lines at the end while rows are hidden above.
        assert.ok(list.top === 0 || list.top + visible <= after.length)
        const kept = moved.key !== null && after.includes(moved.key)
        if (kept) assert.is(after[list.index], moved.key)
      },
    ),
  )
})

it('columns fill the line, then are cut, then left out in their order', () => {
  const rows = [row('a-very-long-name', 123, 'something to read')]
  const heads = COLUMNS.map(({ head }) => head)
  const shown = (width: number): [number, number][] =>
    place(COLUMNS, heads, rows, width).placed.map(({ at, width: cells }) => [at, cells])
  assert.equal(shown(80), [
    [0, 16],
    [1, 4],
    [2, 40],
  ])
  assert.equal(shown(45), [
    [0, 16],
    [1, 4],
    [2, 21],
  ])
  assert.equal(shown(20), [
    [0, 8],
    [1, 4],
    [2, 4],
  ])
  assert.equal(shown(15), [
    [0, 9],
    [1, 4],
  ])
  assert.equal(shown(9), [[0, 9]])
})

it.run()
