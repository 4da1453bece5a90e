import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createOperatorKey, identitySigner, loadOperatorKey } from '../../../src/cluster/operator-key.ts'
import { peerOfPublicKey, publicKeyOfPeer, verifyEd25519 } from '../../../src/cluster/peer-key.ts'
import { createIdentity, loadIdentity } from '../../../src/gossip/identity.ts'

const it = suite('keys of statements')
const dir = mkdtempSync(join(tmpdir(), 'shunt-keys-'))
it.after(() => rmSync(dir, { recursive: true }))
const hasCode = (code: string) => (error: Error) => (error as { code?: string }).code === code
const text = new TextEncoder()

it('peer ids and raw keys go both ways', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), raw => {
      assert.equal(publicKeyOfPeer(peerOfPublicKey(raw)), raw)
    }),
  )
})

it('what is not the peer id of an Ed25519 key is refused', () => {
  const id = peerOfPublicKey(new Uint8Array(32).fill(9))
  for (const bad of [
    '',
    id.slice(1),
    `${id}1`,
    `${id.slice(0, -1)}0`,
    `12D3KooW${'z'.repeat(44)}`,
    id.replace('12D3', 'QmD3'),
  ])
    assert.throws(() => publicKeyOfPeer(bad), hasCode('SHUNT_ERR_STATEMENT'))
  assert.throws(() => peerOfPublicKey(new Uint8Array(31)), hasCode('SHUNT_ERR_STATEMENT'))
})

it("a node's identity signs as libp2p knows it", async () => {
  const file = join(dir, 'identity')
  const id = await createIdentity(file)
  const signer = identitySigner(file)
  assert.is(signer.id, id)
  assert.equal(publicKeyOfPeer(id), signer.publicKey)
  const message = text.encode('hello')
  const signature = signer.sign(message)
  assert.ok(await loadIdentity(file).publicKey.verify(message, signature))
  assert.ok(verifyEd25519(signer.publicKey, message, signature))
  assert.not.ok(verifyEd25519(signer.publicKey, text.encode('hullo'), signature))
  assert.not.ok(verifyEd25519(signer.publicKey, message, signature.subarray(1)))
  assert.not.ok(verifyEd25519(new Uint8Array(5), message, signature))
})

it("the operator's key is made once, private, and loads as the same", () => {
  const file = join(dir, 'operator.key')
  const made = createOperatorKey(file)
  assert.is(statSync(file).mode & 0o777, 0o600)
  assert.is(Buffer.from(made.cluster, 'base64url').length, 32)
  const loaded = loadOperatorKey(file)
  assert.is(loaded.cluster, made.cluster)
  assert.ok(verifyEd25519(made.publicKey, text.encode('x'), loaded.sign(text.encode('x'))))
  assert.throws(() => createOperatorKey(file), hasCode('SHUNT_ERR_IDENTITY'))
})

it('missing and damaged key files say what to do', () => {
  const bad = join(dir, 'bad')
  writeFileSync(bad, 'garbage', { mode: 0o600 })
  assert.throws(() => loadOperatorKey(bad), /restore it from a backup/)
  assert.throws(() => identitySigner(bad), /restore/)
  assert.throws(() => loadOperatorKey(join(dir, 'none')), /--operator-key/)
  const open = join(dir, 'open')
  writeFileSync(open, 'garbage', { mode: 0o644 })
  assert.throws(() => loadOperatorKey(open), /chmod 600/)
})

it.run()
