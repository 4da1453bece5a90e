/**
 * Flow records: what a classifier plumbs into a forwarder, and what a forwarder says has ended (R-A3, R-D4).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------+---+-+-+
 * | zero  | H |0|F|   kind: F flow family, H host family
 * +-------+---+-+-+-----------------------------------------------+
 * | client address: 4 bytes (F=0, IPv4) or 16 (F=1)               |
 * +---------------------------------------------------------------+
 * | virtual IP: as long as the client's                           |
 * +-------------------------------+-------------------------------+
 * | client port                   | service port                  |
 * +---------------+---------------+-------------------------------+
 * | protocol      | host's cluster address: 0 bytes (H=0), 4 (H=1), 16 (H=2)
 * +---------------+-----------------------------------------------
 *
 * Receiver: 1. refuse kind bits that are not defined; 2. refuse a host where none belongs and a missing one
 * where it does; 3. refuse a record that is longer than what is left; 4. read the fields.
 */
import { ShuntError } from '../errors.ts'

/** `key`: client 4 words, VIP 4 words, ports, protocol. `host`: 4 words, all zero where none belongs. IPv4 is v4-mapped. */
export interface FlowRecord {
  key: Uint32Array
  host: Uint32Array
}

const KEY_WORDS = 10
const HOST_WORDS = 4
const PORTS = 8
const PROTOCOL = 9
const FLOW_V6 = 1
const HOST_V4 = 1 << 2
const HOST_V6 = 2 << 2
const V4_MAPPED = 0x0000ffff
/** The longest record: kind, two IPv6 addresses, ports, protocol, IPv6 host. */
export const MAX_RECORD_BYTES = 1 + 16 + 16 + 4 + 1 + 16

const bad = (what: string): never => {
  throw new ShuntError('SHUNT_ERR_FRAME', `flow record: ${what}; the peer runs something else, or is hostile`)
}

const isV4 = (words: Uint32Array, at: number): boolean =>
  words[at] === 0 && words[at + 1] === 0 && words[at + 2] === V4_MAPPED
const isZero = (words: Uint32Array): boolean => words.every(word => word === 0)

/** Writes one record at `at`; returns where it ends. Throws RangeError on a record that has no encoding. */
export const writeRecord = (view: DataView, at: number, record: FlowRecord, withHost: boolean): number => {
  const { key, host } = record
  if (key.length !== KEY_WORDS || host.length !== HOST_WORDS || key[PROTOCOL]! > 0xff)
    throw new RangeError('a flow record is 10 key words (the last a protocol number) and 4 host words')
  if (isZero(host) === withHost)
    throw new RangeError(withHost ? 'a plumbed route needs a host' : 'only a plumbed route names a host')
  const v4 = isV4(key, 0) && isV4(key, 4)
  const hostV4 = isV4(host, 0)
  let end = at
  view.setUint8(end++, (v4 ? 0 : FLOW_V6) | (withHost ? (hostV4 ? HOST_V4 : HOST_V6) : 0))
  const word = (value: number): void => {
    view.setUint32(end, value)
    end += 4
  }
  for (const address of [0, 4]) for (let i = v4 ? 3 : 0; i < 4; i++) word(key[address + i]!)
  word(key[PORTS]!)
  view.setUint8(end++, key[PROTOCOL]!)
  if (withHost) for (let i = hostV4 ? 3 : 0; i < 4; i++) word(host[i]!)
  return end
}

/** Reads one record at `at`; returns it and where it ends. Throws SHUNT_ERR_FRAME on anything impossible. */
export const readRecord = (
  view: DataView,
  at: number,
  withHost: boolean,
): { record: FlowRecord; end: number } => {
  if (at >= view.byteLength) bad('cut short')
  let end = at
  const kind = view.getUint8(end++)
  const flowWords = (kind & FLOW_V6) === 0 ? 1 : 4
  const hostKind = kind & (HOST_V4 | HOST_V6)
  if ((kind & ~(FLOW_V6 | HOST_V4 | HOST_V6)) !== 0 || hostKind === (HOST_V4 | HOST_V6))
    bad(`impossible kind ${kind}`)
  if ((hostKind !== 0) !== withHost) bad(withHost ? 'no host' : 'a host where none belongs')
  const hostWords = hostKind === 0 ? 0 : hostKind === HOST_V4 ? 1 : 4
  if (end + 8 * flowWords + 4 + 1 + 4 * hostWords > view.byteLength) bad('cut short')
  const address = (words: Uint32Array, to: number, count: number): void => {
    if (count === 1) words[to + 2] = V4_MAPPED
    for (let i = 4 - count; i < 4; i++, end += 4) words[to + i] = view.getUint32(end)
  }
  const key = new Uint32Array(KEY_WORDS)
  address(key, 0, flowWords)
  address(key, 4, flowWords)
  key[PORTS] = view.getUint32(end)
  key[PROTOCOL] = view.getUint8(end + 4)
  end += 5
  const host = new Uint32Array(HOST_WORDS)
  if (hostWords !== 0) address(host, 0, hostWords)
  if (withHost && isZero(host)) bad('host of all zeros')
  return { record: { key, host }, end }
}
