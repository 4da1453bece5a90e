/** What bpf/route-layout.h says: a test compiles that and compares. Offsets are bytes. */

export const ROUTE_MAGIC = 0x54525348
export const ROUTE_VERSION = 1
export const ROUTE_WAYS = 4
export const ROUTE_HEADER_BYTES = 128
export const ROUTE_MAX_BUCKETS = 1 << 21
/** How often a step is done again when others change the same entry. */
export const ROUTE_TRIES = 4
/** Longest time without a packet that a stamp tells from none, in ticks. */
export const ROUTE_MAX_AGE = 0x7fff

export const ROUTE_HEADER = {
  magic: 0,
  version: 4,
  family: 8,
  buckets: 12,
  tickShift: 16,
  secret: 64,
} as const
export const ROUTE_SECRET_WORDS = 8
export const ROUTE_ENTRY = { key: 0, value: 8 } as const
export const ROUTE_ENTRY_BYTES = 16
export const ROUTE_CLIENTS_OFFSET = 64

export type Family = 4 | 6

export const bucketBytes = (family: Family): number => (family === 4 ? 64 : 128)

/** The parts of a value. */
export const USED = 1n << 63n
export const PINNED = 1n << 62n
export const MAPPED = 1n << 58n
export const STATE_MASK = 7n << 59n
export const GENERATION_MASK = 63n << 52n
export const REUSE_ONE = 1n << 48n
export const REUSE_MASK = 15n << 48n
export const STAMP_MASK = 0xffffn << 32n
export const IDENTIFIER_MASK = 0xffffffffn
const ALL = (1n << 64n) - 1n
export const CONTENT_MASK = ALL & ~(USED | REUSE_MASK | STAMP_MASK)
export const OWNER_MASK = USED | REUSE_MASK

export const ROUTE_STATE = {
  EMBRYONIC: 0,
  YOUNG: 1,
  ESTABLISHED: 2,
  FIN: 3,
  RESET: 4,
  REOPENED: 5,
  HELD: 6,
} as const

/** What an operation came to; the order of the kernel's counters too. */
export const ROUTE_RESULT = {
  /** Others were faster, several times: try again. */
  BUSY: 0,
  INSERTED: 1,
  /** Inserted; another route has moved to its second bucket. */
  KICKED: 2,
  /** Inserted; the victim has gone. */
  EVICTED: 3,
  EXISTS: 4,
  /** Both buckets hold pinned routes only. */
  FULL: 5,
  UPDATED: 6,
  /** The route is of a newer generation. */
  STALE: 7,
  MISSING: 8,
  REMOVED: 9,
} as const

export const ROUTE_RESULTS = Object.keys(ROUTE_RESULT).length

/**
 * The size of the map for so many routes of a family: three quarters full with them, where one insertion in some thousand
 * evicts. The map is of type ARRAY with BPF_F_MMAPABLE.
 */
export const routeMapSize = (
  family: Family,
  routes: number,
): { readonly valueBytes: number; readonly entries: number; readonly buckets: number } => {
  const valueBytes = bucketBytes(family)
  const buckets = Math.min(ROUTE_MAX_BUCKETS, Math.max(2, Math.ceil(routes / (ROUTE_WAYS * 0.75))))
  return { valueBytes, entries: buckets + ROUTE_HEADER_BYTES / valueBytes, buckets }
}
