/** The short messages on the wire: goodbye, postulate right, claim, server state (codec-format.ts). */
import type { ByteReader, ByteWriter } from './bytes.ts'
import { MAX_REASON_BYTES } from './codec-format.ts'
import { readHost, writeHost } from './codec-parts.ts'
import type { HealthMessage } from './types.ts'

type Message<T extends HealthMessage['type']> = Extract<HealthMessage, { type: T }>

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const SCALE = 100
const CONTROLS = /\p{C}/gu

/** A reason above 255 bytes is cut, at a character. */
export const writeGoodbye = (out: ByteWriter, { host, reason }: Message<'goodbye'>): void => {
  writeHost(out, host)
  const cut = new Uint8Array(MAX_REASON_BYTES)
  const { written } = encoder.encodeInto(printable(reason.toWellFormed()), cut)
  out.text(decoder.decode(cut.subarray(0, written)), MAX_REASON_BYTES, 'a reason')
}
export const readGoodbye = (from: ByteReader): Message<'goodbye'> => ({
  type: 'goodbye',
  host: readHost(from),
  reason: printable(from.text(MAX_REASON_BYTES)),
})
/** It goes to logs and terminals. */
const printable = (text: string): string => text.replace(CONTROLS, '?')

export const writePostulateRight = (out: ByteWriter, message: Message<'postulate-right'>): void => {
  writeHost(out, message.host)
  out.u32(message.postulate, 'a postulate')
}
export const readPostulateRight = (from: ByteReader): Message<'postulate-right'> => ({
  type: 'postulate-right',
  host: readHost(from),
  postulate: from.u32(),
})

export const writeClaim = (out: ByteWriter, { host, group, generation }: Message<'claim'>): void => {
  writeHost(out, host)
  out.u32(group, 'a group')
  out.u32(generation, "a leader's generation")
}
export const readClaim = (from: ByteReader): Message<'claim'> => ({
  type: 'claim',
  host: readHost(from),
  group: from.u32(),
  generation: from.u32(),
})

export const writeServerState = (out: ByteWriter, { host, state }: Message<'server-state'>): void => {
  writeHost(out, host)
  out.u32(state.connections, 'a count of connections')
  out.u16(Math.round(state.cpuPercent * SCALE), 'CPU time')
  out.u64(state.memoryBytes, 'memory')
  out.u64(state.memoryFreeBytes, 'free memory')
  out.u64(state.bandwidthBits, 'bandwidth')
  out.u64(state.bandwidthFreeBits, 'free bandwidth')
}
export const readServerState = (from: ByteReader): Message<'server-state'> => ({
  type: 'server-state',
  host: readHost(from),
  state: {
    connections: from.u32(),
    cpuPercent: from.u16() / SCALE,
    memoryBytes: from.u64(),
    memoryFreeBytes: from.u64(),
    bandwidthBits: from.u64(),
    bandwidthFreeBits: from.u64(),
  },
})
