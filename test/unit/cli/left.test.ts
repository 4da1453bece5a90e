/** How many connections a host still has in the cluster, and what is said of one that cannot be asked. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { deadText, leaseLeft, leaseText } from '../../../src/cli/directive/away.ts'
import { type AskNode, countLeft, leftNumber, leftText } from '../../../src/cli/directive/left.ts'
import type { FlowStatus, NodeRow, ServiceConnections } from '../../../src/control/types.ts'
import { ShuntError } from '../../../src/errors.ts'
import { FLOWS, HEALTH, NODES } from '../../support/fake-view.ts'

const it = suite('cli/left')

const node = (name: string, role: string, change: Partial<NodeRow> = {}): NodeRow => ({
  ...NODES.nodes[1]!,
  name,
  roles: [role],
  ...change,
})
const CLUSTER = [node('f1', 'forwarder', { self: true }), node('f2', 'forwarder'), node('h1', 'host')]
const web = (connections: number | null): ServiceConnections => ({
  service: 'web',
  protocol: 'tcp',
  connections,
})
const dns: ServiceConnections = { service: 'dns', protocol: 'udp', connections: null }
const ALL = { node: 'h1', app: '*' }
const flows = (...states: FlowStatus['state'][]) => ({
  total: 1000,
  shown: states.length,
  flows: states.map(state => ({ ...FLOWS.flows[0]!, state })),
})

/** Answers by node; a function gets the path. A node without any cannot be asked. */
const asking = (answers: Record<string, unknown>) => {
  const asked: string[] = []
  const ask = (async (path: string, { name }: NodeRow) => {
    asked.push(`${name} ${path}`)
    const answer = answers[name]
    if (answer === undefined) throw new ShuntError('SHUNT_ERR_PEER', `node ${name} did not answer`)
    if (answer instanceof Error) throw answer
    return typeof answer === 'function' ? answer(path) : answer
  }) as AskNode
  return { ask, asked }
}
const left = async (
  answers: Record<string, unknown>,
  target = ALL,
  nodes: readonly NodeRow[] = CLUSTER,
): Promise<[number | null, string]> => {
  const counted = await countLeft(target, nodes, asking(answers).ask)
  return [leftNumber(counted), leftText(counted, target.node)]
}

it('the host itself is asked, and nobody else where it knows all', async () => {
  const { ask, asked } = asking({ h1: { services: [web(3), { ...web(4), service: 'api' }] } })
  assert.equal(await countLeft(ALL, CLUSTER, ask), { host: 7, forwarders: null })
  assert.equal(asked, ['h1 /v1/apps'])
  const h1 = { services: [web(3), { ...web(1), service: 'api' }] }
  assert.equal(await left({ h1 }, { node: 'h1', app: 'api' }), [1, '1 connection left on h1'])
  assert.equal(await left({ h1: { services: [web(0)] } }), [0, 'no connections left on h1'])
})

it('what its kernel does not tell is counted by all forwarders, without what is closing', async () => {
  const answers = {
    h1: { services: [web(2), dns] },
    f1: flows('established', 'closing', 'embryonic'),
    f2: flows('established', 'closing'),
  }
  assert.equal(await left(answers), [5, '2 connections left on h1, 3 connections of dns left through f1, f2'])
  const { ask, asked } = asking(answers)
  await countLeft(ALL, CLUSTER, ask)
  assert.equal(asked.slice(1), [
    'f1 /v1/flows?limit=10000&host=h1&service=dns',
    'f2 /v1/flows?limit=10000&host=h1&service=dns',
  ])
})

it('a host that cannot be asked, or is of an earlier version: all forwarders', async () => {
  const [f1, f2] = [flows('established', 'established'), flows('closing')]
  const counted = [2, '2 connections left through f1, f2'] as const
  assert.equal(await left({ f1, f2 }), counted)
  assert.equal(await left({ h1: { listeners: [], processes: [] }, f1, f2 }), counted)
  const strange = new ShuntError('SHUNT_ERR_USAGE', 'there is no service web')
  const { node: name } = ALL
  assert.equal(await left({ f1: strange, f2: strange }, { node: name, app: 'web' }), [
    0,
    'no connections of web left through f1, f2',
  ])
})

it('a number that some forwarder knows more of is none', async () => {
  assert.equal(await left({ f1: flows('established') }), [
    null,
    'at least 1 connection left through f1 (f2 could not be asked)',
  ])
  assert.equal(await left({ f1: flows() }), [null, 'no connections left through f1 (f2 could not be asked)'])
  assert.equal(await left({}), [
    null,
    'how many connections are left is not known (f1, f2 could not be asked)',
  ])
  const many = { ...flows('established'), shown: 10_000 }
  assert.equal(await left({ f1: many, f2: flows() }), [null, 'at least 1 connection left through f1, f2'])
  // One that is dead is not even asked, and its routes may go on in its kernel.
  const nodes = [CLUSTER[0]!, node('f2', 'forwarder', { agent: 'dead' }), CLUSTER[2]!]
  const [number] = await left({ f1: flows('established'), f2: flows() }, ALL, nodes)
  assert.is(number, null)
})

it('says at once what is dead, and until when units send it connections', async () => {
  assert.is(deadText(node('h1', 'host')), null)
  assert.is(deadText(node('h1', 'host', { agent: 'dead' })), 'the agent of h1 is dead')
  assert.is(deadText(node('h1', 'host', { agent: 'dead', node: 'dead' })), 'the machine h1 is dead')
  const cached = (leaseMs: number | null) => ({ ...HEALTH, cache: [{ ...HEALTH.cache![0]!, leaseMs }] })
  const longest = (answers: Record<string, unknown>) => leaseLeft('h1', CLUSTER, asking(answers).ask)
  assert.is(await longest({ f1: cached(0), f2: cached(1200) }), 1200)
  assert.is(await longest({ f1: cached(0), f2: cached(0) }), 0)
  assert.is(await longest({ f1: cached(0), f2: cached(null) }), null, 'it chooses without leases')
  assert.is(await longest({}), null)
  assert.is(leaseText('h1', 0), 'h1 gets no new connections: its lease is over')
  assert.is(leaseText('h1', 1200), 'h1 may get new connections for at most 1.2s more, then its lease is over')
  assert.match(leaseText('h1', null), /not known/)
})

it.run()
