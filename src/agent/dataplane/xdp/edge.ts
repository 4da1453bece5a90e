/**
 * The XDP data plane of a node, in front of the rules of nftables (decision 31): the programs of edge.bpf.c on its interfaces, and all that they
 * look up but routes and mappings, which are the plumber's. Follows a plan while packets flow.
 */
import { bpfObject } from '../../../assets.ts'
import { type LoadedObject, loadObject } from '../../../os/bpf/load.ts'
import { MappedArray } from '../../../os/bpf/mapped.ts'
import { decodeObject } from '../../../os/bpf/object-file.ts'
import { BpfRing } from '../../../os/bpf/ring.ts'
import type { CaptureOrder, CaptureSource } from '../capture.ts'
import type { DataplanePlan } from '../messages.ts'
import type { PlumbUse } from '../plumber.ts'
import { captureOff, EdgeCapture } from './edge-capture.ts'
import { bytesOf, type EdgeTraffic, readEdgeCounters, readEdgeTraffic } from './edge-counters.ts'
import { EdgeLearning } from './edge-learning.ts'
import { EdgeLinks } from './edge-links.ts'
import { EdgeTables } from './edge-tables.ts'
import type { ClassMaps } from './first-packets.ts'
import { EDGE_GLOBALS, EDGE_LAYOUT } from './layout/edge.ts'
import { LearnTable } from './learn-table.ts'
import { LearntFollower } from './learnt-follower.ts'
import { LearntMap } from './learnt-map.ts'
import { mappingMapSize } from './mapping-layout.ts'
import { formatMappingMemory } from './mapping-memory.ts'
import { KernelMappings } from './mapping-table.ts'
import { routeMapSize } from './route-layout.ts'
import { formatRouteMemory, newRouteSecret } from './route-memory.ts'
import { RouteTable } from './route-table.ts'
import { TICK_SHIFT } from './tick.ts'
import type { XdpPlan } from './xdp-plan.ts'
import type { XdpTables } from './xdp-plumber.ts'

/** Numbers of services go up to it. */
const TARGETS = 8_193
/** Tables of choices (16 kB each): for the services that there are, and some that may come; those of others are chosen for by the agent. */
const choiceTables = (services: number): number => Math.min(1_024, 2 * services + 32)
/** Of a family that the node has no addresses of. */
const NONE = 1

export interface EdgeStatus {
  /** Packets by counter: `xdp_restored`, ... */
  readonly counters: Record<string, number>
  /** Of IP packets, as they came: to hosts, and to this node's own stack by a tunnel. */
  readonly forwardedBytes: number
  readonly restoredBytes: number
  /** By host index, and by number of the service (ServiceEntry.index and one). */
  readonly byHost: readonly EdgeTraffic[]
  readonly byService: readonly EdgeTraffic[]
}

export class Edge {
  readonly tables: XdpTables
  readonly classMaps: ClassMaps
  readonly #object: LoadedObject
  readonly #mapped: readonly MappedArray[]
  readonly #edge: EdgeTables
  readonly #bss: MappedArray
  readonly #links: EdgeLinks
  readonly #learn: LearnTable
  readonly #learning: EdgeLearning
  readonly #learnt: LearntMap
  #ring: BpfRing | null = null
  #follower: LearntFollower | null = null

  /**
   * Loads the programs, fills their tables and attaches them. Throws ShuntError or OsError, which say why this machine cannot; nothing is
   * left then.
   */
  constructor(plan: DataplanePlan, xdp: XdpPlan) {
    const [secret, mappingSecret] = [newRouteSecret(), newRouteSecret()]
    const { flows, mappings } = plan.limits
    const six = plan.clusterWords6 !== undefined
    const [routes4, routes6] = [routeMapSize(4, flows), routeMapSize(6, six ? flows : NONE)]
    const [mappings4, mappings6] = [mappingMapSize(4, mappings), mappingMapSize(6, six ? mappings : NONE)]
    const embryos4 = routeMapSize(4, plan.limits.embryonicFlows)
    const bytes = new Uint8Array(secret.buffer)
    const mappingBytes = new Uint8Array(mappingSecret.buffer)
    this.#object = loadObject(decodeObject(bpfObject('edge')), {
      layout: EDGE_LAYOUT,
      set: [
        [EDGE_GLOBALS.tickShift, TICK_SHIFT],
        [EDGE_GLOBALS.routes4Buckets, routes4.buckets],
        [EDGE_GLOBALS.routes6Buckets, routes6.buckets],
        [EDGE_GLOBALS.embryos4Buckets, embryos4.buckets],
        [EDGE_GLOBALS.routes4Secret, bytes],
        [EDGE_GLOBALS.routes6Secret, bytes],
        [EDGE_GLOBALS.mappings4Buckets, mappings4.buckets],
        [EDGE_GLOBALS.mappings6Buckets, mappings6.buckets],
        [EDGE_GLOBALS.mappings4Secret, mappingBytes],
        [EDGE_GLOBALS.mappings6Secret, mappingBytes],
      ],
      maxEntries: {
        routes4: routes4.entries,
        routes6: routes6.entries,
        mappings4: mappings4.entries,
        mappings6: mappings6.entries,
        targets: TARGETS,
        learnt: plan.limits.embryonicFlows,
        embryos4: embryos4.entries,
        class_services: TARGETS,
        class_choices: choiceTables(plan.directory.services.length),
      },
    })
    const mapped: MappedArray[] = []
    const map = (name: string): MappedArray => {
      const array = new MappedArray(this.#object.map(name))
      mapped.push(array)
      return array
    }
    this.#mapped = mapped
    this.#links = new EdgeLinks(this.#object)
    try {
      this.#bss = map('bss')
      captureOff(this.#bss)
      this.#edge = new EdgeTables({
        services: map('services'),
        hosts: map('hosts'),
        tunnels: map('tunnels'),
        targets: map('targets'),
        bss: this.#bss,
        vips: this.#object.map('vips'),
        devices: this.#object.map('devices'),
      })
      this.#learn = new LearnTable(map('learn_tunnels'), this.#bss)
      this.#learning = new EdgeLearning(this.#learn, this.#edge.book)
      this.#learnt = new LearntMap(this.#object.map('learnt'))
      this.tables = {
        routes: new RouteTable(formatRouteMemory(map('routes4').bytes, 4, routes4.buckets, secret)),
        routes6: new RouteTable(formatRouteMemory(map('routes6').bytes, 6, routes6.buckets, secret)),
        mappings: new KernelMappings(
          formatMappingMemory(map('mappings4').bytes, 4, mappings4.buckets, mappingSecret),
        ),
        mappings6: new KernelMappings(
          formatMappingMemory(map('mappings6').bytes, 6, mappings6.buckets, mappingSecret),
        ),
        services: this.#edge.numbers,
        tunnels: this.#edge.book,
        learnt: this.#learnt,
        renewTunnel: tunnel => {
          this.#learning.clear(tunnel)
          this.#edge.renewTunnel(tunnel)
        },
      }
      this.classMaps = {
        bss: this.#bss.bytes,
        services: map('class_services').bytes,
        choices: map('class_choices').bytes,
        pools: map('class_pools').bytes,
        embryos: new RouteTable(formatRouteMemory(map('embryos4').bytes, 4, embryos4.buckets, secret)),
        routes: this.tables.routes,
        events: this.#object.map('class_events'),
      }
      this.#edge.mark(xdp.mark)
      this.#edge.apply(plan, xdp)
      this.#learning.apply(plan)
      this.#links.attachAll(xdp)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Before the engine follows another plan: what will mean something else, or nothing, is taken out. Its packets take the slow path. */
  withdraw(plan: DataplanePlan): void {
    this.#learning.withdraw(plan)
    this.#edge.withdraw(plan)
  }

  /** After the engine did. */
  apply(plan: DataplanePlan, xdp: XdpPlan): void {
    this.#edge.apply(plan, xdp)
    this.#learning.apply(plan)
    this.#links.update(xdp)
  }

  /** Who tells the host's core of mappings that the kernel has learnt by itself; one in all. */
  follow(use: PlumbUse, tick: () => number): LearntFollower {
    this.#ring = new BpfRing(this.#object.map('mapping_events'))
    const { mappings, mappings6, services, tunnels } = this.tables
    this.#follower = new LearntFollower({
      ...{ mappings: [mappings, mappings6], services, tunnels, use, tick },
      ring: this.#ring,
      learnt: this.#learnt,
      learning: this.#learning,
      lost: () => this.#learn.lost,
    })
    return this.#follower
  }

  renew(bootMs: number, wallMs: number): void {
    this.#learning.renew(bootMs, wallMs)
  }

  get text(): string {
    return this.#links.text
  }

  get reasons(): string[] {
    return this.#links.reasons
  }

  status(): EdgeStatus {
    const object = this.#object
    const services = [...this.#edge.numbers.numbers]
    const byHost = readEdgeTraffic(object, 'host_traffic', this.#edge.hosts)
    const byService = readEdgeTraffic(object, 'service_traffic', services)
    const forwardedBytes = bytesOf(byHost)
    return {
      counters: { ...readEdgeCounters(object), xdp_learnt_events_lost: this.#learn.lost },
      forwardedBytes,
      restoredBytes: Math.max(0, bytesOf(byService) - forwardedBytes),
      byHost,
      byService,
    }
  }

  /** What clients send, as it comes in. */
  capture(order: CaptureOrder): CaptureSource {
    return new EdgeCapture(this.#object, this.#bss, order)
  }

  /** Takes the programs off; no packet is touched from then on. */
  close(): void {
    this.#links.close()
    this.#ring?.close()
    for (const mapped of this.#mapped) mapped.release()
    this.#object.close()
  }
}
