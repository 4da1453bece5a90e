/**
 * Ticks of the tables' stamps, by CLOCK_MONOTONIC, as bpf/config.h has them: 134 ms. Time-outs are late by as much, and a stamp tells
 * ages of up to 73 minutes.
 */
export const TICK_SHIFT = 27
export const TICK_MS = 2 ** TICK_SHIFT / 1e6

/** The current tick, 0..65535. */
export const tickNow = (): number => Number((process.hrtime.bigint() >> BigInt(TICK_SHIFT)) & 0xffffn)

/** So many ticks that none shorter than `ms` goes for as long; far enough below what a stamp can tell. */
export const ticksOf = (ms: number): number => Math.min(0x4000, Math.ceil(ms / TICK_MS) + 1)

/** When a stamp's packet passed (ms): not before it did, since a stamp tells when its tick began. */
export const usedMs = (stamp: number, now: number, nowMs: number): number => {
  const age = (now - stamp) & 0xffff
  return age > 0x7fff ? nowMs : nowMs - Math.max(0, age - 1) * TICK_MS
}
