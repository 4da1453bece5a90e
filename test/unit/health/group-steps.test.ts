import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeHealth, encodeHealth } from '../../../src/health/codec.ts'
import { type GroupAction, HealthGroup } from '../../../src/health/group/group.ts'
import type { GroupHost } from '../../../src/health/group/groups.ts'
import { GROUP_SIZE, type HealthMessage, type HeartbeatEntry } from '../../../src/health/types.ts'

const it = suite('steps of a host in its group (R-B7)')

const HOSTS: GroupHost[] = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name, i) => ({
  name,
  id: name,
  host: i + 1,
}))
const FIVE = HOSTS.slice(0, 5)
const numberOf = (name: string): number => HOSTS.find(host => host.name === name)!.host
const claim = (name: string, generation: number, group = 0): HealthMessage => ({
  type: 'claim',
  host: numberOf(name),
  group,
  generation,
})
const beat = (name: string, number: number, more: Partial<HeartbeatEntry> = {}): HealthMessage => ({
  type: 'heartbeat',
  leader: 0,
  entries: [
    {
      host: numberOf(name),
      beat: number,
      token: 'ab'.repeat(8),
      hello: false,
      forward: false,
      dnsName: '',
      ...more,
    },
  ],
  gone: [],
})

/** `name` at time 0, with links to all others. */
class One {
  readonly group: HealthGroup
  wakeAtMs = 0

  constructor(name: string, hosts = FIVE, mode: 'full' | 'changes' = 'full', size?: number) {
    this.group = new HealthGroup({ name, beatMs: 1000, mode, directHosts: 3, ...(size && { size }) }, 0)
    this.do({ on: 'units', units: ['u'] }, 0)
    this.do({ on: 'hosts', hosts }, 0)
    for (const host of hosts)
      if (host.name !== name) this.do({ on: 'alive', host: host.name, alive: true }, 0)
  }

  do(event: Parameters<HealthGroup['step']>[0], nowMs: number): GroupAction[] {
    const { actions, wakeAtMs } = this.group.step(event, nowMs)
    this.wakeAtMs = wakeAtMs
    return actions
  }

  hear(from: string, message: HealthMessage, nowMs: number): GroupAction[] {
    return this.do({ on: 'message', from, message }, nowMs)
  }

  /** Wakes when due until then. */
  until(nowMs: number): GroupAction[] {
    const actions: GroupAction[] = []
    while (this.wakeAtMs <= nowMs) actions.push(...this.do({ on: 'tick' }, this.wakeAtMs))
    return actions
  }
}

const claims = (actions: GroupAction[]): string[] =>
  actions.flatMap(a =>
    a.do === 'send' && a.message.type === 'claim' ? [`${a.to} ${a.message.generation}`] : [],
  )
const heartbeats = (actions: GroupAction[]) =>
  actions.flatMap(a => (a.do === 'send' && a.message.type === 'heartbeat' ? [a.message] : []))

it('the first of rank claims after listening for 1.5 beats; each further rank 150 ms later', () => {
  for (const [rank, name] of ['a', 'b', 'c'].entries()) {
    const one = new One(name)
    assert.is(one.wakeAtMs, 1500 + 150 * rank)
    assert.equal(one.until(one.wakeAtMs - 1), [])
    const actions = one.until(one.wakeAtMs)
    assert.is(claims(actions).length, 4)
    assert.equal(actions.at(-1), { do: 'leader', leader: name })
    assert.is(one.group.leader, name)
    assert.is(one.group.generation, 1)
  }
})

it('when the leader is lost the living of smaller numbers go first: dead ones cost no time', () => {
  const one = new One('d')
  one.hear('b', claim('b', 4), 100)
  assert.is(one.group.leader, 'b')
  one.do({ on: 'alive', host: 'a', alive: false }, 200)
  assert.equal(one.do({ on: 'alive', host: 'b', alive: false }, 300), [{ do: 'leader', leader: null }])
  assert.is(one.wakeAtMs, 300 + 150, 'only c goes first')
  assert.equal(claims(one.do({ on: 'alive', host: 'c', alive: false }, 350)), ['e 5'])
})

it('a leader claims each beat, and at once when a link comes up', () => {
  const one = new One('a')
  one.do({ on: 'alive', host: 'e', alive: false }, 0)
  assert.is(claims(one.until(3600)).length, 3 * 3)
  one.hear('b', beat('b', 1), 3600)
  assert.equal(claims(one.do({ on: 'alive', host: 'e', alive: true }, 3700)), ['e 1'])
})

it('of two claims the higher generation wins, then the smaller number; a worse one changes nothing', () => {
  const one = new One('c')
  one.hear('d', claim('d', 2), 100)
  one.hear('b', claim('b', 1), 110)
  assert.is(one.group.leader, 'd')
  one.hear('e', claim('e', 2), 120)
  assert.is(one.group.leader, 'd')
  one.hear('b', claim('b', 2), 130)
  assert.is(one.group.leader, 'b')
  assert.equal(one.hear('e', claim('e', 3), 140), [{ do: 'leader', leader: 'e' }])
})

it('claims are ignored of another group, of hosts of another group, and of what has no link', () => {
  const one = new One('a', HOSTS, 'full', 4)
  one.hear('b', claim('b', 5, 1), 10)
  one.hear('f', claim('f', 5, 0), 20)
  one.do({ on: 'alive', host: 'c', alive: false }, 30)
  one.hear('c', claim('c', 5), 40)
  one.hear('a', claim('a', 5), 50)
  assert.is(one.group.leader, null)
  assert.is(one.group.generation, 0)
})

it('a follower that slept past the end of its leader’s lease hears it before it draws conclusions', () => {
  const one = new One('a')
  one.hear('b', claim('b', 1), 100)
  assert.equal(one.do({ on: 'tick' }, 9000), [])
  assert.is(one.wakeAtMs, 10_500)
  assert.equal(one.hear('b', claim('b', 1), 9001), [])
  assert.is(one.wakeAtMs, 11_501)
  assert.ok(claims(one.until(11_501)).length > 0, 'awake, it stands when the lease ends')
})

it('a leader that slept for beats steps down without a word, and listens', () => {
  const one = new One('a')
  one.until(4000)
  assert.equal(one.do({ on: 'tick' }, 9000), [{ do: 'leader', leader: null }])
  assert.is(one.wakeAtMs, 10_500)
})

it('who slept while nobody led listens before it claims', () => {
  const one = new One('b')
  one.hear('a', claim('a', 1), 10)
  one.hear('a', claim('a', 0), 20)
  assert.is(one.group.leader, null)
  assert.is(one.wakeAtMs, 170)
  assert.equal(one.do({ on: 'tick' }, 5000), [])
  assert.is(one.wakeAtMs, 6650)
})

it('who comes to another group while nobody leads listens there first', () => {
  const one = new One('h', HOSTS, 'full', 4)
  one.hear('e', claim('e', 3, 1), 10)
  one.do({ on: 'alive', host: 'e', alive: false }, 20)
  assert.ok(one.wakeAtMs < 1000)
  one.do({ on: 'hosts', hosts: HOSTS.slice(3) }, 30)
  one.do({ on: 'hosts', hosts: HOSTS.slice(4).map((host, i) => ({ ...host, id: `${9 - i}` })) }, 40)
  assert.ok(one.wakeAtMs >= 1530, `${one.wakeAtMs}`)
})

it('who stops never stands again, in whatever group', () => {
  const one = new One('a')
  one.until(2000)
  assert.equal(claims(one.do({ on: 'stopping' }, 2000)), ['b 0', 'c 0', 'd 0', 'e 0'])
  assert.is(one.wakeAtMs, Number.POSITIVE_INFINITY)
  one.do({ on: 'hosts', hosts: FIVE.slice(0, 2) }, 2100)
  one.do({ on: 'hosts', hosts: FIVE }, 2200)
  assert.is(one.wakeAtMs, Number.POSITIVE_INFINITY)
  assert.equal(one.hear('b', claim('b', 2), 2300), [{ do: 'leader', leader: 'b' }])
  one.do({ on: 'alive', host: 'b', alive: false }, 2400)
  assert.is(one.wakeAtMs, Number.POSITIVE_INFINITY)
})

it('the newest heartbeat is passed on with the flags and the name of those that it replaced, once', () => {
  const one = new One('a')
  one.until(1500)
  one.hear('b', beat('b', 7, { hello: true, forward: true, dnsName: 'b.example' }), 1600)
  one.hear('b', beat('b', 8), 1700)
  one.hear('b', beat('b', 6), 1800)
  one.hear('b', beat('b', 8, { dnsName: 'later' }), 1800)
  const [first, second] = heartbeats(one.until(3000))
  assert.is(first!.leader, 1)
  assert.equal(first!.entries, [
    { host: 2, beat: 8, token: 'ab'.repeat(8), hello: true, forward: true, dnsName: 'b.example' },
  ])
  assert.equal(second!.entries, [
    { host: 2, beat: 8, token: 'ab'.repeat(8), hello: false, forward: false, dnsName: '' },
  ])
  assert.equal(one.group.members(), [{ name: 'b', beat: 8, heardMs: 1700 }])
})

it('a host that started again is taken at its first beats, and without hello when its beats are far behind', () => {
  const one = new One('a')
  one.until(1500)
  one.hear('b', beat('b', 500), 1600)
  one.hear('b', beat('b', 4), 1700)
  one.hear('c', beat('c', 3), 1700)
  one.hear('c', beat('c', 1, { hello: true }), 1800)
  assert.equal(
    heartbeats(one.until(2000))[0]!.entries.map(({ host, beat }) => [host, beat]),
    [
      [2, 4],
      [3, 1],
    ],
  )
})

it('a silent member is gone after 2.5 beats although its link is up; its leader says hello for it when it is back', () => {
  const one = new One('a')
  one.until(1500)
  for (const name of ['b', 'c', 'd', 'e']) one.hear(name, beat(name, 1), 1600)
  one.until(2000)
  for (let atMs = 2600; atMs < 6600; atMs += 1000) {
    for (const name of ['b', 'c', 'd']) one.hear(name, beat(name, atMs / 100), atMs)
    const [message] = heartbeats(one.until(atMs + 900))
    assert.equal(message!.gone, atMs < 4600 ? [] : [5], `at ${atMs}`)
    assert.is(message!.entries.length, atMs < 4600 ? 4 : 3)
  }
  one.hear('e', beat('e', 50), 6700)
  const last = heartbeats(one.until(7500)).at(-1)!
  assert.equal(
    last.entries.find(({ host }) => host === 5),
    { host: 5, beat: 50, token: 'ab'.repeat(8), hello: true, forward: true, dnsName: '' },
  )
})

it('changes: nothing is sent when nothing changed', () => {
  const one = new One('a', FIVE, 'changes')
  one.until(1500)
  for (const name of ['a', 'b', 'c', 'd', 'e']) one.hear(name, beat(name, 1), 1600)
  assert.is(heartbeats(one.until(2400))[0]!.entries.length, 5)
  for (const name of ['a', 'b', 'c', 'd', 'e']) one.hear(name, beat(name, 2, { forward: name === 'c' }), 2600)
  assert.equal(
    heartbeats(one.until(3400)).map(({ entries }) => entries.map(({ host }) => host)),
    [[3]],
  )
  for (const name of ['a', 'b', 'c', 'd', 'e']) one.hear(name, beat(name, 3), 3600)
  assert.equal(heartbeats(one.until(4400)), [])
})

it('a member that changes its number, or leaves, leaves nothing behind', () => {
  const one = new One('a')
  one.until(1500)
  for (const name of ['b', 'c', 'd', 'e']) one.hear(name, beat(name, 1), 1600)
  one.do({ on: 'hosts', hosts: FIVE.slice(0, 4).map(h => (h.name === 'b' ? { ...h, host: 99 } : h)) }, 1700)
  const [message] = heartbeats(one.until(2000))
  assert.equal(
    message!.entries.map(({ host }) => host),
    [3, 4],
  )
  assert.equal(message!.gone, [])
})

it('all that a group says can be encoded, the consolidated heartbeat of a full group with the longest names too', () => {
  const many = Array.from({ length: GROUP_SIZE }, (_, i) => ({
    name: `n${i}`,
    id: `n${i}`,
    host: 0xffff_ff00 + i,
  }))
  const one = new One('n0', many)
  const said = one.until(1500)
  for (const { name, host } of many) {
    const entry = {
      host,
      beat: host,
      token: 'ab'.repeat(8),
      hello: true,
      forward: true,
      dnsName: 'n'.repeat(253),
    }
    one.hear(name, { type: 'heartbeat', leader: 0, entries: [entry], gone: [] }, 1600)
  }
  said.push(...one.until(2000), ...one.until(9000), ...one.do({ on: 'stopping' }, 9000))
  const messages = said.flatMap(action => (action.do === 'send' ? [action.message] : []))
  assert.ok(messages.length > 100)
  for (const message of messages) {
    const bytes = encodeHealth(message)
    assert.ok(bytes.length < 10_000, `${bytes.length} bytes`)
    assert.equal(decodeHealth(bytes), message)
  }
})

it('what is no host leads nothing and follows nobody', () => {
  const one = new One('x')
  assert.is(one.wakeAtMs, Number.POSITIVE_INFINITY)
  assert.equal(one.hear('a', claim('a', 1), 10), [])
  assert.is(one.group.leader, null)
})

it('a leader that comes and resigns without end makes nobody claim more than once a beat', () => {
  const one = new One('a')
  one.until(2000)
  assert.is(one.group.leader, 'a')
  const sent: string[] = []
  for (let i = 0; i < 1000; i++) {
    const atMs = 2000 + 2 * i
    sent.push(...claims(one.hear('b', claim('b', i + 100), atMs)))
    sent.push(...claims(one.hear('b', claim('b', 0), atMs)), ...claims(one.until(atMs)))
  }
  assert.ok(sent.length <= 3 * 4, `${sent.length} claims in two seconds`)
  one.until(6000)
  assert.is(one.group.leader, 'a')
})

it.run()
