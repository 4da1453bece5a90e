/** Each screen at 80 x 24 as plain text; `UPDATE_GOLDEN=1` writes the files anew, to be read before a commit. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { renderToString } from 'ink'
import { createElement } from 'react'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Screen } from '../../../src/tui/app.ts'
import { HOSTS, NODES } from '../../support/fake-view.ts'
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

it('a role that only drains, and capacities that differ, are shown as such', () => {
  const nodes = NODES.nodes.map(node =>
    node.name === 'h1' ? { ...node, roles: ['classifier'], retiring: ['host'] } : node,
  )
  const capacities = [
    { service: 'web', capacity: 50 },
    { service: 'dns', capacity: 20 },
  ]
  const change = {
    nodes: { ...NODES, nodes },
    hosts: { hosts: HOSTS.hosts.map(host => (host.name === 'h1' ? { ...host, capacities } : host)) },
  }
  const tui = new Tui({}, 24, 140).looks(1, change)
  assert.match(tui.text(), /h1 +classifier,host \(drains\) /)
  assert.match(tui.keys('3').look(2, change).text(), /h1 .* web 50, dns 20 /)
  const form = tui.keys('1', 'j', 'r').text()
  assert.match(form, /\[x\] classifier\n/)
  assert.match(form, /\[ \] host \(drains\)\n/)
})

it.run()
