import { isIPv4, isIPv6 } from 'node:net'

/** `10.0.0.1` → u32 in host order. Throws RangeError. */
export const parseIpv4 = (text: string): number => {
  if (!isIPv4(text)) throw new RangeError(`${JSON.stringify(text)} is not an IPv4 address`)
  return text.split('.').reduce((value, part) => value * 256 + Number(part), 0)
}

/** u32 in host order → `10.0.0.1`. */
export const formatIpv4 = (value: number): string =>
  `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`

/** An IPv4 or IPv6 address as the 4 or 16 bytes that the kernel wants. Throws RangeError. */
export const parseAddress = (text: string): Buffer => {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number))
  if (!isIPv6(text) || text.includes('%'))
    throw new RangeError(`${JSON.stringify(text)} is not an IP address`)
  const dotted = text.lastIndexOf('.') === -1 ? '' : text.slice(text.lastIndexOf(':') + 1)
  const value = dotted === '' ? 0 : parseIpv4(dotted)
  const plain =
    dotted === ''
      ? text
      : `${text.slice(0, -dotted.length)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`
  const [front, back] = plain.split('::').map(side => (side === '' ? [] : side.split(':')))
  const words =
    back === undefined ? front : [...front, ...Array(8 - front.length - back.length).fill('0'), ...back]
  const bytes = Buffer.alloc(16)
  words.forEach((word, index) => {
    bytes.writeUInt16BE(Number.parseInt(word, 16), index * 2)
  })
  return bytes
}

/** The 4 or 16 bytes of an address as text; IPv6 as in RFC 5952, but without dotted quads. */
export const formatAddress = (bytes: Uint8Array): string => {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`)
  const words = Array.from({ length: 8 }, (_, index) =>
    ((bytes[index * 2] << 8) | bytes[index * 2 + 1]).toString(16),
  )
  const runs = words.join(':').match(/\b0(?::0\b)+/g) ?? []
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '')
  const text = words.join(':')
  if (longest === '') return text
  const at = text.search(new RegExp(`\\b${longest}\\b`))
  return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + longest.length).replace(/^:/, '')}`
}
