/**
 * The cluster document when nodes are cut off from each other, killed all at once, or away: whatever was accepted on both
 * sides, one document is in force everywhere afterwards, and the others are kept as lost.
 */
// test-beside-others
// test-timeout-ms: 150000
import { readFileSync, writeFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { statementHash } from '../../src/cluster/statement.ts'
import type { NodesData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { isAlive } from '../../src/lab/processes.ts'
import {
  agreed,
  applyAt,
  configOf,
  documentText,
  eventsOf,
  heldByAll,
  historyOf,
  names,
  nextConfig,
  operatorOf,
  partition,
  signed,
  submit,
  vipsOn,
} from '../support/cluster-orders.ts'
import { labName, leftovers } from '../support/lab.ts'
import { spread } from '../support/liveness-watch.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { assertWhole, load, until, VIP } from '../support/traffic.ts'

const it = suite('cluster-partition')
const ONE = ['f1', 'c1', 'h1']
const OTHER = ['f2', 'c2', 'h2', 'h3']
const OTHER_VIP = '10.99.0.9'

const name = labName()
let lab: Lab
const healedMs: number[] = []
const text = (capacity: number, ...more: string[]): string =>
  documentText({ web: { h1: capacity, h2: 50, h3: 50 } }, [
    { name: 'web', port: 80, pool: 'web' },
    ...more.map((vip, i) => ({ name: `more${i}`, vip, port: 80, pool: 'web' })),
  ])

/** Until no agent of one side is alive for the other; each side is whole for itself. */
const parted = (): Promise<true> =>
  until('both sides to part', async () => {
    for (const side of [ONE, OTHER])
      for (const by of side)
        for (const row of (await lab.api<NodesData>(by, '/v1/nodes')).nodes)
          if ((row.agent === 'alive') !== side.includes(row.name)) return
    return true
  })

/** Parts the lab, does something on either side, heals it, and waits until `winner` is in force everywhere. */
const apart = async (what: () => Promise<{ winner: string; losers: string[] }>): Promise<void> => {
  await agreed(lab)
  const heal = await partition(lab, ONE)
  let outcome: { winner: string; losers: string[] }
  let atMs: number
  try {
    await parted()
    outcome = await what()
  } finally {
    atMs = performance.now()
    await heal()
  }
  const { winner, losers } = outcome
  await agreed(lab, winner, 30_000)
  healedMs.push(performance.now() - atMs)
  for (const node of names(lab)) {
    const history = await historyOf(lab, node)
    assert.equal(
      losers.map(hash => history.find(r => r.hash === hash)?.state),
      losers.map(() => 'lost'),
      `${node}: ${JSON.stringify(history)}`,
    )
    assert.is(history.find(r => r.hash === winner)?.state, 'current', node)
  }
}
const toldOf = async (node: string, hash: string): Promise<boolean> =>
  (await eventsOf(lab, node, 'config.lost')).some(
    e => e.text.includes(hash.slice(0, 8)) && e.severity === 'warning' && /shunt config show/.test(e.text),
  )

it.before(async () => {
  lab = await Lab.up({ name, mode: 'managed', forwarders: 2, classifiers: 2, hosts: 3, clients: 2 })
})

it.after(async () => {
  await lab?.down(0)
  assert.equal(leftovers(name), [])
})

it('of two documents of one number the later one wins; both halves went on serving meanwhile', async () => {
  const [one, two] = [text(11), text(22, OTHER_VIP)]
  await apart(async () => {
    // The router still sends to both forwarders, and each half has all that it takes.
    const served = await load(lab, lab.client(), {
      concurrency: 8,
      jobs: [{ kind: 'small', count: 200 }],
    })
    assertWhole(lab, served)
    assert.equal(Object.keys(served.byHost).toSorted(), ['h1', 'h2', 'h3'])
    const first = await applyAt(lab, 'f1', one, { atMs: Date.now() - 1000, note: 'side one' })
    const second = await applyAt(lab, 'h3', two, { note: 'side two' })
    await agreed(lab, first, 10_000, ONE)
    await agreed(lab, second, 10_000, OTHER)
    assert.equal(await vipsOn(lab, 'h1'), [VIP])
    assert.equal(await vipsOn(lab, 'h2'), [VIP, OTHER_VIP])
    return { winner: second, losers: [first] }
  })
  const lost = (await historyOf(lab, 'c2')).find(r => r.note === 'side one')!
  for (const node of ONE) assert.ok(await toldOf(node, lost.hash), node)
  for (const node of names(lab)) assert.is((await configOf(lab, node, lost.hash)).text, one, node)
  assert.equal(await vipsOn(lab, 'h1'), [VIP, OTHER_VIP])
})

it('of two documents of one number and time the greater hash wins', async () => {
  for (const side of [0, 1]) {
    await apart(async () => {
      const operator = operatorOf(lab)
      const atMs = Date.now()
      const made = await Promise.all(
        ['c1', 'f2'].map(async (node, i) =>
          signed(operator, await nextConfig(lab, node, text(30 + i), { atMs, note: `tie ${side}` })),
        ),
      )
      // Which of them is greater is chance; arrival is not, and must not matter.
      const order = side === 0 ? [0, 1] : [1, 0]
      for (const i of order) await submit(lab, ['c1', 'f2'][i]!, [made[i]!])
      const [loser, winner] = made.map(statementHash).toSorted()
      return { winner: winner!, losers: [loser!] }
    })
  }
})

it('the higher number wins over the later time; all that it replaces is told of', async () => {
  const early = Date.now() - 3_600_000
  const losers: string[] = []
  await apart(async () => {
    losers.push(await applyAt(lab, 'h2', text(41), { atMs: Date.now() + 60_000, note: 'late but low' }))
    await applyAt(lab, 'h1', text(42), { atMs: early })
    const winner = await applyAt(lab, 'h1', text(43), { atMs: early + 1 })
    return { winner, losers }
  })
  for (const node of OTHER) assert.ok(await toldOf(node, losers[0]!), node)
  for (const node of names(lab)) assert.is((await configOf(lab, node)).text, text(43), node)
})

it('the apply command on one side says whom it cannot reach, and the change reaches them when they are back', async () => {
  await apart(async () => {
    const path = `${lab.files('f2').dir}/half.yaml`
    writeFileSync(path, text(50))
    const { code, stdout, stderr } = await lab.shunt('f2', ['apply', '-f', path, '--yes'])
    assert.is(code, 3, `${stdout}${stderr}`)
    for (const node of ONE) assert.match(stderr, `the agent of ${node} cannot be heard`)
    for (const node of OTHER) assert.not.match(stderr, `agent of ${node}`)
    return { winner: (await configOf(lab, 'h2')).hash, losers: [] }
  })
  process.stdout.write(`\n  in agreement after healing: ${spread(healedMs)}\n`)
})

it('all agents killed at once come back with the document, its history and the secrets', async () => {
  await applyAt(lab, 'c1', text(60, OTHER_VIP), { note: 'before the end' })
  const before = await agreed(lab)
  const histories = await Promise.all(names(lab).map(node => historyOf(lab, node)))
  const killed = names(lab).map(node => lab.process(node)!)
  for (const node of names(lab)) assert.ok(lab.kill(node, 'SIGKILL'))
  await until('their end', () => (killed.some(isAlive) ? undefined : true))
  await Promise.all(names(lab).map(node => lab.startAgent(node, 30_000)))
  const after = await agreed(lab)
  assert.equal(after, before)
  assert.equal(await Promise.all(names(lab).map(node => historyOf(lab, node))), histories)
  for (const host of ['h1', 'h2', 'h3']) assert.equal(await vipsOn(lab, host), [VIP, OTHER_VIP])
  await lab.setForwarders(
    OTHER_VIP,
    lab.forwarders.map(f => f.address!),
  )
  for (const vip of [VIP, OTHER_VIP])
    assertWhole(
      lab,
      await load(lab, lab.client(), { vip, concurrency: 8, jobs: [{ kind: 'small', count: 200 }] }),
    )
})

it('an agent killed while it takes a document over comes back whole, whatever was saved', async () => {
  for (let run = 0; run < 6; run++) {
    const victim = ['h1', 'c2', 'f2'][run % 3]!
    const winner = await applyAt(lab, victim, text(run, ...(run % 2 ? [OTHER_VIP] : [])), {
      note: `run ${run}`,
    })
    const process = lab.process(victim)!
    // Accepted: what the command was told must be so, also when the agent dies in the next instant.
    lab.kill(victim, 'SIGKILL')
    await until('its end', () => (isAlive(process) ? undefined : true))
    await lab.startAgent(victim, 30_000)
    await agreed(lab, winner)
  }
})

it('a node that was down during changes has them soon after its start, and its VIPs too', async () => {
  const took: number[] = []
  for (const victim of ['h2', 'f2', 'c1']) {
    lab.kill(victim, 'SIGTERM')
    const process = lab.process(victim)!
    await until('its end', () => (isAlive(process) ? undefined : true), 20_000)
    const others = names(lab).filter(n => n !== victim)
    await applyAt(lab, 'h1', text(70), { note: `without ${victim}` })
    await agreed(lab, undefined, 10_000, others)
    const winner = await applyAt(lab, 'h3', text(71, OTHER_VIP, '10.99.0.8'), {
      note: `still without ${victim}`,
    })
    await agreed(lab, winner, 10_000, others)
    const saved = readFileSync(`${lab.files(victim).state}/cluster.json`, 'utf8')
    assert.not.match(saved, `still without ${victim}`)
    const startMs = performance.now()
    await lab.startAgent(victim)
    await agreed(lab, winner)
    took.push(performance.now() - startMs)
    if (victim === 'h2') assert.equal(await vipsOn(lab, 'h2'), [VIP, '10.99.0.8', OTHER_VIP])
    assert.ok((await historyOf(lab, victim)).some(r => r.note === `without ${victim}`))
  }
  process.stdout.write(`\n  up to date after its start: ${spread(took)}\n`)
})

it('a lone node that saw a document which lost does so also when it was killed before it could be told', async () => {
  // Cut off and killed: its own word of the document is in its file only.
  await agreed(lab)
  const heal = await partition(lab, ['h3'])
  let lost = ''
  try {
    lost = await applyAt(lab, 'h3', text(80), { note: 'alone', atMs: Date.now() - 60_000 })
    const old = lab.process('h3')!
    lab.kill('h3', 'SIGKILL')
    await until('its end', () => (isAlive(old) ? undefined : true))
    await applyAt(lab, 'f1', text(81), { note: 'of the many' })
  } finally {
    await heal()
  }
  await lab.startAgent('h3')
  await agreed(lab)
  for (const node of names(lab)) {
    assert.is((await configOf(lab, node)).text, text(81), node)
    assert.is((await historyOf(lab, node)).find(r => r.hash === lost)?.state, 'lost', node)
  }
  assert.ok(await toldOf('h3', lost))
  const [held] = await heldByAll(lab, ['h3'])
  assert.is(held!.revision, (await configOf(lab, 'f1')).revision)
})

if (missingRoot() === undefined) it.run()
else skip('cluster-partition', missingRoot()!)
