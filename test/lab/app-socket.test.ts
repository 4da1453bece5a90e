/**
 * The applications' socket against real processes: of this user and of another, in another network namespace, that have
 * ended, and too many of them; and 1,000 connections to both sockets.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type AppServer, type AppService, servedBy, startAppServer } from '../../src/agent/app-socket.ts'
import { envelopeOf } from '../../src/control/answer-schemas.ts'
import type { ReportData, WhoamiData } from '../../src/control/app-types.ts'
import { startControlServer } from '../../src/control/server.ts'
import type { Envelope } from '../../src/control/types.ts'
import { askSocket } from '../support/ask.ts'
import { FakeView } from '../support/fake-view.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('app-socket')
const NOBODY = 65_534
const needsRoot = missingRoot()

const service = (name: string, vip: string, port: number, protocol = 'tcp', host = 'h1'): AppService => ({
  name,
  vip,
  port,
  protocol,
  hosts: [{ name: host }],
})

let dir: string
let socketPath: string
let server: AppServer
let services: AppService[] = []
const children: ChildProcess[] = []
const logged: string[] = []
const log = {
  error: (fields: object, message: string) => void logged.push(`${message} ${JSON.stringify(fields)}`),
}

const reports: [string, object][] = []
const report = (service: string, said: object): boolean => {
  reports.push([service, said])
  return service !== 'late'
}
it.before(() => {
  dir = mkdtempSync(join(tmpdir(), 'shunt-app-'))
  chmodSync(dir, 0o755)
  socketPath = join(dir, 'app.sock')
})
it.before.each(async () => {
  services = []
  logged.length = 0
  server = await startAppServer({ socketPath, node: 'h1', services: () => services, report, log })
})
it.after.each(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await server.close()
})
it.after(async () => {
  await removeNetns()
  rmSync(dir, { recursive: true })
})

/**
 * A process that listens on a free port, says which, asks who it is whenever it reads a line, and prints the answer.
 * Standard input also ends it. It runs from its text, so that a user who may not read these files can run it.
 */
const APPLICATION = `
const { request } = require('node:http'), { createServer } = require('node:net')
const ask = chunk => request({ socketPath: process.argv[1], agent: false, ...JSON.parse(chunk) }, res => {
  let text = ''
  res.on('data', chunk => { text += chunk })
  res.on('end', () => process.stdout.write(JSON.stringify({ status: res.statusCode, body: JSON.parse(text) }) + '\\n'))
}).end()
const server = createServer().listen(0, '127.0.0.1', () => process.stdout.write(server.address().port + '\\n'))
process.stdin.on('data', ask).on('end', () => process.exit())
`

interface Application {
  child: ChildProcess
  port: number
  ask(): Promise<{ status: number; body: Envelope<WhoamiData> }>
  report(query: string): Promise<{ status: number; body: Envelope<ReportData> }>
}
const startApplication = async (before: string[] = [], uid?: number): Promise<Application> => {
  const [command, ...args] = [...before, process.execPath, '-e', APPLICATION, socketPath]
  const child = spawn(command!, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
    ...(uid !== undefined && { uid, gid: uid }),
  })
  children.push(child)
  const line = async (): Promise<string> => {
    let text = ''
    while (!text.endsWith('\n')) text += String((await once(child.stdout!, 'data'))[0])
    return text
  }
  const asked = async <T>(options: object): Promise<T> => {
    const answer = line()
    child.stdin!.write(JSON.stringify(options))
    return JSON.parse(await answer)
  }
  const port = Number(await line())
  return {
    child,
    port,
    ask: () => asked({ path: '/v1/whoami' }),
    report: query => asked({ path: `/v1/report?${query}`, method: 'POST' }),
  }
}

it('a socket serves what has its protocol, port and address, on this node', () => {
  const all = [
    service('web', '10.99.0.1', 80),
    service('web2', '10.99.0.2', 80),
    service('udp', '10.99.0.1', 80, 'udp'),
    service('other', '10.99.0.1', 80, 'tcp', 'h2'),
  ]
  const by = (address: string, port = 80) => servedBy({ protocol: 'tcp', address, port }, 'h1', all)
  assert.equal(by('0.0.0.0'), ['web', 'web2'])
  assert.equal(by('::'), ['web', 'web2'])
  assert.equal(by('10.99.0.2'), ['web2'])
  assert.equal(by('127.0.0.1'), [])
  assert.equal(by('0.0.0.0', 81), [])
})

it('a process is told of its own sockets and of no others', async () => {
  assert.is(statSync(socketPath).mode & 0o777, 0o666)
  const [one, two] = await Promise.all([startApplication(), startApplication()])
  services = [service('web', '127.0.0.1', one.port), service('other', '127.0.0.1', two.port)]
  const { status, body } = await one.ask()
  assert.is(status, 200)
  assert.equal(envelopeOf('shunt.whoami/1').parse(body), body)
  assert.equal(body.data, {
    pid: one.child.pid!,
    uid: process.geteuid!(),
    gid: process.getegid!(),
    sameNetwork: true,
    truncated: false,
    listeners: [{ protocol: 'tcp', address: '127.0.0.1', port: one.port, services: ['web'] }],
  })
})

it('an application says how it is, of services that it serves itself and of no others (R-B2)', async () => {
  const [one, two] = await Promise.all([startApplication(), startApplication()])
  services = [service('web', '127.0.0.1', one.port), service('other', '127.0.0.1', two.port)]
  reports.length = 0
  const { status, body } = await one.report('health=failing&load=70')
  assert.is(status, 200)
  assert.equal(envelopeOf('shunt.report/1').parse(body), body)
  assert.equal(body.data.services, ['web'])
  assert.equal(reports, [['web', { health: 'failing', load: 70 }]])
  assert.is((await one.report('service=other&health=failing')).status, 403)
  assert.is((await two.report('service=other&load=255')).status, 200)
  for (const bad of [
    '',
    'health=dead',
    'load=256',
    'load=-1',
    'load=1&load=2',
    'weight=3',
    'service=..%2f&load=1',
  ])
    assert.is((await one.report(bad)).status, 400, bad)
  services = []
  assert.is((await one.report('load=1')).status, 403)
  services = [service('late', '127.0.0.1', one.port)]
  assert.is((await one.report('load=1')).status, 503, 'not seen by the table yet')
  assert.is(reports.length, 3)
})

it('refuses other paths, methods and bodies', async () => {
  const cases: [string, string, string, number, string][] = [
    ['GET', '/v1/status', '', 404, 'not_found'],
    ['GET', `/v1/whoami?pid=1`, '', 404, 'not_found'],
    ['POST', '/v1/whoami', '', 405, 'method_not_allowed'],
    ['GET', '/v1/whoami', 'x', 413, 'too_large'],
  ]
  for (const [method, path, body, status, code] of cases) {
    const headers = { 'content-length': String(body.length) }
    const answer = await askSocket(socketPath, path, { method, headers, body })
    assert.equal([answer.status, answer.body.error.code], [status, code], path)
  }
})

it('a user may ask so often, and keep so many connections', async () => {
  const answers = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const all = []
      for (let i = 0; i < 15; i++) all.push((await askSocket(socketPath, '/v1/whoami')).status)
      return all
    }),
  )
  const [served, refused] = [200, 503].map(status => answers.flat().filter(seen => seen === status).length)
  assert.is(served! + refused!, 45)
  assert.ok(served! >= 20 && refused! > 0, `${served} served, ${refused} refused`)

  const open = await Promise.all(Array.from({ length: 16 }, () => opened(socketPath)))
  const { status, body } = await askSocket(socketPath, '/v1/whoami')
  assert.is(status, 503)
  assert.match(body.error.message, /your user has 16 connections already/)
  await Promise.all(open.map(closed))
})

testIf(
  needsRoot,
  it,
  'another user is told of its own process, also while the first has all its places',
  async () => {
    const open = await Promise.all(Array.from({ length: 16 }, () => opened(socketPath)))
    const application = await startApplication([], NOBODY)
    services = [service('web', '127.0.0.1', application.port)]
    const { status, body } = await application.ask()
    assert.is(status, 200)
    assert.equal(
      [body.data.pid, body.data.uid, body.data.gid, body.data.listeners?.map(l => l.services)],
      [application.child.pid, NOBODY, NOBODY, [['web']]],
    )
    await Promise.all(open.map(closed))
  },
)

testIf(needsRoot, it, 'the operator socket refuses another user, by its mode', async () => {
  const control = join(dir, 'control.sock')
  const other = await startControlServer({ socketPath: control, view: new FakeView(), node: 'h1', log })
  const tryIt = `require('node:net').connect(${JSON.stringify(control)}).on('error', e => { process.stdout.write(e.code) })`
  const child = spawn(process.execPath, ['-e', tryIt], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
    uid: NOBODY,
    gid: NOBODY,
  })
  children.push(child)
  const [text] = await once(child.stdout!, 'data')
  await other.close()
  assert.is(String(text), 'EACCES')
})

testIf(needsRoot, it, 'a process of another network namespace serves nothing here', async () => {
  const { name } = await makeNetns()
  const up = spawn('ip', ['-n', name, 'link', 'set', 'lo', 'up'], { stdio: 'inherit' })
  assert.equal(await once(up, 'close'), [0, null])
  const application = await startApplication(['ip', 'netns', 'exec', name])
  services = [service('web', '127.0.0.1', application.port)]
  const { data } = (await application.ask()).body
  assert.is(data.sameNetwork, false)
  assert.equal(data.listeners, [
    { protocol: 'tcp', address: '127.0.0.1', port: application.port, services: [] },
  ])
})

testIf(
  needsRoot,
  it,
  'whoever holds the connection of a process that has ended, or of one that gained rights, learns nothing',
  async () => {
    // Passes its connection to a child and ends: the number of the process may become another's.
    const ask = `
    const socket = new (require('node:net').Socket)({ fd: 3 })
    const wait = () => {
      try { process.kill(Number(process.argv[1]), 0); setImmediate(wait) } catch { socket.write('GET /v1/whoami HTTP/1.0\\r\\n\\r\\n') }
    }
    wait()
    socket.pipe(process.stdout)
  `
    const heir = `
    const { connect } = require('node:net'), { spawn } = require('node:child_process')
    const socket = connect(${JSON.stringify(socketPath)}, () => {
      const stdio = ['ignore', 'inherit', 'inherit', socket._handle.fd]
      spawn(process.execPath, ['-e', ${JSON.stringify(ask)}, process.pid], { stdio, detached: true })
      process.exit()
    })`
    const child = spawn(process.execPath, ['-e', heir], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let text = ''
    child.stdout!.on('data', chunk => {
      text += chunk
    })
    await once(child, 'close')
    assert.match(text, /^HTTP\/1\.1 403 /)
    assert.match(text, /has ended, changed its user/)

    await server.close()
    const listeners = async () => ({ sockets: [], truncated: false, sameNetwork: true, uid: 0 })
    server = await startAppServer({ socketPath, node: 'h1', services: () => [], listeners, report, log })
    const application = await startApplication([], NOBODY)
    assert.is((await application.ask()).status, 403)
    assert.equal(logged, [])
  },
)

const opened = (path: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket))
    socket.once('error', reject)
  })
const closed = (socket: Socket): Promise<unknown> => {
  socket.removeAllListeners('error').on('error', () => {})
  return socket.closed ? Promise.resolve() : once(socket.destroy(), 'close')
}

it('1,000 connections to each socket: the limit stays, the rest is told so or closed, and memory with it', async () => {
  const control = join(dir, 'control.sock')
  const other = await startControlServer({ socketPath: control, view: new FakeView(), node: 'h1', log })
  const hold = async (path: string): Promise<Socket[]> => {
    const sockets: Socket[] = []
    for (let i = 0; i < 1_000; i++) {
      const socket = await opened(path)
      socket.removeAllListeners('error').on('error', () => {})
      sockets.push(socket)
    }
    return sockets
  }
  /** Those that are neither answered nor closed have a place. */
  const outcomes = async (sockets: Socket[]): Promise<{ kept: number; told: number }> => {
    let told = 0
    let ended = 0
    const allOthers = Promise.withResolvers<void>()
    for (const socket of sockets) {
      socket.once('data', text => {
        if (/^HTTP\/1\.1 503 .*"busy"/s.test(String(text))) told++
      })
      const end = (): void => {
        ended++
        allOthers.resolve()
      }
      if (socket.closed) end()
      else socket.once('close', end)
    }
    await allOthers.promise
    // All are closed a second after they were turned away.
    let before = -1
    while (ended !== before) {
      before = ended
      await new Promise(resolve => setTimeout(resolve, 1_200))
    }
    return { kept: sockets.length - ended, told }
  }
  const rss = process.memoryUsage.rss()
  for (const [path, limit] of [
    [control, 256],
    [socketPath, 16],
  ] as const) {
    const sockets = await hold(path)
    const { kept, told } = await outcomes(sockets)
    assert.is(kept, limit, path)
    assert.ok(told >= 1, path)
    await Promise.all(sockets.map(closed))
    // The places are free again.
    let status = 0
    while (status !== 200)
      status = (await askSocket(path, path === control ? '/v1/status' : '/v1/whoami')).status
  }
  const grown = process.memoryUsage.rss() - rss
  assert.ok(grown < 80 * 1024 * 1024, `${grown} bytes more`)
  await other.close()
})

it.run()
