/**
 * Keys derived from the cluster secret by HKDF-SHA256 (RFC 5869), one label a purpose, so that no key tells
 * anything about another or about the secret. Where several secrets are configured (rotation), the network key
 * is derived from the first one.
 */
import { hkdfSync } from 'node:crypto'
import { ShuntError } from '../errors.ts'

export const SECRET_BYTES = 32
const NETWORK_LABEL = 'shunt network 1'
const MAPPING_LABEL = 'shunt mapping 1'
const CHOICE_LABEL = 'shunt choice 1'
const ATOMS_LABEL = 'shunt atoms 1'
const ADDRESS_BYTES = 16
const NO_SALT = new Uint8Array(0)

const derive = (secret: Uint8Array, info: Uint8Array, length: number): Uint8Array => {
  if (secret.length !== SECRET_BYTES)
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `a cluster secret is ${SECRET_BYTES} bytes, not ${secret.length}; make one with shunt keygen`,
    )
  return new Uint8Array(hkdfSync('sha256', secret, NO_SALT, info, length))
}

/** The key of the private network (protector.ts), 32 bytes. Throws SHUNT_ERR_IDENTITY if the secret is not 32 bytes. */
export const networkKey = (secret: Uint8Array): Uint8Array => derive(secret, Buffer.from(NETWORK_LABEL), 32)

/**
 * The 128-bit SipHash key of mapping datagrams about one forwarder's tunnel address to one recipient (architecture
 * decision 3), as four little-endian words (k0 low, k0 high, k1 low, k1 high). A datagram that was captured on its way to one
 * node is therefore of no use at another. The epoch is not part of it: the tag covers the epoch, and a key an epoch would
 * let a forger make us derive keys. Addresses: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
 * Throws RangeError on other sizes, SHUNT_ERR_IDENTITY if the secret is not 32 bytes.
 */
export const mappingKey = (
  secret: Uint8Array,
  tunnelAddress: Uint8Array,
  recipient: Uint8Array,
): Uint32Array => {
  for (const address of [tunnelAddress, recipient])
    if (address.length !== ADDRESS_BYTES)
      throw new RangeError(`an address is ${ADDRESS_BYTES} bytes, not ${address.length}`)
  const info = Buffer.concat([Buffer.from(MAPPING_LABEL), tunnelAddress, recipient])
  const bytes = Buffer.from(derive(secret, info, 16))
  return Uint32Array.from([0, 4, 8, 12], at => bytes.readUInt32LE(at))
}

/**
 * The hash key of the deterministic choice of a host (architecture decision 6), as two words: the same on every
 * node of a cluster, unknown to clients. Throws SHUNT_ERR_IDENTITY if the secret is not 32 bytes.
 */
export const choiceKey = (secret: Uint8Array): [number, number] => hashKey(secret, CHOICE_LABEL)

/** The hash key by which members locate and compare atoms (R-C5): as the key of the deterministic choice, and made of the same secret. */
export const atomsKey = (secret: Uint8Array): [number, number] => hashKey(secret, ATOMS_LABEL)

const hashKey = (secret: Uint8Array, label: string): [number, number] => {
  const bytes = Buffer.from(derive(secret, Buffer.from(label), 8))
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)]
}
