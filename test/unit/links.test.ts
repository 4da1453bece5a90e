import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import pino from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Role } from '../../src/config/schema.ts'
import { ShuntError } from '../../src/errors.ts'
import {
  encodeEnded,
  encodeHeartbeat,
  encodeHello,
  encodePlumb,
  encodeUnplumb,
  MAX_BATCH_RECORDS,
  MAX_VERSION,
} from '../../src/gossip/frames.ts'
import { createPeerLinks } from '../../src/gossip/links.ts'
import type { createLinkNode } from '../../src/gossip/node.ts'
import { alive, Bench, bare, broken, flow, PORT, peerOf, stateOf, until } from './gossip/link-bench.ts'

const it = suite<{ bench: Bench }>('links')
it.after.each(({ bench }) => bench?.end())

const BOTH: Role[] = ['forwarder', 'classifier']
/** A bench that is ended with its test. */
const make = async (context: { bench: Bench }, roles: Role[][]): Promise<Bench> => {
  context.bench = await Bench.make(roles)
  return context.bench
}
const numbersOf = (node: { frames: { frame: object }[] }): number[] =>
  node.frames.flatMap(({ frame }) =>
    'records' in frame ? (frame.records as { key: Uint32Array }[]).map(({ key }) => key[3]!) : [],
  )

it('three nodes find each other, and say who they are', async context => {
  const bench = await make(context, [BOTH, ['forwarder'], ['host']])
  const [a, b, c] = [await bench.start(0), await bench.start(1), await bench.start(2)]
  await alive('all are alive', [a, 'n1'], [a, 'n2'], [b, 'n0'], [b, 'n2'], [c, 'n0'], [c, 'n1'])
  assert.is(a.links.id, bench.peers[0]!.id)
  await until('a round trip is measured', () => peerOf(a, 'n2').rttMs !== null)
  const state = peerOf(a, 'n2')
  assert.equal(
    { ...state, lastHeardMs: 0, rttMs: 0 },
    {
      name: 'n2',
      id: c.links.id,
      roles: ['host'],
      address: bench.peers[2]!.address,
      state: 'alive',
      draining: false,
      lastHeardMs: 0,
      rttMs: 0,
      epoch: 102,
      version: MAX_VERSION,
      digest: null,
      revision: null,
    },
  )
  assert.ok(state.lastHeardMs! >= 0 && state.rttMs! >= 0)
  assert.is(a.links.counters().inbound_connections, 0, 'the lower peer id dials')
  assert.is(c.links.counters().links_opened, 2, 'one stream a pair')
})

it('frames arrive both ways, in order, whole, from 1 to 4096 records', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const [a, b] = [await bench.start(0), await bench.start(1)]
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  const sent: number[] = []
  for (let i = 0; i < 300; i++) {
    const length = i === 150 ? MAX_BATCH_RECORDS : 1 + (i % 40)
    const numbers = Array.from({ length }, (_, j) => sent.length + 1 + j)
    sent.push(...numbers)
    assert.ok(a.links.send('n1', encodePlumb(numbers.map(flow))))
    assert.ok(b.links.send('n0', encodeEnded(numbers.map(bare))))
  }
  await until(
    'everything has arrived',
    () => numbersOf(b).length >= sent.length && numbersOf(a).length >= sent.length,
  )
  assert.equal(numbersOf(b), sent)
  assert.equal(numbersOf(a), sent)
  assert.ok(b.frames.every(({ peer, frame }) => peer === 'n0' && frame.type === 'plumb'))
  assert.ok(a.frames.every(({ peer, frame }) => peer === 'n1' && frame.type === 'ended'))
  a.links.send('n1', encodeUnplumb([bare(1)]))
  await until('UNPLUMB has arrived', () => b.frames.at(-1)?.frame.type === 'unplumb')
})

it('routes are taken only from classifiers, endings only from forwarders', async context => {
  const bench = await make(context, [['classifier'], ['forwarder']])
  const [a, b] = [await bench.start(0), await bench.start(1)]
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  b.links.send('n0', encodePlumb([flow(1)]))
  b.links.send('n0', encodeUnplumb([bare(2)]))
  b.links.send('n0', encodeEnded([bare(3)]))
  a.links.send('n1', encodeEnded([bare(4)]))
  a.links.send('n1', encodePlumb([flow(5)]))
  await until('the allowed ones have arrived', () => a.frames.length > 0 && b.frames.length > 0)
  assert.equal(numbersOf(a), [3])
  assert.equal(numbersOf(b), [5])
  assert.is(a.links.counters().frame_wrong_role, 2)
  assert.is(b.links.counters().frame_wrong_role, 1)
  assert.is(stateOf(a, 'n1'), 'alive')
})

it('another cluster secret: never alive, nothing delivered; the others go on', async context => {
  const bench = await make(context, [BOTH, BOTH, BOTH])
  const [a, c] = [await bench.start(0), await bench.start(2)]
  const b = await bench.start(1, { networkKeys: [new Uint8Array(32).fill(8)] })
  await alive('the right pair is alive', [a, 'n2'], [c, 'n0'])
  await until(
    'both ways were tried',
    () => a.links.counters().dial_failures! > 1 && c.links.counters().inbound_handshake_failed! > 0,
  )
  assert.not(b.links.send('n0', encodePlumb([flow(1)])))
  assert.ok(b.links.counters().send_dropped_down! > 0)
  await until('the wrong one is given up', () => stateOf(a, 'n1') === 'dead' && stateOf(c, 'n1') === 'dead')
  for (const node of [a, b, c]) assert.equal(node.frames, [])
  assert.equal(
    b.changes.filter(({ state }) => state === 'alive'),
    [],
  )
  assert.equal([stateOf(a, 'n2'), stateOf(c, 'n0')], ['alive', 'alive'])
})

it('the right secret with an identity that is not listed: refused, counted, logged once', async context => {
  const bench = await make(context, [BOTH, BOTH, BOTH])
  const [stranger, a, b] = [
    await bench.start(0),
    await bench.start(1, { peers: [bench.peers[2]!] }),
    await bench.start(2, { peers: [bench.peers[1]!] }),
  ]
  await alive('the listed pair is alive', [a, 'n2'], [b, 'n1'])
  await until('the stranger has tried several times', () => a.links.counters().inbound_unknown_identity! > 2)
  assert.not(stranger.links.send('n1', encodePlumb([flow(1)])))
  assert.equal(
    stranger.changes.filter(({ state }) => state === 'alive'),
    [],
  )
  assert.is(a.links.counters().links_opened, 1)
  const logged = a.logs.filter(({ id }) => id === bench.peers[0]!.id)
  assert.is(logged.length, 1)
  assert.match(String(logged[0]!.msg), /list it in peers/)
})

it('the wrong side dials: refused', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const a = await bench.start(0)
  const backwards = await bench.startRaw(1, (_, connection) => connection.abort(new Error('not taken')))
  try {
    const { id, address } = bench.peers[0]!
    await backwards.dial(id, address, PORT, AbortSignal.timeout(5000)).then(
      () => assert.unreachable('it was let in'),
      () => {},
    )
    assert.is(a.links.counters().inbound_wrong_direction, 1)
  } finally {
    await backwards.stop()
  }
})

it('a name or roles that the configuration does not give: refused, counted, logged with what to do, no flapping', async context => {
  const bench = await make(context, [BOTH, ['host'], ['host']])
  const a = await bench.start(0)
  const misnamed = await bench.start(1, { name: 'other' })
  const greedy = await bench.start(2, { roles: ['host', 'classifier'] })
  await until('both were refused more than once', () => a.links.counters().hello_refused! >= 4)
  for (const node of [a, misnamed, greedy])
    assert.equal(
      node.changes.filter(({ state, name }) => state === 'alive' && (node === a || name === 'n0')),
      [],
    )
  assert.equal([stateOf(a, 'n1'), stateOf(a, 'n2')], ['dead', 'dead'])
  const complaints = a.logs.map(({ complaint }) => String(complaint))
  assert.is(
    complaints.filter(text => /calls itself other: correct/.test(text)).length,
    1,
    'once, not at every try',
  )
  assert.is(
    complaints.filter(text => /roles classifier, host, but is configured here with host: correct/.test(text))
      .length,
    1,
  )
  const told = greedy.logs.map(({ complaint }) => String(complaint))
  assert.ok(
    told.some(text => /it refused this node: .*correct/.test(text)),
    'the refused one is told why',
  )
})

it('a killed process is dead at once, and alive again after a restart with its identity', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const a = await bench.start(0)
  const child = await bench.startChild(1)
  await alive('the child is alive', [a, 'n1'])
  const killedMs = performance.now()
  child.kill('SIGKILL')
  await until('the child is dead', () => stateOf(a, 'n1') === 'dead')
  assert.ok(performance.now() - killedMs < 5000)
  assert.not(a.links.send('n1', encodePlumb([flow(1)])))
  await bench.startChild(1)
  await alive('the child is alive again', [a, 'n1'])
  // On a busy machine the child may take so long to come up that it was given up before.
  const seen = a.changes.map(({ state }) => state)
  assert.equal(seen.slice(seen.indexOf('alive')), ['alive', 'dead', 'alive'])
  assert.not(peerOf(a, 'n1').draining)
})

it('a stopped process is dead by silence, its queue is bounded, and it comes back when it goes on', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const a = await bench.start(0)
  const child = await bench.startChild(1)
  await alive('the child is alive', [a, 'n1'])
  child.kill('SIGSTOP')
  const batch = encodePlumb(Array.from({ length: MAX_BATCH_RECORDS }, (_, i) => flow(i)))
  let queued = 0
  for (let i = 0; i < 1000; i++) if (a.links.send('n1', batch)) queued += batch.length
  assert.ok(queued > 0 && queued < 6 * 1024 * 1024, `${queued} bytes were taken`)
  assert.ok(a.links.counters().send_dropped_full! > 0)
  await until('silence is noticed', () => stateOf(a, 'n1') === 'dead')
  assert.is(a.links.counters().links_silent, 1)
  child.kill('SIGCONT')
  await alive('the child is alive again', [a, 'n1'])
})

it('the dialled side also redials nothing, and hears a dialler that comes back', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const b = await bench.start(1)
  const first = await bench.startChild(0)
  await alive('the child is alive', [b, 'n0'])
  first.kill('SIGKILL')
  await until('the child is dead', () => stateOf(b, 'n0') === 'dead')
  await bench.startChild(0)
  await alive('the child is alive again', [b, 'n0'])
  assert.is(b.links.counters().dials, 0)
})

it('GOODBYE: dead at once, draining, no silence to wait for, no new links', async context => {
  const bench = await make(context, [BOTH, BOTH, BOTH])
  const [a, b, c] = [await bench.start(0), await bench.start(1), await bench.start(2)]
  await alive('all are alive', [a, 'n1'], [c, 'n1'], [b, 'n0'], [b, 'n2'])
  b.links.setDraining(true)
  await until('draining is heard', () => peerOf(a, 'n1').draining && peerOf(c, 'n1').draining)
  assert.is(stateOf(a, 'n1'), 'alive')
  b.links.setDraining(false)
  await until('draining is over', () => !peerOf(a, 'n1').draining && !peerOf(c, 'n1').draining)
  await b.links.goodbye('upgrade')
  await until('both know', () =>
    [a, c].every(node => stateOf(node, 'n1') === 'dead' && peerOf(node, 'n1').draining),
  )
  for (const node of [a, c]) {
    assert.is(node.links.counters().goodbyes_in, 1)
    assert.is(node.links.counters().links_silent, 0)
    assert.ok(node.logs.some(({ reason }) => reason === 'upgrade'))
  }
  await until('it was dialled in vain', () => a.links.counters().dial_failures! > 0)
  assert.is(stateOf(a, 'n1'), 'dead')
  assert.equal([stateOf(a, 'n2'), stateOf(b, 'n0')], ['alive', 'dead'])
})

it('garbage and hundreds of idle connections on the port: others stay alive, and a new peer still gets in', async context => {
  const bench = await make(context, [BOTH, BOTH, BOTH])
  const [b, c] = [await bench.start(1), await bench.start(2)]
  await alive('both are alive', [b, 'n2'], [c, 'n1'])
  const sockets: Socket[] = []
  /** At once: one after the other they might come slowly enough to be let in, on a busy machine. */
  const attack = async (
    index: number,
    count: number,
    talk: (socket: Socket, i: number) => void,
  ): Promise<void> => {
    const connects = Array.from({ length: count }, async (_, i) => {
      const socket = connect({ host: bench.peers[index]!.address, port: PORT })
      socket.on('error', () => {})
      sockets.push(socket)
      // One above the rate is closed before it is told that it was connected.
      await once(socket, 'connect').then(
        () => talk(socket, i),
        () => {},
      )
    })
    await Promise.all(connects)
  }
  const refused = (): number => {
    const { inbound_handshake_evicted: evicted, inbound_rate_limited: limited } = b.links.counters()
    return evicted! + limited!
  }
  try {
    await attack(1, 40, (socket, i) => {
      const bytes = crypto.getRandomValues(new Uint8Array(1 + i * 1500))
      socket.write(bytes)
      if (i % 3 === 0) socket.end()
      if (i % 3 === 1) socket.resetAndDestroy()
    })
    for (let waves = 0; refused() <= 100; waves++) {
      assert.ok(waves < 20, 'the attack is not seen')
      await attack(1, 200, (socket, i) => void (i % 2 === 0 && socket.write('x')))
    }
    const a = await bench.start(0)
    await alive(
      'the third calls the attacked one while the sockets are open',
      [a, 'n1'],
      [b, 'n0'],
      [a, 'n2'],
    )
    await attack(0, 50, socket => socket.write('GET / HTTP/1.1\r\n\r\n'))
    assert.equal([a, b, c].map(broken), [0, 0, 0])
    assert.ok(a.links.send('n1', encodePlumb([flow(9)])))
    await until('frames still arrive', () => numbersOf(b).includes(9))
    assert.is(b.links.counters().links_opened, 2)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
})

const hostile: [string, Uint8Array[], string][] = [
  ['records before HELLO', [encodePlumb([flow(1)])], 'frame_out_of_turn'],
  [
    'heartbeats before HELLO',
    [encodeHeartbeat({ sequence: 0, sentMs: 0, draining: false, wantsEcho: true })],
    'frame_out_of_turn',
  ],
  ['an impossible length', [new Uint8Array([255, 255, 255, 255])], 'frame_invalid'],
  ['noise', [new Uint8Array(2000).fill(0x11)], 'frame_invalid'],
]
for (const [what, frames, counter] of hostile)
  it(`a listed peer that sends ${what} is cut off, and nothing of it is delivered`, async context => {
    const bench = await make(context, [BOTH, BOTH])
    const b = await bench.start(1)
    await withRawPeer(bench, async dial => {
      const stream = await dial()
      const closed = once(stream as unknown as EventTarget, 'close')
      for (const frame of frames) stream.send(frame)
      await until('it is counted', () => b.links.counters()[counter]! > 0)
      await closed
      assert.equal(b.frames, [])
      assert.is.not(stateOf(b, 'n0'), 'alive')
    })
  })

it('a listed peer: frames of later versions are skipped, a second HELLO is not taken, a flood is slowed', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const b = await bench.start(1)
  await withRawPeer(bench, async dial => {
    const stream = await dial()
    const hello = encodeHello({ minVersion: 1, maxVersion: 7, name: 'n0', roles: 3 | 64, epoch: 5 })
    const beat = (sequence: number) =>
      encodeHeartbeat({ sequence, sentMs: 0, draining: false, wantsEcho: false })
    stream.send(hello)
    stream.send(new Uint8Array([0, 0, 0, 3, 200, 1, 2]))
    stream.send(beat(0))
    await alive('it is alive', [b, 'n0'])
    assert.is(b.links.counters().frame_unknown_type, 1)
    assert.is(peerOf(b, 'n0').epoch, 5)
    const flood = Buffer.concat(Array.from({ length: 12_000 }, (_, i) => beat(i)))
    stream.send(flood)
    await until('the flood is slowed', () => b.links.counters().inbound_paused! > 0)
    await until('it is read to its end', () => b.links.counters().frames_in! > 12_000)
    assert.is(stateOf(b, 'n0'), 'alive')
    stream.send(hello)
    await until('it is cut off', () => stateOf(b, 'n0') === 'dead')
    assert.is(b.links.counters().frame_out_of_turn, 1)
  })
})

it('a peer that opens a link and says nothing is cut off', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const b = await bench.start(1)
  await withRawPeer(bench, async dial => {
    const stream = await dial()
    await until('the stream is there', () => b.links.counters().links_opened === 1)
    await once(stream as unknown as EventTarget, 'close')
    assert.is(b.links.counters().links_silent, 1)
  })
})

it('a second link of the same peer replaces the first, seen as dead and then alive', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const b = await bench.start(1)
  await withRawPeer(bench, async dial => {
    const join = async (): Promise<EventTarget> => {
      const stream = await dial()
      stream.send(encodeHello({ minVersion: 1, maxVersion: 1, name: 'n0', roles: 3, epoch: 1 }))
      stream.send(encodeHeartbeat({ sequence: 0, sentMs: 0, draining: false, wantsEcho: false }))
      return stream as unknown as EventTarget
    }
    const first = await join()
    await alive('the first is alive', [b, 'n0'])
    const closed = once(first, 'close')
    await join()
    await closed
    await alive('the second is alive', [b, 'n0'])
    assert.equal(
      b.changes.map(({ state }) => state),
      ['alive', 'dead', 'alive'],
    )
    assert.is(broken(b), 1)
  })
})

it('a callback that throws tears nothing down', async context => {
  const bench = await make(context, [BOTH, BOTH])
  const [a, b] = [await bench.start(0), await bench.start(1)]
  b.links.onFrame(() => {
    throw new Error('a bug elsewhere')
  })
  await alive('both are alive', [a, 'n1'], [b, 'n0'])
  a.links.send('n1', encodePlumb([flow(1)]))
  a.links.send('n1', encodePlumb([flow(2)]))
  await until('both have arrived', () => numbersOf(b).length === 2)
  assert.is(stateOf(b, 'n0'), 'alive')
  assert.ok(b.logs.some(({ msg }) => /callback failed/.test(String(msg))))
})

it('stop ends the process, in any state; an agent can be stopped twice, or before it started', async context => {
  const bench = await make(context, [BOTH, BOTH, BOTH])
  const a = await bench.start(0)
  const children = [await bench.startChild(1), await bench.startChild(2)]
  await alive('both are alive', [a, 'n1'], [a, 'n2'])
  children[0]!.send('goodbye')
  await until('one has said goodbye', () => peerOf(a, 'n1').draining)
  const exits = children.map(child => once(child, 'exit'))
  for (const child of children) child.send('stop')
  assert.equal(await Promise.all(exits), [
    [0, null],
    [0, null],
  ])
  await a.links.stop()
  await a.links.stop()
  assert.not(a.links.send('n1', encodePlumb([flow(1)])))
  const idle = createPeerLinks({ ...bench.options(1), log: pino({ level: 'silent' }) })
  await idle.goodbye('never started')
  await idle.stop()
})

it('a port in use, and a peer with our own id, are said clearly', async context => {
  const bench = await make(context, [BOTH, BOTH])
  await bench.start(0)
  const second = createPeerLinks({
    ...bench.options(1, { listen: bench.options(0).listen }),
    log: pino({ level: 'silent' }),
  })
  await second.start().then(
    () => assert.unreachable('two nodes listen on one port'),
    error =>
      assert.match(
        error.message,
        /^cannot listen for peers on 127\S* port 6780 \(listen EADDRINUSE[^\n]*\); is addresses.cluster/,
      ),
  )
  assert.throws(
    () => createPeerLinks({ ...bench.options(0, { peers: bench.peers }), log: pino({ level: 'silent' }) }),
    (error: unknown) =>
      error instanceof ShuntError && error.code === 'SHUNT_ERR_CONFIG' && /own id/.test(error.message),
  )
})

type RawStream = Awaited<ReturnType<ReturnType<typeof createLinkNode>['dial']>>['stream']

/** Node 0 of the bench with the key and identity of a peer, but manners of the test's own. */
const withRawPeer = async (
  bench: Bench,
  use: (dial: () => Promise<RawStream>) => Promise<void>,
): Promise<void> => {
  const raw = await bench.startRaw(0)
  try {
    await use(async () => {
      const { id, address } = bench.peers[1]!
      const { stream } = await raw.dial(id, address, PORT, AbortSignal.timeout(5000))
      stream.addEventListener('message', () => {})
      return stream
    })
  } finally {
    await raw.stop()
  }
}

it.run()
