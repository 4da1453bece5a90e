/** Calls to peers: what comes of one, and what ends it. */
import type { Connection, Stream } from '@libp2p/interface'
import pino from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Dialler } from '../../../src/gossip/dialler.ts'
import { newPeer, type Peer } from '../../../src/gossip/peer.ts'

const it = suite('gossip calls to peers')

/** A dialler whose calls end as the test says: `answer` opens, an aborted signal rejects. */
const setUp = () => {
  const peer = newPeer({ name: 'n1', id: 'id1', roles: ['host'], address: '10.0.0.1' }, true, 0)
  peer.live = { ...peer.live, phase: 'dialing' }
  const told: string[] = []
  const counted: string[] = []
  const called: string[] = []
  const peers = new Set<Peer>([peer])
  let answer = (): void => {}
  const connection = {
    status: 'open',
    abort: (error: Error) => told.push(`aborted: ${error.message}`),
  } as unknown as Connection
  const dialler = new Dialler(
    {
      count: what => counted.push(what),
      connect: (id, address, signal) => {
        called.push(`${id} ${address}`)
        return new Promise((resolve, reject) => {
          answer = () => resolve({ stream: {} as Stream, connection })
          const refuse = (): void => reject(new Error('aborted'))
          if (signal.aborted) refuse()
          signal.addEventListener('abort', refuse)
        })
      },
      holds: one => peers.has(one),
      opened: ({ config }) => told.push(`opened ${config.name}`),
      failed: ({ config }) => told.push(`failed ${config.name}`),
    },
    pino({ level: 'silent' }),
  )
  return { dialler, peer, peers, told, counted, called, answer: () => answer() }
}

it('one that is taken is told of with its connection', async () => {
  const { dialler, peer, told, counted, called, answer } = setUp()
  const done = dialler.dial(peer)
  answer()
  await done
  assert.equal([told, counted, called], [['opened n1'], ['dials'], ['id1 10.0.0.1']])
  assert.is(peer.dialFailures, 0)
})

it('one that is given up fails, and the next takes another key; a stop ends all, those after it too', async () => {
  const { dialler, peer, told, counted } = setUp()
  const first = dialler.dial(peer)
  dialler.giveUp(peer)
  await first
  assert.equal([told, peer.dialFailures], [['failed n1'], 1])
  const second = dialler.dial(peer)
  dialler.stop()
  await second
  await dialler.dial(peer)
  assert.equal(told, ['failed n1', 'failed n1', 'failed n1'])
  assert.equal(counted.filter(what => what === 'dial_failures').length, 3)
})

for (const [why, change] of Object.entries({
  'has called itself': ({ peer }) => {
    peer.live = { ...peer.live, phase: 'greeting' }
  },
  'has another address': ({ peer }) => {
    peer.config = { ...peer.config, address: '10.0.0.2' }
  },
  'is none any more': ({ peers }) => peers.clear(),
} as Record<string, (world: ReturnType<typeof setUp>) => void>))
  it(`nobody wants the connection to one that ${why} meanwhile`, async () => {
    const world = setUp()
    const done = world.dialler.dial(world.peer)
    change(world)
    world.answer()
    await done
    assert.equal([world.told, world.counted], [['aborted: no longer wanted'], ['dials']])
  })

it('the failure of a call to a former address says nothing of the new one', async () => {
  const { dialler, peer, told, counted } = setUp()
  const done = dialler.dial(peer)
  peer.config = { ...peer.config, address: '10.0.0.2' }
  dialler.giveUp(peer)
  await done
  assert.equal([told, counted, peer.dialFailures], [[], ['dials', 'dial_failures'], 0])
})

it.run()
