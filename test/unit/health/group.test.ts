import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { groupsOf } from '../../../src/health/group/groups.ts'
import { GONE_BEATS } from '../../../src/health/group/roll.ts'
import { BEAT, Groups, type GroupsOptions, type Heartbeat } from '../../support/sim/groups.ts'
import { forSeeds } from '../../support/sim/seeds.ts'
import { World } from '../../support/sim/world.ts'

const it = suite('leaders of groups in virtual time (R-B7)')
const FILE = 'test/unit/health/group.test.ts'

const calm = (seed: number, options: GroupsOptions): Groups => {
  const groups = new Groups(new World(seed), options)
  groups.world.run(5 * BEAT)
  return groups
}

/** All of these have one leader, which is one of them and knows it. */
const oneLeader = (groups: Groups, names = groups.running()): string => {
  const told = new Set(names.map(name => groups.nodes.get(name)!.leader))
  assert.is(told.size, 1, `leaders: ${names.map(name => `${name}:${groups.nodes.get(name)!.leader}`)}`)
  const [leader] = [...told]
  assert.ok(leader !== null && leader !== undefined && names.includes(leader), `leader ${leader}`)
  return leader
}

const consolidated = (groups: Groups, sinceMs = 0) =>
  groups.heard.filter(({ atMs, message }) => atMs >= sinceMs && message.leader > 0)

it('one leader is elected, and lasts', () => {
  forSeeds(40, FILE, seed => {
    const groups = calm(seed, { hosts: 4 + (seed % 12) })
    const leader = oneLeader(groups)
    const told = groups.changes.length
    groups.world.run(60 * BEAT)
    assert.is(oneLeader(groups), leader)
    assert.is(groups.changes.length, told)
    assert.equal(groups.refused, [])
  })
})

it('a killed leader is replaced within a second of its links going down, again and again', () => {
  forSeeds(40, FILE, seed => {
    const groups = calm(seed, { hosts: 9 })
    for (let dead = 0; dead < 6; dead++) {
      const noticeMs = seed % 2 === 0 ? 20 : 400
      const leader = oneLeader(groups)
      groups.kill(leader, noticeMs)
      groups.world.run(noticeMs + 1000)
      assert.is.not(oneLeader(groups), leader)
      groups.world.run(groups.world.integer(3000))
    }
  })
})

it('no lease of a living host runs out when the leader is killed: units have a token of each of the last 3 beats', () => {
  forSeeds(40, FILE, seed => {
    const groups = calm(seed, { hosts: 8 })
    for (let dead = 0; dead < 4; dead++) {
      groups.world.run(groups.world.integer(5000))
      groups.kill(oneLeader(groups), 300)
      groups.world.run(5000)
    }
    for (const name of groups.running()) {
      const { host } = groups.all.find(one => one.name === name)!
      const { startedMs, phaseMs } = groups.nodes.get(name)!
      let leaseMs = startedMs + 5 * BEAT
      for (const { atMs, message } of groups.heard) {
        const entry = message.entries.find(one => one.host === host)
        if (entry === undefined) continue
        assert.ok(atMs <= leaseMs, `${name} had no lease for ${atMs - leaseMs} ms`)
        leaseMs = Math.max(leaseMs, startedMs + phaseMs + (entry.beat - 1) * BEAT + 3 * BEAT)
      }
      assert.ok(groups.world.nowMs <= leaseMs, `${name} ends without a lease`)
    }
  })
})

it('a frozen leader is replaced within a second of its links going down, and follows when it goes on', () => {
  forSeeds(40, FILE, seed => {
    const groups = calm(seed, { hosts: 7 })
    groups.keepMs = 300 + groups.world.integer(1500)
    const leader = oneLeader(groups)
    groups.freeze(leader)
    groups.world.run(groups.keepMs + 1000)
    const next = oneLeader(groups)
    assert.is.not(next, leader)
    groups.world.run(groups.world.integer(6000))
    groups.thaw(leader)
    groups.world.run(2 * BEAT)
    assert.is(oneLeader(groups), next)
  })
})

it('a leader that falls silent while its links stay up is replaced after 2.5 beats', () => {
  forSeeds(20, FILE, seed => {
    const groups = calm(seed, { hosts: 7 })
    groups.keepMs = Number.POSITIVE_INFINITY
    const leader = oneLeader(groups)
    groups.freeze(leader)
    groups.world.run(2.5 * BEAT + 1000)
    const next = oneLeader(groups)
    groups.world.run(groups.world.integer(6000))
    groups.thaw(leader)
    groups.world.run(2 * BEAT)
    assert.is(oneLeader(groups), next)
  })
})

it('a follower that was frozen, or a leader that comes back, displaces nobody', () => {
  forSeeds(40, FILE, seed => {
    const groups = calm(seed, { hosts: 6 })
    const first = oneLeader(groups)
    groups.kill(first)
    groups.world.run(2 * BEAT)
    const leader = oneLeader(groups)
    groups.start(first)
    groups.keepMs = seed % 2 === 0 ? 1000 : Number.POSITIVE_INFINITY
    groups.world.run(4 * BEAT)
    const follower = groups.running().find(name => name !== leader)!
    groups.freeze(follower)
    groups.world.run(groups.world.integer(9000))
    groups.thaw(follower)
    groups.world.run(4 * BEAT)
    assert.is(oneLeader(groups), leader)
  })
})

it('a leader that stops hands over at once; without it nobody waits for a loss', () => {
  forSeeds(20, FILE, seed => {
    const groups = calm(seed, { hosts: 6 })
    const leader = oneLeader(groups)
    groups.stopping(leader)
    groups.world.run(500)
    const next = oneLeader(groups)
    assert.is.not(next, leader)
    for (const name of groups.running()) if (name !== leader && name !== next) groups.kill(name)
    groups.kill(next)
    groups.world.run(5 * BEAT)
    assert.is(groups.nodes.get(leader)!.leader, null, 'who stops does not lead, even alone')
  })
})

it('storms of deaths, freezes and partitions: two leaders at most two beats after they hear each other, one in the end', () => {
  let met = 0
  forSeeds(60, FILE, seed => {
    const groups = calm(seed, { hosts: 4 + (seed % 7) })
    const { world } = groups
    /** Since when two leaders hear each other. */
    const since = new Map<string, number>()
    world.watch(() => {
      const leaders = groups.leaders()
      const pairs = leaders.flatMap((a, i) =>
        leaders.slice(i + 1).flatMap(b => (groups.isLinked(a, b) ? [`${a} ${b}`] : [])),
      )
      for (const pair of since.keys()) if (!pairs.includes(pair)) since.delete(pair)
      for (const pair of pairs) {
        if (!since.has(pair)) met++
        if (!since.has(pair)) since.set(pair, world.nowMs)
        const heardMs = world.nowMs - since.get(pair)!
        if (heardMs > 2 * BEAT) throw new Error(`${pair} both lead for ${heardMs} ms`)
      }
    })
    const names = groups.all.map(({ name }) => name)
    for (let i = 0; i < 40; i++) {
      const name = world.pick(world.chance(0.5) && groups.leaders().length > 0 ? groups.leaders() : names)
      const node = groups.nodes.get(name)
      if (node === undefined) groups.start(name)
      else if (node.isFrozen) groups.thaw(name)
      else if (world.chance(0.3)) groups.kill(name, world.pick([20, 400]))
      else if (world.chance(0.4)) groups.freeze(name)
      else if (world.chance(0.5)) {
        const shuffled = world.shuffled(names)
        const at = 1 + world.integer(names.length - 1)
        groups.partition(shuffled.slice(0, at), shuffled.slice(at))
      } else groups.partition(names)
      groups.keepMs = world.pick([500, 2000, Number.POSITIVE_INFINITY])
      world.run(world.integer(3000))
    }
    groups.partition(names)
    for (const name of names) {
      if (!groups.nodes.has(name)) groups.start(name)
      groups.thaw(name)
    }
    world.run(6 * BEAT)
    const leader = oneLeader(groups)
    world.run(10 * BEAT)
    assert.is(oneLeader(groups), leader)
    assert.equal(groups.refused, [])
  })
  if (process.env.SEED === undefined) assert.ok(met > 20, `two leaders met ${met} times`)
})

it('full: one consolidated heartbeat a beat to each unit, with every living member, none of them older than two beats', () => {
  forSeeds(10, FILE, seed => {
    const groups = calm(seed, { hosts: 12 })
    const sinceMs = groups.world.nowMs
    groups.world.run(20 * BEAT)
    const leader = oneLeader(groups)
    const messages = groups.heard.filter(({ atMs }) => atMs > sinceMs)
    assert.ok(messages.every(({ from, message }) => from === leader && message.leader > 0))
    assert.ok(Math.abs(messages.length - 2 * 20) <= 2, `${messages.length} messages`)
    for (const { atMs, message } of messages) {
      assert.equal(
        message.entries.map(({ host }) => host),
        groups.all.map(({ host }) => host).sort((a, b) => a - b),
      )
      assert.equal(message.gone, [])
      for (const { host, beat } of message.entries) {
        const node = groups.nodes.get(groups.all.find(one => one.host === host)!.name)!
        const ageMs = atMs - (node.startedMs + node.phaseMs + (beat - 1) * BEAT)
        assert.ok(ageMs >= 0 && ageMs < 2 * BEAT, `age ${ageMs}`)
      }
    }
  })
})

it('full: flags and DNS names go on once; who is gone is told every beat until it comes back with hello', () => {
  const groups = calm(3, { hosts: 6 })
  groups.world.run(35 * BEAT)
  const leader = oneLeader(groups)
  const ofUnit = (sinceMs: number): Heartbeat[] =>
    consolidated(groups, sinceMs).flatMap(({ unit, message }) => (unit === 'u1' ? [message] : []))
  const victim = groups.all.find(({ name }) => name !== leader)!
  const entries = ofUnit(0).flatMap(({ entries }) => entries.filter(({ host }) => host === victim.host))
  assert.is(entries.filter(({ dnsName }) => dnsName === `${victim.name}.example`).length, 1)
  assert.is(entries.filter(({ forward, beat }) => forward && beat > 5).length, 3)

  groups.kill(victim.name)
  groups.world.run(100)
  const killedMs = groups.world.nowMs
  groups.world.run(10 * BEAT)
  const without = ofUnit(killedMs)
  assert.ok(without.length >= 9)
  for (const { entries, gone } of without) {
    assert.equal(gone, [victim.host])
    assert.is(entries.length, 5)
  }
  const backMs = groups.world.nowMs
  groups.start(victim.name)
  groups.world.run(5 * BEAT)
  const first = ofUnit(backMs).find(({ entries }) => entries.length === 6)!
  assert.is(first.entries.find(({ host }) => host === victim.host)!.hello, true)
  assert.equal(ofUnit(groups.world.nowMs - BEAT).at(-1)!.gone, [])
})

it('changes: only hello, forward and gone are passed on', () => {
  forSeeds(10, FILE, seed => {
    const groups = calm(seed, { hosts: 6, mode: 'changes' })
    const sinceMs = groups.world.nowMs
    groups.world.run(40 * BEAT)
    const quiet = consolidated(groups, sinceMs).filter(({ unit }) => unit === 'u1')
    const passed = quiet.flatMap(({ message }) => message.entries)
    assert.ok(passed.every(({ hello, forward }) => hello || forward))
    for (const { host } of groups.all) {
      const count = passed.filter(entry => entry.host === host && entry.forward).length
      assert.ok(count >= 4 && count <= 5, `${count} of host ${host} in 40 beats`)
    }
    assert.ok(quiet.every(({ message }) => message.gone.length === 0 && message.entries.length > 0))

    const leader = oneLeader(groups)
    const victim = groups.all.find(({ name }) => name !== leader)!
    groups.kill(victim.name)
    const killedMs = groups.world.nowMs
    groups.world.run(20 * BEAT)
    const told = consolidated(groups, killedMs).filter(({ unit }) => unit === 'u2')
    assert.is(told.filter(({ message }) => message.gone.includes(victim.host)).length, GONE_BEATS)
    const backMs = groups.world.nowMs
    groups.start(victim.name)
    groups.world.run(6 * BEAT)
    const hello = consolidated(groups, backMs).flatMap(({ message }) =>
      message.entries.filter(({ host, hello }) => hello && host === victim.host),
    )
    assert.ok(hello.length > 0)
  })
})

it('changes: a new leader passes on what the last one may have lost', () => {
  const groups = calm(8, { hosts: 6, mode: 'changes', forwardEvery: 1000 })
  groups.world.run(10 * BEAT)
  groups.kill(oneLeader(groups))
  const killedMs = groups.world.nowMs
  groups.world.run(3 * BEAT)
  const passed = new Set(
    consolidated(groups, killedMs).flatMap(({ message }) => message.entries.map(e => e.host)),
  )
  const numbers = groups.running().map(name => groups.all.find(one => one.name === name)!.host)
  assert.equal([...passed].sort(), numbers.sort())
})

it('a cluster of few hosts has no leader; one more elects one, one less has none again', () => {
  const groups = calm(2, { hosts: 4, directHosts: 3 })
  oneLeader(groups)
  groups.setMembers(groups.all.slice(0, 3))
  groups.world.run(BEAT)
  assert.ok(groups.running().every(name => groups.nodes.get(name)!.leader === null))
  const sinceMs = groups.world.nowMs
  groups.world.run(10 * BEAT)
  assert.is(consolidated(groups, sinceMs).length, 0)
  for (const unit of ['u1', 'u2'])
    for (const { name } of groups.all.slice(0, 3)) {
      const direct = groups.heard.filter(h => h.atMs > sinceMs && h.unit === unit && h.from === name)
      assert.ok(direct.length >= 9, `${name} to ${unit}: ${direct.length}`)
    }
  groups.setMembers(groups.all)
  groups.world.run(5 * BEAT)
  oneLeader(groups)
})

it('each group has a leader of its own; hosts that come and go change groups and find theirs', () => {
  forSeeds(10, FILE, seed => {
    const groups = calm(seed, { hosts: 16, size: 4 })
    const look = (): void => {
      for (const { hosts } of groupsOf(groups.members, 4))
        oneLeader(
          groups,
          hosts.map(({ name }) => name),
        )
    }
    look()
    for (const leavers of [1, 3, 7, 0, 5]) {
      const shuffled = groups.world.shuffled(groups.all)
      groups.setMembers(shuffled.slice(leavers))
      groups.world.run(7 * BEAT)
      look()
    }
    assert.ok(groups.refused.every(text => text.endsWith('no host of this cluster')))
  })
})

it('claims and heartbeats of strangers, in other names, or with too many entries are refused; the leader stays', () => {
  const groups = calm(5, { hosts: 5 })
  const leader = oneLeader(groups)
  const [liar, victim] = groups.all.filter(({ name }) => name !== leader)
  const entry = {
    host: victim!.host,
    beat: 9,
    token: '00'.repeat(8),
    hello: false,
    forward: true,
    dnsName: '',
  }
  const own = { ...entry, host: liar!.host }
  const claim = { type: 'claim', host: 77, group: 0, generation: 99 } as const
  groups.say('stranger', leader, claim)
  groups.say(liar!.name, leader, { ...claim, host: victim!.host })
  for (const entries of [[entry], [own, entry], []])
    groups.say(liar!.name, leader, { type: 'heartbeat', leader: 0, entries, gone: [] })
  assert.is(groups.refused.length, 5)
  groups.say(liar!.name, leader, { ...claim, host: liar!.host, group: 3 })
  groups.say(liar!.name, leader, { type: 'heartbeat', leader: 7, entries: [entry], gone: [] })
  groups.say(liar!.name, leader, { type: 'goodbye', host: victim!.host, reason: '' })
  groups.world.run(3 * BEAT)
  assert.is(oneLeader(groups), leader)
  assert.is(groups.nodes.get(leader)!.group.members().length, 5)
})

it('the highest generation there is does not end elections', () => {
  const groups = calm(6, { hosts: 6 })
  const liar = groups.all.find(({ name }) => name !== oneLeader(groups))!
  for (const to of groups.running())
    groups.say(liar.name, to, { type: 'claim', host: liar.host, group: 0, generation: 0xffff_ffff })
  groups.kill(liar.name)
  groups.world.run(3 * BEAT)
  const leader = oneLeader(groups)
  assert.is(groups.nodes.get(leader)!.group.generation, 0xffff_ffff)
  groups.kill(leader)
  groups.world.run(2 * BEAT)
  oneLeader(groups)
})

it('a flood of heartbeats and of members that are none keeps one entry a member', () => {
  const groups = calm(4, { hosts: 6, size: 3 })
  const leader = groups.leaders()[0]!
  for (let beat = 1; beat < 2000; beat++)
    for (const { name, host } of groups.all)
      groups.say(name, leader, {
        type: 'heartbeat',
        leader: 0,
        entries: [{ host, beat, token: '00'.repeat(8), hello: true, forward: true, dnsName: '' }],
        gone: [],
      })
  assert.ok(groups.nodes.get(leader)!.group.members().length <= 3)
  const sinceMs = groups.world.nowMs
  groups.world.run(3 * BEAT)
  for (const { from, message } of consolidated(groups, sinceMs))
    if (from === leader) assert.ok(message.entries.length <= 3)
})

it.run()
