import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { ORIGIN } from '../../src/agent/dataplane/flows.ts'
import { ATOM_TOUCH_MS, RESOLVED } from '../../src/agent/dataplane/messages.ts'
import { HOSTS, ip, packetOf, tcp, VIP } from '../support/cores.ts'
import { keyOf, setUp } from '../support/mid-flow-case.ts'
import { buildUdp4, FLAG } from '../support/packets.ts'

const it = suite('packets from the middle of unknown flows (decision 6)')
const { ACK, SYN, FIN, RST } = FLAG
const size = (bytes: number) => ({ payload: new Uint8Array(bytes) })
const udp = (bytes: number, sourcePort = 40_000) =>
  packetOf(
    buildUdp4({
      source: '10.20.0.5',
      destination: VIP,
      sourcePort,
      destinationPort: 80,
      payload: new Uint8Array(bytes),
    }),
  )

it('wait, are asked about once, and go in order to the host that has the flow, not to the choice', () => {
  const t = setUp()
  for (let i = 1; i <= 4; i++) t.core.packet(tcp(ACK, size(i)), i)
  assert.equal(t.take(), [])
  assert.equal(t.asked, [{ port: 40_000, service: 0 }])
  assert.is(t.flows.table.size, 0, 'no entry is spent on what is not known')
  t.answer(5, 'memberAtom', 3)
  assert.equal(t.take(), ['MAP 1 to h3', 'MAP 2 to h3', 'MAP 3 to h3', 'MAP 4 to h3'])
  assert.equal(t.chosen.opens, [])
  const slot = t.flows.table.find(keyOf())
  assert.is(t.flows.origin[slot], ORIGIN.MEMBER_ATOM)
  t.core.packet(tcp(ACK, size(5)), 6)
  assert.equal(t.take(), ['MAP 5 to h3'])
  assert.equal(t.atoms(), ['put 40000 h3'], 'it is carried here now')
  assert.equal(t.drops, [])
})

it('a SYN is nobody’s middle: it is chosen for at once, and what waits of the connection before goes', () => {
  const t = setUp()
  t.core.packet(tcp(ACK, size(9)), 0)
  t.core.packet(tcp(SYN), 1)
  assert.equal(t.take(), ['MAP 0 to h1'])
  assert.equal(t.drops, [DROP.UNRESOLVED])
  t.answer(2, 'memberAtom', 3)
  assert.equal(t.take(), [])
  assert.is(t.core.midFlow.counters.resolvedLate, 1)
})

it('nobody has it: the deterministic choice’s host answers, it is counted, and never told as an atom', () => {
  const t = setUp()
  t.core.packet(tcp(ACK, size(1)), 0)
  t.answer(1, 'nobody')
  assert.equal(t.take(), ['MAP 1 to h1'])
  assert.equal(t.chosen.opens, [false])
  for (let i = 0; i < 9; i++) t.core.packet(tcp(ACK, size(1)), 2)
  assert.is(t.core.midFlow.counters.resolvedNobody, 1)
  assert.equal(t.atoms(), [])
  assert.is(t.asked.length, 1)
})

it('no answer: asked again, then dropped and counted; the client’s next packet is asked about anew', () => {
  const t = setUp()
  t.core.packet(tcp(ACK), 0)
  for (let now = 10; now <= 2000; now += 10) t.core.tick(now)
  assert.is(t.asked.length, 3)
  assert.equal(t.drops, [DROP.UNRESOLVED])
  assert.is(t.resolution.size, 0)
  assert.is(t.resolution.counters.resolvesUnanswered, 1)
  t.core.packet(tcp(ACK, size(2)), 2100)
  assert.is(t.asked.length, 4)
  t.answer(2101, 'host', 2)
  assert.equal(t.take(), ['MAP 2 to h2'])
})

it('a FIN or RST alone reaches the flow’s host, and the flow closes', () => {
  for (const flags of [FIN | ACK, RST]) {
    const t = setUp()
    t.core.packet(tcp(flags), 0)
    t.answer(1, 'ownAtom', 2)
    assert.equal(t.take(), ['MAP 0 to h2'])
    t.core.tick(2002)
    assert.is(t.flows.table.size, 0)
    assert.equal(t.atoms(), ['put 40000 h2', 'end 40000 h2'])
  }
})

it('a host that is not alive keeps its TCP connection; one that is gone leaves it to the choice', () => {
  const t = setUp()
  t.index.host(3)!.live = false
  t.core.packet(tcp(ACK, size(1)), 0)
  t.answer(1, 'memberAtom', 3)
  assert.equal(t.take(), ['MAP 1 to h3'])
  t.core.packet(tcp(ACK, { sourcePort: 40_001, ...size(2) }), 2)
  t.core.midFlow.resolved(keyOf(40_001), 0x01020304, 2, 3)
  assert.equal(t.take(), ['MAP 2 to h1'])
  assert.is(t.core.midFlow.counters.resolvedGone, 1)
})

it('an inactive host keeps its rules: not one packet goes there', () => {
  const t = setUp()
  t.index.readiness = { takesNew: () => true, isInactive: (_service, host) => host === 3 }
  t.core.packet(tcp(ACK), 0)
  t.answer(1, 'memberAtom', 3)
  assert.equal(t.take(), [])
  assert.equal(t.drops, [DROP.INACTIVE])
})

it('UDP is asked about where its routes are atoms, chosen for as new when nobody knows it, and when its host has died', () => {
  const t = setUp({ udp: true })
  t.core.packet(udp(1), 0)
  assert.equal(t.take(), [])
  t.answer(1, 'nobody')
  assert.equal(t.take(), ['MAP 1 to h1'])
  assert.equal(t.chosen.opens, [true])
  const dead = setUp({ udp: true })
  dead.index.host(3)!.live = false
  dead.core.packet(udp(2), 0)
  dead.answer(1, 'memberAtom', 3)
  assert.equal(dead.take(), ['MAP 2 to h1'])
  const none = setUp({ udp: true, copies: null })
  none.core.packet(udp(3), 0)
  assert.equal(none.take(), ['MAP 3 to h1'])
})

it('TCP is asked about whether its routes are atoms or not; where nobody can be asked it is chosen for at once', () => {
  const t = setUp({ copies: null })
  t.core.packet(tcp(ACK), 0)
  t.answer(1, 'host', 2)
  assert.equal(t.take(), ['MAP 0 to h2'])
  assert.equal(t.atoms(), [])
  const alone = setUp({ resolves: false })
  alone.core.packet(tcp(ACK), 0)
  assert.equal(alone.take(), ['MAP 0 to h1'])
})

it('where the classifier is another node it is asked only when nobody has the flow', () => {
  const t = setUp({ classifier: false })
  t.core.packet(tcp(ACK, size(1)), 0)
  t.core.packet(tcp(ACK, size(2)), 0)
  t.answer(1, 'memberAtom', 2)
  assert.equal(t.take(), ['MAP 1 to h2', 'MAP 2 to h2'])
  t.core.packet(tcp(ACK, { sourcePort: 40_001, ...size(3) }), 2)
  t.answer(3, 'nobody', 0, keyOf(40_001))
  assert.equal(t.take(), ['CLASSIFY 3 to c1'])
})

it('a flood of packets of flows that are none takes at most half of the places; who comes again gets one', () => {
  const t = setUp({ places: 8 })
  for (let port = 1; port <= 400; port++) t.core.packet(tcp(ACK, { sourcePort: port }), port)
  assert.is(t.resolution.size, 4)
  assert.is(t.flows.table.size, 0)
  assert.ok(t.drops.every(reason => reason === DROP.RESOLVE_FULL))
  t.core.packet(tcp(ACK, size(1)), 500)
  t.core.packet(tcp(ACK, size(2)), 501)
  t.answer(502, 'memberAtom', 2)
  assert.equal(t.take(), ['MAP 2 to h2'], 'its first packet was lost, and repeated')
  for (let port = 1; port <= 400; port++) t.core.packet(tcp(ACK, { sourcePort: port }), 600)
  assert.is(t.resolution.size, 8, 'full, and no more')
})

it('it is said which flows have come again: while they wait, or not long ago', () => {
  const t = setUp({ places: 8 })
  t.core.packet(tcp(ACK), 0)
  t.core.packet(tcp(ACK, { sourcePort: 1 }), 1)
  t.core.packet(tcp(ACK), 300)
  for (let now = 310; now <= 2100; now += 10) t.core.tick(now)
  assert.equal(
    t.asked.map(({ port }, i) => `${port}${t.again[i] ? ' again' : ''}`),
    ['40000', '1', '40000 again', '1', '40000 again', '1'],
  )
  t.again.length = 0
  t.core.packet(tcp(ACK), 2200)
  t.core.packet(tcp(ACK, { sourcePort: 2 }), 2200)
  assert.equal(t.again, [true, false])
  for (let now = 2210; now <= 20_000; now += 10) t.core.tick(now)
  t.again.length = 0
  t.core.packet(tcp(ACK), 20_000)
  assert.equal(t.again, [false], 'too long ago')
})

it('UDP that finds no place is chosen for as new', () => {
  const t = setUp({ udp: true, places: 2 })
  for (const port of [1, 2]) t.core.packet(udp(1, port), 0)
  t.take()
  t.core.packet(udp(2, 3), 1)
  assert.equal(t.take(), ['MAP 2 to h1'])
  assert.equal(t.drops, [])
})

it('packets that wait are bounded', () => {
  const t = setUp({ places: 8 })
  for (let i = 0; i < 20; i++) t.core.packet(tcp(ACK, size(i)), 0)
  assert.is(t.drops.filter(reason => reason === DROP.HOLD_FULL).length, 12)
  t.answer(1, 'memberAtom', 2)
  assert.is(t.take().filter(row => !row.startsWith('MAP - ')).length, 8)
})

it('an ICMP error about an unknown flow goes by the choice at once; the flow’s own packets do not follow that', () => {
  const t = setUp()
  const key = keyOf()
  const slot = t.core.errors.find(key, () => true, 0)
  assert.is(t.flows.host[slot], 1)
  assert.equal(t.asked, [{ port: 40_000, service: 0 }])
  t.core.packet(tcp(ACK, size(1)), 1)
  assert.equal(t.take(), ['MAP - to h1'], 'only the mapping that the error needs')
  t.answer(2, 'memberAtom', 3)
  assert.equal(t.take(), ['MAP 1 to h3'])
  assert.is(t.flows.host[t.core.errors.find(key, () => true, 3)], 3)
})

it('an ICMP error alone does not take a flow over from the forwarder that carries it', () => {
  const t = setUp()
  t.core.errors.find(keyOf(), () => true, 0)
  t.answer(1, 'memberAtom', 3)
  assert.is(t.flows.host[t.core.errors.find(keyOf(), () => true, 3)], 3, 'the next error goes there')
  assert.equal(t.atoms(), [])
})

it('a route that another forwarder carries now is forgotten, and asked about when its packets come back', () => {
  const t = setUp()
  t.core.packet(tcp(SYN), 0)
  t.core.packet(tcp(ACK), 1)
  assert.equal(t.atoms(), ['put 40000 h1'])
  t.take()
  t.core.midFlow.claimed(keyOf(), ip(HOSTS[0]!), RESOLVED.memberAtom, 2)
  assert.is(t.flows.table.size, 0)
  assert.equal(t.atoms(), [], 'it has not ended')
  assert.equal(t.take(), [], 'nor does its classifier forget it')
  t.core.packet(tcp(ACK, size(1)), 3)
  assert.is(t.asked.length, 1)
})

it('a connection that has just begun here is told of again when another forwarder names its ports’ last host: once', () => {
  for (const how of [RESOLVED.memberAtom, RESOLVED.nobody]) {
    const t = setUp()
    t.core.packet(tcp(SYN), 0)
    t.core.packet(tcp(ACK), 1)
    t.take()
    assert.equal(t.atoms(), ['put 40000 h1'])
    t.core.midFlow.claimed(keyOf(), ip(HOSTS[1]!), how, 2)
    assert.equal(t.atoms(), ['put 40000 h1'])
    assert.equal([t.flows.table.size, t.core.midFlow.counters.claimsRefuted], [1, 1])
    t.core.midFlow.claimed(keyOf(), ip(HOSTS[1]!), how, 3)
    assert.equal(t.atoms(), [], 'the other one says so too: it is the later one')
    assert.is(t.flows.table.size, how === RESOLVED.nobody ? 1 : 0, 'an end takes no route')
    assert.is(t.core.midFlow.counters.claimedFlows, how === RESOLVED.nobody ? 0 : 1)
  }
})

it('where there is no room to tell of it again at once, the sweep does', () => {
  const t = setUp()
  t.core.packet(tcp(SYN), 0)
  t.core.packet(tcp(ACK), 1)
  t.atoms()
  const { queue } = t.core.atoms
  while (queue.add(keyOf(9), 0, 1, 2, 0)) {}
  t.core.midFlow.claimed(keyOf(), ip(HOSTS[1]!), RESOLVED.memberAtom, 2)
  assert.is(t.flows.table.size, 1)
  queue.take()
  for (let now = 100; now <= ATOM_TOUCH_MS; now += 100) t.core.tick(now)
  assert.equal(t.atoms()[0], 'put 40000 h1')
})

it('one that has ended, has no packets, was found at a host, or is claimed for its own host is given up', () => {
  const claim = (t: ReturnType<typeof setUp>, nowMs: number, host = 2): number => {
    t.core.midFlow.claimed(keyOf(), ip(HOSTS[host - 1]!), RESOLVED.memberAtom, nowMs)
    assert.is(t.core.midFlow.counters.claimsRefuted, 0)
    return t.flows.table.size
  }
  const opened = (): ReturnType<typeof setUp> => {
    const t = setUp()
    t.core.packet(tcp(SYN), 0)
    t.core.packet(tcp(ACK), 1)
    return t
  }
  const ended = opened()
  ended.core.packet(tcp(FIN | ACK), 2)
  assert.is(claim(ended, 3), 0)
  assert.is(claim(opened(), 5_002), 0)
  assert.is(claim(opened(), 2, 1), 0)
  const found = setUp()
  found.core.packet(tcp(ACK), 0)
  found.answer(1, 'host', 1)
  assert.is(claim(found, 2), 0)
})

it('when nobody answers any more, nothing waits', () => {
  const t = setUp()
  t.core.packet(tcp(ACK), 0)
  Object.assign(t.settings, { resolves: false })
  t.core.reconfigured(10_000, 1)
  assert.is(t.resolution.size, 0)
  assert.equal(t.drops, [DROP.UNRESOLVED])
})

it.run()
