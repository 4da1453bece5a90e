import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bodyFits } from '../../../src/agent/health/body-fits.ts'
import { probeHttp } from '../../../src/agent/health/http-probe.ts'
import { health } from '../../../src/config/health-fields.ts'
import { bodyRule } from '../../../src/health/probe/answer.ts'

const it = suite('health/http-probe')

const never = new AbortController().signal

it('a body that waits for its turn is judged although its connection has closed meanwhile', async () => {
  const server = createServer((_, answer) => answer.end('ready')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    // Other checks use up the time of all: each is quick until its first match.
    let spent = 0
    for (let i = 0; i < 100 && spent < 20; i++) {
      const answer = await bodyFits(`other ${i}`, bodyRule('/^(a+)+$/'), `${'a'.repeat(60)}b`, never)
      if (answer === 'no-time') spent++
    }
    const check = health.parse({ type: 'http', port, body: '/ready/' })
    const target = { key: 'web', address: '127.0.0.1', port, service: 'web', check }
    for (let i = 0; i < 10; i++) {
      const outcome = await probeHttp(target, AbortSignal.timeout(10_000))
      assert.is(outcome.why, 'status 200, body fits')
      await bodyFits(`more ${i}`, bodyRule('/^(a+)+$/'), `${'a'.repeat(60)}b`, never)
    }
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

/** Outcome of a probe of a server that says `said` over and over. */
const probeEndless = async (said: string): Promise<string> => {
  const sockets: Socket[] = []
  const server = createTcpServer(socket => {
    sockets.push(socket)
    const go = (): void => {
      while (!socket.destroyed && socket.write(said));
    }
    socket
      .on('error', () => {})
      .on('drain', go)
      .once('data', go)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    const check = health.parse({ type: 'http', port, body: 'ready' })
    const target = { key: 'web', address: '127.0.0.1', port, service: 'web', check }
    const { why } = await probeHttp(target, AbortSignal.timeout(10_000))
    return why
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

it('a server that never comes to its answer is given up, without reading on', async () => {
  const why = await probeEndless('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100))
  assert.is(why, 'too many interim answers (status 1xx), and no other')
})

it.run()
