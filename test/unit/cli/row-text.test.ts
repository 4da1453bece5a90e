import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { capacityText, holderText, rolesText, vipsHeld } from '../../../src/cli/row-text.ts'

const it = suite('cli/row-text')

it('roles that only drain are told from those that are wanted', () => {
  assert.is(rolesText({ roles: ['forwarder', 'host'], retiring: [] }), 'forwarder,host')
  assert.is(rolesText({ roles: ['classifier'], retiring: ['host'] }), 'classifier,host (drains)')
  assert.is(
    rolesText({ roles: [], retiring: ['host'] }, ', ', role => role.toUpperCase()),
    'HOST (drains)',
  )
  assert.is(rolesText({ roles: ['host'] }), 'host')
})

it('virtual IPs are counted of what can hold them, by a node that knows', () => {
  assert.is(vipsHeld({ roles: ['forwarder'], vips: ['10.99.0.1'] }), 1)
  assert.is(vipsHeld({ roles: ['forwarder'], vips: [] }), 0)
  assert.is(vipsHeld({ roles: ['forwarder'], vips: null }), null)
  assert.is(vipsHeld({ roles: ['host'], vips: [] }), null)
  assert.is(vipsHeld({ roles: ['host'], retiring: ['forwarder'], vips: [] }), 0)
  assert.is(vipsHeld({ roles: ['host'] }), null)
})

it('the holder of a virtual IP, and that it was ordered there', () => {
  assert.is(holderText({ announce: 'arp', holder: 'f2', ordered: true }), 'f2 (ordered)')
  assert.is(holderText({ announce: 'arp', holder: 'f2', ordered: false }), 'f2')
  assert.is(holderText({ announce: 'arp', holder: null, ordered: true }), null)
  assert.is(holderText({ announce: 'routed', holder: null, ordered: false }), 'routed')
})

it('one capacity when all are equal, else each by its service', () => {
  const of = (...list: [service: string, capacity: number][]) => ({
    capacity: Math.max(0, ...list.map(([, capacity]) => capacity)),
    capacities: list.map(([service, capacity]) => ({ service, capacity })),
  })
  assert.is(capacityText(of(['web', 20], ['api', 50])), 'web 20, api 50')
  assert.is(capacityText(of(['web', 50], ['api', 50])), 50)
  assert.is(capacityText(of(['web', 0], ['api', 50])), 'web 0, api 50')
  assert.is(capacityText(of()), 0)
  assert.is(capacityText({ capacity: 7 }), 7)
})

it.run()
