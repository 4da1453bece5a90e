/** IPv6 services beside IPv4 ones, on both back-ends: downloads and uploads, UDP with its time-out, a drain, what hosts claim on the wire. */
// test-beside-others
import { createHash } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { DropsData, StatusData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import type { LabDataplane } from '../../src/lab/options.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import {
  accessLog,
  assertWhole,
  counters,
  flowsOf,
  grown,
  load,
  until,
  VIP,
  webFile,
  withLab,
} from '../support/traffic.ts'

const it = suite('ipv6')
const VIP6 = 'fd10:99::1'
const CLIENT6 = 'fd10:20::11'
const UDP_PORT = 5300
const BIG = 10 * 1024 * 1024
/** A full segment of IPv6 carries 1428 bytes with the time stamp option. */
const SEGMENTS = Math.floor(BIG / 1428)

/** Echoes each datagram behind its own name and the client's address; bound to the VIP, so that it answers from there. argv: name, VIP. */
const UDP_SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[2], ${UDP_PORT}))
print('ready', flush=True)
while True:
    data, peer = s.recvfrom(65535)
    s.sendto(sys.argv[1].encode() + b' ' + peer[0].encode() + b' ' + data, peer)
`

/** argv: VIP, sockets, datagrams a socket, bytes each. A line a socket: answers, hosts, addresses that they saw. */
const UDP_CLIENT = `
import socket, sys
vip = sys.argv[1]
sockets, count, size = map(int, sys.argv[2:])
for i in range(sockets):
    s = socket.socket(socket.AF_INET6 if ':' in vip else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((vip, ${UDP_PORT}))
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
    print(good, ','.join(hosts) or '-', ','.join(seen) or '-')
`

/** Who answers a neighbour solicitation for this address on eth0 within a second: link-layer addresses, a line each. */
const SOLICIT = `
import socket, struct, sys, time
target = socket.inet_pton(socket.AF_INET6, sys.argv[1])
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
s.settimeout(0.2)
mac = bytes.fromhex(open('/sys/class/net/eth0/address').read().strip().replace(':', ''))
group = socket.inet_ntop(socket.AF_INET6, b'\\xff\\x02' + bytes(9) + b'\\x01\\xff' + target[13:])
s.sendto(struct.pack('!BBHI', 135, 0, 0, 0) + target + b'\\x01\\x01' + mac, (group, 0, 0, socket.if_nametoindex('eth0')))
end = time.time() + 1
while time.time() < end:
    try:
        data, peer = s.recvfrom(1500)
    except socket.timeout:
        continue
    if data[0] == 136 and data[8:24] == target:
        print(data[26:32].hex())
`

const python = async (lab: Lab, place: string, program: string, ...argv: (string | number)[]) => {
  const { stdout, stderr, code } = await lab.exec(place, ['python3', '-c', program, ...argv.map(String)], {
    timeoutMs: 60_000,
  })
  assert.is(code, 0, stderr)
  return stdout.split('\n').filter(line => line !== '')
}

const startUdp = async (lab: Lab): Promise<void> => {
  for (const [host, vip] of lab.hosts.flatMap(host => [[host, VIP6] as const, [host, VIP] as const])) {
    const server = lab.spawn(host.name, ['python3', '-c', UDP_SERVER, host.name, vip])
    await new Promise<void>((resolve, reject) => {
      server.stdout!.once('data', () => resolve())
      server.once('exit', code => reject(new Error(`the server of ${host.name} ended with ${code}`)))
    })
  }
  await until('the application to be known', async () => {
    const { vips } = await lab.api<{ vips: { service: string; ready: number }[] }>('f1', '/v1/vips')
    const echoes = vips.filter(({ service }) => service.startsWith('echo'))
    return echoes.every(({ ready }) => ready === lab.hosts.length) ? true : undefined
  })
}

const noDrops = async (lab: Lab): Promise<void> => {
  for (const { name } of lab.nodes)
    assert.equal((await lab.api<DropsData>(name, '/v1/drops')).drops, [], name)
}

const names = (nodes: readonly { name: string }[]): string[] => nodes.map(({ name }) => name)

/** Both families at once; of IPv6 most packets stay in the kernel, both ways of the rewrite. */
const carries = async (lab: Lab): Promise<void> => {
  const { path, sha256 } = webFile(lab, '/10m')
  const before = await counters(lab)
  const results = await Promise.all(
    [VIP6, VIP].map((vip, i) =>
      load(lab, lab.client(i + 1), {
        vip,
        concurrency: 6,
        jobs: [
          { kind: 'small', count: 40 },
          { kind: 'get', count: 1, path, sha256 },
          { kind: 'put', count: 1, bytes: BIG },
        ],
      }),
    ),
  )
  for (const result of results) {
    assertWhole(lab, result)
    assert.equal(Object.keys(result.byHost).toSorted(), names(lab.hosts))
  }
  const after = await counters(lab)
  const least = 2 * SEGMENTS * 0.9
  assert.ok(grown(before, after, 'kernel_route_hit', names(lab.forwarders)) > least)
  assert.ok(grown(before, after, 'kernel_decap_hit', names(lab.hosts)) > least)
  await noDrops(lab)
  const clients = lab.hosts.flatMap(host => accessLog(lab, host.name).map(({ client }) => client))
  assert.equal([...new Set(clients)].toSorted(), ['10.20.0.12', CLIENT6], 'hosts see the true clients')
}

const udp = async (lab: Lab): Promise<void> => {
  const flows = (await python(lab, 'client1', UDP_CLIENT, VIP6, 60, 5, 100)).map(line => line.split(' '))
  assert.is(flows.length, 60)
  assert.ok(flows.every(([good, hosts]) => good === '5' && names(lab.hosts).includes(hosts!)))
  assert.equal([...new Set(flows.map(([, , seen]) => seen))], [CLIENT6])
  assert.is(new Set(flows.map(([, hosts]) => hosts)).size, 2, 'all hosts are used')
  const before = await counters(lab)
  const [busy] = await python(lab, 'client1', UDP_CLIENT, VIP6, 1, 700, 1400)
  assert.match(busy!, /^700 h[12] /)
  const after = await counters(lab)
  assert.ok(grown(before, after, 'forwarder_slow_packets') < 100)
  assert.ok(grown(before, after, 'kernel_route_hit', names(lab.forwarders)) > 600)
  // Payloads that fill the MTU: the mapping travels alone, the datagram waits until it is acknowledged.
  for (const [vip, bytes] of [
    [VIP6, 1452 - `h1 ${CLIENT6} `.length],
    [VIP, 1472 - 'h1 10.20.0.11 '.length],
  ] as const) {
    const full = await python(lab, 'client1', UDP_CLIENT, vip, 10, 3, bytes)
    assert.equal(new Set(full.map(line => line.split(' ')[0])), new Set(['3']), vip)
  }
  await until(
    'flows that carry nothing to end',
    async () => {
      const left = (await Promise.all(names(lab.forwarders).map(node => flowsOf(lab, node)))).flat()
      return left.some(({ protocol }) => protocol === 'udp') ? undefined : true
    },
    20_000,
  )
  await noDrops(lab)
}

/** Downloads of the one host go on to the last byte while it takes nothing new. */
const drain = async (lab: Lab): Promise<void> => {
  const { sha256 } = webFile(lab, '/10m')
  const url = `http://[${VIP6}]/10m`
  const running = Array.from({ length: 8 }, () => {
    const child = lab.spawn('client1', ['curl', '-6', '-gsv', url])
    const hash = createHash('sha256')
    let head = ''
    child.stderr!.on('data', (chunk: Buffer) => {
      head += chunk.toString()
    })
    const whole = new Promise<string>(resolve => child.once('close', () => resolve(hash.digest('hex'))))
    // It stands still until somebody reads.
    const read = (): void => void child.stdout!.on('data', (chunk: Buffer) => hash.update(chunk))
    return { whole, read, host: () => /X-Host: (\S+)/.exec(head)?.[1], isOver: () => child.exitCode !== null }
  })
  await until('all to have begun', () =>
    running.every(each => each.host() !== undefined) ? true : undefined,
  )
  const victim = running[0]!.host()!
  const { code, stderr } = await lab.shunt('f1', ['drain', victim, '--timeout', '30s'])
  assert.is(code, 0, stderr)
  const others = await load(lab, 'client1', {
    vip: VIP6,
    concurrency: 4,
    jobs: [{ kind: 'small', count: 40 }],
  })
  assertWhole(lab, others)
  assert.equal(
    Object.keys(others.byHost),
    names(lab.hosts).filter(name => name !== victim),
  )
  assert.not.ok(
    running.some(each => each.isOver()),
    'a download ended too early to show anything',
  )
  for (const each of running) each.read()
  for (const each of running) assert.is(await each.whole, sha256)
}

/** A VIP is on `lo` of its hosts and they keep quiet about it; an address that is a host's own is answered for. */
const solicited = async (lab: Lab): Promise<void> => {
  assert.equal(await python(lab, 'router', SOLICIT, VIP6), [])
  assert.is((await python(lab, 'router', SOLICIT, lab.hosts[0]!.address6!)).length, 1)
}

for (const dataplane of ['nftables', 'xdp'] as const satisfies readonly LabDataplane[])
  testIf(missingRoot(), it, `services of both families in one cluster, on ${dataplane}`, () =>
    withLab(
      {
        ...{ mode: 'managed', combine: 'fc', forwarders: 2, hosts: 2, clients: 2, dataplane },
        services: [
          { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
          { name: 'web6', vip: VIP6, port: 80, protocol: 'tcp' },
          { name: 'echo6', vip: VIP6, port: UDP_PORT, protocol: 'udp' },
          { name: 'echo', vip: VIP, port: UDP_PORT, protocol: 'udp' },
        ],
        configure: config => {
          config.timeouts = { udpIdle: 2_000, routeLease: 1_000, linger: 500, drain: 200 }
        },
      },
      async lab => {
        const { dataplane: said } = await lab.api<StatusData>('f1', '/v1/status')
        assert.ok(said.startsWith(dataplane), said)
        await carries(lab)
        await startUdp(lab)
        await udp(lab)
        await drain(lab)
        await solicited(lab)
        for (const node of ['f1', 'h1']) {
          lab.kill(node, 'SIGTERM')
          await until('its end', async () => ((await lab.agentState(node)) === 'stopped' ? true : undefined))
          const { stdout } = await lab.exec(node, ['ip', '-6', '-o', 'addr'])
          assert.not.match(stdout, /fd10:99|shunt0/, 'what the agent added is gone')
        }
      },
    ),
  )

it.run()
