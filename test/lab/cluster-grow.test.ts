/**
 * A cluster of twelve nodes from nothing by commands alone (architecture decision 13): it takes in whom it should and nobody else, and
 * loses, evicts, restarts and restores nodes while clients connect.
 */
// test-timeout-ms: 300000
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createMappingHeader, encodeMappingHeader, KIND } from '../../src/agent/dataplane/mapping-header.ts'
import { buildMappingKeys, ipv4Of } from '../../src/agent/plan.ts'
import { decodeToken, encodeToken, type Token } from '../../src/cluster/token.ts'
import type { ClusterSecret, ClusterView } from '../../src/cluster/types.ts'
import type { ClusterData, DropsData, EventsData, FlowsData, NodesData } from '../../src/control/types.ts'
import { encodePlumb } from '../../src/gossip/frames.ts'
import { createIdentity } from '../../src/gossip/identity.ts'
import { Lab } from '../../src/lab/lab.ts'
import { mustRun } from '../../src/lab/run.ts'
import { FrameSender, parseMac } from '../support/frames.ts'
import { HostileMember, stolenView } from '../support/hostile-member.ts'
import { labName, leftovers } from '../support/lab.ts'
import {
  counterSum,
  failures,
  print,
  reached,
  shunt,
  standings,
  steadyConnections,
  together,
} from '../support/managed-cluster.ts'
import { addressWords, buildUdp4 } from '../support/packets.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { assertWhole, load, NODE, until, VIP } from '../support/traffic.ts'

const it = suite('cluster-grow')
const SOURCES = join(import.meta.dirname, '..', '..', 'src')
const STRANGER = 'client2'
const START_MS = 60_000

let lab: Lab
/** Members, by now. */
let members: string[]
const others = (...some: string[]): string[] => members.filter(n => !some.includes(n))
const tokens: Record<'used' | 'brief' | 'hostOnly', string> = { used: '', brief: '', hostOnly: '' }
let briefUntilMs = 0

const facts = (place: string, roles = lab.place(place).roles.join(), like = place): string[] => {
  const { address, tunnel } = lab.place(like)
  const files = lab.files(place)
  return [
    ...['--name', like, '--address', address!, '--roles', roles],
    ...['--uplink', 'eth0', '--cluster-interface', 'eth0'],
    ...(tunnel === null ? [] : ['--tunnel', tunnel]),
    ...['--config', files.config, '--state-dir', files.state],
    ...['--control-socket', files.socket, '--app-socket', files.appSocket],
  ]
}
const newToken = async (...flags: string[]): Promise<string> =>
  (await shunt(lab, 'f1', ['token', ...flags])).stdout.trim()
const startAll = (names: readonly string[]): Promise<unknown> =>
  Promise.all(names.map(name => lab.startAgent(name, START_MS)))
const stopped = (name: string): Promise<true> =>
  until(
    `the agent of ${name} to end`,
    async () => ((await lab.agentState(name)) === 'stopped' ? true : undefined),
    20_000,
  )
/** As a machine that was wiped. */
const wipe = (name: string): void => {
  const { config, identity, state } = lab.files(name)
  for (const path of [config, identity, state]) rmSync(path, { recursive: true, force: true })
}
const document = (hosts: readonly string[], more = ''): string => {
  const file = join(lab.files('f1').dir, 'cluster.yaml')
  writeFileSync(
    file,
    `version: 1
pools: [{ name: web, hosts: [${hosts.map(name => `{ name: ${name} }`).join(', ')}] }]
services:
  - { name: web, vip: ${VIP}, port: 80, protocol: tcp, pool: web }
${more}`,
  )
  return file
}
const hostNames = (): string[] => lab.hosts.map(h => h.name)

it.before(async () => {
  lab = await Lab.up({
    ...{ name: labName(), mode: 'bare', forwarders: 2, classifiers: 2, hosts: 8, clients: 2 },
  })
  members = lab.nodes.map(n => n.name)
})

it.after(async () => {
  if (lab === undefined) return
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

it('twelve nodes from nothing: init, one token, join, a document, and traffic', async () => {
  const beganMs = performance.now()
  await shunt(lab, 'f1', ['init', ...facts('f1')])
  await lab.startAgent('f1')
  tokens.used = await newToken('--uses', String(members.length - 1))
  const waiting = others('f1')
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
        await shunt(lab, name, ['join', tokens.used, ...facts(name)])
    }),
  )
  const joinedMs = performance.now()
  await startAll(others('f1'))
  await together(lab, members)
  const togetherMs = performance.now()
  await shunt(lab, 'h1', ['apply', '-f', document(hostNames()), '--yes'])
  const appliedMs = performance.now()
  print(
    `joined after ${(joinedMs - beganMs).toFixed(0)} ms, together ${(togetherMs - joinedMs).toFixed(0)} ms later, applied in ${(appliedMs - togetherMs).toFixed(0)} ms`,
  )
  const result = await load(lab, lab.client(1), {
    concurrency: 20,
    jobs: [
      { kind: 'small', count: 1_000 },
      { kind: 'put', count: 20, bytes: 100_000 },
    ],
  })
  assertWhole(lab, result)
  assert.equal(Object.keys(result.byHost).sort(), hostNames())
  tokens.hostOnly = await newToken('--roles', 'host')
  tokens.brief = await newToken('--expires', '10s')
  briefUntilMs = decodeToken(tokens.brief, 0).body.expiresMs
  await together(lab, members)
})

/** What a machine that was refused must not have. */
const nothingWritten = (): void => {
  const { config, state } = lab.files(STRANGER)
  assert.not(existsSync(config), 'a node file')
  assert.not(existsSync(join(state, 'cluster.json')), 'the state of the cluster')
}
/** Tries to join from a stranger's machine; answers what it was told. */
const refusedJoin = async (token: string, says: RegExp, roles = 'host'): Promise<void> => {
  const { stderr, stdout } = await shunt(lab, STRANGER, ['join', token, ...facts(STRANGER, roles)], 1)
  assert.match(stderr, says)
  assert.is(stdout, '')
  nothingWritten()
}

/** Joins with what decodeToken gave, without the checks of the command: as a stranger's own program would. */
const FORGED_JOIN = `
import { joinCluster } from '${SOURCES}/cluster/join-client.ts'
import { identitySigner } from '${SOURCES}/cluster/operator-key.ts'
const [token, identity, address] = process.argv.slice(1)
const signer = identitySigner(identity)
try {
  const statements = await joinCluster(JSON.parse(token), { id: signer.id, name: 's1', address, roles: ['host'] }, signer)
  console.log('let in with ' + statements.length + ' statements')
} catch (error) { console.log(error.code + ' ' + error.message) }`
const forgedJoin = async (token: Token, identity: string): Promise<string> => {
  const argv = [
    ...NODE,
    '--input-type=module',
    '-e',
    FORGED_JOIN,
    JSON.stringify(token),
    identity,
    lab.place(STRANGER).address!,
  ]
  const { stdout, stderr } = await lab.exec(STRANGER, argv)
  assert.is.not(stdout, '', stderr)
  return stdout.trim()
}

/** An identity whose id is low enough to call most others by itself: the lower one calls. */
const lowIdentity = async (above: readonly string[]): Promise<string> => {
  for (let i = 0; ; i++) {
    const file = join(lab.files(STRANGER).dir, `stranger${i}.key`)
    const id = await createIdentity(file)
    if (i === 100 || above.every(other => id < other)) return file
  }
}

/** Calls all nodes as a member would, until each has counted `counter` and thrown it out. */
const knocks = async (
  view: ClusterView,
  identityFile: string,
  networkKeys: string[] | undefined,
  counter: string,
): Promise<void> => {
  const before = await counterSum(lab, counter, members)
  const hostile = await HostileMember.start(lab, STRANGER, view, {
    identityFile,
    name: 's1',
    ...(networkKeys !== undefined && { networkKeys }),
  })
  try {
    await until(
      `${counter} at the nodes`,
      async () => {
        assert.equal((await hostile.report()).alive, [])
        return (await counterSum(lab, counter, members)) >= before + 2 * members.length ? true : undefined
      },
      30_000,
    )
    const { heard, counters } = await hostile.report()
    assert.equal(heard, { digests: 0, published: 0, frames: {}, secrets: [] })
    assert.is(counters.bytes_in, 0)
    assert.is(counters.links_opened, 0)
    assert.ok(counters.dial_failures! >= members.length)
  } finally {
    await hostile.end()
  }
}

it('strangers get a clear error and nothing of the cluster, and change nothing in it', async () => {
  const before = await standings(lab, members)
  const view = stolenView(lab, 'h1')
  const identity = await lowIdentity(view.members.map(m => m.id))
  await knocks(view, identity, [Buffer.alloc(32, 7).toString('base64')], 'link_inbound_wrong_network_key')
  await knocks(view, identity, undefined, 'link_inbound_unknown_identity')

  const good = decodeToken(tokens.hostOnly, Date.now())
  const cut = tokens.hostOnly.slice(0, 100) + tokens.hostOnly.slice(101)
  const flipped = tokens.hostOnly.replace(/.(?=.{200}$)/, c => (c === 'A' ? 'B' : 'A'))
  for (const text of [cut, flipped]) await refusedJoin(text, /incomplete or was altered/)
  await refusedJoin(
    encodeToken({ ...good, body: { ...good.body, roles: ['forwarder', 'classifier', 'host'], uses: 1000 } }),
    /not signed by its operator/,
    'classifier',
  )
  await refusedJoin(
    encodeToken({ ...good, secret: Buffer.alloc(32, 7).toString('base64') }),
    /cannot join at 10\.10\.0\.11:6780.*SHUNT_ERR_PEER/s,
  )
  await refusedJoin(tokens.hostOnly, /the token allows the roles host.*SHUNT_ERR_TOKEN/s, 'host,classifier')
  // The places are taken, by whatever identity and name one comes.
  await refusedJoin(tokens.used, /the token's 11 uses are taken.*SHUNT_ERR_TOKEN/s)
  rmSync(lab.files(STRANGER).identity)
  await refusedJoin(tokens.used, /the token's 11 uses are taken.*SHUNT_ERR_TOKEN/s)
  // A machine that asks in the name of a member, with an identity of its own.
  const asMember = ['join', tokens.used, ...facts(STRANGER, 'host', 'h8'), '--unchecked']
  assert.match((await shunt(lab, STRANGER, asMember, 1)).stderr, /the name h8 is taken/)
  nothingWritten()
  assert.match(await forgedJoin(decodeToken(tokens.used, Date.now()), identity), /11 uses are taken/)
  await until('the brief token to expire', () => (Date.now() > briefUntilMs ? true : undefined), 15_000)
  await refusedJoin(tokens.brief, /the token expired at.*SHUNT_ERR_TOKEN/s)
  assert.match(await forgedJoin(decodeToken(tokens.brief, 0), identity), /^SHUNT_ERR_PEER cannot join at/)

  assert.equal(await standings(lab, members), before)
})

/** Comes back as a new machine under its name, by a token of one use, which nobody else can use again. */
const rejoin = async (name: string): Promise<void> => {
  const former = stolenView(lab, 'f1').departed.filter(d => d.name === name)
  assert.ok(former.length > 0, `${name} has left`)
  wipe(name)
  const token = await newToken('--uses', '1')
  await shunt(lab, name, ['join', token, ...facts(name)])
  await lab.startAgent(name, START_MS)
  members = [...members, name]
  await together(lab, members)
  const now = stolenView(lab, 'f1').members.find(m => m.name === name)!
  assert.not(
    former.some(({ id }) => id === now.id),
    'a new identity',
  )
  await refusedJoin(token, /the token's only use is taken/)
}
const leave = async (name: string): Promise<void> => {
  const beganMs = performance.now()
  await shunt(lab, name, ['leave', '--yes'])
  members = others(name)
  await together(lab, members)
  const knownMs = performance.now()
  await stopped(name)
  print(
    `${name} left: known everywhere after ${(knownMs - beganMs).toFixed(0)} ms, its agent ended after ${(performance.now() - beganMs).toFixed(0)} ms`,
  )
  const { stdout } = await shunt(lab, name, ['doctor', '--config', lab.files(name).config], 3)
  assert.match(stdout, /^fail +membership +This node has left the cluster\.$/m)
}

it('a host, a classifier and a forwarder leave and join while clients connect: none fails', async () => {
  const steady = steadyConnections(lab)
  await leave('h8')
  const goneMs = Date.now()
  await leave('c2')
  await rejoin('h8')
  const hostMs = Date.now()
  await rejoin('c2')
  await lab.setForwarders(VIP, [lab.place('f1').address!])
  await leave('f2')
  await rejoin('f2')
  const flows = await counterSum(lab, 'forwarder_new_flows', ['f2'])
  await lab.setForwarders(
    VIP,
    lab.forwarders.map(f => f.address!),
  )
  await until('f2 to take connections again', async () =>
    (await counterSum(lab, 'forwarder_new_flows', ['f2'])) > flows + 20 ? true : undefined,
  )
  const result = await steady.stop()
  print(`${result.done} connections while nodes came and went`)
  assert.ok(reached(result, 'h8', hostMs) > 5, 'h8 takes connections again')
  assert.is(
    result.records.filter(r => r.host === 'h8' && r.startMs > goneMs && r.startMs < hostMs - 5_000).length,
    0,
    'h8 got connections after it had left',
  )
})

/** A datagram that only a node which knows `secret` can sign, as a classifier would send it to a forwarder; of a wrong epoch: it does nothing. */
const signed = (secret: ClusterSecret, forwarder: string, from: string, to: string): Uint8Array => {
  const tunnel = lab.place(forwarder).tunnel!
  const directory = {
    ...{ hosts: [], classifiers: [] },
    forwarders: [{ name: forwarder, tunnelWords: addressWords(tunnel), tunnelIpv4: ipv4Of(tunnel), ipv4: 0 }],
  }
  const recipient = lab.place(to).address!
  const [key] = buildMappingKeys(
    directory,
    [{ number: secret.number, bytes: secret.bytes }],
    ipv4Of(recipient),
  )
  const header = createMappingHeader()
  Object.assign(header, {
    ...{ kind: KIND.CLASSIFIED, keyNumber: secret.number, epoch: 1, sequence: 1, timeS: 1 },
    ...{ identifier: 0, protocol: 6, hostIndex: 1, ports: ((5555 << 16) | 80) >>> 0, innerLength: 0 },
  })
  header.client.set(addressWords('10.20.0.12'))
  header.vip.set(addressWords(VIP))
  header.node.set(addressWords(lab.place('h1').address!))
  const payload = new Uint8Array(84)
  const length = encodeMappingHeader(header, payload, 0, key!.words)
  return buildUdp4({
    ...{ source: lab.place(from).address!, destination: recipient, sourcePort: 6781, destinationPort: 6781 },
    payload: payload.slice(0, length),
  })
}
const dropped = async (node: string, reason: number): Promise<number> =>
  (await lab.api<DropsData>(node, '/v1/drops')).drops.reduce(
    (sum, d) => sum + (d.number === reason ? d.count : 0),
    0,
  )
const macOf = async (place: string): Promise<Uint8Array> => {
  const text = await mustRun(['ip', '-n', lab.netns(place), '-j', 'link', 'show', 'eth0'])
  return parseMac((JSON.parse(text) as [{ address: string }])[0].address)
}
/** A route that nobody asked for, to be seen in the forwarder's flows if it is taken. */
const plumbOf = (clientPort: number): Uint8Array => {
  const key = new Uint32Array(10)
  key.set(addressWords('10.20.0.12'), 0)
  key.set(addressWords(VIP), 4)
  key[8] = ((clientPort << 16) | 80) >>> 0
  key[9] = 6
  return encodePlumb([{ key, host: addressWords(lab.place('h1').address!) }])
}
const hasFlow = async (node: string, clientPort: number): Promise<boolean> =>
  (await lab.api<FlowsData>(node, `/v1/flows?client=10.20.0.12:${clientPort}`)).flows.length > 0

it('an evicted member is thrown out by all at once, and what it sends or signs is refused; the others go on', async () => {
  lab.kill('c2', 'SIGTERM')
  await stopped('c2')
  const view = stolenView(lab, 'c2')
  const [secret] = view.secrets
  const steady = steadyConnections(lab)
  const rack = FrameSender.open(lab.netns('c2'))
  const toForwarder = { f1: await macOf('f1'), f2: await macOf('f2') }
  const hostile = await HostileMember.start(lab, 'c2', view)
  try {
    members = others('c2')
    await until('the hostile one to be let in as c2', async () =>
      (await hostile.report()).alive.length === members.length ? true : undefined,
    )
    // It is a member, and a classifier: this is what is refused later.
    await hostile.send(plumbOf(5_001))
    for (const f of ['f1', 'f2'])
      await until('a route of a classifier', async () => ((await hasFlow(f, 5_001)) ? true : undefined))
    for (const [name, mac] of Object.entries(toForwarder)) {
      const before = await dropped(name, DROP.MAPPING_OLD_EPOCH)
      rack.send(mac, signed(secret!, name, 'c2', name))
      await until('a signed datagram', async () =>
        (await dropped(name, DROP.MAPPING_OLD_EPOCH)) > before ? true : undefined,
      )
    }
    const { heard } = await hostile.report()

    const unknown = await counterSum(lab, 'link_inbound_unknown_identity', members)
    const evictMs = performance.now()
    await shunt(lab, 'h1', ['evict', 'c2', '--yes'])
    const orderedMs = performance.now()
    await until('all links of the evicted one to close', async () =>
      (await hostile.report()).alive.length === 0 ? true : undefined,
    )
    const closedMs = performance.now()
    for (const node of members) {
      const { nodes } = await lab.api<NodesData>(node, '/v1/nodes')
      assert.not.ok(
        nodes.some(n => n.name === 'c2'),
        `${node} still lists it`,
      )
      const { departed } = await lab.api<ClusterData>(node, '/v1/cluster')
      assert.is(departed.findLast(d => d.name === 'c2' && d.reason === 'evicted')?.name, 'c2', node)
    }
    for (const [name, mac] of Object.entries(toForwarder)) {
      // From its own address, and from that of a classifier which is still a member.
      for (const from of ['c2', 'c1'])
        await until(`${name} to refuse the old key from ${from}`, async () => {
          const before = await dropped(name, DROP.MAPPING_UNKNOWN_KEY)
          rack.send(mac, signed(secret!, name, from, name))
          await new Promise(resolve => setTimeout(resolve, 50))
          return (await dropped(name, DROP.MAPPING_UNKNOWN_KEY)) > before ? true : undefined
        })
    }
    const refusedMs = performance.now()
    print(
      `evicted in ${(orderedMs - evictMs).toFixed(0)} ms, links closed within ${(closedMs - orderedMs).toFixed(0)} ms, old keys refused within ${(refusedMs - orderedMs).toFixed(0)} ms after`,
    )
    assert.ok(refusedMs - orderedMs < 2_500, `old keys were good for ${refusedMs - orderedMs} ms`)

    // Of a pair the one with the lower id calls.
    const called = view.members.filter(({ id }) => id > view.members.find(m => m.name === 'c2')!.id)
    await until('it calls again and is refused', async () => {
      const { alive, sent } = await hostile.send(plumbOf(5_002))
      assert.equal([alive, sent], [[], []])
      const more = (await counterSum(lab, 'link_inbound_unknown_identity', members)) - unknown
      return more >= called.length ? true : undefined
    })
    for (const f of ['f1', 'f2'])
      assert.not.ok(await hasFlow(f, 5_002), `${f} took a route of an evicted node`)
    const after = (await hostile.report()).heard
    assert.equal(after.secrets, heard.secrets, 'the new secret')
    assert.is.not(stolenView(lab, 'h1').secrets[0]!.number, secret!.number)
  } finally {
    await hostile.end()
    rack.close()
  }
  await together(lab, members)
  const result = await steady.stop()
  print(`${result.done} connections during the eviction`)
})

it('a node that was evicted while it was away is told by nobody, but by its doctor', async () => {
  // No other is going to be in touch with it, so that it never counts as ready.
  const ready = await lab.startAgent('c2', 2_000).then(
    () => true,
    () => false,
  )
  assert.not.ok(ready)
  const doctor = (): Promise<{ stdout: string }> =>
    lab.shunt('c2', ['doctor', '--config', lab.files('c2').config])
  await until(
    'the doctor to say it',
    async () =>
      /^fail +nodes +The others refuse this node: was it evicted/m.test((await doctor()).stdout)
        ? true
        : undefined,
    30_000,
  )
  lab.kill('c2', 'SIGTERM')
  await stopped('c2')
})

it('an evicted host is alone at once; only what it carried at that moment can fail', async () => {
  const steady = steadyConnections(lab)
  const evictMs = Date.now()
  await shunt(lab, 'f1', ['evict', 'h7', '--yes'])
  members = others('h7')
  await together(lab, members)
  const goneMs = Date.now()
  await until('connections after it', async () => (Date.now() > goneMs + 1_500 ? true : undefined))
  const result = await steady.end()
  const failed = failures(result)
  print(`${result.done} connections, ${failed.length} of them cut by the eviction of their host`)
  assert.ok(failed.length <= 8, JSON.stringify(failed))
  for (const { startMs } of failed) assert.ok(startMs > evictMs - 15_000 && startMs < goneMs)
  assert.is(reached(result, 'h7', goneMs), 0)
  // Its agent may have heard why, and ended; or it is alone.
  const state = await lab.agentState('h7')
  print(`the agent of h7 is ${state}`)
  if (state !== 'stopped') {
    const { nodes } = await lab.api<NodesData>('h7', '/v1/nodes')
    assert.equal(
      nodes.filter(n => n.agent === 'alive').map(n => n.name),
      ['h7'],
    )
  }
})

it('all nodes killed and started at once: cluster, document and traffic come back', async () => {
  const before = await standings(lab, members)
  for (const name of members) assert.ok(lab.kill(name, 'SIGKILL'))
  await Promise.all(members.map(stopped))
  const beganMs = performance.now()
  await startAll(members)
  await together(lab, members)
  print(
    `${members.length} nodes are together ${(performance.now() - beganMs).toFixed(0)} ms after their start`,
  )
  assert.equal(await standings(lab, members), before)
  const result = await load(lab, lab.client(1), { concurrency: 10, jobs: [{ kind: 'small', count: 500 }] })
  assertWhole(lab, result)
  assert.equal(Object.keys(result.byHost).sort(), others('f1', 'f2', 'c1').sort())
})

it('a node that lost its state is the same member again after restore, and catches up', async () => {
  const backup = join(lab.files('h3').dir, 'h3.backup')
  await shunt(lab, 'h3', ['backup', backup, '--config', lab.files('h3').config])
  const more = `  - { name: other, vip: 10.99.0.2, port: 80, protocol: tcp, pool: web }\n`
  await shunt(lab, 'f1', ['apply', '-f', document(hostNames(), more), '--yes'])
  const digest = await together(lab, members)
  const steady = steadyConnections(lab)
  lab.kill('h3', 'SIGTERM')
  await stopped('h3')
  rmSync(lab.files('h3').state, { recursive: true })
  const failed = await lab.shunt('h3', ['agent', '--config', lab.files('h3').config])
  assert.match(failed.stderr + failed.stdout, /in no cluster/)
  await shunt(lab, 'h3', ['restore', backup], 5)
  await shunt(lab, 'h3', ['restore', backup, '--force'])
  await lab.startAgent('h3', START_MS)
  assert.is(await together(lab, members), digest)
  const backMs = Date.now()
  await until(
    'connections of the restored host',
    async () => (Date.now() > backMs + 2_000 ? true : undefined),
    5_000,
  )
  const result = await steady.stop()
  assert.ok(reached(result, 'h3', backMs) > 3, 'h3 takes connections')
  const { events } = await lab.api<EventsData>('h3', '/v1/events')
  assert.equal(
    events.filter(e => e.severity === 'error'),
    [],
  )
})

if (missingRoot() === undefined) it.run()
else skip('cluster-grow', missingRoot()!)
