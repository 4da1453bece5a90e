/**
 * An application that is gone while its host's agent lives is told as loudly as one that fails: in the tables, as events on its host
 * and on each unit, by the doctor (R-B2, R-B3). A service without a host for new connections is told of too.
 */
// test-beside-others
// test-timeout-ms: 120000
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EventRow, EventsData, VipsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { until } from '../support/traffic.ts'

const it = suite('absent')
const UNITS = ['f1', 'c1']
let lab: Lab

const events = async (node: string, kind: EventRow['kind'], subject: string): Promise<EventRow[]> => {
  const { events: all } = await lab.api<EventsData>(node, '/v1/events?limit=1000')
  return all.filter(event => event.kind === kind && event.subject === subject)
}
const told = (node: string, kind: EventRow['kind'], subject: string): Promise<EventRow[]> =>
  until(`${kind} of ${subject} on ${node}`, async () => {
    const found = await events(node, kind, subject)
    return found.length > 0 ? found : undefined
  })
const ready = (node: string, hosts: number): Promise<true> =>
  until(`${hosts} hosts for ${node}`, async () => {
    const { vips } = await lab.api<VipsData>(node, '/v1/vips')
    return vips[0]!.ready === hosts ? true : undefined
  })
const order = async (command: 'drain' | 'undrain', host: string): Promise<void> => {
  const { code, stdout, stderr } = await lab.shunt('f1', [command, host, '--yes', '--timeout', '30s'])
  assert.is(code, 0, stdout + stderr)
}

it.before(async () => {
  lab = await Lab.up({ name: labName(), mode: 'managed', forwarders: 1, classifiers: 1, hosts: 2 })
  for (const unit of UNITS) await ready(unit, 2)
})

it.after(async () => {
  if (lab === undefined) return
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

it('an application that ends is absent on every unit and on its host, and is back when it is', async () => {
  const well = await lab.shunt('f1', ['hosts', '-o', 'wide'])
  assert.is(well.code, 0, well.stderr)
  lab.killWeb('h1')
  for (const node of [...UNITS, 'h1']) {
    const [lost] = await told(node, 'app.lost', 'h1')
    assert.equal([lost!.severity, lost!.text], ['warning', 'nothing listens for web on h1'])
  }
  for (const node of [...UNITS, 'h1']) {
    const wide = await lab.shunt(node, ['hosts', '-o', 'wide'])
    assert.is(wide.code, 3)
    assert.match(wide.stdout, /\nh1 +web +10\.99\.0\.1:80 +absent +- +\d+ +- +- +- /)
    assert.match(wide.stderr, /^warning: nothing listens for web on h1: start its application there/m)
  }
  await ready('f1', 1)
  const doctor = await lab.shunt('f1', ['doctor', '--config', lab.files('f1').config])
  assert.match(
    doctor.stdout,
    /warn +applications +Nothing listens for web on h1\.\n +fix: start its application/,
  )

  await lab.startWeb('h1')
  for (const node of [...UNITS, 'h1']) {
    const [back] = await told(node, 'app.back', 'h1')
    assert.equal([back!.severity, back!.text], ['info', 'an application listens again for web on h1'])
    assert.is((await events(node, 'app.lost', 'h1')).length, 1, `${node} told it more than once`)
  }
  for (const unit of UNITS) await ready(unit, 2)
  const again = await lab.shunt('f1', ['hosts', '-o', 'wide'])
  assert.is(again.code, 0, again.stderr)
})

it('a service all of whose hosts are drained is warned of; a drained host may end its application in peace', async () => {
  for (const host of ['h1', 'h2']) await order('drain', host)
  for (const unit of UNITS) {
    await ready(unit, 0)
    const vips = await lab.shunt(unit, ['vips'])
    assert.is(vips.code, 3)
    assert.match(vips.stdout, /\nweb +10\.99\.0\.1 +80 +tcp +routed +2 +2 +0 /)
    assert.match(vips.stderr, /no host of web takes new connections/)
    const followed = await told(unit, 'directive.followed', 'h2')
    assert.equal(
      followed.map(({ text }) => text),
      ['web on h2: no new connections from here, by order'],
    )
  }
  lab.killWeb('h2')
  const [ended] = await told('f1', 'app.lost', 'h2')
  assert.is(ended!.severity, 'info')
  const wide = await lab.shunt('f1', ['hosts', '-o', 'wide'])
  assert.is(wide.code, 3)
  assert.is(
    wide.stderr,
    'nothing listens for web on h2, which is draining by order; shunt undrain ends it\nwarning: no host of web takes new connections (h1: draining by order, shunt undrain ends it; h2: nothing listens, and it is draining)\n',
  )
  await lab.startWeb('h2')
  for (const host of ['h1', 'h2']) await order('undrain', host)
  for (const unit of UNITS) await ready(unit, 2)
})

const missing = missingRoot()
if (missing === undefined) it.run()
else skip('absent', missing)
