/** What carries packets from a VIP to a host, each in a namespace of its own with the same interfaces (test/support/xdp-lab.ts). */
import { isNeutral } from '../../src/agent/dataplane/identifiers.ts'
import { NftPlumber } from '../../src/agent/dataplane/nft/plumber.ts'
import { buildRuleset, tableName } from '../../src/agent/dataplane/nft/ruleset.ts'
import { EDGE_CONFIG } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { ShuntError } from '../../src/errors.ts'
import { mustRun } from '../../src/lab/run.ts'
import { attachXdp, type BpfLink, type XdpMode } from '../../src/os/bpf/link.ts'
import { SetElements } from '../../src/os/netlink/nftables-elements.ts'
import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { applyRuleset } from '../../src/os/nft.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { neutralIdentifier } from '../../test/support/dataplane-case.ts'
import { HOSTS, TUNNEL, VIP } from '../../test/support/dataplane-world.ts'
import type { TestNetns } from '../../test/support/netns.ts'
import { addressWords } from '../../test/support/packets.ts'
import { LINKS, makeWorld, XdpLab } from '../../test/support/xdp-lab.ts'

const HOST = HOSTS.redirected
const SERVICE = { port: 53, protocol: 17, number: 2 }
const [IN, OUT] = [LINKS.uplink.name, LINKS.cluster.name]

export interface Contestant {
  readonly name: string
  readonly netns: TestNetns
  /** What leaves it: XDP's frames, or packets that the kernel has made its own. */
  readonly leaves: 'frames' | 'packets'
  readonly close: () => void
}

/** Of flow `n`, as in wire.bpf.c. */
const clientOf = (n: number): string => `10.0.${n >>> 22}.${(n >>> 14) & 0xff}`
const portOf = (n: number): number => 1024 + (n & 0x3fff)
const identifierOf = (n: number): number => neutralIdentifier(HOST.index, portOf(n), SERVICE.port, n >>> 14)

/** A cable gathers packets in rounds as a card does, and as it must do for XDP: so it does for all (`ethtool -K ... gro on`). */
const gathering = (netns: TestNetns): Promise<unknown> =>
  mustRun(['ip', 'netns', 'exec', netns.name, 'ethtool', '-K', IN, 'gro', 'on'])

const xdp = async (mode: XdpMode, flows: number): Promise<Contestant> => {
  const lab = await XdpLab.open(2 * flows)
  const links: BpfLink[] = []
  for (let n = 0; n < flows; n++)
    lab.addRoute(4, {
      ...{ client: clientOf(n), port: portOf(n), service: SERVICE.number },
      ...{ identifier: identifierOf(n), mapped: true, state: ROUTE_STATE.ESTABLISHED },
    })
  lab.configure(EDGE_CONFIG.hopLifeNs, 100_000_000)
  if (mode === 'generic') await gathering(lab.netns)
  lab.netns.run(() => links.push(attachXdp(lab.object.program('edge_uplink'), link(IN).index, mode).link))
  return {
    name: `shunt, XDP ${mode}`,
    netns: lab.netns,
    leaves: mode === 'native' ? 'frames' : 'packets',
    close: () => {
      for (const one of links) one.close()
      lab.close()
    },
  }
}

const world = async (): Promise<TestNetns> => {
  const netns = await makeWorld()
  await gathering(netns)
  netns.run(() => {
    writeSysctl('net.ipv4.ip_forward', 1)
    for (const name of ['all', 'default', IN, OUT]) writeSysctl(`net.ipv4.conf.${name}.rp_filter`, 0)
  })
  return netns
}

const rules = async (name: string, ruleset: string): Promise<Contestant> => {
  const netns = await world()
  await netns.run(() => applyRuleset(ruleset))
  return { name, netns, leaves: 'packets', close: () => {} }
}

const routing = async (): Promise<Contestant> => {
  const netns = await world()
  await ipBatch(netns.name, [`route add ${VIP[4]} via ${HOST.address[4]}`])
  return { name: 'plain routing', netns, leaves: 'packets', close: () => {} }
}

/** As nftlb's direct return: a host by a hash of the client, its hardware address, and out. */
const macOf = (last: number): string => `02:00:5e:00:00:${last.toString(16).padStart(2, '0')}`
const DIRECT = `table netdev nftlb { chain in { type filter hook ingress device "${IN}" priority 0; policy accept;
  ip daddr ${VIP[4]} udp dport ${SERVICE.port} ether daddr set jhash ip saddr . udp sport mod 2 map { 0: ${macOf(HOST.neighbour)}, 1: ${macOf(HOST.neighbour)} } ether saddr set ${macOf(LINKS.cluster.mac)} fwd to "${OUT}"
}
}`
const DNAT = `table ip balancer { chain in { type nat hook prerouting priority dstnat;
  ip daddr ${VIP[4]} udp dport ${SERVICE.port} dnat to numgen inc mod 2 map { 0: ${HOST.address[4]}, 1: ${HOST.address[4]} }
}
}`

const nftables = async (flows: number): Promise<Contestant> => {
  const netns = await world()
  await netns.run(() =>
    applyRuleset(
      buildRuleset({
        ...{ node: 'f1', uplink: [IN], cluster: [], clusterAddress: HOSTS.local.address[4], host: null },
        forwarder: {
          ...{ tunnelAddress: TUNNEL[4], routeCapacity: 2 * flows },
          services: [{ vip: VIP[4], protocol: 'udp', port: SERVICE.port }],
          hosts: [{ index: HOST.index, address: HOST.address[4], hop: HOST.address[4], link: OUT }],
        },
      }),
    ),
  )
  const elements = netns.run(() => new SetElements())
  const refused = (): never => {
    throw new ShuntError('SHUNT_ERR_NFT', 'the kernel refused a route')
  }
  const plumber = new NftPlumber(elements, tableName('f1'), { route: refused, mapping: refused })
  for (let n = 0; n < flows; n++) {
    const ports = ((portOf(n) << 16) | SERVICE.port) >>> 0
    const key = Uint32Array.from([
      ...addressWords(clientOf(n)),
      ...addressWords(VIP[4]),
      ports,
      SERVICE.protocol,
    ])
    plumber.route(n, key, 0, identifierOf(n), isNeutral(identifierOf(n), ports), 3_600_000)
    if (n % 1000 === 999 || n === flows - 1) netns.run(() => plumber.flush())
  }
  return { name: 'shunt, nftables', netns, leaves: 'packets', close: () => elements.close() }
}

export const openContestants = async (flows: number): Promise<Contestant[]> => [
  await xdp('native', flows),
  await xdp('generic', flows),
  await nftables(flows),
  await routing(),
  await rules('nftlb direct return (stateless)', DIRECT),
  await rules('nft dnat with conntrack', DNAT),
]
