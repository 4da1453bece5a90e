import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type ClusterDocument, parseDocument } from '../../../src/config/document.ts'
import { diffDocuments, renderChanges } from '../../../src/config/document-diff.ts'

const BEFORE = parseDocument(
  `version: 1
pools:
  - { name: web, hosts: [{ name: h1, capacity: 60 }, { name: h2 }] }
  - { name: old, hosts: [{ name: h9 }] }
services:
  - { name: http, vip: 10.99.0.1, port: 80, protocol: tcp, pool: web }
  - { name: gone, vip: 10.99.0.9, port: 99, protocol: udp, pool: old }
timeouts: { tcpIdle: 600000, drain: 5000 }
`,
  'before',
)
const AFTER = parseDocument(
  `version: 1
timeouts: { tcpIdle: 700000, linger: 1000 }
services:
  - { name: dns, vip: 10.99.0.2, port: 53, protocol: udp, pool: new }
  - { name: http, vip: 10.99.0.1, port: 8080, protocol: tcp, pool: new }
pools:
  - { name: new, hosts: [{ name: h4 }] }
  - { name: web, hosts: [{ name: h3 }, { name: h1, capacity: 10 }] }
`,
  'after',
)

const it = suite('config/document-diff')

it('every kind of change, a line each', () => {
  assert.is(
    renderChanges(diffDocuments(BEFORE, AFTER)),
    `~ service http: 10.99.0.1:80/tcp -> 10.99.0.1:8080/tcp, pool web -> new
- service gone: 10.99.0.9:99/udp pool old
+ service dns: 10.99.0.2:53/udp pool new
~ host web/h1: capacity 60 -> 10
- host web/h2: capacity 50
+ host web/h3: capacity 50
- pool old
- host old/h9: capacity 50
+ pool new
+ host new/h4: capacity 50
~ timeout tcpIdle: 600000 -> 700000 ms
- timeout drain: 5000 ms
+ timeout linger: 1000 ms
`,
  )
})

it('no document yet: everything is added; order and spelling change nothing', () => {
  assert.ok(diffDocuments(null, BEFORE).every(c => c.action === 'add'))
  assert.is(diffDocuments(null, BEFORE).length, 2 + 2 + 3 + 2)
  const reversed: ClusterDocument = {
    ...BEFORE,
    pools: BEFORE.pools.toReversed().map(p => ({ ...p, hosts: p.hosts.toReversed() })),
    services: BEFORE.services.toReversed(),
  }
  assert.equal(diffDocuments(BEFORE, reversed), [])
  assert.is(renderChanges([]), '')
})

it('no change if and only if both mean the same, and the other direction mirrors it', () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const unique = { selector: (x: { name: string }) => x.name, maxLength: 3 }
  const doc: fc.Arbitrary<ClusterDocument> = fc.record({
    version: fc.constant(1 as const),
    pools: fc.uniqueArray(
      fc.record({
        name,
        hosts: fc.uniqueArray(fc.record({ name, capacity: fc.integer({ min: 0, max: 2 }) }), unique),
      }),
      unique,
    ),
    services: fc.uniqueArray(
      fc.record({
        name,
        vip: fc.constantFrom('10.0.0.1', '10.0.0.2'),
        port: fc.integer({ min: 1, max: 2 }),
        protocol: fc.constantFrom('tcp' as const, 'udp' as const),
        pool: name,
      }),
      unique,
    ),
    timeouts: fc.record({ drain: fc.integer({ min: 1, max: 2 }) }, { requiredKeys: [] }),
  })
  const normal = (d: ClusterDocument): string => {
    const sort = <T extends { name: string }>(list: readonly T[]): T[] =>
      list.toSorted((x, y) => (x.name < y.name ? -1 : 1))
    return JSON.stringify([
      sort(d.pools).map(p => [p.name, sort(p.hosts).map(h => [h.name, h.capacity])]),
      sort(d.services).map(s => [s.name, s.vip, s.port, s.protocol, s.pool]),
      d.timeouts.drain ?? null,
    ])
  }
  fc.assert(
    fc.property(doc, doc, (a, b) => {
      const there = diffDocuments(a, b)
      assert.is(there.length === 0, normal(a) === normal(b))
      const key = (action: string, kind: string, n: string): string => `${action} ${kind} ${n}`
      const mirror = { add: 'remove', remove: 'add', change: 'change' }
      assert.equal(
        there.map(c => key(mirror[c.action], c.kind, c.name)).sort(),
        diffDocuments(b, a)
          .map(c => key(c.action, c.kind, c.name))
          .sort(),
      )
    }),
  )
})

it.run()
