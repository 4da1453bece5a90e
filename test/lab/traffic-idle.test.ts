/** Flows that say little: time-outs end what is over, and nothing else (R-D4, R-D5). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeConfigInput } from '../../src/config/schema.ts'
import type { HostsData, StatusData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import { RAW_PORT, rawClient, startRaw, withRaw } from '../support/raw.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { counters, flowsOf, grown, until } from '../support/traffic.ts'

const it = suite('traffic-idle')
const TCP_IDLE_MS = 2_000
const LEASE_MS = 1_000
const LINGER_MS = 500
/** Past this the hosts have forgotten the flow as well. */
const SILENCE_MS = TCP_IDLE_MS + LEASE_MS + 1_500
const timeouts = {
  ...{ tcpIdle: TCP_IDLE_MS, routeLease: LEASE_MS, linger: LINGER_MS, quarantine: 4_000 },
  unattended: 0,
}

interface Echo {
  host?: string
  echoed: number
  error: string | null
  waitedMs: number
}

let lab: Lab
const forwarders = (): string[] => lab.forwarders.map(f => f.name)
const rawFlows = async () =>
  (await Promise.all(forwarders().map(f => flowsOf(lab, f))))
    .flat()
    .filter(f => f.vip.endsWith(`:${RAW_PORT}`))
const rawFlowsOver = (): Promise<true> =>
  until('the end of the flows', async () => ((await rawFlows()).length === 0 ? true : undefined))

it.before(async () => {
  const configure = withRaw((config: NodeConfigInput) => {
    config.timeouts = timeouts
    // Nobody but the hosts knows what the forwarder has forgotten.
    for (const service of config.services!) service.sessions = { copies: 'none' }
  })
  lab = await Lab.up({ name: labName(), forwarders: 1, hosts: 3, configure })
  await startRaw(lab)
})

it.after(async () => {
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

it('a slow but active flow outlives the idle time-out and the lease of its route, both ways', async () => {
  const before = await counters(lab)
  const [trickle, echo] = await Promise.all([
    rawClient<{ lines: string[]; error: string | null }>(lab, lab.client(), 'trickle', 200, 40),
    rawClient<Echo>(lab, lab.client(), 'echo', 200, 40),
  ])
  const after = await counters(lab)
  assert.equal(trickle, { lines: Array.from({ length: 40 }, (_, i) => String(i)), error: null })
  assert.is(echo.error, null)
  assert.is(echo.echoed, 40)
  // No packet of it had to be sent again and again.
  assert.ok(echo.waitedMs < 1_000, `an answer took ${echo.waitedMs} ms`)
  assert.is(grown(before, after, 'forwarder_new_flows'), 2)
  const plumbs = grown(before, after, 'forwarder_plumbs')
  const { dataplane } = await lab.api<StatusData>(forwarders()[0]!, '/v1/status')
  // The lease ran out several times, and was renewed by the flow's own packets; XDP renews it where it is.
  if (dataplane.startsWith('xdp')) assert.is(plumbs, 2)
  else assert.ok(plumbs >= 8, `${plumbs} plumbs`)
  assert.ok(grown(before, after, 'kernel_route_hit') > 40)
  await rawFlowsOver()
})

it('a flow that was silent for longer than the idle time-out is adopted when it goes on', async () => {
  const before = await counters(lab)
  const running = rawClient<Echo>(lab, lab.client(), 'echo', SILENCE_MS, 1)
  const [flow] = await until('the flow', async () => {
    const flows = await rawFlows()
    return flows.some(f => f.state === 'established') ? flows : undefined
  })
  await rawFlowsOver() // forgotten while the connection still stands
  const echo = await running
  assert.equal({ ...echo, waitedMs: 0 }, { host: flow!.host, echoed: 1, error: null, waitedMs: 0 })
  const after = await counters(lab)
  assert.is(grown(before, after, 'forwarder_new_flows'), 2)
  assert.is(grown(before, after, 'forwarder_resolved_host'), 1)
  await rawFlowsOver()
})

it('when the host of a forgotten flow is gone the client is told by a reset, and does not hang', async () => {
  const running = rawClient<Echo>(lab, lab.client(), 'echo', SILENCE_MS, 1)
  const [flow] = await until('the flow', async () => {
    const flows = await rawFlows()
    return flows.some(f => f.state === 'established') ? flows : undefined
  })
  await lab.setLink(flow!.host, 'down')
  await until('death of the host', async () => {
    const { hosts } = await lab.api<HostsData>('c1', '/v1/hosts')
    return hosts.find(h => h.name === flow!.host)!.state === 'dead' ? true : undefined
  })
  // The others say at once that it is not theirs; the dead one is waited for.
  const echo = await running
  assert.is(echo.error, 'ECONNRESET')
  assert.is(echo.echoed, 0)
})

if (missingRoot() === undefined) it.run()
else skip('traffic-idle', missingRoot()!)
