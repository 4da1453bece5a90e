/**
 * What forwarders know of connections for each other, in a cluster that carries some (R-C4, R-C5, R-D5, R-D6): copies stand at the level of
 * the document, also after a node is lost and after it is back; and a member that lies costs nobody anything.
 */
// test-beside-others
// test-timeout-ms: 300000
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import type { FoundAtom } from '../../src/cli/atom-rows.ts'
import type { AtomsData, FlowsData, StatusData } from '../../src/control/types.ts'
import { encodeDam } from '../../src/dam/codec.ts'
import { ATOM_KIND, type Atom, type DamMessage } from '../../src/dam/types.ts'
import { encodeAtomMember, encodeAtoms } from '../../src/gossip/frames.ts'
import { Lab } from '../../src/lab/lab.ts'
import type { HeldReport } from '../support/held-many.ts'
import { HostileMember, stolenView } from '../support/hostile-member.ts'
import { labName, leftovers } from '../support/lab.ts'
import { shunt, together } from '../support/managed-cluster.ts'
import { addressWords } from '../support/packets.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { program, until, VIP } from '../support/traffic.ts'

const it = suite('atoms')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const CONNECTIONS = 300
const PORT = 9000
const UNITS = ['f1', 'f2', 'f3']
const PATIENCE_MS = 40_000

let lab: Lab
let client: ChildProcess
let answers: AsyncIterator<string>
const servers: ChildProcess[] = []

/** To be followed by all nodes. */
const copies = async (wanted: number | 'full' | 'none'): Promise<void> => {
  const file = `${lab.files('f1').dir}/atoms.yaml`
  const pools = [{ name: 'raw', hosts: ['h1', 'h2'].map(name => ({ name, capacity: 50 })) }]
  const service = {
    name: 'raw',
    vip: VIP,
    port: PORT,
    protocol: 'tcp',
    pool: 'raw',
    sessions: { copies: wanted },
  }
  writeFileSync(file, stringify({ version: 1, pools, services: [service] }))
  await shunt(lab, 'f1', ['apply', '-f', file, '--yes'])
}
const forwarders = (...names: string[]): Promise<void> =>
  lab.setForwarders(
    VIP,
    names.map(name => lab.place(name).address!),
  )
const atomsAt = (node: string): Promise<AtomsData> => lab.api<AtomsData>(node, '/v1/atoms')

/** Until these are the members, what they own and keep is so much, and all is where it should be. */
const stands = async (what: string, units: readonly string[], own: number, kept: number): Promise<void> => {
  let last = ''
  const look = async (): Promise<true | undefined> => {
    const all = await Promise.all(units.map(atomsAt))
    const sum = (place: 'own' | 'copies'): number =>
      all.reduce((total, { places }) => total + places[place], 0)
    last = JSON.stringify(
      all.map(({ settled, members, places }, i) => [units[i], settled, members.length, places]),
    )
    const isSo =
      all.every(({ settled, members }) => settled && members.length === units.length) &&
      sum('own') === own &&
      sum('copies') === kept
    return isSo ? true : undefined
  }
  await until(what, look, PATIENCE_MS).catch(error => {
    throw new Error(`${error.message}: ${last}`)
  })
}

const round = async (): Promise<HeldReport> => {
  client.stdin!.write('\n')
  return JSON.parse((await answers.next()).value) as HeldReport
}
const assertHeld = async (): Promise<void> => assert.equal(await round(), { good: CONNECTIONS, errors: [] })

it.before(async () => {
  if (missingRoot() !== undefined) return
  lab = await Lab.up({
    ...{ name: labName(), mode: 'managed', forwarders: 3, combine: 'fc', hosts: 2, clients: 1 },
  })
  await together(
    lab,
    lab.nodes.map(({ name }) => name),
  )
  await copies(1)
  for (const { name } of lab.hosts) {
    const server = lab.spawn(name, [...program('held-server.ts'), String(PORT)])
    await once(server.stdout!, 'data')
    servers.push(server)
  }
  await until('the hosts are ready', async () => {
    const { vips } = await lab.api<{ vips: { ready: number | null }[] }>('f1', '/v1/vips')
    return vips[0]?.ready === 2 ? true : undefined
  })
  client = lab.spawn(lab.client(), [...program('held-many.ts'), VIP, String(PORT), String(CONNECTIONS)])
  client.stderr!.pipe(process.stderr)
  answers = createInterface({ input: client.stdout! })[Symbol.asyncIterator]()
  assert.is((await answers.next()).value, 'up')
  await assertHeld()
})

it.after(async () => {
  if (lab === undefined) return
  client.stdin!.end()
  for (const server of servers) server.kill('SIGTERM')
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

test('every connection has one owner and one copy; a look-up tells its host', async () => {
  await stands('a copy of each', UNITS, CONNECTIONS, CONNECTIONS)
  const { flows } = await lab.api<FlowsData>('f2', '/v1/flows?limit=20')
  const flow = flows.find(({ state }) => state === 'established')!
  const looked = await shunt(lab, 'f1', ['atoms', flow.client, `${flow.vip}/tcp`, '--json'])
  const found = JSON.parse(looked.stdout).data as FoundAtom
  assert.equal([found.host, found.owner, found.copies, found.ended], [flow.host, 'f2', 1, false])
  const { stdout } = await shunt(lab, 'f3', ['atoms', flow.client, flow.vip])
  assert.match(stdout, new RegExp(`f2 +own +${flow.host} +f2 `))
  const nobody = await shunt(lab, 'f1', ['atoms', '10.20.0.99:1', flow.vip], 3)
  assert.match(nobody.stderr, /no member knows this connection/)
})

test('the document asks for copies everywhere, and for one again', async () => {
  await copies('full')
  await stands('copies everywhere', UNITS, CONNECTIONS, 2 * CONNECTIONS)
  await copies(1)
  await stands('one copy again', UNITS, CONNECTIONS, CONNECTIONS)
})

test('the router sends all packets to another forwarder: it finds the hosts, and owns the connections', async () => {
  await forwarders('f2')
  await assertHeld()
  await until('f2 owns them all', async () =>
    (await atomsAt('f2')).places.own === CONNECTIONS ? true : undefined,
  )
  await stands('and each has its copy', UNITS, CONNECTIONS, CONNECTIONS)
})

test('a node is lost: others know its connections, and have made new copies soon; it is back', async () => {
  await lab.setLink('f2', 'down')
  lab.kill('f2', 'SIGKILL')
  await forwarders('f1', 'f3')
  await assertHeld()
  await stands('a copy of each again', ['f1', 'f3'], CONNECTIONS, CONNECTIONS)
  await lab.setLink('f2', 'up')
  await lab.startAgent('f2')
  await forwarders(...UNITS)
  await assertHeld()
  await stands('all three take part', UNITS, CONNECTIONS, CONNECTIONS)
})

test('one that is stopped hands over what it has', async () => {
  const before = (await atomsAt('f1')).incarnation!
  await forwarders('f2', 'f3')
  lab.kill('f1', 'SIGTERM')
  await until(
    'its agent has ended',
    async () => ((await lab.agentState('f1')) === 'stopped' ? true : undefined),
    20_000,
  )
  await assertHeld()
  await stands('the others have all', ['f2', 'f3'], CONNECTIONS, CONNECTIONS)
  await lab.startAgent('f1')
  await stands('it is back', UNITS, CONNECTIONS, CONNECTIONS)
  assert.ok((await atomsAt('f1')).incarnation! > before)
})

/** What a member may say to another. */
const frame = (message: DamMessage): Uint8Array =>
  encodeAtoms(encodeDam(message, { member: 'f3', incarnation: 9 }))
const keyOf = (i: number): Uint32Array => {
  const key = new Uint32Array(10)
  key.set(addressWords('10.20.0.200'), 0)
  key.set(addressWords(VIP), 4)
  key[2] = i
  key[8] = ((i << 16) | PORT) >>> 0
  key[9] = (ATOM_KIND.flow << 24) | 6
  return key
}
const atomsOf = (from: number, count: number, owner = { member: 'f3', incarnation: 9 }): Atom[] =>
  Array.from({ length: count }, (_, i) => ({
    ...{ key: keyOf(from + i), host: 1, generation: Date.now() * 1024, zombie: false, level: 15 },
    ...{ owner, home: owner },
  }))

test("a member that lies and floods: its atoms are bounded, others' are not touched, and it is counted", async () => {
  await forwarders('f1', 'f2')
  await assertHeld()
  await until(
    'f3 owns nothing',
    async () => ((await atomsAt('f3')).places.own === 0 ? true : undefined),
    20_000,
  )
  const { incarnation } = await atomsAt('f1')
  lab.kill('f3', 'SIGKILL')
  const member = await HostileMember.start(lab, 'f3', stolenView(lab, 'f3'))
  await until(
    'it is linked',
    async () => ((await member.report()).alive.includes('f1') ? true : undefined),
    20_000,
  )
  await member.send(encodeAtomMember({ incarnation: 9, leaving: false }))
  await until('it is a member', async () =>
    (await atomsAt('f1')).members.some(({ name, incarnation: own }) => name === 'f3' && own === 9)
      ? true
      : undefined,
  )
  const before = (await lab.api<StatusData>('f1', '/v1/status')).memory.rssBytes
  const batch = (sequence: number, atoms: Atom[]): Uint8Array =>
    frame({ type: 'batch', sequence, ops: atoms.map(atom => ({ op: 'add', atom })) })
  await member.send(batch(1, atomsOf(0, 10, { member: 'f1', incarnation: incarnation! })))
  for (const damaged of [[99], [1, 0], [12, 255, 255, 255]])
    await member.send(encodeAtoms(Uint8Array.from(damaged)))
  for (let i = 0; i < 20; i++) {
    await member.send(batch(2 + i, atomsOf(1_000 + i * 2_000, 2_000)))
    await member.send(frame({ type: 'query', id: i, keys: Array.from({ length: 256 }, (_, k) => keyOf(k)) }))
  }
  const seen = await until('it is counted', async () => {
    const { counters, places } = await atomsAt('f1')
    return places.copies > 30_000 && counters.atoms_refused_atoms! >= 10 && counters.atoms_messages_bad! >= 3
      ? { counters, places }
      : undefined
  })
  assert.ok(seen.places.own > 0)
  const grown = (await lab.api<StatusData>('f1', '/v1/status')).memory.rssBytes - before
  assert.ok(grown < 100e6, `${grown} bytes more`)
  await assertHeld()
  const sum = async (): Promise<number> => {
    const all = await Promise.all(['f1', 'f2'].map(atomsAt))
    return all.reduce((total, { services }) => total + services[0]!.own, 0)
  }
  assert.is(await sum(), CONNECTIONS, 'what is theirs stays theirs')
  await member.end()
})

it.run()
