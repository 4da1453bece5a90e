import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import { HostCore } from '../../src/agent/dataplane/host-core.ts'
import { createMappingHeader, KIND, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import { MAPPING_LIST, MappingTable } from '../../src/agent/dataplane/mappings.ts'
import { directory, FORWARDER, HOSTS, ip, packetOf, TUNNEL, VIP, words } from '../support/cores.ts'
import { buildTcp4, FLAG } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'

const it = suite('host core and what the kernel has learnt')
const NOW_S = 1_000_000
const ID = 0x01001234
const EPOCH = 5
const TIMEOUTS = { embryonic: 1000, mapping: 60_000, linger: 2000, routeLease: 10_000 }

const headerOf = (sequence: number, port: number, identifier = ID, epoch = EPOCH): MappingHeader => {
  const header = createMappingHeader()
  const kind = KIND.MAP
  const ports = ((port << 16) | 80) >>> 0
  Object.assign(header, { kind, epoch, sequence, timeS: NOW_S, identifier, protocol: 6, hostIndex: 1, ports })
  header.client.set(words('10.20.0.5'))
  header.vip.set(words(VIP))
  header.node.set(words(TUNNEL))
  return header
}

const setUp = (options: { capacity?: number; embryonic?: number; taken?: boolean } = {}) => {
  const log: string[] = []
  const drops: number[] = []
  const mappings = new MappingTable(options.capacity ?? 16, options.embryonic ?? 16, 1, 2)
  /** By slot: when the kernel saw the last packet (ms). */
  const used = new Map<number, number>()
  const port = (slot: number): number => mappings.tuples[slot * 10 + 8] >>> 16
  const core = new HostCore({
    mappings,
    directory: directory(HOSTS[0]),
    held: new HeldPackets(8),
    settings: {
      timeouts: TIMEOUTS,
      commitAfterPackets: 0,
      timeWindowS: 30,
      asksPerSecond: 100,
      lasting: true,
    },
    ports: {
      restore: (_packet, slot) => log.push(`restore ${port(slot)}`),
      inject: () => log.push('inject'),
      datagram: ({ kind, ports }) =>
        log.push(`${Object.entries(KIND).find(([, value]) => value === kind)![0]} ${ports >>> 16}`),
      commit: slot => log.push(`commit ${port(slot)}`),
      withdraw: slots => log.push(`withdraw ${slots.map(port)}`),
      withdrawTunnel: () => log.push('withdraw all') > 0,
      epoch: (_tunnel, epoch) => log.push(`epoch ${epoch}`),
      forget: (_tunnel, identifier) => log.push(`forget ${identifier - ID}`),
      usedMs: slot => used.get(slot) ?? 0,
      drop: reason => drops.push(reason),
    },
  })
  const take = (): string[] => log.splice(0)
  const map = (sequence: number, clientPort: number, epoch = EPOCH, nowMs = 0): void =>
    core.map(headerOf(sequence, clientPort, ID, epoch), null, ip(FORWARDER), nowMs, NOW_S)
  const learnt = (
    sequence: number,
    clientPort: number,
    { identifier = ID, flags = FLAG.SYN as number, tunnelled = false, nowMs = 0, epoch = EPOCH } = {},
  ): void => core.learnt(headerOf(sequence, clientPort, identifier, epoch), flags, tunnelled, nowMs, NOW_S)
  if (options.taken) return { core, mappings, take, drops, map, learnt, used, vips: () => 0 }
  // The forwarder's epoch is known by a first message, of another flow.
  core.map(headerOf(1, 999, ID - 1), null, ip(FORWARDER), 0, NOW_S)
  assert.equal(take(), [`epoch ${EPOCH}`, 'commit 999', 'MAP_ACK 999'])
  const vips = (): number => mappings.vips.get(words(VIP)) ?? 0
  return { core, mappings, take, drops, map, learnt, used, vips }
}

it('what the kernel has learnt comes into the table and is acknowledged; its packet is not delivered again', () => {
  const { core, take, learnt, vips, mappings } = setUp()
  learnt(2, 40_000)
  assert.equal(take(), ['commit 40000', 'MAP_ACK 40000'])
  learnt(2, 40_000)
  assert.equal(take(), ['MAP_ACK 40000'], 'the first one may have been lost')
  assert.is(vips(), 2)
  assert.is(core.counters.mapsLearnt, 2)
  assert.is(core.counters.mapsRefreshed, 1)
  assert.is(mappings.table.length(MAPPING_LIST.EMBRYONIC), 2)
  learnt(3, 40_000, { flags: FLAG.ACK })
  assert.is(mappings.table.length(MAPPING_LIST.COMMITTED), 1, 'the handshake is over')
  learnt(4, 40_000, { flags: FLAG.ACK | FLAG.FIN })
  assert.is(mappings.table.length(MAPPING_LIST.CLOSING), 1)
})

it('an older message that contradicts what the agent knows is taken out again, unacknowledged; a newer one ends that first', () => {
  const { take, map, learnt, drops, vips } = setUp()
  map(10, 40_000)
  assert.equal(take(), ['commit 40000', 'MAP_ACK 40000'])
  learnt(9, 50_000)
  assert.equal(take(), ['forget 0'])
  assert.equal(drops, [DROP.MAPPING_OLD_SEQUENCE])
  learnt(11, 50_000)
  assert.equal(take(), ['withdraw 40000', 'commit 50000', 'MAP_ACK 50000'])
  assert.is(vips(), 2)
})

it('of another epoch, or of no forwarder: taken out again', () => {
  const { core, take, learnt } = setUp()
  learnt(2, 40_000, { epoch: EPOCH - 1 })
  learnt(3, 40_000, { epoch: EPOCH + 1 })
  const stranger = headerOf(4, 40_000)
  stranger.node.set(words('10.66.0.77'))
  core.learnt(stranger, FLAG.SYN, false, 0, NOW_S)
  assert.equal(take(), ['forget 0', 'forget 0', 'forget 0'])
  assert.is(core.mappings.table.size, 1)
})

it('an agent that takes over learns the epoch from the kernel', () => {
  const { take, learnt } = setUp({ taken: true })
  learnt(2, 40_000)
  assert.equal(take(), [`epoch ${EPOCH}`, 'commit 40000', 'MAP_ACK 40000'])
  learnt(3, 40_001, { identifier: ID + 1, epoch: EPOCH + 1 })
  assert.equal(take(), ['forget 1'])
})

it('the kernel is told of an epoch after the mappings of the one before are out', () => {
  const { take, map } = setUp()
  map(2, 40_000, EPOCH + 1)
  assert.equal(take(), ['withdraw all', `epoch ${EPOCH + 1}`, 'commit 40000', 'MAP_ACK 40000'])
})

it('packets that waited for the mapping go on when the kernel has learnt it', () => {
  const { core, take, learnt } = setUp()
  const ports = { sourcePort: ID >>> 16, destinationPort: ID & 0xffff }
  const bytes = buildTcp4({ source: TUNNEL, destination: HOSTS[0], ...ports, flags: FLAG.ACK })
  core.tunnelled(packetOf(bytes), ip(TUNNEL), 0)
  assert.equal(take(), ['ASK 0'])
  learnt(2, 40_000)
  assert.equal(take(), ['commit 40000', 'MAP_ACK 40000', 'restore 40000'])
})

it('a flood of half-open mappings displaces half-open ones only, and of them none that packets follow', () => {
  const { core, mappings, take, learnt, used } = setUp({ capacity: 64, embryonic: 4 })
  for (let n = 0; n < 3; n++) learnt(2 + n, 2000 + n, { identifier: ID + n, nowMs: 10 })
  take()
  // The kernel has seen packets of the second, not of the others.
  const key = Uint32Array.from([0, 0, 0xffff, ip(TUNNEL), ID + 1])
  const busy = mappings.table.find(key)
  used.set(busy, 15)
  for (let n = 3; n < 40; n++) learnt(2 + n, 2000 + n, { identifier: ID + n, nowMs: 20 })
  assert.is(mappings.table.length(MAPPING_LIST.EMBRYONIC), 4)
  assert.is(mappings.table.listOf(mappings.table.find(key)), MAPPING_LIST.COMMITTED)
  const withdrawn = take().filter(line => line.startsWith('withdraw'))
  assert.is(withdrawn.length, core.counters.evicted)
  assert.is(mappings.table.size, 5, 'the flood has its own places')
  assert.not.ok(withdrawn.includes('withdraw 2001'))
})

it('a half-open mapping ends after its time, unless packets have followed it; one that closed after its linger', () => {
  const { core, mappings, take, learnt, used } = setUp()
  learnt(2, 2000, { identifier: ID, nowMs: 0 })
  learnt(3, 2001, { identifier: ID + 1, nowMs: 0 })
  const slot = mappings.table.find(Uint32Array.from([0, 0, 0xffff, ip(TUNNEL), ID + 1]))
  used.set(slot, 500)
  take()
  core.tick(TIMEOUTS.embryonic)
  assert.equal(take(), ['withdraw 999', 'withdraw 2000'])
  assert.is(mappings.table.size, 1)
  core.closes(ip(TUNNEL), ID + 1, 2000)
  core.closes(ip(TUNNEL), ID + 7, 2000)
  assert.is(core.counters.closed, 1)
  core.tick(2000 + TIMEOUTS.linger + TIMEOUTS.routeLease - 1)
  assert.equal(take(), [])
  core.tick(2000 + TIMEOUTS.linger + TIMEOUTS.routeLease)
  assert.equal(take(), ['withdraw 2001'])
})

type Fault =
  | 'none'
  | 'what is learnt goes first'
  | 'acknowledged at once'
  | 'what the kernel has acknowledged is not kept'
  | 'the agent does not look at what the kernel has acknowledged'

/**
 * The kernel as bpf/learn.h has it, on several processors, its events late or lost, the agent's core, and a forwarder that gives identifiers to
 * one flow after the other: messages arrive late, twice and out of order, half of them without a packet, so that the kernel acknowledges them
 * (bpf/learn-answer.h). Answers how often a packet in tunnelled form came to another flow.
 */
const interleave = (seed: number, fault: Fault): { wrong: number; right: number } => {
  const random = integers(seeded(seed))
  const stored = new Map<number, number>()
  const learnt = new Map<number, MappingHeader>()
  const portOf = (message: MappingHeader | undefined): number | undefined =>
    message === undefined ? undefined : message.ports >>> 16
  const inForce = (identifier: number): number | undefined =>
    stored.get(identifier) ?? portOf(learnt.get(identifier))
  /** Newest that the kernel has acknowledged; the identifiers are of one part. */
  let answered = 0
  const keeps = fault !== 'what the kernel has acknowledged is not kept'
  const looks = fault !== 'the agent does not look at what the kernel has acknowledged'
  const isOlder = (sequence: number): boolean => sequence < answered
  /** Without a packet, and in force: about to be acknowledged by a processor. */
  const answering: MappingHeader[] = []
  const events: MappingHeader[] = []
  const network: MappingHeader[] = []
  /** A processor has found nothing against them, and stores them next. */
  const checked: MappingHeader[] = []
  const owners = new Map<number, number>()
  /** Identifiers whose owner may tunnel: it takes no answer to another for its own. */
  const acknowledged = new Set<number>()
  const answer = (identifier: number, port: number): void => {
    if (owners.get(identifier) === port) acknowledged.add(identifier)
  }
  const mappings = new MappingTable(64, 64, 1, 2)
  const at = (slot: number): [identifier: number, port: number] => [
    mappings.table.keyWord(slot, 4),
    mappings.tuples[slot * 10 + 8] >>> 16,
  ]
  const core = new HostCore({
    mappings,
    directory: directory(HOSTS[0]),
    held: new HeldPackets(8),
    settings: { timeouts: TIMEOUTS, commitAfterPackets: 0, timeWindowS: 30, asksPerSecond: 0, lasting: true },
    ports: {
      restore: () => {},
      inject: () => {},
      datagram: ({ kind, identifier, ports }) => {
        if (kind === KIND.MAP_ACK) answer(identifier, ports >>> 16)
      },
      commit: slot => {
        const [identifier, port] = at(slot)
        stored.set(identifier, port)
        learnt.delete(identifier)
      },
      withdraw: slots => {
        for (const [identifier] of slots.map(at)) {
          stored.delete(identifier)
          learnt.delete(identifier)
        }
      },
      forget: (_tunnel, identifier) => {
        learnt.delete(identifier)
      },
      supersedes: (_tunnel, _epoch, identifier, sequence) => {
        const now = learnt.get(identifier)
        if (looks && now !== undefined) tell(now)
        return looks && isOlder(sequence)
      },
      drop: () => {},
    },
  })
  /** As LearntFollower does. */
  const tell = (message: MappingHeader): void => {
    const now = learnt.get(message.identifier)
    if (looks && isOlder(message.sequence) && portOf(now) !== portOf(message)) return
    core.learnt(structuredClone(message), FLAG.SYN, false, 0, NOW_S)
  }
  // Each can go wrong until the agent knows an owner of it.
  const identifiers = Array.from({ length: 16 }, (_, n) => ID + n)
  let sequence = 1
  let port = 1024
  let [wrong, right] = [0, 0]
  core.map(headerOf(sequence++, 999, ID - 1), null, ip(FORWARDER), 0, NOW_S)
  for (let step = 0; step < 800; step++) {
    const identifier = identifiers[random(identifiers.length)]
    switch (random(10)) {
      case 0: // A new owner; what it sends is newer than all before.
        owners.set(identifier, ++port)
        acknowledged.delete(identifier)
        network.push(headerOf(sequence++, port, identifier))
        break
      case 1: // It sends again.
        if (owners.has(identifier)) network.push(headerOf(sequence++, owners.get(identifier)!, identifier))
        break
      case 2:
      case 3: {
        // Any message arrives, perhaps not for the last time: with a packet at the kernel, else at the agent.
        const message = network[random(network.length)]
        if (message === undefined) break
        if (random(4) === 0) network.splice(network.indexOf(message), 1)
        if (random(8) === 0) {
          core.map(structuredClone(message), null, ip(FORWARDER), step, NOW_S)
          break
        }
        const known = inForce(message.identifier)
        if (known === undefined ? !isOlder(message.sequence) : known === portOf(message))
          checked.push(structuredClone(message))
        else core.map(structuredClone(message), null, ip(FORWARDER), step, NOW_S)
        break
      }
      case 4: {
        const message = checked.splice(random(checked.length), 1)[0]
        if (message === undefined) break
        const known = portOf(learnt.get(message.identifier))
        if (known === undefined) learnt.set(message.identifier, message)
        const isOver = known === undefined && isOlder(message.sequence)
        if (isOver) learnt.delete(message.identifier)
        if (isOver || (known ?? portOf(message)) !== portOf(message)) {
          core.map(message, null, ip(FORWARDER), step, NOW_S)
          break
        }
        if (fault === 'acknowledged at once') answer(message.identifier, message.ports >>> 16)
        if (random(2) === 0) answering.push(message)
        else if (random(4) > 0) events.push(message)
        break
      }
      case 5: {
        const message = random(4) === 0 ? events.shift() : undefined
        if (message !== undefined) tell(message)
        break
      }
      case 6:
      case 7: // The least recently used one goes.
        learnt.delete(identifier)
        break
      case 8: {
        const message = answering.splice(random(answering.length), 1)[0]
        if (message === undefined) break
        if (keeps) answered = Math.max(answered, message.sequence)
        if (inForce(message.identifier) !== portOf(message)) {
          core.map(message, null, ip(FORWARDER), step, NOW_S)
          break
        }
        answer(message.identifier, message.ports >>> 16)
        if (!stored.has(message.identifier) && random(4) > 0) events.push(message)
        break
      }
      default: {
        const owner = owners.get(identifier)
        if (owner === undefined || !acknowledged.has(identifier)) break
        const first = fault === 'what is learnt goes first' ? portOf(learnt.get(identifier)) : undefined
        const restored = first ?? inForce(identifier)
        if (restored === owner) right++
        else if (restored !== undefined) wrong++
      }
    }
  }
  return { wrong, right }
}

const RUNS = 600
const sums = (fault: Fault): { wrong: number; right: number } => {
  const sum = { wrong: 0, right: 0 }
  for (let n = 0; n < RUNS; n++) {
    const { wrong, right } = interleave(runSeeds()[0] * 1000 + n, fault)
    sum.wrong += wrong
    sum.right += right
  }
  return sum
}

it('whatever is late, lost, sent twice or out of order: no acknowledged flow gets to another (decision 6)', () => {
  const { wrong, right } = sums('none')
  assert.is(wrong, 0)
  assert.ok(right > RUNS, `${right} packets restored`)
})

for (const fault of [
  'acknowledged at once',
  'what is learnt goes first',
  'what the kernel has acknowledged is not kept',
  'the agent does not look at what the kernel has acknowledged',
] as const)
  it(`a control that must fail: ${fault}`, () => {
    const { wrong } = sums(fault)
    assert.ok(wrong > 0, `${wrong}`)
  })

it.run()
