/** What bpf/mapping-table.h says: a test compiles that and compares. Buckets and header are those of route-layout.ts. */
import {
  bucketBytes,
  type Family,
  ROUTE_HEADER_BYTES,
  ROUTE_MAX_BUCKETS,
  ROUTE_WAYS,
} from './route-layout.ts'

export const MAPPING_MAGIC = 0x504d5348
export const MAPPING_VERSION = 1

/** Most of them: an index of eight bits, 0 for none. */
export const MAX_TUNNEL = 255
/** Generations of a tunnel are counted modulo this. */
export const TUNNEL_GENERATIONS = 16

/** Bits of the upper half of a key word. */
export const HIGH_STAMP_MASK = 0xffff
export const HIGH_TUNNEL_SHIFT = 16
export const HIGH_GENERATION_SHIFT = 24
export const HIGH_REUSE_SHIFT = 28

/** Halves of words from an entry's key: identifier, the rest of the key, IPv4 client, port and service. */
export const ENTRY_HALVES = 4
/** From an entry's key to its client's address, in halves; IPv6 only. */
export const CLIENT_HALVES = ENTRY_HALVES * ROUTE_WAYS

/** The size of the map for so many mappings of a family: three quarters full with them. */
export const mappingMapSize = (
  family: Family,
  mappings: number,
): { readonly valueBytes: number; readonly entries: number; readonly buckets: number } => {
  const valueBytes = bucketBytes(family)
  const buckets = Math.min(ROUTE_MAX_BUCKETS, Math.max(2, Math.ceil(mappings / (ROUTE_WAYS * 0.75))))
  return { valueBytes, entries: buckets + ROUTE_HEADER_BYTES / valueBytes, buckets }
}
