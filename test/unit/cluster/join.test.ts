import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { joinCluster } from '../../../src/cluster/join-client.ts'
import { Ledger } from '../../../src/cluster/ledger.ts'
import type { NodeFacts, Statement } from '../../../src/cluster/types.ts'
import { clusterView } from '../../../src/cluster/view.ts'
import { type ErrorCode, ShuntError } from '../../../src/errors.ts'
import type { JoinHook, JoinSession } from '../../../src/gossip/joins.ts'
import { Issuer, type NodeSigner, nodeSigner } from '../../support/issuer.ts'
import { type JoinListener, listenForJoins } from '../../support/join-listener.ts'

const it = suite('cluster/join')

const factsOf = (signer: NodeSigner, changes: Partial<NodeFacts> = {}): NodeFacts => ({
  id: signer.id,
  name: 'h1',
  address: '10.10.0.31',
  roles: ['host'],
  ...changes,
})

const withIssuer = async (
  run: (issuer: Issuer, listener: JoinListener) => Promise<void>,
  wrap: (hook: JoinHook) => JoinHook = hook => hook,
): Promise<void> => {
  const issuer = new Issuer()
  const listener = await listenForJoins(wrap(issuer.hook))
  try {
    await run(issuer, listener)
  } finally {
    await listener.close()
    rmSync(issuer.stateDir, { recursive: true })
  }
}

const rejects = async (promise: Promise<unknown>, code: ErrorCode, why: RegExp): Promise<void> => {
  const error = await promise.then(
    () => new Error('it was not refused'),
    (e: unknown) => e as Error,
  )
  assert.instance(error, ShuntError, error.message)
  assert.is((error as ShuntError).code, code, error.message)
  assert.match(error.message, why)
}

it('a token makes a node a member, on both sides', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({}, listener.port)
    issuer.register(token)
    const signer = nodeSigner()
    const statements = await joinCluster(token, factsOf(signer), signer)
    const ledger = new Ledger(token.cluster)
    for (const statement of statements) assert.is(ledger.add(statement), 'new')
    assert.is(ledger.digest(), issuer.ledger.digest())
    assert.equal(
      clusterView(ledger)!.members.map(m => m.name),
      ['f1', 'h1'],
    )
    assert.is(clusterView(ledger)!.secrets.length, 1)
    assert.match(issuer.events.join(), /h1 .* joined with a token, place 1 of 1/)
  }))

it('the same node asking again gets the same without another place; another node gets none', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({}, listener.port)
    issuer.register(token)
    const signer = nodeSigner()
    await joinCluster(token, factsOf(signer), signer)
    const digest = issuer.ledger.digest()
    issuer.reopen()
    await joinCluster(token, factsOf(signer), signer)
    assert.is(issuer.ledger.digest(), digest)
    const other = nodeSigner()
    const facts = factsOf(other, { name: 'h2', address: '10.10.0.32' })
    await rejects(joinCluster(token, facts, other), 'SHUNT_ERR_TOKEN', /the token's only use is taken/)
  }))

it('of many at once no more are admitted than the token allows, and one name is given once', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({ uses: 3 }, listener.port)
    issuer.register(token)
    const attempts = Array.from({ length: 8 }, (_, i) => {
      const signer = nodeSigner()
      return joinCluster(token, factsOf(signer, { name: `h${i % 4}`, address: `10.10.2.${i + 1}` }), signer)
    })
    const results = await Promise.allSettled(attempts)
    assert.is(results.filter(r => r.status === 'fulfilled').length, 3)
    const view = issuer.view()
    assert.is(view.members.length, 4)
    assert.equal(view.conflicts, [])
    assert.is(new Set(view.members.map(m => m.name)).size, 4)
  }))

it('says why it refuses facts that do not fit', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({ uses: 5 }, listener.port)
    issuer.register(token)
    const signer = nodeSigner()
    const tries: [Partial<NodeFacts>, RegExp][] = [
      [{ name: 'f1' }, /name f1 is taken/],
      [{ address: '10.10.0.11' }, /address 10.10.0.11 is that of f1/],
      [{ address: '10.10.1.11' }, /address 10.10.1.11 is that of f1/],
      [{ tunnel: '10.10.0.11' }, /address 10.10.0.11 is that of f1/],
      [{ tunnel: '10.10.1.41', roles: ['forwarder'] }, /allows the roles classifier, host, not forwarder/],
      [{ roles: ['forwarder'] }, /needs a tunnel address/],
      [{ name: 'Bad Name' }, /facts.name: must be/],
      [{ address: '224.0.0.1' }, /unicast/],
      [{ address: '127.0.0.41' }, /facts.address: is a loopback address/],
      [{ tunnel: '169.254.0.41' }, /facts.tunnel: is a link-local address/],
      [{ address6: 'fe80::41' }, /facts.address6: is a link-local address/],
      [{ address6: 'FD00::41' }, /facts.address6: is not in its usual form; write fd00::41/],
      [{ address6: '::ffff:10.0.0.1' }, /facts.address6: is an IPv4 address in IPv6 clothes/],
      [{ tunnel6: 'fd01::41' }, /\(--tunnel6\) needs an IPv6 address \(--address6\)/],
      [{ address6: 'fd00::41', tunnel6: 'fd00::41' }, /tunnel6 and address6 must differ/],
    ]
    for (const [changes, why] of tries)
      await rejects(joinCluster(token, factsOf(signer, changes), signer), 'SHUNT_ERR_TOKEN', why)
    assert.is(issuer.view().members.length, 1)
    // None of them has used a place.
    assert.is(issuer.tokens.find(token.body.token)!.slots.size, 0)
  }))

it('an identity must be its own, and one that was removed stays so', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({ uses: 5 }, listener.port)
    issuer.register(token)
    const signer = nodeSigner()
    await rejects(joinCluster(token, factsOf(signer), nodeSigner()), 'SHUNT_ERR_TOKEN', /did not prove/)
    await joinCluster(token, factsOf(signer), signer)
    await rejects(
      joinCluster(token, factsOf(signer, { name: 'h9' }), signer),
      'SHUNT_ERR_TOKEN',
      /is a member already, as h1/,
    )
    issuer.order({ kind: 'remove', id: signer.id, reason: 'evicted', atMs: issuer.nowMs })
    await rejects(joinCluster(token, factsOf(signer), signer), 'SHUNT_ERR_TOKEN', /was evicted/)
  }))

it('a token ends: expired, never registered, or of another secret, it gets no answer', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({}, listener.port)
    const signer = nodeSigner()
    const unknown = /is the token still valid there/
    await rejects(joinCluster(token, factsOf(signer), signer), 'SHUNT_ERR_PEER', unknown)
    issuer.register(token)
    const guess = { ...token, secret: Buffer.alloc(32, 1).toString('base64') }
    await rejects(joinCluster(guess, factsOf(signer), signer), 'SHUNT_ERR_PEER', unknown)
    issuer.nowMs = token.body.expiresMs
    await rejects(joinCluster(token, factsOf(signer), signer), 'SHUNT_ERR_PEER', unknown)
    assert.is(listener.strangers, 3)
    await listener.close()
    await rejects(joinCluster(token, factsOf(signer), signer), 'SHUNT_ERR_PEER', /ECONNREFUSED/)
  }))

it('an issuer whose clock is behind that of the operator redeems a token all the same', () =>
  withIssuer(async (issuer, listener) => {
    const token = issuer.token({ issuedMs: issuer.nowMs + 5_000 }, listener.port)
    issuer.register(token)
    const signer = nodeSigner()
    await joinCluster(token, factsOf(signer), signer)
    assert.is(issuer.view().members.find(m => m.id === signer.id)?.joinedMs, token.body.issuedMs)
  }))

it('a port that is none is an error in words', async () => {
  const issuer = new Issuer()
  const signer = nodeSigner()
  const token = issuer.token({}, 70_000)
  await rejects(joinCluster(token, factsOf(signer), signer), 'SHUNT_ERR_PEER', /cannot join at .*70000/)
  rmSync(issuer.stateDir, { recursive: true })
})

it('an issuer that keeps silent costs a bounded time', () =>
  withIssuer(
    async (issuer, listener) => {
      const token = issuer.token({}, listener.port)
      issuer.register(token)
      const signer = nodeSigner()
      await rejects(joinCluster(token, factsOf(signer), signer, 200), 'SHUNT_ERR_PEER', /no answer in 0.2 s/)
    },
    hook => ({ ...hook, serve: () => new Promise(() => {}) }),
  ))

/** Serves with statements changed on their way into the answer. */
const liar = (change: (statements: Statement[]) => Statement[]) => async (why: RegExp) => {
  const issuer = new Issuer()
  const truth = issuer.ledger.statements.bind(issuer.ledger)
  issuer.ledger.statements = () => change(truth())
  const listener = await listenForJoins(issuer.hook)
  try {
    const token = issuer.token({}, listener.port)
    issuer.register(token)
    const signer = nodeSigner()
    await rejects(joinCluster(token, factsOf(signer), signer), 'SHUNT_ERR_TOKEN', why)
  } finally {
    await listener.close()
    rmSync(issuer.stateDir, { recursive: true })
  }
}

it('believes nothing that the operator did not sign', async () => {
  const altered = (s: Statement): Statement =>
    s.body.kind === 'secret' ? { ...s, body: { ...s.body, secret: Buffer.alloc(32).toString('base64') } } : s
  await liar(all => all.map(altered))(/signature does not hold/)
  await liar(all => all.filter(s => s.body.kind !== 'admit'))(/did not make this one a member/)
  await liar(all => all.filter(s => s.body.kind !== 'secret'))(/did not make this one a member/)
  await liar(() => [])(/did not make this one a member/)
})

it('what does not open, is too long or is cut costs the issuer a closed connection', () =>
  withIssuer(async (issuer, listener) => {
    issuer.register(issuer.token({}, listener.port))
    const [{ token, key }] = issuer.hook.keys()
    const session = (bytes: Uint8Array): JoinSession & { written: number } => ({
      token,
      key,
      ours: new Uint8Array(32),
      theirs: new Uint8Array(32).fill(1),
      remoteAddress: '127.0.0.9',
      written: 0,
      async read(count) {
        if (count > bytes.length) throw new Error('the connection was closed')
        const part = bytes.subarray(0, count)
        bytes = bytes.subarray(count)
        return part
      },
      async write(data) {
        this.written += data.length
      },
    })
    const prefixed = (length: number, rest: number): Uint8Array => {
      const bytes = Buffer.alloc(4 + rest, 7)
      bytes.writeUInt32BE(length)
      return bytes
    }
    for (const [bytes, why] of [
      [prefixed(65_537, 65_537), /a record of 65537 bytes/],
      [prefixed(0xffff_ffff, 10), /a record of 4294967295 bytes/],
      [prefixed(3, 3), /a record of 3 bytes/],
      [prefixed(64, 64), /altered, or made with another key/],
      [prefixed(64, 10), /closed/],
    ] as const) {
      const one = session(bytes)
      const error = await issuer.hook.serve(one).catch((e: Error) => e)
      assert.match((error as Error).message, why)
      assert.is(one.written, 0)
    }
    assert.is(issuer.view().members.length, 1)
    // A stranger's bytes on the wire.
    const socket = connect(listener.port, '127.0.0.1')
    await new Promise(resolve =>
      socket
        .on('close', resolve)
        .on('connect', () => socket.write(Buffer.alloc(32)))
        .resume(),
    )
    assert.is(listener.strangers, 1)
  }))

it.run()
