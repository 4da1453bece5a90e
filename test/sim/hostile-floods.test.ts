/**
 * Floods of flows that are none, in virtual time: whatever a forger can send without seeing an answer must cost neither
 * a live connection nor a new one (decision 4). With direct return a forwarder sees no answers, so a forged "ACK of
 * the handshake" looks like a true one.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FLAG } from '../support/packets.ts'
import { SimCluster } from '../support/sim-cluster.ts'

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

for (const remoteClassifier of [false, true])
  for (const [name, packets] of FLOODS)
    it(`${name} from 2,000 forged sources: old and new connections live (classifier ${remoteClassifier ? 'apart' : 'together'})`, () => {
      const sim = new SimCluster({ seed: 5, forwarders: 1, hosts: 2, remoteClassifier, faults: CALM })
      const old = sim.open()
      sim.session(old, 60, 5000)
      for (let i = 0; i < 2000; i++)
        sim.at(100 + i * 2, () => {
          const forged = sim.open()
          for (const [k, flags] of packets.entries()) sim.at(k * 5, () => sim.send(forged, flags, 8))
        })
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

it.run()
