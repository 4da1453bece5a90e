import { MessageWriter, NLM_F_DUMP, NLM_F_REQUEST, readAttributes, readString } from './codec.ts'
import { NFPROTO, NFT_MSG_GETOBJ, NFT_MSG_NEWOBJ, type NftFamily, nfGenericHeader } from './nftables.ts'
import { NETLINK_NETFILTER, NetlinkSocket } from './socket.ts'

// Attribute numbers of <linux/netfilter/nf_tables.h>
const OBJECT_TABLE = 1
const OBJECT_NAME = 2
const OBJECT_TYPE = 3
const OBJECT_DATA = 4
const TYPE_COUNTER = 1
const COUNTER_BYTES = 1
const COUNTER_PACKETS = 2
const GENERIC_HEADER_BYTES = 4

export interface Counter {
  packets: number
  bytes: number
}

/** A count above 2^53 loses its last digits, which no reader minds. */
const readU64 = (value: Buffer | undefined): number =>
  value === undefined || value.length < 8 ? 0 : Number(value.readBigUInt64BE(0))

/** The attributes of a counter, of an object or of an expression: they have the same numbers. */
export const readCounter = (data: Buffer): Counter => {
  const values = readAttributes(data)
  return { packets: readU64(values.get(COUNTER_PACKETS)), bytes: readU64(values.get(COUNTER_BYTES)) }
}

/** The named counters of a table (none if there is no such table), read in one dump. Throws OsError. */
export const readCounters = (table: string, family: NftFamily = 'netdev'): Record<string, Counter> => {
  const writer = new MessageWriter(256)
  const at = writer.beginMessage(NFT_MSG_GETOBJ, NLM_F_REQUEST | NLM_F_DUMP)
  writer.raw(nfGenericHeader(NFPROTO[family]))
  writer.string(OBJECT_TABLE, table)
  writer.u32be(OBJECT_TYPE, TYPE_COUNTER)
  writer.endMessage(at)
  const socket = NetlinkSocket.open(NETLINK_NETFILTER)
  try {
    const counters: Record<string, Counter> = {}
    for (const reply of socket.request(`read counters of nftables ${family} ${table}`, writer.bytes())) {
      if (reply.type !== NFT_MSG_NEWOBJ) continue
      const object = readAttributes(reply.payload, GENERIC_HEADER_BYTES)
      const name = object.get(OBJECT_NAME)
      const data = object.get(OBJECT_DATA)
      if (name === undefined || data === undefined) continue
      counters[readString(name)] = readCounter(data)
    }
    return counters
  } finally {
    socket.close()
  }
}
