import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { startControlServer } from '../../../src/control/server.ts'
import type { UiEvent } from '../../../src/tui/model.ts'
import { type Poll, startPoll } from '../../../src/tui/poll.ts'
import { FakeView } from '../../support/fake-view.ts'

const it = suite('tui/poll')
const dir = mkdtempSync(join(tmpdir(), 'shunt-poll-'))
const socket = join(dir, 'control.sock')
it.after(() => rmSync(dir, { recursive: true }))

/** A poll and a way to wait for its next event. */
const poll = (isPaused: () => boolean, intervalMs = 3_600_000, node?: string) => {
  const ended = new AbortController()
  const events: UiEvent[] = []
  let arrived = (): void => {}
  const started: Poll = startPoll({
    ...{ socket, node },
    intervalMs,
    wants: () => ({ flows: '', events: { instance: '', after: 0 } }),
    isPaused,
    dispatch: event => {
      events.push(event)
      arrived()
    },
    signal: ended.signal,
  })
  const next = async (): Promise<UiEvent> => {
    if (events.length === 0) await new Promise<void>(resolve => (arrived = resolve))
    return events.shift()!
  }
  return { ...started, next, end: () => ended.abort() }
}

it('no agent, then one; a look now does not wait for the interval, nor for the end of a pause', async () => {
  const { next, now, end, done } = poll(() => true)
  const away = await next()
  assert.ok(away.on === 'away' && /cannot reach an agent/.test(away.why))
  const log = { error: () => undefined }
  const server = await startControlServer({ socketPath: socket, view: new FakeView(), node: 'f1', log })
  now()
  const seen = await next()
  assert.ok(seen.on === 'look' && seen.look.status.node === 'f1' && seen.look.flows === null)
  end()
  await done
  await server.close()
})

it('another node is looked at through the agent of the socket', async () => {
  const log = { error: () => undefined }
  const view = new FakeView()
  const server = await startControlServer({ socketPath: socket, view, node: 'f1', log })
  const { next, end, done } = poll(() => true, 3_600_000, 'h1')
  await next()
  assert.ok(view.remotes.length > 0 && view.remotes.every(({ node }) => node === 'h1'))
  end()
  await done
  await server.close()
})

it('an agent that is frozen counts as away after 3 s', async () => {
  const frozen = createServer(() => undefined)
  await new Promise<void>(resolve => frozen.listen(socket, resolve))
  const { next, end, done } = poll(() => false)
  const event = await next()
  assert.ok(event.on === 'away' && /no answer in 3 s/.test(event.why))
  end()
  await done
  frozen.close()
})

it.run()
