/** The atom manager of a node with its links and its worker: who is believed, what is copied where, what a packet from the middle is told (R-C4 to R-C6). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RESOLVE_WORDS, RESOLVED } from '../../../src/agent/dataplane/messages.ts'
import { ipv4Of } from '../../../src/agent/plan.ts'
import { encodeDam } from '../../../src/dam/codec.ts'
import { ATOM_KIND, type Atom, type DamMessage } from '../../../src/dam/types.ts'
import {
  ATOMS_VERSION,
  encodeAtomMember,
  encodeAtoms,
  MAX_ATOMS_BODY_BYTES,
} from '../../../src/gossip/frames.ts'
import { type Copies, DamCluster, flowOf, HOSTS, holds, record } from '../../support/dam-cluster.ts'

interface Context {
  cluster: DamCluster
}
const it = suite<Context>('atom manager of an agent')
it.before.each(context => {
  context.cluster = new DamCluster()
})
it.after.each(({ cluster }) => cluster.stop())

const ids = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i)
const three = (cluster: DamCluster, copies?: Copies): void => {
  for (const name of ['f1', 'f2', 'f3']) cluster.start(name, copies === undefined ? {} : { copies })
}
const total = async (cluster: DamCluster, what: 'own' | 'copies' | 'ended'): Promise<number> =>
  Object.values(await cluster.places()).reduce((sum, places) => sum + places[what], 0)
const members = async (cluster: DamCluster, name: string): Promise<string[]> =>
  (await cluster.units.get(name)!.side.view({})).members.map(member => member.name).sort()
const keyOf = (i: number): Uint32Array => {
  const key = flowOf(i)
  key[9] |= ATOM_KIND.flow << 24
  return key
}

for (const [copies, expected] of [
  [undefined, 100],
  [0, 0],
  [2, 200],
  ['full', 200],
  ['none', 0],
] as const)
  it(`copies ${copies ?? 'left out'}: ${expected} copies of 100 connections`, async ({ cluster }) => {
    three(cluster, copies)
    cluster.put('f1', ids(100))
    await cluster.settled()
    await holds('all copies stand', async () => (await total(cluster, 'copies')) === expected)
    assert.is(await total(cluster, 'own'), copies === 'none' ? 0 : 100)
    const { services } = await cluster.units.get('f1')!.side.view({})
    assert.equal(services, [
      { service: 'web', wanted: copies ?? 1, possible: 2, own: copies === 'none' ? 0 : 100, copies: 0 },
    ])
  })

it('fewer members than copies are not settled, though no copy moves; a host has nothing to settle', async ({
  cluster,
}) => {
  const look = async (name: string): Promise<unknown[]> => {
    const { settled, moving, services } = await cluster.units.get(name)!.side.view({})
    return [settled, moving, services[0]!.possible]
  }
  cluster.start('f1', { copies: 2 })
  cluster.start('f2', { copies: 2 })
  await holds('both are members', async () => (await members(cluster, 'f1')).length === 2)
  cluster.put('f1', ids(10))
  await cluster.settled()
  assert.equal(await look('f1'), [false, false, 1])
  cluster.start('f3', { copies: 2 })
  await holds('all are members', async () => (await members(cluster, 'f1')).length === 3)
  await cluster.settled()
  assert.equal(await look('f1'), [true, false, 2])
  cluster.start('h9', { roles: ['host'] })
  assert.equal(await look('h9'), [null, false, 0])
})

it('the same again costs nothing; another host, and an end, go to the copy', async ({ cluster }) => {
  three(cluster)
  cluster.put('f1', [1])
  await holds('the copy stands', async () => (await total(cluster, 'copies')) === 1)
  const f1 = cluster.units.get('f1')!.side
  for (let i = 0; i < 5; i++) cluster.put('f1', [1])
  f1.atoms(record(flowOf(1), HOSTS.h1, 'touch'))
  assert.is(f1.counters.puts, 1)
  cluster.put('f1', [1], 'h2')
  assert.is(f1.counters.puts, 2)
  assert.equal(await cluster.resolve('f2', 1), { host: ipv4Of(HOSTS.h2), how: RESOLVED.memberAtom })
  cluster.end('f1', 1)
  await holds('the end is known', async () => (await total(cluster, 'ended')) >= 2)
  assert.equal(
    await cluster.resolve('f3', 1),
    { host: ipv4Of(HOSTS.h2), how: RESOLVED.memberAtom },
    'late packets',
  )
})

it('a connection that is taken over by another forwarder is claimed from the first', async ({ cluster }) => {
  three(cluster)
  cluster.put('f1', [7])
  assert.equal(await cluster.resolve('f1', 7), { host: ipv4Of(HOSTS.h1), how: RESOLVED.ownAtom })
  assert.equal(await cluster.resolve('f3', 7), { host: ipv4Of(HOSTS.h1), how: RESOLVED.memberAtom })
  cluster.put('f3', [7])
  const { claimed } = cluster.units.get('f1')!
  await holds('it is claimed', () => claimed.length === 1)
  assert.equal(claimed, [flowOf(7).join()])
  // Packets that were on their way do not take it back.
  cluster.units.get('f1')!.side.atoms(record(flowOf(7), HOSTS.h1, 'touch'))
  assert.is(cluster.units.get('f1')!.side.counters.puts, 1)
})

it("what no member knows the hosts are asked for; what they certainly do not have is nobody's", async ({
  cluster,
}) => {
  const asked: string[][] = []
  let certain = true
  cluster.owners = {
    ask: async (service, keys) => {
      asked.push([service, ...keys.map(key => key.join())])
      return keys.map(key => ({ host: key[3] & 1 ? 'h2' : null, certain }))
    },
  }
  three(cluster)
  assert.equal(await cluster.resolve('f1', 1), { host: ipv4Of(HOSTS.h2), how: RESOLVED.host })
  assert.equal(await cluster.resolve('f1', 2), { host: 0, how: RESOLVED.nobody })
  assert.equal(asked, [
    ['web', flowOf(1).join()],
    ['web', flowOf(2).join()],
  ])
  certain = false
  const unit = cluster.units.get('f1')!
  const words = new Uint32Array(RESOLVE_WORDS)
  words.set(flowOf(4))
  words[10] = ATOM_KIND.flow
  unit.side.resolve(words)
  await holds('nobody answered', () => unit.side.counted().atoms_resolve_unknown === 1)
  assert.is(unit.resolved.length, 2, 'the packet waits, and it is asked again')
})

it('a service without atoms asks only the hosts', async ({ cluster }) => {
  cluster.owners = { ask: async (_, keys) => keys.map(() => ({ host: 'h1', certain: true })) }
  three(cluster, 'none')
  await holds('all are members', async () => (await members(cluster, 'f1')).length === 3)
  assert.equal(await cluster.resolve('f1', 1), { host: ipv4Of(HOSTS.h1), how: RESOLVED.host })
  assert.is(cluster.links.frames.get('f1 f2'), 1, 'only who it is')
})

it('the document asks for more copies, for fewer, for none, and for some again', async ({ cluster }) => {
  three(cluster)
  cluster.put('f1', ids(300))
  const follow = (copies: Copies): void => {
    for (const [name, { side }] of cluster.units) side.follow(cluster.course(name, { copies }))
  }
  for (const [copies, expected] of [
    [2, 600],
    [1, 300],
    ['full', 600],
    [0, 0],
  ] as const) {
    follow(copies)
    await cluster.settled()
    await holds(`${copies}: ${expected} copies`, async () => (await total(cluster, 'copies')) === expected)
  }
  const f1 = cluster.units.get('f1')!
  assert.is(f1.toldAll, 1, 'at its start')
  follow('none')
  await holds('all have ended', async () => (await total(cluster, 'own')) === 0)
  follow(1)
  assert.is(f1.toldAll, 2, 'the worker is asked for all of them')
})

it('a member that is killed: its connections are taken over, with all their copies, and checked with the hosts', async ({
  cluster,
}) => {
  cluster.owners = {
    ask: async (_, keys) => keys.map(key => ({ host: key[3] % 10 === 0 ? null : 'h1', certain: true })),
  }
  three(cluster)
  cluster.put('f1', ids(200))
  await holds('copies stand', async () => (await total(cluster, 'copies')) === 200)
  cluster.kill('f1')
  await holds('the hosts were asked, and what they do not have has ended', async () => {
    const { f2, f3 } = await cluster.places()
    return f2.own + f3.own === 180 && f2.copies + f3.copies === 180
  })
  const again = cluster.start('f1')
  assert.ok(again.toldAll === 1 && (await again.side.view({})).incarnation! > 0)
  await holds('it is a member again', async () => (await members(cluster, 'f2')).length === 3)
  assert.equal(await cluster.resolve('f1', 55), { host: ipv4Of(HOSTS.h1), how: RESOLVED.memberAtom })
})

it('a link that is down for a moment moves nothing; what was lost with it is made good', async ({
  cluster,
}) => {
  three(cluster, 2)
  cluster.put('f1', ids(50))
  await holds('copies stand', async () => (await total(cluster, 'copies')) === 100)
  cluster.links.cut('f1', 'f2')
  cluster.put('f1', ids(50, 50))
  await holds('one copy of each', async () => (await cluster.places()).f3.copies === 100)
  assert.equal(await members(cluster, 'f2'), ['f1', 'f2', 'f3'])
  cluster.links.cut('f1', 'f2', false)
  await holds('the other one too', async () => (await cluster.places()).f2.copies === 100)
  assert.is((await cluster.places()).f2.own, 0)
})

it('one that stays out of reach is taken over, and gets its connections back when it is there again', async ({
  cluster,
}) => {
  cluster.owners = { ask: async (_, keys) => keys.map(() => ({ host: null, certain: false })) }
  three(cluster)
  cluster.put('f1', ids(40))
  await holds('copies stand', async () => (await total(cluster, 'copies')) === 40)
  for (const other of ['f2', 'f3']) cluster.links.cut('f1', other)
  await holds('the others have them', async () => {
    const { f2, f3 } = await cluster.places()
    return f2.own + f3.own === 40 && f2.copies + f3.copies === 40
  })
  assert.equal(await members(cluster, 'f2'), ['f2', 'f3'])
  for (const other of ['f2', 'f3']) cluster.links.cut('f1', other, false)
  await holds('they are its own again, once each', async () => {
    const { f1, f2, f3 } = await cluster.places()
    return f1.own === 40 && f2.own + f3.own === 0 && f2.copies + f3.copies === 40
  })
})

it('a machine that is dead is no member at once', async ({ cluster }) => {
  three(cluster)
  await holds('all are members', async () => (await members(cluster, 'f2')).length === 3)
  cluster.dead.add('f1')
  cluster.units.get('f2')!.side.peersChanged()
  assert.equal(await members(cluster, 'f2'), ['f2', 'f3'])
})

it('one that leaves hands over what it has, without copies too, and keeps its routes', async ({
  cluster,
}) => {
  three(cluster, 0)
  cluster.put('f1', ids(500))
  await holds('all are members', async () => (await members(cluster, 'f1')).length === 3)
  const { side } = cluster.units.get('f1')!
  await side.leave(30_000, () => false)
  const { f2, f3 } = await cluster.places()
  assert.is(f2.own + f3.own, 500)
  const seen = await cluster.units.get('f2')!.side.view({})
  assert.is(seen.services[0]!.possible, 1, 'it is given no copies')
  const leaving = seen.members.filter(member => member.leaving)
  assert.equal(
    leaving.map(({ name }) => name),
    ['f1'],
  )
  cluster.kill('f1')
  assert.equal(await members(cluster, 'f2'), ['f2', 'f3'], 'it said that it would go')
  assert.equal(await cluster.resolve('f2', 123), {
    host: ipv4Of(HOSTS.h1),
    how: await isOwn(cluster, 'f2', 123),
  })
})

it('one that leaves forgets no routes when others own what it had', async ({ cluster }) => {
  three(cluster)
  cluster.put('f1', ids(50))
  await holds('copies stand', async () => (await total(cluster, 'copies')) === 50)
  const { side, claimed } = cluster.units.get('f1')!
  await side.leave(30_000, () => false)
  await holds("they are the others' here too", async () => (await cluster.places()).f1.own === 0)
  // Told after all that could have been told of those.
  cluster.put('f1', [99])
  await holds('another one', async () => (await total(cluster, 'own')) === 51)
  await holds('and its copy', async () => (await total(cluster, 'copies')) === 51)
  assert.equal(claimed, [])
})

const isOwn = async (cluster: DamCluster, name: string, i: number): Promise<number> => {
  const client = `10.20.0.${i}:40000`
  const { atom } = await cluster.units.get(name)!.side.view({
    flow: { protocol: 'tcp', client, vip: '198.51.100.10:80' },
  })
  return atom?.owner === name ? RESOLVED.ownAtom : RESOLVED.memberAtom
}

it('nobody answers to a leaver: it waits no longer than it may', async ({ cluster }) => {
  three(cluster, 0)
  cluster.put('f1', ids(10))
  await holds('all are members', async () => (await members(cluster, 'f1')).length === 3)
  for (const name of ['f2', 'f3']) cluster.units.get(name)!.side.stop()
  await cluster.units.get('f1')!.side.leave(200, () => false)
  assert.is((await cluster.places()).f1.own, 10)
})

it('a host, and a program of an older version, are no members', async ({ cluster }) => {
  cluster.start('f1')
  cluster.start('h9', { roles: ['host'] })
  cluster.start('old', { version: ATOMS_VERSION - 1 })
  cluster.start('f2')
  await holds('two are members', async () => (await members(cluster, 'f1')).length === 2)
  assert.equal(await members(cluster, 'h9'), [])
  assert.equal(await members(cluster, 'f1'), ['f1', 'f2'])
  assert.is(cluster.links.frames.get('f1 h9'), undefined)
})

/** What a member may say to another, of itself and of what is not its own. */
const hostile = (cluster: DamCluster): { say(message: DamMessage): void; bytes(body: Uint8Array): void } => {
  cluster.links.of('bad', ['forwarder'])
  cluster.links.up('bad')
  const from = { member: 'bad', incarnation: 9 }
  const bytes = (body: Uint8Array): void => cluster.links.inject('bad', 'f1', encodeAtoms(body))
  cluster.links.inject('bad', 'f1', encodeAtomMember({ incarnation: 9, leaving: false }))
  return { bytes, say: message => bytes(encodeDam(message, from)) }
}
const counted = (cluster: DamCluster): Record<string, number> => cluster.units.get('f1')!.side.counted()
const now = (): number => Date.now() * 1024

it('a host that says it is a member is none, and what it says of atoms is not heard', async ({ cluster }) => {
  cluster.start('f1')
  const evil = cluster.links.of('evil', ['host'])
  cluster.links.up('evil')
  cluster.links.inject('evil', 'f1', encodeAtomMember({ incarnation: 1, leaving: false }))
  const before = counted(cluster).atoms_strangers!
  cluster.links.inject(
    'evil',
    'f1',
    encodeAtoms(encodeDam({ type: 'ack', sequence: 1 }, { member: 'evil', incarnation: 1 })),
  )
  await holds('it is counted', () => counted(cluster).atoms_strangers === before + 1)
  assert.equal(await members(cluster, 'f1'), ['f1'])
  assert.is(evil.states().length, 1)
})

it('a claim by a clock that is ahead, or an end, is told with its host; told of again, the connection is this one’s', async ({
  cluster,
}) => {
  cluster.start('f1')
  cluster.put('f1', [1])
  const { say } = hostile(cluster)
  await holds('it is a member', async () => (await members(cluster, 'f1')).length === 2)
  const self = { member: 'bad', incarnation: 9 }
  const { claims } = cluster.units.get('f1')!
  for (const [zombie, how] of [
    [false, RESOLVED.memberAtom],
    [true, RESOLVED.nobody],
  ] as const) {
    const generation = now() + (zombie ? 240_000 : 200_000) * 1024
    const atom = {
      key: keyOf(1),
      host: ipv4Of(HOSTS.h2),
      generation,
      zombie,
      level: 1,
      owner: self,
      home: self,
    }
    say({ type: 'batch', sequence: 1, ops: [{ op: 'add', atom }] })
    await holds('the packet path is told', () => claims.length === 1)
    assert.equal(claims.splice(0), [{ host: ipv4Of(HOSTS.h2), how }])
    cluster.put('f1', [1])
    const flow = { protocol: 'tcp', client: '10.20.0.1:40000', vip: '198.51.100.10:80' } as const
    const { atom: here } = await cluster.units.get('f1')!.side.view({ flow })
    assert.equal([here?.place, here?.host], ['own', 'h1'])
  }
})

it("another member's atoms, impossible ones and damaged messages are refused and counted", async ({
  cluster,
}) => {
  cluster.start('f1')
  cluster.put('f1', [1])
  const { say, bytes } = hostile(cluster)
  await holds('it is a member', async () => (await members(cluster, 'f1')).length === 2)
  const self = { member: 'bad', incarnation: 9 }
  const f1 = { member: 'f1', incarnation: (await cluster.units.get('f1')!.side.view({})).incarnation! }
  const atom = (change: Partial<Atom>): Atom => ({
    ...{ key: keyOf(2), host: 1, generation: now(), zombie: false, level: 1, owner: self, home: self },
    ...change,
  })
  const batch = (...atoms: Atom[]): DamMessage => ({
    ...{ type: 'batch', sequence: 1 },
    ops: atoms.map(each => ({ op: 'add', atom: each })),
  })
  const strange = keyOf(3)
  strange[9] = (77 << 24) | 6
  say(batch(atom({ owner: f1 }), atom({ generation: now() + 7_200_000 * 1024 }), atom({ key: strange })))
  await holds('three are refused', () => counted(cluster).atoms_refused_atoms === 3)
  say({ type: 'return', id: 77, atoms: [atom({})] })
  await holds('an answer that nobody asked for', () => counted(cluster).atoms_unasked_returns === 1)
  for (const body of [[99], [1], [1, 0, 0, 0, 1, 255, 255], [3, 0, 0]]) bytes(Uint8Array.from(body))
  await holds('four are damaged', () => counted(cluster).atoms_messages_bad === 4)
  assert.equal(await cluster.resolve('f1', 1), { host: ipv4Of(HOSTS.h1), how: RESOLVED.ownAtom })
})

it('a flood of atoms, queries for everything and messages without end: bounded, and own atoms stay', async ({
  cluster,
}) => {
  cluster.start('f1', { capacity: 1_000 })
  cluster.put('f1', ids(300))
  const { say, bytes } = hostile(cluster)
  await holds('it is a member', async () => (await members(cluster, 'f1')).length === 2)
  const self = { member: 'bad', incarnation: 9 }
  for (let round = 0; round < 8; round++)
    say({
      ...{ type: 'batch', sequence: round + 1 },
      ops: ids(500, 1_000 + round * 500).map(i => ({
        op: 'add',
        atom: { key: keyOf(i), host: 1, generation: now(), zombie: false, level: 0, owner: self, home: self },
      })),
    })
  await holds('more is refused than was taken', () => counted(cluster).atoms_refused_room >= 3_500)
  const places = (await cluster.places()).f1
  assert.is(places.own, 300)
  assert.ok(places.copies <= 500, `${places.copies} copies`)
  // Faster than keys are granted, however busy the machine is.
  await holds('keys above the rate are refused', () => {
    for (let i = 0; i < 100; i++) say({ type: 'query', id: i, keys: ids(256, i * 256).map(keyOf) })
    return counted(cluster).atoms_refused_queries! > 0
  })
  await holds('messages above the rate are', () => {
    for (let i = 0; i < 60; i++) bytes(new Uint8Array(MAX_ATOMS_BODY_BYTES).fill(99))
    return counted(cluster).atoms_messages_over_rate! > 0
  })
  assert.is((await cluster.places()).f1.own, 300)
})

it("clients' sessions are known to all members, whatever the copies; only their owner ends them", async ({
  cluster,
}) => {
  for (const name of ['f1', 'f2', 'f3']) cluster.start(name, { affinity: true, copies: 'none' })
  const client = (i: number): Uint32Array => {
    const key = flowOf(i)
    key[8] = 80
    key[9] = ((ATOM_KIND.clientAddress << 24) | 6) >>> 0
    return key
  }
  const side = (name: string) => cluster.units.get(name)!.side
  const clients = (name: string) => cluster.units.get(name)!.clients
  await cluster.settled()
  side('f1').atoms(record(client(1), HOSTS.h1, 'put'))
  const told = { key: client(1).join(), host: ipv4Of(HOSTS.h1) }
  for (const name of ['f2', 'f3']) {
    await holds(`${name} has heard`, () => clients(name).length === 1)
    assert.equal(clients(name), [told])
  }
  assert.equal(clients('f1'), [], 'it knows')
  // It moves elsewhere: also the one whose it was hears of it.
  side('f2').atoms(record(client(1), HOSTS.h2, 'put'))
  for (const name of ['f1', 'f3'])
    await holds(`${name} has heard of the move`, () => clients(name).at(-1)?.host === ipv4Of(HOSTS.h2))
  // Another's time-out ends nothing; what its owner ends is gone, and told to no worker.
  side('f1').atoms(record(client(1), HOSTS.h1, 'end'))
  side('f1').atoms(record(client(2), HOSTS.h1, 'put'))
  await holds('f2 has heard', () => clients('f2').some(({ key }) => key === client(2).join()))
  assert.is(await total(cluster, 'own'), 2)
  const before = [clients('f1').length, clients('f3').length]
  side('f2').atoms(record(client(1), HOSTS.h2, 'end'))
  await holds('it has ended', async () => (await total(cluster, 'own')) === 1)
  assert.equal([clients('f1').length, clients('f3').length], before)
  // Whoever begins anew gets all.
  cluster.kill('f3')
  cluster.start('f3', { affinity: true, copies: 'none' })
  await holds('f3 has heard of what is left', () => clients('f3').length === 1)
  assert.is(clients('f3')[0]!.key, client(2).join())
  // Where the service has none any more, there are no atoms.
  cluster.start('f4', { copies: 'none' })
  side('f4').atoms(record(client(3), HOSTS.h1, 'put'))
  assert.is(side('f4').counters.puts, 0)
})

it('a full table: own atoms push copies out; when all are own, the rest is refused and counted', async ({
  cluster,
}) => {
  cluster.start('f1', { capacity: 100 })
  cluster.start('f2', { capacity: 100 })
  cluster.put('f2', ids(40))
  await holds('f1 has copies', async () => (await cluster.places()).f1?.copies === 40)
  cluster.put('f1', ids(150, 1_000))
  const { f1 } = await cluster.places()
  assert.is(f1.own, 100)
  const { side } = cluster.units.get('f1')!
  assert.is(side.counters.full, 50)
  assert.equal(side.limits(), [
    { name: 'atoms', used: 100, capacity: 100, evicted: 40 },
    { name: 'atoms taken over', used: 0, capacity: 50, evicted: 0 },
    { name: 'flows looked for', used: 0, capacity: 65_536, evicted: 0 },
  ])
})

it('a member that begins anew over and over is believed once in a while, and the last time', async ({
  cluster,
}) => {
  cluster.start('f1')
  const { say } = hostile(cluster)
  const incarnation = async (): Promise<number | undefined | null> =>
    (await cluster.units.get('f1')!.side.view({})).members.find(({ name }) => name === 'bad')?.incarnation
  for (let i = 1; i <= 1_000; i++)
    cluster.links.inject('bad', 'f1', encodeAtomMember({ incarnation: 9 + i, leaving: false }))
  say({ type: 'ack', sequence: 1 })
  await holds('all is heard', () => counted(cluster).atoms_messages_in === 1)
  assert.ok(Number(await incarnation()) < 109)
  await holds('the last one counts', async () => (await incarnation()) === 1_009)
})

it.run()
