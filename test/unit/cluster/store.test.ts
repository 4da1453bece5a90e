import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { removeLeftovers } from '../../../src/cluster/replace-file.ts'
import { clusterFile, loadCluster, saveCluster } from '../../../src/cluster/store.ts'
import { ShuntError } from '../../../src/errors.ts'
import { Issuer } from '../../support/issuer.ts'

const it = suite('cluster/store')
const dir = mkdtempSync(join(tmpdir(), 'shunt-store-'))
const issuer = new Issuer()
it.after(() => {
  rmSync(dir, { recursive: true })
  rmSync(issuer.stateDir, { recursive: true })
})
const damaged = (e: Error) =>
  e instanceof ShuntError && e.code === 'SHUNT_ERR_STATE' && /shunt restore/.test(e.message)

it('keeps what it was given, private, and leaves nothing beside it', () => {
  assert.is(loadCluster(dir), null)
  const statements = issuer.ledger.statements()
  saveCluster(dir, issuer.operator.cluster, statements)
  assert.equal(loadCluster(dir), { cluster: issuer.operator.cluster, statements })
  assert.is(statSync(clusterFile(dir)).mode & 0o777, 0o600)
  saveCluster(dir, issuer.operator.cluster, [])
  assert.equal(loadCluster(dir)?.statements, [])
  assert.equal(readdirSync(dir), ['cluster.json'])
})

it('finds every kind of damage', () => {
  saveCluster(dir, issuer.operator.cluster, issuer.ledger.statements())
  const whole = readFileSync(clusterFile(dir), 'utf8')
  for (const text of [
    '',
    whole.slice(0, -20),
    whole.slice(0, whole.length >> 1),
    'null',
    '[]',
    '{"version":1}',
    whole.replace('"name":"f1"', '"name":"f2"'),
    whole.replace(/\n\{.*,\n/, '\n'),
    whole.replace('"kind":"genesis"', '"kind":"nonsense"'),
  ]) {
    writeFileSync(clusterFile(dir), text)
    assert.not.equal(text, whole)
    assert.throws(() => loadCluster(dir), damaged)
  }
  writeFileSync(clusterFile(dir), whole.replace('"version":1', '"version":2'))
  assert.throws(() => loadCluster(dir), /written by a newer shunt/)
})

it('a file that cannot be written leaves the old one', () => {
  assert.throws(
    () => saveCluster(join(dir, 'missing'), issuer.operator.cluster, []),
    (e: Error) => e instanceof ShuntError && e.code === 'SHUNT_ERR_STATE',
  )
})

it('trusts no file that others can have written', () => {
  saveCluster(dir, issuer.operator.cluster, issuer.ledger.statements())
  chmodSync(clusterFile(dir), 0o620)
  assert.throws(() => loadCluster(dir), /open to other users.*chmod 600/)
  chmodSync(clusterFile(dir), 0o600)
  if (process.geteuid?.() !== 0) return
  chownSync(clusterFile(dir), 65_534, 65_534)
  assert.throws(() => loadCluster(dir), /belongs to another user \(65534\)/)
  chownSync(clusterFile(dir), 0, 0)
})

it('removes what a killed writer left, and nothing else', () => {
  saveCluster(dir, issuer.operator.cluster, [])
  for (const name of [
    'cluster.json.0123456789ab.new',
    'cluster.json.0123.new',
    'other.json.0123456789ab.new',
  ])
    writeFileSync(join(dir, name), 'x')
  removeLeftovers(clusterFile(dir))
  assert.equal(readdirSync(dir).sort(), [
    'cluster.json',
    'cluster.json.0123.new',
    'other.json.0123456789ab.new',
  ])
  assert.not.throws(() => removeLeftovers(join(dir, 'missing', 'file')))
})

it.run()
