import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { absentRows, knownTables } from '../../../src/agent/health/absent.ts'
import { rowFacts } from '../../../src/agent/health/row-facts.ts'
import type { DirectiveOrder } from '../../../src/cluster/types.ts'
import type { NodeConfig } from '../../../src/config/schema.ts'
import type { Row } from '../../../src/health/types.ts'
import type { CachedHost } from '../../../src/health/unit/types.ts'

const it = suite('agent/health/absent')

const host = (name: string, capacity = 50) => ({ name, capacity })
const config = {
  node: { name: 'f1' },
  services: [
    { name: 'web', vip: '10.99.0.1', port: 80, protocol: 'tcp', hosts: [host('h1'), host('h2'), host('f1')] },
    { name: 'dns', vip: '10.99.0.1', port: 53, protocol: 'udp', hosts: [host('h1', 0)] },
  ],
} as unknown as NodeConfig
const row = (port: number, more: Partial<Row> = {}): Row => ({
  ...{ id: port, health: 'healthy', load: 0, capacity: 50 },
  ...{ target: 'active', current: 'active', cause: 'default' },
  app: {
    ...{ vip: '10.99.0.1', port, physical: '10.0.0.1', physicalPort: port, specific: '' },
    protocol: port === 53 ? 'udp' : 'tcp',
  },
  ...more,
})
const cached = (name: string, rows: Row[], more: Partial<CachedHost> = {}): CachedHost => {
  const version = { instance: 1, generation: 1 }
  return {
    name,
    host: 1,
    version,
    inForce: version,
    leaseUntilMs: 2_000,
    via: null,
    rows,
    dnsName: '',
    ...more,
  }
}
const NONE: readonly DirectiveOrder[] = []
const absent = (
  own: Row[] | null,
  hosts: CachedHost[],
  leaving: string[] = [],
  orders = (_: string) => NONE,
) => absentRows(config, knownTables(config, own, hosts, 1_000), new Set(leaving), orders)
const names = (rows: ReturnType<typeof absent>): string[] =>
  rows.map(({ service, host: at }) => `${service} ${at}`)

it('what the document asks of a host whose table is known, and has no row of', () => {
  assert.equal(absent(null, [cached('h1', [row(53)]), cached('h2', [row(80)])]), [
    { host: 'h1', service: 'web', vip: '10.99.0.1:80', protocol: 'tcp', capacity: 50, order: null },
  ])
  assert.equal(names(absent([], [cached('h1', [row(53), row(80)])])), ['web f1'], 'its own too')
  assert.equal(names(absent([row(80)], [cached('f1', [])])), [], 'by its own table, not by the cache of it')
})

it('a row at another port, or of another service, does not count', () => {
  const elsewhere = row(80, { app: { ...row(80).app, physicalPort: 8080 } })
  assert.equal(names(absent(null, [cached('h2', [elsewhere, row(443)])])), ['web h2'])
})

it('a host that is out of touch, unheard of or on its way out is not said to lack anything', () => {
  assert.equal(names(absent(null, [cached('h2', [], { leaseUntilMs: 1_000 })])), [])
  assert.equal(names(absent(null, [cached('h2', [], { version: null })])), [])
  assert.equal(names(absent(null, [cached('h2', [])], ['h2'])), [])
  assert.equal(names(absent(null, [])), [])
})

it("the operator's order for it goes with it, the stricter one", () => {
  const order = (app: string, state: DirectiveOrder['state']): DirectiveOrder => ({ app, state, revision: 1 })
  const of = (...orders: DirectiveOrder[]) =>
    absent(null, [cached('h2', [])], [], name => (name === 'h2' ? orders : NONE))[0]!.order
  assert.is(of(), null)
  assert.is(of(order('*', 'active'), order('dns', 'inactive')), null)
  assert.is(of(order('*', 'draining'), order('web', 'active')), 'draining')
  assert.is(of(order('*', 'draining'), order('web', 'inactive')), 'inactive')
})

const facts = (own: Row[] | null, hosts: CachedHost[], mode: 'panic' | 'overload' | null = null) => {
  const tables = knownTables(config, own, hosts, 1_000)
  const followed = (service: string) =>
    service === 'web'
      ? {
          states: [{ host: 'h1', state: 'active' as const, weight: 1 }],
          panic: mode === 'panic',
          overload: mode === 'overload',
        }
      : null
  return rowFacts(
    'f1',
    tables,
    absentRows(config, tables, new Set(), () => NONE),
    followed,
    () => 'it listens',
  )
}
const words = (all: ReturnType<typeof facts>): string[] =>
  all.map(({ of, service, host: at, word }) => `${of} ${service} ${at} ${word}`)

it('a node tells of its own applications why, and leaves its directives to its table', () => {
  const all = facts(
    [row(80, { target: 'draining', current: 'draining', cause: 'order' })],
    [cached('f1', [])],
  )
  assert.equal(all, [
    { host: 'f1', service: 'web', of: 'app', word: 'well', missed: true, why: 'it listens' },
  ])
})

it('of others what this unit follows: by overload and by order as such, the rest is told by other events', () => {
  const drains = (cause: Row['cause'], more: Partial<Row> = {}): string[] =>
    words(facts(null, [cached('h2', [row(80, { target: 'draining', current: 'draining', cause, ...more })])]))
  assert.equal(drains('overload'), ['app web h2 well', 'directive web h2 overload'])
  assert.equal(drains('order'), ['app web h2 well', 'directive web h2 draining'])
  assert.equal(drains('stopping'), ['app web h2 well'])
  assert.equal(drains('default'), ['app web h2 well'])
  const failing = { health: 'failing', current: 'inactive', target: 'inactive' } as const
  assert.equal(drains('health', failing), ['app web h2 failing', 'directive web h2 health'])
  // Used all the same: no host is better off.
  const used = (cause: Row['cause'], mode: Parameters<typeof facts>[2]): string => {
    const held = row(80, { target: 'draining', current: 'draining', cause })
    return words(facts(null, [cached('h1', [held, row(53)])], mode))[1]!
  }
  assert.is(used('overload', 'overload'), 'directive web h1 overload-used')
  assert.is(used('health', 'panic'), 'directive web h1 health-used')
  // What is followed is not yet what the row says.
  for (const cause of ['overload', 'health', 'order'] as const)
    assert.is(used(cause, null), 'directive web h1 active')
})

it('nobody misses what has no capacity', () => {
  const all = facts(null, [cached('h1', [row(80)])])
  assert.equal(
    all.filter(({ of, word }) => of === 'app' && word === 'absent'),
    [{ host: 'h1', service: 'dns', of: 'app', word: 'absent', why: '', missed: false }],
  )
})

it.run()
