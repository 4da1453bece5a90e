/** Bounds of ICMP: how much passes in all and for each address, and how often the kernel is asked for an MTU. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { IcmpLimit } from '../../src/agent/dataplane/icmp-limit.ts'
import { PathMtu } from '../../src/agent/dataplane/path-mtu.ts'

const it = suite('bounds of ICMP')

const SETTINGS = { perSecond: 100, burst: 40, eachPerSecond: 10, eachBurst: 5 }
const address = (last: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, 0x0a000000 + last)
const passed = (limit: IcmpLimit, words: Uint32Array, tries: number, nowMs: number): number =>
  Array.from({ length: tries }, () => limit.allows(words, 0, nowMs)).filter(Boolean).length

it('each address has its own allowance, and all together have one', () => {
  const limit = new IcmpLimit(SETTINGS, 1, 2)
  assert.is(passed(limit, address(1), 20, 0), 5)
  assert.is(passed(limit, address(2), 20, 0), 5)
  let all = 10
  for (let i = 3; i < 60; i++) all += passed(limit, address(i), 1, 0)
  assert.is(all, 40)
})

it('what was used comes back with time, up to the burst; time that runs backwards brings nothing', () => {
  const limit = new IcmpLimit(SETTINGS, 1, 2)
  passed(limit, address(1), 20, 1000)
  assert.is(passed(limit, address(1), 20, 1000), 0)
  assert.is(passed(limit, address(1), 20, 900), 0)
  assert.is(passed(limit, address(1), 20, 1100), 2)
  assert.is(passed(limit, address(1), 20, 60_000), 5)
})

it('a message that is refused for one reason costs nothing of the other allowance', () => {
  const limit = new IcmpLimit(SETTINGS, 1, 2)
  assert.is(passed(limit, address(1), 1000, 0), 5)
  let others = 0
  for (let i = 2; i < 60; i++) others += passed(limit, address(i), 1, 0)
  assert.is(others, 35)
})

it('an MTU is asked for once a second and address; without a way, what is known otherwise goes', () => {
  const asked: number[] = []
  let mtu = 1400
  const path = new PathMtu(host => {
    asked.push(host[3]! & 0xffff)
    if ((host[3]! & 0xffff) === 3) throw new Error('no way')
    return mtu
  })
  const to = (last: number, nowMs: number): number => path.to(address(last), 1500, nowMs)
  assert.equal([to(1, 0), to(1, 999), to(2, 999)], [1400, 1400, 1400])
  mtu = 1300
  assert.equal([to(1, 999), to(1, 1000), to(3, 0)], [1400, 1300, 1500])
  assert.equal(asked, [1, 2, 1, 3])
  for (let last = 10; last < 5000; last++) to(last, 1000)
  assert.is(to(4999, 1500), 1300)
})

it.run()
