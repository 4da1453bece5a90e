/** Whole clusters in virtual time: what trace says of a flow is what becomes of it, and asking changes nothing. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type TraceLook, traceFlow } from '../../src/agent/dataplane/trace.ts'
import { dotted, type Flow, SimCluster } from '../support/sim-cluster.ts'

const it = suite('trace in virtual time')
const CALM = { loss: 0, duplicate: 0, jitterMs: 0 }

const keyOf = ({ client, port, service }: Flow): Uint32Array =>
  Uint32Array.of(0, 0, 0xffff, client, 0, 0, 0xffff, service.vip, (port << 16) | service.port, 6)

const look = (sim: SimCluster, address: number, flow: Flow): TraceLook =>
  traceFlow(sim.nodes.get(address)!.engine, null, keyOf(flow), sim.nowMs)

const classifierOf = (sim: SimCluster, flow: Flow): number =>
  look(sim, flow.forwarder, flow).choice !== null
    ? flow.forwarder
    : [...sim.nodes].find(([, { engine }]) => engine.classifier !== null)![0]

/** Address of a host, by its index at a node. */
const hostOf = (sim: SimCluster, address: number, host: number): string =>
  dotted(sim.nodes.get(address)!.engine.directory.host(host)?.ipv4 ?? 0)

for (const remoteClassifier of [false, true])
  it(`before, during and after (classifier ${remoteClassifier ? 'apart' : 'together'})`, () => {
    const sim = new SimCluster({ seed: 7, forwarders: 2, hosts: 3, remoteClassifier, faults: CALM })
    let told = 0
    for (let i = 0; i < 40; i++)
      sim.at(i * 20, () => {
        const flow = sim.open()
        const classifier = classifierOf(sim, flow)
        const before = look(sim, flow.forwarder, flow)
        assert.equal([before.inForce, before.service, before.flow, before.kernel], [true, 0, null, null])
        assert.is(before.classifier !== null, remoteClassifier)
        const { choice } = look(sim, classifier, flow)
        const foretold = hostOf(sim, classifier, choice!.chosen)
        assert.is(choice!.candidates.length, 3)
        sim.session(flow, 30, 600)
        sim.at(500, () => {
          assert.equal([...flow.hosts], [foretold], `flow ${flow.id}`)
          const during = look(sim, flow.forwarder, flow)
          assert.is(hostOf(sim, flow.forwarder, during.flow!.host), foretold)
          assert.equal([during.flow!.state, during.flow!.mapped], ['established', true])
          assert.equal([during.kernel?.by, during.kernel?.host], ['nftables', during.flow!.host])
          for (const host of sim.hosts) {
            const { mappings } = look(sim, host, flow)
            const isHost = dotted(host) === foretold
            assert.equal(
              mappings?.map(({ identifier }) => identifier),
              isHost ? [during.flow!.identifier] : [],
            )
          }
          told++
        })
        sim.at(1500, () => {
          const [first, again] = [0, 1].map(() => look(sim, flow.forwarder, flow).flow)
          assert.is(first?.state, 'closing')
          assert.ok(first!.idleMs > 100, 'asking is no use of the flow')
          assert.equal(again, first)
        })
      })
    sim.run(3000)
    assert.equal(sim.problems, [])
    assert.is(told, 40)
  })

it('asking at any time changes nothing: the same cluster without it ends in the same state', () => {
  const run = (asks: boolean): unknown => {
    const faults = { loss: 0.05, duplicate: 0.05, jitterMs: 3 }
    const sim = new SimCluster({ seed: 11, forwarders: 2, hosts: 3, remoteClassifier: true, faults })
    for (let i = 0; i < 60; i++) sim.at(i * 9, () => sim.session(sim.open(), 20, 300))
    for (let i = 0; asks && i < 500; i++)
      sim.at(i * 5, () => {
        for (const flow of sim.flows.slice(-5))
          for (const address of sim.nodes.keys()) look(sim, address, flow)
      })
    sim.run(4000)
    return [
      sim.flows.map(({ received, hosts }) => [received, [...hosts]]),
      [...sim.nodes.values()].map(({ engine }) => [
        engine.forwarder?.counters,
        engine.host?.counters,
        engine.classifier?.counters,
        engine.allotment.counters,
        [...engine.drops.counts],
      ]),
    ]
  }
  assert.equal(run(true), run(false))
})

it('no VIP, no service: nothing is looked for', () => {
  const sim = new SimCluster({ seed: 1, forwarders: 1, hosts: 1, remoteClassifier: false, faults: CALM })
  const flow = sim.open()
  const other = { ...flow, service: { ...flow.service, port: 81 } }
  const none = { ...flow, service: { ...flow.service, vip: 0x01020304 } }
  const of = (one: Flow): unknown[] => {
    const { inForce, service, choice } = look(sim, flow.forwarder, one)
    return [inForce, service, choice]
  }
  assert.equal(of(other), [true, null, null])
  assert.equal(of(none), [false, null, null])
})

it.run()
