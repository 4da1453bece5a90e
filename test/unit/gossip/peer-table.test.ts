import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerConfig } from '../../../src/config/schema.ts'
import { MAX_VERSION } from '../../../src/gossip/frames.ts'
import { negotiated, refusalOf, VERSIONS } from '../../../src/gossip/greeting.ts'
import { PeerTable } from '../../../src/gossip/peer-table.ts'

const it = suite('gossip peers that come and go')
const peer = (id: string, changes: Partial<PeerConfig> = {}): PeerConfig => ({
  name: `n-${id}`,
  id,
  roles: ['host'],
  address: `10.0.0.${id.length}`,
  ...changes,
})
const ids = (peers: { config: PeerConfig }[]) => peers.map(({ config }) => config.id)

it('says who came, who went, and what changed of the others, and keeps what it holds of them', () => {
  const table = new PeerTable('m')
  const first = table.replace([peer('a'), peer('bb'), peer('m'), peer('ccc')], 0)
  assert.equal(ids(first.added), ['a', 'bb', 'ccc'], 'not ourselves')
  const [a, b, c] = table.all()
  b!.epoch = 5
  const { added, removed, moved, renamed, changed } = table.replace(
    [peer('bb', { roles: ['forwarder'] }), peer('ccc', { name: 'n-a', address: '10.0.0.9' }), peer('d')],
    1,
  )
  assert.equal([ids(added), ids(removed), ids(moved), ids(changed)], [['d'], ['a'], ['ccc'], ['bb', 'ccc']])
  assert.equal(
    renamed.map(({ peer: { config }, before }) => [before.name, config.name]),
    [['n-ccc', 'n-a']],
  )
  assert.is(table.get('bb'), b)
  assert.is(b!.epoch, 5)
  assert.is(table.named('n-a'), c, 'the name of one that went is free')
  assert.is(table.named('n-ccc'), undefined)
  assert.not(table.holds(a!))
  table.replace([peer('a')], 2)
  assert.not(table.holds(a!), 'one that comes back is another')
  assert.ok(table.has('a'))
})

it('the same again, in another order, changes nothing; names may be swapped', () => {
  const table = new PeerTable('m')
  table.replace([peer('a', { roles: ['host', 'classifier'] }), peer('bb')], 0)
  const same = table.replace([peer('bb'), peer('a', { roles: ['classifier', 'host'] })], 0)
  assert.equal(same, { added: [], removed: [], moved: [], renamed: [], changed: [] })
  table.replace([peer('a', { name: 'n-bb' }), peer('bb', { name: 'n-a' })], 0)
  assert.equal([table.named('n-bb')?.config.id, table.named('n-a')?.config.id], ['a', 'bb'])
})

it('greeting: in a managed cluster roles are not compared, names are; versions agree on the highest that both speak', () => {
  const hello = { minVersion: 1, maxVersion: 9, name: 'h1', roles: 7, epoch: 0 }
  const known = { name: 'h1', roles: ['host' as const] }
  const rules = { versions: VERSIONS, checkRoles: false }
  assert.is(refusalOf(hello, known, rules), undefined)
  assert.match(refusalOf({ ...hello, name: 'h2' }, known, rules)!, /calls itself h2: correct node.name there/)
  assert.match(
    refusalOf({ ...hello, maxVersion: 2 }, known, { versions: { min: 3, max: 3 }, checkRoles: false })!,
    /this node 3 to 3: upgrade/,
  )
  assert.is(negotiated(VERSIONS, hello), MAX_VERSION)
  assert.is(negotiated(VERSIONS, { ...hello, maxVersion: 1 }), 1)
})

it.run()
