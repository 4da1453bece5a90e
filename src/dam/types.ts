/**
 * Atoms (R-C4): what all load balancing units together know of sessions and routes. An atom is replaced whole or not at all, so everything
 * here takes and gives whole ones.
 */

/** Words of a key. The top byte of the last one is its kind, so that keys of different kinds never meet. */
export const KEY_WORDS = 10

/** Kinds of keys (R-C2). What the other words mean is the kind's; unused ones are 0. */
export const ATOM_KIND = {
  /** A flow key: client (4 words), VIP (4), ports, IP protocol. */
  flow: 1,
  /** Client address under its prefix (4 words), VIP (4), VIP's port, IP protocol. */
  clientAddress: 2,
} as const

/** Every member keeps a copy. */
export const FULL = 15

/** Copies besides the owner's: 0..14, or FULL (R-C5). */
export type Level = number

/** One life of one member: what it knew ends with it. */
export interface Origin {
  readonly member: string
  /** Raised at each start that begins with an empty table. */
  readonly incarnation: number
}

export interface Atom {
  /** KEY_WORDS words. */
  readonly key: Uint32Array
  /** Whose session it is: a number that names a host in the whole cluster. */
  readonly host: number
  /** Newer ones replace older ones: see order.ts. A whole number below 2^53. */
  readonly generation: number
  /** Ended: kept for the protocol's dead time, so that late packets still find the host (R-C6). */
  readonly zombie: boolean
  readonly level: Level
  /** Who answers for it: adds, ends, and replicates it. */
  readonly owner: Origin
  /** Whose it was before members took it over for one that they believed dead; else the owner itself. */
  readonly home: Origin
}

/** A live load balancing unit. */
export interface Member extends Origin {
  /** Of its name; the same everywhere. */
  readonly hash: number
  /** It hands over what it has, and gets nothing new. */
  readonly leaving?: boolean
}

/** Digest of a set of atoms: how many, and the sum of their hashes. */
export interface SetDigest {
  readonly count: number
  readonly sum: number
}

export interface BucketDigest extends SetDigest {
  readonly bucket: number
}

/** Atoms of one message, keys of one query. */
export const MOST_ATOMS = 2_048
export const MOST_KEYS = 256

/** An operation of a batch, in order. */
export type AtomOp =
  | { readonly op: 'add'; readonly atom: Atom }
  /** For the earlier owner of the key: it is the sender's now. The receiver is not asked to keep a copy. */
  | { readonly op: 'tell'; readonly atom: Atom }
  /** The sender no longer asks for a copy of the key that it owned in this generation or an earlier one; nothing has ended. */
  | { readonly op: 'forget'; readonly key: Uint32Array; readonly generation: number }

export type DamMessage =
  /** Of the sender's own atoms. AddAtom, and DeleteAtom (an atom that is a zombie). */
  | { readonly type: 'batch'; readonly sequence: number; readonly ops: readonly AtomOp[] }
  /** Batches up to `sequence` have been followed. */
  | { readonly type: 'ack'; readonly sequence: number }
  /** QueryAtom. */
  | { readonly type: 'query'; readonly id: number; readonly keys: readonly Uint32Array[] }
  /** ReturnAtom: those of the keys that are there. */
  | { readonly type: 'return'; readonly id: number; readonly atoms: readonly Atom[] }
  /** Another member's version of these keys, once the receiver's, is newer. */
  | { readonly type: 'outdated'; readonly owner: Origin; readonly keys: readonly Uint32Array[] }
  /** What the receiver should hold of the sender's atoms now. */
  | { readonly type: 'sync'; readonly sequence: number; readonly all: SetDigest }
  /** It does, and so it has followed everything up to `sequence`. */
  | { readonly type: 'same'; readonly sequence: number }
  /** What it holds instead, by bucket. */
  | { readonly type: 'differs'; readonly buckets: readonly BucketDigest[] }
  /** All that the receiver should hold of the sender's atoms in a bucket, in one part or several; other ones of the sender's it drops. */
  | {
      readonly type: 'bucket'
      readonly bucket: number
      readonly last: boolean
      readonly atoms: readonly Atom[]
    }
  /** What the sender holds of the atoms of an owner that is gone, for the one that has to take them over. */
  | { readonly type: 'orphans-here'; readonly owner: Origin; readonly buckets: readonly BucketDigest[] }
  | { readonly type: 'orphans-want'; readonly owner: Origin; readonly buckets: readonly number[] }
  | {
      readonly type: 'orphans'
      readonly owner: Origin
      readonly bucket: number
      readonly last: boolean
      readonly atoms: readonly Atom[]
    }
  /** The sender of 'orphans' was the owner, which leaves: they have another owner now. */
  | { readonly type: 'taken'; readonly bucket: number }
  /** Atoms that the sender kept while the receiver, whose they were, seemed dead. */
  | { readonly type: 'give-back'; readonly atoms: readonly Atom[] }
