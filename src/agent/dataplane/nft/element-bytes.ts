/** Keys and data of the elements that the plumber puts into kernel sets (ruleset.ts), of either family. Pure. */
import { isIpv4, KEY_PORTS, KEY_PROTOCOL, KEY_VIP } from '../flow-key.ts'

/** Network-order bytes of 32-bit words, for keys and data of kernel sets. */
export const bytesOf = (...parts: (readonly [value: number, order: 'net' | 'host'])[]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(parts.length * 4))
  parts.forEach(([value, order], i) => {
    view.setUint32(i * 4, value, order === 'host')
  })
  return new Uint8Array(view.buffer)
}

/** A 16-bit field in a concatenation or as data: two network-order bytes, padded to four in a key. */
export const portBytes = (port: number): Uint8Array => Uint8Array.of(port >> 8, port & 255)

/** 4 or 16 bytes, of an address of four words from `at`. */
export const addressBytes = (words: Uint32Array, at: number): Uint8Array => {
  const four = isIpv4(words, at)
  const view = new DataView(new ArrayBuffer(four ? 4 : 16))
  if (four) view.setUint32(0, words[at + 3])
  else for (let i = 0; i < 4; i++) view.setUint32(4 * i, words[at + i])
  return new Uint8Array(view.buffer)
}

const join = (...parts: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Tunnel address, identifier, protocol (one byte, padded). */
export const decKey = (tunnel: Uint8Array, identifier: number, protocol: number): Uint8Array =>
  join(tunnel, bytesOf([identifier, 'net'], [protocol << 24, 'net']))

/** Client, its port, VIP, its port, protocol; each padded to four bytes. */
export const flowKeyBytes = (key: Uint32Array, at: number): Uint8Array => {
  const ports = key[at + KEY_PORTS]
  return join(
    addressBytes(key, at),
    bytesOf([ports & 0xffff0000, 'net']),
    addressBytes(key, at + KEY_VIP),
    bytesOf([ports << 16, 'net'], [key[at + KEY_PROTOCOL] << 24, 'net']),
  )
}
