import {
  addBytes,
  checksumField,
  finishChecksum,
  fold,
  ipv4HeaderChecksum,
  l4Checksum,
  pseudoHeaderSum,
} from './checksum.ts'
import { type PacketView, PROTOCOL_UDP, TCP_FLAG } from './packet.ts'

/** Receives one packet; the bytes are valid only during the call. */
export type EmitPacket = (buf: Uint8Array, offset: number, length: number) => void

/** Room for one segment: never larger than the packet that it comes from (IPv6: 40 + 65535 bytes). */
const scratch = new Uint8Array(65536 + 64)

/**
 * Cuts a GSO or GRO super-packet into packets of at most `mss` payload bytes, as a network card would: for a raw
 * socket that can send only what fits the MTU (decision 3: full-size packets are never fragmented). The input is not
 * changed; its checksums may be partial, those of the output are complete.
 *
 * TCP: sequence numbers and IPv4 identifications go up, FIN and PSH stay on the last packet, CWR (RFC 3168) and SYN on
 * the first. A packet that needs no cutting comes out once, with complete checksums.
 *
 * @param view of an unfragmented TCP packet
 * @param mss payload bytes a packet, 1..65535 (the virtio header's gso_size)
 * @returns the number of packets emitted; 0 if `mss` is not positive
 */
export function segmentTcp(
  buf: Uint8Array,
  offset: number,
  view: PacketView,
  mss: number,
  emit: EmitPacket,
): number {
  if (!(mss >= 1)) return 0
  const headers = copyHeaders(buf, offset, view)
  const l4 = view.l4 - offset
  const flags = view.tcpFlags
  const sequence = read32(buf, view.l4 + 4)
  const last = view.payloadLength > 0 ? Math.ceil(view.payloadLength / mss) - 1 : 0
  for (let i = 0; i <= last; i++) {
    const start = i * mss
    const size = i === last ? view.payloadLength - start : mss
    copy(buf, view.payload + start, headers, size)
    let own = flags
    if (i !== 0) own &= ~(TCP_FLAG.CWR | TCP_FLAG.SYN)
    if (i !== last) own &= ~(TCP_FLAG.FIN | TCP_FLAG.PSH)
    scratch[l4 + 13] = own
    // A SYN takes a sequence number of its own, before the data.
    const taken = i !== 0 && (flags & TCP_FLAG.SYN) !== 0 ? 1 : 0
    write32(scratch, l4 + 4, sequence + start + taken)
    finish(view, l4, headers + size, i, true)
    emit(scratch, 0, headers + size)
  }
  return last + 1
}

/**
 * UDP generic segmentation: each `size` bytes of payload become a datagram of their own (the last may be shorter).
 * Otherwise like `segmentTcp`. A checksum of 0 (none) stays 0.
 */
export function segmentUdp(
  buf: Uint8Array,
  offset: number,
  view: PacketView,
  size: number,
  emit: EmitPacket,
): number {
  if (!(size >= 1)) return 0
  const headers = copyHeaders(buf, offset, view)
  const l4 = view.l4 - offset
  const hasChecksum = (buf[view.l4 + 6] | buf[view.l4 + 7]) !== 0
  const last = view.payloadLength > 0 ? Math.ceil(view.payloadLength / size) - 1 : 0
  for (let i = 0; i <= last; i++) {
    const start = i * size
    const own = i === last ? view.payloadLength - start : size
    copy(buf, view.payload + start, headers, own)
    write16(scratch, l4 + 4, own + 8)
    finish(view, l4, headers + own, i, hasChecksum)
    emit(scratch, 0, headers + own)
  }
  return last + 1
}

/** Cuts by the packet's own protocol. */
export const segmentPacket = (
  buf: Uint8Array,
  offset: number,
  view: PacketView,
  size: number,
  emit: EmitPacket,
): number =>
  view.protocol === PROTOCOL_UDP
    ? segmentUdp(buf, offset, view, size, emit)
    : segmentTcp(buf, offset, view, size, emit)

/**
 * Turns a partial checksum (virtio NEEDS_CSUM) of an unfragmented TCP or UDP packet into the complete one, in place.
 * A fragment is left alone: its checksum covers bytes that are not here.
 */
export function completeChecksum(buf: Uint8Array, offset: number, view: PacketView): void {
  if (view.fragment) return
  write16(buf, view.l4 + checksumField(view.protocol), l4Checksum(buf, offset, view))
}

function copyHeaders(buf: Uint8Array, offset: number, view: PacketView): number {
  const headers = view.payload - offset
  copy(buf, offset, 0, headers)
  return headers
}

/** A loop, because `scratch.set(buf.subarray(...))` would allocate. */
function copy(buf: Uint8Array, from: number, to: number, length: number): void {
  for (let i = 0; i < length; i++) scratch[to + i] = buf[from + i]
}

/** Lengths, identification and checksums of the packet of `length` bytes in the scratch, the `index`-th of its kind. */
function finish(view: PacketView, l4: number, length: number, index: number, checksum: boolean): void {
  if (view.family === 4) {
    write16(scratch, 2, length)
    write16(scratch, 4, view.identification + index)
    write16(scratch, 10, ipv4HeaderChecksum(scratch, 0))
  } else {
    write16(scratch, 4, length - 40)
  }
  if (!checksum) return
  const field = l4 + checksumField(view.protocol)
  write16(scratch, field, 0)
  const sum = fold(pseudoHeaderSum(scratch, 0, view, length - l4))
  write16(scratch, field, finishChecksum(addBytes(sum, scratch, l4, length - l4), view.protocol))
}

const read32 = (buf: Uint8Array, at: number): number =>
  (buf[at] << 24) | (buf[at + 1] << 16) | (buf[at + 2] << 8) | buf[at + 3]

function write16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 8
  buf[at + 1] = value
}

function write32(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 24
  buf[at + 1] = value >>> 16
  buf[at + 2] = value >>> 8
  buf[at + 3] = value
}
