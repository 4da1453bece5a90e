/**
 * Messages about VIPs as bytes, big-endian: a number for the type, then its fields.
 *
 *   standing  weight u8 | flags u8 (0 ready, 1 leaving, 2 reads brief) | digest 8 bytes | count u16, then so many names (length u8, text)
 *   claims    count u16, then for each:  vip (length u8, text) | generation u64 | holder (length u8, text) | flags u8 (0 ordered, 1 death, 2 brief) | support u16
 *   take      vip | generation u64 | flags u8 (0 ordered)
 *
 * Unknown flags are a newer peer's and are ignored. VIPs are written as RFC 5952 has them, which is how documents have them.
 */
import { isIP } from 'node:net'
import { ByteReader, ByteWriter } from '../health/bytes.ts'
import { badHealth } from '../health/codec-error.ts'
import { MAX_GENERATION } from './generation.ts'
import {
  type Claim,
  DIGEST_LENGTH,
  MAX_WEIGHT,
  MOST_CLAIMS,
  MOST_SEEN,
  type OwnershipMessage,
} from './types.ts'

const TYPES = ['standing', 'claims', 'take'] as const satisfies readonly OwnershipMessage['type'][]
const MAX_NAME = 63
const MAX_VIP = 45
const NAME = /^[a-z0-9-]{1,63}$/
const FLAG_READY = 1
const FLAG_LEAVING = 2
const FLAG_READS_BRIEF = 4
const FLAG_ORDERED = 1
const FLAG_DEATH = 2
const FLAG_BRIEF = 4
const MAX_SUPPORT = 65_535

/** Throws RangeError for what has no encoding. */
export const encodeOwnership = (message: OwnershipMessage): Uint8Array => {
  const out = new ByteWriter()
  out.u8(TYPES.indexOf(message.type) + 1, 'a type')
  if (message.type === 'standing') {
    out.u8(message.weight, 'a weight')
    const { ready, leaving, readsBrief } = message
    out.u8(bits([ready, FLAG_READY], [leaving, FLAG_LEAVING], [readsBrief, FLAG_READS_BRIEF]), 'flags')
    out.bytes(Buffer.from(message.digest, 'hex'))
    const sees = message.sees.slice(0, MOST_SEEN)
    out.u16(sees.length, 'a count')
    for (const name of sees) out.text(name, MAX_NAME, 'a name')
  } else if (message.type === 'claims') {
    if (message.claims.length > MOST_CLAIMS)
      throw new RangeError(`${message.claims.length} claims in a message`)
    out.u16(message.claims.length, 'a count')
    for (const claim of message.claims) writeClaim(out, claim)
  } else {
    out.text(message.vip, MAX_VIP, 'a VIP')
    out.u64(message.generation, 'a generation')
    out.u8(message.ordered ? FLAG_ORDERED : 0, 'flags')
  }
  return out.take()
}

const bits = (...flags: [is: boolean | undefined, flag: number][]): number =>
  flags.reduce((sum, [is, flag]) => (is === true ? sum | flag : sum), 0)

const writeClaim = (out: ByteWriter, claim: Claim): void => {
  out.text(claim.vip, MAX_VIP, 'a VIP')
  out.u64(claim.generation, 'a generation')
  out.text(claim.holder, MAX_NAME, 'a holder')
  const { ordered, death, brief } = claim
  out.u8(bits([ordered, FLAG_ORDERED], [death, FLAG_DEATH], [brief, FLAG_BRIEF]), 'flags')
  out.u16(Math.min(claim.support, MAX_SUPPORT), 'a support')
}

/** Bytes of a peer: hostile input. Throws HealthError. */
export const decodeOwnership = (bytes: Uint8Array): OwnershipMessage => {
  const input = new ByteReader(bytes)
  const type = TYPES[input.u8() - 1]
  if (type === undefined) return badHealth('a message about VIPs of an unknown type')
  const message = READERS[type](input)
  input.end()
  return message
}

const READERS: Record<OwnershipMessage['type'], (input: ByteReader) => OwnershipMessage> = {
  standing: input => {
    const weight = input.u8()
    if (weight > MAX_WEIGHT) badHealth(`a weight of ${weight}`)
    const flags = input.u8()
    const digest = input.hex(DIGEST_LENGTH / 2)
    const sees = list(input, MOST_SEEN, readName)
    return {
      ...{ type: 'standing', weight, sees, digest },
      ...{ ready: (flags & FLAG_READY) !== 0, leaving: (flags & FLAG_LEAVING) !== 0 },
      ...((flags & FLAG_READS_BRIEF) !== 0 && { readsBrief: true }),
    }
  },
  claims: input => ({ type: 'claims', claims: list(input, MOST_CLAIMS, readClaim) }),
  take: input => {
    const vip = readVip(input)
    const generation = readGeneration(input)
    return { type: 'take', vip, generation, ordered: (input.u8() & FLAG_ORDERED) !== 0 }
  },
}

const list = <T>(input: ByteReader, most: number, read: (input: ByteReader) => T): T[] => {
  const count = input.u16()
  if (count > most) badHealth(`a list of ${count}, at most ${most} are allowed`)
  return Array.from({ length: count }, () => read(input))
}

const readName = (input: ByteReader): string => {
  const name = input.text(MAX_NAME)
  return NAME.test(name) ? name : badHealth('an impossible name')
}

const readVip = (input: ByteReader): string => {
  const vip = input.text(MAX_VIP)
  return isIP(vip) === 0 ? badHealth('a VIP that is no address') : vip
}

const readGeneration = (input: ByteReader): number => {
  const generation = input.u64()
  return generation <= MAX_GENERATION ? generation : badHealth(`a generation of ${generation}`)
}

const readClaim = (input: ByteReader): Claim => {
  const vip = readVip(input)
  const generation = readGeneration(input)
  if (generation === 0) badHealth('a claim of generation 0')
  const holder = input.text(MAX_NAME)
  if (holder !== '' && !NAME.test(holder)) badHealth('an impossible holder')
  const flags = input.u8()
  return {
    ...{ vip, generation, holder, ordered: (flags & FLAG_ORDERED) !== 0 },
    ...{ death: (flags & FLAG_DEATH) !== 0, support: input.u16() },
    ...((flags & FLAG_BRIEF) !== 0 && { brief: true }),
  }
}
