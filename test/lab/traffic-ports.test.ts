/** Many clients on the same source ports: flow identifiers never lead one client's bytes to another (R-E8, decision 2). */
// test-beside-others
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeConfigInput } from '../../src/config/schema.ts'
import type { FlowStatus } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import type { LoadResult } from '../support/load-client.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, counters, flowsOf, grown, load, program, VIP, withLab } from '../support/traffic.ts'

const it = suite('traffic-ports')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const PORT = 40_000

/** Addresses of many clients on one machine of the client side. */
const manyAddresses = async (lab: Lab, count: number): Promise<string[]> => {
  const addresses = Array.from({ length: count }, (_, i) => `10.20.${8 + (i >> 7)}.${1 + (i & 127)}`)
  const input = addresses.map(a => `addr add ${a}/32 dev eth0\n`).join('')
  const added = await lab.exec(lab.client(), ['ip', '-batch', '-'], { input })
  assert.is(added.code, 0, added.stderr)
  const route = ['ip', 'route', 'add', '10.20.8.0/21', 'via', lab.place(lab.client()).address!]
  assert.is((await lab.exec('router', route)).code, 0)
  return addresses
}

/** R-E8, decision 2: the sum of the two halves is that of the ports, so no checksum changes. */
const isNeutral = (identifier: string): boolean =>
  (Number.parseInt(identifier.slice(0, 4), 16) + Number.parseInt(identifier.slice(4), 16) - PORT - 80) %
    65_535 ===
  0

test('two forwarders carry flows of equal ports and equal identifiers at once: no byte is mixed up', () =>
  withLab({ forwarders: 2, hosts: 1 }, async lab => {
    // Each forwarder has 256 identifiers of this port sum: about 30 flows of each get one outside of that class.
    const count = 570
    const addresses = await manyAddresses(lab, count)
    const locals = addresses.map(address => ({ address, port: PORT }))
    const plan = {
      ...{ vip: VIP, tag: 'ports', concurrency: count, locals, pauseAtHalf: true },
      jobs: [{ kind: 'put', count, bytes: 160_000 }],
    }
    const child = lab.spawn(lab.client(), [...program('load-client.ts'), JSON.stringify(plan)])
    const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
    const errors: Buffer[] = []
    child.stderr!.on('data', chunk => errors.push(chunk))
    assert.is((await lines.next()).value, 'half', String(Buffer.concat(errors)))

    // All of them are in the middle of their uploads now.
    const [first, second] = await Promise.all(lab.forwarders.map(f => flowsOf(lab, f.name)))
    const ours = (flows: FlowStatus[]): FlowStatus[] => flows.filter(f => f.client.endsWith(`:${PORT}`))
    assert.ok(ours(first!).length > count / 3 && ours(second!).length > count / 3)
    assert.ok(ours(first!).length + ours(second!).length >= count)
    const taken = new Map(ours(first!).map(f => [f.identifier, f.client]))
    const twice = ours(second!).filter(f => taken.has(f.identifier) && taken.get(f.identifier) !== f.client)
    const fixed = [...ours(first!), ...ours(second!)].filter(f => f.plumbed && !isNeutral(f.identifier))
    process.stdout.write(
      `\n  ${fixed.length} plumbed ones are not neutral, ${ours(first!).length} and ${ours(second!).length} flows, ${twice.length} identifiers twice\n`,
    )
    assert.ok(twice.length > 0, 'no identifier was in use at both forwarders: nothing was tried')

    assert.ok(fixed.length > 10, 'the neutral identifiers were never short: nothing was tried')
    child.stdin!.end('go\n')
    const result = JSON.parse((await lines.next()).value!) as LoadResult
    assertWhole(lab, result)
    assert.is(result.uploads.length, count)
    await (child.exitCode ?? once(child, 'exit'))
  }))

/** Long enough to tell from the life of a connection here, short enough for a test. */
const QUARANTINE_MS = 4_000
const short = (config: NodeConfigInput): void => {
  config.timeouts = { quarantine: QUARANTINE_MS, linger: 500, routeLease: 1_000, tcpIdle: 5_000 }
}

test('a freed identifier rests before another client gets it, and those outside the neutral class carry as well', () =>
  withLab({ forwarders: 1, hosts: 1, configure: short }, async lab => {
    const addresses = await manyAddresses(lab, 150)
    const before = await counters(lab)
    /** Who had it last, and when that was last seen. */
    const last = new Map<string, { client: string; seenMs: number }>()
    const early: string[] = []
    let reused = 0
    let busy = true
    const watch = async (): Promise<void> => {
      while (busy) {
        // Asked before and answered after the state that is shown: both err on the side of a longer rest.
        const askedMs = performance.now()
        const flows = await flowsOf(lab, 'f1')
        const answeredMs = performance.now()
        for (const { identifier, client } of flows) {
          if (identifier === '-') continue
          const known = last.get(identifier)
          if (known !== undefined && known.client !== client) {
            reused++
            const restedMs = answeredMs - known.seenMs
            if (restedMs < QUARANTINE_MS)
              early.push(`${identifier} went from ${known.client} to ${client} after ${restedMs} ms`)
          }
          last.set(identifier, { client, seenMs: askedMs })
        }
        await delay(20)
      }
    }
    const watching = watch()
    // About 60 flows a second of one port sum, which has 256 neutral identifiers: with four seconds of rest they are all
    // wanted again at once. A client comes back when its flow of last time is purged.
    const locals = addresses.map(address => ({ address, port: PORT }))
    const jobs = [{ kind: 'put', count: 1, bytes: 60_000 } as const]
    const lanes = { locals, concurrency: 15, gapMs: 250 }
    const result = await load(lab, lab.client(), { ...lanes, tag: 'rest', forMs: 12_000, jobs })
    busy = false
    await watching
    assertWhole(lab, result)
    assert.equal(early, [])
    const after = await counters(lab)
    const fixed = grown(before, after, 'forwarder_identifiers_not_neutral')
    process.stdout.write(
      `\n  ${result.done} connections, ${last.size} identifiers, ${reused} given to another client later, ${fixed} not neutral\n`,
    )
    assert.ok(reused > 0, 'no identifier was used again: nothing was tried')
    assert.ok(fixed > 0, 'the neutral identifiers were never short: nothing was tried')
    assert.is(grown(before, after, 'forwarder_identifiers_exhausted'), 0)
    assert.ok(grown(before, after, 'kernel_route_hit') > 0)
    assert.is(grown(before, after, 'kernel_half_restored'), 0)
  }))

it.run()
