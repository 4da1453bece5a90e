/** Each screen at 80 x 24 as plain text; `UPDATE_GOLDEN=1` writes the files anew, to be read before a commit. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { renderToString } from 'ink'
import { createElement } from 'react'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Screen } from '../../../src/tui/app.ts'
import { Tui } from '../../support/tui.ts'

const it = suite('tui/screens')

const SCREENS: Record<string, () => Tui> = {
  nodes: () => new Tui().looks(12),
  services: () => new Tui().keys('2').looks(12),
  hosts: () => new Tui().keys('3').looks(12),
  flows: () => new Tui().keys('4').looks(12),
  events: () => new Tui().keys('5').looks(12),
  'node-details': () => new Tui().looks(12).keys('G', 'enter'),
  help: () => new Tui().looks(12).keys('?'),
  'roles-form': () => new Tui().looks(12).keys('j', 'r', 'space', 'G', 'j', 'j', 'space'),
  'hosts-wide': () => new Tui({}, 12, 140).keys('3').looks(12),
  'drain-confirm': () => new Tui().keys('3').looks(12).keys('d'),
  'host-details': () => new Tui().looks(12).keys('j', 'enter'),
  'read-only-wide-ascii': () => new Tui({ readOnly: true, unicode: false }, 12, 140).looks(12),
  away: () => new Tui().send({ on: 'away', why: 'cannot reach an agent on /run/shunt/control.sock' }),
}

for (const [name, make] of Object.entries(SCREENS)) {
  it(name, () => {
    const file = join(import.meta.dirname, 'golden', `${name}.txt`)
    const text = make().text()
    if (process.env.UPDATE_GOLDEN) writeFileSync(file, text)
    assert.is(text, readFileSync(file, 'utf8'))
  })
  it(`${name}: Ink draws the same`, () => {
    const tui = make()
    const drawn = renderToString(createElement(Screen, { state: tui.state, colour: true }), {
      columns: tui.state.columns,
    })
    const lines = stripVTControlCharacters(drawn)
      .split('\n')
      .map(line => line.trimEnd())
    assert.equal(lines, tui.lines())
  })
}

it.run()
