import { createServer, type Server } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { listeningOutOfTouch } from '../../../src/doctor/reach.ts'
import { NODES } from '../../support/fake-view.ts'

const it = suite('doctor/reach')
let server: Server
let port = 0

it.before(async () => {
  server = createServer(socket => socket.on('error', () => {}))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as { port: number }).port
})
it.after(() => void server.close())

it('names those out of touch whose port takes connections, and asks nobody else', async () => {
  const [f1, h1, h2] = NODES.nodes.map(row => ({ ...row, address: '127.0.0.1' }))
  let asked = 0
  const bothCame = new Promise<void>(resolve => server.on('connection', () => ++asked === 2 && resolve()))
  const rows = [
    { ...f1!, self: true, agent: 'dead' as const },
    { ...h1!, agent: 'alive' as const },
    { ...h2!, agent: 'dead' as const },
    { ...h2!, name: 'h3', agent: 'connecting' as const },
    // Nobody listens there.
    { ...h2!, name: 'h4', address: '127.0.0.2' },
  ]
  assert.equal(await listeningOutOfTouch(rows, port), ['h2', 'h3'])
  await bothCame
  assert.is(asked, 2)
})

it.run()
