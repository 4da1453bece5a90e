/** ICMP in XDP (icmp.h): golden frames by test run, and mutated ones held against the agent's own rewriting. */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { XDP } from '../../src/os/bpf/program.ts'
import { index, missingBpf } from '../support/bpf.ts'
import { HOSTS, TUNNEL } from '../support/dataplane-world.ts'
import { packetOffset } from '../support/ethernet.ts'
import { OTHER_TUNNEL, OWN } from '../support/host-cases.ts'
import { icmpFaults } from '../support/icmp.ts'
import { expectedIcmp, type IcmpCase, icmpCases, tunnelledError } from '../support/icmp-cases.ts'
import { removeNetns } from '../support/netns.ts'
import { addressBytes, addressWords } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { TUNNELS, XdpHostLab } from '../support/xdp-host-lab.ts'
import { sourceOf, XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/icmp')
const noBpf = missingBpf()
let lab: XdpLab
let host: XdpHostLab

it.before(async () => {
  if (noBpf !== undefined) return
  lab = await XdpLab.open()
  host = new XdpHostLab()
})
it.after(async () => {
  host?.close()
  lab?.close()
  await removeNetns()
})

const cases = icmpCases()
assert.is(new Set(cases.map(({ name }) => name)).size, cases.length, 'each case has a name of its own')

const each = <T>(some: readonly T[], run: (one: T) => void): void => {
  const failures: string[] = []
  for (const one of some)
    try {
      run(one)
    } catch (error) {
      failures.push((error as Error).message)
    }
  assert.is(failures.length, 0, `${failures.length} of ${some.length}:\n${failures.slice(0, 12).join('\n')}`)
}

const verdictOf = (one: IcmpCase): number => {
  if (one.reply !== null) return XDP.tx
  if (one.host === null) return XDP.pass
  return one.host.exit === 'uplink' || one.host.exit === 'vlan' ? XDP.tx : XDP.redirect
}

testIf(noBpf, it, `golden messages at a forwarder: ${cases.length} cases`, () => {
  assert.ok(cases.length > 150)
  lab.netns.run(() =>
    each(cases, one => {
      if (one.route !== null) lab.addRoute(one.family, one.route, 7)
      lab.resetCounters()
      const { verdict, data } = lab.run(one.frame)
      const what = `${one.name}: verdict ${verdict}, ${JSON.stringify(lab.counted())}`
      assert.equal(lab.counted(), { [one.reason]: 1 }, what)
      assert.is(verdict, verdictOf(one), what)
      assert.equal(
        Buffer.from(data).toString('hex'),
        Buffer.from(expectedIcmp(one, sourceOf)).toString('hex'),
        what,
      )
      if (one.route === null) return
      assert.is(lab.stampOf(one.family, one.route), 7, `${one.name}: an error is no sign of life`)
      lab.removeRoute(one.family, one.route)
    }),
  )
})

/** Sets when the buckets of both kinds were empty, on every processor; ns of CLOCK_MONOTONIC. */
const setBuckets = (echo: bigint, errors: bigint): void => {
  const buckets = lab.object.map('icmp_buckets')
  const value = new Uint8Array(buckets.valueBytes)
  const view = new DataView(value.buffer)
  for (let at = 0; at < value.length; at += 16) {
    view.setBigUint64(at, echo, true)
    view.setBigUint64(at + 8, errors, true)
  }
  buckets.update(index(0), value)
}

/** The same of each processor, kind after kind. */
const buckets = (): bigint[] => {
  const value = lab.object.map('icmp_buckets').lookup(index(0))!
  return [...new BigUint64Array(value.slice().buffer)]
}

testIf(noBpf, it, 'echoes and errors have limits of their own: beyond, they are dropped and counted', () => {
  const echo = cases.find(({ reason }) => reason === 'ICMP_ECHO')!
  const error = cases.find(({ reason }) => reason === 'ICMP_TO_HOST')!
  lab.addRoute(error.family, error.route!)
  const run = (one: IcmpCase): [number, Record<string, number>] => {
    lab.resetCounters()
    return [lab.run(one.frame).verdict, lab.counted()]
  }
  const later = process.hrtime.bigint() + 3_600_000_000_000n
  try {
    lab.netns.run(() => {
      setBuckets(later, 0n)
      assert.equal(run(echo), [XDP.drop, { ICMP_LIMITED: 1 }])
      assert.equal(run(error), [verdictOf(error), { ICMP_TO_HOST: 1 }])
      setBuckets(0n, later)
      assert.equal(run(echo), [XDP.tx, { ICMP_ECHO: 1 }])
      assert.equal(run(error), [XDP.drop, { ICMP_LIMITED: 1 }])
      // What is in the bucket: the time since it was empty, 200 ms at most; each message takes 100 us of it.
      const since = process.hrtime.bigint() - 1_000_000n
      setBuckets(since, since)
      run(echo)
      const [taken] = buckets().filter((empty, i) => i % 2 === 0 && empty !== since)
      const now = process.hrtime.bigint()
      assert.ok(taken === since + 100_000n || taken > now - 210_000_000n, `${taken} of ${since}`)
    })
  } finally {
    setBuckets(0n, 0n)
    lab.removeRoute(error.family, error.route!)
  }
})

testIf(noBpf, it, 'a forwarder that is the host gives errors to its own stack as they came', () => {
  const some = cases.filter(one => one.reason === 'ICMP_TO_HOST')
  lab.netns.run(() =>
    each(some, one => {
      const route = { ...one.route!, identifier: 0x0a000001 }
      lab.addRoute(one.family, route)
      lab.resetCounters()
      const { verdict, data } = lab.run(one.frame)
      lab.removeRoute(one.family, route)
      assert.equal([verdict, lab.counted()], [XDP.pass, { ICMP_LOCAL: 1 }], one.name)
      assert.equal(data, one.frame, one.name)
    }),
  )
})

/** With the source put where the frame has its own. */
const fromTunnel = (packet: Uint8Array, family: 4 | 6, tunnel: string): Uint8Array => {
  const out = packet.slice()
  out.set(addressBytes(tunnel), family === 4 ? 12 : 8)
  return out
}

testIf(
  noBpf,
  it,
  'what a forwarder makes of an error a host undoes, bit for bit; without its mapping it passes',
  () => {
    const some = cases.filter(one => one.reason === 'ICMP_TO_HOST' && !one.name.includes('damaged'))
    each(some, one => {
      const { family, frame, tags } = one
      const route = one.route!
      const tunnel = (one.name.length % 2 === 0 ? TUNNEL : OTHER_TUNNEL)[family]
      const { index, generation } = TUNNELS[tunnel === TUNNEL[family] ? 'first' : 'other']
      const at = packetOffset(tags)
      const packet = frame.slice(at)
      const inside = tunnelledError(packet, family, OWN[family]!, route.identifier, tunnel)!
      const tunnelled = Uint8Array.from([...frame.subarray(0, at), ...inside])
      const key = { tunnel: index, generation, identifier: route.identifier }
      host.resetCounters()
      assert.equal(
        [host.run(tunnelled).verdict, host.counted()],
        [XDP.pass, { UNSUPPORTED_PROTOCOL: 1 }],
        one.name,
      )
      const content = { client: addressWords(route.client), port: route.port, service: route.service }
      host.mappings[family].put(key, content, 0)
      host.resetCounters()
      const { verdict, data } = host.run(tunnelled)
      host.mappings[family].remove(index, route.identifier)
      assert.equal([verdict, host.counted()], [XDP.pass, { ICMP_RESTORED: 1 }], one.name)
      // But for who tells of it, and its checksums, it is what came from the router.
      const restored = data.slice(at)
      assert.equal(icmpFaults(restored), [], one.name)
      const head = family === 4 ? 20 : 40
      const zero = (bytes: Uint8Array): string => {
        const copy = fromTunnel(bytes, family, tunnel)
        copy.fill(0, head + 2, head + 4)
        if (family === 4) copy.fill(0, 10, 12)
        return Buffer.from(copy).toString('hex')
      }
      assert.is(zero(restored), zero(packet), one.name)
    })
  },
)

testIf(
  noBpf,
  it,
  'mutated errors: what XDP sends on is what the agent would send, all else passes unchanged',
  () => {
    // Of one flow for each family and protocol.
    const sources = cases.filter(
      ({ reason, tags, host: to, name }) =>
        reason === 'ICMP_TO_HOST' && tags === 0 && to === HOSTS.redirected && !name.includes('neutral'),
    )
    const routeOf = new Map(sources.map(one => [`${one.family} ${one.route!.service}`, one.route!]))
    let sent = 0
    let passed = 0
    lab.netns.run(() => {
      for (const [key, route] of routeOf) lab.addRoute(key.startsWith('4') ? 4 : 6, route)
      for (const seed of runSeeds()) {
        const below = integers(seeded(seed))
        for (let i = 0; i < 4000; i++) {
          const one = sources[below(sources.length)]!
          const frame = one.frame.slice(0, below(8) === 0 ? below(one.frame.length + 1) : one.frame.length)
          if (frame.length < 14) continue
          for (let left = below(3); left > 0 && frame.length > 20; left--)
            frame[14 + below(Math.min(frame.length - 14, 120))] = below(256)
          lab.resetCounters()
          const { verdict, data } = lab.run(frame)
          const counted = lab.counted()
          assert.is(
            Object.values(counted).reduce((sum, n) => sum + n, 0),
            1,
          )
          if (counted.ICMP_TO_HOST === 1) {
            sent++
            const protocol = frame[14 + (one.family === 4 ? 28 + 9 : 48 + 6)]
            const route = routeOf.get(`${one.family} ${protocol === 6 ? 1 : 2}`)!
            const expected = expectedIcmp({ ...one, frame, route }, sourceOf)
            assert.equal(
              Buffer.from(data).toString('hex'),
              Buffer.from(expected).toString('hex'),
              `seed ${seed}, ${i}`,
            )
          } else if (verdict === XDP.pass) {
            passed++
            assert.equal(data, frame, JSON.stringify(counted))
          }
        }
      }
      for (const [key, route] of routeOf) lab.removeRoute(key.startsWith('4') ? 4 : 6, route)
    })
    assert.ok(sent > 500 && passed > 500, `${sent} sent, ${passed} passed`)
  },
)

it.run()
