/**
 * The XDP data plane of a node, in front of the rules of nftables (decision 31): the programs of edge.bpf.c on its interfaces, and all that they
 * look up but routes and mappings, which are the plumber's. Follows a plan while packets flow.
 */
import { bpfObject } from '../../../assets.ts'
import { type LoadedObject, loadObject } from '../../../os/bpf/load.ts'
import { MappedArray } from '../../../os/bpf/mapped.ts'
import { type BpfObjectFile, decodeObject } from '../../../os/bpf/object-file.ts'
import { BpfRing } from '../../../os/bpf/ring.ts'
import type { CaptureOrder, CaptureSource } from '../capture.ts'
import type { DataplanePlan } from '../messages.ts'
import type { PlumbUse } from '../plumber.ts'
import { type CarryOver, carryOver, EDGE_LAYOUTS } from './carry-over.ts'
import { captureOff, EdgeCapture } from './edge-capture.ts'
import { bytesOf, type EdgeTraffic, readEdgeCounters, readEdgeTraffic } from './edge-counters.ts'
import { EdgeLearning } from './edge-learning.ts'
import { EDGE_PROGRAMS, EdgeLinks } from './edge-links.ts'
import { EdgeTables } from './edge-tables.ts'
import type { ClassMaps } from './first-packets.ts'
import { EDGE_GLOBALS, EDGE_LAYOUT } from './layout/edge.ts'
import { LearnTable } from './learn-table.ts'
import { LearntFollower } from './learnt-follower.ts'
import { LearntMap } from './learnt-map.ts'
import { MIGRATIONS, type MigrationTable } from './migrations.ts'
import { EdgePins, type PinnedMap } from './pins.ts'
import { MappingMaker, RouteMaker } from './table-maker.ts'
import { TICK_SHIFT } from './tick.ts'
import { TunnelTable } from './tunnel-table.ts'
import type { XdpPlan } from './xdp-plan.ts'
import type { XdpTables } from './xdp-plumber.ts'

/** Numbers of services go up to it. */
const TARGETS = 8_193
/** Tables of choices (16 kB each): for the services that there are, and some that may come; those of others are chosen for by the agent. */
const choiceTables = (services: number): number => Math.min(1_024, 2 * services + 32)
/** Of a family that the node has no addresses of. */
const NONE = 1

interface Tables {
  readonly routes4: RouteMaker
  readonly routes6: RouteMaker
  readonly mappings4: MappingMaker
  readonly mappings6: MappingMaker
  readonly embryos4: RouteMaker
  readonly embryos6: RouteMaker
}

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
  /** What was begun anew though an agent before had it; a sentence each. */
  readonly notes: string[]
  readonly #pins: EdgePins | null
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
   * Loads the programs, fills their tables and attaches them, in the place of those that an agent before left (plan.lasting), whose routes,
   * mappings and counters go on. Throws ShuntError or OsError, which say why that cannot be; then all is as it was before.
   */
  constructor(plan: DataplanePlan, xdp: XdpPlan, migrations: MigrationTable = MIGRATIONS) {
    const pins = plan.lasting?.pins ?? null
    this.#pins = pins === null ? null : new EdgePins(pins)
    const before = plan.lasting?.adopt ? (this.#pins?.maps() ?? new Map()) : new Map<string, PinnedMap>()
    forgetNameless(before)
    const makers = makeTables(plan)
    const all = Object.values(makers)
    try {
      const file = decodeObject(bpfObject('edge'))
      const carried = carryOver(file.maps, before, all, sizesOf(plan), migrations)
      this.notes = carried.notes
      this.#object = loadEdge(file, makers, carried)
    } catch (error) {
      release(makers, before)
      throw error
    }
    const mapped: MappedArray[] = []
    const map = (name: string): MappedArray => {
      const array = new MappedArray(this.#object.map(name))
      mapped.push(array)
      return array
    }
    this.#mapped = mapped
    this.#links = new EdgeLinks(this.#object, this.#pins)
    try {
      const routes = makers.routes4.make(map('routes4').bytes)
      const routes6 = makers.routes6.make(map('routes6').bytes)
      const mappings = makers.mappings4.make(map('mappings4').bytes)
      const mappings6 = makers.mappings6.make(map('mappings6').bytes)
      const lost = all.reduce((sum, { lost }) => sum + lost, 0)
      if (lost > 0) this.notes.push(`${lost} entries did not fit the tables of now`)
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
      this.#learn = new LearnTable(map('learn_tunnels'), this.#bss, map('answered'))
      this.#learning = new EdgeLearning(this.#learn, this.#edge.book)
      this.#learnt = new LearntMap(this.#object.map('learnt'))
      this.tables = {
        ...{ routes, routes6, mappings, mappings6 },
        services: this.#edge.numbers,
        tunnels: this.#edge.book,
        learnt: this.#learnt,
        renewTunnel: tunnel => {
          this.#learning.clear(tunnel)
          this.#edge.renewTunnel(tunnel)
        },
      }
      const tunnels = before.get('tunnels')
      if (tunnels !== undefined) this.#adoptTunnels(tunnels, plan)
      this.classMaps = {
        bss: this.#bss.bytes,
        services: map('class_services').bytes,
        choices: map('class_choices').bytes,
        pools: map('class_pools').bytes,
        flows: {
          4: { embryos: makers.embryos4.make(map('embryos4').bytes), routes },
          6: { embryos: makers.embryos6.make(map('embryos6').bytes), routes: routes6 },
        },
        events: this.#object.map('class_events'),
      }
      this.#edge.mark(xdp.mark)
      this.#edge.apply(plan, xdp)
      this.#learning.apply(plan)
      this.#attach(xdp)
      this.#edge.answer(this.#links.answering(xdp))
    } catch (error) {
      this.#end(() => this.#links.leave())
      throw error
    } finally {
      release(makers, before)
    }
  }

  #adoptTunnels({ map }: PinnedMap, plan: DataplanePlan): void {
    using array = new MappedArray(map)
    this.#edge.adoptTunnels(new TunnelTable(array.bytes), plan)
  }

  /** From here on packets meet this object's programs; those of an agent before until then. */
  #attach(xdp: XdpPlan): void {
    const pins = this.#pins
    if (pins === null) {
      try {
        return this.#links.attachAll(xdp)
      } catch (error) {
        this.#links.close()
        throw error
      }
    }
    const left = pins.links()
    try {
      pins.stage(this.#object, EDGE_LAYOUTS, EDGE_PROGRAMS)
      pins.commit()
      this.#links.takeOver(left, xdp)
    } catch (error) {
      pins.rollBack()
      throw error
    }
    pins.done()
    try {
      this.#links.attachAll(xdp)
    } catch (error) {
      // What an agent before left goes on by this object; with nothing left before, nothing is to stay.
      if (left.length > 0) throw error
      this.#links.close()
      pins.remove()
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
    this.#edge.answer(this.#links.answering(xdp))
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

  /** Takes the programs off; no packet is touched from then on, and nothing of them is left. */
  close(): void {
    this.#end(() => {
      this.#links.close()
      this.#pins?.remove()
    })
  }

  /** Leaves the programs at work for the next agent. */
  leave(): void {
    this.#end(() => this.#links.leave())
  }

  /** Whether the programs outlive the agent. */
  get lasts(): boolean {
    return this.#pins !== null
  }

  #end(links: () => void): void {
    links()
    this.#ring?.close()
    for (const mapped of this.#mapped) mapped.release()
    this.#object.close()
  }
}

/** Mappings go by the numbers of their tunnels: where those cannot be read, nobody knows whose they are. */
const forgetNameless = (before: Map<string, PinnedMap>): void => {
  if (before.get('tunnels')?.layout === EDGE_LAYOUTS.get('tunnels')) return
  for (const name of ['tunnels', 'mappings4', 'mappings6']) {
    before.get(name)?.map.close()
    before.delete(name)
  }
}

const sizesOf = ({ directory, limits }: DataplanePlan): Record<string, number> => ({
  targets: TARGETS,
  learnt: limits.embryonicFlows,
  class_services: TARGETS,
  class_choices: choiceTables(directory.services.length),
})

const makeTables = ({ limits, clusterWords6 }: DataplanePlan): Tables => {
  const { flows, mappings, embryonicFlows } = limits
  const six = clusterWords6 !== undefined
  const routes4 = new RouteMaker('routes4', 4, flows)
  const routes6 = new RouteMaker('routes6', 6, six ? flows : NONE)
  return {
    routes4,
    routes6,
    mappings4: new MappingMaker('mappings4', 4, mappings),
    mappings6: new MappingMaker('mappings6', 6, six ? mappings : NONE),
    embryos4: new RouteMaker('embryos4', 4, embryonicFlows, routes4),
    embryos6: new RouteMaker('embryos6', 6, six ? embryonicFlows : NONE, routes6),
  }
}

const loadEdge = (file: BpfObjectFile, tables: Tables, { reuse, maxEntries }: CarryOver): LoadedObject =>
  loadObject(file, {
    layout: EDGE_LAYOUT,
    set: [
      [EDGE_GLOBALS.tickShift, TICK_SHIFT],
      [EDGE_GLOBALS.routes4Buckets, tables.routes4.buckets],
      [EDGE_GLOBALS.routes6Buckets, tables.routes6.buckets],
      [EDGE_GLOBALS.embryos4Buckets, tables.embryos4.buckets],
      [EDGE_GLOBALS.embryos6Buckets, tables.embryos6.buckets],
      [EDGE_GLOBALS.routes4Secret, tables.routes4.secretBytes],
      [EDGE_GLOBALS.routes6Secret, tables.routes6.secretBytes],
      [EDGE_GLOBALS.mappings4Buckets, tables.mappings4.buckets],
      [EDGE_GLOBALS.mappings6Buckets, tables.mappings6.buckets],
      [EDGE_GLOBALS.mappings4Secret, tables.mappings4.secretBytes],
      [EDGE_GLOBALS.mappings6Secret, tables.mappings6.secretBytes],
    ],
    reuse,
    maxEntries,
  })

const release = (tables: Tables, before: ReadonlyMap<string, PinnedMap>): void => {
  for (const table of Object.values(tables)) table.release()
  for (const { map } of before.values()) map.close()
}
