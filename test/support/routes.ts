import type { RouteKey } from '../../src/agent/dataplane/xdp/route-key.ts'
import { bucketBytes, type Family, ROUTE_HEADER_BYTES } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory, openRouteMemory } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { RouteTable } from '../../src/agent/dataplane/xdp/route-table.ts'
import type { RouteContent } from '../../src/agent/dataplane/xdp/route-value.ts'

/** A secret that is always the same; `add[5]` and the last two are odd. */
export const testSecret = (seed = 1): BigUint64Array => {
  const secret = new BigUint64Array(8)
  let state = BigInt(seed) * 0x9e3779b97f4a7c15n + 0x243f6a8885a308d3n
  for (let i = 0; i < 8; i++) {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n)
    secret[i] = state ^ (state >> 29n)
  }
  for (const odd of [5, 6, 7]) secret[odd] |= 1n
  return secret
}

/** A table in ordinary memory. */
export const testTable = (family: Family, buckets: number, secret = testSecret()) => {
  const bytes = new Uint8Array(ROUTE_HEADER_BYTES + buckets * bucketBytes(family))
  formatRouteMemory(bytes, family, buckets, secret)
  return { bytes, table: new RouteTable(openRouteMemory(bytes)) }
}

/** The n-th client: an address, and a port. */
export const client = (family: Family, n: number): { words: Uint32Array; port: number } => ({
  words: Uint32Array.from(
    family === 4 ? [0, 0, 0xffff, 0x0a000001 + (n >>> 4)] : [0x20010db8, n & 1, 0x1234 * n, n >>> 4],
  ),
  port: 1024 + (n & 15),
})

export const setClient = (key: RouteKey, family: Family, n: number, service = 1): RouteKey => {
  const { words, port } = client(family, n)
  return key.set(words, 0, port, service)
}

export const content = (identifier: number, other: Partial<RouteContent> = {}): RouteContent => ({
  identifier,
  state: 2,
  generation: 0,
  mapped: true,
  pinned: false,
  ...other,
})
