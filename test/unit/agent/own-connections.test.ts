/** What the kernel tells of the connections of a host's services, and what it does not. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Listener } from '../../../src/agent/health/listener-look.ts'
import { ownConnections } from '../../../src/agent/health/own-connections.ts'

const it = suite('agent/own-connections')

const service = (name: string, vip: string, port: number, protocol: 'tcp' | 'udp' = 'tcp') => ({
  service: { name },
  ...{ vip, port, protocol, physical: '10.10.0.31', physicalPort: port },
})
const listener = (port: number, change: Partial<Listener> = {}): Listener => ({
  ...{ protocol: 'tcp', address: '0.0.0.0', port, inode: port, uid: 0, queue: 0, backlog: 9, v6only: false },
  ...{ owner: { pid: 1, name: 'web', cgroup: '/', unit: null }, namespace: null, local: [], ...change },
})
const [WEB, API] = [service('web', '10.99.0.1', 80), service('api', '10.99.0.2', 80)]
const counts = async (
  services: ReturnType<typeof service>[],
  sockets: Listener[],
  ends: [string, number][],
) => {
  const asked: number[][] = []
  const told = await ownConnections(services, sockets, function* (ports) {
    asked.push([...ports])
    yield
    return new Map(ends)
  })
  return { told: told.map(({ service: name, connections }) => [name, connections]), asked }
}

it('counts by VIP: neither direct connections nor those of another VIP on the port', async () => {
  const ends: [string, number][] = [
    ['10.99.0.1:80', 3],
    ['10.99.0.2:80', 5],
    ['10.10.0.31:80', 7],
  ]
  const { told, asked } = await counts([WEB, API], [listener(80)], ends)
  assert.equal(told, [
    ['web', 3],
    ['api', 5],
  ])
  assert.equal(asked, [[80]])
  assert.equal((await counts([WEB], [], [])).told, [['web', 0]], 'of an application that has gone')
})

it('what ends elsewhere is not known: UDP, containers, and what is sent on to another address', async () => {
  const dns = service('dns', '10.99.0.1', 53, 'udp')
  const known = async (socket: Partial<Listener>) =>
    (await counts([WEB], [listener(80, socket)], [])).told[0]![1]
  assert.equal(await counts([dns], [], []), { told: [['dns', null]], asked: [] })
  assert.is(await known({}), 0)
  assert.is(await known({ address: '10.99.0.1' }), 0)
  assert.is(await known({ namespace: 'net:[1]', local: ['10.99.0.1'] }), null)
  assert.is(await known({ address: '10.10.0.31' }), null)
  assert.is(await known({ owner: { pid: 1, name: 'docker-proxy', cgroup: '/', unit: null } }), null)
  assert.is(await known({ namespace: 'net:[1]', local: ['172.17.0.2'] }), 0, 'it serves something else')
})

it('the kernel counts what the application has not closed, half-closed ones too', async () => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accept = async (): Promise<[Socket, Socket]> => {
    const accepted = once(server, 'connection')
    const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    return [client, (await accepted)[0] as Socket]
  }
  const here = service('web', '127.0.0.1', port)
  const now = async () =>
    (await ownConnections([here], [listener(port, { address: '127.0.0.1' })]))[0]!.connections
  const pairs = [await accept(), await accept()]
  try {
    assert.is(await now(), 2)
    const [client, accepted] = pairs[0]!
    const told = once(accepted.resume(), 'end')
    client.end()
    await told
    assert.is(await now(), 2, 'the application may still answer')
    const over = once(client.resume(), 'close')
    accepted.end()
    await over
    assert.is(await now(), 1)
  } finally {
    for (const socket of pairs.flat()) socket.destroy()
    server.close()
  }
})

it('a kernel that refuses makes them unknown', async () => {
  const told = await ownConnections([WEB], [listener(80)], () => {
    throw new Error('no descriptors left')
  })
  assert.equal(told, [{ service: 'web', protocol: 'tcp', connections: null }])
})

it.run()
