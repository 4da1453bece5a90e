import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import { arpVips } from '../../../src/config/announce.ts'
import { parseDocument } from '../../../src/config/document.ts'
import { diffDocuments, renderChanges } from '../../../src/config/document-diff.ts'

const it = suite('config: announce (R-A6)')

const document = (...announces: (string | undefined)[]): string =>
  stringify({
    version: 1,
    pools: [{ name: 'web', hosts: [{ name: 'h1' }] }],
    services: announces.map((announce, i) => ({
      ...{ name: `s${i}`, vip: '10.99.0.1', port: 80 + i, protocol: 'tcp', pool: 'web' },
      ...(announce !== undefined && { announce }),
    })),
  })

it('a virtual IP is routed unless it is said', () => {
  assert.equal(arpVips(parseDocument(document(undefined, 'routed'), 'c.yaml').services), [])
  assert.equal(arpVips(parseDocument(document('arp', 'arp'), 'c.yaml').services), ['10.99.0.1'])
})

it('all services of a virtual IP say the same, and nothing else', () => {
  for (const announces of [
    ['arp', undefined],
    ['routed', 'arp'],
    [undefined, 'routed', 'arp'],
  ])
    assert.throws(
      () => parseDocument(document(...announces), 'c.yaml'),
      /services\[[12]\]\.announce: is (arp|routed), but services\[0\] has the same virtual IP 10\.99\.0\.1/,
    )
  assert.throws(() => parseDocument(document('bgp'), 'c.yaml'), /services\[0\]\.announce/)
})

it('a change of it is shown', () => {
  const [before, after] = [document(), document('arp')].map(text => parseDocument(text, 'c.yaml'))
  assert.match(renderChanges(diffDocuments(before!, after!)), /\+ service s0/)
  const changed = diffDocuments(parseDocument(document('routed'), 'c.yaml'), after!)
  assert.is(renderChanges(changed), '~ service s0: announce routed -> arp\n')
})

it.run()
