import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import { buildDirectory } from '../../../src/agent/plan.ts'
import { parseDocument, servicesOf } from '../../../src/config/document.ts'
import { diffDocuments, renderChanges } from '../../../src/config/document-diff.ts'
import type { NodeConfig } from '../../../src/config/schema.ts'
import { ShuntError } from '../../../src/errors.ts'
import { Handler, type ServiceChoice } from '../../../src/health/allotment/handler.ts'
import { statesOf } from '../../../src/health/allotment/states.ts'
import { candidate } from '../../support/candidates.ts'

const it = suite('config: affinity (R-C2, R-C7)')

const text = (affinity?: unknown): string =>
  stringify({
    version: 1,
    pools: [{ name: 'web', hosts: [{ name: 'h1' }] }],
    services: [
      {
        ...{ name: 'http', vip: '10.99.0.1', port: 80, protocol: 'tcp', pool: 'web' },
        ...(affinity === undefined ? {} : { affinity }),
      },
    ],
  })
const service = (affinity?: unknown) => servicesOf(parseDocument(text(affinity), 'c.yaml'))[0]!
const faults = (affinity: unknown): string => {
  try {
    parseDocument(text(affinity), 'c.yaml')
  } catch (error) {
    assert.instance(error, ShuntError)
    return (error as ShuntError).message
  }
  return ''
}

it('left out there is none; else what is left out has a default', () => {
  assert.is(service().affinity, undefined)
  assert.equal(service({ by: 'client-address' }).affinity, {
    ...{ by: 'client-address', prefix: 32, prefix6: 64, timeout: 600_000 },
  })
  const all = { by: 'client-address', prefix: 24, prefix6: 48, timeout: 10_000, overload: 90 }
  assert.equal(service(all).affinity, all)
})

it('what cannot be is refused with its place, and what to write instead', () => {
  for (const [affinity, message] of [
    [{}, /services\[0\]\.affinity\.by: is required/],
    ['client-address', /services\[0\]\.affinity: must be a mapping/],
    [{ by: 'cookie' }, /affinity\.by: must be client-address, not the string "cookie"/],
    [{ by: 'client-address', prefix: 0 }, /affinity\.prefix: must be at least 1/],
    [{ by: 'client-address', prefix: 33 }, /affinity\.prefix: must be at most 32/],
    [{ by: 'client-address', prefix6: 129 }, /affinity\.prefix6: must be at most 128/],
    [
      { by: 'client-address', timeout: '10m' },
      /affinity\.timeout: .*in milliseconds, without a unit: 600000/,
    ],
    [{ by: 'client-address', timeout: 9_999 }, /affinity\.timeout: must be at least 10000/],
    [{ by: 'client-address', overload: 0.9 }, /affinity\.overload: /],
    [{ by: 'client-address', overload: 101 }, /affinity\.overload: must be at most 100/],
    [{ by: 'client-address', timeot: 1 }, /affinity\.timeot: unknown key/],
  ] as const)
    assert.match(faults(affinity), message)
})

it('what a change means is shown', () => {
  const change = (before: unknown, after: unknown): string =>
    renderChanges(diffDocuments(parseDocument(text(before), 'a'), parseDocument(text(after), 'b')))
  const by = { by: 'client-address' }
  assert.is(change(by, { ...by, prefix: 32, timeout: 600_000 }), '')
  assert.match(change(by, { ...by, timeout: 60_000 }), /~ service http: affinity\.timeout 600000 -> 60000\n/)
  assert.match(change(undefined, by), /affinity\.by - -> client-address/)
  assert.match(change(by, undefined), /affinity\.by client-address -> -/)
})

it('the packet path is told', () => {
  const config = {
    ...{ node: { name: 'f1' }, roles: ['forwarder', 'classifier'], addresses: { cluster: '10.0.0.1' } },
    peers: [{ name: 'h1', id: 'h1', roles: ['host'], address: '10.0.0.2' }],
  }
  const directory = (affinity?: unknown) =>
    buildDirectory({ ...config, services: [service(affinity)] } as unknown as NodeConfig).services[0]!
  assert.is(directory().affinity, undefined)
  assert.equal(directory({ by: 'client-address', prefix: 24, timeout: 60_000, overload: 80 }).affinity, {
    ...{ prefix: 24, prefix6: 64, timeoutMs: 60_000 },
  })
})

it('a host is full from the threshold of the service on; which is news', () => {
  const full = (fullAt: number | undefined, ...loads: number[]): boolean[] =>
    statesOf(
      loads.map(load => candidate('a', { load })),
      [],
      fullAt,
    ).map(state => state.full === true)
  assert.equal(full(80, 79), [false])
  assert.equal(full(80, 80), [true])
  assert.equal(full(undefined, 100), [false])
  assert.equal(full(80, 90, 10), [false], 'of several rows of one host the least loaded counts')
  assert.equal(full(80, 10, 90), [false])
  assert.equal(full(80, 85, 90), [true])

  const handler = new Handler()
  const choice: ServiceChoice = {
    scheme: 'hash',
    strategy: 'round-robin',
    tokens: undefined,
    duration: 5_000,
    slowStartMs: 0,
    fullAt: 80,
  }
  handler.configure(new Map([['web', choice]]))
  const offer = (load: number) => handler.offer('web', [candidate('a', { load })], 10)
  assert.ok(offer(10))
  // The only host's share is all, whatever its load: nothing changes but that it is full.
  assert.is(offer(79), null)
  assert.is(offer(80)?.states[0]?.full, true)
  assert.is(offer(99), null)
  assert.is(offer(70)?.states[0]?.full, undefined)
  handler.configure(new Map([['web', { ...choice, fullAt: 60 }]]))
  assert.is(offer(70)?.states[0]?.full, true)
})

it.run()
