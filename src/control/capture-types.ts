/** What `shunt capture` asks of a node and gets, an envelope a line, until the last one says why it ended. Part of types.ts. */
export interface CaptureQuery {
  vip: string
  /** Of the VIP; left out: any. */
  port?: number
  /** `address` or `address/bits`; left out: any. */
  client?: string
  /** Packets, 1 to MAX_CAPTURE_COUNT. */
  count: number
  /** 1 to MAX_CAPTURE_SECONDS. */
  seconds: number
  /** Bytes of each, MIN_SNAPLEN to MAX_SNAPLEN. */
  snaplen: number
  /** `client`: as it came to a forwarder; `stack`: as the own stack gets it; left out: the former where the node is a forwarder. */
  at?: 'client' | 'stack'
}

export interface CapturedPacket {
  /** Unix time in microseconds. */
  timeUs: number
  interface: string
  /** Of the whole frame. */
  length: number
  /** What XDP did, and why; `null` where it did not look. */
  verdict: 'passed' | 'dropped' | 'sent back' | 'redirected' | 'aborted' | null
  reason: string | null
  /** The head of the Ethernet frame, base64. */
  data: string
}

export interface CaptureData {
  packets: CapturedPacket[]
  /** Packets that there was no room for, until now. */
  lost: number
  /** Of the last line: `count` and `time` are what was asked for. */
  end: 'count' | 'time' | 'stopped' | null
}

export const DEFAULT_CAPTURE_COUNT = 1_000
export const MAX_CAPTURE_COUNT = 100_000
export const DEFAULT_CAPTURE_SECONDS = 10
export const MAX_CAPTURE_SECONDS = 600
export const MIN_SNAPLEN = 34
/** What the kernel's program keeps of a packet (bpf/capture.h). */
export const MAX_SNAPLEN = 256
