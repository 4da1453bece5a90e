import { rmSync } from 'node:fs'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answerList } from '../../../src/cluster/join-answer.ts'
import { decodeAnswer, encodeMessage } from '../../../src/cluster/join-messages.ts'
import {
  agree,
  answerKey,
  channelKey,
  decodeList,
  encodeList,
  ephemeral,
  LENGTH_BYTES,
  MAX_ANSWER_BYTES,
  openRecord,
  recordLength,
  sealRecord,
} from '../../../src/cluster/join-wire.ts'
import { decodeStatement } from '../../../src/cluster/statement.ts'
import type { Statement } from '../../../src/cluster/types.ts'
import { Issuer } from '../../support/issuer.ts'

const it = suite('cluster/join-wire')
const bytes = (value: number): Uint8Array => new Uint8Array(32).fill(value)
/** Computed apart from this code. */
const GOLDEN = '00000015b7ba3d9698d522b85109fac93d719c1dfb15ed93a6'
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

it('a record has these bytes', () => {
  const key = channelKey(bytes(1), bytes(2), bytes(3))
  const record = sealRecord(key, 0, 0, Buffer.from('hello'))
  assert.is(hex(record), GOLDEN)
  assert.is(recordLength(record.subarray(0, LENGTH_BYTES), 100), record.length - LENGTH_BYTES)
  assert.is(Buffer.from(openRecord(key, 0, 0, record.subarray(LENGTH_BYTES))).toString(), 'hello')
})

it('a record opens only with its key, direction and number, unaltered', () => {
  const key = channelKey(bytes(1), bytes(2), bytes(3))
  const record = sealRecord(key, 1, 7, Buffer.from('hello')).subarray(LENGTH_BYTES)
  assert.throws(() => openRecord(key, 0, 7, record), /another key/)
  assert.throws(() => openRecord(key, 1, 8, record), /another key/)
  assert.throws(() => openRecord(channelKey(bytes(1), bytes(3), bytes(2)), 1, 7, record), /another key/)
  for (let at = 0; at < record.length; at++) {
    const altered = Buffer.from(record)
    altered[at]! ^= 1
    assert.throws(() => openRecord(key, 1, 7, altered), /altered/)
  }
  for (const length of [0, 15, 101]) {
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32BE(length)
    assert.throws(() => recordLength(prefix, 100), /a record of/)
  }
})

it('both ends agree on the key of the answer, and a third does not', () => {
  const [a, b, c] = [ephemeral(bytes(1)), ephemeral(bytes(2)), ephemeral(bytes(3))]
  const keyOf = (shared: Uint8Array): string => hex(answerKey(bytes(9), shared, bytes(4), bytes(5)))
  assert.is(keyOf(agree(a, b.publicKey)), keyOf(agree(b, a.publicKey)))
  assert.is.not(keyOf(agree(c, b.publicKey)), keyOf(agree(a, b.publicKey)))
  // A point of low order would make the secret known to everybody.
  assert.throws(() => agree(a, bytes(0)), /a key that is none/)
  assert.throws(() => agree(a, new Uint8Array(31)), /a key of 31 bytes/)
})

it('a list comes back, and one that is cut or padded is refused', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), entries => {
      const list = encodeList(entries)
      assert.equal(decodeList(list).map(hex), entries.map(hex))
      for (let end = 0; end < list.length; end++) assert.throws(() => decodeList(list.subarray(0, end)))
      assert.throws(() => decodeList(Buffer.concat([list, Buffer.alloc(1)])), /bytes after the list/)
    }),
    { numRuns: 50 },
  )
  assert.throws(() => decodeList(Buffer.from([0, 0, 0x20, 1])), /a list of 8193 statements/)
})

it('an answer that is too long leaves the oldest documents out, and nothing else', () => {
  const issuer = new Issuer()
  rmSync(issuer.stateDir, { recursive: true })
  const first = issuer.ledger.statements()
  const config = (revision: number): Statement => ({
    ...first[0]!,
    body: { kind: 'config', revision, parent: '', text: 'x'.repeat(130_000), note: '', atMs: 1 },
  })
  const all = [...Array.from({ length: 100 }, (_, i) => config(i + 1)), ...first]
  const list = answerList(all)
  assert.ok(list.length <= MAX_ANSWER_BYTES - 16)
  const sent = decodeList(list).map(decodeStatement)
  const revisions = sent.flatMap(({ body }) => (body.kind === 'config' ? [body.revision] : []))
  assert.is(sent.length - revisions.length, 3)
  assert.is(revisions[0], 100)
  assert.is(revisions.at(-1), 101 - revisions.length)
  assert.ok(revisions.length > 60)
})

it('text of the other machine cannot move the cursor', () => {
  const answer = decodeAnswer(
    encodeMessage({ error: { code: 'SHUNT_ERR_TOKEN', message: 'no\x1b[2J\nreally' } }),
  )
  assert.equal(answer, { error: { code: 'SHUNT_ERR_TOKEN', message: 'no [2J really' } })
  const strange = Buffer.from('{"error":{"code":"SHUNT_ERR_NEW","message":"m"}}')
  assert.equal(decodeAnswer(strange), { error: { code: 'SHUNT_ERR_TOKEN', message: 'm' } })
  for (const text of ['', '{}', '{"x25519":"short"}', '[1]'])
    assert.throws(() => decodeAnswer(Buffer.from(text)))
})

it.run()
