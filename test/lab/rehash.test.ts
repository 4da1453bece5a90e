/**
 * The router's hash changes under running connections, so that all of them come to another forwarder in their middle, while the share of hosts
 * is another one than when they began: no byte is lost (R-G7, decision 6).
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import type { LoadPlan, LoadResult } from '../support/load-client.ts'
import { missingRoot, skip } from '../support/skip.ts'
import {
  assertWhole,
  counters,
  flowsOf,
  grown,
  program,
  startLoad,
  until,
  VIP,
  webFile,
} from '../support/traffic.ts'

const it = suite('rehash')
const CONNECTIONS = 40
const FLIPS = 10
const MB = 1024 * 1024

let lab: Lab
const print = (text: string): void => void process.stdout.write(`\n  ${text}\n`)
const forwarders = (): string[] => lab.forwarders.map(({ name }) => name)
let turned = false
/** With its two ways in the other order, the router throws every flow to the other forwarder. */
const flip = async (): Promise<void> => {
  turned = !turned
  const addresses = lab.forwarders.map(({ address }) => address!)
  await lab.setForwarders(VIP, turned ? addresses.reverse() : addresses)
}
type Found = Record<'own' | 'member' | 'host' | 'nobody', number>
const found = async (before: Awaited<ReturnType<typeof counters>>): Promise<Found> => {
  const after = await counters(lab)
  const of = (name: string): number => grown(before, after, `forwarder_resolved_${name}`, forwarders())
  return { own: of('own_atom'), member: of('member_atom'), host: of('host'), nobody: of('nobody') }
}

it.before(async () => {
  lab = await Lab.up({ name: labName(), mode: 'managed', combine: 'fc', forwarders: 2, hosts: 3 })
})

it.after(async () => {
  await lab?.down(0)
  assert.equal(leftovers(lab?.name ?? 'none'), [])
})

it(`${CONNECTIONS} uploads that wait in their middle go on at their hosts, though a third of those get nothing new by now`, async () => {
  const plan: LoadPlan = {
    ...{ vip: VIP, tag: 'held', concurrency: CONNECTIONS, pauseAtHalf: true, timeoutMs: 120_000 },
    jobs: [{ kind: 'put', count: CONNECTIONS, bytes: MB }],
  }
  const before = await counters(lab)
  const child = lab.spawn(lab.client(), [...program('load-client.ts'), JSON.stringify(plan)])
  const lines = createInterface(child.stdout!)
  assert.equal(await once(lines, 'line'), ['half'])
  const { code, stdout, stderr } = await lab.shunt('f1', ['drain', 'h1', '--yes', '--timeout', '30s'])
  assert.is(code, 0, `${stdout}${stderr}`)
  await flip()
  const ended = once(lines, 'line')
  child.stdin!.write('on\n')
  const result = JSON.parse(((await ended) as [string])[0]) as LoadResult
  assertWhole(lab, result)
  assert.is(result.done, CONNECTIONS)
  assert.ok(result.byHost.h1! > 2, 'the choice would have been wrong for some')
  const how = await found(before)
  print(JSON.stringify(how))
  assert.is(how.nobody, 0)
  assert.ok(how.own + how.member + how.host >= CONNECTIONS)
  assert.ok(how.member >= CONNECTIONS / 2, 'atoms had time enough to be there')
  const origins = (await Promise.all(forwarders().map(name => flowsOf(lab, name)))).flat().map(f => f.origin)
  assert.ok(origins.includes('member-atom'), String(origins))
})

it(`up- and downloads go on while the router changes its mind ${FLIPS} times`, async () => {
  const { path, sha256 } = webFile(lab, '/10m')
  const before = await counters(lab)
  const running = startLoad(lab, lab.client(), {
    concurrency: 16,
    jobs: [
      { kind: 'get', count: 1, path, sha256 },
      { kind: 'put', count: 1, bytes: 4 * MB },
    ],
  })
  let moved = 0
  for (let i = 0; i < FLIPS; i++)
    await until(
      'flows that came to another forwarder',
      async () => {
        await flip()
        const { own, member, host } = await found(before)
        const more = own + member + host > moved
        moved = own + member + host
        return more ? true : undefined
      },
      60_000,
    )
  const result = await running.stop()
  assertWhole(lab, result)
  const how = await found(before)
  print(`${result.done} transfers, ${JSON.stringify(how)}`)
  assert.is(how.nobody, 0)
})

const missing = missingRoot()
if (missing === undefined) it.run()
else skip('rehash', missing)
