/**
 * A client, a forwarder and a host, each a namespace, with edge.bpf.c on real interfaces: what is sent through both arrives whole, and the
 * host's stack still merges it (GRO, in native mode). Packets that XDP leaves to the slow path (SYN, FIN) go by plain routing here: there is no agent.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  DEVICE,
  DEVICE_BYTES,
  EDGE_CONFIG,
  EDGE_GLOBALS,
  HOST,
} from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { RouteTable } from '../../src/agent/dataplane/xdp/route-table.ts'
import { ServiceTable } from '../../src/agent/dataplane/xdp/service-table.ts'
import { attachXdp, type XdpMode } from '../../src/os/bpf/link.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { index, missingBpf } from '../support/bpf.ts'
import { FAMILIES, type Family, TUNNEL, VIP } from '../support/dataplane-world.ts'
import { makeNetns, removeNetns, type TestNetns } from '../support/netns.ts'
import { addressBytes, addressWords, join, pattern } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { ROLE, XdpHostLab } from '../support/xdp-host-lab.ts'

const it = suite('xdp/bulk')
const noBpf = missingBpf()

/** Of the client: a connection's port rests when it ends. */
const PORTS = { native: { 4: 40_001, 6: 40_002 }, generic: { 4: 40_003, 6: 40_004 } } as const
const MODES = ['native', 'generic'] as const satisfies readonly XdpMode[]
const identifierOf = (port: number): number => 0x01ab0000 + port
const BYTES = 12_000_000
const MTU = 1500
const CLIENT: Readonly<Record<Family, string>> = { 4: '10.1.0.2', 6: 'fd00:1::2' }
const HOST_ADDRESS: Readonly<Record<Family, string>> = { 4: '10.2.0.2', 6: 'fd00:2::2' }

let client: TestNetns
let forwarder: TestNetns
let host: TestNetns
let xdp: XdpHostLab
let folder: string

const run = async (netns: TestNetns, ...command: string[]): Promise<string> => {
  const child = spawn('ip', ['netns', 'exec', netns.name, ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', chunk => {
      text += chunk
    })
  const [status] = await once(child, 'close')
  if (status !== 0) throw new Error(`${command.join(' ')}: ${text}`)
  return text
}

const mapped = (address: string): Uint8Array => {
  const bytes = addressBytes(address)
  return bytes.length === 16 ? bytes : join(new Uint8Array(10), Uint8Array.of(0xff, 0xff), bytes)
}

const makeWorld = async (): Promise<void> => {
  ;[client, forwarder, host] = [await makeNetns(), await makeNetns(), await makeNetns()]
  for (const netns of [client, forwarder, host])
    netns.run(() => {
      for (const place of ['all', 'default']) writeSysctl(`net.ipv4.conf.${place}.rp_filter`, 0)
      writeSysctl('net.ipv6.conf.default.accept_dad', 0)
      writeSysctl('net.ipv4.conf.all.forwarding', 1)
      writeSysctl('net.ipv6.conf.all.forwarding', 1)
    })
  await ipBatch(null, [
    `link add v0 netns ${client.name} type veth peer name u0 netns ${forwarder.name}`,
    `link add c0 netns ${forwarder.name} type veth peer name v0 netns ${host.name}`,
  ])
  const up = (netns: TestNetns, ...lines: string[]): Promise<void> =>
    ipBatch(netns.name, ['link set lo up', ...lines])
  await up(
    client,
    'address add 10.1.0.2/24 dev v0',
    'address add fd00:1::2/64 dev v0 nodad',
    'link set v0 up',
  )
  await up(
    forwarder,
    ...['address add 10.1.0.1/24 dev u0', 'address add fd00:1::1/64 dev u0 nodad', 'link set u0 up'],
    ...['address add 10.2.0.1/24 dev c0', 'address add fd00:2::1/64 dev c0 nodad', 'link set c0 up'],
    ...FAMILIES.map(family => `route add ${VIP[family]} via ${HOST_ADDRESS[family]}`),
  )
  await up(
    host,
    ...['address add 10.2.0.2/24 dev v0', 'address add fd00:2::2/64 dev v0 nodad', 'link set v0 up'],
    ...FAMILIES.map(family => `address add ${VIP[family]} dev lo`),
  )
  await ipBatch(client.name, ['route add default via 10.1.0.1', 'route add default via fd00:1::1'])
  await ipBatch(host.name, ['route add default via 10.2.0.1', 'route add default via fd00:2::1'])
  // Packets that never saw a wire have no checksum yet, and XDP cannot know.
  await run(client, 'ethtool', '-K', 'v0', 'tx', 'off')
  await run(host, 'ethtool', '-K', 'v0', 'gro', 'on')
}

/** Routes, services and the host, as an agent would have set them. */
const fill = (): void => {
  xdp = new XdpHostLab()
  const map = (name: string): MappedArray => new MappedArray(xdp.object.map(name))
  const [routes4, routes6, services, hosts, bss] = ['routes4', 'routes6', 'services', 'hosts', 'bss'].map(map)
  const secret = new BigUint64Array(8)
  const device = new Uint8Array(DEVICE_BYTES)
  const out = forwarder.run(() => link('c0').index)
  new DataView(device.buffer).setUint32(DEVICE.link, out, true)
  xdp.object.map('devices').update(index(out), device)
  for (const family of FAMILIES) {
    const routes = family === 4 ? routes4 : routes6
    const table = new RouteTable(formatRouteMemory(routes.bytes, family, 2, secret))
    new ServiceTable(services.bytes).set(addressWords(VIP[family]), 0, 80, 6, 1)
    xdp.object.map('vips').update(mapped(VIP[family]), index(0))
    const tunnel = family === 4 ? EDGE_CONFIG.tunnel4W : EDGE_CONFIG.tunnel6W
    bss.bytes.set(mapped(TUNNEL[family]), EDGE_GLOBALS.config.offset + tunnel)
    const place = hosts.stride + (family === 4 ? HOST.ipv4 : HOST.ipv6)
    hosts.bytes.set(addressBytes(HOST_ADDRESS[family]), place)
    const ends = { tunnel: addressWords(TUNNEL[family]), own: addressWords(HOST_ADDRESS[family]) }
    xdp.tunnels.set(ends, 1, 0)
    for (const mode of MODES) {
      const port = PORTS[mode][family]
      const identifier = identifierOf(port)
      const route = { identifier, state: ROUTE_STATE.ESTABLISHED, generation: 0, mapped: true, pinned: false }
      table.insert(table.newKey().set(addressWords(CLIENT[family]), 0, port, 1), route, 0)
      const content = { client: addressWords(CLIENT[family]), port, service: 1 }
      xdp.mappings[family].put({ tunnel: 1, generation: 0, identifier }, content, 0)
    }
  }
  hosts.view.setUint32(hosts.stride + HOST.families, 3, true)
  for (const array of [routes4, routes6, services, hosts, bss]) array.release()
  xdp.roles(ROLE.forwarder | ROLE.host)
}

it.before(async () => {
  if (noBpf !== undefined) return
  folder = mkdtempSync(joinPath(tmpdir(), 'xdp-host-'))
  writeFileSync(joinPath(folder, 'body'), pattern(BYTES))
  await makeWorld()
  fill()
})
it.after(async () => {
  xdp?.close()
  await removeNetns()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

/** Answers what came, hashed; the test's own process listens in the host's namespace. */
const listen = async (): Promise<{ close: () => Promise<void> }> => {
  const server = createServer((request, response) => {
    const hash = createHash('sha256')
    request.on('data', chunk => hash.update(chunk))
    request.on('end', () => response.end(hash.digest('hex')))
  })
  host.run(() => server.listen(80))
  if (!server.listening) await once(server, 'listening')
  return {
    close: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

const COUNTER = /counter packets (\d+)/

for (const mode of MODES)
  testIf(
    noBpf,
    it,
    `bulk TCP through both arrives whole${mode === 'native' ? ', and merged' : ''}: ${mode} XDP`,
    async () => {
      const attach = (netns: TestNetns, name: string, program: string) =>
        netns.run(() => attachXdp(xdp.object.program(program), link(name).index, mode)).link
      using _uplink = attach(forwarder, 'u0', 'edge_uplink')
      using _cluster = attach(host, 'v0', 'edge_cluster')
      const server = await listen()
      await run(
        host,
        'nft',
        'add table inet seen; add chain inet seen in { type filter hook prerouting priority -300; }',
      )
      try {
        for (const family of FAMILIES) {
          const vip = family === 4 ? VIP[4] : `[${VIP[6]}]`
          const address = family === 4 ? 'ip' : 'ip6'
          await run(host, 'nft', 'flush chain inet seen in')
          await run(
            host,
            'nft',
            `add rule inet seen in ${address} daddr ${VIP[family]} meta length > ${MTU} counter`,
          )
          xdp.resetCounters()
          const port = String(PORTS[mode][family])
          const upload = [
            'curl',
            '-sS',
            '-m',
            '60',
            '--local-port',
            port,
            '-T',
            joinPath(folder, 'body'),
            `http://${vip}/`,
          ]
          const answer = await run(client, ...upload)
          assert.is(answer, createHash('sha256').update(pattern(BYTES)).digest('hex'))
          const { REDIRECTED = 0, RESTORED = 0, NO_MAPPING, NO_ROUTE } = xdp.counted()
          const least = Math.floor(BYTES / MTU)
          assert.ok(
            REDIRECTED >= least && RESTORED >= least && RESTORED <= REDIRECTED,
            JSON.stringify(xdp.counted()),
          )
          assert.equal([NO_MAPPING, NO_ROUTE], [undefined, undefined])
          const [, merged] = COUNTER.exec(await run(host, 'nft', 'list chain inet seen in'))!
          // The kernel merges nothing on an interface with generic XDP.
          if (mode === 'native') assert.ok(Number(merged) > 0, 'no packets were merged')
          const errors = await run(host, 'grep', '-h', '-A1', '^Tcp:', '/proc/net/snmp')
          assert.is(errors.trim().split('\n')[1].split(' ').at(-1), '0', 'checksum errors')
        }
      } finally {
        await run(host, 'nft', 'delete table inet seen')
        await server.close()
      }
    },
  )

it.run()
