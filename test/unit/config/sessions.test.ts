/** How many copies of what is known of a service's connections the document asks for (R-C5). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import { parseDocument, servicesOf } from '../../../src/config/document.ts'
import { diffDocuments, renderChanges } from '../../../src/config/document-diff.ts'
import { copiesOf, MAX_COPIES } from '../../../src/config/fields.ts'
import { FULL } from '../../../src/dam/types.ts'
import { ShuntError } from '../../../src/errors.ts'

const it = suite('config: sessions')

const text = (more: object): string =>
  stringify({
    version: 1,
    pools: [{ name: 'web', hosts: [{ name: 'h1' }] }],
    services: [{ name: 'http', vip: '10.99.0.1', port: 80, protocol: 'tcp', pool: 'web', ...more }],
  })
const copies = (more: object): number | null => copiesOf(servicesOf(parseDocument(text(more), 'c.yaml'))[0]!)

it('one copy unless it is said; full is all, none is no atoms at all', () => {
  assert.is(copies({}), 1)
  assert.is(copies({ sessions: {} }), 1)
  for (const n of [0, 1, 7, MAX_COPIES]) assert.is(copies({ sessions: { copies: n } }), n)
  assert.is(copies({ sessions: { copies: 'full' } }), FULL)
  assert.is(copies({ sessions: { copies: 'none' } }), null)
})

it('UDP has none unless it is said: each first packet would wait', () => {
  assert.is(copies({ protocol: 'udp' }), null)
  assert.is(copies({ protocol: 'udp', sessions: { copies: 2 } }), 2)
})

it('what is no number of copies is refused with its place', () => {
  for (const wrong of [-1, MAX_COPIES + 1, 1.5, 'all', '', null, [1], true])
    assert.throws(
      () => copies({ sessions: { copies: wrong } }),
      (error: unknown) =>
        error instanceof ShuntError &&
        /^c\.yaml:\d+:\d+ services\[0\]\.sessions\.copies: must be (?:at least 0|at most 14|a whole number from 0 to 14, full or none)$/.test(
          error.message,
        ),
      JSON.stringify(wrong),
    )
  assert.throws(() => copies({ sessions: { copy: 1 } }), /copy/)
})

it('a number in quotes is told to be one', () => {
  assert.throws(
    () => copies({ sessions: { copies: '2' } }),
    /: must be a whole number from 0 to 14, full or none, not the string "2": write 2 without quotes$/,
  )
})

it('a change of it is shown; what means the same is none', () => {
  const change = (before: object, after: object): string =>
    renderChanges(diffDocuments(parseDocument(text(before), 'a'), parseDocument(text(after), 'b')))
  assert.is(change({}, { sessions: { copies: 2 } }), '~ service http: sessions.copies 1 -> 2\n')
  assert.is(
    change({ sessions: { copies: 'full' } }, { sessions: { copies: 'none' } }),
    '~ service http: sessions.copies full -> none\n',
  )
  assert.is(change({}, { sessions: { copies: 1 } }), '')
})

it.run()
