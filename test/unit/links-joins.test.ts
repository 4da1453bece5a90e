/** Machines that join with a token, and callers with no key at all, at the control port of a node (architecture decision 9). */
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { helloNonce, NONCE_BYTES, nonceMatches } from '../../src/gossip/hello-nonce.ts'
import type { JoinHook, JoinSession } from '../../src/gossip/joins.ts'
import { alive, Bench, type Node, PORT, stateOf, until } from './gossip/link-bench.ts'

interface Context {
  bench: Bench
  sockets: Socket[]
}
const it = suite<Context>('joins at the control port')
it.before.each(context => {
  context.sockets = []
})
it.after.each(async ({ bench, sockets }) => {
  for (const socket of sockets) socket.destroy()
  await bench?.end()
})

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const nonceOf = (fill: number): Uint8Array => helloNonce(key(fill), randomBytes(24))
const counter = (node: Node, name: string): number => node.links.counters()[name]!
const hook = (serve: JoinHook['serve']): JoinHook => ({
  keys: () => [
    { token: 'one', key: key(11) },
    { token: 'two', key: key(12) },
  ],
  serve,
})
/** Reads 4 bytes and says them backwards. */
const backwards = async (session: JoinSession): Promise<void> => {
  await session.write((await session.read(4)).reverse())
}

/** A caller that keeps what it is sent. */
class Caller {
  readonly socket: Socket
  readonly #parts: Buffer[] = []
  closed = false

  constructor(context: Context, host: string, localAddress: string) {
    this.socket = connect({ host, port: PORT, localAddress })
    context.sockets.push(this.socket)
    this.socket.on('data', (part: Buffer) => this.#parts.push(part))
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.closed = true
    })
  }

  get received(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

const make = async (
  context: Context,
  serve: JoinHook['serve'],
): Promise<{ a: Node; call(from?: number): Caller }> => {
  const bench = await Bench.make([['host'], ['host']])
  context.bench = bench
  const a = await bench.start(0, { joins: hook(serve) })
  const { address } = bench.peers[0]!
  return {
    a,
    call: (from = 50) => new Caller(context, address, address.replace(/\d+$/, String(from))),
  }
}

it('a join has a plain stream after both nonces, and the hook knows its token; peers are not disturbed', async context => {
  const sessions: JoinSession[] = []
  const { a, call } = await make(context, async session => {
    sessions.push(session)
    await backwards(session)
  })
  const b = await context.bench.start(1)
  const caller = call(77)
  const theirs = nonceOf(12)
  // Also in one packet with what follows, and in pieces.
  caller.socket.write(Buffer.concat([theirs, Buffer.from('ab')]))
  await until('the nonce is answered', () => caller.received.length === NONCE_BYTES)
  caller.socket.write('cd')
  await until('it is over', () => caller.closed)
  assert.is(caller.received.toString('latin1', NONCE_BYTES), 'dcba')
  const ours = caller.received.subarray(0, NONCE_BYTES)
  assert.ok(nonceMatches(key(12), ours))
  const [session] = sessions
  assert.is(session!.token, 'two')
  assert.equal([...session!.key], [...key(12)])
  assert.equal([...session!.theirs], [...theirs])
  assert.equal([...session!.ours], [...ours])
  assert.match(session!.remoteAddress, /^127\.\d+\.\d+\.77$/)
  await until('it is counted', () => counter(a, 'joins') === 1)
  assert.equal([counter(a, 'inbound_handshake_failed'), counter(a, 'inbound_wrong_network_key')], [0, 0])
  await alive('the peer is linked', [a, 'n1'], [b, 'n0'])
})

it('nobody’s key: closed at once, and not a byte is answered', async context => {
  const { a, call } = await make(context, backwards)
  const startedMs = performance.now()
  const callers = [nonceOf(13), randomBytes(NONCE_BYTES), new Uint8Array(NONCE_BYTES)].map(nonce => {
    const caller = call()
    caller.socket.write(nonce)
    return caller
  })
  await until('all are closed', () => callers.every(({ closed }) => closed))
  // Otherwise the handshake's own three seconds would have ended them.
  assert.ok(performance.now() - startedMs < 2500)
  assert.is(counter(a, 'inbound_wrong_network_key'), 3)
  assert.ok(callers.every(({ received }) => received.length === 0))
  assert.is(counter(a, 'joins') + counter(a, 'joins_failed'), 0)
})

it('joins: what the hook throws ends the connection; so does a caller that leaves', async context => {
  const { a, call } = await make(context, async session => {
    const word = Buffer.from(await session.read(4)).toString()
    if (word === 'boom') throw new Error('refused')
    await session.read(4)
  })
  const [refused, gone] = [call(), call()]
  refused.socket.write(Buffer.concat([nonceOf(11), Buffer.from('boom')]))
  gone.socket.write(Buffer.concat([nonceOf(11), Buffer.from('wait')]))
  await until('one is refused', () => refused.closed && counter(a, 'joins_failed') === 1)
  await until('the other waits', () => gone.received.length === NONCE_BYTES)
  gone.socket.destroy()
  await until('it is noticed', () => counter(a, 'joins_failed') === 2)
})

it('joins are few at a time, fewer from one address, and short; then there is room again', async context => {
  const { a, call } = await make(context, async session => {
    await session.read(4)
  })
  const startedMs = performance.now()
  const start = (from: number): Caller => {
    const caller = call(from)
    caller.socket.write(nonceOf(11))
    return caller
  }
  const first = [1, 2, 3, 4, 5].map(() => start(60))
  await until('the fifth of an address is refused', () => counter(a, 'joins_refused') === 1)
  const second = [61, 62, 63, 64].map(start)
  await until(
    'all eight places are taken',
    () => [...first, ...second].filter(({ received }) => received.length === NONCE_BYTES).length >= 8,
  )
  start(65)
  await until('one more is refused', () => counter(a, 'joins_refused') === 2)
  await until('the idle ones are ended', () => counter(a, 'joins_failed') === 8)
  assert.ok(performance.now() - startedMs >= 4900)
  const late = start(60)
  late.socket.write('done')
  await until('there is room again', () => late.closed && counter(a, 'joins') === 1)
})

it('a caller that sends without end ahead of being read is cut off, and holds no memory', async context => {
  const { a, call } = await make(context, () => new Promise(() => {}))
  const caller = call()
  caller.socket.write(Buffer.concat([nonceOf(11), Buffer.alloc(4 * 1024 * 1024)]))
  const startedMs = performance.now()
  await until('it is cut off', () => caller.closed)
  assert.ok(performance.now() - startedMs < 4000, 'before the time of a join is over')
  // The hook never settles: its place is free again all the same.
  await until('it is over', () => counter(a, 'joins_failed') === 1)
})

it('a node without a hook knows no join keys', async context => {
  context.bench = await Bench.make([['host'], ['host']])
  const a = await context.bench.start(0)
  const { address } = context.bench.peers[0]!
  const caller = new Caller(context, address, address)
  caller.socket.write(nonceOf(11))
  await until('it is closed', () => caller.closed)
  assert.is(counter(a, 'inbound_wrong_network_key'), 1)
  assert.is(caller.received.length, 0)
})

it('too many new connections of an address are closed at accept; those of others, and links, are not touched', async context => {
  const { a, call } = await make(context, backwards)
  const b = await context.bench.start(1)
  await alive('the peer is linked', [a, 'n1'], [b, 'n0'])
  const crowd = Array.from({ length: 300 }, () => call(90))
  await until('they are limited', () => counter(a, 'inbound_rate_limited') > 100)
  const other = call(91)
  other.socket.write(Buffer.concat([nonceOf(11), Buffer.from('abcd')]))
  await until('another address is served', () => other.received.length === NONCE_BYTES + 4)
  assert.ok(crowd.some(({ closed }) => closed))
  assert.equal([stateOf(a, 'n1'), stateOf(b, 'n0')], ['alive', 'alive'])
  assert.equal(
    a.changes.map(({ state }) => state).filter(state => state === 'dead'),
    [],
  )
})

it.run()
