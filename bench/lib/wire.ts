/** What is around a message of the control links on a wire, as bench/framing.ts measured it; the benchmarks of scale count with it. */
import { encodeHealthFrame } from '../../src/gossip/frames.ts'

/** Length and type of a frame. */
export const FRAME_BYTES = encodeHealthFrame(new Uint8Array(1)).length - 1
/** IP 20, TCP with timestamps 32, Noise 18, Yamux 12: of one write, which may carry several frames. Measured: 82.3. */
export const AROUND_BYTES = 82
/** A TCP acknowledgement, with IP; one a write at most. Measured: 52 bytes, 0.5 to 0.9 of them a write. */
export const ACK_BYTES = 52
export const ETHERNET_BYTES = 14
/** An ICMP echo of ours, or its reply, with IP. Measured: 36. */
export const PROBE_BYTES = 36
