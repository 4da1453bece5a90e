/** One kept stream: what is sent in one turn leaves in one write. */
import type { Connection, Stream } from '@libp2p/interface'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Link } from '../../../src/gossip/link.ts'

const it = suite('gossip link')

/** A stream that notes what it was given to send. */
class FakeStream extends EventTarget {
  status = 'open'
  writableNeedsDrain = false
  writeBufferLength = 0
  readonly sent: string[] = []
  send(bytes: Uint8Array): boolean {
    this.sent.push(Buffer.from(bytes).toString())
    return true
  }
  async close(): Promise<void> {}
}

const make = (): { stream: FakeStream; link: Link } => {
  const stream = new FakeStream()
  const connection = Object.assign(new EventTarget(), { abort: () => {}, close: async () => {} })
  const ignore = (): void => {}
  const handlers = {
    onFrames: ignore,
    onClosed: ignore,
    onPaused: ignore,
    onBytes: ignore,
    onSkipped: ignore,
  }
  return {
    stream,
    link: new Link(stream as unknown as Stream, connection as unknown as Connection, handlers),
  }
}
const text = (words: string): Uint8Array => Buffer.from(words)
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

it('frames of one turn leave in one write, in their order; those of the next turn in the next', async () => {
  const { stream, link } = make()
  for (const word of ['a', 'b', 'c']) assert.ok(link.send(text(word)))
  await turn()
  assert.equal(stream.sent, ['abc'])
  link.send(text('d'))
  await turn()
  assert.equal(stream.sent, ['abc', 'd'])
})

it('what was sent in the turn in which the link is finished still goes; of a closed one nothing', async () => {
  const { stream, link } = make()
  link.send(text('goodbye'))
  await link.finish()
  assert.equal(stream.sent, ['goodbye'])
  const closed = make()
  closed.link.send(text('lost'))
  closed.link.close('test')
  await turn()
  assert.equal(closed.stream.sent, [])
  assert.not(closed.link.send(text('more')))
})

it('a stream that is full is written to when it has drained', async () => {
  const { stream, link } = make()
  stream.writableNeedsDrain = true
  link.send(text('a'))
  await turn()
  link.send(text('b'))
  await turn()
  assert.equal(stream.sent, [])
  stream.writableNeedsDrain = false
  stream.dispatchEvent(new Event('drain'))
  assert.equal(stream.sent, ['ab'])
})

it.run()
