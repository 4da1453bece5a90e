import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeToken, encodeToken } from '../../../src/cluster/token.ts'
import { ShuntError } from '../../../src/errors.ts'
import { Issuer, operatorSigner } from '../../support/issuer.ts'

const it = suite('cluster/token')
const issuer = new Issuer()
it.after(() => rmSync(issuer.stateDir, { recursive: true }))
const refusedFor = (why: RegExp) => (error: Error) =>
  error instanceof ShuntError && error.code === 'SHUNT_ERR_TOKEN' && why.test(error.message)

it('comes back whole, with white space around it', () => {
  const token = issuer.token()
  const text = encodeToken(token)
  assert.match(text, /^shunt1\.[\w-]+$/)
  assert.equal(decodeToken(` ${text}\n`, issuer.nowMs), token)
})

it('says what is wrong with one that is cut, altered, foreign or late', () => {
  const token = issuer.token()
  const text = encodeToken(token)
  assert.throws(() => decodeToken('hello', 0), refusedFor(/not a join token/))
  assert.throws(() => decodeToken('', 0), refusedFor(/not a join token/))
  assert.throws(() => decodeToken(text.replace('shunt1.', 'shunt2.'), 0), refusedFor(/another version/))
  assert.throws(() => decodeToken(text.slice(0, -3), 0), refusedFor(/incomplete or was altered/))
  assert.throws(() => decodeToken('shunt1.', 0), refusedFor(/incomplete or was altered/))
  assert.throws(() => decodeToken(`${text}${'A'.repeat(5000)}`, 0), refusedFor(/incomplete or was altered/))
  assert.throws(() => decodeToken(text, token.body.expiresMs), refusedFor(/expired at 20/))
  const forged = encodeToken({ ...token, cluster: operatorSigner().cluster })
  assert.throws(() => decodeToken(forged, 0), refusedFor(/not signed/))
  const wider = encodeToken({ ...token, body: { ...token.body, uses: 1000 } })
  assert.throws(() => decodeToken(wider, 0), refusedFor(/not signed/))
})

it('any one character changed is found', () => {
  const text = encodeToken(issuer.token())
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom(...'AZaz09-_.'), (at, letter) => {
      const changed = text.slice(0, at) + letter + text.slice(at + 1)
      fc.pre(
        Buffer.from(changed.slice(7), 'base64url').compare(Buffer.from(text.slice(7), 'base64url')) !== 0,
      )
      assert.throws(() => decodeToken(changed, 0), refusedFor(/./))
    }),
    { numRuns: 300 },
  )
})

it('one that is well made of nonsense is refused as a token, whatever it says', () => {
  const token = issuer.token()
  const sealed = (json: string): string => {
    const check = createHash('sha256').update(json).digest().subarray(0, 8)
    return `shunt1.${Buffer.concat([Buffer.from(json), check]).toString('base64url')}`
  }
  const signed = (changes: object): string => {
    const made = issuer.token(changes)
    return encodeToken(made)
  }
  const texts = [
    ...['', '{', 'null', '[]', '"x"', '{"body":null}'].map(sealed),
    ...[0, -1, 65_536, 1e9, 1.5].map(port => encodeToken({ ...token, port })),
    ...['', '10.0.0', '::1'].map(address => encodeToken({ ...token, address })),
    ...[-1e300, -1, 8_640_000_000_000_001, 0.5].flatMap(ms => [
      signed({ expiresMs: ms }),
      signed({ issuedMs: ms }),
    ]),
    sealed(JSON.stringify({ ...token, body: { ...token.body, issuedMs: undefined } })),
    sealed(JSON.stringify({ ...token, body: { ...token.body, roles: [{}] } })),
    sealed(JSON.stringify(token).replace('"uses":1', '"uses":1e400')),
  ]
  for (const text of texts) assert.throws(() => decodeToken(text, 0), refusedFor(/make a new one/), text)
})

it.run()
