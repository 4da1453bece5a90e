/** Each screen at 80 x 24 as plain text; `UPDATE_GOLDEN=1` writes the files anew, to be read before a commit. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { renderToString } from 'ink'
import { createElement } from 'react'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EndpointRow, ServiceAtomsRow } from '../../../src/control/types.ts'
import { Screen } from '../../../src/tui/app.ts'
import { ATOMS, HEALTH, HOSTS, NODES, VIPS } from '../../support/fake-view.ts'
import { lookAt, Tui } from '../../support/tui.ts'

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
  health: () => new Tui().keys('6').looks(12),
  atoms: () => new Tui().keys('7').looks(12),
  'atoms-details': () => new Tui().keys('7').looks(12).keys('j', 'enter'),
  'health-details': () => new Tui().keys('3').looks(12).keys('enter', 'enter'),
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
  const tui = new Tui({}, 24, 160).looks(1, change)
  assert.match(tui.text(), /h1 +classifier,host \(drains\) /)
  assert.match(tui.keys('3').look(2, change).text(), /h1 .* web 50, dns 20 /)
  const form = tui.keys('1', 'j', 'r').text()
  assert.match(form, /\[x\] classifier\n/)
  assert.match(form, /\[ \] host \(drains\)\n/)
})

it('atoms: fewer members than copies, in the row and in its details', () => {
  const [web, dns] = ATOMS.services as [ServiceAtomsRow, ServiceAtomsRow]
  const services = [{ ...web, wanted: 2, possible: 1 }, dns]
  const tui = new Tui({}, 24, 100).keys('7').looks(1, { atoms: { ...ATOMS, settled: false, services } })
  assert.match(tui.text(), /web .* 2050 +no, 1 of 2 copies +3$/m)
  assert.match(tui.text(), /dns .* 0 +yes +3$/m)
  assert.match(
    tui.keys('j', 'enter').text(),
    /all: settled +no, 1 of 2 copies of web: needs another forwarder or classifier$/m,
  )
})

it('the cause of a directive is shown where there is room for it', () => {
  let shares: typeof HEALTH.shares = []
  const shown = (columns: number, ...changes: Partial<EndpointRow>[]): string => {
    const [table] = HEALTH.cache!
    const rows = changes.map(change => ({ ...table!.rows[0]!, ...change }))
    const tui = new Tui({}, 12, columns)
      .keys('3')
      .looks(1, { health: { ...HEALTH, cache: [{ ...table!, rows }], shares } })
    return /% {2}(\S.*?) {2,}/.exec(tui.lines().find(line => line.startsWith('> h1'))!)![1]!
  }
  const drained = { target: 'draining', current: 'draining' } as const
  for (const cause of ['order', 'overload', 'stopping', 'health'] as const)
    assert.is(shown(80, { ...drained, cause }), `draining (${cause})`)
  const going = { target: 'draining', current: 'active', cause: 'order' } as const
  for (const columns of [80, 140]) assert.is(shown(columns, going), 'active>draining (order)')
  assert.is(shown(72, going), 'active>draining', 'no half of a word')
  assert.is(shown(140, { target: 'active', current: 'draining', cause: 'default' }), 'draining>active')
  assert.is(shown(140, {}, { ...drained, cause: 'order' }), 'draining 1/2 (order)')
  const both = [{ ...drained, cause: 'overload' } as const, { ...drained, cause: 'order' } as const]
  assert.is(shown(140, ...both), 'draining (order,overload)')
  assert.is(
    shown(140, { ...drained, cause: 'overload' }, going),
    'active>draining (order)',
    'of the row that is told',
  )
  assert.is(shown(140, {}), 'active')
  shares = HEALTH.shares
  assert.is(shown(140, { ...drained, cause: 'health' }), 'draining (health, used)', 'for want of better ones')
})

it('what should listen and does not is in the table of hosts, in the details of the node, and in the banner', () => {
  const gone = { host: 'h1', vip: '10.99.0.1:8080', protocol: 'tcp', capacity: 50, order: null } as const
  const absent = [{ ...gone, service: 'api' }]
  const tui = new Tui({}, 24, 200).looks(1, { health: { ...HEALTH, absent } })
  assert.match(tui.text(), /; nothing listens for api on h1/)
  assert.match(tui.keys('3').text(), /h1 +10\.10\.0\.31 +alive +absent 1\/3 /)
  assert.match(tui.keys('1', 'j', 'enter').text(), /api +10\.99\.0\.1:8080 absent: nothing listens\n/)
  const drained = { health: { ...HEALTH, absent: [{ ...absent[0]!, order: 'draining' as const }] } }
  const calm = new Tui({}, 24, 200).looks(1, drained)
  assert.not.match(calm.text(), /nothing listens/)
  assert.match(calm.keys('j', 'enter').text(), /absent: nothing listens, draining \(order\)\n/)
})

it('services whose hosts take nothing new, or are used though they are not well', () => {
  const services = (change: Partial<(typeof VIPS.vips)[number]>) =>
    new Tui({}, 24, 200)
      .keys('2')
      .looks(1, { vips: { vips: VIPS.vips.map(vip => ({ ...vip, live: 2, ...change })) } })
      .text()
  const none = services({ ready: 0 })
  assert.match(none, /; no host of web takes new connections;/)
  assert.match(none, /web .* 0\/2 /)
  assert.match(services({ ready: 2, fallback: 'failing' }), /; only failing hosts are left of web; /)
  assert.match(services({ ready: 2, fallback: 'overload' }), /; only overloaded hosts are left of web; /)
  assert.match(services({ ready: null }), /web .* -\/2 /)
})

it('who holds virtual IPs, how many, and by whose order', () => {
  const vips = VIPS.vips.map(row => ({ ...row, announce: 'arp' as const, holder: 'f2', ordered: true }))
  const services = new Tui({}, 12, 140).keys('2').send({ on: 'look', look: lookAt(0, { vips: { vips } }) })
  assert.match(services.text(), /web .* f2 \(ordered\) /)
  const nodes = { ...NODES, nodes: NODES.nodes.map(node => ({ ...node, vips: [] as string[] })) }
  nodes.nodes[0]!.vips.push('10.99.0.1', '10.99.0.3')
  const rows = new Tui({}, 12, 140).send({ on: 'look', look: lookAt(0, { nodes }) })
  assert.match(rows.text(), /f1 .* alive +- +2 +2 +yes/)
  assert.match(rows.text(), /h1 .* 0\.2ms +- +2 +yes/)
})

it.run()
