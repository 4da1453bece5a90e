import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import { type HostCase, hostCases } from '../support/host-cases.ts'
import { addressWords } from '../support/packets.ts'
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

it.run()
