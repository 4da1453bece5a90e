/** How a table of routes or mappings comes into being: empty, the map of the agent before, or filled from that one. */
import type { BpfMap } from '../../../os/bpf/map.ts'
import { MappedArray } from '../../../os/bpf/mapped.ts'
import { cannot } from './carry-over.ts'
import { mappingMapSize } from './mapping-layout.ts'
import { formatMappingMemory, type MappingMemory, openMappingMemory } from './mapping-memory.ts'
import type { Mapping } from './mapping-slots.ts'
import { eachMapping } from './mapping-sweep.ts'
import { KernelMappings } from './mapping-table.ts'
import type { Migration, OldRoute } from './migrations.ts'
import { type Family, ROUTE_RESULT, routeMapSize } from './route-layout.ts'
import { formatRouteMemory, newRouteSecret, openRouteMemory, type RouteMemory } from './route-memory.ts'
import { eachRoute } from './route-sweep.ts'
import { RouteTable } from './route-table.ts'

const TRIES = 4

/** What loading the object must know, and what fills the table afterwards. */
export abstract class TableMaker {
  readonly name: string
  readonly family: Family
  abstract entries: number
  abstract buckets: number
  /** The map of the agent before, that goes on. */
  reused: BpfMap | null = null
  /** Whose secret this one has too; it is taken over first. */
  readonly #like: TableMaker | null
  #secret = newRouteSecret()
  /** How many entries did not fit. */
  lost = 0
  protected before: MappedArray | null = null

  constructor(name: string, family: Family, like: TableMaker | null = null) {
    this.name = name
    this.family = family
    this.#like = like
  }

  get secret(): BigUint64Array {
    return this.#like?.secret ?? this.#secret
  }

  get secretBytes(): Uint8Array {
    return new Uint8Array(this.secret.buffer, this.secret.byteOffset, this.secret.byteLength)
  }

  /** A map of this version's form: as it is if it has the wanted size, else its entries. Throws ShuntError for one that is damaged. */
  goOnWith(map: BpfMap): void {
    this.before = new MappedArray(map)
    const { buckets, secret, family } = this.open(this.before.bytes)
    if (family !== this.family) throw cannot(this.name, `it is of IPv${family}`)
    if (map.info.maxEntries !== this.entries || buckets !== this.buckets) return
    if (this.#like === null) this.#secret = secret.slice()
    if (String(secret) === String(this.secret)) this.reused = map
  }

  /** A map of another form. */
  abstract migrate(map: BpfMap, migration: Migration): void
  protected abstract open(bytes: Uint8Array<ArrayBuffer>): RouteMemory | MappingMemory

  release(): void {
    this.before?.release()
  }
}

export class RouteMaker extends TableMaker {
  entries: number
  buckets: number
  #read: (() => Iterable<OldRoute>) | null = null

  /** @param like another table, with the same secret */
  constructor(name: string, family: Family, routes: number, like: TableMaker | null = null) {
    super(name, family, like)
    const size = routeMapSize(family, routes)
    this.entries = size.entries
    this.buckets = size.buckets
  }

  protected open(bytes: Uint8Array<ArrayBuffer>): RouteMemory {
    return openRouteMemory(bytes)
  }

  override migrate(map: BpfMap, { routes }: Migration): void {
    if (routes === undefined) throw cannot(this.name, 'its form has no routes')
    const before = new MappedArray(map)
    this.before = before
    this.#read = () => routes(before.bytes)
  }

  /** The table, in the map that was loaded. Throws ShuntError when what was there cannot be read. */
  make(bytes: Uint8Array<ArrayBuffer>): RouteTable {
    if (this.reused !== null) return new RouteTable(openRouteMemory(bytes))
    const table = new RouteTable(formatRouteMemory(bytes, this.family, this.buckets, this.secret))
    try {
      for (const route of this.#entries()) this.#put(table, route)
    } catch (error) {
      throw cannot(this.name, error)
    }
    return table
  }

  *#entries(): Iterable<OldRoute> {
    if (this.#read !== null) yield* this.#read()
    else if (this.before !== null)
      for (const { key, route } of eachRoute(new RouteTable(openRouteMemory(this.before.bytes)))) {
        const client = new Uint32Array(4)
        key.client(client, 0)
        yield { client, port: key.port, service: key.service, content: route, stamp: route.stamp }
      }
  }

  #put(table: RouteTable, { client, port, service, content, stamp }: OldRoute): void {
    const key = table.newKey().set(client, 0, port, service)
    for (let tries = 0; tries < TRIES; tries++) {
      const { result, victim } = table.insert(key, content, stamp)
      if (victim !== null) {
        table.remove(victim.key)
        this.lost++
      }
      if (result !== ROUTE_RESULT.BUSY) return
    }
    this.lost++
  }
}

export class MappingMaker extends TableMaker {
  entries: number
  buckets: number
  #read: (() => Iterable<Mapping>) | null = null

  constructor(name: string, family: Family, mappings: number) {
    super(name, family)
    const size = mappingMapSize(family, mappings)
    this.entries = size.entries
    this.buckets = size.buckets
  }

  protected open(bytes: Uint8Array<ArrayBuffer>): MappingMemory {
    return openMappingMemory(bytes)
  }

  override migrate(map: BpfMap, { mappings }: Migration): void {
    if (mappings === undefined) throw cannot(this.name, 'its form has no mappings')
    const before = new MappedArray(map)
    this.before = before
    this.#read = () => mappings(before.bytes)
  }

  make(bytes: Uint8Array<ArrayBuffer>): KernelMappings {
    if (this.reused !== null) return new KernelMappings(openMappingMemory(bytes))
    const table = new KernelMappings(formatMappingMemory(bytes, this.family, this.buckets, this.secret))
    try {
      for (const mapping of this.#entries())
        if (table.put(mapping, mapping, mapping.stamp).victim !== null) this.lost++
    } catch (error) {
      throw cannot(this.name, error)
    }
    return table
  }

  *#entries(): Iterable<Mapping> {
    if (this.#read !== null) yield* this.#read()
    else if (this.before !== null)
      yield* eachMapping(new KernelMappings(openMappingMemory(this.before.bytes)))
  }
}
