import { dlopen } from 'node:ffi'
import { check, pinned } from './ffi.ts'

const { adjtimex } = dlopen(null, { adjtimex: { return: 'int32', arguments: ['pointer'] } }).functions

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
