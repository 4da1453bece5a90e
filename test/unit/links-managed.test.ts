/** Links of a managed cluster: peers and keys that change, digests, the bus, questions. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerConfig, Role } from '../../src/config/schema.ts'
import { ShuntError } from '../../src/errors.ts'
import {
  encodeLedgerEntries,
  encodeLedgerList,
  encodeLedgerWant,
  encodePlumb,
} from '../../src/gossip/frames.ts'
import { networkKey } from '../../src/gossip/keys.ts'
import { alive, Bench, flow, type Node, PORT, peerOf, stateOf, until } from './gossip/link-bench.ts'

const it = suite<{ bench: Bench }>('links of a managed cluster')
it.after.each(({ bench }) => bench?.end())

const BOTH: Role[] = ['forwarder', 'classifier']
const TOPIC = 'shunt/test'
const key = (fill: number): Uint8Array => networkKey(new Uint8Array(32).fill(fill))
const make = async (context: { bench: Bench }, count: number): Promise<Bench> => {
  context.bench = await Bench.make(Array.from({ length: count }, () => BOTH))
  return context.bench
}
/** All other nodes of the bench, changed. */
const others = (bench: Bench, index: number, change: (peer: PeerConfig) => PeerConfig): PeerConfig[] =>
  bench.peers.filter((_, i) => i !== index).map(change)
const counter = (node: Node, name: string): number => node.links.counters()[name]!
const said = (node: Node, peer: string): string[] =>
  node.changes.filter(({ name }) => name === peer).map(({ state }) => state)
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words)
const peerError = (pattern: RegExp) => (error: unknown) =>
  error instanceof ShuntError && error.code === 'SHUNT_ERR_PEER' && pattern.test(error.message)
const rejects = async (promise: Promise<unknown>, pattern: RegExp): Promise<void> => {
  let thrown: unknown
  await promise.catch(error => {
    thrown = error
  })
  assert.ok(peerError(pattern)(thrown), `${pattern}: ${thrown}`)
}

it('a peer taken out is closed at once and refused; put back, it is linked again', async context => {
  const bench = await make(context, 3)
  const [a, b, c] = [
    await bench.start(0, { topic: TOPIC }),
    await bench.start(1, { topic: TOPIC }),
    await bench.start(2, { topic: TOPIC }),
  ]
  await alive('all are alive', [a, 'n1'], [a, 'n2'], [b, 'n0'], [b, 'n2'], [c, 'n0'], [c, 'n1'])
  // n0 dials n1, so that it is n1 that has to refuse; n2 refuses n0 by not dialling, too.
  b.links.setPeers([bench.peers[2]!])
  assert.not(b.links.send('n0', encodePlumb([flow(1)])), 'nothing more is sent')
  assert.equal(
    b.links.states().map(({ name }) => name),
    ['n2'],
  )
  assert.equal(said(b, 'n0'), ['alive', 'dead'])
  await until('the other side sees it', () => stateOf(a, 'n1') === 'dead')
  await until('it is refused', () => counter(b, 'inbound_unknown_identity') > 1)
  assert.equal(said(b, 'n0'), ['alive', 'dead'])
  assert.equal([stateOf(b, 'n2'), stateOf(a, 'n2')], ['alive', 'alive'])
  b.links.setPeers([bench.peers[2]!, bench.peers[0]!])
  await alive('it is back', [a, 'n1'], [b, 'n0'])
  assert.equal(said(b, 'n2'), ['alive'], 'the third was never touched')
})

it('a peer may come that was not known at the start, on either side of the dialling', async context => {
  const bench = await make(context, 3)
  const b = await bench.start(1, { peers: [] })
  const [a, c] = [await bench.start(0), await bench.start(2)]
  b.links.setPeers(bench.peers)
  await alive('both are linked', [b, 'n0'], [b, 'n2'], [a, 'n1'], [c, 'n1'])
  assert.is(b.links.states().length, 2, 'not with itself')
})

it('another name and other roles are taken over without a new link', async context => {
  const bench = await make(context, 2)
  const managed = { checkRoles: false }
  const [a, b] = [await bench.start(0, managed), await bench.start(1, managed)]
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  b.links.setPeers([{ ...bench.peers[0]!, name: 'new', roles: ['host'] }])
  assert.equal(said(b, 'n0'), ['alive', 'dead'])
  assert.equal(said(b, 'new'), ['alive'])
  a.links.send('n1', encodePlumb([flow(1)]))
  await until('a host may not plumb', () => counter(b, 'frame_wrong_role') === 1)
  b.links.setPeers([{ ...bench.peers[0]!, name: 'new' }])
  a.links.send('n1', encodePlumb([flow(2)]))
  await until('a classifier may', () => b.frames.length === 1)
  assert.is(b.frames[0]!.peer, 'new')
  assert.ok(b.links.send('new', encodePlumb([flow(3)])))
  assert.is(counter(b, 'links_opened'), 1)
})

it('another address: the link moves there', async context => {
  const bench = await make(context, 2)
  const address = bench.peers[1]!.address.replace(/\d+$/, '99')
  const a = await bench.start(0)
  const b = await bench.start(1, { listen: { address, port: PORT } })
  await until('it was dialled in vain', () => counter(a, 'dial_failures') > 1)
  a.links.setPeers(others(bench, 0, peer => ({ ...peer, address })))
  await alive('it is found', [a, 'n1'], [b, 'n0'])
  assert.is(peerOf(a, 'n1').address, address)
  a.links.setPeers(bench.peers.slice(1))
  await until('the former address again', () => stateOf(a, 'n1') === 'dead')
  assert.ok(counter(a, 'links_closed') === 1)
})

it('network keys: links outlive a rotation; one that knows only the earlier key is reached while it is accepted', async context => {
  const bench = await make(context, 3)
  const [old, fresh] = [key(1), key(2)]
  const [n0, n1, n2] = bench.peers as [PeerConfig, PeerConfig, PeerConfig]
  const a = await bench.start(0, { networkKeys: [old], peers: [n1] })
  const b = await bench.start(1, { networkKeys: [old], peers: [n0] })
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  for (const { links } of [a, b]) links.setNetworkKeys([fresh, old])
  // n2 was away, and knows only the old key. n0 and n1 dial it, the first time when it is there.
  const c = await bench.start(2, { networkKeys: [old] })
  a.links.setPeers([n1, n2])
  b.links.setPeers([n0, n2])
  await alive('it is reached with the old key', [a, 'n2'], [b, 'n2'], [c, 'n0'], [c, 'n1'])
  assert.equal(said(a, 'n1'), ['alive'])
  assert.ok(counter(c, 'inbound_wrong_network_key') > 0, 'the fresh one was tried first')
  assert.throws(
    () => a.links.setNetworkKeys([]),
    (error: unknown) => error instanceof ShuntError && error.code === 'SHUNT_ERR_IDENTITY',
  )
})

it('network keys: the acceptor takes each of its keys, and nobody else gets an answer', async context => {
  const bench = await make(context, 3)
  const c = await bench.start(2, { networkKeys: [key(2), key(1)] })
  const a = await bench.start(0, { networkKeys: [key(1)] })
  const b = await bench.start(1, { networkKeys: [key(3)] })
  await alive('the earlier key is taken', [a, 'n2'], [c, 'n0'])
  await until('the unknown one is not', () => counter(c, 'inbound_wrong_network_key') > 1)
  assert.is.not(stateOf(b, 'n2'), 'alive')
  c.links.setNetworkKeys([key(2)])
  assert.is(stateOf(a, 'n2'), 'alive', 'links stay')
})

it('digest and revision travel in heartbeats; static nodes say none', async context => {
  const bench = await make(context, 3)
  const heard: [string, bigint, number][] = []
  const [a, b, c] = [await bench.start(0), await bench.start(1), await bench.start(2)]
  b.links.onDigest((...words) => heard.push(words))
  a.links.setDigest(0xfedcba9876543210n, 7)
  await alive('all are alive', [a, 'n1'], [b, 'n0'], [b, 'n2'], [c, 'n1'])
  await until('it is heard twice', () => heard.length >= 2)
  assert.equal(heard[0], ['n0', 0xfedcba9876543210n, 7])
  assert.equal([peerOf(b, 'n0').digest, peerOf(b, 'n0').revision], [0xfedcba9876543210n, 7])
  a.links.setDigest(5n, 8)
  await until('the new one is heard', () => peerOf(b, 'n0').digest === 5n && peerOf(b, 'n0').revision === 8)
  assert.is(peerOf(b, 'n2').digest, null)
  assert.ok(heard.every(([peer]) => peer === 'n0'))
})

it('ledger frames pass whatever the roles, in order', async context => {
  const bench = await make(context, 2)
  const [a, b] = [
    await bench.start(0, { roles: ['host'], checkRoles: false }),
    await bench.start(1, { checkRoles: false, peers: [{ ...bench.peers[0]!, roles: ['host'] }] }),
  ]
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  const hash = 'ab'.repeat(32)
  const large = new Uint8Array(196_608).fill(4)
  a.links.send('n1', encodeLedgerList(Array(8192).fill(hash)))
  a.links.send('n1', encodeLedgerWant([hash]))
  a.links.send('n1', encodeLedgerEntries([large]))
  await until('all have arrived', () => b.frames.length === 3)
  assert.equal(
    b.frames.map(({ peer, frame }) => [peer, frame.type]),
    [
      ['n0', 'ledger-list'],
      ['n0', 'ledger-want'],
      ['n0', 'ledger-entries'],
    ],
  )
  const [list, , entries] = b.frames.map(({ frame }) => frame)
  assert.is(list?.type === 'ledger-list' && list.hashes.length, 8192)
  assert.ok(entries?.type === 'ledger-entries' && Buffer.compare(entries.entries[0]!, large) === 0)
})

const published = (node: Node): [string, string][] => {
  const got: [string, string][] = []
  node.links.onPublished((peer, payload) => got.push([peer, text(payload)]))
  return got
}

it('what one publishes all others get, once, also across a restart and from one who is linked to few', async context => {
  const bench = await make(context, 4)
  const nodes = [
    await bench.start(0, { topic: TOPIC }),
    await bench.start(1, { topic: TOPIC }),
    await bench.start(2, { topic: TOPIC }),
  ]
  const got = nodes.map(published)
  await alive('all are alive', [nodes[0]!, 'n1'], [nodes[0]!, 'n2'], [nodes[1]!, 'n2'])
  // The mesh forms a moment after the links.
  const reaches = async (from: Node, to: [string, string][][], word: string): Promise<void> => {
    let tries = 0
    let sentMs = Number.NEGATIVE_INFINITY
    await until(`${word} is everywhere`, () => {
      const missing = to.some(all => !all.some(([, payload]) => payload.startsWith(word)))
      if (missing && performance.now() - sentMs > 500) {
        sentMs = performance.now()
        from.links.publish(bytes(`${word} ${tries++}`))
      }
      return !missing
    })
  }
  await reaches(nodes[0]!, [got[1]!, got[2]!], 'first')
  await reaches(nodes[2]!, [got[0]!, got[1]!], 'second')
  assert.ok(got[1]!.every(([peer, word]) => peer === (word.startsWith('first') ? 'n0' : 'n2')))
  assert.is(new Set(got[1]!.map(([, word]) => word)).size, got[1]!.length, 'each once')
  assert.is(
    got[0]!.some(([peer]) => peer === 'n0'),
    false,
    'not to oneself',
  )
  await nodes[1]!.links.stop()
  nodes[1] = await bench.start(1, { topic: TOPIC })
  const again = published(nodes[1]!)
  await alive('it is back', [nodes[0]!, 'n1'], [nodes[2]!, 'n1'])
  await reaches(nodes[0]!, [again, got[2]!], 'third')
  await reaches(nodes[1]!, [got[0]!, got[2]!], 'fourth')
})

it('publications: only of members, within size and rate, and none without a topic', async context => {
  const bench = await make(context, 3)
  const [a, b, c] = [
    await bench.start(0, { topic: TOPIC }),
    // n1 does not know n2, but gets what n0 passes on.
    await bench.start(1, { topic: TOPIC, peers: [bench.peers[0]!] }),
    await bench.start(2, { topic: TOPIC, peers: [bench.peers[0]!] }),
  ]
  const [gotA, gotB] = [published(a), published(b)]
  await alive('the chain is linked', [a, 'n1'], [a, 'n2'], [b, 'n0'], [c, 'n0'])
  let sentMs = Number.NEGATIVE_INFINITY
  await until('n1 was passed one of a stranger', () => {
    if (performance.now() - sentMs > 500) {
      sentMs = performance.now()
      c.links.publish(bytes(`${sentMs}`))
    }
    return counter(b, 'published_unknown_signer') > 0
  })
  assert.ok(gotA.length > 0)
  assert.equal(gotB, [])
  assert.not(a.links.publish(new Uint8Array(200_001)))
  assert.is(counter(a, 'publish_dropped_size'), 1)
  let taken = 0
  while (taken < 100 && a.links.publish(Uint8Array.of(taken))) taken++
  assert.ok(taken >= 32 && taken < 40, `${taken} at once`)
  assert.is(counter(a, 'publish_dropped_rate'), 1)
  const plain = await make(context, 1)
  await bench.end()
  const alone = await plain.start(0)
  assert.not(alone.links.publish(bytes('x')))
})

it('questions: answered, refused, failed, too long, to nobody, given up', async context => {
  const bench = await make(context, 3)
  const [a, b] = [await bench.start(0), await bench.start(1)]
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  const soon = (): AbortSignal => AbortSignal.timeout(10_000)
  await rejects(a.links.request('n1', bytes('nobody answers yet'), soon()), /n1 did not answer/)
  const waiting: (() => void)[] = []
  b.links.onRequest(async (peer, body) => {
    const question = text(body)
    if (question === 'fail') throw new Error('no such \u001b[2J thing')
    if (question === 'large') return new Uint8Array(8 * 1024 * 1024).fill(5)
    if (question === 'too large') return new Uint8Array(8 * 1024 * 1024 + 1)
    if (question === 'wait') await new Promise<void>(resolve => waiting.push(resolve))
    return bytes(`${peer} asked ${body.length}`)
  })
  const answer = async (question: Uint8Array): Promise<string> =>
    text(await a.links.request('n1', question, soon()))
  assert.is(await answer(bytes('four')), 'n0 asked 4')
  assert.is(await answer(new Uint8Array(0)), 'n0 asked 0')
  assert.is(await answer(new Uint8Array(16 * 1024)), 'n0 asked 16384')
  await rejects(a.links.request('n1', new Uint8Array(16 * 1024 + 1), soon()), /at most 16384/)
  await rejects(a.links.request('n1', bytes('fail'), soon()), /could not answer: no such \?\[2J thing/)
  await rejects(a.links.request('n1', bytes('too large'), soon()), /could not answer: the answer has 8388609/)
  const large = await a.links.request('n1', bytes('large'), soon())
  assert.ok(large.length === 8 * 1024 * 1024 && large.every(byte => byte === 5))
  await rejects(a.links.request('n2', bytes('x'), soon()), /no link to n2/)
  await rejects(a.links.request('n9', bytes('x'), soon()), /there is no node n9/)
  await rejects(a.links.request('n1', bytes('wait'), AbortSignal.timeout(50)), /did not answer/)
  const eight = Array.from({ length: 8 }, () => answer(bytes('wait')))
  await until('they are being answered', () => waiting.length >= 8)
  await rejects(a.links.request('n1', bytes('four'), AbortSignal.timeout(1000)), /did not answer/)
  for (const go of waiting) go()
  assert.equal(new Set(await Promise.all(eight)), new Set(['n0 asked 4']))
  assert.is(await answer(bytes('four')), 'n0 asked 4', 'places are free again')
  assert.equal([stateOf(a, 'n1'), stateOf(b, 'n0')], ['alive', 'alive'])
})

it('stop ends a process that has a bus', async context => {
  const bench = await make(context, 2)
  const a = await bench.start(0, { topic: TOPIC })
  const child = await bench.startChild(1, { topic: TOPIC })
  await alive('both are alive', [a, 'n1'])
  const exit = new Promise(resolve => child.once('exit', resolve))
  child.send('stop')
  assert.is(await exit, 0)
})

it.run()
