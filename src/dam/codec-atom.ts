/** Atoms, keys and origins on the wire (codec.ts). */
import type { ByteReader, ByteWriter } from '../health/bytes.ts'
import { badHealth } from '../health/codec-error.ts'
import { sameOrigin } from './order.ts'
import { ATOM_KIND, type Atom, KEY_WORDS, type Origin } from './types.ts'

const ZOMBIE = 16
const OTHER_OWNER = 32
const OTHER_HOME = 64
const IPV4 = 128
const LEVEL = 15
const MAPPED = 0xffff
const MOST_NAME_BYTES = 64

export const writeOrigin = (out: ByteWriter, { member, incarnation }: Origin): void => {
  out.text(member, MOST_NAME_BYTES, 'a name')
  out.u32(incarnation, 'an incarnation')
}

export const readOrigin = (input: ByteReader): Origin => {
  const member = input.text(MOST_NAME_BYTES)
  return member === '' ? badHealth('a member without a name') : { member, incarnation: input.u32() }
}

/** With a byte before it that says which form it has. */
export const writeKey = (out: ByteWriter, key: Uint32Array): void => {
  const ipv4 = isIpv4Flow(key)
  out.u8(ipv4 ? IPV4 : 0, 'a form')
  writeKeyAs(out, key, ipv4)
}

export const readKey = (input: ByteReader): Uint32Array => {
  const form = input.u8()
  return form === 0 || form === IPV4 ? readKeyAs(input, form === IPV4) : badHealth(`a key of form ${form}`)
}

/** @param from whose it is taken for when nothing is said */
export const writeAtom = (out: ByteWriter, atom: Atom, from: Origin): void => {
  const ipv4 = isIpv4Flow(atom.key)
  const [owner, home] = [!sameOrigin(atom.owner, from), !sameOrigin(atom.home, atom.owner)]
  const flags =
    (atom.zombie ? ZOMBIE : 0) | (owner ? OTHER_OWNER : 0) | (home ? OTHER_HOME : 0) | (ipv4 ? IPV4 : 0)
  if (atom.level > LEVEL) throw new RangeError(`a level of ${atom.level}`)
  out.u8(flags | atom.level, 'flags')
  writeKeyAs(out, atom.key, ipv4)
  out.u32(atom.host, 'a host')
  out.u8(Math.floor(atom.generation / 2 ** 48), 'a generation')
  out.u16(Math.floor(atom.generation / 2 ** 32) % 2 ** 16, 'a generation')
  out.u32(atom.generation % 2 ** 32, 'a generation')
  if (owner) writeOrigin(out, atom.owner)
  if (home) writeOrigin(out, atom.home)
}

export const readAtom = (input: ByteReader, from: Origin): Atom => {
  const flags = input.u8()
  const key = readKeyAs(input, (flags & IPV4) !== 0)
  const host = input.u32()
  const generation = input.u8() * 2 ** 48 + input.u16() * 2 ** 32 + input.u32()
  const owner = flags & OTHER_OWNER ? readOrigin(input) : from
  const home = flags & OTHER_HOME ? readOrigin(input) : owner
  return { key, host, generation, zombie: (flags & ZOMBIE) !== 0, level: flags & LEVEL, owner, home }
}

const isIpv4Flow = (key: Uint32Array): boolean =>
  (key[0] | key[1] | key[4] | key[5]) === 0 &&
  key[2] === MAPPED &&
  key[6] === MAPPED &&
  key[9] >>> 24 === ATOM_KIND.flow &&
  (key[9] & 0xffff00) === 0

const writeKeyAs = (out: ByteWriter, key: Uint32Array, ipv4: boolean): void => {
  if (!ipv4) {
    for (let i = 0; i < KEY_WORDS; i++) out.u32(key[i], 'a key')
    return
  }
  out.u32(key[3], 'a client')
  out.u32(key[7], 'a VIP')
  out.u32(key[8], 'ports')
  out.u8(key[9] & 0xff, 'a protocol')
}

const readKeyAs = (input: ByteReader, ipv4: boolean): Uint32Array => {
  const key = new Uint32Array(KEY_WORDS)
  if (ipv4) {
    key[2] = key[6] = MAPPED
    key[3] = input.u32()
    key[7] = input.u32()
    key[8] = input.u32()
    key[9] = ((ATOM_KIND.flow << 24) | input.u8()) >>> 0
  } else {
    for (let i = 0; i < KEY_WORDS; i++) key[i] = input.u32()
    // One form each.
    if (isIpv4Flow(key)) badHealth('an IPv4 flow in the long form')
  }
  return key
}
