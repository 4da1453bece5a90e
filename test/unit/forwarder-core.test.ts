import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { WAITS } from '../../src/agent/classify/allotment.ts'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { FlowTable, LIST } from '../../src/agent/dataplane/flows.ts'
import { ForwarderCore } from '../../src/agent/dataplane/forwarder-core.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import { IdentifierAllocator } from '../../src/agent/dataplane/identifiers.ts'
import { createMappingHeader, KIND, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import {
  CLASSIFIER,
  copyHeader,
  directory,
  FORWARDER,
  HOSTS,
  ip,
  noResolution,
  TUNNEL,
  tcp,
  words,
} from '../support/cores.ts'
import { FLAG } from '../support/packets.ts'

const it = suite('forwarder core (R-A3, R-E8, R-D4, decisions 2-4)')
const TIMEOUTS = { embryonic: 1000, tcpIdle: 60_000, udpIdle: 5000, linger: 2000, routeLease: 10_000 }
const ACK = FLAG.ACK

const setUp = (
  options: {
    classifier?: boolean
    self?: string
    flows?: number
    embryonic?: number
    allocator?: IdentifierAllocator
    chosen?: (opens: boolean) => void
    /** Its client is asked about. */
    waits?: string[]
    encapsulates?: boolean
  } = {},
) => {
  const log: string[] = []
  const headers: MappingHeader[] = []
  const drops: number[] = []
  const index = directory(options.self)
  const flows = new FlowTable(options.flows ?? 16, options.embryonic ?? 16, 1, 2)
  const identifiers =
    options.allocator ?? new IdentifierAllocator({ capacity: 64, quarantineMs: 30_000, k0: 1, k1: 2 })
  const choice = { host: 1 }
  const core = new ForwarderCore({
    flows,
    identifiers,
    held: new HeldPackets(8),
    resolution: noResolution(),
    clients: { hold: (_service, _key, _at, packet) => options.waits?.push(`waits ${packet?.view.tcpFlags}`) },
    directory: index,
    allotment: {
      choose: (_service, _key, _at, opens) => {
        options.chosen?.(opens)
        if (options.waits !== undefined) return WAITS
        return index.host(choice.host)?.live ? choice.host : 0
      },
    },
    settings: {
      tunnelWords: words(TUNNEL),
      epoch: 7,
      mtuBytes: 1500,
      timeouts: TIMEOUTS,
      plumbAfterPackets: 4,
      hasClassifier: options.classifier ?? true,
      encapsulates: options.encapsulates ?? false,
    },
    ports: {
      tunnel: (packet, _identifier, host) => log.push(`tunnel ${packet.view.payloadLength} to ${host}`),
      encapsulate: (packet, host) => log.push(`encapsulate ${packet.view.tcpFlags} ${host}`),
      deliverLocal: packet => log.push(`local ${packet.view.payloadLength}`),
      datagram: (header, to, packet) => {
        headers.push(copyHeader(header))
        log.push(
          `${Object.entries(KIND).find(([, kind]) => kind === header.kind)?.[0]} ${packet === null ? '-' : packet.view.payloadLength} to ${to === ip(CLASSIFIER) ? 'c1' : `h${HOSTS.findIndex(h => ip(h) === to) + 1}`}`,
        )
      },
      plumb: slot => log.push(`plumb ${slot}`),
      unplumb: slot => log.push(`unplumb ${slot}`),
      unplumbAll: slots => log.push(...slots.map(slot => `unplumb ${slot}`)),
      ended: () => log.push('ended'),
      drop: reason => drops.push(reason),
    },
  })
  const take = (): string[] => log.splice(0)
  const acknowledge = (nowMs: number, header = headers.at(-1)!): void =>
    core.acknowledged(header, ip(HOSTS[choice.host - 1]), nowMs)
  /** SYN, its acknowledged mapping, the handshake's ACK. */
  const establish = (nowMs: number, options = {}): void => {
    core.packet(tcp(FLAG.SYN, options), nowMs)
    acknowledge(nowMs)
    core.packet(tcp(ACK, options), nowMs)
    take()
  }
  return { core, flows, identifiers, index, choice, headers, drops, take, acknowledge, establish }
}
const size = (bytes: number) => ({ payload: new Uint8Array(bytes) })

it('sends the mapping with each packet until the host has acknowledged it, then tunnels', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN), 0)
  t.core.packet(tcp(ACK), 1)
  assert.equal(t.take(), ['MAP 0 to h1', 'MAP 0 to h1'])
  t.acknowledge(2)
  t.core.packet(tcp(ACK, size(9)), 3)
  assert.equal(t.take(), ['tunnel 9 to 1'])
})

it('a packet whose client is asked about waits, and goes nowhere', () => {
  const waits: string[] = []
  const t = setUp({ waits })
  for (let n = 0; n < 2; n++) t.core.packet(tcp(FLAG.SYN), n)
  assert.equal([waits, t.take(), t.drops], [[`waits ${FLAG.SYN}`, `waits ${FLAG.SYN}`], [], []])
  assert.is(t.identifiers.inUse, 0)
})

it('keeps a half-open flow to the self-describing form, even when its mapping is acknowledged', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN), 0)
  t.acknowledge(1)
  t.take()
  t.core.packet(tcp(FLAG.SYN), 2)
  assert.equal(t.take(), ['MAP 0 to h1'])
  t.core.tick(2000)
  assert.is(t.identifiers.inUse + t.identifiers.quarantined, 0, 'never tunnelled: free at once')
})

it('quarantines the identifier of a flow that was tunnelled', () => {
  const t = setUp()
  t.establish(0)
  t.core.packet(tcp(FLAG.RST), 1)
  t.core.tick(1 + TIMEOUTS.linger)
  assert.is(t.flows.table.size, 0)
  assert.equal([t.identifiers.inUse, t.identifiers.quarantined], [0, 1])
})

it("does not take an acknowledgement of the identifier's former owner for its own", () => {
  const always = new IdentifierAllocator({ capacity: 8, quarantineMs: 1000, k0: 1, k1: 2 })
  always.allocate = (_host, _ports, owner) => {
    always.owner = () => owner
    return 0x01000001
  }
  const t = setUp({ allocator: always, embryonic: 1 })
  t.core.packet(tcp(FLAG.SYN, { sourcePort: 1 }), 0)
  const former = t.headers[0]
  t.core.packet(tcp(FLAG.SYN, { sourcePort: 2 }), 1)
  t.take()
  t.acknowledge(2, former)
  assert.equal(t.drops, [DROP.MAPPING_OLD_SEQUENCE])
  t.core.packet(tcp(ACK, { sourcePort: 2 }), 3)
  assert.equal(t.take(), ['MAP 0 to h1'], 'not tunnelled')
  t.acknowledge(4, t.headers[1])
  t.core.packet(tcp(ACK, { sourcePort: 2 }), 5)
  assert.equal(t.take(), ['tunnel 0 to 1'])
})

it('refuses acknowledgements of another epoch and of another host', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN), 0)
  const header = copyHeader(t.headers[0])
  t.core.acknowledged(header, ip(HOSTS[1]), 1)
  header.epoch++
  t.core.acknowledged(header, ip(HOSTS[0]), 1)
  assert.equal(t.drops, [DROP.MAPPING_NOT_A_PEER, DROP.MAPPING_OLD_EPOCH])
})

it('holds what does not fit behind a header, and all that follows, in order; repeats the mapping; gives up counted', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN), 0)
  t.take()
  t.core.packet(tcp(ACK, size(1460)), 1)
  t.core.packet(tcp(ACK, size(5)), 2)
  assert.equal(t.take(), ['MAP - to h1'])
  t.core.tick(30)
  assert.equal(t.take(), ['MAP - to h1'])
  t.acknowledge(31)
  assert.equal(t.take(), ['tunnel 1460 to 1', 'tunnel 5 to 1'])
  t.core.packet(tcp(ACK, { sourcePort: 9, ...size(1460) }), 40)
  for (let now = 60; now < 5000; now += 10) t.core.tick(now)
  assert.equal(t.drops, [DROP.HOLD_TIMEOUT])
  for (let i = 0; i < 12; i++) t.core.packet(tcp(ACK, { sourcePort: 10, ...size(1460) }), 5000)
  assert.is(t.drops.filter(reason => reason === DROP.HOLD_FULL).length, 4, 'capacity 8')
})

it('plumbs a flow that proves long, once a lease; not SYN, FIN or RST', () => {
  const t = setUp()
  t.establish(0)
  for (let i = 0; i < 6; i++) t.core.packet(tcp(ACK, size(1)), 10 + i)
  assert.equal(t.take().filter(line => line.startsWith('plumb')).length, 1)
  t.core.packet(tcp(ACK), 10 + TIMEOUTS.routeLease - 1)
  assert.equal(t.take(), ['tunnel 0 to 1'])
  t.core.packet(tcp(FLAG.FIN | ACK), 20 + TIMEOUTS.routeLease)
  assert.equal(t.take(), ['tunnel 0 to 1'])
  t.core.packet(tcp(ACK), 21 + TIMEOUTS.routeLease)
  assert.is(t.take().filter(line => line.startsWith('plumb')).length, 1)
})

it('flows that are closing do not count as flows of their host, and count again when they go on', () => {
  const t = setUp()
  const now = (): number[] => [
    t.core.tally.hostFlows[1]!,
    t.core.tally.serviceFlows.reduce((a, b) => a + b, 0),
  ]
  t.establish(0)
  assert.equal(now(), [1, 1])
  t.core.packet(tcp(FLAG.RST), 1)
  assert.equal(now(), [0, 0])
  t.core.packet(tcp(ACK), 2)
  assert.equal(now(), [1, 1], 'the RST was stale')
  t.core.packet(tcp(FLAG.FIN | ACK), 3)
  t.core.packet(tcp(FLAG.FIN | ACK), 4)
  assert.equal(now(), [0, 0])
  // A new connection on the same ports goes to another host, and counts there once it has proven itself.
  t.choice.host = 2
  t.index.host(1)!.live = false
  t.core.packet(tcp(FLAG.SYN), 5)
  t.core.packet(tcp(ACK), 6)
  assert.is(
    t.core.tally.hostFlows.reduce((a, b) => a + b, 0),
    1,
  )
  t.core.packet(tcp(FLAG.RST), 7)
  t.core.tick(7 + TIMEOUTS.linger)
  assert.is(t.flows.table.size, 0)
  assert.equal(
    t.core.tally.hostFlows.filter(n => n !== 0),
    [],
  )
})

it('a FIN starts a linger that lasts while the kernel may still forward; a half-closed flow lives on', () => {
  const t = setUp()
  t.establish(0)
  for (let i = 0; i < 4; i++) t.core.packet(tcp(ACK, size(1)), 10)
  t.core.packet(tcp(FLAG.FIN | ACK), 11)
  t.core.tick(11 + TIMEOUTS.linger)
  assert.is(t.flows.table.size, 1, 'the lease still runs')
  t.core.packet(tcp(ACK), 11 + TIMEOUTS.routeLease)
  t.core.tick(11 + TIMEOUTS.routeLease + TIMEOUTS.linger)
  assert.is(t.flows.table.size, 1, 'it showed life')
  t.core.tick(11 + 3 * (TIMEOUTS.routeLease + TIMEOUTS.linger))
  assert.is(t.flows.table.size, 0)
})

it('a RST is a hint: data after it restores the flow, on the same host and identifier', () => {
  const t = setUp()
  t.establish(0)
  const before = t.headers.at(-1)!.identifier
  t.core.packet(tcp(FLAG.RST), 1)
  assert.is(t.flows.table.length(LIST.CLOSING), 1)
  t.choice.host = 2
  t.core.packet(tcp(ACK, size(3)), 2)
  assert.equal(t.take(), ['tunnel 0 to 1', 'tunnel 3 to 1', 'plumb 0'])
  assert.is(t.flows.table.length(LIST.TCP), 1)
  assert.is(t.identifiers.owner(before), 0)
  t.core.tick(TIMEOUTS.linger * 2)
  assert.is(t.flows.table.size, 1)
})

it('a SYN on a live flow changes nothing; on a flow whose host died it chooses anew and takes the old route out', () => {
  const t = setUp()
  t.establish(0)
  for (let i = 0; i < 4; i++) t.core.packet(tcp(ACK, size(1)), 10)
  const old = t.headers.at(-1)!.identifier
  t.choice.host = 2
  t.take()
  t.core.packet(tcp(FLAG.SYN), 11)
  assert.equal(t.take(), ['tunnel 0 to 1'])
  t.index.host(1)!.live = false
  t.core.packet(tcp(FLAG.SYN), 12)
  assert.equal(t.take(), ['unplumb 0', 'MAP 0 to h2'])
  assert.is(t.identifiers.owner(old), -1)
  assert.is(t.identifiers.quarantined, 1)
})

it('a SYN on ports whose connection has ended goes to a host of the pool; what runs stays with one that left it', () => {
  const t = setUp()
  t.establish(0)
  const { directory: before } = t.index
  const [service] = before.services
  t.index.replace({ ...before, services: [{ ...service!, hosts: service!.hosts.slice(1) }] })
  t.choice.host = 2
  t.take()
  t.core.packet(tcp(FLAG.SYN), 1)
  t.core.packet(tcp(ACK, size(3)), 2)
  t.core.packet(tcp(FLAG.FIN | ACK), 3)
  t.core.packet(tcp(ACK, size(4)), 4)
  assert.ok(
    t
      .take()
      .filter(line => line.startsWith('tunnel'))
      .every(line => line.endsWith('to 1')),
  )
  t.core.packet(tcp(FLAG.SYN), 5)
  assert.ok(t.take().includes('MAP 0 to h2'))
  t.choice.host = 3
  t.core.packet(tcp(FLAG.SYN), 6)
  assert.equal(t.take(), ['MAP 0 to h2'], 'once more by its client: where it is')
})

it('a late route of the classifier to a host that left the pool is not taken for a new connection', () => {
  const t = setUp()
  const { directory: before } = t.index
  const [service] = before.services
  t.index.replace({ ...before, services: [{ ...service!, hosts: service!.hosts.slice(1) }] })
  const key = Uint32Array.from([...words('10.20.0.5'), ...words('10.99.0.1'), ((40_000 << 16) | 80) >>> 0, 6])
  t.core.plumbed(key, ip(HOSTS[0]), 0)
  t.choice.host = 2
  t.core.packet(tcp(FLAG.SYN), 1)
  assert.ok(t.take().includes('MAP 0 to h2'))
})

it('evicts the oldest half-open flow, and of routes the closed before the unused; counts both', () => {
  const t = setUp({ flows: 2, embryonic: 2 })
  for (let port = 1; port <= 5; port++) t.core.packet(tcp(FLAG.SYN, { sourcePort: port }), port)
  assert.is(t.core.counters.evictedEmbryonic, 3)
  const u = setUp({ flows: 2, embryonic: 4 })
  u.establish(0, { sourcePort: 1 })
  u.establish(1, { sourcePort: 2 })
  u.core.packet(tcp(FLAG.FIN | ACK, { sourcePort: 2 }), 2)
  u.establish(3, { sourcePort: 3 })
  assert.is(u.core.counters.evictedRoutes, 1)
  const ports = [1, 2, 3].map(sourcePort => {
    const key = Uint32Array.from([...words('10.20.0.5'), ...words('10.99.0.1'), (sourcePort << 16) | 80, 6])
    return u.flows.table.find(key) >= 0
  })
  assert.equal(ports, [true, false, true])
})

it('asks the classifier elsewhere; its answer carries the packet on before what waited', () => {
  const t = setUp({ classifier: false })
  t.core.packet(tcp(FLAG.SYN), 0)
  assert.equal(t.take(), ['CLASSIFY 0 to c1'])
  t.core.packet(tcp(ACK, size(1460)), 1)
  assert.equal(t.take(), ['CLASSIFY - to c1'])
  const answer = copyHeader(t.headers[0])
  answer.kind = KIND.CLASSIFIED
  answer.node.set(words(HOSTS[2]))
  t.core.classified(answer, tcp(FLAG.SYN), 2)
  assert.equal(t.take(), ['MAP 0 to h3', 'MAP - to h3'])
  answer.node.set(words(HOSTS[0]))
  t.core.classified(answer, tcp(FLAG.SYN), 3)
  assert.is(t.take()[0], 'MAP 0 to h3', 'a second answer does not move a flow whose host lives')
})

it('refuses answers of the classifier that are old or of another epoch', () => {
  const t = setUp({ classifier: false })
  for (let i = 0; i < 3; i++) t.core.packet(tcp(FLAG.SYN), i)
  const answer = copyHeader(t.headers[0])
  answer.node.set(words(HOSTS[2]))
  answer.epoch--
  t.core.classified(answer, null, 2)
  answer.epoch++
  answer.sequence -= 70_000
  t.core.classified(answer, null, 2)
  answer.sequence = (t.headers[2].sequence + 1) >>> 0
  t.core.classified(answer, null, 2)
  assert.equal(t.drops, [DROP.MAPPING_OLD_EPOCH, DROP.MAPPING_OLD_SEQUENCE, DROP.MAPPING_OLD_SEQUENCE])
})

it('with no classifier or no host left: a counted drop, and nothing kept', () => {
  const t = setUp({ classifier: false })
  t.index.directory.classifiers[0].live = false
  t.core.packet(tcp(FLAG.SYN), 0)
  const u = setUp()
  u.index.host(1)!.live = false
  u.core.packet(tcp(FLAG.SYN), 0)
  assert.equal([...t.drops, ...u.drops], [DROP.NO_CLASSIFIER, DROP.NO_HOST])
  assert.equal([t.flows.table.size, u.flows.table.size], [0, 0])
})

it('answers a host that asks: the mapping for its own flow, UNKNOWN for anything else', () => {
  const t = setUp()
  t.establish(0)
  const { identifier } = t.headers.at(-1)!
  t.core.asked(identifier, ip(HOSTS[0]))
  t.core.asked(identifier, ip(HOSTS[1]))
  t.core.asked(0xdeadbeef, ip(HOSTS[0]))
  assert.equal(t.take(), ['MAP - to h1', 'UNKNOWN - to h2', 'UNKNOWN - to h1'])
})

it('goes past a later epoch that a host knows, and establishes every mapping anew', () => {
  const t = setUp()
  t.establish(0)
  for (let i = 0; i < 4; i++) t.core.packet(tcp(ACK, size(1)), 10)
  t.take()
  assert.not(t.core.advanceEpoch(6, 11))
  assert.ok(t.core.advanceEpoch(900, 11))
  assert.is(t.core.epoch, 901)
  t.core.packet(tcp(ACK, size(2)), 12)
  assert.equal(t.take(), ['unplumb 0', 'MAP 2 to h1'])
  assert.is(t.headers.at(-1)!.epoch, 901)
})

it('hands flows of its own node to the own stack as they are', () => {
  const t = setUp({ self: HOSTS[0] })
  t.core.packet(tcp(FLAG.SYN, { ttl: 1 }), 0)
  assert.equal(t.take(), ['local 0'])
  assert.is(t.identifiers.inUse, 0)
})

it('drops a packet whose TTL is used up', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN, { ttl: 1 }), 0)
  assert.equal(t.drops, [DROP.TTL_EXPIRED])
})

it('adopts a mid-flow packet by the deterministic choice; one packet alone makes no route', () => {
  const t = setUp()
  t.core.packet(tcp(ACK), 0)
  assert.is(t.flows.embryonic, 1)
  t.core.packet(tcp(ACK), 1)
  assert.equal([t.flows.embryonic, t.flows.table.length(LIST.TCP_YOUNG)], [0, 1])
  for (let i = 0; i < 3; i++) t.core.packet(tcp(ACK), 2)
  assert.is(t.flows.table.length(LIST.TCP), 1, 'proven')
  assert.is(t.core.counters.adoptedFlows, 1)
})

it('ignores a plumbed route to a host that it does not know', () => {
  const t = setUp({ classifier: false })
  const header = createMappingHeader()
  t.core.plumbed(
    Uint32Array.from([...words('10.20.0.5'), ...words('10.99.0.1'), (40_000 << 16) | 80, 6]),
    ip(FORWARDER),
    0,
  )
  header.node.set(words(FORWARDER))
  t.core.classified(header, null, 0)
  assert.is(t.flows.table.size, 0)
  assert.equal(t.drops, [DROP.NO_HOST])
})

/** Makes hosts inactive, or draining; the others take new connections. */
const direct = (
  t: ReturnType<typeof setUp>,
  { inactive = [], draining = [] }: { inactive?: number[]; draining?: number[] },
): void => {
  t.index.readiness = {
    takesNew: (_, host) => ![...inactive, ...draining].includes(host),
    isInactive: (_, host) => inactive.includes(host),
  }
}

it('inactive: no packet of the flow passes, its route leaves the kernel, and it goes on when its host is active again', () => {
  const t = setUp()
  t.establish(0)
  for (let i = 0; i < 4; i++) t.core.packet(tcp(ACK), 1)
  assert.ok(t.take().includes('plumb 0'))
  direct(t, { inactive: [1] })
  t.core.directed(2)
  assert.not(t.core.isWithdrawing)
  assert.equal(t.take(), ['unplumb 0'])
  for (let i = 0; i < 9; i++) t.core.packet(tcp(ACK), 3)
  t.core.packet(tcp(FLAG.SYN), 4)
  assert.equal(t.take(), [])
  assert.equal([...new Set(t.drops)], [DROP.INACTIVE])
  assert.is(t.flows.host[0], 1, 'a SYN that may be forged moves no established flow')
  direct(t, {})
  t.core.directed(5)
  t.core.packet(tcp(ACK), 6)
  assert.equal(t.take(), ['tunnel 0 to 1', 'plumb 0'])
})

it('routes of inactive hosts leave the kernel some at a time, and only they', () => {
  const t = setUp({
    flows: 3000,
    allocator: new IdentifierAllocator({ capacity: 16_384, quarantineMs: 1, k0: 1, k1: 2 }),
  })
  const open = (port: number): void => {
    t.establish(0, { sourcePort: port })
    for (let i = 0; i < 4; i++) t.core.packet(tcp(ACK, { sourcePort: port }), 1)
  }
  for (let port = 1; port <= 2500; port++) open(port)
  t.choice.host = 2
  open(3000)
  t.take()
  direct(t, { inactive: [1] })
  t.core.directed(2)
  const steps = [t.take().length]
  while (t.core.isWithdrawing) {
    t.core.withdraw(2)
    steps.push(t.take().length)
  }
  assert.equal(steps, [1024, 1024, 452])
  assert.is(t.flows.table.select(slot => t.flows.plumbedUntilMs[slot]! > 2).length, 1)
  t.core.withdraw(3)
  t.core.directed(3)
  assert.equal([t.take(), t.core.isWithdrawing], [[], false])
})

it('a flow that ended, or whose host is active again, is not withdrawn by a look from before', () => {
  const t = setUp({
    flows: 3000,
    allocator: new IdentifierAllocator({ capacity: 16_384, quarantineMs: 1, k0: 1, k1: 2 }),
  })
  for (let port = 1; port <= 1200; port++) {
    t.establish(0, { sourcePort: port })
    for (let i = 0; i < 4; i++) t.core.packet(tcp(ACK, { sourcePort: port }), 1)
  }
  direct(t, { inactive: [1] })
  t.core.directed(2)
  t.take()
  direct(t, {})
  t.core.withdraw(3)
  assert.equal([t.take(), t.core.isWithdrawing], [[], false])
})

it('inactive: a first segment that nobody has answered goes elsewhere, and so does one on ports that are used again', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN), 0)
  t.establish(0, { sourcePort: 41_000 })
  t.core.packet(tcp(FLAG.FIN | ACK, { sourcePort: 41_000 }), 1)
  t.take()
  direct(t, { inactive: [1] })
  t.choice.host = 2
  t.core.packet(tcp(FLAG.SYN), 2)
  t.core.packet(tcp(FLAG.SYN, { sourcePort: 41_000 }), 2)
  assert.equal(t.take(), ['MAP 0 to h2', 'MAP 0 to h2'])
  assert.equal(t.drops, [])
})

it('draining: what is under way goes on, a repeated first segment too; ports that are used again go elsewhere', () => {
  const t = setUp()
  t.core.packet(tcp(FLAG.SYN), 0)
  t.establish(0, { sourcePort: 41_000 })
  t.establish(0, { sourcePort: 42_000 })
  t.core.packet(tcp(FLAG.FIN | ACK, { sourcePort: 42_000 }), 1)
  t.take()
  direct(t, { draining: [1] })
  t.choice.host = 2
  t.core.directed(2)
  t.core.packet(tcp(FLAG.SYN), 2)
  t.core.packet(tcp(ACK, { sourcePort: 41_000 }), 2)
  t.core.packet(tcp(FLAG.SYN, { sourcePort: 42_000 }), 2)
  assert.equal(t.take(), ['MAP 0 to h1', 'tunnel 0 to 1', 'MAP 0 to h2'])
  assert.equal(t.drops, [])
})

it('inactive: neither a packet that waits, nor one that a classifier with older news sends back, reaches the host', () => {
  const t = setUp({ classifier: false })
  t.core.packet(tcp(FLAG.SYN), 0)
  t.core.packet(tcp(ACK, size(1460)), 1)
  const answer = copyHeader(t.headers[0]!)
  answer.kind = KIND.CLASSIFIED
  answer.node.set(words(HOSTS[0]!))
  t.take()
  direct(t, { inactive: [1] })
  t.core.classified(answer, tcp(FLAG.SYN), 2)
  assert.equal(t.take(), ['MAP - to h1'])
  t.core.acknowledged(t.headers.at(-1)!, ip(HOSTS[0]!), 3)
  assert.equal(t.take(), [])
  assert.equal(t.drops, [DROP.INACTIVE, DROP.INACTIVE])
})

it('says of each first packet whether it opens something', () => {
  const opened: boolean[] = []
  const t = setUp({ chosen: opens => opened.push(opens) })
  t.core.packet(tcp(FLAG.SYN), 0)
  t.core.packet(tcp(ACK, { sourcePort: 41_000 }), 0)
  t.core.packet(tcp(FLAG.RST, { sourcePort: 42_000 }), 0)
  assert.equal(opened, [true, false, false])
})

/** The one service, delivered so from now on. */
const deliver = (t: ReturnType<typeof setUp>, delivery: 'tunnel' | 'encapsulate'): void => {
  const { directory: value } = t.index
  t.index.replace({ ...value, services: value.services.map(service => ({ ...service, delivery })) })
}

it('full encapsulation (R-A4): every packet goes whole from the first on, with no mapping, and a route only where the kernel can', () => {
  for (const encapsulates of [false, true]) {
    const t = setUp({ encapsulates })
    deliver(t, 'encapsulate')
    t.core.packet(tcp(FLAG.SYN), 0)
    for (let n = 1; n < 5; n++) t.core.packet(tcp(ACK, size(1400)), n)
    t.core.packet(tcp(FLAG.FIN | ACK), 5)
    t.core.packet(tcp(FLAG.RST), 6)
    const whole = [2, 16, 16, 16, 16, 17, 4].map(flags => `encapsulate ${flags} 1`)
    assert.equal(
      t.take().filter(line => !line.startsWith('plumb')),
      whole,
    )
    assert.is(t.headers.length, 0)
    assert.equal(t.drops, [])
    assert.is(t.core.counters.plumbs, encapsulates ? 1 : 0)
    t.core.packet(tcp(ACK, { ttl: 1 }), 7)
    assert.equal(t.drops, [DROP.TTL_EXPIRED])
  }
})

it('another delivery under a flow: tunnelled only after its host has the mapping, whole at once', () => {
  const t = setUp({ encapsulates: true })
  deliver(t, 'encapsulate')
  t.core.packet(tcp(FLAG.SYN), 0)
  for (let n = 1; n < 5; n++) t.core.packet(tcp(ACK), n)
  t.take()
  deliver(t, 'tunnel')
  t.core.unplumbAll(6, () => true)
  assert.equal(t.take(), ['unplumb 0'])
  t.core.packet(tcp(ACK, size(1000)), 7)
  assert.equal(t.take(), ['MAP 1000 to h1'])
  t.core.packet(tcp(ACK, size(1460)), 8)
  assert.equal(t.take(), ['MAP - to h1'])
  t.acknowledge(9)
  assert.equal(t.take(), ['tunnel 1460 to 1'])
  t.core.packet(tcp(ACK, size(3)), 10)
  assert.ok(t.take().includes('tunnel 3 to 1'))
  // What waits for a mapping leaves without one.
  const u = setUp({ encapsulates: true })
  u.core.packet(tcp(FLAG.SYN), 0)
  u.core.packet(tcp(ACK, size(1460)), 1)
  u.take()
  deliver(u, 'encapsulate')
  u.core.tick(200)
  assert.equal(u.take(), ['encapsulate 16 1'])
})

it('a classifier elsewhere: what travelled goes on whole, and so does what waited', () => {
  const t = setUp({ classifier: false })
  deliver(t, 'encapsulate')
  t.core.packet(tcp(FLAG.SYN), 0)
  assert.equal(t.take(), ['CLASSIFY 0 to c1'])
  t.core.packet(tcp(ACK, size(1460)), 1)
  assert.equal(t.take(), ['CLASSIFY - to c1'])
  const answer = t.headers[0]!
  answer.kind = KIND.CLASSIFIED
  answer.node.set(words(HOSTS[0]))
  t.core.classified(answer, tcp(FLAG.SYN), 2)
  assert.equal(t.take(), ['encapsulate 2 1', 'encapsulate 16 1'])
})

it.run()
