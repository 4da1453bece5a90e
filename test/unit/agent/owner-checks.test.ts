import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CONFIRM_AGAIN_MS, OwnerChecks } from '../../../src/agent/dam/owner-checks.ts'
import type { DamPolicy } from '../../../src/agent/dam/policy.ts'
import { ATOM_KIND, type Atom } from '../../../src/dam/types.ts'

const it = suite('checks of atoms with the hosts')
const keyOf = (i: number): Uint32Array =>
  Uint32Array.of(0, 0, 0xffff, i, 0, 0, 0xffff, 0x0a000001, 443, ((ATOM_KIND.flow << 24) | 6) >>> 0)
const HOST = 7

/** Hosts that say of connection `i` what `says` does; null: they are silent. */
const setUp = (says: (i: number) => boolean | null) => {
  const log: string[] = []
  const clock = { ms: 0 }
  const fresh: Uint32Array[] = []
  const policy = { serviceOf: () => ({ name: 'web' }), hostAddress: () => HOST } as unknown as DamPolicy
  const note =
    (what: string) =>
    (key: Uint32Array): void =>
      void log.push(`${what} ${key[3]}`)
  const checks = new OwnerChecks({
    policy: () => policy,
    nowMs: () => clock.ms,
    owners: () => ({
      ask: async (_service, keys) =>
        keys.map(key => {
          const said = says(key[3]!)
          return { host: said === true ? 'h1' : null, certain: said !== null }
        }),
    }),
    unsure: most => fresh.splice(0, most),
    idle: () => [],
    own: key => ({ key, host: HOST }) as unknown as Atom,
    put: note('put'),
    touch: note('touch'),
    keep: note('keep'),
    end: note('end'),
  })
  return { checks, log, fresh, clock }
}

it('what a host has is vouched for, what none has ends, and of what nobody knows nobody has vouched', async () => {
  const t = setUp(i => [true, false, null][i]!)
  t.fresh.push(keyOf(0), keyOf(1), keyOf(2))
  await t.checks.round()
  assert.equal(t.log, ['put 0', 'end 1', 'keep 2'])
  assert.is(t.checks.waiting, 1)
})

it('what a host confirmed, perhaps in TIME-WAIT, is asked about once more after that', async () => {
  const open = new Set([0, 1])
  const t = setUp(i => open.has(i))
  t.fresh.push(keyOf(0), keyOf(1))
  await t.checks.round()
  t.clock.ms = CONFIRM_AGAIN_MS - 1
  await t.checks.round()
  assert.equal(t.log.splice(0), ['put 0', 'put 1'])
  open.delete(0)
  t.clock.ms = CONFIRM_AGAIN_MS
  await t.checks.round()
  t.clock.ms = 3 * CONFIRM_AGAIN_MS
  await t.checks.round()
  assert.equal(t.log, ['end 0', 'touch 1'])
})

it('while hosts are silent so many wait for another question at most; the rest are found idle, and counted', async () => {
  const t = setUp(() => null)
  for (let i = 0; i < 66_000; i++) t.fresh.push(keyOf(i))
  while (t.fresh.length > 0) await t.checks.round()
  assert.is(t.checks.waiting, 65_536)
  assert.is(t.checks.counters.left_to_idle, 66_000 - 65_536)
})

it.run()
