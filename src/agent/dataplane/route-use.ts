/** What a plumber tells of routes and mappings that it keeps (PlumbUse), entered into the tables. Pure. */
import type { FlowTable } from './flows.ts'
import { MAPPING_LIST, type MappingTable } from './mappings.ts'
import type { SlotTable } from './slot-table.ts'

/** Only forwards. By it a list is out of order by at most one sweep; its time-outs are late by as much. */
const used = (table: SlotTable, slot: number, usedMs: number): void => {
  if (slot >= 0 && usedMs > table.lastUse[slot]) table.touch(slot, usedMs)
}

/** Packets of the flow (ten words) pass by its route. Answers its slot, or -1: it is not known. */
export const routeUsed = ({ table }: FlowTable, key: Uint32Array, usedMs: number): number => {
  const slot = table.find(key)
  used(table, slot, usedMs)
  return slot
}

/** The flow goes on by the slow path; its next packet may plumb it again. */
export const routeGone = (flows: FlowTable, key: Uint32Array, nowMs: number): void => {
  const slot = flows.table.find(key)
  if (slot >= 0 && flows.plumbedUntilMs[slot] > nowMs) flows.plumbedUntilMs[slot] = nowMs
}

const mappingKey = new Uint32Array([0, 0, 0xffff, 0, 0])

const findMapping = (table: SlotTable, tunnel: number, identifier: number): number => {
  mappingKey[3] = tunnel
  mappingKey[4] = identifier
  return table.find(mappingKey)
}

export const mappingUsed = (
  { table }: MappingTable,
  tunnel: number,
  identifier: number,
  usedMs: number,
): void => {
  const slot = findMapping(table, tunnel, identifier)
  // Half-open no longer: only packets in tunnelled form leave a mark.
  if (slot >= 0 && usedMs > table.lastUse[slot] && table.listOf(slot) === MAPPING_LIST.EMBRYONIC)
    table.move(slot, MAPPING_LIST.COMMITTED, usedMs)
  else used(table, slot, usedMs)
}

export const mappingGone = (
  mappings: MappingTable,
  tunnel: number,
  identifier: number,
  nowMs: number,
): void => {
  const slot = findMapping(mappings.table, tunnel, identifier)
  if (slot >= 0 && mappings.committedUntilMs[slot] > nowMs) mappings.committedUntilMs[slot] = nowMs
}
