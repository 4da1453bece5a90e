/** Ticks of the tables' stamps: what bpf/config.h says, by CLOCK_MONOTONIC. */
export const TICK_SHIFT = 30
export const TICK_MS = 2 ** TICK_SHIFT / 1e6

/** The current tick, 0..65535. */
export const tickNow = (): number => Number((process.hrtime.bigint() >> BigInt(TICK_SHIFT)) & 0xffffn)

/** So many ticks that none shorter than `ms` goes for as long; far enough below what a stamp can tell. */
export const ticksOf = (ms: number): number => Math.min(0x4000, Math.ceil(ms / TICK_MS) + 1)
