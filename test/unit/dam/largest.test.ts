/** The largest messages that the atom manager makes fit one frame of a link: lists have caps, names have theirs. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeDam } from '../../../src/dam/codec.ts'
import { ATOM_KIND, type Atom, type DamMessage, MOST_ATOMS, MOST_KEYS } from '../../../src/dam/types.ts'
import { encodeAtoms } from '../../../src/gossip/frames.ts'

const it = suite('atom manager: largest messages')

const NAME = 'n'.repeat(63)
const from = { member: NAME, incarnation: 2 ** 32 - 1 }
const other = { member: NAME, incarnation: 1 }
const third = { member: NAME, incarnation: 2 }

/** Of IPv6, the longest form. */
const atom = (owner: Atom['owner'], home: Atom['home']): Atom => ({
  key: Uint32Array.from({ length: 10 }, (_, i) => (i === 9 ? (ATOM_KIND.flow << 24) | 6 : 0x20010db8)),
  ...{ host: 1, generation: 2 ** 52, zombie: false, level: 15, owner, home },
})
const many = (owner: Atom['owner'], home: Atom['home'], count = MOST_ATOMS): Atom[] =>
  Array.from({ length: count }, () => atom(owner, home))

/** As many as an outbox puts together (outbox.ts). */
const OPS = 512

const LARGEST: DamMessage[] = [
  {
    ...{ type: 'batch', sequence: 1 },
    ops: many(other, third, OPS).map(each => ({ op: 'tell', atom: each })),
  },
  { type: 'bucket', bucket: 1, last: true, atoms: many(from, third) },
  { type: 'orphans', owner: other, bucket: 1, last: true, atoms: many(other, third) },
  { type: 'give-back', atoms: many(from, third) },
  { type: 'return', id: 1, atoms: many(other, third, MOST_KEYS) },
]

for (const message of LARGEST)
  it(`${message.type} fits`, () => {
    assert.ok(encodeAtoms(encodeDam(message, from)).length > 0)
  })

it.run()
