/**
 * Roles and keys that change while a cluster carries traffic (architecture decisions 9 and 13): no connection notices; and a member that
 * says what its role, or the operator alone, may say is refused by everybody.
 */
// test-beside-others
// test-timeout-ms: 300000
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import { Ledger } from '../../src/cluster/ledger.ts'
import { identitySigner, seedSigner } from '../../src/cluster/operator-key.ts'
import { peerOfPublicKey } from '../../src/cluster/peer-key.ts'
import { encodeStatement, proofBytes, signStatement, tokenBytes } from '../../src/cluster/statement.ts'
import { loadCluster } from '../../src/cluster/store.ts'
import type { NodeFacts, Statement, StatementBody } from '../../src/cluster/types.ts'
import type { ClusterData, EventsData, FlowsData, NodesData, StatusData } from '../../src/control/types.ts'
import { errorText } from '../../src/errors.ts'
import { encodeEnded, encodeLedgerEntries, encodePlumb, LENGTH_BYTES } from '../../src/gossip/frames.ts'
import { Lab } from '../../src/lab/lab.ts'
import { nginxConfig } from '../../src/lab/services.ts'
import { download } from '../support/hostile-lab.ts'
import { HostileMember, stolenView } from '../support/hostile-member.ts'
import { labName, leftovers } from '../support/lab.ts'
import {
  counterSum,
  print,
  reached,
  type Steady,
  shunt,
  standings,
  steadyConnections,
  together,
} from '../support/managed-cluster.ts'
import { addressWords } from '../support/packets.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { until, VIP, webFile } from '../support/traffic.ts'

const it = suite('cluster-roles')
const DOWNLOADS = 3

let lab: Lab
let web: ReturnType<Lab['spawn']> | undefined
const names = (): string[] => lab.nodes.map(n => n.name)
const addressesOf = (...forwarders: string[]): string[] => forwarders.map(f => lab.place(f).address!)

it.before(async () => {
  lab = await Lab.up({
    ...{ name: labName(), mode: 'managed', forwarders: 2, classifiers: 2, hosts: 2, clients: 2 },
  })
  await together(lab, names())
})

it.after(async () => {
  if (web !== undefined) {
    const ended = once(web, 'exit')
    web.kill('SIGTERM')
    await ended
  }
  if (lab === undefined) return
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

/** Long downloads one after the other, in some lanes; each must be whole to the byte. */
class Downloads {
  readonly #ended: Promise<void>[]
  #over = false
  done = 0

  constructor() {
    this.#ended = Array.from({ length: DOWNLOADS }, () => this.#lane())
  }

  async #lane(): Promise<void> {
    const { path, sha256 } = webFile(lab, '/10m')
    while (!this.#over) {
      const got = await download(lab, lab.client(2), path, ['--limit-rate', '2500k'])
      assert.equal(got, { sha256, code: 0, stderr: '' })
      this.done++
    }
  }

  async stop(): Promise<void> {
    this.#over = true
    await Promise.all(this.#ended)
  }
}

/** Runs a body under steady new connections and long downloads; none of them may fail. */
const underTraffic = async (body: () => Promise<void>): Promise<Awaited<ReturnType<Steady['stop']>>> => {
  const steady = steadyConnections(lab)
  const downloads = new Downloads()
  let failed = false
  try {
    await body()
  } catch (error) {
    failed = true
    throw error
  } finally {
    // What the body says is worth more than what follows from it.
    const stopped = downloads.stop()
    if (failed) await Promise.allSettled([stopped, steady.end()])
    else await stopped
  }
  const result = await steady.stop()
  const slowest = Math.max(...result.records.map(r => r.durationMs))
  print(
    `${result.done} new connections (the slowest ${slowest.toFixed(0)} ms) and ${downloads.done} downloads of 10 MB, none failed`,
  )
  return result
}

const roles = async (node: string, ...changes: string[]): Promise<void> => {
  await shunt(lab, 'f1', ['roles', node, ...changes, '--yes'])
  await together(lab, names())
}
const grows = async (counter: string, node: string): Promise<void> => {
  const before = await counterSum(lab, counter, [node])
  await until(`${counter} of ${node} to grow`, async () =>
    (await counterSum(lab, counter, [node])) > before + 10 ? true : undefined,
  )
}
const applyPool = async (...hosts: string[]): Promise<void> => {
  const file = join(lab.files('f1').dir, 'cluster.yaml')
  const services = lab.services.map(service => ({ ...service, pool: 'web' }))
  const pools = [{ name: 'web', hosts: hosts.map(name => ({ name, capacity: 50 })) }]
  writeFileSync(file, stringify({ version: 1, pools, services }))
  await shunt(lab, 'f1', ['apply', '-f', file, '--yes'])
  await together(lab, names())
}

it('classifiers go one after the other, a host becomes the only one, and gives the role back', async () => {
  await underTraffic(async () => {
    // Of several the first by name is asked.
    await grows('classifier_classified', 'c1')
    await roles('h1', '+classifier')
    await roles('c1', '-classifier')
    await grows('classifier_classified', 'c2')
    await roles('c2', '-classifier')
    await grows('classifier_classified', 'h1')
    await roles('c1', '+classifier')
    await grows('classifier_classified', 'c1')
    await roles('c2', '+classifier')
    await roles('h1', '-classifier')
    await grows('classifier_classified', 'c1')
  })
})

/** The application of a node that was planned without one. */
const startApplication = async (node: string): Promise<void> => {
  const prefix = lab.files(node).web
  mkdirSync(`${prefix}/uploads`, { recursive: true })
  const files = join(dirname(lab.files(node).dir), 'files')
  writeFileSync(`${prefix}/nginx.conf`, nginxConfig(node, [80], files, prefix))
  web = lab.spawn(node, [
    ...['nginx', '-p', prefix, '-c', `${prefix}/nginx.conf`, '-e', `${prefix}/error.log`],
  ])
  await until('nginx', () => (existsSync(`${prefix}/nginx.pid`) ? true : undefined))
}

it('a node becomes a host and enters the pool, takes connections, and is no host any more', async () => {
  await startApplication('c2')
  let inMs = 0
  let outMs = 0
  const result = await underTraffic(async () => {
    await roles('c2', '+host')
    await applyPool('h1', 'h2', 'c2')
    inMs = Date.now()
    await grows('host_maps_received', 'c2')
    await roles('c2', '-host')
    outMs = Date.now()
    await until('connections without it', () => (Date.now() > outMs + 1_500 ? true : undefined))
    // The document still names it: that is no error.
    await applyPool('h1', 'h2')
  })
  assert.is(result.records.filter(r => r.host === 'c2' && r.startMs < inMs - 10_000).length, 0)
  assert.ok(reached(result, 'c2', inMs) > 5, 'c2 takes connections')
  assert.is(reached(result, 'c2', outMs), 0, 'c2 is no host any more')
})

/** As another node shows them. */
const rolesShown = async (node: string): Promise<{ roles: string[]; retiring: string[] }> => {
  const { nodes } = await lab.api<NodesData>('f1', '/v1/nodes')
  const { roles: agreed, retiring } = nodes.find(({ name }) => name === node)!
  return { roles: agreed, retiring }
}
const isForwarder = async (node: string): Promise<boolean> =>
  (await lab.api<StatusData>(node, '/v1/status')).roles.includes('forwarder')

it('a forwarder, no longer called by the router, loses its role and gets it back', async () => {
  await underTraffic(async () => {
    // Its own classifier, as long as it is both.
    await roles('f2', '+classifier')
    const asked = await counterSum(lab, 'forwarder_classify_sent', ['f2'])
    await grows('forwarder_new_flows', 'f2')
    assert.is(await counterSum(lab, 'forwarder_classify_sent', ['f2']), asked)
    await lab.setForwarders(VIP, addressesOf('f1'))
    // Taken and at once given back, it stays though it was about to end.
    await roles('f2', '-forwarder')
    assert.equal(await rolesShown('f2'), { roles: ['classifier'], retiring: ['forwarder'] })
    await roles('f2', '+forwarder')
    assert.equal(await rolesShown('f2'), { roles: ['forwarder', 'classifier'], retiring: [] })
    await roles('f2', '-forwarder')
    // It is kept for what it carries (timeouts.drain), and a forwarder no more then.
    await until(
      'f2 to be no forwarder',
      async () => {
        const { flows } = await lab.api<FlowsData>('f2', '/v1/flows')
        return flows.length === 0 && !(await isForwarder('f2')) ? true : undefined
      },
      15_000,
    )
    await roles('f2', '+forwarder', '-classifier')
    await lab.setForwarders(VIP, addressesOf('f1', 'f2'))
    await grows('forwarder_new_flows', 'f2')
  })
})

it('the cluster secret is replaced three times, and nobody notices', async () => {
  await underTraffic(async () => {
    for (let number = 2; number <= 4; number++) {
      const { stdout } = await shunt(lab, number === 3 ? 'h2' : 'f1', ['keys', 'rotate'])
      assert.match(stdout, new RegExp(`secret ${number} is in the cluster`))
      await until(`all nodes to sign with secret ${number}`, async () => {
        const all = await Promise.all(names().map(name => lab.api<ClusterData>(name, '/v1/cluster')))
        return all.every(({ secrets }) => secrets[0]!.number === number && secrets[0]!.state === 'signing')
          ? true
          : undefined
      })
    }
  })
})

const CLIENT = '10.20.0.12'
const record = (clientPort: number, host: Uint32Array) => {
  const key = new Uint32Array(10)
  key.set(addressWords(CLIENT), 0)
  key.set(addressWords(VIP), 4)
  key[8] = ((clientPort << 16) | 80) >>> 0
  key[9] = 6
  return { key, host }
}
const plumbOf = (clientPort: number): Uint8Array =>
  encodePlumb([record(clientPort, addressWords(lab.place('h1').address!))])
const hasFlow = async (node: string, clientPort: number): Promise<boolean> =>
  (await lab.api<FlowsData>(node, `/v1/flows?client=${CLIENT}:${clientPort}`)).flows.length > 0

/** Statements that nobody may believe, each with what they are refused for. */
const lies = (node: string): [string, Uint8Array, RegExp][] => {
  const { cluster, statements } = loadCluster(lab.files(node).state)!
  const own = identitySigner(lab.files(node).identity)
  const self = statements.find(({ body }) => body.kind === 'admit' && body.node.id === own.id)!
  const { body: admission } = self as Statement & { body: { kind: 'admit' } }
  const other = stolenView(lab, node).members.find(m => m.name === 'h1')!
  const config = statements.find(({ body }) => body.kind === 'config')! as Statement & {
    body: { kind: 'config' }
  }
  const atMs = Date.now()
  const all = ['forwarder', 'classifier', 'host'] as const
  const say = (by: string, body: StatementBody, signer = own as Parameters<typeof signStatement>[3]) =>
    encodeStatement(signStatement(cluster, by, body, signer))
  const ownRoles: StatementBody = { kind: 'roles', id: own.id, roles: [...all], revision: 99, atMs }
  const secret: StatementBody = {
    ...{ kind: 'secret', number: 99, secret: randomBytes(32).toString('base64') },
    ...{ graceMs: 0, excludes: [other.id], atMs },
  }
  const document: StatementBody = { ...config.body, revision: 99, note: 'hostile', atMs }
  const elsewhere = seedSigner(randomBytes(32))
  const otherCluster = Buffer.from(elsewhere.publicKey).toString('base64url')
  const newcomer = seedSigner(randomBytes(32))
  const token = {
    token: 'V1StGXR8_Z5jdHi6B-myT',
    issuer: own.id,
    roles: [...all],
    uses: 9,
    issuedMs: atMs,
    expiresMs: atMs + 9e6,
  }
  const stranger: NodeFacts = {
    id: peerOfPublicKey(newcomer.publicKey),
    ...{ name: 'h9', address: '10.10.0.99', roles: ['classifier', 'host'] },
  }
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  return [
    ['forged roles', say('operator', ownRoles), /signature does not hold/],
    ['forged secret', say('operator', secret, newcomer), /signature does not hold/],
    ['forged document', say('operator', document), /signature does not hold/],
    ['roles of its own', say(own.id, ownRoles), /only the operator may say this/],
    ['a secret of its own', say(own.id, secret), /only the operator may say this/],
    ['a document of its own', say(own.id, document), /only the operator may say this/],
    [
      'an eviction',
      say(own.id, { kind: 'remove', id: other.id, reason: 'evicted', atMs }),
      /only the operator evicts/,
    ],
    [
      'a leave of another',
      say(own.id, { kind: 'remove', id: other.id, reason: 'left', atMs }),
      /only a node itself leaves/,
    ],
    [
      'a forged leave',
      say(other.id, { kind: 'remove', id: other.id, reason: 'left', atMs }),
      /signature does not hold/,
    ],
    ['an admission', say(own.id, { kind: 'admit', node: stranger, atMs }), /only the operator admits/],
    [
      'an admission by a token of its own',
      say(own.id, {
        ...{ kind: 'admit', node: stranger, atMs },
        token: { body: token, signature: b64(own.sign(tokenBytes(cluster, token))), slot: 1 },
        proof: b64(newcomer.sign(proofBytes(cluster, token.token, stranger))),
      }),
      /operator did not sign the token/,
    ],
    [
      'an altered admission',
      // Earlier than the true one: else it is passed over as superseded, which costs nobody a verification.
      encodeStatement({
        ...self,
        body: {
          ...admission,
          atMs: admission.atMs - 1,
          node: { ...admission.node, roles: ['classifier', 'host'] },
        },
      }),
      /signature does not hold/,
    ],
    [
      'an altered document',
      encodeStatement({ ...config, body: { ...config.body, text: config.body.text.replace('50', '99') } }),
      /signature does not hold/,
    ],
    [
      "another operator's document",
      encodeStatement(signStatement(otherCluster, 'operator', document, elsewhere)),
      /another cluster/,
    ],
    ['noise', randomBytes(300), /not a valid statement|not JSON/],
  ]
}

/** Why a node that holds what h2 has on its disk refuses an entry. */
const refusalOf = (entry: Uint8Array): string => {
  const { cluster, statements } = loadCluster(lab.files('h2').state)!
  const ledger = new Ledger(cluster)
  for (const statement of statements) ledger.add(statement)
  try {
    const result = ledger.addEncoded(entry)
    return typeof result === 'object' ? result.refused : result
  } catch (error) {
    return errorText(error)
  }
}

it('a member that says what it may not is refused by all, and counted; nothing changes', async () => {
  const steady = steadyConnections(lab)
  lab.kill('h2', 'SIGTERM')
  await until(
    'the agent of h2 to end',
    async () => ((await lab.agentState('h2')) === 'stopped' ? true : undefined),
    20_000,
  )
  const members = names()
    .filter(name => name !== 'h2')
    .sort()
  const before = await standings(lab, members)
  const hostile = await HostileMember.start(lab, 'h2', stolenView(lab, 'h2'))
  try {
    await until('h2 to be let in: it is a member', async () =>
      (await hostile.report()).alive.length === members.length ? true : undefined,
    )
    const counted = async (): Promise<number[]> =>
      Promise.all(members.map(name => counterSum(lab, 'link_frame_wrong_role', [name])))
    const first = await counted()
    const noHost = new Uint32Array(4)
    for (const frame of [plumbOf(6_001), encodeEnded([record(6_001, noHost)])])
      assert.equal((await hostile.send(frame)).sent.sort(), members)
    const expected = first.map(count => count + 2)
    await until('both to be counted at each node', async () =>
      (await counted()).every((count, i) => count >= expected[i]!) ? true : undefined,
    )
    assert.equal(await counted(), expected)
    for (const f of ['f1', 'f2']) assert.not.ok(await hasFlow(f, 6_001), `${f} took the route`)

    const untruths = lies('h2')
    const events = async (node: string): Promise<string[]> =>
      (await lab.api<EventsData>(node, '/v1/events?limit=1000')).events
        .filter(e => e.kind === 'statement.refused' && e.subject === 'h2')
        .map(e => e.text)
    for (const [what, entry, why] of untruths) assert.match(refusalOf(entry), why, what)
    const refusals = (): Promise<number[]> =>
      Promise.all(members.map(node => counterSum(lab, 'cluster_statements_refused', [node])))
    assert.equal(
      await refusals(),
      members.map(() => 0),
    )
    for (const [, entry] of untruths) await hostile.send(encodeLedgerEntries([entry]))
    await until('all to refuse them all', async () =>
      (await refusals()).every(count => count >= untruths.length) ? true : undefined,
    )
    assert.equal(
      await refusals(),
      members.map(() => untruths.length),
    )
    // One event a minute for a peer: nobody washes the history out.
    for (const node of members) {
      const texts = await events(node)
      assert.is(texts.length, 1, node)
      assert.match(texts[0]!, untruths[0]![2], node)
    }

    // By publication: the mesh needs a moment to form.
    const publish = (entry: Uint8Array) =>
      hostile.publish(encodeLedgerEntries([entry]).subarray(LENGTH_BYTES))
    const isAt = (counts: readonly number[], least: readonly number[]): boolean =>
      counts.every((count, i) => count >= least[i]!)
    const start = await refusals()
    await until('a publication to reach all', async () => {
      await publish(untruths[0]![1])
      await new Promise(resolve => setTimeout(resolve, 400))
      return isAt(
        await refusals(),
        start.map(count => count + 1),
      )
        ? true
        : undefined
    })
    const least = (await refusals()).map(count => count + untruths.length - 1)
    for (const [, entry] of untruths.slice(1)) assert.equal((await publish(entry)).sent, ['*'])
    await until('all publications to be refused by all', async () =>
      isAt(await refusals(), least) ? true : undefined,
    )

    // What was true once, and is known: no fault, and no news.
    const refused = await refusals()
    const truths = loadCluster(lab.files('h2').state)!.statements
    for (const statement of truths) await hostile.send(encodeLedgerEntries([encodeStatement(statement)]))
    await publish(encodeStatement(truths[0]!))
    await new Promise(resolve => setTimeout(resolve, 500))
    assert.equal(await refusals(), refused)
    assert.equal(await standings(lab, members), before)
    assert.equal((await hostile.report()).alive.sort(), members, 'links stay')

    // The same frame of the same member counts when the operator has given it the role: what is refused is the role.
    await shunt(lab, 'f1', ['roles', 'h2', '+classifier'])
    await until('the route of a classifier', async () => {
      await hostile.send(plumbOf(6_002))
      return (await hasFlow('f1', 6_002)) && (await hasFlow('f2', 6_002)) ? true : undefined
    })
    await shunt(lab, 'f1', ['roles', 'h2', '-classifier', '--yes'])
  } finally {
    await hostile.end()
  }
  await lab.startAgent('h2')
  await together(lab, names())
  await steady.stop()
})

if (missingRoot() === undefined) it.run()
else skip('cluster-roles', missingRoot()!)
