import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LIST, ORIGIN } from '../../src/agent/dataplane/flows.ts'
import { ATOM_TOUCH_MS } from '../../src/agent/dataplane/messages.ts'
import { RecordQueue } from '../../src/agent/dataplane/record-queue.ts'
import { tcp } from '../support/cores.ts'
import { keyOf, setUp } from '../support/mid-flow-case.ts'
import { FLAG } from '../support/packets.ts'

const it = suite('routes as atoms (R-C4)')
const { ACK, SYN, FIN } = FLAG
type Case = ReturnType<typeof setUp>

const establish = ({ core }: Case, port = 40_000, nowMs = 0): void => {
  core.packet(tcp(SYN, { sourcePort: port }), nowMs)
  core.packet(tcp(ACK, { sourcePort: port }), nowMs)
}
/** Ticks as the worker's. */
const pass = ({ core }: Case, fromMs: number, untilMs: number): void => {
  for (let now = fromMs; now <= untilMs; now += 100) core.tick(now)
}

it('a flow is told of once, when the client’s ACK has come; a half-open one never', () => {
  const t = setUp()
  t.core.packet(tcp(SYN), 0)
  t.core.packet(tcp(SYN), 1)
  assert.equal(t.atoms(), [])
  t.core.packet(tcp(ACK), 2)
  assert.equal(t.atoms(), ['put 40000 h1'])
  for (let i = 0; i < 20; i++) t.core.packet(tcp(ACK), 3 + i)
  assert.equal(t.atoms(), [])
})

it('its end is told when its linger is over, or its time; until then it is an atom', () => {
  const t = setUp()
  establish(t)
  t.atoms()
  t.core.packet(tcp(FIN | ACK), 10)
  t.core.tick(2000)
  assert.equal(t.atoms(), [])
  t.core.tick(2010)
  assert.equal(t.atoms(), ['end 40000 h1'])
  establish(t, 41_000, 3000)
  t.atoms()
  t.core.tick(603_000)
  assert.equal(t.atoms(), ['end 41000 h1'])
})

it('ports that are used again at another host are told of again; what the table pushes out has not ended', () => {
  const t = setUp()
  establish(t)
  t.core.packet(tcp(FIN | ACK), 10)
  t.chosen.host = 2
  t.index.host(1)!.draining = true
  establish(t, 40_000, 20)
  assert.equal(t.atoms(), ['put 40000 h1', 'put 40000 h2'])
  for (let port = 1; port <= 16; port++) establish(t, port, 30 + port)
  assert.is(t.core.counters.evictedRoutes, 1)
  assert.ok(t.atoms().every(row => row.startsWith('put')))
})

it('the kernel’s classification is told of as well, by events and by sweeps', () => {
  const t = setUp()
  t.core.kernel.promoted(keyOf(1), { host: 1, identifier: 0, mapped: true }, 0, 0)
  assert.equal(t.atoms(), ['put 1 h1'])
  t.core.kernel.found(keyOf(2), { host: 2, identifier: 0, mapped: true }, 0)
  assert.equal(t.atoms(), ['put 2 h2'])
  t.core.kernel.opened(keyOf(3), { host: 2, identifier: 0, mapped: false }, 0, 0)
  assert.equal(t.atoms(), [])
})

it('in use, it is told of about once a minute; unused, not at all', () => {
  const t = setUp()
  establish(t, 1)
  establish(t, 2)
  t.atoms()
  pass(t, 100, ATOM_TOUCH_MS)
  t.atoms()
  for (let now = ATOM_TOUCH_MS; now < 3 * ATOM_TOUCH_MS; now += 1000) {
    t.core.packet(tcp(ACK, { sourcePort: 1 }), now)
    pass(t, now, now + 900)
  }
  const rows = t.atoms()
  assert.ok(rows.length >= 1 && rows.length <= 3, String(rows))
  assert.ok(rows.every(row => row === 'touch 1 h1'))
})

it('told of again, all of them are, and no half-open, closing or unowned one; new settings do so too', () => {
  const t = setUp()
  for (const port of [1, 2, 3, 4]) establish(t, port)
  t.core.packet(tcp(SYN, { sourcePort: 5 }), 0)
  t.core.packet(tcp(FIN | ACK, { sourcePort: 3 }), 1)
  t.flows.origin[t.flows.table.find(keyOf(4))] = ORIGIN.NOBODY
  t.atoms()
  t.core.atoms.tellAll()
  assert.ok(t.core.atoms.isTelling)
  while (t.core.atoms.isTelling) t.core.atoms.step()
  assert.equal(t.atoms(), ['put 1 h1', 'put 2 h1'])
  t.core.reconfigured(10_000, 1)
  assert.ok(t.core.atoms.isTelling)
})

it('what was taken over from the agent before is told of', () => {
  const t = setUp()
  const slot = t.flows.insert(keyOf(), 0, 0)
  t.flows.host[slot] = 2
  t.flows.table.move(slot, LIST.TCP, 0)
  t.core.adopted()
  t.core.atoms.step()
  assert.equal(t.atoms(), ['put 40000 h2'])
  assert.is(t.flows.origin[slot], ORIGIN.KEPT)
})

it('a service whose routes are atoms no more takes them back; where nobody keeps any, none are told', () => {
  const t = setUp()
  establish(t)
  t.atoms()
  const { services } = t.index.directory
  t.index.replace({
    ...t.index.directory,
    services: services.map(service => ({ ...service, copies: null })),
  })
  pass(t, 100, ATOM_TOUCH_MS)
  assert.equal(t.atoms(), ['end 40000 h1'])
  for (const none of [{ copies: null }, { resolves: false }]) {
    const other = setUp(none)
    establish(other)
    pass(other, 100, ATOM_TOUCH_MS)
    assert.equal(other.atoms(), [])
  }
})

it('a full queue loses no put: the sweep tells it; a lost end is said', () => {
  const t = setUp()
  const { queue } = t.core.atoms
  while (queue.add(keyOf(9), 0, 1, 2, 0)) {}
  establish(t)
  assert.is(queue.size, queue.capacity)
  assert.is(t.core.atoms.counters.atomsRefused, 1)
  queue.take()
  pass(t, 100, ATOM_TOUCH_MS / 2)
  assert.equal(t.atoms(), ['put 40000 h1'])
  assert.not(t.core.atoms.takeLost())
  while (queue.add(keyOf(9), 0, 1, 2, 0)) {}
  t.core.tick(ATOM_TOUCH_MS + 600_000)
  assert.ok(t.core.atoms.takeLost())
  assert.not(t.core.atoms.takeLost())
})

it('records keep their words, in order, as the queue grows', () => {
  const queue = new RecordQueue(12, 1000)
  for (let i = 0; i < 1000; i++) assert.ok(queue.add(keyOf(i), 0, i, i + 1))
  assert.not(queue.add(keyOf(0), 0, 0, 0))
  const words = queue.take()
  for (let i = 0; i < 1000; i++)
    assert.equal([...words.subarray(i * 12, i * 12 + 12)], [...keyOf(i), i, i + 1])
  assert.is(queue.size, 0)
})

it.run()
