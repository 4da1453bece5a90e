/** The flow key of ends as the control API names them. */
import type { TraceQuery } from '../control/types.ts'
import type { SocketEnd } from '../os/netlink/sock-lookup.ts'
import { FLOW_KEY_WORDS, parseAddress } from './dataplane/flow-key.ts'

const PROTOCOLS = { tcp: 6, udp: 17 } as const

/** `address:port`, which the control API has checked. */
export const endOf = (text: string): SocketEnd => {
  const colon = text.lastIndexOf(':')
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
}

export const flowKeyOf = ({ protocol, client, vip }: TraceQuery): Uint32Array => {
  const key = new Uint32Array(FLOW_KEY_WORDS)
  const [from, to] = [endOf(client), endOf(vip)]
  parseAddress(from.address, key, 0)
  parseAddress(to.address, key, 4)
  key[8] = (from.port << 16) | to.port
  key[9] = PROTOCOLS[protocol]
  return key
}
