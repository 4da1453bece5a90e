/**
 * The nftables back-end on the cases that XDP passes by test run (xdp-forwarder.test.ts): real frames through a namespace with the agent's
 * rules. Every case runs; where the two differ on purpose, nft-expected.ts says what is expected and why.
 */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { DataplaneCase } from '../support/dataplane-case.ts'
import { dataplaneCases } from '../support/dataplane-cases.ts'
import { packetOffset } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import { DIFFERENCES, type NftExpectation, nftExpectation } from '../support/nft-expected.ts'
import { NftLab, type Outcome } from '../support/nft-lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('conformance: nftables')
const noRoot = missingRoot()
let lab: NftLab

it.before(async () => {
  if (noRoot === undefined) lab = await NftLab.open()
})
it.after(async () => {
  lab?.close()
  await removeNetns()
})

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const withoutTag = (frame: Uint8Array, tagged: boolean): string =>
  tagged ? hex(frame.subarray(0, 12)) + hex(frame.subarray(16)) : hex(frame)

/** In words that can be compared: where it came out, and with which bytes. */
const seen = ({ exits, slow, stack, counted }: Outcome): unknown => ({
  exits: exits.map(({ exit, frame, tagged }) => [exit, tagged, hex(frame)]),
  slow: slow.map(hex),
  stack: stack.map(({ frame, tagged }) => [tagged, hex(frame)]),
  counted,
})
const wanted = (
  one: DataplaneCase,
  { fate, counter, exit, frame, tagged = false }: NftExpectation,
): unknown => ({
  exits: fate === 'forwarded' ? [[exit, tagged, hex(frame!)]] : [],
  slow: fate === 'slow' ? [hex(one.frame.subarray(packetOffset(one.tags)))] : [],
  stack: fate === 'stack' ? [[tagged, withoutTag(one.frame, tagged)]] : [],
  counted: Object.fromEntries((counter?.split(' ') ?? []).map(name => [name, 1])),
})

const check = (one: DataplaneCase): void => {
  const takeOut = one.route === null ? () => {} : lab.addRoute(one.family, one.route)
  const outcome = lab.run(one.frame)
  takeOut()
  const expected = nftExpectation(one)
  assert.equal(seen(outcome), wanted(one, expected), `${one.name} (${expected.why ?? 'as XDP'})`)
}

const cases = dataplaneCases()

testIf(noRoot, it, `golden packets: ${cases.length} cases, as XDP but for what is said`, () => {
  assert.ok(cases.length >= 200)
  const failures: string[] = []
  for (const one of cases)
    try {
      check(one)
    } catch (error) {
      const { message, details } = error as Error & { details?: string }
      failures.push(`${message}\n${details ?? ''}`)
    }
  assert.is(
    failures.length,
    0,
    `${failures.length} of ${cases.length} cases:\n${failures.slice(0, 10).join('\n')}`,
  )
})

testIf(noRoot, it, 'each difference is one of some case, and most of what XDP decides has none', () => {
  const used = new Map<string | null, number>()
  for (const one of cases) {
    const { why } = nftExpectation(one)
    used.set(why, (used.get(why) ?? 0) + 1)
  }
  for (const { why } of DIFFERENCES) assert.ok(used.has(why), `no case needs it: ${why}`)
  // What XDP itself decides; the rest it leaves to these rules, which have to say more.
  const decided = cases.filter(({ fate }) => fate !== 'passed')
  const same = decided.filter(one => nftExpectation(one).why === null).length
  assert.ok(same > decided.length / 2, `${same} of ${decided.length}`)
})

it.run()
