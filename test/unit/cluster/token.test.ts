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

it.run()
