import { randomFillSync } from 'node:crypto'
import { ShuntError } from '../../../errors.ts'
import {
  bucketBytes,
  type Family,
  ROUTE_HEADER,
  ROUTE_HEADER_BYTES,
  ROUTE_MAGIC,
  ROUTE_MAX_BUCKETS,
  ROUTE_SECRET_WORDS,
  ROUTE_VERSION,
} from './route-layout.ts'
import { TICK_SHIFT } from './tick.ts'

/** A table's map as it lies in memory, and what its header says. */
export interface RouteMemory {
  readonly family: Family
  readonly buckets: number
  readonly secret: BigUint64Array
  /** From the first bucket on. */
  readonly words: BigUint64Array
  /** The same memory in halves. */
  readonly halves: Int32Array
}

/** A secret for a new table. Knowing it allows to crowd keys into one bucket. */
export const newRouteSecret = (): BigUint64Array => {
  const secret = randomFillSync(new BigUint64Array(ROUTE_SECRET_WORDS))
  for (const odd of [5, 6, 7]) secret[odd] |= 1n
  return secret
}

/** Writes the header of a new table over zeroed memory: a mapped map of routeMapSize(). */
export const formatRouteMemory = (
  memory: Uint8Array<ArrayBuffer>,
  family: Family,
  buckets: number,
  secret: BigUint64Array,
): RouteMemory => {
  const header = new DataView(memory.buffer, memory.byteOffset, ROUTE_HEADER_BYTES)
  header.setUint32(ROUTE_HEADER.version, ROUTE_VERSION, true)
  header.setUint32(ROUTE_HEADER.family, family, true)
  header.setUint32(ROUTE_HEADER.buckets, buckets, true)
  header.setUint32(ROUTE_HEADER.tickShift, TICK_SHIFT, true)
  secret.forEach((word, i) => {
    header.setBigUint64(ROUTE_HEADER.secret + 8 * i, word, true)
  })
  // Last: a header that was cut short is none.
  header.setUint32(ROUTE_HEADER.magic, ROUTE_MAGIC, true)
  return openRouteMemory(memory)
}

/** The table that is in the memory of a map. Throws SHUNT_ERR_DATAPLANE if there is none that this version can read. */
export const openRouteMemory = (memory: Uint8Array<ArrayBuffer>): RouteMemory => {
  const refuse = (what: string): never => {
    throw new ShuntError(
      'SHUNT_ERR_DATAPLANE',
      `the route table in the kernel ${what}; run: shunt agent --flush, then start the agent`,
    )
  }
  if (memory.byteLength < ROUTE_HEADER_BYTES || memory.byteOffset % 8 !== 0) refuse('has no header')
  const header = new DataView(memory.buffer, memory.byteOffset, ROUTE_HEADER_BYTES)
  if (header.getUint32(ROUTE_HEADER.magic, true) !== ROUTE_MAGIC) refuse('has no header')
  const version = header.getUint32(ROUTE_HEADER.version, true)
  if (version !== ROUTE_VERSION) refuse(`is of version ${version}, not ${ROUTE_VERSION}`)
  const shift = header.getUint32(ROUTE_HEADER.tickShift, true)
  if (shift !== 0 && shift !== TICK_SHIFT)
    refuse(`counts time in ticks of 2^${shift} ns, not 2^${TICK_SHIFT}`)
  const family = header.getUint32(ROUTE_HEADER.family, true)
  const buckets = header.getUint32(ROUTE_HEADER.buckets, true)
  if (family !== 4 && family !== 6) return refuse(`is of an unknown address family, ${family}`)
  const bytes = buckets * bucketBytes(family)
  if (buckets < 2 || buckets > ROUTE_MAX_BUCKETS || memory.byteLength < ROUTE_HEADER_BYTES + bytes)
    refuse(`says ${buckets} buckets, which it has no room for`)
  const at = memory.byteOffset + ROUTE_HEADER_BYTES
  return {
    family,
    buckets,
    secret: new BigUint64Array(memory.buffer, memory.byteOffset + ROUTE_HEADER.secret, ROUTE_SECRET_WORDS),
    words: new BigUint64Array(memory.buffer, at, bytes / 8),
    halves: new Int32Array(memory.buffer, at, bytes / 4),
  }
}
