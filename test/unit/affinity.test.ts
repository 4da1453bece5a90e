/** Sessions of clients by their addresses (R-C2, R-C7): what one load balancing unit chooses, and tells the others. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Affinity, type AffinityChoice } from '../../src/agent/classify/affinity.ts'
import { WAITS } from '../../src/agent/classify/allotment.ts'
import { writeClientKey } from '../../src/agent/classify/client-key.ts'
import type { DirectoryIndex, ServiceEntry } from '../../src/agent/dataplane/directory.ts'
import { formatAddress, parseAddress } from '../../src/agent/dataplane/flow-key.ts'
import { ATOM_OP, ATOM_WORDS } from '../../src/agent/dataplane/messages.ts'
import { directory, HOSTS, ip } from '../support/cores.ts'

const it = suite('client-address affinity')
const TIMEOUT_MS = 600_000

/** Deals hosts in turn: two units that know nothing of each other never agree by chance. */
class Turns implements AffinityChoice {
  next = 1
  asked = 0
  readonly bad = new Set<number>()
  readonly full = new Set<number>()
  readonly inactive = new Set<number>()
  readonly unheard = new Set<number>()
  choose(_service: ServiceEntry, _key: Uint32Array, _at: number, opens: boolean): number {
    this.asked++
    if (!opens) return 3
    for (let tries = 0; tries < 3; tries++) {
      const host = this.next
      this.next = (this.next % 3) + 1
      if (!this.bad.has(host)) return host
    }
    return 0
  }
  explain(): ReturnType<AffinityChoice['explain']> {
    return { by: 'tokens', chosen: this.next, candidates: [] }
  }
  takesNew(_service: ServiceEntry, host: number): boolean {
    return !this.bad.has(host)
  }
  isInactive(_service: number, host: number): boolean {
    return this.inactive.has(host)
  }
  isHeard(_service: number, host: number): boolean {
    return !this.unheard.has(host)
  }
  isFull(_service: number, host: number): boolean {
    return this.full.has(host)
  }
}

class Unit {
  readonly index: DirectoryIndex = directory()
  readonly choice = new Turns()
  readonly service: ServiceEntry
  readonly affinity: Affinity
  nowMs = 0

  constructor(capacity = 64, settings = { prefix: 32, prefix6: 64, timeoutMs: TIMEOUT_MS }) {
    const { directory: value } = this.index
    this.service = { ...value.services[0]!, affinity: settings }
    this.index.replace({ ...value, services: [this.service] })
    this.affinity = new Affinity({ directory: this.index, choice: this.choice, capacity, k0: 1, k1: 2 })
  }

  flow(client: string, port = 1000): Uint32Array {
    const key = new Uint32Array(10)
    parseAddress(client, key, 0)
    key.set(this.service.vip, 4)
    key[8] = (port << 16) | this.service.port
    key[9] = this.service.protocol
    return key
  }
  clientKey(client: string): Uint32Array {
    const key = new Uint32Array(10)
    writeClientKey(this.flow(client), 0, this.service.affinity!, key)
    return key
  }
  later(ms: number): void {
    this.nowMs += ms
    this.affinity.turn(this.nowMs)
  }
  first(client: string, port = 1000): number {
    return this.affinity.choose(this.service, this.flow(client, port), 0, true)
  }
  middle(client: string): number {
    return this.affinity.choose(this.service, this.flow(client), 0, false)
  }
  use(client: string, host: number): void {
    this.affinity.inUse(this.service, this.flow(client), 0, host)
  }
  connect(client: string): number {
    const host = this.first(client)
    if (host !== 0) this.use(client, host)
    return host
  }
  expire(): void {
    for (let i = 0; i < 4; i++) this.affinity.tick()
  }
  /** What the others are told. */
  told(): { key: Uint32Array; client: string; host: number; op: number }[] {
    const words = this.affinity.queue.take()
    const records = []
    for (let at = 0; at < words.length; at += ATOM_WORDS)
      records.push({
        key: words.slice(at, at + 10),
        client: formatAddress(words, at),
        host: HOSTS.findIndex(address => ip(address) === words[at + 10]) + 1,
        op: words[at + 11]!,
      })
    return records
  }
  learn(records: ReturnType<Unit['told']>): void {
    for (const { key, host } of records) this.affinity.learnt(key, ip(HOSTS[host - 1]!))
  }
}

it('keys: the client under its prefix, the service whole, a kind of their own', () => {
  const of = (client: string, prefix: number, prefix6: number): string => {
    const out = new Uint32Array(10)
    const flow = new Uint32Array(10)
    parseAddress(client, flow, 0)
    flow[8] = (0xffff << 16) | 80
    flow[9] = 6
    writeClientKey(flow, 0, { prefix, prefix6 }, out)
    assert.equal([out[8], out[9]], [80, 0x02000006])
    return formatAddress(out, 0)
  }
  assert.is(of('203.0.113.77', 32, 64), '203.0.113.77')
  assert.is(of('203.0.113.77', 24, 64), '203.0.113.0')
  assert.is(of('203.0.113.77', 1, 64), '128.0.0.0')
  assert.is(of('2001:db8:1:2:3:4:5:6', 24, 64), '2001:db8:1:2::')
  assert.is(of('2001:db8:1:2:3:4:5:6', 24, 128), '2001:db8:1:2:3:4:5:6')
  assert.is(of('2001:db8:1:2:3:4:5:6', 24, 47), '2001:db8::')
  // As by bits, one after another.
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 1, max: 128 }),
      (bytes, prefix6) => {
        const flow = new Uint32Array(10)
        const view = new DataView(bytes.buffer, bytes.byteOffset)
        for (let i = 0; i < 4; i++) flow[i] = view.getUint32(4 * i)
        fc.pre(!(flow[0] === 0 && flow[1] === 0))
        const out = new Uint32Array(10)
        writeClientKey(flow, 0, { prefix: 32, prefix6 }, out)
        for (let bit = 0; bit < 128; bit++) {
          const at = (words: Uint32Array): number => (words[bit >>> 5]! >>> (31 - (bit & 31))) & 1
          assert.is(at(out), bit < prefix6 ? at(flow) : 0)
        }
      },
    ),
  )
})

it('a client keeps its host, whatever its ports; another client is chosen for by itself', () => {
  const unit = new Unit()
  const host = unit.connect('203.0.113.1')
  for (let port = 1; port < 20; port++) assert.is(unit.first('203.0.113.1', port), host)
  assert.not(unit.first('203.0.113.2') === host)
  assert.is(unit.choice.asked, 2)
  assert.is(unit.middle('203.0.113.1'), host, 'a packet from the middle of an unknown flow, too')
  assert.is(unit.middle('203.0.113.3'), 3, 'and where there is no session it may be anywhere')
})

it('a prefix makes one client of many', () => {
  const unit = new Unit(64, { prefix: 24, prefix6: 64, timeoutMs: TIMEOUT_MS })
  const host = unit.connect('203.0.113.1')
  assert.is(unit.connect('203.0.113.200'), host)
  assert.not(unit.connect('203.0.114.1') === host)
})

it('a service without it is not touched', () => {
  const unit = new Unit()
  const { affinity: _, ...plain } = unit.service
  const hosts = [1, 2, 3].map(() => unit.affinity.choose(plain, unit.flow('203.0.113.1'), 0, true))
  assert.equal(hosts, [1, 2, 3])
  unit.affinity.inUse(plain, unit.flow('203.0.113.1'), 0, 1)
  assert.is(unit.affinity.size, 0)
  assert.is(unit.affinity.isUsed, false, 'no memory for it')
})

it('times out after the last use of a connection, not after its beginning', () => {
  const unit = new Unit()
  unit.connect('203.0.113.1')
  for (let i = 0; i < 10; i++) {
    unit.later(TIMEOUT_MS - 1)
    unit.use('203.0.113.1', 1)
  }
  assert.is(unit.first('203.0.113.1'), 1)
  unit.told()
  unit.later(TIMEOUT_MS - 1)
  unit.expire()
  assert.is(unit.affinity.size, 1)
  unit.later(1)
  unit.expire()
  assert.is(unit.affinity.size, 0)
  assert.equal(
    unit.told().map(({ client, op }) => [client, op]),
    [['203.0.113.1', ATOM_OP.end]],
  )
  assert.is(unit.connect('203.0.113.1'), 2)
  // Also before the table is gone through.
  unit.later(TIMEOUT_MS)
  assert.is(unit.connect('203.0.113.1'), 3)
})

it('a host that takes nothing new loses its clients, for good; packets of what they have there go on', () => {
  for (const fail of [
    (unit: Unit) => unit.choice.bad.add(1),
    (unit: Unit) => {
      unit.index.host(1)!.draining = true
    },
    (unit: Unit) => {
      unit.index.host(1)!.live = false
      unit.choice.bad.add(1)
    },
  ]) {
    const unit = new Unit()
    assert.is(unit.connect('203.0.113.1'), 1)
    fail(unit)
    assert.is(unit.connect('203.0.113.1'), 2)
    unit.choice.bad.clear()
    unit.index.host(1)!.live = true
    unit.index.host(1)!.draining = false
    // Old connections there are no reason to go back.
    unit.use('203.0.113.1', 1)
    assert.is(unit.connect('203.0.113.1'), 2)
    assert.is(unit.affinity.counters.affinity_moved, 1)
  }
  const unit = new Unit()
  unit.connect('203.0.113.1')
  unit.choice.bad.add(1)
  assert.is(unit.middle('203.0.113.1'), 1)
  unit.choice.inactive.add(1)
  assert.is(unit.middle('203.0.113.1'), 3)
  for (const host of [2, 3]) unit.choice.bad.add(host)
  assert.is(unit.first('203.0.113.1'), 0, 'nobody takes it')
  unit.choice.bad.clear()
  assert.is(unit.first('203.0.113.1'), 1, 'and nothing is forgotten meanwhile')
})

it('a forwarder that does not choose follows what its classifier chose', () => {
  const unit = new Unit()
  unit.use('203.0.113.1', 1)
  assert.is(unit.told()[0]?.host, 1)
  unit.use('203.0.113.1', 2)
  assert.is(unit.told().length, 0, 'one from before')
  unit.choice.bad.add(1)
  unit.use('203.0.113.1', 2)
  assert.is(unit.told()[0]?.host, 2)
  unit.use('203.0.113.1', 1)
  assert.is(unit.told().length, 0)
  assert.is(unit.first('203.0.113.1'), 2)
})

it('a full host loses them to one that is not; where all are, they stay', () => {
  const unit = new Unit()
  unit.connect('203.0.113.1')
  for (const host of [1, 2, 3]) unit.choice.full.add(host)
  for (let i = 0; i < 6; i++) assert.is(unit.connect('203.0.113.1'), 1)
  unit.choice.full.delete(3)
  unit.choice.next = 3
  assert.is(unit.connect('203.0.113.1'), 3)
  unit.choice.full.clear()
  assert.is(unit.connect('203.0.113.1'), 3)
})

it('others hear of it when a connection stands, then now and then; not of half-open ones', () => {
  const unit = new Unit()
  unit.first('203.0.113.1')
  assert.equal(unit.told(), [])
  unit.use('203.0.113.1', 1)
  for (let i = 0; i < 100; i++) unit.connect('203.0.113.1')
  assert.equal(
    unit.told().map(({ client, host, op }) => [client, host, op]),
    [['203.0.113.1', 1, ATOM_OP.put]],
  )
  unit.later(59_999)
  unit.connect('203.0.113.1')
  assert.is(unit.told().length, 0)
  unit.later(1)
  unit.connect('203.0.113.1')
  assert.is(unit.told().length, 1)
  // A move at once.
  unit.choice.bad.add(1)
  assert.is(unit.connect('203.0.113.1'), 2)
  assert.is(unit.told()[0]?.host, 2)
  // A host that drains is recommended to nobody, however long its connections last.
  unit.choice.bad.clear()
  unit.choice.bad.add(2)
  unit.later(120_000)
  unit.use('203.0.113.1', 2)
  assert.is(unit.told().length, 0)
})

it('what others tell counts as its own; a host that is known to be bad is not taken over again', () => {
  const [a, b] = [new Unit(), new Unit()]
  b.choice.next = 2
  a.connect('203.0.113.1')
  b.learn(a.told())
  assert.is(b.connect('203.0.113.1'), 1)
  assert.is(b.told().length, 0, 'it was told a moment ago')
  b.choice.bad.add(1)
  assert.is(b.connect('203.0.113.1'), 2)
  const late = { ...b.told()[0]!, host: 1 }
  b.learn([late])
  assert.is(b.connect('203.0.113.1'), 2, 'word of the old host')
  assert.is(b.told()[0]?.host, 2, 'which is answered')
  b.choice.bad.clear()
  b.learn([{ ...late, host: 3 }])
  assert.is(b.connect('203.0.113.1'), 3)
  // Of services and hosts that are not known here: nothing.
  b.affinity.learnt(late.key, 1)
  const strange = late.key.slice()
  strange[8] = 81
  b.affinity.learnt(strange, ip(HOSTS[0]!))
  assert.is(b.affinity.size, 1)
})

it('a flood of first packets pushes out nothing but itself', () => {
  const unit = new Unit(16)
  for (let i = 0; i < 8; i++) unit.connect(`203.0.113.${i}`)
  const hosts = Array.from({ length: 8 }, (_, i) => unit.first(`203.0.113.${i}`))
  for (let i = 0; i < 1000; i++)
    assert.ok(unit.first(`198.18.${i >> 8}.${i & 255}`) > 0, 'it is served all the same')
  assert.is(unit.affinity.size, 16)
  assert.equal(
    Array.from({ length: 8 }, (_, i) => unit.first(`203.0.113.${i}`)),
    hosts,
  )
  // Nor where all places are taken by clients with connections; among those the least recently used goes.
  for (let i = 8; i < 16; i++) unit.connect(`203.0.113.${i}`)
  const asked = unit.choice.asked
  for (let i = 0; i < 100; i++) unit.first(`198.19.0.${i}`)
  for (let i = 0; i < 16; i++) unit.first(`203.0.113.${i}`)
  assert.is(unit.choice.asked, asked + 100)
  unit.connect('203.0.113.99')
  assert.is(unit.affinity.size, 16)
  assert.is(unit.affinity.counters.affinity_evicted > 0, true)
})

it('other services, hosts and settings: what is gone is forgotten, the rest stays', () => {
  const unit = new Unit()
  for (let i = 0; i < 6; i++) unit.connect(`203.0.113.${i}`)
  assert.equal(unit.affinity.byService, [6])
  const { directory: value } = unit.index
  unit.index.replace({ ...value, hosts: value.hosts.filter(({ index }) => index !== 2) })
  unit.affinity.reconfigured()
  assert.equal(unit.affinity.byService, [4])
  unit.index.replace({ ...value, services: [{ ...unit.service, affinity: undefined as never }] })
  unit.affinity.reconfigured()
  assert.equal(unit.affinity.byService, [0])
})

it('a look tells what would be chosen, and is no use of anything', () => {
  const unit = new Unit()
  const look = () => unit.affinity.explain(unit.service, unit.flow('203.0.113.1'), 0)
  assert.equal([look().by, look().chosen, unit.affinity.size], ['tokens', 1, 0])
  unit.connect('203.0.113.1')
  unit.later(TIMEOUT_MS - 1)
  assert.equal([look().by, look().chosen], ['affinity', 1])
  unit.choice.bad.add(1)
  assert.is(look().by, 'tokens')
  unit.choice.bad.clear()
  unit.later(1)
  assert.is(look().by, 'tokens')
})

it('after a beginning anew all is told again, as it is used', () => {
  const unit = new Unit()
  unit.connect('203.0.113.1')
  unit.told()
  unit.affinity.tellAll()
  unit.connect('203.0.113.1')
  assert.is(unit.told().length, 1)
})

it('a unit that begins chooses for nobody before it has heard whether the client has a session', () => {
  const unit = new Unit()
  unit.affinity.begin(Number.POSITIVE_INFINITY)
  const key = unit.clientKey('203.0.113.1')
  for (let port = 1; port < 4; port++) assert.is(unit.first('203.0.113.1', port), WAITS)
  assert.is(unit.choice.asked, 0)
  assert.is(unit.middle('203.0.113.1'), 3, 'what is under way waits for nothing')
  // Somebody has one.
  unit.affinity.learnt(key, ip(HOSTS[2]!))
  assert.is(unit.connect('203.0.113.1'), 3)
  assert.equal(unit.told(), [], 'the others know')
  // Nobody has one: it is this unit's to choose, and as good as any.
  const other = unit.clientKey('203.0.113.2')
  assert.is(unit.affinity.waits(other), true)
  unit.affinity.goesOn(other, true, () => assert.is(unit.connect('203.0.113.2'), 1))
  assert.equal(
    unit.told().map(({ host, op }) => [host, op]),
    [[1, ATOM_OP.put]],
  )
  assert.is(unit.connect('203.0.113.2'), 1)
})

it('it asks for a while; of what it knows it asks nobody, and begins anew when it is told to', () => {
  const unit = new Unit()
  unit.affinity.begin()
  assert.is(unit.first('203.0.113.1'), WAITS)
  unit.later(30_000)
  assert.is(unit.connect('203.0.113.1'), 1)
  unit.affinity.begin()
  assert.is(unit.connect('203.0.113.1'), 1)
  assert.is(unit.first('203.0.113.2'), WAITS)
})

it('what it begins without an answer, and what is of before its beginning, is told as such', () => {
  const unit = new Unit()
  const ops = (): number[][] => unit.told().map(({ host, op }) => [host, op])
  unit.affinity.begin()
  const key = unit.clientKey('203.0.113.1')
  unit.affinity.goesOn(key, false, () => unit.connect('203.0.113.1'))
  assert.equal(ops(), [[1, ATOM_OP.unheard]])
  assert.is(unit.first('203.0.113.1'), 1, 'it waits once')
  // A connection that was there before the unit: its client may have moved since.
  unit.use('203.0.113.2', 2)
  assert.equal(ops(), [[2, ATOM_OP.unheard]])
  assert.is(unit.first('203.0.113.2'), WAITS)
  unit.affinity.learnt(unit.clientKey('203.0.113.2'), ip(HOSTS[2]!))
  assert.is(unit.connect('203.0.113.2'), 3)
  unit.use('203.0.113.3', 2)
  unit.told()
  unit.affinity.nobodys(unit.clientKey('203.0.113.3'))
  assert.is(unit.first('203.0.113.3'), 2)
  unit.use('203.0.113.4', 2)
  unit.affinity.goesOn(unit.clientKey('203.0.113.4'), false, () => assert.is(unit.first('203.0.113.4'), 2))
  assert.is(unit.first('203.0.113.4'), 2, 'nor does its client wait again')
  unit.told()
  // A move has a reason, whatever the session rested on.
  unit.choice.bad.add(1)
  unit.choice.next = 3
  assert.is(unit.connect('203.0.113.1'), 3)
  assert.equal(ops(), [[3, ATOM_OP.put]])
})

it('a session whose host has not been heard of yet waits, and does not move', () => {
  const unit = new Unit()
  unit.affinity.begin()
  unit.affinity.learnt(unit.clientKey('203.0.113.1'), ip(HOSTS[0]!))
  unit.choice.bad.add(1)
  unit.choice.unheard.add(1)
  assert.is(unit.first('203.0.113.1'), WAITS)
  assert.is(unit.affinity.waits(unit.clientKey('203.0.113.1')), true)
  unit.choice.unheard.clear()
  assert.is(unit.connect('203.0.113.1'), 2, 'it is known to be bad')
  unit.choice.unheard.add(2)
  unit.choice.bad.add(2)
  unit.affinity.goesOn(unit.clientKey('203.0.113.1'), false, () => unit.connect('203.0.113.1'))
  assert.is(unit.affinity.counters.affinity_moved, 2, 'nor does it wait for ever')
})

it.run()
