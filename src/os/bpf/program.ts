/** Programs: information, run-time counts, and runs on a packet that is handed in. */
import { closeFd, pinned, pointerOf } from '../ffi.ts'
import { BpfObject, infoName, objectInfo, openPinned } from './object.ts'
import { BPF, bpf } from './syscall.ts'

const INFO_BYTES = 224
const STATS_RUN_TIME = 0
/** struct xdp_md: u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex */
const XDP_CONTEXT_BYTES = 24

/** Verdicts of an XDP program (enum xdp_action). */
export const XDP = { aborted: 0, drop: 1, pass: 2, tx: 3, redirect: 4 } as const

export interface ProgramInfo {
  id: number
  /** BPF_PROG_TYPE_... */
  type: number
  /** At most 15 bytes of the C name. */
  name: string
  /** Hash of the instructions, 16 hexadecimal digits. */
  tag: string
  /** How many maps it uses. */
  maps: number
  /** Instructions that the verifier looked at to prove it safe. */
  verified: number
  /** Runs while statistics were on (`enableRunStatistics`), and nanoseconds in them. */
  runs: number
  runNs: number
}

export interface TestRun {
  /** The packet, from its Ethernet header: at least 14 bytes. Beyond about 3500 it lies in several buffers, as in life. */
  data: Uint8Array
  /**
   * How often (default 1), each time on the packet as the last run left it. Only once is exact: more are begun again when a
   * signal comes in between, so they are for measuring, not for counting.
   */
  repeat?: number
  /** Room for the packet after it (bytes). Default: as long as before, and 256 more. */
  room?: number
  /** Only for XDP: the interface that it seems to come from (index) and its receive queue. */
  ingress?: { interfaceIndex: number; queue?: number }
  /** Only for XDP: so many of the first bytes (0..32, a multiple of 4) stand before the packet, as its metadata; so they do in the result. */
  metaBytes?: number
}

export interface TestResult {
  /** What it returned: of `XDP`, or for tc TC_ACT_... and -1 (go on). */
  verdict: number
  /** The packet afterwards. */
  data: Uint8Array
  /** Mean time of one run. */
  durationNs: number
}

export class BpfProgram extends BpfObject {
  /** The program pinned at a path; `null` when nothing is there. Throws OsError. */
  static open(path: string): BpfProgram | null {
    const fd = openPinned(path)
    return fd === null ? null : new BpfProgram(fd)
  }

  info(): ProgramInfo {
    const info = objectInfo(this.fd, INFO_BYTES)
    return {
      type: info.readUInt32LE(0),
      id: info.readUInt32LE(4),
      tag: info.toString('hex', 8, 16),
      maps: info.readUInt32LE(52),
      name: infoName(info, 64),
      runNs: Number(info.readBigUInt64LE(192)),
      runs: Number(info.readBigUInt64LE(200)),
      verified: info.readUInt32LE(216),
    }
  }

  /**
   * Runs the program on a packet that nobody sends (BPF_PROG_TEST_RUN). What it redirects or sends goes nowhere.
   * Throws OsError: ENOSPC when `room` is too little, EINVAL for a packet that is too short or long, ENODEV.
   */
  testRun({ data, repeat = 1, room = data.length + 256, ingress, metaBytes = 0 }: TestRun): TestResult {
    const input = pinned(data.length)
    input.set(data)
    const output = pinned(room)
    const context = pinned(XDP_CONTEXT_BYTES)
    const attributes = pinned(80)
    // u32 prog_fd, retval, data_size_in, data_size_out; u64 data_in, data_out; u32 repeat, duration,
    // ctx_size_in, ctx_size_out; u64 ctx_in, ctx_out; u32 flags, cpu, batch_size
    attributes.writeUInt32LE(this.fd, 0)
    attributes.writeUInt32LE(data.length, 8)
    attributes.writeUInt32LE(room, 12)
    attributes.writeBigUInt64LE(pointerOf(input), 16)
    attributes.writeBigUInt64LE(pointerOf(output), 24)
    attributes.writeUInt32LE(repeat, 32)
    if (ingress !== undefined) {
      context.writeUInt32LE(metaBytes, 0)
      context.writeUInt32LE(data.length, 4)
      context.writeUInt32LE(ingress.interfaceIndex, 12)
      context.writeUInt32LE(ingress.queue ?? 0, 16)
      attributes.writeUInt32LE(XDP_CONTEXT_BYTES, 40)
      attributes.writeBigUInt64LE(pointerOf(context), 48)
    }
    bpf(BPF.PROG_RUN, 'test run', attributes, input, output, context)
    return {
      verdict: attributes.readInt32LE(4),
      data: new Uint8Array(output.subarray(0, attributes.readUInt32LE(12))),
      durationNs: attributes.readUInt32LE(36),
    }
  }
}

/**
 * Makes the kernel count and time the runs of all programs of the machine until what this answers is closed; that costs
 * some 20 ns a run. Throws OsError.
 */
export const enableRunStatistics = (): { close: () => void } => {
  const attributes = pinned(4)
  attributes.writeUInt32LE(STATS_RUN_TIME, 0)
  const fd = bpf(BPF.ENABLE_STATS, 'run-time statistics', attributes)
  return { close: () => closeFd(fd) }
}
