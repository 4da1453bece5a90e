import { ATOM_KIND } from '../../dam/types.ts'
import { KEY_CLIENT, KEY_PORTS, KEY_PROTOCOL, KEY_VIP } from '../dataplane/flow-key.ts'

/** By which part of its address a client is known (R-C2). */
export interface ClientPrefix {
  /** Bits of an IPv4 address, 1..32. */
  readonly prefix: number
  /** Of an IPv6 one, 1..128. */
  readonly prefix6: number
}

/** Bits before an IPv4 address that stands as v4-mapped. */
const MAPPED_BITS = 96
const MAPPED = 0x0000ffff

/** Key of a client's session with a service (dam/types.ts, clientAddress), of a flow key of ten words from `at`, into `out`. */
export const writeClientKey = (
  flow: Uint32Array,
  at: number,
  { prefix, prefix6 }: ClientPrefix,
  out: Uint32Array,
): void => {
  const isIpv4 = flow[at] === 0 && flow[at + 1] === 0 && flow[at + 2] === MAPPED
  let bits = isIpv4 ? MAPPED_BITS + prefix : prefix6
  for (let i = 0; i < 4; i++, bits -= 32) {
    const mask = bits >= 32 ? 0xffffffff : bits <= 0 ? 0 : ~(0xffffffff >>> bits)
    out[KEY_CLIENT + i] = flow[at + KEY_CLIENT + i]! & mask
    out[KEY_VIP + i] = flow[at + KEY_VIP + i]!
  }
  out[KEY_PORTS] = flow[at + KEY_PORTS]! & 0xffff
  out[KEY_PROTOCOL] = (flow[at + KEY_PROTOCOL]! & 0xff) | (ATOM_KIND.clientAddress << 24)
}
