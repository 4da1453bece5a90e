import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FLAG } from '../support/packets.ts'
import { SimCluster } from '../support/sim-cluster.ts'

const it = suite('slow path in virtual time (R-A3, R-E8, decisions 2-4)')
const CALM = { loss: 0, duplicate: 0, jitterMs: 0 }
const WILD = { loss: 0.05, duplicate: 0.05, jitterMs: 3 }

for (const remoteClassifier of [false, true]) {
  it(`without faults each packet arrives once, in order, at one host (classifier ${remoteClassifier ? 'apart' : 'together'})`, () => {
    const sim = new SimCluster({ seed: 5, forwarders: 2, hosts: 3, remoteClassifier, faults: CALM })
    for (let i = 0; i < 150; i++) sim.at(i * 7, () => sim.session(sim.open(), 30, 900))
    sim.run(4000)
    assert.equal(sim.problems, [])
    for (const flow of sim.flows) {
      assert.equal(
        flow.received,
        Array.from({ length: flow.sent }, (_, i) => i),
        `flow ${flow.id}`,
      )
      assert.is(flow.hosts.size, 1)
    }
    const kernels = sim.forwarders.map(f => sim.nodes.get(f)!.kernel.forwarded)
    assert.ok(
      kernels.every(count => count > 500),
      `kernel routes carried traffic: ${kernels}`,
    )
  })

  it(`500 seeds with loss, duplication and reordering: never a byte in another connection (classifier ${remoteClassifier ? 'apart' : 'together'})`, () => {
    for (let seed = 1; seed <= 250; seed++) {
      const sim = new SimCluster({ seed, forwarders: 2, hosts: 3, remoteClassifier, faults: WILD })
      for (let i = 0; i < 25; i++) sim.at(i * 9, () => sim.session(sim.open(), 12, 150))
      const victim = [...sim.forwarders, ...sim.hosts][seed % 5]
      if (seed % 2 === 0) sim.at(120, () => sim.restart(victim))
      if (seed % 3 === 0) {
        sim.at(60, () => sim.cut(victim, true))
        sim.at(180, () => sim.cut(victim, false))
      }
      sim.run(600)
      assert.equal(sim.problems, [], `seed ${seed}`)
      for (const flow of sim.flows)
        assert.ok(flow.hosts.size <= 1, `seed ${seed}: flow ${flow.id} reached ${[...flow.hosts]}`)
    }
  })
}

it('tables empty themselves when everything ended', () => {
  const sim = new SimCluster({ seed: 3, forwarders: 1, hosts: 2, remoteClassifier: true, faults: CALM })
  for (let i = 0; i < 60; i++) sim.at(i * 5, () => sim.session(sim.open(), 20, 300))
  sim.run(60_000)
  for (const node of sim.nodes.values()) {
    const { forwarder, host, classifier, identifiers } = node.engine
    assert.is(forwarder?.flows.table.size ?? 0, 0)
    assert.is(identifiers?.inUse ?? 0, 0)
    assert.is(identifiers?.quarantined ?? 0, 0)
    assert.is(host?.mappings.table.size ?? 0, 0)
    if (classifier !== null) for (const batch of node.engine.plumbs.values()) assert.ok(batch.size > 0)
  }
})

it('a SYN flood exhausts neither routes nor identifiers nor mappings (decision 4)', () => {
  const sim = new SimCluster({ seed: 4, forwarders: 1, hosts: 2, remoteClassifier: false, faults: CALM })
  const kept = sim.open()
  sim.session(kept, 60, 3000)
  for (let i = 0; i < 3000; i++) sim.at(100 + i * 0.5, () => sim.send(sim.open(), FLAG.SYN, 8))
  const late = { flow: kept }
  sim.at(1000, () => {
    late.flow = sim.open()
    sim.session(late.flow, 30, 1000)
  })
  sim.run(4000)
  assert.equal(sim.problems, [])
  const forwarder = sim.nodes.get(sim.forwarders[0])!.engine.forwarder!
  assert.ok(forwarder.counters.evictedEmbryonic > 2000)
  assert.ok(forwarder.flows.embryonic <= forwarder.flows.embryonicCapacity)
  for (const flow of [kept, late.flow]) assert.is(new Set(flow.received).size, flow.sent, `flow ${flow.id}`)
})

it('a forged RST cuts no flow, and a half-closed download goes on (decision 4)', () => {
  const sim = new SimCluster({ seed: 6, forwarders: 1, hosts: 2, remoteClassifier: false, faults: CALM })
  const hit = sim.open()
  sim.session(hit, 100, 20_000)
  sim.at(500, () => sim.send(hit, FLAG.RST, 8))
  const half = sim.open()
  sim.session(half, 10, 100)
  for (let i = 0; i < 200; i++) sim.at(200 + i * 100, () => sim.send(half, FLAG.ACK, 8))
  sim.run(25_000)
  assert.equal(sim.problems, [])
  for (const flow of [hit, half]) {
    assert.is(new Set(flow.received).size, flow.sent)
    assert.is(flow.hosts.size, 1)
  }
})

it('an active flow outlives the idle time-out; its packets leave the slow path but for the leases', () => {
  const sim = new SimCluster({ seed: 7, forwarders: 1, hosts: 1, remoteClassifier: false, faults: CALM })
  const flow = sim.open()
  sim.session(flow, 4000, 120_000)
  sim.run(130_000)
  assert.is(new Set(flow.received).size, flow.sent)
  const { forwarder } = sim.nodes.get(sim.forwarders[0])!.engine
  const slow = forwarder!.counters.slowPackets
  assert.ok(slow < 80, `${slow} of ${flow.sent} packets took the slow path`)
})

it('full-size segments before the mapping is acknowledged are held, not lost, in order (decision 3)', () => {
  const sim = new SimCluster({ seed: 8, forwarders: 1, hosts: 1, remoteClassifier: true, faults: CALM })
  const flow = sim.open()
  sim.send(flow, FLAG.SYN, 8)
  for (let i = 0; i < 10; i++) sim.send(flow, FLAG.ACK, 1460)
  sim.run(500)
  assert.equal(
    flow.received,
    Array.from({ length: flow.sent }, (_, i) => i),
  )
})

it.run()
