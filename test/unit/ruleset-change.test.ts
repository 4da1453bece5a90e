import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeRuleset } from '../../src/agent/dataplane/nft/ruleset.ts'
import { changeRuleset } from '../../src/agent/dataplane/nft/ruleset-change.ts'
import type { RulesetPlan } from '../../src/agent/dataplane/nft/ruleset-plan.ts'

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

const six = {
  clusterAddress6: 'fd00::11',
  forwarder: {
    ...forwarder,
    tunnelAddress6: 'fd01::11',
    services: [...forwarder.services, { vip: 'fd99::1', protocol: 'udp', port: 53 }],
    hosts6: [{ index: 1, address: 'fd00::71', hop: 'fe80::71', link: 'c0' }],
  },
  host: { ...host, tunnels6: ['fd01::12'] },
}

it('IPv6 has sets and chains of its own, and what IPv4 has stays as it is', () => {
  const [four, both] = [describeRuleset(plan()), describeRuleset(plan(six))]
  for (const [name, part] of four.sets) assert.equal(both.sets.get(name), part)
  for (const [name, { rules }] of four.chains)
    assert.equal(
      both.chains.get(name)!.rules.filter(rule => !rule.startsWith('ip6')),
      rules,
    )
  const elements = (name: string) => both.sets.get(name)!.elements
  assert.equal(['vips6', 'services6', 'address6', 'hop6', 'link6', 'tunnels6'].map(elements), [
    ['fd99::1'],
    ['fd99::1 . udp . 53'],
    ['1 : fd00::71'],
    ['1 : fe80::71'],
    ['1 : "c0"'],
    ['fd01::12'],
  ])
  const errors = 'icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }'
  assert.equal(both.chains.get('in_u0')!.rules, [
    'ip daddr @vips goto vip',
    'ip6 daddr @vips6 goto vip6',
    'ip daddr 10.10.1.11 icmp type { destination-unreachable, time-exceeded, parameter-problem } goto of_icmp',
    `ip6 daddr fd01::11 ${errors} goto of_icmp`,
  ])
  assert.ok(both.chains.get('in_c0')!.rules.includes('ip6 saddr @tunnels6 ip6 daddr fd00::11 goto decap6'))
  assert.equal(both.chains.get('vip6')!.rules, [
    'frag frag-off != 0 counter name fragment_vip drop',
    'frag more-fragments 1 counter name fragment_vip drop',
    'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept',
    `${errors} goto of_icmp`,
    'icmpv6 type echo-request goto of_icmp',
    'ip6 daddr . meta l4proto . th dport @services6 goto service6',
    'ip6 daddr . meta l4proto . th dport != @services6 counter name not_a_service drop',
    'goto slow_vip',
  ])
  assert.equal(both.chains.get('service6')!.rules, [
    'ip6 nexthdr != { tcp, udp } goto slow_vip',
    'tcp flags & (fin | syn | rst) != 0 goto slow_vip',
    'ip6 hoplimit <= 1 goto slow_vip',
    '@th,0,32 set ip6 saddr . th sport . ip6 daddr . th dport . meta l4proto map @route6 goto encap6',
    'meta mark set ip6 saddr . th sport . ip6 daddr . th dport . meta l4proto map @fixed6 goto fix6',
    'ip6 saddr . th sport . ip6 daddr . th dport . meta l4proto @local6 counter name local_hit counter name route_hit accept',
    'goto slow_vip',
  ])
  assert.equal(both.chains.get('encap6')!.rules, [
    'ip6 daddr set @th,0,8 map @address6 ip6 saddr set fd01::11 counter name route_hit fwd ip6 to @th,0,8 map @hop6 device @th,0,8 map @link6',
    'counter name half_restored drop',
  ])
  assert.equal(both.chains.get('restore6')!.rules, [
    '@th,0,32 set meta mark map @ports ip6 saddr set meta mark map @client6 ip6 daddr set meta mark map @vip_of6 meta mark set 0 counter name decap_hit accept',
    'counter name half_restored drop',
  ])
  // A forwarder that has no IPv6 tunnel address leaves packets for the VIP alone.
  const without = describeRuleset(
    plan({ ...six, forwarder: { ...six.forwarder, tunnelAddress6: undefined } }),
  )
  assert.not.ok(without.sets.has('vips6'))
  assert.equal(without.sets.get('vips')!.elements, ['10.99.0.1'])
})

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
    plan(six),
  ]
  for (const before of plans) {
    for (const after of plans) {
      const text = changeRuleset(before, after)
      assert.not.match(
        text,
        /flush (map|set|table) netdev shunt_n1( |$)((route|fixed|local|dec|ports|client|vip_of)6?)?$/m,
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
