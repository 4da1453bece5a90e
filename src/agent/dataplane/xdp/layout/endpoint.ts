/** Made by `make bpf-layouts` from the BTF of endpoint.bpf.c; the build fails when the two differ. Offsets and sizes are bytes. */

/** Names this layout: what was made by another one must not be read by it. */
export const ENDPOINT_LAYOUT = 'de6567ef7b854e2f'

export const ENDPOINT_BYTES = 20
/** Offsets in `struct endpoint`. */
export const ENDPOINT = {
  address: 0, // u32[4]
  port: 16, // u16
  reserved: 18, // u16
} as const

export const ENDPOINT_KEY_BYTES = 20
/** Offsets in `struct endpoint_key`. */
export const ENDPOINT_KEY = {
  vip: 0, // u32[4]
  port: 16, // u16
  reserved: 18, // u16
} as const

/** `enum endpoint_counter`. */
export const ENDPOINT_COUNTER = {
  ENDPOINT_GIVEN: 0,
  ENDPOINT_NOBODY: 1,
  ENDPOINT_REFUSED: 2,
  ENDPOINT_COUNTERS: 4,
} as const

/** Maps; `layout` names what keys and values are made of. */
export const ENDPOINT_MAPS = {
  endpointCounts: { name: 'endpoint_counts', keyBytes: 4, valueBytes: 8, layout: '376de18d' }, // u32 to u64
  endpoints: { name: 'endpoints', keyBytes: 20, valueBytes: 20, layout: 'ef8a5d03' }, // struct endpoint_key to struct endpoint
} as const

/** Global variables; `section` is the map they lie in. */
export const ENDPOINT_GLOBALS = {
  quietInterface: { section: 'bss', offset: 0, bytes: 4 }, // u32
} as const
