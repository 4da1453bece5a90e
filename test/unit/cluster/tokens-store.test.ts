import { chmodSync, chownSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_TOKENS, TOKENS_FILE, TokenStore } from '../../../src/cluster/tokens-store.ts'
import { ShuntError } from '../../../src/errors.ts'
import { Issuer } from '../../support/issuer.ts'

const it = suite('cluster/tokens-store')
const made: Issuer[] = []
const newIssuer = (): Issuer => {
  const issuer = new Issuer()
  made.push(issuer)
  return issuer
}
it.after(() => {
  for (const { stateDir } of made) rmSync(stateDir, { recursive: true })
})
const none: ReadonlySet<number> = new Set()

it('gives each place once, and the same place to the same node, also after a restart', () => {
  const issuer = newIssuer()
  const token = issuer.token({ uses: 2 })
  const id = token.body.token
  issuer.register(token)
  assert.is(issuer.tokens.take(id, 'a', none), 1)
  issuer.reopen()
  assert.is(issuer.tokens.take(id, 'a', none), 1)
  assert.is(issuer.tokens.take(id, 'b', none), 2)
  issuer.reopen()
  assert.is(issuer.tokens.take(id, 'c', none), undefined)
  assert.is(issuer.tokens.take(id, 'b', none), 2)
  assert.is(issuer.tokens.take('unknown', 'a', none), undefined)
  assert.is(statSync(join(issuer.stateDir, TOKENS_FILE)).mode & 0o777, 0o600)
})

it('passes over places that statements show as taken', () => {
  const issuer = newIssuer()
  const token = issuer.token({ uses: 2 })
  issuer.register(token)
  assert.is(issuer.tokens.take(token.body.token, 'a', new Set([1])), 2)
  assert.is(issuer.tokens.take(token.body.token, 'a', new Set([2])), 1)
})

it('refuses what the operator did not sign, what is of another node, and what is late', () => {
  const issuer = newIssuer()
  const other = newIssuer()
  const token = issuer.token()
  const refusals: [() => void, RegExp][] = [
    [() => issuer.register(other.token()), /of the cluster/],
    [() => issuer.register(issuer.token({ issuer: other.signer.id })), /as its issuer/],
    [() => issuer.register({ ...token, body: { ...token.body, uses: 5 } }), /did not sign/],
    [() => issuer.register(issuer.token({ expiresMs: issuer.nowMs })), /expired/],
    [() => issuer.register({ ...token, secret: 'AAAA' }), /32 bytes/],
  ]
  for (const [run, why] of refusals)
    assert.throws(
      run,
      (e: Error) => e instanceof ShuntError && e.code === 'SHUNT_ERR_TOKEN' && why.test(e.message),
    )
  assert.equal(issuer.tokens.outstanding(0), [])
})

it('keeps a bounded number, and forgets those that expired', () => {
  const issuer = newIssuer()
  for (let i = 0; i < MAX_TOKENS; i++) issuer.register(issuer.token())
  assert.throws(() => issuer.register(issuer.token()), /outstanding/)
  issuer.nowMs += 61_000
  issuer.register(issuer.token())
  assert.is(issuer.tokens.outstanding(issuer.nowMs).length, 1)
  assert.is(issuer.reopen().outstanding(0).length, 1)
})

it('says how to go on when its file is damaged', () => {
  const issuer = newIssuer()
  writeFileSync(join(issuer.stateDir, TOKENS_FILE), '{"version":1,', { mode: 0o600 })
  assert.throws(
    () => TokenStore.open(issuer.stateDir, issuer.operator.cluster, issuer.signer.id),
    (e: Error) => e instanceof ShuntError && e.code === 'SHUNT_ERR_STATE' && /shunt restore/.test(e.message),
  )
})

it('what cannot be saved is not taken: neither a token nor a place', () => {
  const issuer = newIssuer()
  const token = issuer.token()
  issuer.register(token)
  const id = token.body.token
  const another = issuer.token()
  const away = `${issuer.stateDir}.away`
  renameSync(issuer.stateDir, away)
  const unsaved = (e: Error): boolean => e instanceof ShuntError && e.code === 'SHUNT_ERR_STATE'
  assert.throws(() => issuer.register(another), unsaved)
  assert.throws(() => issuer.tokens.take(id, 'a', none), unsaved)
  renameSync(away, issuer.stateDir)
  assert.is(issuer.tokens.find(another.body.token), undefined)
  assert.is(issuer.tokens.take(id, 'b', none), 1, 'the place is free')
})

it('trusts no list that others can have written', () => {
  const issuer = newIssuer()
  issuer.register(issuer.token())
  const file = join(issuer.stateDir, TOKENS_FILE)
  for (const mode of [0o666, 0o660, 0o604]) {
    chmodSync(file, mode)
    assert.throws(() => issuer.reopen(), /open to other users.*chmod 600/)
  }
  chmodSync(file, 0o600)
  assert.is(issuer.reopen().outstanding(0).length, 1)
  if (process.geteuid?.() !== 0) return
  chownSync(file, 65_534, 65_534)
  assert.throws(() => issuer.reopen(), /belongs to another user \(65534\).*chown root/)
})

it.run()
