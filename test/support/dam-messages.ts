/** Messages of the atom manager at random, for properties. */
import fc from 'fast-check'
import { BUCKETS } from '../../src/dam/location.ts'
import { ATOM_KIND, type Atom, type AtomOp, type DamMessage, type Origin } from '../../src/dam/types.ts'

/** Plain objects, as the decoder makes them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>

const u32 = fc.nat(0xffff_ffff)
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
export const origin: fc.Arbitrary<Origin> = record({ member: name, incarnation: u32 })
const generation = fc.nat(Number.MAX_SAFE_INTEGER)
const bucket = fc.nat(BUCKETS - 1)

const ipv4Flow = fc
  .tuple(u32, u32, u32, fc.constantFrom(6, 17))
  .map(([client, vip, ports, protocol]) =>
    Uint32Array.of(0, 0, 0xffff, client, 0, 0, 0xffff, vip, ports, (ATOM_KIND.flow << 24) | protocol),
  )
const anyKey = fc
  .tuple(
    fc.array(u32, { minLength: 9, maxLength: 9 }),
    fc.constantFrom(...Object.values(ATOM_KIND)),
    fc.nat(255),
  )
  .map(([words, kind, protocol]) => Uint32Array.of(...words, (kind << 24) | protocol))
export const atomKey = fc.oneof(ipv4Flow, anyKey)

/** @param sender its atoms are as often its own as another one's */
const atomOf = (sender: Origin): fc.Arbitrary<Atom> =>
  record({
    key: atomKey,
    host: u32,
    generation,
    zombie: fc.boolean(),
    level: fc.nat(15),
    owner: fc.oneof(fc.constant(sender), origin),
    home: fc.oneof(fc.constant(sender), origin),
  })

const digest = { count: u32, sum: u32 }
const few = { maxLength: 6 }

export const damMessage = (sender: Origin): fc.Arbitrary<DamMessage> => {
  const atom = atomOf(sender)
  const atoms = fc.array(atom, few)
  const keys = fc.array(atomKey, few)
  const buckets = fc.array(record({ bucket, ...digest }), few)
  const op: fc.Arbitrary<AtomOp> = fc.oneof(
    record({ op: fc.constantFrom('add' as const, 'tell' as const), atom }),
    record({ op: fc.constant('forget' as const), key: atomKey, generation }),
  )
  const of = (
    type: DamMessage['type'],
    rest: Record<string, fc.Arbitrary<unknown>>,
  ): fc.Arbitrary<DamMessage> =>
    record({ type: fc.constant(type), ...rest }) as fc.Arbitrary<unknown> as fc.Arbitrary<DamMessage>
  return fc.oneof(
    of('batch', { sequence: u32, ops: fc.array(op, few) }),
    of('ack', { sequence: u32 }),
    of('query', { id: u32, keys }),
    of('return', { id: u32, atoms }),
    of('outdated', { owner: origin, keys }),
    of('sync', { sequence: u32, all: record(digest) }),
    of('same', { sequence: u32 }),
    of('differs', { buckets }),
    of('bucket', { bucket, last: fc.boolean(), atoms }),
    of('orphans-here', { owner: origin, buckets }),
    of('orphans-want', { owner: origin, buckets: fc.array(bucket, few) }),
    of('orphans', { owner: origin, bucket, last: fc.boolean(), atoms }),
    of('taken', { bucket }),
    of('give-back', { atoms }),
  )
}
