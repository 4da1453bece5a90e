import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RulesetPlan } from '../../src/agent/dataplane/nft/ruleset.ts'
import { changeRuleset } from '../../src/agent/dataplane/nft/ruleset-change.ts'

const it = suite('changes of the ruleset')

const forwarder = {
  tunnelAddress: '10.10.1.11',
  services: [{ vip: '10.99.0.1', protocol: 'tcp', port: 80 }],
  hosts: [{ index: 1, address: '10.10.0.71', hop: '10.10.0.71', link: 'c0' }],
  routeCapacity: 1024,
}
const host = { tunnels: ['10.10.1.12'], mappingCapacity: 1024 }
const plan = (change: Partial<RulesetPlan> = {}): RulesetPlan => ({
  ...{ node: 'n1', uplink: ['u0'], cluster: ['c0'], clusterAddress: '10.10.0.11', forwarder, host },
  ...change,
})
const lines = (before: RulesetPlan, after: RulesetPlan, renewed?: ReadonlySet<string>): string[] =>
  changeRuleset(before, after, renewed).trimEnd().split('\n')

it('nothing for the same', () => assert.is(changeRuleset(plan(), plan()), ''))

it('another service changes elements and no rule', () => {
  const services = [...forwarder.services, { vip: '10.99.0.2', protocol: 'udp', port: 53 }]
  assert.equal(lines(plan(), plan({ forwarder: { ...forwarder, services } })), [
    'flush set netdev shunt_n1 vips',
    'add element netdev shunt_n1 vips { 10.99.0.1, 10.99.0.2 }',
    'flush set netdev shunt_n1 services',
    'add element netdev shunt_n1 services { 10.99.0.1 . tcp . 80, 10.99.0.2 . udp . 53 }',
  ])
  assert.equal(lines(plan(), plan({ forwarder: { ...forwarder, services: [] } })), [
    'flush set netdev shunt_n1 vips',
    'flush set netdev shunt_n1 services',
  ])
})

it('a way to a host that becomes narrow, or wide again, changes how packets leave, in whole rules', () => {
  const narrow = plan({ forwarder: { ...forwarder, hosts: [{ ...forwarder.hosts[0]!, mtu: 1400 }] } })
  assert.equal(lines(plan(), narrow), [
    'flush chain netdev shunt_n1 encap',
    'table netdev shunt_n1 {',
    ' chain narrow {',
    '  @th,0,8 { 1 } ip length > 1400 goto slow_vip',
    '  counter name route_hit fwd ip to @th,0,8 map @hop device @th,0,8 map @link',
    '  counter name half_restored drop',
    ' }',
    ' chain encap {',
    '  ip daddr set @th,0,8 map @address ip saddr set 10.10.1.11 goto narrow',
    '  counter name half_restored drop',
    ' }',
    '}',
  ])
  assert.equal(lines(narrow, plan()).slice(0, 3), [
    'flush chain netdev shunt_n1 narrow',
    'flush chain netdev shunt_n1 encap',
    'delete chain netdev shunt_n1 narrow',
  ])
})

it('no change ever flushes what the plumber put in, nor makes a base chain of a link that stays anew', () => {
  const plans = [
    plan(),
    plan({ host: null }),
    plan({ forwarder: null }),
    plan({ forwarder: null, host: null }),
  ]
  for (const before of plans) {
    for (const after of plans) {
      const text = changeRuleset(before, after)
      assert.not.match(
        text,
        /flush (map|set|table) netdev shunt_n1( |$)(route|fixed|local|dec|ports|client|vip_of)?$/m,
      )
      for (const link of ['u0', 'c0']) {
        const had = (p: RulesetPlan): boolean => (link === 'u0' ? p.forwarder !== null : p.host !== null)
        if (had(before) && had(after))
          assert.not.match(text, new RegExp(`delete chain .* in_${link}|device "${link}"`))
      }
    }
  }
})

it('a role that goes takes its chains and sets; a link that was made anew gets a chain anew', () => {
  const gone = lines(plan(), plan({ host: null }))
  assert.ok(gone.includes('delete map netdev shunt_n1 dec'))
  assert.ok(
    gone.indexOf('flush chain netdev shunt_n1 in_c0') < gone.indexOf('delete chain netdev shunt_n1 decap'),
  )
  const renewed = lines(plan(), plan(), new Set(['c0']))
  assert.ok(renewed.includes('delete chain netdev shunt_n1 in_c0'))
  assert.ok(renewed.some(line => line.includes('device "c0"')))
})

it('names of links that are no names of chains', () => {
  const odd = plan({ uplink: ['wan+1'] })
  const text = changeRuleset(plan({ forwarder: null }), odd)
  assert.match(text, 'chain in_/77616e2b31 {')
  assert.match(text, 'device "wan+1"')
})

it('refuses to change the form of a set', () => {
  const larger = plan({ forwarder: { ...forwarder, routeCapacity: 2048 } })
  assert.throws(() => changeRuleset(plan(), larger), /cannot change its form/)
})

it.run()
