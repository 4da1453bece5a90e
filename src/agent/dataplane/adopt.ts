/** What an agent takes over of the one before: flows and mappings, from the tables' columns and from the kernel's tables. Pure. */
import type { DirectoryIndex } from './directory.ts'
import { FLOW_FLAG, type FlowTable, LIST } from './flows.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { MAPPING_LIST, type MappingTable } from './mappings.ts'
import type { Tally } from './tally.ts'

const UDP = 17
/** In `plumbedUntilMs`: it has been in the kernel, and is not now. */
const NO_MORE = Number.MIN_VALUE
const LOW_BITS = 0xffffff

export interface ForwarderTables {
  readonly flows: FlowTable
  readonly identifiers: IdentifierAllocator
  readonly tally: Tally
  readonly directory: DirectoryIndex
}

const isOpen = (list: number): boolean => list !== LIST.CLOSING && list !== LIST.CLOSING_PLUMBED

/** Takes in what the columns of the tables say, as far as it fits the directory. @param laterMs see SlotTable.adopt; answers how many flows */
export const adoptFlows = (tables: ForwarderTables, laterMs: number, nowMs: number): number => {
  const { flows, identifiers, tally, directory } = tables
  const { table } = flows
  table.adopt(laterMs, slot => fits(flows, directory, slot))
  identifiers.adopt(
    laterMs,
    (owner, identifier) => table.listOf(owner) >= 0 && flows.identifier[owner] === identifier,
    nowMs,
  )
  for (const slot of table.select(() => true)) {
    const identifier = flows.identifier[slot]
    if (
      identifier !== 0 &&
      identifiers.owner(identifier) !== slot &&
      !identifiers.claim(identifier, slot, nowMs)
    ) {
      clear(flows, slot)
      continue
    }
    if (flows.plumbedUntilMs[slot] !== 0) flows.plumbedUntilMs[slot] = NO_MORE
    if (isOpen(table.listOf(slot))) tally.open(flows.host[slot], flows.service[slot], 1)
  }
  return table.size
}

const clear = (flows: FlowTable, slot: number): void => {
  flows.host[slot] = 0
  flows.identifier[slot] = 0
  flows.table.remove(slot)
}

/** Whole, and of a service and host that there are. */
const fits = (flows: FlowTable, directory: DirectoryIndex, slot: number): boolean => {
  const { keys } = flows.table
  const at = slot * 10
  const service = directory.serviceOf(keys, at)
  const host = directory.host(flows.host[slot])
  const identifier = flows.identifier[slot]
  const whole =
    service?.index === flows.service[slot] &&
    host !== undefined &&
    (host.self ? identifier === 0 : identifier >>> 24 === host.index)
  if (whole) return true
  flows.host[slot] = 0
  flows.identifier[slot] = 0
  return false
}

/** A route as the kernel has it. */
export interface KernelRoute {
  /** Ten words: the flow key. */
  readonly key: Uint32Array
  /** The top byte is the host's index; the rest is 0 for this node itself. */
  readonly identifier: number
  /** FIN or RST passed. */
  readonly closing: boolean
  /** The kernel made it by itself, and it is not proven. */
  readonly young: boolean
  /** Time of its last packet, ms. */
  readonly usedMs: number
}

/**
 * A route that is in the kernel: the flow's that has it, or, when none is known, one that is made from it.
 * @param inForce its host knows the identifier, so that it may stay where it is; else the flow begins with a mapping message
 * @returns whether it may stay in the kernel
 */
export const adoptRoute = (
  tables: ForwarderTables,
  route: KernelRoute,
  inForce: boolean,
  provenPackets: number,
): boolean => {
  const { flows, directory } = tables
  const { key, usedMs } = route
  const host = directory.host(route.identifier >>> 24)
  const service = directory.serviceOf(key, 0)
  if (host === undefined || service === undefined) return false
  const identifier = (route.identifier & LOW_BITS) === 0 ? 0 : route.identifier
  if ((identifier === 0) !== host.self) return false
  let slot = flows.table.find(key)
  if (slot < 0) {
    slot = rebuild(tables, route, identifier, service.index, inForce)
    if (slot < 0) return false
    flows.kernelPackets[slot] = route.young ? 0 : provenPackets
  } else if (flows.host[slot] !== host.index || flows.identifier[slot] !== identifier) return false
  else {
    if (usedMs > flows.table.lastUse[slot]) flows.table.touch(slot, usedMs)
    if (route.closing && isOpen(flows.table.listOf(slot))) close(tables, slot)
  }
  if (inForce) flows.plumbedUntilMs[slot] = Number.POSITIVE_INFINITY
  return inForce
}

/** The end passed while no agent was there to be told of it. Nothing is said of how: data after it open the flow again. */
const close = ({ flows, tally }: ForwarderTables, slot: number): void => {
  const { table } = flows
  tally.open(flows.host[slot], flows.service[slot], -1)
  table.move(slot, LIST.CLOSING_PLUMBED, table.lastUse[slot])
}

const rebuild = (
  { flows, identifiers, tally }: ForwarderTables,
  { key, identifier: named, closing, young, usedMs }: KernelRoute,
  identifier: number,
  service: number,
  inForce: boolean,
): number => {
  if (flows.routes >= flows.routeCapacity) return -1
  const slot = flows.insert(key, service, usedMs)
  if (slot < 0) return -1
  if (identifier !== 0 && !identifiers.claim(identifier, slot, usedMs)) {
    flows.table.remove(slot)
    return -1
  }
  const [unproven, proven] = key[9] === UDP ? [LIST.UDP_YOUNG, LIST.UDP] : [LIST.TCP_YOUNG, LIST.TCP]
  const list = closing ? LIST.CLOSING_PLUMBED : young ? unproven : proven
  flows.table.move(slot, list, usedMs)
  flows.host[slot] = named >>> 24
  flows.identifier[slot] = identifier
  if (inForce) flows.set(slot, FLOW_FLAG.MAPPED | FLOW_FLAG.TUNNELLED)
  if (young) flows.set(slot, FLOW_FLAG.UNPROVEN)
  if (!closing) tally.open(flows.host[slot], service, 1)
  return slot
}

/** A mapping as the kernel has it. */
export interface KernelMapping {
  readonly tunnel: number
  readonly identifier: number
  /** Ten words. */
  readonly tuple: Uint32Array
  readonly usedMs: number
}

const key = new Uint32Array([0, 0, 0xffff, 0, 0])

/** The same for a mapping. @returns whether it may stay in the kernel */
export const adoptMapping = (mappings: MappingTable, found: KernelMapping): boolean => {
  const { table } = mappings
  key[3] = found.tunnel
  key[4] = found.identifier
  let slot = table.find(key)
  if (slot < 0) {
    if (table.size >= table.capacity - mappings.embryonicCapacity) return false
    slot = mappings.insert(key, found.tuple, found.usedMs)
    if (slot < 0) return false
    mappings.epoch[slot] = 0
    mappings.sequence[slot] = 0
    table.move(slot, MAPPING_LIST.COMMITTED, found.usedMs)
  } else if (!mappings.sameTuple(slot, found.tuple)) return false
  else if (found.usedMs > table.lastUse[slot]) table.touch(slot, found.usedMs)
  mappings.committedUntilMs[slot] = Number.POSITIVE_INFINITY
  return true
}
