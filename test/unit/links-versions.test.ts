/** Links between programs of different versions: what each is sent, and what is taken from it. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Role } from '../../src/config/schema.ts'
import {
  encodeHealthFrame,
  encodeHeartbeat,
  encodeHello,
  encodePlumb,
  MAX_HEALTH_BODY_BYTES,
  MAX_VERSION,
} from '../../src/gossip/frames.ts'
import { alive, Bench, broken, flow, type Node, PORT, peerOf, stateOf, until } from './gossip/link-bench.ts'

const it = suite<{ bench: Bench }>('links of several versions')
it.after.each(({ bench }) => bench?.end())

const BOTH: Role[] = ['forwarder', 'classifier']
const make = async (context: { bench: Bench }, count: number): Promise<Bench> => {
  context.bench = await Bench.make(Array.from({ length: count }, () => BOTH))
  return context.bench
}
const counter = (node: Node, name: string): number => node.links.counters()[name]!
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words)

it('versions 1, 1 to 2, and ours on the wire: the highest that both speak; digests only from 2 on', async context => {
  const bench = await make(context, 3)
  const [a, b, c] = [
    await bench.start(0, { versions: { min: 1, max: 1 } }),
    await bench.start(1, { versions: { min: 1, max: 2 } }),
    await bench.start(2),
  ]
  for (const [i, { links }] of [a, b, c].entries()) links.setDigest(BigInt(i + 1), i + 1)
  await alive('all are alive', [a, 'n1'], [a, 'n2'], [b, 'n0'], [b, 'n2'], [c, 'n0'], [c, 'n1'])
  await until('2 and ours tell digests', () => peerOf(b, 'n2').digest === 3n && peerOf(c, 'n1').digest === 2n)
  assert.equal([peerOf(a, 'n1').version, peerOf(b, 'n0').version, peerOf(c, 'n0').version], [1, 1, 1])
  assert.equal([peerOf(b, 'n2').version, peerOf(c, 'n1').version], [2, 2])
  const echoed = (): boolean => peerOf(a, 'n1').rttMs !== null && peerOf(a, 'n2').rttMs !== null
  await until('heartbeats of 1 go both ways', echoed)
  assert.equal([peerOf(a, 'n1').digest, peerOf(b, 'n0').digest], [null, null])
  for (const node of [a, b, c]) assert.is(counter(node, 'frame_invalid'), 0)
})

it('a peer of a later version with longer heartbeats and frames of its own is understood as far as ours goes', async context => {
  const bench = await make(context, 2)
  const b = await bench.start(1, { checkRoles: false })
  const raw = await bench.startRaw(0)
  try {
    const { stream } = await raw.dial(
      bench.peers[1]!.id,
      bench.peers[1]!.address,
      PORT,
      AbortSignal.timeout(5000),
    )
    stream.addEventListener('message', () => {})
    stream.send(
      encodeHello({ minVersion: 1, maxVersion: MAX_VERSION + 1, name: 'n0', roles: 3 | 512, epoch: 1 }),
    )
    const beat = encodeHeartbeat({
      sequence: 0,
      sentMs: 0,
      draining: false,
      wantsEcho: false,
      knowledge: { digest: 77n, revision: 4 },
    })
    const longer = Buffer.concat([beat, new Uint8Array(20).fill(9)])
    longer.writeUInt32BE(longer.length - 4)
    stream.send(longer)
    stream.send(Uint8Array.of(0, 0, 0, 2, 99, 1))
    await until('it is understood', () => peerOf(b, 'n0').digest === 77n && stateOf(b, 'n0') === 'alive')
    await until('the rest is skipped', () => counter(b, 'frame_unknown_type') === 1)
    assert.is(peerOf(b, 'n0').version, MAX_VERSION)
  } finally {
    await raw.stop()
  }
})

it('heartbeats that come less often: their sender says so, and is not dead; a peer of an older version gets them as before', async context => {
  const bench = await make(context, 3)
  // As with 1,000 peers: 5 s.
  const pace = { peers: 0.1, gridMs: 50, mostMs: 30_000 }
  const [a, b, c] = [
    await bench.start(0, { pace }),
    await bench.start(1, { pace }),
    await bench.start(2, { pace, versions: { min: 1, max: 3 } }),
  ]
  const nodes = [a, b, c]
  await alive('all are alive', [a, 'n1'], [a, 'n2'], [b, 'n0'], [b, 'n2'], [c, 'n0'], [c, 'n1'])
  const quiet = (): boolean => peerOf(a, 'n1').lastHeardMs! > 1500 && peerOf(b, 'n0').lastHeardMs! > 1500
  await until('both are silent for longer than an unstretched link may be', quiet)
  assert.ok(peerOf(a, 'n2').lastHeardMs! < 900 && peerOf(c, 'n0').lastHeardMs! < 900, 'of 3: every 250 ms')
  a.links.setDigest(7n, 3)
  await until(
    'what is new comes at once',
    () => peerOf(b, 'n0').digest === 7n && peerOf(c, 'n0').digest === 7n,
  )
  for (const node of nodes) {
    assert.is(counter(node, 'links_silent'), 0)
    assert.is(broken(node), 0)
  }
})

it('health messages: between peers of version 3 or later as they are; not to, and not from, older ones', async context => {
  const bench = await make(context, 3)
  const [a, b, c] = [
    await bench.start(0),
    await bench.start(1),
    await bench.start(2, { versions: { min: 1, max: 2 } }),
  ]
  await alive('all are alive', [a, 'n1'], [a, 'n2'], [b, 'n0'], [c, 'n0'])
  assert.equal(
    [peerOf(a, 'n1').version, peerOf(a, 'n2').version, peerOf(c, 'n0').version],
    [MAX_VERSION, 2, 2],
  )
  const large = new Uint8Array(MAX_HEALTH_BODY_BYTES).map((_, i) => i % 251)
  for (const body of [bytes('one'), large]) assert.ok(a.links.send('n1', encodeHealthFrame(body)))
  await until('both are there', () => b.frames.filter(({ frame }) => frame.type === 'health').length === 2)
  const bodies = b.frames.map(({ frame }) => (frame.type === 'health' ? frame.body : undefined))
  assert.is(text(bodies[0]!), 'one')
  assert.is(Buffer.compare(bodies[1]!, large), 0)
  assert.not(a.links.send('n2', encodeHealthFrame(bytes('to an older one'))))
  assert.not(c.links.send('n0', encodeHealthFrame(bytes('from an older one'))))
  assert.equal([counter(a, 'send_dropped_version'), counter(c, 'send_dropped_version')], [1, 1])
  assert.ok(a.links.send('n2', encodePlumb([flow(1)])), 'other frames still go')
  await until('they come', () => c.frames.length === 1)
  assert.equal([counter(c, 'frame_unknown_type'), counter(c, 'frame_invalid')], [0, 0])
  await c.links.stop()
  await until('it is gone', () => stateOf(a, 'n2') !== 'alive')
  assert.is(peerOf(a, 'n2').version, null, 'the version is that of a link')
})

it('a peer that agreed on version 2 and sends health messages anyway is not listened to, and not cut off', async context => {
  const bench = await make(context, 2)
  const b = await bench.start(1)
  const raw = await bench.startRaw(0)
  try {
    const { id, address } = bench.peers[1]!
    const { stream } = await raw.dial(id, address, PORT, AbortSignal.timeout(5000))
    stream.addEventListener('message', () => {})
    stream.send(encodeHello({ minVersion: 1, maxVersion: 2, name: 'n0', roles: 3, epoch: 1 }))
    stream.send(encodeHeartbeat({ sequence: 0, sentMs: 0, draining: false, wantsEcho: false }))
    stream.send(encodeHealthFrame(bytes('x')))
    stream.send(encodePlumb([flow(1)]))
    await until('what comes after it is taken', () => b.frames.length === 1)
    assert.is(b.frames[0]!.frame.type, 'plumb')
    assert.equal([counter(b, 'frame_wrong_version'), counter(b, 'frame_invalid')], [1, 0])
  } finally {
    await raw.stop()
  }
})

it.run()
