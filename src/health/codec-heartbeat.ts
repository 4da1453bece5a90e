/** Heartbeats on the wire, of one host or consolidated (codec-format.ts, R-B5, R-B7). */
import type { ByteReader, ByteWriter } from './bytes.ts'
import { badHealth } from './codec-error.ts'
import { CONTROL, ENTRY_FORWARD, ENTRY_HELLO, ENTRY_NAMED, MAX_DNS_NAME_BYTES } from './codec-format.ts'
import { readList, readToken, writeList, writeToken } from './codec-parts.ts'
import { type HealthMessage, type HeartbeatEntry, MAX_ENTRIES } from './types.ts'

type Heartbeat = Extract<HealthMessage, { type: 'heartbeat' }>

const ENTRIES = { max: MAX_ENTRIES, what: 'heartbeats' }
const GONE = { max: MAX_ENTRIES, what: 'hosts that are gone' }
const U32 = 2 ** 32

/** Entries and hosts are sent in order of host number, each host once. */
export const writeHeartbeat = (out: ByteWriter, { leader, entries, gone }: Heartbeat): void => {
  out.u32(leader, "a leader's generation")
  let host = 0
  let beat = 0
  const sorted = [...entries].sort((a, b) => a.host - b.host)
  writeList(out, sorted, ENTRIES, entry => {
    writeAscending(out, host, entry.host)
    host = entry.host
    writeDifference(out, beat, entry.beat)
    beat = entry.beat
    writeRest(out, entry)
  })
  host = 0
  writeList(
    out,
    [...gone].sort((a, b) => a - b),
    GONE,
    next => {
      writeAscending(out, host, next)
      host = next
    },
  )
}

export const readHeartbeat = (from: ByteReader): Heartbeat => {
  const leader = from.u32()
  let host = 0
  let beat = 0
  const entries = readList(from, ENTRIES, (): HeartbeatEntry => {
    host = readAscending(from, host)
    beat = readDifference(from, beat)
    return { host, beat, ...readRest(from) }
  })
  host = 0
  const gone = readList(from, GONE, () => {
    host = readAscending(from, host)
    return host
  })
  return { type: 'heartbeat', leader, entries, gone }
}

const writeRest = (out: ByteWriter, { token, hello, forward, dnsName }: HeartbeatEntry): void => {
  if (CONTROL.test(dnsName)) throw new RangeError('a DNS name holds control characters')
  writeToken(out, token)
  const flags = (hello ? ENTRY_HELLO : 0) | (forward ? ENTRY_FORWARD : 0) | (dnsName === '' ? 0 : ENTRY_NAMED)
  out.u8(flags, 'flags')
  if (dnsName !== '') out.text(dnsName, MAX_DNS_NAME_BYTES, 'a DNS name')
}

const readRest = (from: ByteReader): Omit<HeartbeatEntry, 'host' | 'beat'> => {
  const token = readToken(from)
  const flags = from.u8()
  if (flags > (ENTRY_HELLO | ENTRY_FORWARD | ENTRY_NAMED)) badHealth(`a heartbeat with flags ${flags}`)
  const named = (flags & ENTRY_NAMED) !== 0
  const dnsName = named ? from.text(MAX_DNS_NAME_BYTES) : ''
  if (named && dnsName === '') badHealth('a DNS name that is empty')
  if (CONTROL.test(dnsName)) badHealth('a DNS name with control characters')
  return { token, hello: (flags & ENTRY_HELLO) !== 0, forward: (flags & ENTRY_FORWARD) !== 0, dnsName }
}

const writeAscending = (out: ByteWriter, before: number, host: number): void => {
  if (!Number.isInteger(host) || host <= before || host >= U32)
    throw new RangeError(`host numbers are u32, never 0, each once a message: ${host} after ${before}`)
  out.varint(host - before, 'a host number')
}
const readAscending = (from: ByteReader, before: number): number => {
  const difference = from.varint()
  const host = before + difference
  return difference === 0 || host >= U32 ? badHealth(`host number ${host} after ${before}`) : host
}

const writeDifference = (out: ByteWriter, before: number, beat: number): void => {
  if (!Number.isInteger(beat) || beat < 0 || beat >= U32) throw new RangeError(`a beat is a u32, not ${beat}`)
  const difference = beat - before
  out.varint(difference < 0 ? -2 * difference - 1 : 2 * difference, 'a beat')
}
const readDifference = (from: ByteReader, before: number): number => {
  const folded = from.varint()
  const beat = before + (folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2)
  return beat < 0 || beat >= U32 ? badHealth(`beat ${beat}`) : beat
}
