import { execFileSync } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../src/errors.ts'
import { parseAddress } from '../../src/os/inet.ts'
import { readCounters } from '../../src/os/netlink/nftables-counters.ts'
import { type CommitResult, SetElements } from '../../src/os/netlink/nftables-elements.ts'
import { applyRuleset, deleteTable } from '../../src/os/nft.ts'
import { makeNetns, removeNetns, type TestNetns } from '../support/netns.ts'
import { PATIENCE_MS } from '../support/os-lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('os/nft-elements')
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missingRoot(), it, name, run)

const table = 't'
let netns: TestNetns
let elements: SetElements

it.before(async () => {
  if (missingRoot() !== undefined) return
  netns = await makeNetns()
  elements = netns.run(() => new SetElements())
})
it.before.each(async () => {
  if (missingRoot() !== undefined) return
  await netns.run(() => deleteTable('netdev', table))
  await netns.run(() => deleteTable('inet', table))
  await netns.run(() =>
    applyRuleset(`table netdev ${table} {
      map route { typeof ip saddr . th sport . ip protocol : @th,0,32; flags timeout; size 65536; }
      set marks { typeof meta mark; flags timeout; size 100000; }
      set small { type mark; size 2; }
      counter seen { packets 7 bytes 700 }
      counter lost { }
    }
    table inet ${table} {
      counter other { packets 1 bytes 2 }
    }`),
  )
})
it.after(async () => {
  elements?.close()
  await removeNetns()
})

/** ip saddr . th sport . ip protocol, each padded to four bytes. */
const flow = (address: string, port: number): Uint8Array =>
  Uint8Array.of(...parseAddress(address), port >> 8, port & 255, 0, 0, 6, 0, 0, 0)

const mark = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

interface NftElement {
  elem?: { val: unknown; timeout?: number; expires?: number }
}

/** What the nft command says is in a set: the other witness. */
const listed = (set: string): unknown[] => {
  const args = ['netns', 'exec', netns.name, 'nft', '-j', 'list', 'set', 'netdev', table, set]
  if (set === 'route') args[6] = 'map'
  const answer = JSON.parse(execFileSync('ip', args, { encoding: 'utf8', maxBuffer: 1 << 28 }))
  const found = answer.nftables.flatMap(
    (item: Record<string, { elem?: unknown[] }>) => item.set ?? item.map ?? [],
  )
  return found[0].elem ?? []
}

const errorOf = async (failing: Promise<void>): Promise<ShuntError> => {
  try {
    await failing
  } catch (error) {
    assert.instance(error, ShuntError)
    return error as ShuntError
  }
  throw new Error('nothing was thrown')
}

const refused = (result: CommitResult): string => (result.ok ? 'ok' : result.symbol)

lab('adds elements of a map that nft reads as meant, and deletes them', () => {
  elements.add({ table, set: 'route', key: flow('192.0.2.1', 40000), data: Uint8Array.of(1, 2, 3, 4) })
  elements.add({ table, set: 'route', key: flow('192.0.2.2', 80), data: Uint8Array.of(0, 0, 0, 9) })
  assert.equal(elements.commit(), { ok: true })
  const text = JSON.stringify(listed('route'))
  assert.ok(text.includes('["192.0.2.1",40000,"tcp"]') || text.includes('["192.0.2.1",40000,6]'), text)
  assert.ok(text.includes(String(0x01020304)), text)
  elements.delete({ table, set: 'route', key: flow('192.0.2.1', 40000) })
  assert.equal(elements.commit(), { ok: true })
  assert.is(listed('route').length, 1)
})

lab('an empty commit is ok', () => {
  assert.equal(elements.commit(), { ok: true })
})

lab('deleting what is not there is ENOENT; so is an unknown set or table', () => {
  elements.delete({ table, set: 'marks', key: mark(1) })
  assert.is(refused(elements.commit()), 'ENOENT')
  elements.add({ table, set: 'unknown', key: mark(1) })
  assert.is(refused(elements.commit()), 'ENOENT')
  elements.add({ table: 'unknown', set: 'marks', key: mark(1) })
  assert.is(refused(elements.commit()), 'ENOENT')
  assert.equal(elements.commit(), { ok: true }, 'a refused batch is forgotten')
})

lab('adding what is there is success, or EEXIST if exclusive or with other data', () => {
  const key = flow('192.0.2.1', 1)
  elements.add({ table, set: 'route', key, data: mark(1) })
  assert.equal(elements.commit(), { ok: true })
  elements.add({ table, set: 'route', key, data: mark(1) })
  assert.equal(elements.commit(), { ok: true })
  elements.add({ table, set: 'route', key, data: mark(1), exclusive: true })
  assert.is(refused(elements.commit()), 'EEXIST')
  elements.add({ table, set: 'route', key, data: mark(2) })
  assert.is(refused(elements.commit()), 'EEXIST')
  assert.is(listed('route').length, 1)
})

lab('a delete and an add of one key in one batch replace it', () => {
  const key = flow('192.0.2.1', 1)
  elements.add({ table, set: 'route', key, data: Uint8Array.of(0, 0, 0, 1) })
  assert.equal(elements.commit(), { ok: true })
  elements.delete({ table, set: 'route', key })
  elements.add({ table, set: 'route', key, data: Uint8Array.of(0, 0, 0, 77) })
  assert.equal(elements.commit(), { ok: true })
  assert.ok(JSON.stringify(listed('route')).endsWith('77]]'), JSON.stringify(listed('route')))
})

lab('a batch is atomic: one bad change, nothing happens in any set', () => {
  elements.add({ table, set: 'marks', key: mark(1) })
  elements.add({ table, set: 'route', key: flow('192.0.2.1', 1), data: mark(1) })
  elements.delete({ table, set: 'marks', key: mark(99) })
  assert.is(refused(elements.commit()), 'ENOENT')
  assert.equal(listed('marks'), [])
  assert.equal(listed('route'), [])
})

lab('elements expire, and adding again renews', async () => {
  elements.add({ table, set: 'marks', key: mark(1), timeoutMs: 40 })
  elements.add({ table, set: 'marks', key: mark(2), timeoutMs: 3_600_000 })
  elements.add({ table, set: 'marks', key: mark(3) })
  assert.equal(elements.commit(), { ok: true })
  const deadlineMs = performance.now() + PATIENCE_MS
  while (listed('marks').length > 2) assert.ok(performance.now() < deadlineMs, 'the first never expired')
  const kept = listed('marks') as (number | NftElement)[]
  assert.equal(
    kept.map(element => (typeof element === 'number' ? element : element.elem?.val)).sort(),
    [2, 3],
  )
  elements.add({ table, set: 'marks', key: mark(2), timeoutMs: 7_200_000 })
  assert.equal(elements.commit(), { ok: true })
  const renewed = listed('marks').find(element => (element as NftElement).elem?.val === 2) as NftElement
  assert.is(renewed.elem?.timeout, 7200)
  assert.ok((renewed.elem?.expires ?? 0) > 7000)
})

lab('a batch of many messages arrives whole', () => {
  const count = 20_000 // several messages of 32 kB each
  for (let n = 0; n < count; n++) elements.add({ table, set: 'marks', key: mark(n), timeoutMs: 60_000 })
  assert.equal(elements.commit(), { ok: true })
  assert.is(listed('marks').length, count)
  for (let n = 0; n < count; n++) elements.delete({ table, set: 'marks', key: mark(n) })
  assert.equal(elements.commit(), { ok: true })
  assert.is(listed('marks').length, 0)
})

lab('many errors in one batch are one answer', () => {
  for (let n = 0; n < 3000; n++) {
    elements.delete({ table, set: 'marks', key: mark(n) })
    elements.add({ table, set: 'marks', key: mark(n) })
  }
  assert.is(refused(elements.commit()), 'ENOENT')
  elements.add({ table, set: 'marks', key: mark(1) })
  assert.equal(elements.commit(), { ok: true }, 'no error is left over')
})

lab('a full set is ENFILE, a key or data of a wrong length EINVAL', () => {
  for (const n of [1, 2, 3]) elements.add({ table, set: 'small', key: mark(n) })
  assert.is(refused(elements.commit()), 'ENFILE')
  elements.add({ table, set: 'marks', key: new Uint8Array(3) })
  assert.is(refused(elements.commit()), 'EINVAL')
  elements.add({ table, set: 'route', key: flow('192.0.2.1', 1), data: new Uint8Array(8) })
  assert.is(refused(elements.commit()), 'EINVAL')
})

lab('reads the named counters of one table', () => {
  const counters = netns.run(() => readCounters(table))
  assert.equal(counters, { seen: { packets: 7, bytes: 700 }, lost: { packets: 0, bytes: 0 } })
  assert.equal(
    netns.run(() => readCounters(table, 'inet')),
    { other: { packets: 1, bytes: 2 } },
  )
  assert.equal(
    netns.run(() => readCounters('unknown')),
    {},
  )
})

lab('nft: a bad ruleset is refused with its message, and changes nothing', async () => {
  const bad = 'table netdev u {\n counter a { }\n}\ntable netdev v {\n nonsense\n}\n'
  const error = await errorOf(netns.run(() => applyRuleset(bad)))
  assert.is(error.code, 'SHUNT_ERR_NFT')
  assert.match(error.message, /nonsense|syntax error/)
  assert.equal(
    netns.run(() => readCounters('u')),
    {},
  )
})

lab('nft: deleting a table, or one that is not there, is success', async () => {
  await netns.run(() => deleteTable('netdev', table))
  await netns.run(() => deleteTable('netdev', table))
  elements.add({ table, set: 'marks', key: mark(1) })
  assert.is(refused(elements.commit()), 'ENOENT')
})

lab('nft: a missing command says what to install', async () => {
  const path = process.env.PATH
  process.env.PATH = '/nonexistent'
  const error = await errorOf(applyRuleset('')).finally(() => {
    process.env.PATH = path
  })
  assert.is(error.code, 'SHUNT_ERR_CAPABILITY')
  assert.match(error.message, /install the nftables package/)
})

it.run()
