import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { buildRuleset } from '../../../src/agent/dataplane/nft/ruleset.ts'
import type { RulesetPlan } from '../../../src/agent/dataplane/nft/ruleset-plan.ts'
import { kernelCounters } from '../../../src/agent/kernel-counters.ts'
import { chooseXdp, markText, whyNotXdp } from '../../../src/agent/xdp-choice.ts'

const it = suite('xdp-choice')
const native = { mode: 'native', needsFrags: false, reason: 'eth0: native XDP works' } as const

it('auto takes XDP where all interfaces have it native and whole packets come (decision 31)', () => {
  assert.is(whyNotXdp([]), null)
  assert.is(whyNotXdp([{ name: 'eth0', kind: null, can: native }]), null)
  const generic = {
    mode: 'generic',
    needsFrags: false,
    reason: 'eth1: its driver has no native XDP',
  } as const
  const two = [
    { name: 'eth0', kind: null, can: native },
    { name: 'eth1', kind: null, can: generic },
  ]
  assert.match(whyNotXdp(two)!, /^eth1: its driver/)
  assert.match(whyNotXdp([{ name: 'eth0', kind: 'veth', can: native }])!, /eth0 is a veth.*dataplane: xdp/)
})

it('what is asked for by name is not tried before; each start has a mark of its own', () => {
  const config = { roles: ['forwarder' as const], interfaces: { uplink: ['lo'], cluster: ['lo'] } }
  assert.equal(chooseXdp({ ...config, dataplane: 'nftables' }), { choice: null, reason: '' })
  const [one, other] = [0, 1].map(() => chooseXdp({ ...config, dataplane: 'xdp' }).choice!)
  assert.is(one!.asked, 'xdp')
  assert.is.not(markText(one!.mark), markText(other!.mark))
  // Unicast, and nobody's vendor.
  for (const { mark } of [one!, other!]) assert.is(mark[0]! & 3, 2)
})

it('the rules let through what XDP has done with, before anything else', () => {
  const plan: RulesetPlan = {
    ...{ node: 'n1', uplink: ['eth0'], cluster: ['eth0'], clusterAddress: '10.0.0.1' },
    forwarder: { tunnelAddress: '10.0.0.2', services: [], hosts: [], routeCapacity: 16 },
    host: { tunnels: ['10.0.0.3'], mappingCapacity: 16 },
  }
  const chain = (text: string): string[] =>
    /chain in_eth0 \{\n([^}]*)\}/
      .exec(text)![1]!
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== '' && !line.startsWith('type'))
  const without = chain(buildRuleset(plan))
  assert.is(without.length, 3)
  assert.equal(chain(buildRuleset({ ...plan, doneBy: '02:00:00:00:00:07' })), [
    'ether saddr 02:00:00:00:00:07 accept',
    ...without,
  ])
})

it('counters of the rules and of XDP are one', () => {
  const rules = { route_hit: { packets: 1, bytes: 100 }, slow_vip: { packets: 5, bytes: 500 } }
  assert.is(kernelCounters(rules, null), rules)
  const counters = {
    xdp_sent_back: 10,
    xdp_redirected: 20,
    xdp_local: 30,
    xdp_restored: 7,
    xdp_not_a_service: 3,
  }
  assert.equal(
    kernelCounters(rules, {
      ...{ counters, forwardedBytes: 6000, restoredBytes: 700, byHost: [], byService: [] },
    }),
    {
      route_hit: { packets: 61, bytes: 6100 },
      slow_vip: { packets: 5, bytes: 500 },
      decap_hit: { packets: 7, bytes: 700 },
      not_a_service: { packets: 3, bytes: 0 },
    },
  )
})

it.run()
