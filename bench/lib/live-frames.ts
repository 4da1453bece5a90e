/** Frames that are really sent: a program run in live mode (Linux 5.18), whose verdicts the kernel carries out. */

import type { BpfProgram } from '../../src/os/bpf/program.ts'
import { BPF, bpf } from '../../src/os/bpf/syscall.ts'
import { pinned, pointerOf } from '../../src/os/ffi.ts'

const LIVE_FRAMES = 1 << 1
const CONTEXT_BYTES = 24

/** Sends `count` frames that begin as `data`. Each may come to the program as it left one before. Throws OsError. */
export const runLive = (
  program: BpfProgram,
  data: Uint8Array,
  count: number,
  interfaceIndex: number,
): void => {
  const input = pinned(data.length)
  input.set(data)
  const context = pinned(CONTEXT_BYTES)
  context.writeUInt32LE(data.length, 4)
  context.writeUInt32LE(interfaceIndex, 12)
  const attributes = pinned(80) // as in BpfProgram.testRun
  attributes.writeUInt32LE(program.fd, 0)
  attributes.writeUInt32LE(data.length, 8)
  attributes.writeBigUInt64LE(pointerOf(input), 16)
  attributes.writeUInt32LE(count, 32)
  attributes.writeUInt32LE(CONTEXT_BYTES, 40)
  attributes.writeBigUInt64LE(pointerOf(context), 48)
  attributes.writeUInt32LE(LIVE_FRAMES, 64)
  bpf(BPF.PROG_RUN, 'live run', attributes, input, context)
}
