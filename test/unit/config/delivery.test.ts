import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parse, stringify } from 'yaml'
import { parseDocument, servicesOf } from '../../../src/config/document.ts'
import { diffDocuments, renderChanges } from '../../../src/config/document-diff.ts'
import { endpointOf } from '../../../src/config/service-endpoint.ts'
import { ShuntError } from '../../../src/errors.ts'

const it = suite('config: delivery (R-A4) and endpoints (R-B1)')

const GOOD = {
  version: 1,
  pools: [{ name: 'web', hosts: [{ name: 'h1' }, { name: 'h2' }] as object[] }] as object[],
  services: [{ name: 'http', vip: '10.99.0.1', port: 80, protocol: 'tcp', pool: 'web' }] as object[],
}
const withPool = (more: object): string => stringify({ ...GOOD, pools: [{ ...GOOD.pools[0], ...more }] })
const withService = (more: object, pool: object = {}): string =>
  stringify({ ...parse(withPool(pool)), services: [{ ...GOOD.services[0], ...more }] })
const faults = (text: string): string => {
  try {
    parseDocument(text, 'c.yaml')
  } catch (error) {
    assert.instance(error, ShuntError)
    return (error as ShuntError).message
  }
  return ''
}

it('delivery is of a pool, and so of its services; tunnel unless it is said', () => {
  const service = (text: string) => servicesOf(parseDocument(text, 'c.yaml'))[0]!
  assert.is(service(withPool({})).delivery, undefined)
  for (const delivery of ['tunnel', 'encapsulate'] as const)
    assert.is(service(withPool({ delivery })).delivery, delivery)
  for (const delivery of ['', 'nat', 'Encapsulate', 4, null, ['tunnel'], { tunnel: true }])
    assert.match(
      faults(withPool({ delivery })),
      /^c\.yaml:\d+:\d+ pools\[0\]\.delivery: /,
      JSON.stringify(delivery),
    )
  assert.match(faults(withService({ delivery: 'tunnel' })), /services\[0\].*delivery/)
})

it('an endpoint says where the application listens: of the service, or else of the host', () => {
  const own = { cluster: '10.0.0.5', cluster6: 'fd00::5' }
  const at = (text: string) => endpointOf(servicesOf(parseDocument(text, 'c.yaml'))[0]!, 'h1', own)
  assert.is(at(withService({})), null)
  assert.equal(at(withService({ endpoint: { port: 8080 } })), { address: '10.0.0.5', port: 8080 })
  assert.equal(at(withService({ endpoint: { address: '127.0.0.1' } })), { address: '127.0.0.1', port: 80 })
  const hosts = [{ name: 'h1', address: '10.0.0.77' }, { name: 'h2' }]
  assert.equal(at(withService({ endpoint: { address: '127.0.0.1', port: 1 } }, { hosts })), {
    address: '10.0.0.77',
    port: 1,
  })
  assert.is(at(withService({}, { hosts })), null)
  const six = withService({ vip: '2001:db8::80', endpoint: { port: 8080 } })
  assert.equal(at(six), { address: 'fd00::5', port: 8080 })
})

it('what cannot be is refused with its place', () => {
  for (const [endpoint, text] of [
    [{}, /services\[0\]\.endpoint: is empty/],
    [{ port: 0 }, /endpoint\.port/],
    [{ port: 65_536 }, /endpoint\.port/],
    [{ port: 80.5 }, /endpoint\.port/],
    [{ port: '80' }, /endpoint\.port/],
    [{ address: 'localhost' }, /endpoint\.address: must be an IP address/],
    [{ address: '' }, /endpoint\.address/],
    [{ address: '0.0.0.0' }, /endpoint\.address: 0\.0\.0\.0 is not an address of one machine/],
    [{ address: '224.0.0.1' }, /not an address of one machine/],
    [{ address: '::1' }, /not of the family/],
    [{ address: 'fe80::1%eth0' }, /must be an IP address/],
    [{ address: '10.0.0.1/24' }, /must be an IP address/],
    [{ address: '127.0.0.1', host: 'x' }, /endpoint.*host/],
    ['127.0.0.1:8080', /endpoint/],
    [null, /endpoint/],
  ] as const)
    assert.match(faults(withService({ endpoint })), text, JSON.stringify(endpoint))
  assert.match(
    faults(withService({ protocol: 'udp', endpoint: { port: 53 } })),
    /endpoint: is only for TCP; let the UDP application listen/,
  )
  assert.match(
    faults(withService({ vip: '2001:db8::80', endpoint: { address: '::' } })),
    /not an address of one machine/,
  )
  const hosts = [{ name: 'h1', address: '::1' }, { name: 'h2' }]
  assert.match(
    faults(withService({ endpoint: { port: 1 } }, { hosts })),
    /pools\[0\]\.hosts\[0\]\.address: ::1 is not of the family/,
  )
})

it('what a change of them means is shown', () => {
  const change = (before: string, after: string): string =>
    renderChanges(diffDocuments(parseDocument(before, 'a'), parseDocument(after, 'b')))
  assert.is(
    change(withPool({}), withPool({ delivery: 'encapsulate' })),
    '~ pool web: delivery tunnel -> encapsulate\n',
  )
  assert.is(change(withPool({}), withPool({ delivery: 'tunnel' })), '')
  assert.is(
    change(withService({}), withService({ endpoint: { port: 8080 } })),
    '~ service http: endpoint - -> own address:8080\n',
  )
  assert.is(
    change(
      withService({ endpoint: { port: 8080 } }),
      withService({ endpoint: { address: '127.0.0.1', port: 8080 } }),
    ),
    '~ service http: endpoint own address:8080 -> 127.0.0.1:8080\n',
  )
  const hosts = [{ name: 'h1', address: '10.0.0.7' }, { name: 'h2' }]
  assert.is(change(withPool({}), withPool({ hosts })), '~ host web/h1: address - -> 10.0.0.7\n')
})

it.run()
