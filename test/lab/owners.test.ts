/**
 * Who owns a socket (R-G7): what the kernel says of real ones, and what nodes say over real links. Nodes are on loopback addresses; a
 * container is a network namespace.
 */
// test-beside-others
import { spawn } from 'node:child_process'
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Directory } from '../../src/agent/dataplane/directory.ts'
import { parseAddress } from '../../src/agent/dataplane/flow-key.ts'
import { OwnersSide } from '../../src/agent/owners/owners-side.ts'
import { OwnSockets, type SocketPlaces } from '../../src/agent/owners/sockets.ts'
import type { Role } from '../../src/config/schema.ts'
import { encodeOwned } from '../../src/gossip/frames.ts'
import { findSocket } from '../../src/os/netlink/sock-lookup.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { alive, Bench, type Node, until } from '../unit/gossip/link-bench.ts'

const it = suite('owners')
const VIP = '127.99.0.1'
const CLIENT = '127.99.0.2'
const open: { close(): unknown }[] = []
let bench: Bench | undefined
it.after.each(async () => {
  for (const each of open.splice(0).reverse()) each.close()
  await bench?.end()
  bench = undefined
})
it.after(removeNetns)

const words = (address: string): Uint32Array => {
  const out = new Uint32Array(4)
  assert.ok(parseAddress(address, out, 0))
  return out
}
const keyOf = (client: string, clientPort: number, vip: string, port: number, protocol = 6): Uint32Array =>
  Uint32Array.from([...words(client), ...words(vip), (clientPort << 16) | port, protocol])

const places = (changes: Partial<SocketPlaces> = {}): SocketPlaces => ({
  isVip: () => true,
  namespaces: () => [],
  mapped: keys => Promise.resolve(keys.map(() => false)),
  ...changes,
})
const lookAt = async (keys: Uint32Array[], changes?: Partial<SocketPlaces>): Promise<boolean[]> => {
  const sockets = new OwnSockets(places(changes))
  open.push(sockets)
  return sockets.owned(keys)
}

interface Connection {
  readonly key: Uint32Array
  /** At the host. */
  readonly socket: net.Socket
  readonly client: net.Socket
}

/** A listener, and what makes connections to it that are accepted. */
const listen = async (
  listenAt: string,
  vip: string,
  client: string,
  allowHalfOpen = false,
): Promise<{ port: number; connect(): Promise<Connection> }> => {
  const server = net.createServer({ allowHalfOpen })
  server.listen(0, listenAt)
  open.push(server)
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  return {
    port,
    async connect() {
      const made = net.connect({ port, host: vip, localAddress: client, allowHalfOpen })
      const [[socket]] = (await Promise.all([once(server, 'connection'), once(made, 'connect')])) as [
        [net.Socket],
        unknown,
      ]
      for (const each of [socket, made]) {
        each.on('error', () => {})
        each.resume()
        open.push({ close: () => each.destroy() })
      }
      return { key: keyOf(client, made.localPort!, vip, port), socket, client: made }
    },
  }
}

const ended = (socket: net.Socket): Promise<unknown> => once(socket, 'end')

for (const [name, listenAt, vip, client] of [
  ['IPv4', VIP, VIP, CLIENT],
  ['IPv4 at a wildcard', '0.0.0.0', VIP, CLIENT],
  ['IPv4 at an IPv6 wildcard', '::', VIP, CLIENT],
  ['IPv6', '::1', '::1', '::1'],
] as const)
  it(`${name}: established and half-closed ones, either way; not those that are closed, nor what only waits`, async () => {
    const { port, connect } = await listen(listenAt, vip, client, true)
    const made: Connection[] = []
    for (let i = 0; i < 5; i++) made.push(await connect())
    const [whole, clientSaid, hostSaid, closed, left] = made
    clientSaid!.client.end()
    await ended(clientSaid!.socket)
    hostSaid!.socket.end()
    await ended(hostSaid!.client)
    // The client last: nothing of it stays at the host.
    closed!.client.end()
    await ended(closed!.socket)
    closed!.socket.end()
    await ended(closed!.client)
    // The host first: it has to answer a late FIN again.
    left!.socket.end()
    await ended(left!.client)
    left!.client.end()
    await ended(left!.socket)
    const nobodys = keyOf(client, 1, vip, port)
    const others = Uint32Array.from(whole!.key)
    others[3]! ^= 1 << 8
    const udp = Uint32Array.from(whole!.key)
    udp[9] = 17
    const keys = [whole!.key, clientSaid!.key, hostSaid!.key, closed!.key, left!.key, nobodys, others, udp]
    const wanted = [true, true, true, false, true, false, false, false]
    // The kernel goes over to TIME-WAIT, or forgets, as it gets to the last ACK.
    let found: boolean[] = []
    for (let tries = 0; tries < 200 && found.join() !== wanted.join(); tries++) {
      found = await lookAt(keys)
      await new Promise(resolve => setImmediate(resolve))
    }
    assert.equal(found, wanted)
    assert.is(
      await lookAt([whole!.key], { isVip: () => false }).then(([mine]) => mine),
      false,
      'no VIP, nobody asks',
    )
  })

it('the other family: a key of IPv6 does not find a connection of IPv4', async () => {
  const { connect, port } = await listen('::', VIP, CLIENT)
  const { client } = await connect()
  const six = keyOf('::1', client.localPort!, '::1', port)
  assert.equal(await lookAt([six]), [false])
})

it('UDP: a connected socket is of one flow; one that serves all tells nothing, then a mapping does', async () => {
  const bind = async (address: string): Promise<dgram.Socket> => {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4')
    open.push(socket)
    await new Promise<void>(resolve => socket.bind(0, address, resolve))
    return socket
  }
  const [wild, connected] = [await bind('::'), await bind(VIP)]
  await new Promise<void>(resolve => connected.connect(4000, CLIENT, resolve))
  const own = keyOf(CLIENT, 4000, VIP, connected.address().port, 17)
  const other = keyOf(CLIENT, 4001, VIP, connected.address().port, 17)
  const all = keyOf(CLIENT, 4000, VIP, wild.address().port, 17)
  const asked: Uint32Array[] = []
  const mapped = (keys: readonly Uint32Array[]): Promise<boolean[]> => {
    asked.push(...keys)
    return Promise.resolve(keys.map(key => key === all))
  }
  assert.equal(await lookAt([own, other, all], { mapped }), [true, false, true])
  assert.equal(asked, [other, all], 'only where no socket is connected')
  const at = (address: string, port: number) => ({ address, port })
  assert.is(findSocket('udp', at(VIP, connected.address().port), at(CLIENT, 4000)), 'established')
  assert.is(findSocket('udp', at(VIP, wild.address().port), at(CLIENT, 4000)), 'bound')
})

testIf(
  missingRoot(),
  it,
  "in a container's namespace, and half-open ones; what is gone is no error",
  async () => {
    const netns = await makeNetns()
    await ipBatch(netns.name, ['link set lo up', 'address add 10.77.0.1/32 dev lo'])
    const child = spawn(
      'ip',
      [
        'netns',
        'exec',
        netns.name,
        process.execPath,
        '--no-warnings',
        'test/support/owner-sockets-process.ts',
        '10.77.0.1',
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    open.push({ close: () => child.kill('SIGKILL') })
    const [line] = (await once(child.stdout!, 'data')) as [Buffer]
    const [vip, port, whole, half] = String(line).trim().split(' ')
    const key = (clientPort: number): Uint32Array => keyOf(vip!, clientPort, vip!, Number(port))
    const keys = [key(Number(whole)), key(Number(half)), key(9)]
    const inside = `/run/netns/${netns.name}`
    await until(
      'the SYN is there',
      () =>
        netns.run(() =>
          findSocket('tcp', { address: vip!, port: Number(port) }, { address: vip!, port: Number(half) }),
        ) === 'syn-received',
    )
    assert.equal(await lookAt(keys), [false, false, false])
    assert.equal(await lookAt(keys, { namespaces: () => ['/run/netns/gone', inside] }), [true, true, false])
  },
)

/** A node on a real link; its packet side is what the questions need of it. */
const side = (node: Node, roles: Role[], hosts: readonly string[]): OwnersSide => {
  const service = { index: 0, name: 'web', vip: words(VIP), port: 80, protocol: 6, hosts: [] }
  const directory = { hosts: [], services: [service] } as unknown as Directory
  const config = {
    node: { name: node.name },
    roles,
    peers: bench!.peers.filter(({ name }) => name !== node.name),
    services: [{ name: 'web', hosts: hosts.map(name => ({ name })) }],
    timeouts: { unattended: 30_000 },
  }
  const made = new OwnersSide({
    links: node.links,
    packets: { config, directory, dataplane: {} } as never,
    health: { apps: null },
    machine: () => 'unknown',
  })
  open.push({ close: () => made.stop() })
  return made
}

it('over links: the host that has it is told, whoever else claims it; an old host leaves it open', async () => {
  const roles: Role[][] = [['forwarder'], ['host'], ['host'], ['classifier'], ['host']]
  bench = await Bench.make(roles)
  const [f, h1, h2, c, stranger] = await Promise.all(roles.map((_, i) => bench!.start(i)))
  const nodes = [f!, h1!, h2!, c!, stranger!]
  const sides = nodes.map((node, i) => side(node, roles[i]!, ['n1', 'n2']))
  await alive(
    'all are linked',
    ...[h1!, h2!, c!, stranger!].map(({ name }): [Node, string] => [f!, name]),
    [h1!, 'n0'],
    [h2!, 'n0'],
    [c!, 'n0'],
    [stranger!, 'n0'],
  )
  const { port, connect } = await listen(VIP, VIP, CLIENT)
  const { key } = await connect()
  const free = keyOf(CLIENT, 1, VIP, port)

  // They cannot know the question's number; both try all that are near.
  const lie = (node: Node): void => {
    for (let id = 1; id < 20; id++) node.links.send('n0', encodeOwned(id, [true, true]))
  }
  for (const liar of [c!, stranger!]) lie(liar)
  const asking = sides[0]!.questions.ask('web', [free, key])
  for (const liar of [c!, stranger!]) lie(liar)
  const [nobody, owner] = await asking
  for (const liar of [c!, stranger!]) lie(liar)
  // Both hosts are this machine: either may say so first.
  assert.ok(owner!.host === 'n1' || owner!.host === 'n2', `${owner!.host}`)
  assert.equal(nobody, { host: null, certain: true })
  await until(
    'the liars were heard',
    () => f!.links.counters().frame_wrong_role! >= 57 && sides[0]!.counted().owners_unasked! >= 57,
  )
  assert.equal(
    f!.frames.filter(({ peer, frame }) => peer === 'n3' && frame.type === 'owned'),
    [],
  )

  // Hosts do not hear those that are no load balancing units.
  const before = sides[2]!.counted().owners_here_asked
  await sides[1]!.questions.ask('web', [key])
  await until('it was heard', () => h2!.links.counters().frame_wrong_role === 1)
  assert.is(sides[2]!.counted().owners_here_asked, before)
  assert.is((await sides[0]!.questions.whoOwns('mail', [key]))[0], null)

  // A host that does not know the question is as good as silent.
  await h2!.links.stop()
  await until('it is gone', () =>
    f!.links.states().every(({ name, state }) => name !== 'n2' || state !== 'alive'),
  )
  const old = await bench.start(2, { versions: { min: 1, max: 4 } })
  await alive('the old one is linked', [f!, 'n2'], [old, 'n0'])
  assert.equal(await sides[0]!.questions.ask('web', [free, key]), [
    { host: null, certain: false },
    { host: 'n1', certain: true },
  ])
  assert.is(old.links.counters().frame_unknown_type, 0)
})

it.run()
