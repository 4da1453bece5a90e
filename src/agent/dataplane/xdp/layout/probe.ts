/** Made by `make bpf-layouts` from the BTF of probe.bpf.c; the build fails when the two differ. Offsets and sizes are bytes. */

/** Names this layout: what was made by another one must not be read by it. */
export const PROBE_LAYOUT = '19525970c9ce4940'

export const PROBE_COUNT_BYTES = 16
/** Offsets in `struct probe_count`. */
export const PROBE_COUNT = {
  packets: 0, // u64
  bytes: 8, // u64
} as const

export const PROBE_ENTRY_BYTES = 24
/** Offsets in `struct probe_entry`. */
export const PROBE_ENTRY = {
  countPackets: 0, // u64
  countBytes: 8, // u64
  interfaceIndex: 16, // u32
  lastLength: 20, // u32
} as const

export const PROBE_EVENT_BYTES = 48
/** Offsets in `struct probe_event`. */
export const PROBE_EVENT = {
  sequence: 0, // u64
  timeNs: 8, // u64
  interfaceIndex: 16, // u32
  length: 20, // u32
  kind: 24, // enum probe_kind
  head: 28, // u8[16]
  reserved: 44, // u32
} as const

export const PROBE_KEY_BYTES = 8
/** Offsets in `struct probe_key`. */
export const PROBE_KEY = {
  source: 0, // u32
  protocol: 4, // u8
  reserved: 5, // u8[3]
} as const

/** `enum probe_kind`. */
export const PROBE_KIND = {
  PROBE_OTHER: 0,
  PROBE_IPV4: 1,
  PROBE_IPV6: 2,
  PROBE_KINDS: 3,
} as const

/** Maps; `layout` names what keys and values are made of. */
export const PROBE_MAPS = {
  counts: { name: 'counts', keyBytes: 4, valueBytes: 16, layout: 'a415e37f' }, // u32 to struct probe_count
  events: { name: 'events', keyBytes: 0, valueBytes: 0, layout: 'e2ee3530' }, // none to none
  sources: { name: 'sources', keyBytes: 8, valueBytes: 24, layout: '7c6dd6fd' }, // struct probe_key to struct probe_entry
} as const

/** Global variables; `section` is the map they lie in. */
export const PROBE_GLOBALS = {
  recordsLost: { section: 'bss', offset: 8, bytes: 8 }, // u64
  sequence: { section: 'data', offset: 0, bytes: 8 }, // u64
  verdict: { section: 'rodata', offset: 0, bytes: 4 }, // u32
  sampleEvery: { section: 'rodata', offset: 4, bytes: 4 }, // u32
} as const
