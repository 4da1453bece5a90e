import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HealthAllotment } from '../../src/agent/classify/health-allotment.ts'
import { DirectoryIndex } from '../../src/agent/dataplane/directory.ts'
import { FLOW_FLAG, FlowTable, LIST } from '../../src/agent/dataplane/flows.ts'
import { ForwarderCore } from '../../src/agent/dataplane/forwarder-core.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import { IdentifierAllocator } from '../../src/agent/dataplane/identifiers.ts'
import type { KernelFlow } from '../../src/agent/dataplane/kernel-flows.ts'
import { createMappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import type { PacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { directory, noResolution, tcp, VIP, words } from '../support/cores.ts'

const it = suite("the kernel's flows in the agent's tables")
const FIN = 1
const SYN = 2
const ACK = 16

const world = (capacity = 100) => {
  const { directory: known } = directory()
  const [web] = known.services
  const dns = { ...web!, index: 1, name: 'dns', port: 53, protocol: 17 }
  const index = new DirectoryIndex({ ...known, services: [web!, dns] })
  const identifiers = new IdentifierAllocator({ capacity: 1000, quarantineMs: 5000, k0: 1, k1: 2 })
  const flows = new FlowTable(capacity, 4, 1, 2)
  const done: string[] = []
  const held = new HeldPackets(4)
  let kernels: (KernelFlow & { isRoute: boolean }) | null = null
  let promotedMeanwhile = false
  const core = new ForwarderCore({
    flows,
    identifiers,
    held,
    resolution: noResolution(),
    directory: index,
    allotment: new HealthAllotment(index, 1, 2),
    settings: {
      ...{ tunnelWords: words('10.10.1.11'), epoch: 1, mtuBytes: 1500, plumbAfterPackets: 8 },
      timeouts: { embryonic: 1000, tcpIdle: 60_000, udpIdle: 9000, linger: 500, routeLease: 9000 },
      ...{ hasClassifier: true, lasting: true },
    },
    ports: {
      tunnel: () => done.push('tunnel'),
      encapsulate: () => done.push('encapsulate'),
      deliverLocal: () => done.push('local'),
      datagram: () => done.push('datagram'),
      plumb: () => done.push('plumb'),
      unplumb: () => done.push('unplumb'),
      unplumbAll: slots => done.push(`unplumb ${slots.length}`),
      ended: () => {},
      drop: reason => done.push(`drop ${reason}`),
      embryo: slot => {
        done.push(held.has(slot) ? 'embryo held' : 'embryo')
        return true
      },
      unembryo: () => {
        done.push('unembryo')
        return promotedMeanwhile
      },
      forget: (_, identifier) => done.push(`forget ${identifier === 0 ? 0 : 'it'}`),
      search: () => kernels,
    },
  })
  const key = (client: number): Uint32Array => {
    const out = new Uint32Array(10)
    out.set([0, 0, 0xffff, client])
    out.set(words(VIP), 4)
    out[8] = (40_000 << 16) | 80
    out[9] = 6
    return out
  }
  const flow = (host = 1, mapped = false): KernelFlow => ({
    host,
    identifier: identifiers.reserve(host, 0),
    mapped,
  })
  const took = (): string[] => done.splice(0)
  return {
    ...{ core, kernel: core.kernel, flows, identifiers, index, key, flow, took },
    knows: (what: typeof kernels) => {
      kernels = what
    },
    promotes: () => {
      promotedMeanwhile = true
    },
  }
}

it('opened, acknowledged, promoted, ended: counted once, and the identifier rests at its end', () => {
  const { core, kernel, flows, identifiers, key, flow, took } = world()
  const one = flow(2)
  const slot = kernel.opened(key(7), one, 5, 0)
  assert.is(kernel.opened(key(7), one, 6, 0), slot, 'told again')
  assert.equal([core.tally.hostConnections[2], core.tally.hostFlows[2], core.counters.newFlows], [1, 1, 1])
  assert.equal([flows.table.listOf(slot), flows.firstSequence[slot]], [LIST.EMBRYONIC, 5])
  assert.ok(flows.has(slot, FLOW_FLAG.KERNEL))
  assert.is(identifiers.owner(one.identifier), slot)
  kernel.mapped(key(7), { ...one, mapped: true }, 6, 10)
  assert.ok(flows.has(slot, FLOW_FLAG.MAPPED))
  kernel.promoted(key(7), one, 7, 20)
  assert.is(flows.table.listOf(slot), LIST.TCP_YOUNG)
  assert.not(flows.has(slot, FLOW_FLAG.KERNEL))
  assert.is(flows.plumbedUntilMs[slot], Number.POSITIVE_INFINITY)
  kernel.ends(key(7), one, 'fin', 8, 30)
  assert.equal([flows.table.listOf(slot), core.tally.hostFlows[2]], [LIST.CLOSING_PLUMBED, 0])
  took()
  core.tick(9600)
  assert.equal(took(), ['unplumb'])
  assert.equal([flows.table.size, identifiers.inUse, identifiers.quarantined], [0, 0, 1])
})

it('a FIN that came to the agent before there was a route ends the flow as soon as there is one', () => {
  for (const again of [false, true]) {
    const { core, kernel, flows, key, flow, took } = world()
    const one = flow(2)
    const slot = kernel.opened(key(7), one, 5, 0)
    core.packet(tcp(FIN | ACK, { source: '0.0.0.7' }), 10)
    assert.is(flows.table.listOf(slot), LIST.EMBRYONIC, 'so far nobody has shown that the client is there')
    if (again) core.packet(tcp(SYN, { source: '0.0.0.7' }), 15)
    kernel.promoted(key(7), one, 7, 20)
    assert.is(flows.table.listOf(slot), again ? LIST.TCP_YOUNG : LIST.CLOSING_PLUMBED)
    assert.is(core.tally.hostFlows[2], again ? 1 : 0)
    took()
    core.tick(9600)
    assert.is(flows.table.size, again ? 1 : 0)
  }
})

it('any of its events alone is enough: the others got lost', () => {
  for (const last of ['mapped', 'promoted', 'ends', 'found'] as const) {
    const { core, kernel, flows, key, flow } = world()
    const one = flow()
    if (last === 'ends') kernel.ends(key(1), one, 'rst', 1, 0)
    else if (last === 'found') kernel.found(key(1), one, 0)
    else kernel[last](key(1), one, 1, 0)
    const slot = flows.table.find(key(1))
    assert.is(flows.identifier[slot], one.identifier, last)
    assert.is(core.tally.hostConnections[1], 1, last)
    assert.is(flows.table.listOf(slot) === LIST.EMBRYONIC, last === 'mapped', last)
  }
})

it('what gave way goes, and its identifier is free at once; one that has moved on stays', () => {
  const { kernel, flows, identifiers, key, flow, core, took } = world()
  const one = flow()
  kernel.opened(key(1), one, 1, 0)
  kernel.gone(key(1), one, 5)
  assert.equal([flows.table.size, identifiers.inUse, identifiers.quarantined], [0, 0, 0])
  assert.is(core.counters.evictedEmbryonic, 1)
  const two = flow()
  const slot = kernel.opened(key(2), two, 1, 0)
  for (let n = 0; n < 2; n++) core.packet(tcp(ACK, { source: '0.0.0.2' }), 6)
  assert.is(flows.table.listOf(slot), LIST.TCP_YOUNG)
  kernel.gone(key(2), two, 7)
  assert.is(flows.table.size, 1)
  assert.not(flows.has(slot, FLOW_FLAG.KERNEL))
  // Of a flow that was never known.
  const three = flow()
  kernel.gone(key(3), three, 8)
  kernel.unused(flow().identifier, 8)
  assert.is(identifiers.inUse, 1)
  assert.not(took().includes('unembryo'), 'the kernel has forgotten them by itself')
})

it("an identifier that is another flow's by now: nothing of the late event stays", () => {
  const { kernel, flows, identifiers, key, flow, took } = world()
  const one = flow()
  const owner = kernel.opened(key(1), one, 1, 0)
  assert.is(kernel.opened(key(2), one, 1, 0), -1)
  assert.equal(took(), ['forget it'])
  assert.equal([flows.table.size, identifiers.owner(one.identifier)], [1, owner])
  const two = flow(9)
  assert.is(kernel.opened(key(3), two, 1, 0), -1, 'no such host')
  assert.not(identifiers.isReserved(two.identifier))
  const unknown = key(4)
  unknown[8] = 81
  assert.is(kernel.opened(unknown, flow(), 1, 0), -1, 'no such service')
  assert.equal([flows.table.size, identifiers.inUse], [1, 1])
})

it('a flow that the agent ends while the kernel gives it a route: that is gone too, and the identifier rests', () => {
  const { core, kernel, flows, identifiers, key, flow, took, promotes } = world()
  kernel.opened(key(1), flow(), 1, 0)
  took()
  promotes()
  core.tick(1000)
  assert.equal(took(), ['unembryo'])
  assert.equal([flows.table.size, identifiers.inUse, identifiers.quarantined], [0, 0, 1])
})

it('half-open flows are bounded here as well: the oldest leaves the kernel', () => {
  const { kernel, flows, identifiers, key, flow, took } = world()
  for (let n = 1; n <= 6; n++) kernel.opened(key(n), flow(), n, n)
  assert.equal(took(), ['unembryo', 'unembryo'])
  assert.equal([flows.embryonic, identifiers.inUse, flows.table.find(key(1))], [4, 4, -1])
})

it('a flow that the kernel made is unproven until sweeps have seen it twice', () => {
  const { core, kernel, flows, key, flow, took } = world(2)
  const slots = [1, 2].map(n => kernel.promoted(key(n), flow(), n, n))
  core.packet(tcp(ACK, { source: '0.0.0.1' }), 5)
  assert.is(flows.table.listOf(slots[0]!), LIST.TCP_YOUNG, 'a packet is no proof')
  kernel.used(slots[0]!, 10)
  assert.is(flows.table.listOf(slots[0]!), LIST.TCP_YOUNG)
  kernel.used(slots[0]!, 20)
  assert.is(flows.table.listOf(slots[0]!), LIST.TCP)
  assert.is(flows.slowPackets[slots[0]!], 1, 'what sweeps see did not go through the agent')
  took()
  kernel.promoted(key(3), flow(), 3, 30)
  assert.is(flows.table.find(key(2)), -1, 'the unproven one gave way')
  assert.equal(took(), ['unplumb'])
})

it('a packet of a flow that only the kernel knows goes on with it', () => {
  const { core, flows, flow, identifiers, knows, took } = world()
  const one = flow(3, true)
  knows({ ...one, isRoute: false })
  core.packet(tcp(ACK), 0)
  const slot = identifiers.owner(one.identifier)
  assert.is(flows.host[slot], 3)
  assert.ok(flows.has(slot, FLOW_FLAG.MAPPED))
  assert.not(took().includes('embryo'), 'it is there')
})

it('what the agent opens is shown to the kernel; half-open flows of a host that died are taken out of it', () => {
  const { core, kernel, flows, index, took } = world()
  core.packet(tcp(2), 0)
  assert.equal(took(), ['embryo', 'datagram'])
  kernel.withdrawEmbryonic()
  assert.equal(took(), [])
  const opened = flows.table.oldest(LIST.EMBRYONIC)
  const header = createMappingHeader()
  Object.assign(header, { epoch: 1, sequence: 1, identifier: flows.identifier[opened] })
  core.acknowledged(header, index.host(flows.host[opened])!.ipv4, 1)
  assert.equal(took(), ['embryo'], 'by a way that the kernel does not see')
  const slot = flows.table.oldest(LIST.EMBRYONIC)
  index.host(flows.host[slot])!.live = false
  kernel.withdrawEmbryonic()
  assert.equal(took(), ['unembryo'])
  assert.not(flows.has(slot, FLOW_FLAG.KERNEL))
})

it('while packets of a flow wait here, the kernel leaves all of it to the agent', () => {
  const { core, kernel, flows, index, took } = world()
  const big = (): PacketRef => tcp(ACK, { payload: new Uint8Array(1450) })
  const acknowledge = (slot: number): void => {
    const header = createMappingHeader()
    Object.assign(header, { epoch: 1, sequence: 9, identifier: flows.identifier[slot] })
    core.acknowledged(header, index.host(flows.host[slot])!.ipv4, 1)
  }
  core.packet(big(), 0)
  assert.equal(took(), ['embryo', 'embryo held', 'datagram'])
  const slot = flows.table.oldest(LIST.EMBRYONIC)
  core.packet(tcp(ACK), 0)
  assert.equal(took(), [], 'it waits behind the other one')
  const { keys } = flows.table
  const told = { host: flows.host[slot]!, identifier: flows.identifier[slot]!, mapped: true }
  kernel.mapped(keys.slice(slot * 10, slot * 10 + 10), told, 9, 0)
  assert.equal(took(), ['embryo held'], 'an acknowledgement that the kernel took before')
  acknowledge(slot)
  assert.equal(took(), ['embryo held', 'tunnel', 'tunnel', 'embryo'])
  const given = world()
  given.core.packet(big(), 0)
  for (let now = 0; now < 9_000; now += 20) given.core.tick(now, 0)
  const all = given.took()
  assert.is(all.at(-1), 'embryo', 'nobody answers')
  assert.ok(all.at(-2)!.startsWith('drop'))
})

it('a UDP flow that goes on keeps host and identifier when the kernel, which has lost its route, opens it anew', () => {
  const { kernel, flows, identifiers, key, flow, took, index } = world()
  const dns = key(1)
  dns[8] = (40_000 << 16) | 53
  dns[9] = 17
  const one = flow(1, true)
  const slot = kernel.promoted(dns, one, 1, 0)
  flows.plumbedUntilMs[slot] = 5
  took()
  const two = flow(2)
  assert.is(kernel.opened(dns, two, 2, 10), -1)
  assert.equal([flows.host[slot], flows.identifier[slot]], [1, one.identifier])
  assert.equal(took(), ['forget it', 'plumb'])
  // Told after that of what was on its way: it is no flow's any more, and rests.
  assert.is(kernel.promoted(dns, { ...two, mapped: true }, 3, 20), -1)
  assert.equal(took(), ['forget it'])
  assert.equal([identifiers.isReserved(two.identifier), identifiers.quarantined], [false, 1])
  // Its host has died: then it is chosen for anew.
  index.host(1)!.live = false
  assert.is(kernel.opened(dns, flow(3), 4, 30), slot)
  assert.is(flows.host[slot], 3)
})

it.run()
