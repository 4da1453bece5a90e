import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { traceOutcome } from '../../../src/agent/trace-answer.ts'
import { followTrace, forwardersOf, traceLines, traceTrouble } from '../../../src/cli/trace-chain.ts'
import type { TraceData } from '../../../src/control/types.ts'
import { ShuntError } from '../../../src/errors.ts'
import { NODES, TRACE } from '../../support/fake-view.ts'

const it = suite('cli/trace-chain')

const asked: TraceData = {
  ...TRACE,
  ...{ kernel: null, flow: null, choice: null, nextHop: null, classifier: 'c1', host: null },
  verdict: 'classifier',
}
const chooses: TraceData = { ...asked, forwarder: false, choice: TRACE.choice, host: 'h1', classifier: null }
const host: TraceData = {
  ...asked,
  ...{ forwarder: false, verdict: 'own stack', host: 'h1', classifier: null },
  hostSide: {
    mappings: [
      { tunnel: '10.10.0.111', identifier: '0100002a', state: 'committed', idleMs: 300, kernel: 'xdp' },
    ],
    socket: 'established',
  },
}

const follow = async (answers: Record<string, TraceData | Error>, ...first: string[]) => {
  const order: string[] = []
  const links = await followTrace(first, async node => {
    order.push(node)
    const answer = answers[node]
    if (answer === undefined || answer instanceof Error)
      throw answer ?? new ShuntError('SHUNT_ERR_PEER', `no ${node}`)
    return answer
  })
  return { links, order }
}

it('goes from the forwarder over the classifier to the host, each asked once', async () => {
  const { links, order } = await follow({ f1: asked, f2: asked, c1: chooses, h1: host }, 'f1', 'f2')
  assert.equal(order, ['f1', 'c1', 'h1', 'f2'])
  assert.is(traceTrouble(links), '')
})

it('a forwarder that knows the host does not ask for a classifier', async () => {
  assert.equal((await follow({ f1: TRACE, h1: host }, 'f1')).order, ['f1', 'h1'])
})

it('one that does not answer is told; the only first one must', async () => {
  const { links } = await follow({ f1: TRACE }, 'f1')
  assert.equal(
    links.map(({ node, error }) => [node, error]),
    [
      ['f1', null],
      ['h1', 'no h1'],
    ],
  )
  assert.equal(traceLines(links[1]!), [{ node: 'h1', what: 'no answer', says: 'no h1' }])
  const code = await follow({}, 'f1').catch((error: ShuntError) => error.code)
  assert.is(code, 'SHUNT_ERR_PEER')
})

it('lines: what is there, and of a flow that is not, who would get it', () => {
  const lines = (trace: TraceData) => traceLines({ node: 'n', trace, error: null }).map(l => [l.what, l.says])
  assert.equal(lines(TRACE), [
    ['service', 'web'],
    ['kernel', 'route to h1 (xdp), identifier 0100002a, established, last used 400ms ago'],
    [
      'agent',
      'flow to h1, identifier 0100002a, established, 8 packets through the agent, last used 2.5s ago',
    ],
    ['next hop', '10.10.0.31 on eth0'],
    ['packet', 'forwarded to h1: the kernel has the route (xdp)'],
  ])
  assert.equal(lines(chooses)[1], [
    'new flow',
    'h1, by hash; among h1 100%; not h2 (dead, lease over, no share)',
  ])
  assert.equal(lines(host).slice(1, 3), [
    ['mapping', 'identifier 0100002a of 10.10.0.111, committed, restored by xdp, last used 300ms ago'],
    ['socket', 'established'],
  ])
})

it('trouble: dropped, nobody, nothing that listens', () => {
  const trouble = (...traces: TraceData[]): string =>
    traceTrouble(traces.map(trace => ({ node: 'n', trace, error: null })))
  assert.match(
    trouble({ ...asked, verdict: 'dropped', why: 'no host' }),
    /^n would drop the packet: no host$/,
  )
  assert.match(trouble({ ...asked, verdict: 'not ours' }), /^no node/)
  assert.match(
    trouble(TRACE, { ...host, hostSide: { mappings: [], socket: null } }),
    /^nothing listens at 10\.99\.0\.1:80 on n$/,
  )
})

it('the forwarders, the one here first', () => {
  const row = NODES.nodes[1]!
  const nodes = [
    { ...row, name: 'f2', roles: ['forwarder'] },
    ...NODES.nodes,
    { ...row, retiring: ['forwarder'] },
  ]
  assert.equal(forwardersOf({ mode: 'managed', nodes }), ['f1', 'f2', 'h1'])
})

it('what becomes of the next packet', () => {
  const of = (change: Partial<TraceData>): unknown[] => {
    const { verdict, host: to, why } = traceOutcome({ ...TRACE, ...change }, 'f1')
    return [verdict, to, why]
  }
  const none = { kernel: null, flow: null }
  assert.equal(of({ inForce: false }).slice(0, 2), ['not ours', null])
  assert.equal(of({ service: null }).slice(0, 2), ['dropped', null])
  assert.equal(of({}), ['forwarded', 'h1', 'the kernel has the route (xdp)'])
  assert.equal(of({ kernel: { ...TRACE.kernel!, host: 'f1' } }).slice(0, 2), ['own stack', 'f1'])
  // One that the agent holds, or that the host has not acknowledged, is not followed.
  for (const change of [{ state: 'held' }, { mapped: false }] as const)
    assert.equal(of({ kernel: { ...TRACE.kernel!, ...change } }), [
      'forwarded',
      'h1',
      'the agent has the flow',
    ])
  assert.match(
    of({ kernel: null, flow: { ...TRACE.flow!, mapped: false } })[2] as string,
    /until the host has acknowledged/,
  )
  assert.equal(of({ flow: { ...TRACE.flow!, inactive: true } }).slice(0, 2), ['dropped', null])
  assert.equal(of(none).slice(0, 2), ['forwarded', 'h1'])
  assert.equal(of({ ...none, choice: { ...TRACE.choice!, host: null } }).slice(0, 2), ['dropped', null])
  assert.equal(of({ ...none, choice: null }), ['dropped', null, 'new, and no classifier is alive'])
  assert.equal(of({ ...none, choice: null, classifier: 'c1' }).slice(0, 2), ['classifier', null])
  // A flow whose host is not chosen yet is like one that is not there.
  assert.equal(of({ kernel: null, flow: { ...TRACE.flow!, host: null } }).slice(0, 2), ['forwarded', 'h1'])
  const hosted = { ...none, forwarder: false, choice: null }
  assert.equal(of({ ...hosted, hostSide: host.hostSide }).slice(0, 2), ['own stack', 'f1'])
  assert.equal(of({ ...hosted, hostSide: { mappings: [], socket: 'listen' } }).slice(0, 2), [
    'not ours',
    null,
  ])
})

it.run()
