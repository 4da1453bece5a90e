/**
 * Frames of the kept stream between two peers (architecture decision 9), big-endian:
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------------------------------------------------------+
 * | length of what follows, 1 to MAX_FRAME_BYTES                  |
 * +---------------+-----------------------------------------------+
 * | type          | body, by type ...                             |
 * +---------------+-----------------------------------------------+
 *
 * HELLO (1), the first frame in both directions; a newer version may append fields:
 * +-------------------------------+-------------------------------+
 * | lowest version spoken         | highest version spoken        |
 * +-------------------------------+-------------------------------+
 * | roles bitmask                 | epoch, high half              |
 * +-------------------------------+---------------+---------------+
 * | epoch, low half               | name length   | name (a-z0-9-), 1 to 63 bytes
 * +-------------------------------+---------------+----------------
 *
 * HEARTBEAT (2); HEARTBEAT_ECHO (3) has the same first three words and nothing more:
 * +---------------------------------------------------------------+
 * | sequence                                                      |
 * +---------------------------------------------------------------+
 * | sender's own clock in ms (IEEE 754 double, finite, >= 0),     |
 * | for the sender to recognise; it means nothing to the receiver |
 * +---------------+-----------------------------------------------+
 * | zero  |N|E|D|   D draining, E an echo is wanted, N no digest is told; then, on links from version 2 on:
 * +---------------+-----------------------------------------------+
 * | digest of the ledger, 8 bytes                                 |
 * |                                                               |
 * +---------------------------------------------------------------+
 * | revision of the cluster document in force, 0: none            |   on links from version 4 on also (digest 0 where N is set):
 * +-------------------------------+-------------------------------+
 * | the next one within so many ms|   a newer version may append fields
 * +-------------------------------+
 *
 * GOODBYE (4): one length byte, then a reason in UTF-8, 0 to 255 bytes.
 *
 * PLUMB (5), UNPLUMB (6), ENDED (7): u16 count, 1 to MAX_BATCH_RECORDS, then that many records (records.ts).
 *
 * LEDGER_LIST (8), LEDGER_WANT (9): u16 count, to MAX_LEDGER_HASHES (from 0, WANT from 1), then that many SHA-256 hashes, 32 bytes each.
 * LEDGER_ENTRIES (10): u16 count, 1 to MAX_LEDGER_ENTRIES, then for each a u32 length, 1 to MAX_ENTRY_BYTES, and so many bytes.
 *
 * HEALTH (11), on links from version 3 on: 1 to MAX_HEALTH_BODY_BYTES, opaque here (health/codec-format.ts).
 *
 * ATOMS (12), on links from version 5 on: 1 to MAX_ATOMS_BODY_BYTES, opaque here (dam/codec.ts).
 *
 * WHO_OWNS (13), on links from version 5 on: u32 number of the question, u16 count, 1 to MAX_OWNER_KEYS, then that many records without hosts.
 * OWNED (14), the answer: the number, the count, then a bit for each key in its order, the highest of the first byte first, 1: the sender holds
 * its socket; bits that are left over are 0.
 *
 * ATOM_MEMBER (15), before any ATOMS and again when it changes; a newer version may append fields:
 * +---------------------------------------------------------------+
 * | incarnation of the sender's atom table                        |
 * +---------------+-----------------------------------------------+
 * | zero        |L|   L it leaves
 * +---------------+
 *
 * Receiver: 1. wait for 4 bytes, refuse a length of 0 or above the cap; 2. wait for that many bytes;
 * 3. refuse type 0, skip and count types above the known ones (a newer peer's); 4. decode the body, refuse it
 * if it is shorter or (but for HELLO and a version 2 HEARTBEAT) longer than its content. After a refusal nothing on that stream can be
 * trusted, so it is closed. Type numbers are append-only.
 */
import type { Role } from '../config/schema.ts'
import type { FlowRecord } from './records.ts'

export const FRAME = {
  HELLO: 1,
  HEARTBEAT: 2,
  HEARTBEAT_ECHO: 3,
  GOODBYE: 4,
  PLUMB: 5,
  UNPLUMB: 6,
  ENDED: 7,
  LEDGER_LIST: 8,
  LEDGER_WANT: 9,
  LEDGER_ENTRIES: 10,
  HEALTH: 11,
  ATOMS: 12,
  WHO_OWNS: 13,
  OWNED: 14,
  ATOM_MEMBER: 15,
} as const
export const LAST_TYPE: number = FRAME.ATOM_MEMBER

/** The versions of this protocol that this program speaks, both inclusive. */
export const MIN_VERSION = 1
export const MAX_VERSION = 5
/** From this version on a HEARTBEAT carries the digest. */
export const DIGEST_VERSION = 2
/** From this version on there are HEALTH frames; an older peer would skip them. */
export const HEALTH_VERSION = 3
/** From this version on a HEARTBEAT says within what time the next one follows; peers of an older one expect LIVENESS.heartbeatMs. */
export const PACE_VERSION = 4
/** From this version on hosts are asked who owns a socket. */
export const OWNERS_VERSION = 5
/** From this version on there are ATOM_MEMBER and ATOMS frames; peers of an older one are no members of the atom manager. */
export const ATOMS_VERSION = 5

export const LENGTH_BYTES = 4
export const MAX_FRAME_BYTES = 320 * 1024
export const MAX_BATCH_RECORDS = 4096
export const MAX_REASON_BYTES = 255
export const HASH_BYTES = 32
export const MAX_LEDGER_HASHES = 8192
export const MAX_LEDGER_ENTRIES = 1024
export const MAX_ENTRY_BYTES = 196_608
export const MAX_HEALTH_BODY_BYTES = 262_144
export const MAX_OWNER_KEYS = 256
export const MAX_ATOMS_BODY_BYTES = 262_144
export const NAME_PATTERN = /^[a-z0-9-]{1,63}$/

export const HELLO_FIXED_BYTES = 2 + 2 + 2 + 4 + 1
export const ECHO_BYTES = 4 + 8
export const HEARTBEAT_BYTES = ECHO_BYTES + 1
export const DIGEST_BYTES = 8 + 4
export const FLAG_DRAINING = 1
export const NEXT_BYTES = 2
export const FLAG_WANTS_ECHO = 2
export const FLAG_NO_DIGEST = 4
export const ATOM_MEMBER_BYTES = 4 + 1
export const FLAG_LEAVING = 1

/** `roles` is a bitmask (roles.ts); `epoch` a u32. */
export interface Hello {
  minVersion: number
  maxVersion: number
  name: string
  roles: number
  epoch: number
}
/** What a node knows of the cluster: digest of its ledger (u64), revision of the document in force there (u32). */
export interface Knowledge {
  digest: bigint
  revision: number
}
/**
 * `sequence` is a u32; `sentMs` the sender's own clock. `knowledge` needs a link of version 2 or later; `nextMs` (u16, the longest time
 * to the next heartbeat) one of version 4 or later.
 */
export interface Heartbeat {
  sequence: number
  sentMs: number
  draining: boolean
  wantsEcho: boolean
  knowledge?: Knowledge
  nextMs?: number
}
export type HeartbeatEcho = Pick<Heartbeat, 'sequence' | 'sentMs'>

export type HelloFrame = { type: 'hello' } & Hello
export type HeartbeatFrame = { type: 'heartbeat' } & Heartbeat
export type EchoFrame = { type: 'heartbeat-echo' } & HeartbeatEcho
export type GoodbyeFrame = { type: 'goodbye'; reason: string }
export type BatchType = 'plumb' | 'unplumb' | 'ended'
export type BatchFrame = { type: BatchType; records: FlowRecord[] }
/** Hashes in lowercase hexadecimal. */
export type LedgerHashesFrame = { type: 'ledger-list' | 'ledger-want'; hashes: string[] }
export type LedgerEntriesFrame = { type: 'ledger-entries'; entries: Uint8Array[] }
export type LedgerFrame = LedgerHashesFrame | LedgerEntriesFrame
/** A health message as it came, not decoded. */
export type HealthFrame = { type: 'health'; body: Uint8Array }
/** Flow keys of ten words. */
export type WhoOwnsFrame = { type: 'who-owns'; id: number; keys: Uint32Array[] }
export type OwnedFrame = { type: 'owned'; id: number; owned: boolean[] }
/** `incarnation` is a u32. */
export interface AtomMember {
  incarnation: number
  leaving: boolean
}
export type AtomMemberFrame = { type: 'atom-member' } & AtomMember
/** A message of the atom manager as it came, not decoded. */
export type AtomsFrame = { type: 'atoms'; body: Uint8Array }
export type DecodedFrame =
  | HelloFrame
  | HeartbeatFrame
  | EchoFrame
  | GoodbyeFrame
  | BatchFrame
  | LedgerFrame
  | HealthFrame
  | WhoOwnsFrame
  | OwnedFrame
  | AtomMemberFrame
  | AtomsFrame

/** Of these roles the sender of a frame needs one (R-A3, architecture decision 9). */
export const SENDER_ROLES: Readonly<Partial<Record<DecodedFrame['type'], readonly Role[]>>> = {
  plumb: ['classifier'],
  unplumb: ['classifier'],
  ended: ['forwarder'],
  'who-owns': ['forwarder', 'classifier'],
  owned: ['host'],
}

/** Versions of a link from which on there are frames of these types. */
export const TYPE_VERSION: Readonly<Record<number, number>> = {
  [FRAME.HEALTH]: HEALTH_VERSION,
  [FRAME.ATOMS]: ATOMS_VERSION,
  [FRAME.ATOM_MEMBER]: ATOMS_VERSION,
  [FRAME.WHO_OWNS]: OWNERS_VERSION,
  [FRAME.OWNED]: OWNERS_VERSION,
}

/** Roles of which a member of the atom manager has one: its frames go only to and from those (R-C4). */
export const ATOM_ROLES: readonly Role[] = ['forwarder', 'classifier']
