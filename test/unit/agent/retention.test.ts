import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Retention, retain, retentionEndMs } from '../../../src/agent/cluster/retention.ts'
import type { ClusterView, Departed, Member } from '../../../src/cluster/types.ts'
import type { Role } from '../../../src/config/schema.ts'

const it = suite('retention')

const member = (name: string, ...roles: Role[]): Member => ({
  id: `id-${name}`,
  name,
  address: '10.0.0.1',
  roles,
  joinedMs: 0,
  rolesRevision: 0,
  directives: [],
})
const view = (members: Member[], departed: Departed[] = []): ClusterView => ({
  cluster: 'c',
  name: 'c',
  choiceSeed: new Uint8Array(32),
  controlPort: 1,
  mappingPort: 2,
  members,
  departed,
  conflicts: [],
  secrets: [],
  revisions: [],
  document: null,
})
const gone = (name: string, reason: Departed['reason']): Departed => ({
  id: `id-${name}`,
  name,
  reason,
  atMs: 0,
})
const kept = (retention: Retention): string =>
  [...retention.values()]
    .map(({ member: { name }, roles, untilMs }) => `${name} ${roles.join('+')} until ${untilMs}`)
    .join('; ')
const NONE: Retention = new Map()

it('nothing is kept while nothing is lost, nor at the start', () => {
  const now = view([member('h1', 'host'), member('c1', 'classifier')])
  assert.is(kept(retain(NONE, null, now, 10_000, 0)), '')
  assert.is(kept(retain(NONE, now, now, 10_000, 0)), '')
})

it('a host that left, and roles that carry flows, are kept for the drain time; a classifier is not', () => {
  const before = view([
    member('h1', 'host'),
    member('f1', 'forwarder', 'classifier'),
    member('c1', 'classifier'),
  ])
  const after = view([member('f1', 'classifier')], [gone('h1', 'left'), gone('c1', 'left')])
  const now = retain(NONE, before, after, 10_000, 500)
  assert.is(kept(now), 'h1 host until 10500; f1 forwarder until 10500')
  assert.is(retentionEndMs(now), 10_500)
  assert.is(kept(retain(now, after, after, 10_000, 10_499)), kept(now))
  assert.is(kept(retain(now, after, after, 10_000, 10_500)), '')
})

it('an evicted member is forgotten at once, also one that was leaving', () => {
  const before = view([member('h1', 'host'), member('h2', 'host')])
  const left = view([member('h2', 'host')], [gone('h1', 'left')])
  const leaving = retain(NONE, before, left, 10_000, 0)
  assert.is(kept(leaving), 'h1 host until 10000')
  const evicted = view([], [gone('h1', 'evicted'), gone('h2', 'evicted')])
  assert.is(kept(retain(leaving, left, evicted, 10_000, 1)), '')
})

it('a role that comes back is no longer kept; a second loss counts anew', () => {
  const host = view([member('h1', 'host')])
  const none = view([member('h1')])
  const lost = retain(NONE, host, none, 10_000, 0)
  assert.is(kept(lost), 'h1 host until 10000')
  const back = retain(lost, none, host, 10_000, 1000)
  assert.is(kept(back), '')
  assert.is(kept(retain(back, host, none, 10_000, 2000)), 'h1 host until 12000')
})

it.run()
