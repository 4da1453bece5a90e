import { dlopen } from 'node:ffi'
import { check, pinned, pointerOf } from './ffi.ts'

const { adjtimex, clock_gettime } = dlopen(null, {
  adjtimex: { return: 'int32', arguments: ['pointer'] },
  clock_gettime: { return: 'int32', arguments: ['int32', 'pointer'] },
}).functions

// struct timex: u32 modes; s64 offset, freq, maxerror (us), esterror; s32 status; ... 208 bytes in all
const TIMEX_BYTES = 208
const MAX_ERROR = 24
const STATUS = 40
const STA_UNSYNC = 0x40
const TIME_ERROR = 5

/** Whether a time service keeps the clock, and by how much it may be off at most (ms). Changes nothing. Throws OsError. */
export const readClock = (): { synchronised: boolean; maxErrorMs: number } => {
  const timex = pinned(TIMEX_BYTES) // modes 0: read only
  const state = check('adjtimex', adjtimex(timex))
  const synchronised = state !== TIME_ERROR && (timex.readInt32LE(STATUS) & STA_UNSYNC) === 0
  return { synchronised, maxErrorMs: Number(timex.readBigInt64LE(MAX_ERROR)) / 1000 }
}

const CLOCK_BOOTTIME = 7
const timespec = pinned(16) // struct timespec { s64 s, ns; }
const timespecAt = pointerOf(timespec)

/** Ms since the machine started, also while it was suspended: performance.now() leaves that out (clock_gettime(2)). Throws OsError. */
export const sinceBootMs = (): number => {
  check('clock_gettime', clock_gettime(CLOCK_BOOTTIME, timespecAt))
  return Number(timespec.readBigInt64LE(0)) * 1000 + timespec.readInt32LE(8) / 1e6
}

const CLOCK_THREAD_CPUTIME_ID = 3

/** Time that processors spent on the calling thread, interrupts that came meanwhile included (ns). Throws OsError. */
export const threadCpuNs = (): number => {
  check('clock_gettime', clock_gettime(CLOCK_THREAD_CPUTIME_ID, timespecAt))
  return Number(timespec.readBigInt64LE(0)) * 1e9 + timespec.readInt32LE(8)
}

/** All at once, for noticing that one has gained on another (ms). Throws OsError. */
export const readClocks = (): { monotonicMs: number; bootMs: number; wallMs: number } => ({
  monotonicMs: performance.now(),
  bootMs: sinceBootMs(),
  wallMs: Date.now(),
})
