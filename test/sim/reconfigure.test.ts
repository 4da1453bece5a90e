import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { LIST } from '../../src/agent/dataplane/flows.ts'
import { FLAG } from '../support/packets.ts'
import { type Flow, type Service, SimCluster, type SimOptions, WEB } from '../support/sim-cluster.ts'
import type { SimNode } from '../support/sim-node.ts'

const it = suite('reconfiguration under traffic in virtual time')
const CALM = { loss: 0, duplicate: 0, jitterMs: 0 }
const WILD = { loss: 0.03, duplicate: 0.05, jitterMs: 4 }
const API: Service = { name: 'api', vip: 0x0a630001, port: 8080 }
const DNS: Service = { name: 'dns', vip: 0x0a630002, port: 80 }
const NEW_SECRET = new Uint8Array(32).fill(9)
const OLD_SECRET = new Uint8Array(32).fill(7)

const cluster = (options: Partial<SimOptions>): SimCluster =>
  new SimCluster({ seed: 1, forwarders: 2, hosts: 3, remoteClassifier: false, faults: CALM, ...options })
const each = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const arrivedInOrder = (flow: Flow): void => {
  assert.equal(flow.received, each(flow.sent), `flow ${flow.id}`)
  assert.is(flow.hosts.size, 1, `flow ${flow.id}`)
}

/** What a forwarder holds of a flow: slot, host, identifier, list. */
const entries = (node: SimNode, vipPort: number): Map<string, string> => {
  const { flows } = node.engine.forwarder!
  const { table } = flows
  const slots = table.select(slot => (table.keyWord(slot, 8) & 0xffff) === vipPort)
  return new Map(
    slots.map(slot => [
      `${table.keyWord(slot, 3)}:${table.keyWord(slot, 8)}`,
      [slot, flows.host[slot], flows.identifier[slot], flows.plumbedUntilMs[slot]].join(' '),
    ]),
  )
}
const elements = (node: SimNode, vipPort: number): string[] =>
  [...(node.kernel.sets.get('route') ?? [])]
    .filter(([key]) => Number.parseInt(key.slice(24, 28), 16) === vipPort)
    .map(([key, { data, untilMs }]) => `${key} ${Buffer.from(data!).toString('hex')} ${untilMs}`)

for (const remoteClassifier of [false, true]) {
  it(`a service that goes takes its own flows, routes and mappings, and nothing else (classifier ${remoteClassifier ? 'apart' : 'together'})`, () => {
    const sim = cluster({ remoteClassifier })
    sim.reconfigure({ services: [WEB, API] })
    for (let i = 0; i < 40; i++) sim.at(10 + i * 5, () => sim.session(sim.open(i & 2 ? WEB : API), 60, 2000))
    let before: Map<string, string>[] = []
    let kernelBefore: string[][] = []
    const nodes = (): SimNode[] => sim.forwarders.map(address => sim.nodes.get(address)!)
    sim.run(1000)
    before = nodes().map(node => entries(node, 80))
    kernelBefore = nodes().map(node => elements(node, 80))
    assert.ok(nodes().every(node => elements(node, 8080).length > 3 && elements(node, 80).length > 3))
    const resting = nodes().map(node => node.engine.identifiers!.quarantined)
    sim.reconfigure({ services: [WEB] })
    sim.run(1000.5)
    for (const [i, node] of nodes().entries()) {
      assert.equal(entries(node, 80), before[i], 'the same slots, hosts, identifiers, leases')
      assert.equal(elements(node, 80), kernelBefore[i], 'the same kernel elements')
      assert.is(entries(node, 8080).size, 0)
      assert.equal(elements(node, 8080), [])
      assert.ok(node.engine.identifiers!.quarantined > resting[i], 'identifiers rest')
    }
    for (const address of sim.hosts) {
      const { mappings } = sim.nodes.get(address)!.engine.host!
      const ports = mappings.table.select(() => true).map(slot => mappings.tuples[slot * 10 + 8] & 0xffff)
      assert.ok(ports.length > 0 && ports.every(port => port === 80), `${ports}`)
      assert.equal(
        [...mappings.vips.entries()].map(([, count]) => count),
        [ports.length],
      )
    }
    sim.run(4000)
    assert.equal(sim.problems, [])
    for (const flow of sim.flows.filter(f => f.service === WEB)) arrivedInOrder(flow)
    for (const flow of sim.flows.filter(f => f.service === API)) assert.ok(flow.received.length < flow.sent)
  })
}

it('a host that joins or leaves touches no flow of the others; a service that comes is served', () => {
  const sim = cluster({ hosts: 4 })
  const [, , third, fourth] = sim.hosts
  sim.reconfigure({ gone: [fourth] })
  for (let i = 0; i < 60; i++) sim.at(5 + i * 5, () => sim.session(sim.open(), 60, 2000))
  sim.at(600, () => sim.reconfigure({ gone: [], services: [WEB, DNS] }))
  for (let i = 0; i < 20; i++) sim.at(700 + i * 5, () => sim.session(sim.open(i % 2 ? WEB : DNS), 40, 800))
  sim.run(1000)
  const onThird = sim.flows.filter(flow => flow.hosts.has('10.10.0.103'))
  assert.ok(onThird.length > 5)
  assert.ok(
    sim.flows.slice(60).some(flow => flow.hosts.has('10.10.0.104')),
    'the new host gets connections',
  )
  sim.reconfigure({ gone: [third] })
  sim.run(4000)
  assert.equal(sim.problems, [])
  for (const flow of sim.flows) if (!onThird.includes(flow)) arrivedInOrder(flow)
  for (const flow of onThird) assert.is.not(flow.hosts.size, 1, 'what is left of it goes to another host')
})

it('secrets rotate under traffic without a refused datagram; the choice of hosts stays', () => {
  const sim = cluster({ remoteClassifier: true, faults: { ...CALM, jitterMs: 3 } })
  const both = [
    { number: 2, bytes: NEW_SECRET },
    { number: 1, bytes: OLD_SECRET },
  ]
  for (let i = 0; i < 200; i++) sim.at(i * 10, () => sim.session(sim.open(), 30, 600))
  // Known everywhere before anybody signs with it, as agents do.
  sim.at(300, () => sim.reconfigure({ secrets: [...both].reverse(), spreadMs: 100 }))
  sim.at(700, () => sim.reconfigure({ secrets: both, spreadMs: 100 }))
  sim.at(1200, () => sim.reconfigure({ secrets: both.slice(0, 1), spreadMs: 100 }))
  sim.run(5000)
  assert.equal(sim.problems, [])
  for (const flow of sim.flows) assert.is(new Set(flow.received).size, flow.sent, `flow ${flow.id}`)
  for (const node of sim.nodes.values()) {
    for (const reason of [DROP.MAPPING_BAD_TAG, DROP.MAPPING_UNKNOWN_KEY])
      assert.is(node.drops.counts[reason], 0)
  }
})

it('a forwarder role that goes and comes back has a later epoch, and rests what it used', () => {
  const sim = cluster({ forwarders: 1 })
  const [forwarder] = sim.forwarders
  for (let i = 0; i < 20; i++) sim.at(i * 5, () => sim.session(sim.open(), 60, 3000))
  sim.run(500)
  const { engine } = sim.nodes.get(forwarder)!
  const epoch = engine.forwarder!.epoch
  const used = new Set(engine.forwarder!.flows.identifier.filter(identifier => identifier !== 0))
  assert.is(used.size, 20)
  sim.reconfigure({ gone: [forwarder] })
  sim.run(501)
  assert.is(engine.forwarder, null)
  for (const address of sim.hosts) assert.is(sim.nodes.get(address)!.engine.host!.mappings.table.size, 0)
  sim.reconfigure({ gone: [] })
  sim.run(2000)
  assert.is(engine.forwarder!.epoch, epoch + 1)
  const now = engine.forwarder!.flows.identifier.filter(identifier => identifier !== 0)
  assert.ok(now.length >= 20, 'flows are adopted')
  assert.ok(
    now.every(identifier => !used.has(identifier)),
    'no identifier is used again at once',
  )
  assert.equal(sim.problems, [])
  for (const flow of sim.flows) assert.is(flow.hosts.size, 1, 'the deterministic choice finds the host again')
})

it('shorter timeouts cut no active flow, and leave no mapping in the kernel behind', () => {
  const sim = cluster({ forwarders: 1, hosts: 1 })
  sim.reconfigure({ timeouts: { routeLease: 60_000, tcpIdle: 120_000 } })
  const active = sim.open()
  sim.at(1, () => sim.session(active, 2000, 60_000))
  const quiet = sim.open()
  sim.at(1, () => sim.session(quiet, 20, 400))
  sim.run(2000)
  sim.reconfigure({ timeouts: { routeLease: 1000, tcpIdle: 2000, linger: 200 } })
  sim.run(12_000)
  const inForce = (node: SimNode, set: string): number =>
    [...(node.kernel.sets.get(set)?.values() ?? [])].filter(({ untilMs }) => untilMs > node.kernel.nowMs)
      .length
  const host = sim.nodes.get(sim.hosts[0])!
  assert.is(host.engine.host!.mappings.table.size, 1, 'the quiet one has ended')
  assert.is(inForce(host, 'dec'), 1, 'in the kernel too, though its lease there was longer')
  sim.run(130_000)
  assert.equal(sim.problems, [])
  assert.is(new Set(active.received).size, active.sent)
  const { engine } = sim.nodes.get(sim.forwarders[0])!
  assert.ok(engine.forwarder!.counters.adoptedFlows === 0, 'never forgotten while active')
  assert.is(engine.forwarder!.flows.table.size, 0, 'flows')
  assert.is(host.engine.host!.mappings.table.size, 0)
  assert.is(inForce(sim.nodes.get(sim.forwarders[0])!, 'route') + inForce(host, 'dec'), 0)
})

it('300 seeds of random changes with loss, duplication and reordering: never a byte in another connection', () => {
  for (let seed = 1; seed <= 300; seed++) {
    // Three host indexes for four hosts: they are used again at once.
    const sim = cluster({ seed, hosts: 4, remoteClassifier: seed % 2 === 0, faults: WILD, hostIndexes: 3 })
    const services = [WEB, API, DNS]
    let gone = [sim.hosts[3]]
    sim.reconfigure({ services, gone })
    for (let i = 0; i < 40; i++) {
      const service = services[i % 3]
      sim.at(1 + i * 12, () => sim.session(sim.open(service), 16, 250))
      // A client that knows nothing of changes goes on for long.
      if (i % 8 === 0) sim.at(2 + i * 12, () => sim.session(sim.open(service), 60, 700))
    }
    for (let change = 0; change < 6; change++) {
      sim.at(60 + change * 80, () => {
        const number = 1 + (change >> 1)
        const secrets = [number + 1, number].map(n => ({ number: n, bytes: new Uint8Array(32).fill(6 + n) }))
        gone = [
          sim.hosts[Math.floor(sim.random() * 4)],
          ...(sim.random() < 0.4 ? [sim.forwarders[Math.floor(sim.random() * 2)]] : []),
        ]
        const kept = services.filter(service => service === WEB || sim.random() < 0.6)
        sim.reconfigure({
          services: kept.map(s => (sim.random() < 0.3 ? { ...s, pool: ['h1', 'h2'] } : s)),
          gone,
          secrets,
          timeouts:
            sim.random() < 0.3 ? { routeLease: 1000, tcpIdle: 2000 } : { routeLease: 4000, tcpIdle: 30_000 },
          spreadMs: 40,
        })
      })
    }
    sim.run(1100)
    assert.equal(sim.problems, [], `seed ${seed}`)
    for (const address of sim.forwarders) {
      const { forwarder, identifiers } = sim.nodes.get(address)!.engine
      if (forwarder === null) continue
      const { flows, tally } = forwarder
      const withHost = flows.table.select(slot => flows.host[slot] !== 0)
      const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0)
      const open = withHost.filter(
        slot => ![LIST.CLOSING, LIST.CLOSING_PLUMBED].includes(flows.table.listOf(slot) as never),
      )
      assert.is(sum(tally.hostFlows), open.length, `seed ${seed}: tally of hosts`)
      assert.is(sum(tally.serviceFlows), open.length, `seed ${seed}: tally of services`)
      assert.is(identifiers!.inUse, withHost.length, `seed ${seed}: identifiers`)
    }
  }
})

it('after all changes a settled cluster delivers everything', () => {
  const sim = cluster({ hosts: 3, hostIndexes: 3 })
  for (let i = 0; i < 10; i++)
    sim.at(i * 50, () =>
      sim.reconfigure({
        gone: [sim.hosts[i % 3], ...(i % 4 === 0 ? [sim.forwarders[0]] : [])],
        spreadMs: 20,
      }),
    )
  sim.at(600, () => sim.reconfigure({ gone: [] }))
  for (let i = 0; i < 30; i++) sim.at(700 + i * 5, () => sim.session(sim.open(), 40, 500))
  sim.run(3000)
  for (const flow of sim.flows) arrivedInOrder(flow)
  assert.is(sim.flows.length, 30)
  const late = sim.open()
  sim.send(late, FLAG.RST, 8)
  sim.run(3100)
  assert.equal(sim.problems, [])
})

it.run()
