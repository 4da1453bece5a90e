/**
 * The world of the data plane's cases for nftables: the same namespace, with the agent's own rules on the uplink and its own plumber for
 * the routes. Frames go in at the far end of the uplink; what becomes of them is seen at the far ends of all exits, at the packet ring of
 * the slow path, and behind the rules.
 */
import { isNeutral } from '../../src/agent/dataplane/identifiers.ts'
import { NftPlumber } from '../../src/agent/dataplane/nft/plumber.ts'
import { buildRuleset, SLOW_MARK, tableName } from '../../src/agent/dataplane/nft/ruleset.ts'
import type { HostHop, RulesetPlan } from '../../src/agent/dataplane/nft/ruleset-plan.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { readCounters } from '../../src/os/netlink/nftables-counters.ts'
import { SetElements } from '../../src/os/netlink/nftables-elements.ts'
import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { applyRuleset } from '../../src/os/nft.ts'
import { PacketRing } from '../../src/os/packet-ring.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import type { CaseRoute } from './dataplane-case.ts'
import {
  type Exit,
  FAMILIES,
  type Family,
  HOSTS,
  SERVICES,
  TUNNEL,
  type WorldHost,
} from './dataplane-world.ts'
import { FrameSocket, type SeenFrame } from './frame-socket.ts'
import type { TestNetns } from './netns.ts'
import { addressWords } from './packets.ts'
import { LINKS, makeWorld } from './xdp-lab.ts'

const NODE = 'f1'
const TABLE = tableName(NODE)
const LEASE_MS = 600_000
/** For local experiments (IEEE 802); the kernel does nothing with it. */
const SENTINEL = 0x88b5
const PATIENCE_MS = 5000
/** Far ends; what is sent there came out of that exit. */
const EXITS = ['uplink', 'cluster', 'vlan', 'narrow', 'elsewhere'] as const

export interface Outcome {
  /** What came out, by exit. */
  readonly exits: readonly (SeenFrame & { readonly exit: Exit })[]
  /** Packets (from the IP header on) that the agent saw. */
  readonly slow: readonly Uint8Array[]
  /** What went on to the stack. */
  readonly stack: readonly SeenFrame[]
  /** Counters of the rules that went up. */
  readonly counted: Readonly<Record<string, number>>
}

const typeOf = (frame: Uint8Array): number => (frame[12] << 8) | frame[13]
const ofTheKernel = (frame: Uint8Array): boolean => (frame[0] & 1) !== 0 || typeOf(frame) === 0x0806

export class NftLab {
  readonly netns: TestNetns
  readonly #elements: SetElements
  readonly #plumber: NftPlumber
  /** Of each family, as the agent has them. */
  readonly #rings: readonly PacketRing[]
  readonly #in: FrameSocket
  readonly #exits: Readonly<Record<Exit, FrameSocket>>
  readonly #behind: FrameSocket
  readonly #near: FrameSocket
  readonly #failed: string[] = []
  #numbers = 0
  #counters: Record<string, number>

  private constructor(netns: TestNetns) {
    this.netns = netns
    this.#elements = netns.run(() => new SetElements())
    const refused = (what: string) => (slot: number) => void this.#failed.push(`${what} ${slot}`)
    this.#plumber = new NftPlumber(this.#elements, TABLE, {
      route: refused('route'),
      mapping: refused('mapping'),
    })
    this.#rings = [0x0800, 0x86dd].map(etherType =>
      netns.run(() =>
        PacketRing.open({
          ...{ interfaceIndex: link(LINKS.uplink.name).index, mark: SLOW_MARK, markMask: 0xffffffff },
          ...{ frames: 256, frameSize: 16_384, etherType },
        }),
      ),
    )
    this.#exits = netns.run(
      () =>
        Object.fromEntries(EXITS.map(exit => [exit, new FrameSocket(`${LINKS[exit].name}p`)])) as Record<
          Exit,
          FrameSocket
        >,
    )
    this.#in = this.#exits.uplink
    this.#behind = netns.run(() => new FrameSocket('s0p'))
    this.#near = netns.run(() => new FrameSocket(LINKS.uplink.name))
    this.#counters = this.#readCounters()
  }

  static async open(): Promise<NftLab> {
    const netns = await makeWorld()
    const far = [...EXITS.map(exit => `${LINKS[exit].name}p`), 's0', 's0p']
    await ipBatch(netns.name, [
      // Room for the frames of the cases that are too big for the way on.
      ...['u0', 'u0p'].map(name => `link set ${name} mtu 9100`),
      'link add s0 mtu 9200 type veth peer name s0p mtu 9200',
      'link set s0p up',
      'link set s0 up',
    ])
    netns.run(() => {
      for (const name of far) writeSysctl(`net.ipv6.conf.${name}.disable_ipv6`, 1)
    })
    await netns.run(() => applyRuleset(buildRuleset(plan())))
    // Behind the agent's rules: a copy of all that they let go on to the stack.
    await netns.run(() =>
      applyRuleset(`table netdev behind { chain in { type filter hook ingress device "u0" priority 0; policy accept;
        meta mark ${SLOW_MARK} accept
        meta protocol != ${SENTINEL} dup to "s0"
      }
      }`),
    )
    return new NftLab(netns)
  }

  #readCounters(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.netns.run(() => readCounters(TABLE))).map(([name, { packets }]) => [name, packets]),
    )
  }

  /** As the agent does it: a flow that it holds, or that its host has not acknowledged, is not in the kernel. */
  addRoute(family: Family, route: CaseRoute): () => void {
    const local = route.identifier >>> 24 === HOSTS.local.index
    const held = route.state === ROUTE_STATE.HELD
    const service = SERVICES.find(({ number }) => number === route.service)
    if (service === undefined || held || (!route.mapped && !local)) return () => {}
    const ports = ((route.port << 16) | service.port) >>> 0
    const key = Uint32Array.from([
      ...addressWords(route.client),
      ...addressWords(service.vip[family]),
      ports,
      service.protocol,
    ])
    const neutral = isNeutral(route.identifier, ports)
    if (local) this.#plumber.local(0, key, 0, LEASE_MS)
    else this.#plumber.route(0, key, 0, route.identifier, neutral, LEASE_MS)
    this.netns.run(() => this.#plumber.flush())
    const failed = this.#failed.splice(0)
    if (failed.length > 0) throw new Error(`the kernel refused ${failed.join(', ')}`)
    const kind = local ? 'local' : neutral ? 'route' : 'fixed'
    return () => this.netns.run(() => this.#plumber.unroute(key, 0, kind))
  }

  /** A frame that nobody wants is sent behind; when it is there, all that was sent before is where it is to go. */
  #settle(): void {
    const number = ++this.#numbers & 0xffff
    const sentinel = new Uint8Array(60)
    sentinel.set([2, 0, 0x5e, 0, 0, 0xf1, 2, 0, 0x5e, 0, 0, 0xc1, SENTINEL >> 8, SENTINEL & 255])
    sentinel.set([number >> 8, number & 255], 14)
    this.#in.send(sentinel)
    const endAt = performance.now() + PATIENCE_MS
    while (performance.now() < endAt)
      if (this.#near.take().some(({ frame }) => Buffer.compare(frame, sentinel) === 0)) return
    throw new Error(`no frame came through in ${PATIENCE_MS} ms`)
  }

  /** Sends a frame, and tells what became of it. */
  run(frame: Uint8Array): Outcome {
    this.#collect()
    this.#in.send(frame)
    // Each round takes a frame one interface further: to the uplink, to an exit's far end or behind the rules, and one to spare.
    for (let round = 0; round < 3; round++) this.#settle()
    const seen = this.#collect()
    const now = this.#readCounters()
    const before = this.#counters
    this.#counters = now
    const counted = Object.entries(now).flatMap(([name, value]): [string, number][] =>
      value > before[name] ? [[name, value - before[name]]] : [],
    )
    return { ...seen, counted: Object.fromEntries(counted) }
  }

  #collect(): Omit<Outcome, 'counted'> {
    const exits = EXITS.flatMap(exit =>
      this.#exits[exit]
        .take()
        .filter(({ frame }) => !ofTheKernel(frame))
        .map(one => ({ ...one, exit })),
    )
    const slow: Uint8Array[] = []
    for (const ring of this.#rings)
      ring.receive(256, (buffer, offset, length) => void slow.push(buffer.slice(offset, offset + length)))
    return { exits, slow, stack: this.#behind.take() }
  }

  close(): void {
    for (const exit of EXITS) this.#exits[exit].close()
    this.#behind.close()
    this.#near.close()
    for (const ring of this.#rings) ring.close()
    this.#elements.close()
  }
}

const hostsOf = (family: Family): HostHop[] =>
  Object.values<WorldHost>(HOSTS).flatMap(({ index, address, exit }) => {
    const text = address[family]
    return text === undefined || exit === undefined
      ? []
      : [{ index, address: text, hop: text, link: LINKS[exit].name }]
  })

const plan = (): RulesetPlan => ({
  node: NODE,
  uplink: [LINKS.uplink.name],
  cluster: [],
  clusterAddress: HOSTS.local.address[4],
  clusterAddress6: HOSTS.local.address[6],
  forwarder: {
    tunnelAddress: TUNNEL[4],
    tunnelAddress6: TUNNEL[6],
    services: FAMILIES.flatMap(family =>
      SERVICES.map(({ vip, protocol, port }) => ({
        vip: vip[family],
        protocol: protocol === 6 ? 'tcp' : 'udp',
        port,
      })),
    ),
    hosts: hostsOf(4),
    hosts6: hostsOf(6),
    routeCapacity: 1024,
  },
  host: null,
})
