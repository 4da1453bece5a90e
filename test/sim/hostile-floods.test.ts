/**
 * Floods of flows that are none, in virtual time: whatever a forger can send without seeing an answer must cost neither
 * a live connection nor a new one (decision 4). With direct return a forwarder sees no answers, so a forged "ACK of
 * the handshake" looks like a true one.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { FLAG } from '../support/packets.ts'
import { SimCluster } from '../support/sim-cluster.ts'
import { SimSessions } from '../support/sim-sessions.ts'

const it = suite('floods in virtual time')
const CALM = { loss: 0, duplicate: 0, jitterMs: 0 }

/** Flags of the packets that each forged source sends, 5 ms apart. */
const FLOODS: [string, number[]][] = [
  ['single ACKs', [FLAG.ACK]],
  ['single RSTs', [FLAG.RST]],
  ['single FINs', [FLAG.FIN | FLAG.ACK]],
  ['two SYNs', [FLAG.SYN, FLAG.SYN]],
  ['two ACKs', [FLAG.ACK, FLAG.ACK]],
  ['a SYN and an ACK', [FLAG.SYN, FLAG.ACK]],
  ['a SYN, an ACK and data', [FLAG.SYN, FLAG.ACK, FLAG.ACK | FLAG.PSH]],
]

const PLACES = [
  { remoteClassifier: false, resolves: false, place: 'together' },
  { remoteClassifier: true, resolves: false, place: 'apart' },
  { remoteClassifier: false, resolves: true, place: 'together, hosts asked' },
  { remoteClassifier: true, resolves: true, place: 'apart, hosts asked' },
]

for (const { place, ...setting } of PLACES)
  for (const [name, packets] of FLOODS)
    it(`${name} from 2,000 forged sources: old and new connections live (classifier ${place})`, () => {
      const options = { ...{ seed: 5, forwarders: 1, hosts: 2, faults: CALM, copies: 1 }, ...setting }
      const sim = new SimCluster(options)
      if (setting.resolves) new SimSessions(sim, { copies: 1, asksHosts: true })
      const old = sim.open()
      sim.session(old, 60, 5000)
      const flood = (left: number): void => {
        const forged = sim.open()
        for (const [k, flags] of packets.entries()) sim.at(k * 5, () => sim.send(forged, flags, 8))
        if (left > 1) sim.at(2, () => flood(left - 1))
      }
      sim.at(100, () => flood(2000))
      const good = [old]
      for (let i = 0; i < 20; i++)
        sim.at(3000 + i * 20, () => {
          const flow = sim.open()
          good.push(flow)
          sim.session(flow, 10, 200)
        })
      sim.run(6500)
      assert.equal(sim.problems, [])
      const broken = good.filter(flow => new Set(flow.received).size !== flow.sent)
      const drops = sim.nodes
        .get(sim.forwarders[0]!)!
        .drops.snapshot()
        .map(row => `${row.count}x ${row.reason}`)
      assert.is(
        broken.length,
        0,
        `${broken.length} of ${good.length} connections lost packets; drops: ${drops.join(', ')}`,
      )
    })

it('connections that come in their middle, under a flood of packets of connections that are none, are found', () => {
  const limits = { heldPackets: 256 }
  const options = { seed: 5, forwarders: 2, hosts: 2, remoteClassifier: false, faults: CALM, limits }
  const sim = new SimCluster({ ...options, copies: 1, resolves: true })
  const sessions = new SimSessions(sim, { copies: 1, asksHosts: true })
  const [first, second] = sim.forwarders as [number, number]
  const good = Array.from({ length: 20 }, () => sim.open())
  for (const flow of good) {
    flow.forwarder = first
    sim.at(sim.random() * 40, () => sim.session(flow, 100, 4000))
  }
  // Three times as many as there is room for in the time of an answer.
  const flood = (): void => {
    const forged = sim.open()
    forged.forwarder = second
    sim.send(forged, FLAG.ACK, 8)
    if (sim.nowMs < 2600) sim.at(0.025, flood)
  }
  sim.at(1800, flood)
  sim.at(2000, () => {
    for (const flow of good) flow.forwarder = second
  })
  sim.run(4500)
  assert.equal(sim.problems, [])
  const { engine, drops } = sim.nodes.get(second)!
  assert.ok(drops.counts[DROP.RESOLVE_FULL]! > 1000, 'the flood is more than is asked about')
  assert.ok(engine.resolving!.resolution.size <= 256)
  assert.ok(engine.forwarder!.flows.table.size <= 256 + 64)
  assert.ok(sessions.counts.byAtom >= good.length)
  for (const { id, sent, received } of good)
    assert.ok(sent - received.length <= 2, `flow ${id}: ${received.length} of ${sent}`)
})

it.run()
