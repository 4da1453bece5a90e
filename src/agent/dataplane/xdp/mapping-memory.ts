import { ShuntError } from '../../../errors.ts'
import { MAPPING_MAGIC, MAPPING_VERSION } from './mapping-layout.ts'
import {
  bucketBytes,
  type Family,
  ROUTE_HEADER,
  ROUTE_HEADER_BYTES,
  ROUTE_MAX_BUCKETS,
  ROUTE_SECRET_WORDS,
} from './route-layout.ts'
import { TICK_SHIFT } from './tick.ts'

/** A mapping table's map as it lies in memory, and what its header says. */
export interface MappingMemory {
  readonly family: Family
  readonly buckets: number
  readonly secret: BigUint64Array
  /** From the first bucket on. */
  readonly words: BigUint64Array
  /** The same memory in halves of words. */
  readonly halves: Uint32Array
}

/** Writes the header of a new table over zeroed memory: a mapped map of mappingMapSize(). @param secret of newRouteSecret() */
export const formatMappingMemory = (
  memory: Uint8Array<ArrayBuffer>,
  family: Family,
  buckets: number,
  secret: BigUint64Array,
): MappingMemory => {
  const header = new DataView(memory.buffer, memory.byteOffset, ROUTE_HEADER_BYTES)
  header.setUint32(ROUTE_HEADER.version, MAPPING_VERSION, true)
  header.setUint32(ROUTE_HEADER.family, family, true)
  header.setUint32(ROUTE_HEADER.buckets, buckets, true)
  header.setUint32(ROUTE_HEADER.tickShift, TICK_SHIFT, true)
  secret.forEach((word, i) => {
    header.setBigUint64(ROUTE_HEADER.secret + 8 * i, word, true)
  })
  // Last: a header that was cut short is none.
  header.setUint32(ROUTE_HEADER.magic, MAPPING_MAGIC, true)
  return openMappingMemory(memory)
}

/** The table that is in the memory of a map. Throws SHUNT_ERR_DATAPLANE if there is none that this version can read. */
export const openMappingMemory = (memory: Uint8Array<ArrayBuffer>): MappingMemory => {
  const refuse = (what: string): never => {
    throw new ShuntError(
      'SHUNT_ERR_DATAPLANE',
      `the mapping table in the kernel ${what}; run: shunt agent --flush, then start the agent`,
    )
  }
  if (memory.byteLength < ROUTE_HEADER_BYTES || memory.byteOffset % 8 !== 0) refuse('has no header')
  const header = new DataView(memory.buffer, memory.byteOffset, ROUTE_HEADER_BYTES)
  if (header.getUint32(ROUTE_HEADER.magic, true) !== MAPPING_MAGIC) refuse('has no header')
  const version = header.getUint32(ROUTE_HEADER.version, true)
  if (version !== MAPPING_VERSION) refuse(`is of version ${version}, not ${MAPPING_VERSION}`)
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
    halves: new Uint32Array(memory.buffer, at, bytes / 4),
  }
}
