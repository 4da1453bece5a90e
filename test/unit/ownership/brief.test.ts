/** VIPs that a kernel does not go on with alone: how long leases are, and what others are told of it. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Claims } from '../../../src/ownership/claims.ts'
import { Ownership } from '../../../src/ownership/ownership.ts'
import { leaseMs, NO_GRACE, OWNERSHIP_TIMES, silentMs } from '../../../src/ownership/settings.ts'
import type { Claim, OwnershipMessage, Standing } from '../../../src/ownership/types.ts'

const it = suite('ownership/brief')
const VIP = '10.99.0.1'
const TIMES = { ...OWNERSHIP_TIMES, graceMs: 30_000, holdMs: 60_000 }
const SHORT = leaseMs(NO_GRACE)
const LONG = leaseMs(TIMES)

/** f1, linked with f2, and what its kernel and f2 were told last. */
const world = (disk: Claim[] = [], inKernel = new Map<string, number>()) => {
  const told = { lease: 0, claim: null as Claim | null, standing: null as Standing | null }
  const port = {
    send: (_: string, message: OwnershipMessage): void => {
      if (message.type === 'claims') told.claim = message.claims[0]!
      if (message.type === 'standing') told.standing = message
    },
    hold: (_: Claim, ms: number): void => void (told.lease = ms),
    renew: (_: readonly string[], ms: number): void => void (told.lease = ms),
    release: (): void => {},
    changed: (): void => {},
  }
  const core = new Ownership('f1', TIMES, port, 0)
  core.configure({ forwarders: ['f2'], vips: [VIP], weight: 50, times: TIMES }, 0)
  core.adopt(disk, inKernel, 0)
  core.machine('f2', 'alive', 0)
  core.link('f2', true, 0)
  return { core, told }
}
/** f2, which takes nothing and knows these claims. */
const standing = (claims: readonly Claim[], readsBrief = true): Standing => {
  const known = new Claims()
  for (const claim of claims) known.take(claim)
  return {
    ...{ type: 'standing', weight: 0, ready: true, leaving: false, sees: ['f1'] },
    digest: readsBrief ? known.digest : known.plainDigest,
    ...(readsBrief && { readsBrief }),
  }
}
const ofF2 = (parts: Partial<Claim> = {}): Claim => ({
  ...{ vip: VIP, generation: 1, holder: 'f2', ordered: false, death: false, support: 2 },
  ...parts,
})

it('a lease is long only once the others know that they are to wait; short before they are told that they are not', () => {
  const { core, told } = world()
  core.receive('f2', standing([]), 0)
  assert.equal([...core.held], [VIP])
  assert.equal([told.lease, told.claim?.brief], [SHORT, true], 'nobody knows yet what the kernel does')
  core.receive('f2', standing(core.claims()), 10)
  core.tick(1_010)
  assert.is(told.lease, SHORT)

  const { generation } = told.claim!
  core.goesOnAlone(new Set([VIP]), 1_100)
  assert.equal([told.claim?.brief, told.claim!.generation > generation], [undefined, true])
  core.tick(2_200)
  assert.is(told.lease, SHORT, 'f2 has not answered')
  core.receive('f2', standing(core.claims()), 2_210)
  assert.is(told.lease, LONG)
  core.tick(2_210 + SHORT)
  assert.ok(core.held.has(VIP), 'it is held while its lease lasts')

  let leaseWhenTold = 0
  const claim = told.claim!
  Object.defineProperty(told, 'claim', { set: () => void (leaseWhenTold = told.lease), get: () => claim })
  core.goesOnAlone(new Set(), 5_300)
  assert.equal([leaseWhenTold, core.claimOf(VIP)?.brief], [SHORT, true])
  core.tick(5_300 + SHORT)
  assert.not(core.held.has(VIP), 'its kernel may have let go')
})

it('who is silent loses what its kernel does not go on with at once, all else after the grace', () => {
  for (const [parts, atMs] of [
    [{ brief: true }, silentMs(NO_GRACE)],
    [{}, silentMs(TIMES)],
  ] as const) {
    const { core } = world()
    core.receive('f2', standing([ofF2(parts)]), 0)
    core.receive('f2', { type: 'claims', claims: [ofF2(parts)] }, 10)
    assert.is(core.patienceMs(VIP), atMs)
    core.link('f2', false, 100)
    for (let ms = 100; ms < atMs + 90; ms += 500) core.tick(ms)
    assert.is(core.held.size, 0)
    core.tick(100 + atMs)
    core.tick(100 + atMs + TIMES.nextMs)
    assert.is(core.held.size, 1)
  }
})

it('an older peer that passes on what it knows takes nothing away, is told digests that it can know, and is not waited for', () => {
  const { core, told } = world()
  core.receive('f2', { type: 'claims', claims: [ofF2({ brief: true })] }, 0)
  core.receive('f2', { type: 'claims', claims: [ofF2()] }, 10)
  assert.is(core.claimOf(VIP)?.brief, true)
  core.receive('f2', standing([ofF2()], false), 1_200)
  core.tick(2_500)
  assert.is(told.standing?.digest, standing([ofF2()], false).digest)
  core.receive('f2', { type: 'take', vip: VIP, generation: 1, ordered: false }, 3_100)
  core.goesOnAlone(new Set([VIP]), 3_200)
  assert.equal([core.claimOf(VIP)?.brief, told.lease], [undefined, LONG])
})

it('a new agent goes on with what lasts, for as long as it lasts; of others it does not believe its disk', () => {
  const own = ofF2({ holder: 'f1' })
  const held = (claim: Claim, leftMs: number): [number, number] => {
    const { core, told } = world([claim], new Map([[VIP, leftMs]]))
    return [core.held.size, told.lease]
  }
  assert.equal(held(own, 20_000), [1, LONG])
  assert.equal(held(own, SHORT - 1_000), [1, SHORT])
  assert.equal(held({ ...own, brief: true }, 1_000), [1, SHORT])
  assert.equal(held({ ...own, brief: true }, 999), [0, 0])
  const { core } = world([ofF2({ brief: true })])
  assert.is(core.patienceMs(VIP), silentMs(TIMES))
})

it.run()
