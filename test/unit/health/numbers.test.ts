/** Host numbers, application identifiers and digests of tables. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { appKey, appType, canonicalApp, compactId } from '../../../src/health/app-id.ts'
import { chunkOf, tableDigests } from '../../../src/health/digest.ts'
import { freeFrom, freeNumber } from '../../../src/health/hash.ts'
import { hostNumbers } from '../../../src/health/host-number.ts'
import { type AppId, CHUNKS, type Row } from '../../../src/health/types.ts'
import { app as anyApp, table } from '../../support/health-messages.ts'

const it = suite('health numbers, identifiers, digests')
const first = (text: string): number => createHash('sha256').update(text).digest().readUInt32BE(0)
const web: AppId = {
  vip: '10.99.0.1',
  port: 80,
  physical: '10.10.0.71',
  physicalPort: 8080,
  protocol: 'tcp',
  specific: '',
}

it('host numbers: by SHA-256 of the id, whatever the order; an id that is there twice counts once', () => {
  const ids = ['12D3KooWb', '12D3KooWa', '12D3KooWc', '12D3KooWa']
  const numbers = hostNumbers(ids)
  assert.is(numbers.size, 3)
  for (const [id, number] of numbers) assert.is(number, first(id))
  const reverse = hostNumbers([...ids].reverse())
  for (const [id, number] of numbers) assert.is(reverse.get(id), number)
})

it('numbers: the next that is free, past the top to 1, never 0', () => {
  const start = first('x')
  assert.is(
    freeNumber('x', number => number === start || number === start + 1),
    start + 2,
  )
  const nearTop = freeFrom(0xffff_fffe, number => number >= 0xffff_fffe)
  assert.is(nearTop, 1)
  const afterZero = freeFrom(0, number => number === 1)
  assert.is(afterZero, 2)
})

it('keys: canonical text; addresses written in another way are the same endpoint', () => {
  assert.is(appKey(web), 'tcp/10.99.0.1:80@10.10.0.71:8080')
  assert.is(appType(web), 'tcp/10.99.0.1:80')
  const pattern = { ...web, specific: '/shop/*' }
  assert.is(appKey(pattern), 'tcp/10.99.0.1:80@10.10.0.71:8080//shop/*')
  assert.is(appType(pattern), 'tcp/10.99.0.1:80//shop/*')
  const six: AppId = { ...web, vip: 'FD00:0::1', physical: 'fd00::0:2', protocol: 'udp' }
  assert.is(appKey(six), 'udp/[fd00::1]:80@[fd00::2]:8080')
  assert.equal(canonicalApp(six), { ...six, vip: 'fd00::1', physical: 'fd00::2' })
  assert.is(appKey(canonicalApp(six)), appKey(six))
  assert.throws(() => appKey({ ...web, vip: 'localhost' }), /not an IP address/)
})

it('property: endpoints that differ have keys that differ', () => {
  fc.assert(
    fc.property(anyApp, anyApp, (a, b) => {
      assert.is(appKey(a) === appKey(b), JSON.stringify(a) === JSON.stringify(b))
    }),
  )
})

it('compact ids: from the key, skipping those that are taken', () => {
  const id = compactId(web, () => false)
  assert.is(id, first(appKey(web)))
  assert.is(
    compactId(web, taken => taken === id),
    id + 1,
  )
})

it('digests: what changes a row changes the digest of its chunk, and no other', () => {
  const state = {
    health: 'healthy',
    load: 5,
    capacity: 9,
    target: 'active',
    current: 'active',
    cause: 'default',
  } as const
  const row = (id: number): Row => ({ ...state, id, app: web })
  assert.equal(tableDigests([]), new Array(CHUNKS).fill(0))
  const rows = [row(0x11), row(0x21), row(0x32)]
  const digests = tableDigests(rows)
  assert.equal(
    digests.map(digest => digest !== 0),
    Array.from({ length: CHUNKS }, (_, index) => index === 1 || index === 2),
  )
  assert.equal(tableDigests(new Set([...rows].reverse())), digests, 'in whatever order')
  const changes: Row[] = [
    { ...row(0x11), load: 6 },
    { ...row(0x11), capacity: 8 },
    { ...row(0x11), health: 'failing' },
    { ...row(0x11), target: 'draining' },
    { ...row(0x11), current: 'draining' },
    { ...row(0x11), cause: 'order' },
    { ...row(0x31) },
    { ...row(0x11), app: { ...web, specific: 'x' } },
    { ...row(0x11), app: { ...web, port: 81 } },
  ]
  for (const change of changes) {
    const changed = tableDigests([change, rows[1]!, rows[2]!])
    assert.is.not(changed[1], digests[1], JSON.stringify(change))
    assert.is(changed[2], digests[2])
  }
})

it('property: a table and a part of it differ in just the chunks that lack rows', () => {
  fc.assert(
    fc.property(table(30), fc.nat(29), (rows, at) => {
      const without = rows.filter((_, index) => index !== at)
      const [all, part] = [tableDigests(rows), tableDigests(without)]
      for (let index = 0; index < CHUNKS; index++)
        assert.is(all[index] !== part[index], at < rows.length && chunkOf(rows[at]!.id) === index)
    }),
  )
})

it.run()
