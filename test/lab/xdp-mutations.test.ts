/**
 * Damaged packets by test run, SHUNT_MUTATIONS of them for each role (`make mutate`: a million): the verdict and bytes that the agent's own
 * parser and rewriting say, and each counted once. Bytes before the packet and behind its end, which no header speaks of, stay as they are.
 */
// test-timeout-ms: 900000
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type BpfProgram, XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import { counterSum } from '../support/counter-sum.ts'
import { expectedFrame } from '../support/dataplane-expected.ts'
import { type Judgement, judge } from '../support/dataplane-model.ts'
import { mutate, mutationSources } from '../support/dataplane-mutations.ts'
import { TUNNEL } from '../support/dataplane-world.ts'
import { packetOffset } from '../support/ethernet.ts'
import { OTHER_TUNNEL, tunnelled } from '../support/host-cases.ts'
import { restoredFrame } from '../support/host-model.ts'
import { removeNetns } from '../support/netns.ts'
import { addressWords, join, pattern } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { ROLE, TUNNELS, XdpHostLab } from '../support/xdp-host-lab.ts'
import { sourceOf, XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/mutations')
const noBpf = missingBpf()
const PACKETS = Number(process.env.SHUNT_MUTATIONS ?? 250_000)
/** Inside of a namespace for so many, so that the process is heard between. */
const BATCH = 2000
const META_BYTES = 32
/** Stands before the packet. */
const GUARD = pattern(META_BYTES, 0x5a)
const random = integers(seeded(runSeeds()[0]))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Where what was expected is not: says all that is needed to see it again. */
const runOnce = (
  program: BpfProgram,
  interfaceIndex: number,
  frame: Uint8Array,
  verdict: number,
  after: Uint8Array,
): void => {
  const data = join(GUARD, frame)
  const room = data.length + 64
  const result = program.testRun({ data, room, metaBytes: META_BYTES, ingress: { interfaceIndex } })
  const guarded = Buffer.compare(result.data.subarray(0, META_BYTES), GUARD) === 0
  const left = result.data.subarray(META_BYTES)
  if (!guarded || result.verdict !== verdict || Buffer.compare(left, after) !== 0)
    assert.unreachable(
      `verdict ${result.verdict}, not ${verdict}${guarded ? '' : ', and before it'}: ${hex(frame)} became ${hex(left)}, not ${hex(after)}`,
    )
}

/** All packets, a count after each. */
const runAll = (once: () => void, sum: () => number, inside: (run: () => void) => void): void => {
  let counted = sum()
  for (let done = 0; done < PACKETS; done += BATCH)
    inside(() => {
      for (let n = 0; n < BATCH; n++) {
        once()
        const now = sum()
        if (now !== counted + 1) assert.unreachable(`packet ${done + n} was counted ${now - counted} times`)
        counted = now
      }
    })
}

const verdictOf = ({ fate, host }: Judgement): number => {
  if (fate === 'dropped') return XDP.drop
  if (fate === 'passed') return XDP.pass
  return host?.exit === 'uplink' || host?.exit === 'vlan' ? XDP.tx : XDP.redirect
}

testIf(noBpf, it, `forwarder: ${PACKETS} packets`, async () => {
  const lab = await XdpLab.open()
  try {
    const sources = mutationSources()
    const routes = sources.flatMap(({ route }) => (route === null ? [] : [route]))
    for (const { family, route } of sources) if (route !== null) lab.addRoute(family, route)
    const fates = { forwarded: 0, passed: 0, dropped: 0 }
    const program = lab.object.program('edge_uplink')
    const once = (): void => {
      const frame = mutate(sources[random(sources.length)].frame, random)
      const judged = judge(frame, routes)
      const after = judged.fate === 'forwarded' ? expectedFrame({ ...judged, frame }, sourceOf) : frame
      runOnce(program, lab.ingress, frame, verdictOf(judged), after)
      fates[judged.fate]++
    }
    runAll(once, counterSum(lab.object), run => lab.netns.run(run))
    assert.is(lab.counted().NONE, undefined)
    // Else it would say nothing of one of them.
    assert.ok(Math.min(fates.forwarded, fates.passed, fates.dropped) > PACKETS / 100, JSON.stringify(fates))
  } finally {
    lab.close()
    await removeNetns()
  }
})

testIf(noBpf, it, `host, and both roles at once: ${PACKETS} packets`, () => {
  using lab = new XdpHostLab()
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
  const programs = ['edge_cluster', 'edge_both'].map(name => lab.object.program(name))
  let restored = 0
  const once = (): void => {
    const frame = mutate(sources[random(sources.length)].frame, random)
    const after = restoredFrame(frame, mappings)
    runOnce(programs[random(2)], 1, frame, XDP.pass, after ?? frame)
    if (after !== null) restored++
  }
  runAll(once, counterSum(lab.object), run => run())
  assert.is(lab.counted().NONE, undefined)
  assert.ok(restored > PACKETS / 100 && restored < PACKETS * 0.9, `${restored} restored`)
})

it.run()
