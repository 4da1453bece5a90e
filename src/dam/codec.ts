/**
 * Messages of atoms as bytes (R-C4): a number for the type, then its fields, big-endian. An atom of an IPv4 flow takes 25 bytes.
 *
 *   atom      flags u8 | key | host u32 | generation 7 bytes | owner? | home?
 *   flags     0-3 level, 4 zombie, 5 the owner is another than the message's, 6 home is another than the owner, 7 IPv4 flow key
 *   key       IPv4 flow: client 4, VIP 4, ports 4, protocol 1; else ten words
 *   origin    name (length u8, UTF-8) | incarnation u32
 *
 * An atom in a batch, a bucket or orphans is its sender's, or the owner's that the message names.
 */
import { ByteReader, ByteWriter } from '../health/bytes.ts'
import { badHealth } from '../health/codec-error.ts'
import { readAtom, readKey, readOrigin, writeAtom, writeKey, writeOrigin } from './codec-atom.ts'
import { BUCKETS } from './location.ts'
import {
  type AtomOp,
  type BucketDigest,
  type DamMessage,
  MOST_ATOMS,
  MOST_KEYS,
  type Origin,
  type SetDigest,
} from './types.ts'

const TYPES = [
  'batch',
  'ack',
  'query',
  'return',
  'outdated',
  'sync',
  'same',
  'differs',
  'bucket',
  'orphans-here',
  'orphans-want',
  'orphans',
  'taken',
  'give-back',
] as const satisfies readonly DamMessage['type'][]

const OPS = ['add', 'tell', 'forget'] as const satisfies readonly AtomOp['op'][]

/** @param from the sender's origin: that of its own atoms is not written. Throws RangeError for what has no encoding */
export const encodeDam = (message: DamMessage, from: Origin): Uint8Array => {
  const out = new ByteWriter()
  out.u8(TYPES.indexOf(message.type) + 1, 'a type')
  switch (message.type) {
    case 'batch':
      out.u32(message.sequence, 'a sequence')
      list(out, message.ops, MOST_ATOMS, op => {
        out.u8(OPS.indexOf(op.op), 'an operation')
        if (op.op === 'forget') {
          writeKey(out, op.key)
          out.u64(op.generation, 'a generation')
        } else writeAtom(out, op.atom, from)
      })
      break
    case 'ack':
    case 'same':
      out.u32(message.sequence, 'a sequence')
      break
    case 'query':
      out.u32(message.id, 'an id')
      list(out, message.keys, MOST_KEYS, key => writeKey(out, key))
      break
    case 'return':
      out.u32(message.id, 'an id')
      list(out, message.atoms, MOST_ATOMS, atom => writeAtom(out, atom, from))
      break
    case 'outdated':
      writeOrigin(out, message.owner)
      list(out, message.keys, MOST_KEYS, key => writeKey(out, key))
      break
    case 'sync':
      out.u32(message.sequence, 'a sequence')
      writeDigest(out, message.all)
      break
    case 'differs':
      writeDigests(out, message.buckets)
      break
    case 'bucket':
      out.u16(message.bucket, 'a bucket')
      out.u8(Number(message.last), 'last')
      list(out, message.atoms, MOST_ATOMS, atom => writeAtom(out, atom, from))
      break
    case 'orphans-here':
      writeOrigin(out, message.owner)
      writeDigests(out, message.buckets)
      break
    case 'orphans-want':
      writeOrigin(out, message.owner)
      list(out, message.buckets, BUCKETS, bucket => out.u16(bucket, 'a bucket'))
      break
    case 'orphans':
      writeOrigin(out, message.owner)
      out.u16(message.bucket, 'a bucket')
      out.u8(Number(message.last), 'last')
      list(out, message.atoms, MOST_ATOMS, atom => writeAtom(out, atom, message.owner))
      break
    case 'taken':
      out.u16(message.bucket, 'a bucket')
      break
    case 'give-back':
      list(out, message.atoms, MOST_ATOMS, atom => writeAtom(out, atom, from))
  }
  return out.take()
}

/** Throws HealthError for what is no message; one of a type above the known ones says so. */
export const decodeDam = (bytes: Uint8Array, from: Origin): DamMessage => {
  const input = new ByteReader(bytes)
  const number = input.u8()
  const type = TYPES[number - 1]
  if (type === undefined) return badHealth(`no message of atoms is of type ${number}`)
  const message = read(input, type, from)
  input.end()
  return message
}

const read = (input: ByteReader, type: DamMessage['type'], from: Origin): DamMessage => {
  switch (type) {
    case 'batch':
      return { type, sequence: input.u32(), ops: listOf(input, MOST_ATOMS, () => readOp(input, from)) }
    case 'ack':
    case 'same':
      return { type, sequence: input.u32() }
    case 'query':
      return { type, id: input.u32(), keys: listOf(input, MOST_KEYS, () => readKey(input)) }
    case 'return':
      return { type, id: input.u32(), atoms: listOf(input, MOST_ATOMS, () => readAtom(input, from)) }
    case 'outdated':
      return { type, owner: readOrigin(input), keys: listOf(input, MOST_KEYS, () => readKey(input)) }
    case 'sync':
      return { type, sequence: input.u32(), all: readDigest(input) }
    case 'differs':
      return { type, buckets: readDigests(input) }
    case 'bucket':
      return {
        type,
        bucket: readBucket(input),
        last: readFlag(input),
        atoms: listOf(input, MOST_ATOMS, () => readAtom(input, from)),
      }
    case 'orphans-here':
      return { type, owner: readOrigin(input), buckets: readDigests(input) }
    case 'orphans-want':
      return { type, owner: readOrigin(input), buckets: listOf(input, BUCKETS, () => readBucket(input)) }
    case 'orphans': {
      const owner = readOrigin(input)
      return {
        type,
        owner,
        bucket: readBucket(input),
        last: readFlag(input),
        atoms: listOf(input, MOST_ATOMS, () => readAtom(input, owner)),
      }
    }
    case 'taken':
      return { type, bucket: readBucket(input) }
    case 'give-back':
      return { type, atoms: listOf(input, MOST_ATOMS, () => readAtom(input, from)) }
  }
}

const readOp = (input: ByteReader, from: Origin): AtomOp => {
  const op = OPS[input.u8()]
  if (op === undefined) return badHealth('an unknown operation')
  if (op === 'forget') return { op, key: readKey(input), generation: input.u64() }
  return { op, atom: readAtom(input, from) }
}

const readBucket = (input: ByteReader): number => {
  const bucket = input.u16()
  return bucket < BUCKETS ? bucket : badHealth(`no bucket ${bucket}`)
}

const readFlag = (input: ByteReader): boolean => {
  const flag = input.u8()
  return flag <= 1 ? flag === 1 : badHealth(`a flag of ${flag}`)
}

const writeDigest = (out: ByteWriter, { count, sum }: SetDigest): void => {
  out.u32(count, 'a count')
  out.u32(sum, 'a sum')
}

const readDigest = (input: ByteReader): SetDigest => ({ count: input.u32(), sum: input.u32() })

const writeDigests = (out: ByteWriter, buckets: readonly BucketDigest[]): void =>
  list(out, buckets, BUCKETS, digest => {
    out.u16(digest.bucket, 'a bucket')
    writeDigest(out, digest)
  })

const readDigests = (input: ByteReader): BucketDigest[] =>
  listOf(input, BUCKETS, () => ({ bucket: readBucket(input), ...readDigest(input) }))

const list = <T>(out: ByteWriter, items: readonly T[], most: number, write: (item: T) => void): void => {
  if (items.length > most) throw new RangeError(`${items.length} in a list of at most ${most}`)
  out.u16(items.length, 'a count')
  for (const item of items) write(item)
}

const listOf = <T>(input: ByteReader, most: number, readItem: () => T): T[] => {
  const count = input.u16()
  // Each takes a byte at least: a short message cannot ask for much memory.
  if (count > most || count > input.left) badHealth(`a list of ${count}`)
  const items: T[] = []
  for (let i = 0; i < count; i++) items.push(readItem())
  return items
}
