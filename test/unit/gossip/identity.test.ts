import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../../src/errors.ts'
import {
  createIdentity,
  createSecret,
  peerIdOf,
  readIdentity,
  readSecret,
} from '../../../src/gossip/identity.ts'

const it = suite<{ dir: string }>('gossip identity')
it.before.each(context => {
  context.dir = mkdtempSync(join(tmpdir(), 'shunt-identity-'))
})
it.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }))

const failure = async (call: () => unknown): Promise<string> => {
  try {
    await call()
  } catch (error) {
    assert.ok(error instanceof ShuntError && error.code === 'SHUNT_ERR_IDENTITY', String(error))
    return (error as Error).message
  }
  assert.unreachable('it did not fail')
  return ''
}
const put = (file: string, content: string | Uint8Array, mode = 0o600): string => {
  writeFileSync(file, content)
  chmodSync(file, mode)
  return file
}

it('an identity is made once, private, and read back with the same peer id', async ({ dir }) => {
  const file = join(dir, 'identity.key')
  const id = await createIdentity(file)
  assert.match(id, /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/)
  assert.is(statSync(file).mode & 0o777, 0o600)
  assert.is(await peerIdOf(file), id)
  assert.is((await readIdentity(file)).type, 'Ed25519')
  const before = readFileSync(file)
  assert.match(await failure(() => createIdentity(file)), /exists and is not overwritten/)
  assert.equal(readFileSync(file), before)
  assert.equal(readdirSync(dir), ['identity.key'], 'nothing else is left behind')
  assert.is.not(await createIdentity(join(dir, 'second.key')), id)
})

it('an identity that is missing, damaged, of another kind or open to others is refused', async ({ dir }) => {
  const file = join(dir, 'identity.key')
  assert.match(await failure(() => readIdentity(file)), /does not exist; make it with shunt keygen/)
  assert.match(await failure(() => createIdentity(join(dir, 'no', 'such'))), /directory does not exist/)
  await createIdentity(file)
  const good = readFileSync(file)
  for (const [name, bytes] of [
    ['empty', new Uint8Array(0)],
    ['cut', good.subarray(0, good.length - 1)],
    ['text', 'hello'],
  ] as const)
    assert.match(await failure(() => readIdentity(put(join(dir, name), bytes))), /is damaged/, name)
  assert.match(await failure(() => readIdentity(put(join(dir, 'long'), new Uint8Array(5000)))), /too long/)
  const odd = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
  assert.match(await failure(() => readIdentity(put(join(dir, 'odd'), odd))), /type secp256k1, not Ed25519/)
  for (const mode of [0o604, 0o620]) {
    chmodSync(file, mode)
    assert.match(await failure(() => peerIdOf(file)), /chmod 600/)
  }
  chmodSync(file, 0o640)
  await peerIdOf(file)
})

it('a secret is 32 random bytes in a private base64 line, made once', async ({ dir }) => {
  const file = join(dir, 'cluster.secret')
  createSecret(file)
  assert.is(statSync(file).mode & 0o777, 0o600)
  assert.match(readFileSync(file, 'latin1'), /^[A-Za-z0-9+/]{43}=\n$/)
  const secret = readSecret(file)
  assert.is(secret.length, 32)
  assert.match(await failure(() => createSecret(file)), /not overwritten/)
  assert.equal(readSecret(file), secret)
  createSecret(join(dir, 'second'))
  assert.not.equal(readSecret(join(dir, 'second')), secret)
})

it('a secret of another size or form is refused', async ({ dir }) => {
  const text = Buffer.alloc(32, 7).toString('base64')
  assert.equal(readSecret(put(join(dir, 'good'), `${text}\r\n`)), new Uint8Array(32).fill(7))
  for (const [name, content] of [
    ['empty', ''],
    ['short', Buffer.alloc(31).toString('base64')],
    ['long', Buffer.alloc(33).toString('base64')],
    ['raw', new Uint8Array(32)],
    ['noise', `!${text}`],
    ['two', `${text}\n${text}\n`],
  ] as const)
    assert.match(
      await failure(() => readSecret(put(join(dir, name), content))),
      /not 32 bytes in one base64 line/,
      name,
    )
  assert.match(await failure(() => readSecret(put(join(dir, 'open'), text, 0o644))), /chmod 600/)
  assert.match(await failure(() => readSecret(join(dir, 'missing'))), /does not exist/)
})

it.run()
