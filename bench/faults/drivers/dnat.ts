/** nft dnat with conntrack on both nodes, and keepalived; conntrack tables are not synchronised. */
import type { PlacePlan } from '../../../src/lab/topology.ts'
import type { Driver } from '../contract.ts'
import { inside, ip, SERVICE_PORT } from '../lib/topology.ts'
import { missingPair } from './haproxy.ts'
import { INNER_VIP, Pair, type PairBalancer, VIP } from './pair.ts'

/** Second addresses of the hosts: what comes to these is answered through the active node. */
const NET = '10.10.2'
const ROUTE_TABLE = 201
const addressOf = ({ address }: PlacePlan): string => `${NET}.${address!.split('.')[3]}`

const rules = (hosts: readonly PlacePlan[]): string => {
  const to = hosts.map((host, i) => `${i} : ${addressOf(host)}`).join(', ')
  return `table ip faults
delete table ip faults
table ip faults {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP} tcp dport ${SERVICE_PORT} dnat to numgen inc mod ${hosts.length} map { ${to} }
  }
}
`
}

const DNAT_BALANCER: PairBalancer = {
  commands: [],
  async prepare({ lab }) {
    for (const host of lab.hosts)
      await ip(host.netns, [
        `addr add ${addressOf(host)}/32 dev eth0`,
        `route add default via ${INNER_VIP} dev eth0 onlink table ${ROUTE_TABLE}`,
        `rule add from ${addressOf(host)} lookup ${ROUTE_TABLE}`,
      ])
  },
  async start({ lab }, node) {
    const { netns } = lab.place(node)
    await ip(netns, [`route replace ${NET}.0/24 dev eth0`])
    // As after a boot: there is no table of connections of another life.
    await inside(netns, ['nft', '-f', '-'], rules(lab.hosts))
  },
  async shift({ lab }, isOut) {
    const hosts = lab.hosts.filter((_, i) => !isOut || i !== 1)
    for (const node of ['f1', 'f2']) await inside(lab.netns(node), ['nft', '-f', '-'], rules(hosts))
  },
}

export const DNAT: Driver = {
  name: 'nft-dnat',
  about: `two nodes with nft dnat to three hosts in turn, keepalived moves the virtual IP and the hosts' way back (as above); conntrack is not synchronised,
and nothing checks hosts`,
  missing: missingPair,
  up: options => Pair.up(options, DNAT_BALANCER),
}
