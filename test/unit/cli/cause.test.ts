/** What stands in the column CAUSE. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { causeText } from '../../../src/cli/cause.ts'
import type { EndpointRow, HostShare, ShareRow } from '../../../src/control/types.ts'
import { HEALTH } from '../../support/fake-view.ts'

const it = suite('cli/cause')

const row = (change: Partial<EndpointRow> = {}): EndpointRow => ({
  ...HEALTH.cache![0]!.rows[0]!,
  ...change,
})
const shares = (...hosts: HostShare[]): ShareRow[] => [{ ...HEALTH.shares![0]!, hosts }]
const share = (host: string, slowStartMs = 0): HostShare => ({ host, percent: 50, slowStartMs })

it('what is used for want of better hosts says so', () => {
  for (const cause of ['health', 'overload'] as const) {
    const held = row({ target: 'draining', current: 'draining', cause })
    assert.is(causeText(held, shares(share('h1'))), `${cause}, used`)
    assert.is(causeText(held, shares(share('h2'))), cause)
    assert.is(causeText(held, null), cause, 'a node that does not choose')
  }
  assert.is(causeText(row({ target: 'draining', cause: 'order' }), shares(share('h1'))), 'order')
})

it('a share that still grows is a slow start', () => {
  assert.is(causeText(row(), shares(share('h1', 10))), 'slow start')
  assert.is(causeText(row(), shares(share('h1'), share('h2', 10))), 'default')
  const { slowStartMs: _, ...older } = share('h1', 10)
  assert.is(causeText(row(), shares(older as HostShare)), 'default', 'an agent that does not say')
})

it.run()
