import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import { mutate, mutationSources } from '../support/dataplane-mutations.ts'
import { TUNNEL } from '../support/dataplane-world.ts'
import { packetOffset } from '../support/ethernet.ts'
import { type HostCase, hostCases, OTHER_TUNNEL, tunnelled } from '../support/host-cases.ts'
import { restoredFrame } from '../support/host-model.ts'
import { addressWords, join } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { ROLE, TUNNELS, XdpHostLab } from '../support/xdp-host-lab.ts'

const it = suite('xdp/host')
const noBpf = missingBpf()
let lab: XdpHostLab

it.before(() => {
  if (noBpf === undefined) lab = new XdpHostLab()
})
it.after(() => lab?.close())

const keyOf = ({ mapping }: HostCase) => {
  const { index, generation } = TUNNELS[mapping!.tunnel]
  return { tunnel: index, generation: (generation + 16 - mapping!.age) % 16, identifier: mapping!.identifier }
}

/** Runs with the case's mapping in place. */
const withMapping = <T>(one: HostCase, run: () => T): T => {
  const { mapping, family } = one
  if (mapping === null) return run()
  const key = keyOf(one)
  const { client, port, service } = mapping
  lab.mappings[family].put(key, { client: addressWords(client), port, service }, 0)
  try {
    return run()
  } finally {
    lab.mappings[family].remove(key.tunnel, key.identifier)
  }
}

const check = (one: HostCase, program?: string): void => {
  lab.resetCounters()
  const { verdict, data } = withMapping(one, () => lab.run(one.frame, program))
  const counted = lab.counted()
  const what = `${one.name}: verdict ${verdict}, ${JSON.stringify(counted)}`
  assert.equal(counted, { [one.reason]: 1 }, what)
  assert.is(verdict, XDP.pass, what)
  assert.equal(data, one.after, what)
}

const cases = hostCases()
assert.is(new Set(cases.map(({ name }) => name)).size, cases.length, 'each case has a name of its own')
const restored = cases.filter(({ reason }) => reason === 'RESTORED')
assert.ok(restored.length > 200, `${restored.length} cases of restored packets`)

/** All failures at once, of the first twenty the words. */
const each = (some: readonly HostCase[], run: (one: HostCase) => void): void => {
  const failures: string[] = []
  for (const one of some)
    try {
      run(one)
    } catch (error) {
      failures.push((error as Error).message)
    }
  assert.is(
    failures.length,
    0,
    `${failures.length} of ${some.length} cases:\n${failures.slice(0, 20).join('\n')}`,
  )
}

testIf(noBpf, it, `golden packets: ${cases.length} cases`, () => each(cases, one => check(one)))

testIf(noBpf, it, 'the same on an interface that is an uplink too', () => {
  lab.roles(ROLE.host | ROLE.forwarder)
  const tunnelled = cases.filter(({ reason }) => reason !== 'NOT_TUNNELLED' && reason !== 'TRUNCATED')
  each(tunnelled, one => check(one, 'edge_both'))
  each(
    cases.filter(({ reason }) => reason === 'NOT_TUNNELLED'),
    one => check({ ...one, reason: 'NOT_A_VIP' }, 'edge_both'),
  )
  lab.roles(ROLE.host)
})

testIf(noBpf, it, "60,000 mutated packets: the agent's verdicts and bytes, and each is counted", () => {
  const [packets, batch] = [60_000, 2000]
  const random = integers(seeded(runSeeds()[0]))
  const sources = mutationSources().flatMap(({ family, frame, tags, route }, i) => {
    if (route === null) return []
    const head = frame.subarray(0, packetOffset(tags))
    const tunnel = i % 2 === 0 ? ('first' as const) : ('other' as const)
    const from = tunnel === 'first' ? TUNNEL : OTHER_TUNNEL
    const packet = tunnelled(frame.slice(head.length), family, route.identifier, from)!
    const { identifier, client, port, service } = route
    const mapping = { family, tunnel, age: 0, identifier, client, port, service }
    return [{ family, frame: join(head, packet), mapping }]
  })
  const mappings = sources.map(({ mapping }) => mapping)
  for (const { family, tunnel, identifier, client, ...content } of mappings) {
    const { index: number, generation } = TUNNELS[tunnel]
    const key = { tunnel: number, generation, identifier }
    lab.mappings[family].put(key, { client: addressWords(client), ...content }, 0)
  }
  lab.roles(ROLE.host | ROLE.forwarder)
  let restoredOnes = 0
  for (let done = 0; done < packets; done += batch) {
    lab.resetCounters()
    for (let n = 0; n < batch; n++) {
      const frame = mutate(sources[random(sources.length)].frame, random)
      const after = restoredFrame(frame, mappings)
      const { verdict, data } = lab.run(frame, n % 2 === 0 ? 'edge_cluster' : 'edge_both')
      if (verdict !== XDP.pass || Buffer.compare(data, after ?? frame) !== 0)
        assert.unreachable(
          `verdict ${verdict}: ${Buffer.from(frame).toString('hex')} became ${Buffer.from(data).toString('hex')}`,
        )
      if (after !== null) restoredOnes++
    }
    const counted = lab.counted()
    const sum = Object.values(counted).reduce((total, count) => total + count, 0)
    assert.is(sum, batch, JSON.stringify(counted))
    assert.is(counted.NONE, undefined)
  }
  lab.roles(ROLE.host)
  assert.ok(restoredOnes > packets / 100 && restoredOnes < packets * 0.9, `${restoredOnes} restored`)
})

it.run()
