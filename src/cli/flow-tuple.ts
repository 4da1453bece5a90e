/** Reads a connection's 5-tuple in the forms that other tools print it in, since it is usually pasted. Pure. */
import { isIPv4, isIPv6 } from 'node:net'
import { addressPort } from '../address-port.ts'
import { ShuntError } from '../errors.ts'
import { formatAddress, parseAddress } from '../os/inet.ts'
import { oneLine } from '../plain-text.ts'

export interface FlowTuple {
  protocol: 'tcp' | 'udp'
  /** `address:port`, IPv6 in brackets. */
  client: string
  vip: string
}

/** Longer than any line of ss, tcpdump or conntrack that is about one packet. */
const MAX_CHARS = 1_000
const PORTS = 65_535

/** How a command shows its users to write a connection. */
export const FLOW_FORMS = {
  trace: 'tcp 203.0.113.5:40000 198.51.100.10:80, IPv6 as [2001:db8::5]:40000',
  atoms: '203.0.113.5:40000 198.51.100.10:80, with /udp at its end for UDP, IPv6 as [2001:db8::5]:40000',
} as const

const wrong = (text: string, why: string, form: string): ShuntError =>
  new ShuntError('SHUNT_ERR_USAGE', `"${oneLine(text).slice(0, 80)}" ${why}; give it as ${form}`)

const portOf = (text: string): number | null => {
  if (!/^\d{1,5}$/.test(text)) return null
  const port = Number(text)
  return port >= 1 && port <= PORTS ? port : null
}

interface End {
  address: string
  port: number
}

const endOf = (address: string, portText: string): End | null => {
  const port = portOf(portText)
  if (port === null || address.includes('%')) return null
  // An IPv6 socket's peer that speaks IPv4, as ss prints it.
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
  return isIPv4(mapped) || isIPv6(mapped) ? { address: mapped, port } : null
}

/** `a:port`, `[a]:port`, `a.port` (tcpdump), without an interface (`a%eth0:port`). */
const readEnd = (token: string): End | null => {
  const text = token.replace(/%[^\]:]*/, '')
  const bracketed = /^\[([^\]]+)\]:(\d+)$/.exec(text)
  if (bracketed !== null) return endOf(bracketed[1]!, bracketed[2]!)
  const dotted = /^(.*)\.(\d+)$/.exec(text)
  // `1.2.3.4.80` and `2001:db8::5.80`: what is before the last dot must be a whole address.
  if (dotted !== null) {
    const end = endOf(dotted[1]!, dotted[2]!)
    if (end !== null) return end
  }
  const colon = /^([^:]+):(\d+)$/.exec(text)
  return colon === null ? null : endOf(colon[1]!, colon[2]!)
}

/** `src=.. dst=.. sport=.. dport=..` (conntrack), the first of each: the second is the answer's. */
const readNamed = (text: string): [End, End] | null => {
  const value = (name: string): string => new RegExp(`\\b${name}=([^\\s,]+)`).exec(text)?.[1] ?? ''
  const client = endOf(value('src'), value('sport'))
  const vip = endOf(value('dst'), value('dport'))
  return client === null || vip === null ? null : [client, vip]
}

const format = ({ address, port }: End): string => addressPort(formatAddress(parseAddress(address)), port)

const protocolOf = (text: string, form: string): 'tcp' | 'udp' => {
  const other = /^(icmp|icmpv6|icmp6|sctp|dccp|esp|gre)\b/i.exec(text)?.[1]
  if (other !== undefined) throw wrong(text, `is of ${other}, and services are of tcp or udp`, form)
  return /\budp6?\b/i.test(text) ? 'udp' : 'tcp'
}

/**
 * The client's end, then the VIP's, with addresses in their usual form (RFC 5952); without a protocol it is TCP.
 * @param form of those in FLOW_FORMS, for the error
 * @throws ShuntError SHUNT_ERR_USAGE
 */
export const parseFlowTuple = (words: readonly string[], form: string = FLOW_FORMS.trace): FlowTuple => {
  const text = words.join(' ').trim()
  if (text.length > MAX_CHARS)
    throw wrong(
      text,
      `... is longer than ${MAX_CHARS} characters: paste one line, about one connection`,
      form,
    )
  const ends =
    readNamed(text) ??
    text
      .split(/[\s,>→]+/)
      .map(token => readEnd(token.replace(/^-+|[:;-]+$/g, '')))
      .filter(end => end !== null)
  const [client, vip] = ends
  if (client === undefined || vip === undefined || ends.length > 2)
    throw wrong(
      text,
      `has ${ends.length === 0 ? 'no address with a port' : `${ends.length} address${ends.length === 1 ? '' : 'es'} with ${ends.length === 1 ? 'a port' : 'ports'}`}, not two`,
      form,
    )
  if (isIPv6(client.address) !== isIPv6(vip.address))
    throw wrong(text, 'has an IPv4 and an IPv6 address', form)
  return { protocol: protocolOf(text, form), client: format(client), vip: format(vip) }
}

/** The same connection, when the ends were pasted the other way round. */
export const reversed = ({ protocol, client, vip }: FlowTuple): FlowTuple => ({
  protocol,
  client: vip,
  vip: client,
})
