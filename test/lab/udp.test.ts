/** A UDP service end to end: spread, affinity of a flow to its host, full-size datagrams, the kernel path. */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('udp')
const lab = (name: string, run: () => Promise<void>): void => testIf(missingRoot(), it, name, run)
const VIP = '10.99.0.1'
const PORT = 5300

/** Echoes each datagram behind its own name; bound to the VIP, so that it answers from the VIP. */
const SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('${VIP}', ${PORT}))
print('ready', flush=True)
while True:
    data, peer = s.recvfrom(65535)
    s.sendto(sys.argv[1].encode() + b' ' + peer[0].encode() + b' ' + data, peer)
`

/** argv: sockets, datagrams a socket, bytes each. Prints a line a socket: answers, distinct hosts, host, client address seen. */
const CLIENT = `
import socket, sys
sockets, count, size = map(int, sys.argv[1:])
for i in range(sockets):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(3)
    s.connect(('${VIP}', ${PORT}))
    good, hosts, seen = 0, set(), set()
    for j in range(count):
        body = (b'%d-%d-' % (i, j)).ljust(size, b'x')
        s.send(body)
        try:
            host, peer, back = s.recv(65535).split(b' ', 2)
        except socket.timeout:
            continue
        hosts.add(host.decode()); seen.add(peer.decode())
        good += back == body
    print(good, len(hosts), ','.join(hosts) or '-', ','.join(seen) or '-')
    s.close()
`

let cluster: Lab | undefined
it.before(async () => {
  if (missingRoot() !== undefined) return
  cluster = await Lab.up({
    name: labName(),
    forwarders: 2,
    hosts: 3,
    services: [{ name: 'echo', vip: VIP, port: PORT, protocol: 'udp' }],
  })
  for (const host of cluster.hosts) {
    const server = cluster.spawn(host.name, ['python3', '-c', SERVER, host.name])
    await new Promise<void>((resolve, reject) => {
      server.stdout!.once('data', () => resolve())
      server.once('exit', code => reject(new Error(`the echo server of ${host.name} ended with ${code}`)))
    })
  }
})
it.after(async () => {
  if (cluster === undefined) return
  await cluster.down(0)
  assert.equal(leftovers(cluster.name), [])
})

const client = async (...numbers: number[]) => {
  const { stdout, stderr, code } = await cluster!.exec(cluster!.client(), [
    'python3',
    '-c',
    CLIENT,
    ...numbers.map(String),
  ])
  assert.is(code, 0, stderr)
  return stdout
    .trim()
    .split('\n')
    .map(line => {
      const [good, hosts, host, seen] = line.split(' ')
      return { good: Number(good), hosts: Number(hosts), host, seen }
    })
}
const total = async (counter: string): Promise<number> => {
  let sum = 0
  for (const { name } of cluster!.nodes) {
    const { counters } = await cluster!.api<{ counters: Record<string, number> }>(name, '/v1/status')
    sum += counters[counter] ?? 0
  }
  return sum
}

lab(
  '300 flows of 5 datagrams: all answered, each flow by one host, all hosts used, true client address',
  async () => {
    const flows = await client(300, 5, 100)
    assert.equal(
      flows.filter(flow => flow.good !== 5 || flow.hosts !== 1),
      [],
    )
    assert.equal([...new Set(flows.map(flow => flow.seen))], ['10.20.0.11'])
    assert.is(new Set(flows.map(flow => flow.host)).size, 3)
  },
)

lab('a busy flow of full-size datagrams leaves the slow path, unfragmented', async () => {
  const [slowBefore, hitsBefore] = [await total('forwarder_slow_packets'), await total('kernel_route_hit')]
  const [flow] = await client(1, 2000, 1400)
  assert.equal([flow.good, flow.hosts], [2000, 1])
  assert.ok((await total('forwarder_slow_packets')) - slowBefore < 100)
  assert.ok((await total('kernel_route_hit')) - hitsBefore > 1900)
  // 1472 bytes of payload fill the MTU: the mapping travels alone, the datagram is held until it is acknowledged.
  const full = await client(20, 3, 1472 - 'h1 10.20.0.11 '.length)
  assert.equal(
    full.filter(one => one.good !== 3 || one.hosts !== 1),
    [],
  )
})

it.run()
