/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A host's mappings (R-E8): which client, and which service, a flow identifier of a forwarder stands for. The agent alone writes
 * (mapping-table.ts), by memory; the kernel's programs on all processors read at the same time, without locks, and set stamps.
 *
 *   header (128 bytes) | bucket | bucket | ...      one ARRAY map with BPF_F_MMAPABLE, one for each family of clients
 *
 * Buckets are those of route-layout.h: one cache line of four entries; for IPv6 an adjacent one with the clients' addresses. Each
 * mapping has two buckets, by a keyed hash of tunnel and identifier (route_key4); both lines are fetched at once.
 *
 *   key    63    60 59      56 55    48 47       32 31        0     identifier: the ports as they stand in the packet; 0: no mapping
 *         | reuse  |generation| tunnel |   stamp   | identifier |   tunnel: the agent's index of the tunnel address, 1..255
 *                                                                   generation: of the tunnel; the agent raises it with a new epoch, and
 *   value  63           48 47           32 31                 0     mappings of the one before are found no more (R-E8, decision 5)
 *         |   service    | client's port | client's IPv4 addr. |    stamp: tick of the last packet
 *                                                                   reuse: of the slot, from one owner to the next
 *
 * The rules that keep a look-up right:
 *  1. The agent takes a key out before it changes what belongs to it, and puts the key in last, `reuse` raised.
 *  2. A reader reads key, value (and address), key: if both keys are the same but for the stamp, what it read is that key's.
 *  3. A mapping moves from its first bucket to its second only, the copy first; readers look at the first, then at the second.
 * A look-up never answers another flow's client, and misses none that is there all the time. It costs one line or two, and stamps go
 * with a plain store: one that comes late makes the slot's next owner look younger by a little.
 *
 * Once the agent has taken a mapping out, no packet that arrives later is restored by it: what a later owner of the identifier sends
 * goes to nobody else's connection.
 *
 * Compiles for BPF and for user space. The agent's half: mapping-table.ts and its neighbours.
 */
#ifndef SHUNT_MAPPING_TABLE_H
#define SHUNT_MAPPING_TABLE_H

#include "route-entry.h"

#define MAPPING_MAGIC 0x504d5348u /* "HSMP" */
#define MAPPING_VERSION 1

#define MAPPING_STAMP_SHIFT 32
#define MAPPING_TUNNEL_SHIFT 48
#define MAPPING_GENERATION_SHIFT 56
#define MAPPING_STAMP_MASK (0xffffull << MAPPING_STAMP_SHIFT)
#define MAPPING_REUSE_MASK (15ull << 60)
/* What a look-up compares. */
#define MAPPING_KEY_MASK (~(MAPPING_STAMP_MASK | MAPPING_REUSE_MASK))

#define MAPPING_PORT_SHIFT 32
#define MAPPING_SERVICE_SHIFT 48

/* As they stand in packets. */
struct mapping {
	struct route_client client; /* IPv6 only */
	__u32 client4;
	__u16 port;
	__u16 service;
};

ROUTE_INLINE void mapping_place(const struct route_table *t, struct route_key *k, __u32 identifier, __u8 tunnel, __u8 generation)
{
	route_key4(t, k, identifier, tunnel, 0);
	k->key = identifier | (__u64)tunnel << MAPPING_TUNNEL_SHIFT | (__u64)(generation & 15) << MAPPING_GENERATION_SHIFT;
}

/* Rule 2: the word of entry `i`, with what belongs to it in `*m`, or 0 if the entry is not, or no longer, the key's. */
ROUTE_INLINE __u64 mapping_read(const struct route_table *t, struct route_bucket *b, __u32 i, __u64 wanted, struct mapping *m)
{
	struct route_entry *e = route_entry_at(b, i);
	__u64 before = ROUTE_LOAD(&e->key);
	ROUTE_NO_UNROLL
	for (__u32 tries = 0; tries < ROUTE_TRIES; tries++) {
		if ((before & MAPPING_KEY_MASK) != wanted)
			return 0;
		__u64 value = ROUTE_LOAD(ROUTE_AFTER(&e->value, before)), order = value;
		if (t->six) {
			struct route_client *client = ROUTE_AFTER(route_client_at(b, i), before);
			m->client.high = ROUTE_LOAD(&client->high);
			m->client.low = ROUTE_LOAD(&client->low);
			order ^= m->client.high ^ m->client.low;
		}
		m->client4 = value;
		m->port = value >> MAPPING_PORT_SHIFT;
		m->service = value >> MAPPING_SERVICE_SHIFT;
		__u64 after = ROUTE_LOAD(ROUTE_AFTER(&e->key, order));
		if (!((before ^ after) & ~MAPPING_STAMP_MASK))
			return after;
		before = after;
	}
	return 0;
}

/* The key's entry in one bucket: its word, or 0. Where there is none, `*last` depends on all of the bucket's keys. */
ROUTE_INLINE __u64 mapping_scan(const struct route_table *t, struct route_bucket *b, __u64 wanted, struct mapping *m, struct route_entry **entry, __u64 *last)
{
	__u32 i = 0;
	__u64 key = ROUTE_LOAD(&b->entries[0].key);
	*last = key;
	if ((key & MAPPING_KEY_MASK) != wanted) {
		*last |= key = ROUTE_LOAD(&b->entries[++i].key);
		if ((key & MAPPING_KEY_MASK) != wanted) {
			*last |= key = ROUTE_LOAD(&b->entries[++i].key);
			if ((key & MAPPING_KEY_MASK) != wanted) {
				*last |= key = ROUTE_LOAD(&b->entries[++i].key);
				if ((key & MAPPING_KEY_MASK) != wanted)
					return 0;
			}
		}
	}
	/* More than one turn: the entry changed hands. */
	ROUTE_NO_UNROLL
	for (; i < ROUTE_WAYS; i++) {
		__u64 word = mapping_read(t, b, i, wanted, m);
		if (word) {
			*entry = route_entry_at(b, i);
			return word;
		}
	}
	return 0;
}

/* The mapping of a tunnel's identifier, and its entry for mapping_touch; 0: a miss. Free slots are of tunnel 0, which is none. */
ROUTE_INLINE __u64 mapping_find(const struct route_table *t, __u32 identifier, __u8 tunnel, __u8 generation, struct mapping *m, struct route_entry **entry)
{
	struct route_key k;
	__u64 last = 0;
	mapping_place(t, &k, identifier, tunnel, generation);
	struct route_bucket *b = route_bucket_at(t, k.first), *c = route_bucket_at(t, k.second);
	if (!b || !c)
		return 0;
	/* Both lines are under way before either is needed. */
	__u64 early = ROUTE_LOAD(&c->entries[0].key);
	asm volatile("" : "+r"(early));
	__u64 word = mapping_scan(t, b, k.key, m, entry, &last);
	if (word)
		return word;
	return mapping_scan(t, ROUTE_AFTER(c, last), k.key, m, entry, &last);
}

/* A packet passed at tick `now`: at most one store a tick. */
ROUTE_INLINE void mapping_touch(struct route_entry *entry, __u64 word, __u16 now)
{
	if ((__u16)(word >> MAPPING_STAMP_SHIFT) != now)
		ROUTE_STAMP((char *)&entry->key + MAPPING_STAMP_SHIFT / 8, now);
}

#endif
