/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The steps on one bucket of a route table, under the rules of route-table.h. The agent's half: route-buckets.ts. */
#ifndef SHUNT_ROUTE_ENTRY_H
#define SHUNT_ROUTE_ENTRY_H

#include "route-key.h"

ROUTE_INLINE __u32 route_identifier(__u64 value) { return (__u32)value; }
ROUTE_INLINE __u32 route_host(__u64 value) { return (__u32)value >> 24; }
ROUTE_INLINE __u32 route_state(__u64 value) { return (value & ROUTE_STATE_MASK) >> ROUTE_STATE_SHIFT; }
ROUTE_INLINE __u32 route_generation(__u64 value) { return (value & ROUTE_GENERATION_MASK) >> ROUTE_GENERATION_SHIFT; }

/* Content of a value; flags: ROUTE_MAPPED, ROUTE_PINNED. */
ROUTE_INLINE __u64 route_value(__u32 identifier, __u32 state, __u32 generation, __u64 flags)
{
	return identifier | (__u64)(state & 7) << ROUTE_STATE_SHIFT | (__u64)(generation & 63) << ROUTE_GENERATION_SHIFT | flags;
}

#ifndef __bpf__
ROUTE_INLINE void *route_map_value(const struct route_table *t, __u32 index)
{
	return (char *)t->map + (__u64)index * (t->six ? sizeof(struct route_bucket6) : sizeof(struct route_bucket));
}
#endif

ROUTE_INLINE struct route_bucket *route_bucket_at(const struct route_table *t, __u32 bucket)
{
	__u32 index = bucket + ROUTE_HEADER_BYTES / (t->six ? sizeof(struct route_bucket6) : sizeof(struct route_bucket));
#ifdef __bpf__
	return bpf_map_lookup_elem(t->map, &index);
#else
	return route_map_value(t, index);
#endif
}

/* Only of a table with `six`. */
ROUTE_INLINE struct route_client *route_client_at(struct route_bucket *b, __u32 i)
{
	return &((struct route_bucket6 *)b)->clients[i & (ROUTE_WAYS - 1)];
}

ROUTE_INLINE struct route_entry *route_entry_at(struct route_bucket *b, __u32 i)
{
	return &b->entries[i & (ROUTE_WAYS - 1)];
}

#define ROUTE_TRIES 4

/* The entry is the key's, and what stands in it is being changed: no value, for USED is missing. */
#define ROUTE_CHANGING ROUTE_PINNED

/* Rule 3, up to so many times: a constant. */
ROUTE_INLINE __u64 route_read_tries(const struct route_table *t, struct route_bucket *b, __u32 i, const struct route_key *k, __u32 most)
{
	struct route_entry *e = route_entry_at(b, i);
	__u64 before = ROUTE_LOAD(&e->value), value = 0;
	__u64 owner = before & ROUTE_OWNER_MASK;
	ROUTE_NO_UNROLL
	for (__u32 tries = 0; tries < most; tries++) {
		__u64 order = ROUTE_LOAD(ROUTE_AFTER(&e->key, before));
		if (order != k->key)
			return 0;
		if (t->six) {
			struct route_client *client = ROUTE_AFTER(route_client_at(b, i), order);
			__u64 high = ROUTE_LOAD(&client->high), low = ROUTE_LOAD(&client->low);
			if (high != k->client.high || low != k->client.low)
				return 0;
			order = high ^ low;
		}
		value = ROUTE_LOAD(ROUTE_AFTER(&e->value, order));
		if (!((before ^ value) & ~ROUTE_STAMP_MASK))
			return value & ROUTE_USED ? value : 0;
		before = value;
	}
	if (!(value & ROUTE_USED) || (value & ROUTE_OWNER_MASK) != owner)
		return 0;
	/* After one change it may be sixteen owners later, and `reuse` what it was. Not after that many, each with the key in its place. */
	return most == 1 ? ROUTE_CHANGING : value;
}

/* The value of entry `i`, or 0 if the entry is not, or no longer, the key's. */
ROUTE_INLINE __u64 route_read(const struct route_table *t, struct route_bucket *b, __u32 i, const struct route_key *k)
{
	return route_read_tries(t, b, i, k, ROUTE_TRIES);
}

/* One try, a third of the work for the verifier, that may answer ROUTE_CHANGING too. */
ROUTE_INLINE __u64 route_read_once(const struct route_table *t, struct route_bucket *b, __u32 i, const struct route_key *k)
{
	return route_read_tries(t, b, i, k, 1);
}

/* Whatever route entry `i` holds: its value, and its key with both buckets; 0: none. */
ROUTE_INLINE __u64 route_read_any(const struct route_table *t, struct route_bucket *b, __u32 i, struct route_key *k)
{
	struct route_client client = {};
	__u64 key = ROUTE_LOAD(&route_entry_at(b, i)->key);
	if (!key)
		return 0;
	if (t->six) {
		client.high = ROUTE_LOAD(&ROUTE_AFTER(route_client_at(b, i), key)->high);
		client.low = ROUTE_LOAD(&route_client_at(b, i)->low);
	}
	route_key_of(t, k, key, &client);
	/* An address half of one route and half of the next does not give its key again. */
	__u64 value = k->key == key ? route_read_once(t, b, i, k) : 0;
	return value & ROUTE_USED ? value : 0;
}

/* The key's entry in one bucket: its value, or 0. Where there is none, `*last` depends on all of the bucket's keys. */
ROUTE_INLINE __u64 route_scan(const struct route_table *t, struct route_bucket *b, const struct route_key *k, struct route_entry **entry, __u64 *last)
{
	__u32 i = 0;
	__u64 key = ROUTE_LOAD(&b->entries[0].key);
	*last = key;
	if (key != k->key) {
		*last |= key = ROUTE_LOAD(&b->entries[++i].key);
		if (key != k->key) {
			*last |= key = ROUTE_LOAD(&b->entries[++i].key);
			if (key != k->key) {
				*last |= key = ROUTE_LOAD(&b->entries[++i].key);
				if (key != k->key)
					return 0;
			}
		}
	}
	/* More than one turn: the entry is another's with the same fingerprint, or changed hands. */
	ROUTE_NO_UNROLL
	for (; i < ROUTE_WAYS; i++) {
		__u64 value = route_read(t, b, i, k);
		if (value) {
			*entry = route_entry_at(b, i);
			return value;
		}
	}
	return 0;
}

ROUTE_INLINE __u64 route_next_owner(__u64 was, __u64 value)
{
	return (value & ~ROUTE_REUSE_MASK) | ((was + ROUTE_REUSE_ONE) & ROUTE_REUSE_MASK) | ROUTE_USED;
}

/* For who owns the slot (rule 2). */
ROUTE_INLINE void route_free(struct route_entry *e)
{
	ROUTE_STORE(&e->value, ROUTE_LOAD(&e->value) & ROUTE_REUSE_MASK);
}

/* Rule 1: the entry claimed, or ROUTE_WAYS. */
ROUTE_INLINE __u32 route_claim(struct route_bucket *b, __u64 value)
{
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		__u64 was = ROUTE_LOAD(&e->value);
		if (!(was & ROUTE_USED) && ROUTE_CAS(&e->value, was, route_next_owner(was, value)) == was)
			return i;
	}
	return ROUTE_WAYS;
}

ROUTE_INLINE void route_publish(const struct route_table *t, struct route_bucket *b, __u32 i, const struct route_key *k)
{
	if (t->six) {
		ROUTE_STORE(&route_client_at(b, i)->high, k->client.high);
		ROUTE_STORE(&route_client_at(b, i)->low, k->client.low);
	}
	ROUTE_SWAP(&route_entry_at(b, i)->key, k->key);
}

/* Rules 4 and 5: makes room in a bucket by moving one of its routes on. The entry, owned and with `value` in it, or ROUTE_WAYS. */
ROUTE_INLINE __u32 route_kick(const struct route_table *t, struct route_bucket *b, __u32 bucket, __u64 value)
{
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		struct route_key k = {};
		__u64 was = route_read_any(t, b, i, &k);
		if (!was || k.first != bucket)
			continue;
		struct route_bucket *other = route_bucket_at(t, k.second);
		if (!other)
			continue;
		__u32 j = route_claim(other, was);
		if (j == ROUTE_WAYS)
			continue;
		route_publish(t, other, j, &k);
		__u64 is = route_read_once(t, b, i, &k);
		if (!((was ^ is) & ~ROUTE_STAMP_MASK) && ROUTE_CAS(&e->key, k.key, 0) == k.key) {
			ROUTE_SWAP(&e->value, route_next_owner(ROUTE_LOAD(&e->value), value));
			return i;
		}
		if (ROUTE_CAS(&route_entry_at(other, j)->key, k.key, 0) == k.key)
			route_free(route_entry_at(other, j));
	}
	return ROUTE_WAYS;
}

/* Who goes first: closed routes, then unproven ones, then the others (FlowTable.victim). */
ROUTE_INLINE __u32 route_rank(__u64 value)
{
	return 0x11333122 >> route_state(value) * 4 & 15;
}

/* Ticks since the last packet. Processors' ticks may differ by one, so what seems to lie ahead is new. */
ROUTE_INLINE __u32 route_age(__u64 value, __u16 now)
{
	__u16 age = now - (value >> ROUTE_STAMP_SHIFT);
	return age > ROUTE_MAX_AGE ? 0 : age;
}

/* The entry of a bucket that is to go, with its key, if it is worse than `*worst`, or ROUTE_WAYS. */
ROUTE_INLINE __u32 route_oldest(const struct route_table *t, struct route_bucket *b, __u16 now, __u32 *worst, struct route_key *victim)
{
	__u32 found = ROUTE_WAYS;
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_key k = {};
		__u64 value = route_read_any(t, b, i, &k);
		__u32 badness = route_rank(value) << 16 | route_age(value, now);
		if (!value || value & ROUTE_PINNED || badness <= *worst)
			continue;
		*worst = badness;
		*victim = k;
		found = i;
	}
	return found;
}

/* Rule 6: whether another entry of the bucket has the key. Its value, or ROUTE_USED if it went or was changed meanwhile; 0: none. */
ROUTE_INLINE __u64 route_twin(const struct route_table *t, struct route_bucket *b, const struct route_key *k, const struct route_entry *own, __u64 value)
{
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		if (e == own || ROUTE_LOAD(&e->key) != k->key)
			continue;
		__u64 other = route_read_once(t, b, i, k);
		/* The own route, copied by one that moves it. */
		if (other & ROUTE_USED && !((other ^ value) & ROUTE_IDENTIFIER_MASK))
			continue;
		if (other || !t->six)
			return other & ROUTE_USED ? other : ROUTE_USED;
	}
	return 0;
}

/* Takes the own route out, that has been moved meanwhile. */
ROUTE_INLINE void route_withdraw(const struct route_table *t, struct route_bucket *b, const struct route_key *k, __u64 own)
{
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		__u64 value = route_read_once(t, b, i, k);
		if (value & ROUTE_USED && !((value ^ own) & ROUTE_IDENTIFIER_MASK) && ROUTE_CAS(&e->key, k->key, 0) == k->key)
			route_free(e);
	}
}

#endif
