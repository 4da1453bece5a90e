import { formatMappingMemory } from '../../src/agent/dataplane/xdp/mapping-memory.ts'
import type { MappingContent, MappingKey } from '../../src/agent/dataplane/xdp/mapping-slots.ts'
import { KernelMappings } from '../../src/agent/dataplane/xdp/mapping-table.ts'
import { bucketBytes, type Family, ROUTE_HEADER_BYTES } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { testSecret } from './routes.ts'

/** A table in ordinary memory. */
export const testMappings = (family: Family, buckets: number, secret = testSecret()) => {
  const bytes = new Uint8Array(ROUTE_HEADER_BYTES + buckets * bucketBytes(family))
  return { bytes, table: new KernelMappings(formatMappingMemory(bytes, family, buckets, secret)) }
}

/** The n-th identifier, of one of two tunnels. */
export const mappingKey = (n: number, generation = 0): MappingKey => ({
  tunnel: n & 1 ? 1 : 255,
  generation,
  identifier: (0x07000001 + Math.imul(n >>> 1, 0x9e3779b1)) >>> 0 || 1,
})

/** The n-th client, and a service. */
export const mappingContent = (family: Family, n: number): MappingContent => ({
  client: Uint32Array.from(
    family === 4
      ? [0, 0, 0xffff, (0x0a000001 + Math.imul(n, 0x10001)) >>> 0]
      : [0x20010db8, n, Math.imul(n, 0x1234567) >>> 0, ~n >>> 0],
  ),
  port: (1024 + n) & 0xffff,
  service: 1 + (n % 0xffff),
})
