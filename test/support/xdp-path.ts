/**
 * A client, a forwarder and a host, each a namespace, with edge.bpf.c between real interfaces. Packets that XDP leaves to the slow path (SYN,
 * FIN) go by plain routing here: there is no agent.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
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
import { attachXdp, type BpfLink, type XdpMode } from '../../src/os/bpf/link.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { index } from './bpf.ts'
import { FAMILIES, type Family, TUNNEL, VIP } from './dataplane-world.ts'
import { makeNetns, type TestNetns } from './netns.ts'
import { addressBytes, addressWords, join } from './packets.ts'
import { ROLE, XdpHostLab } from './xdp-host-lab.ts'

export const PATH_MTU = 1500
/** Of the client, by family; at most eight each. */
export type ClientPorts = Readonly<Record<Family, readonly number[]>>
const CLIENT: Readonly<Record<Family, string>> = { 4: '10.1.0.2', 6: 'fd00:1::2' }
const HOST_ADDRESS: Readonly<Record<Family, string>> = { 4: '10.2.0.2', 6: 'fd00:2::2' }

const identifierOf = (port: number): number => 0x01ab0000 + port

/** A command in a namespace; what it says. */
export const runIn = async (netns: TestNetns, ...command: string[]): Promise<string> => {
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

const makeWorld = async (): Promise<XdpPath['nodes']> => {
  const [client, forwarder, host] = [await makeNetns(), await makeNetns(), await makeNetns()]
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
  await runIn(client, 'ethtool', '-K', 'v0', 'tx', 'off')
  await runIn(host, 'ethtool', '-K', 'v0', 'gro', 'on')
  return { client, forwarder, host }
}

/** Routes, mappings and all else, as an agent would have set them. */
const fill = (xdp: XdpHostLab, { forwarder }: XdpPath['nodes'], ports: ClientPorts): void => {
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
    for (const port of ports[family]) {
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

export class XdpPath {
  readonly nodes: Readonly<Record<'client' | 'forwarder' | 'host', TestNetns>>
  readonly xdp: XdpHostLab

  private constructor(nodes: XdpPath['nodes'], ports: ClientPorts) {
    this.nodes = nodes
    this.xdp = new XdpHostLab()
    fill(this.xdp, nodes, ports)
  }

  /** Flows from these ports to port 80 of the VIPs have routes and mappings. */
  static async open(ports: ClientPorts): Promise<XdpPath> {
    return new XdpPath(await makeWorld(), ports)
  }

  /** Attaches the forwarder's and the host's programs, until they are closed. */
  attach(mode: XdpMode): Disposable {
    const { forwarder, host } = this.nodes
    const at = (netns: TestNetns, name: string, program: string): BpfLink =>
      netns.run(() => attachXdp(this.xdp.object.program(program), link(name).index, mode)).link
    const links = [at(forwarder, 'u0', 'edge_uplink'), at(host, 'v0', 'edge_cluster')]
    return {
      [Symbol.dispose]: () => {
        for (const one of links) one.close()
      },
    }
  }

  /** The namespaces are removed by removeNetns. */
  close(): void {
    this.xdp.close()
  }
}
