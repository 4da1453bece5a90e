import { OsError } from '../../errors.ts'
import { MessageWriter, NLM_F_DUMP, NLM_F_REQUEST, readAttributes, readString } from './codec.ts'
import {
  NFPROTO,
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWSETELEM,
  type NftFamily,
  nfGenericHeader,
} from './nftables.ts'
import { type Counter, readCounter } from './nftables-counters.ts'
import { NETLINK_NETFILTER, NetlinkSocket } from './socket.ts'

// Attribute numbers of <linux/netfilter/nf_tables.h>
const LIST_TABLE = 1
const LIST_SET = 2
const LIST_ELEMENTS = 3
const ELEMENT_KEY = 1
const ELEMENT_EXPRESSION = 7
const DATA_VALUE = 1
const EXPRESSION_NAME = 1
const EXPRESSION_DATA = 2
const GENERIC_HEADER_BYTES = 4
const ATTRIBUTE_HEADER_BYTES = 4

export interface ElementCounter extends Counter {
  /** The bytes of the kernel's registers: each field of a concatenation padded to 4. */
  readonly key: Buffer
}

/** The attributes of a nest that all have one number, which `readAttributes` would take for one. */
function* listed(nest: Buffer): Generator<Buffer> {
  for (let at = 0; at + ATTRIBUTE_HEADER_BYTES <= nest.length; ) {
    const length = nest.readUInt16LE(at)
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > nest.length) return
    yield nest.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length)
    at += (length + 3) & ~3
  }
}

const readElement = (element: Buffer): ElementCounter | null => {
  const attributes = readAttributes(element)
  const key = attributes.get(ELEMENT_KEY)
  const expression = attributes.get(ELEMENT_EXPRESSION)
  if (key === undefined || expression === undefined) return null
  const parts = readAttributes(expression)
  const name = parts.get(EXPRESSION_NAME)
  const data = parts.get(EXPRESSION_DATA)
  const value = readAttributes(key).get(DATA_VALUE)
  if (name === undefined || data === undefined || value === undefined || readString(name) !== 'counter')
    return null
  return { key: value, ...readCounter(data) }
}

/** What the elements of a set or map that counts have counted, in one dump; none if there is no such set. Throws OsError. */
export const readElementCounters = (
  table: string,
  set: string,
  family: NftFamily = 'netdev',
): ElementCounter[] => {
  const writer = new MessageWriter(256)
  const at = writer.beginMessage(NFT_MSG_GETSETELEM, NLM_F_REQUEST | NLM_F_DUMP)
  writer.raw(nfGenericHeader(NFPROTO[family]))
  writer.string(LIST_TABLE, table)
  writer.string(LIST_SET, set)
  writer.endMessage(at)
  const socket = NetlinkSocket.open(NETLINK_NETFILTER)
  try {
    const counters: ElementCounter[] = []
    for (const reply of socket.request(
      `read elements of nftables ${family} ${table} ${set}`,
      writer.bytes(),
    )) {
      if (reply.type !== NFT_MSG_NEWSETELEM) continue
      const elements = readAttributes(reply.payload, GENERIC_HEADER_BYTES).get(LIST_ELEMENTS)
      for (const element of elements === undefined ? [] : listed(elements)) {
        const counter = readElement(element)
        if (counter !== null) counters.push(counter)
      }
    }
    return counters
  } catch (error) {
    if (error instanceof OsError && error.symbol === 'ENOENT') return []
    throw error
  } finally {
    socket.close()
  }
}
