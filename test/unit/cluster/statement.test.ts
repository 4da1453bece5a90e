import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canonical } from '../../../src/cluster/canonical.ts'
import {
  decodeStatement,
  encodeStatement,
  MAX_DOCUMENT_BYTES,
  MAX_STATEMENT_BYTES,
  signStatement,
  UNKNOWN_KIND,
  verifyStatement,
} from '../../../src/cluster/statement.ts'
import type { Statement } from '../../../src/cluster/types.ts'
import * as op from '../../support/sim/operator.ts'

const it = suite('statements')
const code = (error: Error): boolean => (error as { code?: string }).code === 'SHUNT_ERR_STATEMENT'
const [issuer, joiner] = [op.identity('node 0'), op.identity('node 1')]
const token = op.tokenFor(issuer, 't', 2, 1_000)
const byToken = op.redeem(issuer, token, 1, joiner, op.factsOf(1), 10)
const leave = signStatement(
  op.CLUSTER,
  joiner.id,
  { kind: 'remove', id: joiner.id, reason: 'left', atMs: 1 },
  joiner,
)
const samples: Statement[] = [
  op.genesis(),
  op.secret(1, [joiner.id]),
  op.admit(op.factsOf(0), 1),
  byToken,
  leave,
  op.order({ kind: 'roles', id: joiner.id, roles: [], revision: 1, atMs: 1 }),
  op.order({ kind: 'remove', id: joiner.id, reason: 'evicted', atMs: 1 }),
  op.directive(joiner.id, '*', 'draining', 1),
  op.config(1, '', 1, 'text: "ünïcode \u2028 \\n"\n'),
]

it('canonical JSON has sorted keys and no spaces, and reads back as the same value', () => {
  assert.is(
    canonical({ b: [1, 'x', null], a: { d: true, c: -0.5 } }),
    '{"a":{"c":-0.5,"d":true},"b":[1,"x",null]}',
  )
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      const text = canonical(value)
      assert.is(canonical(JSON.parse(text)), text)
    }),
  )
})

it('canonical JSON refuses what JSON cannot say', () => {
  for (const bad of [
    undefined,
    Number.NaN,
    Infinity,
    { a: undefined },
    [undefined],
    new Date(0),
    new Array(1),
    () => 1,
    1n,
  ])
    assert.throws(() => canonical(bad), code)
})

it('every kind passes, survives its encoding, and is bound to the cluster', () => {
  for (const statement of samples) {
    assert.is(verifyStatement(statement, op.CLUSTER), undefined, statement.body.kind)
    assert.equal(decodeStatement(encodeStatement(statement)), statement)
    const other = Buffer.alloc(32, 7).toString('base64url')
    assert.match(verifyStatement(statement, other) ?? '', /another cluster/)
    assert.ok(verifyStatement({ ...statement, cluster: other }, other))
  }
})

it('no altered byte of an encoding passes', () => {
  fc.assert(
    fc.property(fc.constantFrom(...samples), fc.nat(), fc.integer({ min: 1, max: 255 }), (s, at, mask) => {
      const bytes = Uint8Array.from(encodeStatement(s))
      bytes[at % bytes.length]! ^= mask
      let altered: Statement
      try {
        altered = decodeStatement(bytes)
      } catch (error) {
        assert.ok(code(error as Error))
        return
      }
      assert.ok(verifyStatement(altered, op.CLUSTER))
    }),
    { numRuns: 1_000 },
  )
})

it('bytes that are not in canonical form, or too many, are refused', () => {
  const text = Buffer.from(encodeStatement(samples[0]!)).toString()
  for (const bad of [
    ` ${text}`,
    text.replace('"by"', ' "by"'),
    text.replace('"by":"operator"', '"by":"operator","by":"operator"'),
  ])
    assert.throws(() => decodeStatement(Buffer.from(bad)), code)
  assert.throws(() => decodeStatement(new Uint8Array(MAX_STATEMENT_BYTES + 1)), /longer/)
  assert.throws(() => decodeStatement(Buffer.from('['.repeat(100_000))), code)
  assert.throws(() => decodeStatement(Buffer.from([0xff, 0xfe])), code)
})

it('fields that are unknown, missing, too long or out of range are refused', () => {
  const config = op.config(1, '', 1)
  const bodies: unknown[] = [
    { ...config.body, extra: 1 },
    { ...config.body, revision: 0 },
    { ...config.body, revision: 1.5 },
    { ...config.body, parent: 'x' },
    { ...config.body, text: 'x'.repeat(MAX_DOCUMENT_BYTES + 1) },
    { ...config.body, note: 'x'.repeat(1_001) },
    { ...op.secret(1).body, secret: 'AAAA' },
    { ...op.admit(op.factsOf(0), 1).body, node: op.factsOf(0, { address: '224.0.0.1' }) },
  ]
  for (const body of bodies) assert.ok(verifyStatement({ ...config, body } as Statement, op.CLUSTER))
  assert.ok(verifyStatement({ ...config, extra: 1 } as unknown as Statement, op.CLUSTER))
  assert.ok(verifyStatement(null as unknown as Statement, op.CLUSTER))
})

it('a document within its limit whose JSON is too long is refused with what to do', () => {
  assert.throws(() => op.config(1, '', 1, '\n'.repeat(MAX_DOCUMENT_BYTES)), /shorter/)
})

it('a kind of a later version is told apart from garbage', () => {
  const bytes = Buffer.from(canonical({ ...samples[0]!, body: { kind: 'group', atMs: 1 } }))
  try {
    decodeStatement(bytes)
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).cause, UNKNOWN_KIND)
  }
})

it('only who may say something says it', () => {
  const liar = op.identity('liar')
  for (const { body } of samples) {
    assert.ok(
      verifyStatement(signStatement(op.CLUSTER, 'operator', body, liar), op.CLUSTER),
      'as the operator',
    )
    assert.ok(verifyStatement(signStatement(op.CLUSTER, liar.id, body, liar), op.CLUSTER), 'in its own name')
  }
  const evicts = signStatement(
    op.CLUSTER,
    joiner.id,
    { kind: 'remove', id: joiner.id, reason: 'evicted', atMs: 1 },
    joiner,
  )
  assert.match(verifyStatement(evicts, op.CLUSTER) ?? '', /only the operator evicts/)
})

it('a token lets in only whom, where, when and as what it says', () => {
  const facts = op.factsOf(1)
  const refused = (why: RegExp, statement: Statement): void =>
    assert.match(verifyStatement(statement, op.CLUSTER) ?? 'passed', why)
  refused(/places/, op.redeem(issuer, token, 3, joiner, facts, 10))
  refused(/expired/, op.redeem(issuer, token, 1, joiner, facts, 1_000))
  refused(/names may redeem/, op.redeem(op.identity('node 5'), token, 1, joiner, facts, 10))
  refused(/did not sign its facts/, op.redeem(issuer, token, 1, op.identity('node 5'), facts, 10))
  const hosts = { ...token, body: { ...token.body, roles: ['host' as const] } }
  refused(/does not allow/, op.redeem(issuer, hosts, 1, joiner, facts, 10))
  const more = { ...token, body: { ...token.body, uses: 9 } }
  refused(/did not sign the token/, op.redeem(issuer, more, 9, joiner, facts, 10))
  const { proof: _, ...noProof } = byToken.body as Extract<Statement['body'], { kind: 'admit' }>
  refused(/proof.*missing/, signStatement(op.CLUSTER, issuer.id, noProof, issuer))
})

it.run()
