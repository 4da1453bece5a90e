/** First packets of clients that a unit which has begun does not know wait for what the others know (R-C2): in order, bounded in number and time. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Affinity, type AffinityChoice } from '../../src/agent/classify/affinity.ts'
import { writeClientKey } from '../../src/agent/classify/client-key.ts'
import { DROP, DropCounters } from '../../src/agent/dataplane/drops.ts'
import { FirstClients } from '../../src/agent/dataplane/first-clients.ts'
import { readFlowKey } from '../../src/agent/dataplane/flow-key.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import type { PacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { ATOM_KIND } from '../../src/dam/types.ts'
import { directory, HOSTS, ip, tcp } from '../support/cores.ts'
import { FLAG } from '../support/packets.ts'

const it = suite('first packets of clients')
/** A question is asked three times in this time, then given up. */
const PATIENCE_MS = 2_000

const setUp = (places = 4, startedMs = 10_000) => {
  const index = directory()
  const { directory: value } = index
  const service = { ...value.services[0]!, affinity: { prefix: 32, prefix6: 64, timeoutMs: 600_000 } }
  index.replace({ ...value, services: [service] })
  const heard = new Set([1, 2, 3])
  const choice: AffinityChoice = {
    choose: () => 1,
    explain: () => ({ by: 'hash', chosen: 1, candidates: [] }),
    takesNew: (_service, host) => heard.has(host),
    isInactive: () => false,
    isFull: () => false,
    isHeard: (_service, host) => heard.has(host),
  }
  const affinity = new Affinity({ directory: index, choice, capacity: 16, k0: 1, k1: 2 })
  affinity.turn(0)
  affinity.begin()
  affinity.turn(startedMs)
  const drops = new DropCounters()
  const out: string[] = []
  const flow = new Uint32Array(10)
  const forwarder = {
    packet: (packet: PacketRef): void => {
      readFlowKey(packet.buf, packet.offset, packet.view, flow)
      out.push(`${flow[8]! >>> 16} to h${affinity.choose(service, flow, 0, true)}`)
    },
  }
  const limits = { heldPackets: places } as DataplanePlan['limits']
  const clients = new FirstClients({ limits, tableKey: [3, 4] }, affinity, drops, () => forwarder)
  const syn = (port: number, source = '10.20.0.5', nowMs = 0): void => {
    const packet = tcp(FLAG.SYN, { sourcePort: port, source })
    readFlowKey(packet.buf, packet.offset, packet.view, flow)
    clients.hold(service, flow, 0, packet, nowMs)
  }
  const keyOf = (source = '10.20.0.5'): Uint32Array => {
    const packet = tcp(FLAG.SYN, { source })
    const [from, key] = [new Uint32Array(10), new Uint32Array(10)]
    readFlowKey(packet.buf, packet.offset, packet.view, from)
    writeClientKey(from, 0, service.affinity, key)
    return key
  }
  /** Clients that are asked about now. */
  const asked = (): string[] => {
    const words = clients.questions.take()
    const found: string[] = []
    for (let at = 0; at < words.length; at += 13) {
      assert.is(words[at + 10], ATOM_KIND.clientAddress)
      found.push(words.slice(at, at + 10).join())
    }
    return found
  }
  return { clients, affinity, drops, heard, syn, keyOf, asked, out: (): string[] => out.splice(0) }
}

it('one question a client; what waits goes on in order, to the host of the session', () => {
  const t = setUp()
  for (const port of [1, 2, 3]) t.syn(port)
  assert.equal(t.asked(), [t.keyOf().join()])
  assert.equal(t.out(), [])
  t.clients.answered(t.keyOf(), ip(HOSTS[1]!), 5)
  assert.equal(t.out(), ['1 to h2', '2 to h2', '3 to h2'])
  assert.is(t.clients.size, 0)
})

it('nobody has one: it is chosen for the client', () => {
  const t = setUp()
  t.syn(1)
  t.clients.answered(t.keyOf(), 0, 5)
  assert.equal(t.out(), ['1 to h1'])
  assert.is(t.affinity.waits(t.keyOf()), false)
})

it('what comes by itself is an answer too', () => {
  const t = setUp()
  t.syn(1)
  t.affinity.learnt(t.keyOf(), ip(HOSTS[2]!))
  t.clients.tick(10)
  assert.equal(t.out(), ['1 to h3'])
})

it('nobody answers: asked again, and after two seconds chosen without', () => {
  const t = setUp()
  t.syn(1)
  let questions = t.asked().length
  for (let nowMs = 0; nowMs < PATIENCE_MS; nowMs += 10) {
    t.clients.tick(nowMs)
    questions += t.asked().length
    assert.equal(t.out(), [], `${nowMs} ms`)
  }
  t.clients.tick(PATIENCE_MS)
  assert.equal([questions, t.out(), t.clients.size], [3, ['1 to h1'], 0])
  assert.ok(t.drops.counts.every(count => count === 0))
})

it('while the unit starts it waits on: nobody may have been reached yet', () => {
  const t = setUp(4, 0)
  t.syn(1)
  for (let nowMs = 0; nowMs <= 2 * PATIENCE_MS; nowMs += 10) t.clients.tick(nowMs)
  assert.equal(t.out(), [])
  t.affinity.turn(5_000)
  for (let nowMs = 2 * PATIENCE_MS; nowMs <= 3 * PATIENCE_MS; nowMs += 10) t.clients.tick(nowMs)
  assert.equal(t.out(), ['1 to h1'])
})

it('a host that has not been heard of is waited for, as long', () => {
  const t = setUp()
  t.heard.delete(2)
  t.syn(1)
  t.clients.answered(t.keyOf(), ip(HOSTS[1]!), 5)
  t.clients.tick(100)
  assert.equal(t.out(), [])
  t.heard.add(2)
  t.clients.tick(110)
  assert.equal(t.out(), ['1 to h2'])

  t.affinity.learnt(t.keyOf('10.20.0.6'), ip(HOSTS[2]!))
  t.heard.delete(3)
  t.syn(7, '10.20.0.6')
  for (let nowMs = 0; nowMs <= PATIENCE_MS; nowMs += 10) t.clients.tick(nowMs)
  assert.equal(t.out(), ['7 to h1'], 'it has failed, for all that is known')
})

it('more than find room are dropped, and counted', () => {
  const t = setUp(4)
  for (let i = 0; i < 100; i++) t.syn(1, `10.20.1.${i}`)
  assert.is(t.clients.size, 2, 'half is for those that come again')
  assert.is(t.drops.counts[DROP.RESOLVE_FULL], 98)
})

it.run()
