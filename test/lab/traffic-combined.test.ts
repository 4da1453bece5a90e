/** Roles together on a node, down to all of them on the only one (R-A2); and labs side by side (R-G5). */
// test-beside-others
import { createHash } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lab } from '../../src/lab/lab.ts'
import type { LoadResult } from '../support/load-client.ts'
import { rawClient, startRaw, withRaw } from '../support/raw.ts'
import { pattern } from '../support/raw-pattern.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { accessLog, assertWhole, counters, grown, load, webFile, withLab } from '../support/traffic.ts'

const it = suite('traffic-combined')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const BIG = 10 * 1024 * 1024
const CONNECTIONS = 2_000
/** Forwarder and host together, until the route is plumbed (later on a busy machine); of 14,000 if never. */
const SLOW_PER_FLOW = 800

/** Small and large, both ways, 200 at once. */
const mixed = async (lab: Lab): Promise<LoadResult> => {
  const { path, sha256 } = webFile(lab, '/10m')
  const result = await load(lab, lab.client(), {
    concurrency: 200,
    jobs: [
      { kind: 'small', count: CONNECTIONS - 10 },
      { kind: 'get', count: 5, path, sha256 },
      { kind: 'put', count: 5, bytes: BIG },
    ],
  })
  assertWhole(lab, result)
  assert.is(result.done, CONNECTIONS)
  return result
}

/** Every host got what its capacity is worth, and saw the client's address. */
const assertShares = (lab: Lab): void => {
  const sum = lab.hosts.reduce((total, host) => total + host.capacity!, 0)
  for (const host of lab.hosts) {
    const lines = accessLog(lab, host.name)
    const p = host.capacity! / sum
    const off = Math.abs(lines.length - CONNECTIONS * p)
    assert.ok(off <= 5 * Math.sqrt(CONNECTIONS * p * (1 - p)), `${host.name} got ${lines.length}`)
    for (const line of lines) assert.is(line.client, lab.place(lab.client()).address)
  }
}

const assertBulkInKernel = async (lab: Lab): Promise<void> => {
  const measure = async (what: string, least: number, body: () => Promise<void>): Promise<void> => {
    const before = await counters(lab)
    await body()
    const after = await counters(lab)
    const slow = grown(before, after, 'forwarder_slow_packets') + grown(before, after, 'host_slow_packets')
    const hits = grown(before, after, 'kernel_route_hit')
    process.stdout.write(`\n  ${what}: ${slow} slow packets, ${hits} in the kernel\n`)
    assert.ok(slow < SLOW_PER_FLOW, `${what}: ${slow} slow packets`)
    assert.ok(hits > least, `${what}: ${hits} packets in the kernel`)
  }
  await measure('upload', 5_000, async () => {
    const jobs = [{ kind: 'put', count: 1, bytes: BIG } as const]
    assertWhole(lab, await load(lab, lab.client(), { concurrency: 1, tag: 'kernel', jobs }))
  })
  await measure('half-closed download', 60, async () => {
    const got = await rawClient<{ sha256: string }>(lab, lab.client(), 'download', BIG)
    assert.is(got.sha256, createHash('sha256').update(pattern(BIG)).digest('hex'))
  })
}

/** A forwarder that is the flow's host too leaves the packets to its own stack; else they are tunnelled. */
const assertLocalAndRemote = async (lab: Lab): Promise<void> => {
  const seen = { local: 0, remote: 0 }
  for (let i = 0; i < 40 && (seen.local === 0 || seen.remote === 0); i++) {
    const before = await counters(lab)
    const jobs = [{ kind: 'put', count: 1, bytes: BIG } as const]
    assertWhole(lab, await load(lab, lab.client(), { concurrency: 1, tag: `local${i}`, jobs }))
    const after = await counters(lab)
    const restored = grown(before, after, 'kernel_decap_hit')
    assert.ok(grown(before, after, 'kernel_route_hit') > 5_000)
    seen[restored > 5_000 ? 'remote' : 'local']++
    if (restored <= 5_000) assert.is(restored, 0)
  }
  assert.ok(seen.local > 0 && seen.remote > 0, JSON.stringify(seen))
}

test('forwarders that are also the classifiers', () =>
  withLab({ combine: 'fc', capacities: [20, 70], hosts: 2, configure: withRaw() }, async lab => {
    const before = await counters(lab)
    await mixed(lab)
    assertShares(lab)
    const after = await counters(lab)
    for (const { name } of lab.forwarders) {
      assert.ok(grown(before, after, 'forwarder_new_flows', [name]) > 500, `${name} carried too little`)
      // No datagrams to a classifier: it is asked within the node.
      assert.is(grown(before, after, 'forwarder_classify_sent', [name]), 0)
    }
    await startRaw(lab)
    await assertBulkInKernel(lab)
  }))

for (const nodes of [1, 3])
  test(`all roles on ${nodes === 1 ? 'one node' : `each of ${nodes} nodes`}`, () =>
    withLab({ combine: 'all', hosts: nodes, capacities: [40, 20, 30], configure: withRaw() }, async lab => {
      const before = await counters(lab)
      await mixed(lab)
      assertShares(lab)
      const after = await counters(lab)
      for (const { name } of lab.nodes)
        assert.ok(grown(before, after, 'forwarder_new_flows', [name]) > 300, `${name} carried too little`)
      // With one node nothing is ever tunnelled: the forwarder delivers to its own stack.
      // By the agent, and by the kernel.
      const mapped = grown(before, after, 'forwarder_mappings_sent') + grown(before, after, 'xdp_classified')
      assert.ok(nodes === 1 ? mapped === 0 : mapped > 500, `${mapped} mappings`)
      await startRaw(lab)
      await assertBulkInKernel(lab)
      if (nodes > 1) await assertLocalAndRemote(lab)
    }))

test('two labs of the same addresses side by side carry traffic, each its own', () =>
  withLab({ combine: 'all', hosts: 2 }, one =>
    withLab({ combine: 'all', hosts: 1 }, async other => {
      const [first, second] = await Promise.all([mixed(one), mixed(other)])
      assertShares(one)
      assertShares(other)
      assert.equal(Object.keys(first.byHost).sort(), ['n1', 'n2'])
      assert.equal(Object.keys(second.byHost), ['n1'])
    }),
  ))

it.run()
