import { isIPv4, isIPv6 } from 'node:net'
import type { PacketView } from './packet.ts'

/**
 * A flow key: client address (4 words), VIP (4 words), client port << 16 | VIP port, IP protocol. Addresses are
 * big-endian words; IPv4 stands as v4-mapped (0, 0, 0xffff, address), so that one key serves both families.
 */
export const FLOW_KEY_WORDS = 10
export const KEY_CLIENT = 0
export const KEY_VIP = 4
export const KEY_PORTS = 8
export const KEY_PROTOCOL = 9

const MAPPED = 0x0000ffff

/** The key of a packet from a client to a VIP. `offset` is that of the IP header, `view` its parse. */
export function readFlowKey(buf: Uint8Array, offset: number, view: PacketView, out: Uint32Array): void {
  if (view.family === 4) {
    readIpv4(buf, offset + 12, out, KEY_CLIENT)
    readIpv4(buf, offset + 16, out, KEY_VIP)
  } else {
    readIpv6(buf, offset + 8, out, KEY_CLIENT)
    readIpv6(buf, offset + 24, out, KEY_VIP)
  }
  out[KEY_PORTS] = (view.sourcePort << 16) | view.destinationPort
  out[KEY_PROTOCOL] = view.protocol
}

/** Four bytes at `from` as a v4-mapped address at word `at`. */
export function readIpv4(buf: Uint8Array, from: number, out: Uint32Array, at: number): void {
  out[at] = 0
  out[at + 1] = 0
  out[at + 2] = MAPPED
  out[at + 3] = (buf[from] << 24) | (buf[from + 1] << 16) | (buf[from + 2] << 8) | buf[from + 3]
}

/** Sixteen bytes at `from` as an address at word `at`. */
export function readIpv6(buf: Uint8Array, from: number, out: Uint32Array, at: number): void {
  for (let i = 0; i < 4; i++, from += 4)
    out[at + i] = (buf[from] << 24) | (buf[from + 1] << 16) | (buf[from + 2] << 8) | buf[from + 3]
}

export const isIpv4 = (words: Uint32Array, at: number): boolean =>
  words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED

/** The IPv4 address as an unsigned number, or -1 for an IPv6 address. */
export const ipv4Word = (words: Uint32Array, at: number): number => (isIpv4(words, at) ? words[at + 3] : -1)

export const addressEquals = (a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): boolean =>
  a[aAt + 3] === b[bAt + 3] && a[aAt + 2] === b[bAt + 2] && a[aAt + 1] === b[bAt + 1] && a[aAt] === b[bAt]

/** `192.0.2.1`, or the canonical text of RFC 5952 for IPv6. For people, not for the packet path. */
export function formatAddress(words: Uint32Array, at: number): string {
  if (isIpv4(words, at)) {
    const word = words[at + 3]
    return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`
  }
  const groups: number[] = []
  for (let i = at; i < at + 4; i++) groups.push(words[i] >>> 16, words[i] & 0xffff)
  const gap = longestZeros(groups)
  const text = (part: number[]): string => part.map(group => group.toString(16)).join(':')
  if (gap.length < 2) return text(groups)
  return `${text(groups.slice(0, gap.start))}::${text(groups.slice(gap.start + gap.length))}`
}

function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < groups.length; start++) {
    let length = 0
    while (start + length < groups.length && groups[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  return best
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`. */
export function formatEndpoint(words: Uint32Array, at: number, port: number): string {
  const address = formatAddress(words, at)
  return isIpv4(words, at) ? `${address}:${port}` : `[${address}]:${port}`
}

/** Writes an address into words `at`..`at + 3`; false (and nothing written) if the text is not an address. */
export function parseAddress(text: string, out: Uint32Array, at: number): boolean {
  if (isIPv4(text)) {
    out.set([0, 0, MAPPED, dottedWord(text)], at)
    return true
  }
  if (!isIPv6(text) || text.includes('%')) return false
  let colons = text
  if (text.includes('.')) {
    const cut = text.lastIndexOf(':') + 1
    const word = dottedWord(text.slice(cut))
    colons = `${text.slice(0, cut)}${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`
  }
  const [head, tail] = colons.split('::')
  const before = hexGroups(head)
  const after = tail === undefined ? [] : hexGroups(tail)
  const groups = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
  for (let i = 0; i < 4; i++) out[at + i] = groups[2 * i] * 65536 + groups[2 * i + 1]
  return true
}

const hexGroups = (text: string): number[] =>
  text === '' ? [] : text.split(':').map(group => Number.parseInt(group, 16))

const dottedWord = (text: string): number =>
  text.split('.').reduce((word, part) => word * 256 + Number(part), 0)
