/**
 * Health messages (R-B5), each in a frame HEALTH of the kept stream, big-endian:
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-------------+-----------------------------------------------+
 * |Z| type        | body, by type; Z: deflated (RFC 1951) ...     |
 * +-+-------------+-----------------------------------------------+
 *
 * A *number* is 7 bits a byte, the low ones first, the top bit says that more follow; never longer than it need be, at most 35 bits.
 * *text* is a length byte and so much UTF-8. A *list* is a number, capped, and so many of what it says.
 *
 * HEARTBEAT (1):
 * +---------------------------------------------------------------+
 * | leader's generation, 0: the sender's own heartbeat            |
 * +---------------------------------------------------------------+
 * | list of entries; list of hosts that are gone, each a number: difference to the one before (from 0), at least 1
 * +---------------------------------------------------------------
 *   An entry: number, host's difference to the entry before (from 0), at least 1; number, difference of the beat to the entry before
 *   (from 0), d as 2d, -d as 2d - 1; token, 8 bytes; flags, 1 byte: 1 hello, 2 forward, 4 a DNS name follows; then that name, text.
 *
 * GOODBYE (2): host, u32; reason, text.
 *
 * ROW_CHANGE (3):
 * +---------------------------------------------------------------+
 * | host                                                          |
 * +---------------------------------------------------------------+
 * | instance of the table                                         |
 * +---------------------------------------------------------------+
 * | generation                                                    |
 * +---------------------------------------------------------------+
 * | anchor, 8 bytes                                               |
 * |                                                               |
 * +---------------------------------------------------------------+
 * | beat of the anchor                                            |
 * +---------------------------------------------------------------+
 * | list of operations: 1 and a row, 2 and a row's state, or 3 and a row's id (u32)
 * +---------------------------------------------------------------
 *
 * A row's state, 8 bytes, and a row, which goes on with the application:
 * +---------------------------------------------------------------+
 * | id, never 0                                                   |
 * +-------------+-----+---+---+---+---------------+---------------+
 * | zero        |cause|cur|tgt|hea| load          | capacity      |
 * +-------------+-+---+---+---+---+---------------+---------------+
 * | zero  |S|U|P|V| VIP, 4 bytes, or 16 if V ..., its port, u16; physical address, 4 bytes, or 16 if P ..., its port, u16;
 * +---------------+----------------                  U: UDP; S: the specific part follows, text
 *
 * GET_SNAPSHOT (4): host, u32; request, u32; nothing, or 16 digests, u32 each.
 *
 * SEND_SNAPSHOT (5): host, u32; request, u32; instance, generation, anchor and its beat as in ROW_CHANGE; beat, u32;
 *   time between beats in ms, u16, from 1; beats of a lease, u16, from 1; list of chunks: index, u8, ascending; list of rows,
 *   ascending by id, each in the chunk of its id; at most MAX_ROWS in all.
 *
 * POSTULATE (6): host, instance, generation and postulate, u32 each; list of a row's id, u32, and a state, u8.
 * POSTULATE_WRONG (7): host, u32; postulate, u32; list of ids, u32 each.
 * POSTULATE_RIGHT (8): host, u32; postulate, u32.
 * CLAIM (9): host, group and generation, u32 each.
 * SERVER_STATE (10): host, u32; connections, u32; CPU in hundredths of a percent, u16; bytes of memory, bytes free, bits a second,
 *   bits free, u64 each, to 2^53 - 1.
 *
 * Receiver: 1. refuse what is empty or above MAX_HEALTH_BYTES; 2. skip types above the known ones; 3. inflate, refusing above
 * MAX_BODY_BYTES; 4. decode, refusing numbers without a meaning, control characters, lists above their caps, bytes too few or too many.
 * Type numbers are append-only.
 */
import type { DirectiveCause, DirectiveState, Health, HealthMessage, RowOperation } from './types.ts'

export const TYPE = {
  heartbeat: 1,
  goodbye: 2,
  'row-change': 3,
  'get-snapshot': 4,
  'send-snapshot': 5,
  postulate: 6,
  'postulate-wrong': 7,
  'postulate-right': 8,
  claim: 9,
  'server-state': 10,
} as const satisfies Record<HealthMessage['type'], number>
export const LAST_TYPE: number = TYPE['server-state']
export const DEFLATED = 128

export const OPERATION = { add: 1, update: 2, delete: 3 } as const satisfies Record<
  RowOperation['operation'],
  number
>
/** By their numbers on the wire. */
export const HEALTHS: readonly Health[] = ['healthy', 'failing', 'unknown']
export const STATES: readonly DirectiveState[] = ['active', 'draining', 'inactive']
export const CAUSES: readonly DirectiveCause[] = ['default', 'health', 'overload', 'order', 'stopping']

export const ENTRY_HELLO = 1
export const ENTRY_FORWARD = 2
export const ENTRY_NAMED = 4
export const APP_IPV6_VIP = 1
export const APP_IPV6_PHYSICAL = 2
export const APP_UDP = 4
export const APP_SPECIFIC = 8

/** An encoded message, deflated or not. */
export const MAX_HEALTH_BYTES = 262_144
/** What one may inflate to: MAX_ROWS rows of the longest applications. */
export const MAX_BODY_BYTES = 1_048_576
/** Smaller bodies are not worth the try. */
export const DEFLATE_FROM_BYTES = 96
export const MAX_CAPACITY = 99
export const MAX_SPECIFIC_BYTES = 200
export const MAX_DNS_NAME_BYTES = 253
export const MAX_REASON_BYTES = 255

/** Characters that would let a peer write to a log or a terminal. */
export const CONTROL = /\p{C}/u
