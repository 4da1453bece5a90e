/** A namespace with one interface, and the agent's own `Edge` on it, again and again, as by agents that come and go. */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { Edge } from '../../src/agent/dataplane/xdp/edge.ts'
import { COUNTER, COUNTS_BYTES } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import type { MigrationTable } from '../../src/agent/dataplane/xdp/migrations.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { tickNow } from '../../src/agent/dataplane/xdp/tick.ts'
import type { XdpPlan } from '../../src/agent/dataplane/xdp/xdp-plan.ts'
import { BpfLink } from '../../src/os/bpf/link.ts'
import { BpfMap } from '../../src/os/bpf/map.ts'
import { BpfProgram } from '../../src/os/bpf/program.ts'
import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { index, testPins } from './bpf.ts'
import { makeNetns, type TestNetns } from './netns.ts'
import { addressWords, buildTcp4 } from './packets.ts'

export const VIP = '10.99.0.1'
const OWN = '10.50.0.1'
const TUNNEL = '10.50.0.2'
const FAR = '10.50.0.9'
/** Of another forwarder, whose mappings this node has. */
export const FAR_TUNNEL = '10.50.0.10'
export const HOST_INDEX = 2
const word = (text: string): number => addressWords(text)[3]

const hostEntry = (at: number, name: string, address: string, self: boolean) => ({
  ...{ index: at, name, words: addressWords(address), ipv4: word(address), self, hash: at },
  ...{ leaving: false, live: true, draining: false },
})

export class EdgeWorld {
  readonly netns: TestNetns
  readonly pins = testPins()
  readonly interface: number

  private constructor(netns: TestNetns) {
    this.netns = netns
    this.interface = netns.run(() => link('u0').index)
  }

  static async open(): Promise<EdgeWorld> {
    const netns = await makeNetns()
    await ipBatch(netns.name, [
      'link set lo up',
      'link add u0 type veth peer name u0p',
      'link set u0p up',
      'link set u0 up',
      `address add ${OWN}/16 dev u0`,
      `neighbour replace ${FAR} lladdr 02:00:00:00:00:09 dev u0 nud permanent`,
    ])
    netns.run(() => writeSysctl('net.ipv4.conf.lo.forwarding', 1))
    return new EdgeWorld(netns)
  }

  plan({ adopt = true, flows = 1000, mappings = 1000, sends = true } = {}): {
    plan: DataplanePlan
    xdp: XdpPlan
  } {
    const at = this.interface
    const xdp: XdpPlan = {
      asked: 'xdp',
      mark: Uint8Array.of(2, 1, 2, 3, 4, 5),
      links: [{ name: 'u0', index: at, program: 'edge_both' }],
      answers: [],
      exits: sends ? [{ name: 'u0', index: at, kind: 'veth' }] : [],
    }
    const service = { index: 0, name: 'web', vip: addressWords(VIP), port: 80, protocol: 6, hosts: [] }
    const plan = {
      directory: {
        hosts: [hostEntry(1, 'own', OWN, true), hostEntry(HOST_INDEX, 'far', FAR, false)],
        forwarders: [
          {
            name: 'other',
            tunnelWords: addressWords(FAR_TUNNEL),
            tunnelIpv4: word(FAR_TUNNEL),
            ipv4: word(FAR),
          },
        ],
        ...{ classifiers: [], services: [service] },
        hostIndexes: { next: 3, freed: [] },
        serviceIndexes: { next: 1, freed: [] },
      },
      ...{ clusterIpv4: word(OWN), keys: [], mappingPort: 6781 },
      timeouts: { unattended: 30_000, quarantine: 60_000 },
      forwarder: {
        tunnelIpv4: word(TUNNEL),
        tunnelWords: addressWords(TUNNEL),
        epoch: 1,
        hasClassifier: true,
      },
      host: { tun: 'shunt0' },
      limits: { flows, mappings, embryonicFlows: 16, heldPackets: 16 },
      lasting: { columns: '/nowhere', pins: this.pins.folder, adopt },
      xdp,
    } as unknown as DataplanePlan
    return { plan, xdp }
  }

  /** What an agent does at its start. */
  edge(options: Parameters<EdgeWorld['plan']>[0] = {}, migrations?: MigrationTable): Edge {
    const { plan, xdp } = this.plan(options)
    return this.netns.run(() => new Edge(plan, xdp, migrations))
  }

  /** Of a pinned map; `*` stands for its layout. */
  pinned(name: string): string {
    const found = readdirSync(join(this.pins.folder, 'now')).filter(entry => entry.startsWith(`map_${name}_`))
    if (found.length !== 1) throw new Error(`${name}: ${found.join(' ')}`)
    return join(this.pins.folder, 'now', found[0])
  }

  /** Everything that is pinned. */
  get listing(): string[] {
    return (readdirSync(this.pins.folder, { recursive: true }) as string[]).sort()
  }

  /** The program that the interface's packets meet now: it is asked of the link, not of what is pinned beside it. */
  get attached(): number {
    if (!existsSync(this.pins.folder)) return 0
    const name = readdirSync(this.pins.folder).find(entry => entry.startsWith('link_'))
    if (name === undefined) return 0
    using found = BpfLink.open(join(this.pins.folder, name))!
    return found.info().programId
  }

  /** One packet of the n-th client, through the program that is attached; its verdict. */
  packet(n: number): number {
    const folder = join(this.pins.folder, 'now')
    using program = BpfProgram.open(join(folder, 'prog_edge_both'))!
    if (program.info().id !== this.attached) throw new Error('another program is attached than is pinned')
    const data = frame(buildTcp4({ source: clientOf(n), destination: VIP, sourcePort: 2000 + n }))
    return this.netns.run(
      () => program.testRun({ data, ingress: { interfaceIndex: this.interface } }).verdict,
    )
  }

  /** Packets counted of a kind, in the map that is pinned. */
  counted(counter: keyof typeof COUNTER): number {
    using map = BpfMap.open(this.pinned('counters'))!
    const value = map.lookup(index(0))!
    const view = new DataView(value.buffer)
    let sum = 0
    for (let at = COUNTER[counter] * 8; at < value.length; at += COUNTS_BYTES)
      sum += Number(view.getBigUint64(at, true))
    return sum
  }

  close(): void {
    this.pins.remove()
  }
}

const frame = (packet: Uint8Array): Uint8Array => {
  const out = new Uint8Array(14 + packet.length)
  out.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0])
  out.set(packet, 14)
  return out
}

export const clientOf = (n: number): string => `10.20.${n >> 8}.${n & 255}`

/** Gives the n-th client a route to the far host. */
export const addRoute = ({ tables }: Edge, n: number, service = 1): void => {
  const key = tables.routes.newKey().set(addressWords(clientOf(n)), 0, 2000 + n, service)
  const content = { state: ROUTE_STATE.ESTABLISHED, generation: 0, mapped: true, pinned: false }
  tables.routes.insert(key, { identifier: (HOST_INDEX << 24) | (0x10000 + n), ...content }, tickNow())
}

export const hasRoute = ({ tables }: Edge, n: number, service = 1): boolean =>
  tables.routes.get(tables.routes.newKey().set(addressWords(clientOf(n)), 0, 2000 + n, service)) !== null
