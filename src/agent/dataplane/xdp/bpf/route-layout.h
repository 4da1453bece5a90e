/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a route table looks like in memory: shared by the kernel's programs, by the agent (route-layout.ts) and by tests.
 * Include after a header that has __u16, __u32 and __u64. Little-endian machines only, like the rest of the data plane.
 *
 *   header (128 bytes) | bucket | bucket | ...      one ARRAY map with BPF_F_MMAPABLE
 *
 * A bucket is one cache line of four entries; for IPv6 a second, adjacent one holds the clients' whole addresses.
 *
 *   key    63      48 47      32 31                             0     0: no route
 *         |  service | client's |  client's IPv4 address, or      |     as they stand in packets: no byte is swapped;
 *         |   1..    |   port   |  keyed fingerprint of an IPv6 one |     service: index of (VIP, port, protocol)
 *
 *   value  63 62 61 59 58 57      52 51   48 47       32 31        0
 *         |U |P |state|M |generation| reuse |   stamp   | identifier |
 *
 *   U used: the slot is taken.   P pinned: never evicted, never expires.   M mapped: the host knows the identifier.
 *   generation: of the route; a change by an older one is refused (serial numbers, RFC 1982).
 *   reuse: of the slot; differs from one owner to the next, which tells a reader that what it read belongs together.
 *   stamp: tick of the last packet; a tick's length is the agent's choice.
 *   identifier: of the flow; its top byte is the host's index (docs/ARCHITECTURE.md, decision 4).
 */
#ifndef SHUNT_ROUTE_LAYOUT_H
#define SHUNT_ROUTE_LAYOUT_H

#define ROUTE_MAGIC 0x54525348u /* "HSRT" */
#define ROUTE_VERSION 1
#define ROUTE_WAYS 4
#define ROUTE_HEADER_BYTES 128
/* The hash picks one of so many exactly, in C and in the agent's floating point alike. */
#define ROUTE_MAX_BUCKETS (1u << 21)

/* Longest time without a packet that a stamp tells from none, in ticks. */
#define ROUTE_MAX_AGE 0x7fff

#define ROUTE_USED (1ull << 63)
#define ROUTE_PINNED (1ull << 62)
#define ROUTE_MAPPED (1ull << 58)
#define ROUTE_STATE_SHIFT 59
#define ROUTE_STATE_MASK (7ull << ROUTE_STATE_SHIFT)
#define ROUTE_GENERATION_SHIFT 52
#define ROUTE_GENERATION_MASK (63ull << ROUTE_GENERATION_SHIFT)
#define ROUTE_REUSE_ONE (1ull << 48)
#define ROUTE_REUSE_MASK (15ull << 48)
#define ROUTE_STAMP_SHIFT 32
#define ROUTE_STAMP_MASK (0xffffull << ROUTE_STAMP_SHIFT)
#define ROUTE_IDENTIFIER_MASK 0xffffffffull
/* What a route says, whatever slot it is in and whenever it was used. */
#define ROUTE_CONTENT_MASK (~(ROUTE_USED | ROUTE_REUSE_MASK | ROUTE_STAMP_MASK))
/* Two reads of a value with these alike are of one owner. */
#define ROUTE_OWNER_MASK (ROUTE_USED | ROUTE_REUSE_MASK)

/* The table moves no route from one to another; it only evicts by them (route_rank). Append only. */
enum route_state {
	ROUTE_EMBRYONIC = 0,   /* a first packet was seen: only in a table of embryonic flows (decision 8) */
	ROUTE_YOUNG = 1,       /* the handshake's ACK was seen, which can be feigned */
	ROUTE_ESTABLISHED = 2, /* enough packets passed */
	ROUTE_FIN = 3,
	ROUTE_RESET = 4,       /* a hint: data after it restores the route */
	ROUTE_REOPENED = 5,    /* a SYN came while it closed */
	ROUTE_HELD = 6,        /* the agent has its packets: it holds some, or the flow is frozen for a migration */
};

struct route_entry {
	__u64 key;
	__u64 value;
};

struct route_bucket {
	struct route_entry entries[ROUTE_WAYS];
} __attribute__((aligned(64)));

struct route_client {
	__u64 high, low; /* as in the packet */
};

struct route_bucket6 {
	struct route_bucket bucket;
	struct route_client clients[ROUTE_WAYS];
} __attribute__((aligned(64)));

struct route_secret {
	__u64 add[6]; /* add[5] odd */
	__u64 mix[2]; /* odd */
};

/* So that another agent, or another version of it, finds the routes that it takes over. */
struct route_header {
	__u32 magic;
	__u32 version;
	__u32 family;  /* 4 or 6 */
	__u32 buckets; /* 2..ROUTE_MAX_BUCKETS */
	__u32 tick_shift; /* of the stamps, as in config.h; 0: of an earlier agent, whose was 27 */
	__u32 spare;
	__u64 reserved[5];
	struct route_secret secret;
};

_Static_assert(sizeof(struct route_bucket) == 64, "one cache line");
_Static_assert(sizeof(struct route_bucket6) == 128, "two cache lines");
_Static_assert(sizeof(struct route_header) == ROUTE_HEADER_BYTES, "the buckets begin at a cache line");

#endif
