/** `shunt events`, and `--node` of the commands that show something. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answerGet } from '../../../src/control/answer.ts'
import { type ControlServer, startControlServer } from '../../../src/control/server.ts'
import { collect, shunt, startShunt } from '../../support/cli.ts'
import { FakeView } from '../../support/fake-view.ts'

const it = suite('cli/events')
const dir = mkdtempSync(join(tmpdir(), 'shunt-events-'))
const SHUNT_SOCKET = join(dir, 'control.sock')
const env = { SHUNT_SOCKET }
const log = { error: () => {} }
let view: FakeView
let server: ControlServer
const start = () => startControlServer({ socketPath: SHUNT_SOCKET, view, node: 'f1', log })

it.before.each(async () => {
  view = new FakeView()
  server = await start()
})
it.after.each(() => server.close())
it.after(() => rmSync(dir, { recursive: true }))

const LINES = [
  '2026-03-02T09:30:00.000Z  info     -             revision 2 is in force\n',
  '2026-03-02T09:30:01.000Z  error    h2            the machine answers no probes\n',
] as const

it('a line an event', async () => {
  assert.equal(await shunt(['events'], env), { code: 0, stdout: LINES.join(''), stderr: '' })
  assert.equal((await shunt(['events', '--limit', '1'], env)).stdout, LINES[1])
  assert.equal((await shunt(['events', '--after', '2'], env)).stdout, '')
  const { schema, data } = JSON.parse((await shunt(['events', '--json', '--after=1'], env)).stdout)
  assert.is(schema, 'shunt.events/1')
  assert.equal(data, view.log.query({ after: 1, limit: 100 }))
})

it('says when it cannot show all, and nothing in it moves the cursor', async () => {
  view.log.add('statement.refused', 'warning', 'h\x1b[2J1', 'a\nb')
  const { stdout, stderr } = await shunt(['events', '--after', '1', '--limit', '1'], env)
  assert.is(stdout, '2026-03-02T09:30:02.000Z  warning  h1            a b\n')
  assert.is(stderr, 'warning: some events before these are not shown\n')
})

it('wrong usage, and no agent', async () => {
  assert.is((await shunt(['events', '--limit', '1001'], env)).code, 2)
  assert.is((await shunt(['events', '--watch', '--socket', '/nonexistent/x.sock'])).code, 4)
})

it('--watch goes on as events happen, also over a new start of the agent; Ctrl-C ends it with 130', async () => {
  const child = startShunt(['events', '--watch'], env)
  const ended = collect(child)
  await once(child.stdout!, 'data')
  view.log.add('agent.up', 'info', 'h1', 'the agent of h1 is in touch')
  await once(child.stdout!, 'data')
  await server.close()
  assert.match(
    String((await once(child.stderr!, 'data'))[0]),
    /^warning: cannot reach an agent .* \(still watching\)\n$/,
  )
  view = new FakeView()
  view.data.status = { ...view.data.status, instance: 'another' }
  for (let i = 0; i < 3; i++) view.log.add('agent.started', 'info', 'f1', `start ${i}`)
  server = await start()
  await once(child.stdout!, 'data')
  child.kill('SIGINT')
  const { code, stdout, stderr } = await ended
  assert.is(code, 130)
  assert.match(stderr, /stopped watching; the agent goes on\n$/)
  const first = `${LINES.join('')}2026-03-02T09:30:02.000Z  info     h1            the agent of h1 is in touch\n`
  assert.ok(stdout.startsWith(`${first}${LINES[0]}`), stdout)
  assert.match(stdout, /start 0\n.*start 1\n.*start 2\n$/)
})

it('--watch --json: an envelope a line', async () => {
  const child = startShunt(['events', '--watch', '--json'], env)
  const ended = collect(child)
  await once(child.stdout!, 'data')
  view.log.add('agent.up', 'info', 'h1', 'the agent of h1 is in touch')
  await once(child.stdout!, 'data')
  child.kill('SIGINT')
  const envelopes = (await ended).stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  assert.equal(
    envelopes.map(({ schema, data }) => [schema, data.events.length, data.last]),
    [
      ['shunt.events/1', 2, 2],
      ['shunt.events/1', 1, 3],
    ],
  )
})

it('--node asks another node, through this one', async () => {
  const other = { view: new FakeView(), node: 'h1', log }
  const asked = ['/v1/vips', '/v1/flows?limit=3']
  view.remoteAnswer = await answerGet(other, asked[0]!)
  assert.match((await shunt(['vips', '--node', 'h1'], env)).stdout, /^SERVICE .*\nweb /)
  view.remoteAnswer = await answerGet(other, asked[1]!)
  const flows = await shunt(['flows', '--node', 'h1', '--limit', '3', '--json'], env)
  assert.is(JSON.parse(flows.stdout).node, 'h1')
  assert.equal(
    view.remotes.splice(0),
    asked.map(path => ({ node: 'h1', path })),
  )
  other.view.log.add('agent.up', 'info', 'h2', 'the agent of h2 is in touch')
  view.remoteAnswer = await answerGet(other, '/v1/events?after=2&limit=9')
  const events = await shunt(['events', '--node', 'h1', '--after', '2', '--limit', '9'], env)
  assert.match(events.stdout, /^\S+ {2}info {5}h2 {12}the agent of h2 is in touch\n$/)
  assert.equal(view.remotes.pop(), { node: 'h1', path: '/v1/events?after=2&limit=9' })
  view.remoteAnswer = undefined
  const { code, stderr } = await shunt(['status', '--node', 'h1'], env)
  assert.is(code, 1)
  assert.is(stderr, 'error: node h1 did not answer\ncode: SHUNT_ERR_PEER\n')
  assert.is((await shunt(['status', '--node', '../h1'], env)).code, 2)
})

it('--watch --node asks it again and again, and shows each event once', async () => {
  const other = { view: new FakeView(), node: 'h1', log }
  view.remote = (_, path) => answerGet(other, path)
  const child = startShunt(['events', '--watch', '--node', 'h1'], env)
  const ended = collect(child)
  const shown = async (text: string): Promise<void> => {
    for (let seen = ''; !seen.includes(text); ) seen += String((await once(child.stdout!, 'data'))[0])
  }
  await shown('no probes')
  other.view.log.add('agent.up', 'info', 'h2', 'the agent of h2 is in touch')
  await shown('in touch')
  child.kill('SIGINT')
  const { code, stdout } = await ended
  assert.is(code, 130)
  assert.is(
    stdout,
    `${LINES.join('')}2026-03-02T09:30:02.000Z  info     h2            the agent of h2 is in touch\n`,
  )
})

it.run()
