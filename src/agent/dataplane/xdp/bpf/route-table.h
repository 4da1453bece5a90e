/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The route table (R-A3): look-up, insertion, change and removal of routes without locks, by the kernel's programs on all
 * processors and by the agent (route-table.ts) at once. Each key has two buckets. The rules that keep them right:
 *
 *  1. A free slot is claimed by compare-and-exchange on `value`, which sets USED and raises `reuse`. The key is published last.
 *  2. Whoever exchanges a key for 0 owns the slot, and either frees its value or puts the next one in.
 *  3. A reader reads value, key (and address), value: if both values are the same but for the stamp, what it read is of one owner.
 *  4. A route moves from its first bucket to its second only, the copy first; readers look at the first, then at the second.
 *  5. A change goes to every copy, the first bucket's first. A move whose original changed meanwhile is taken back.
 *  6. Who inserts looks again after publishing; of two with one key at most one stays. None is a miss, and a miss is no error.
 *
 * A look-up never answers another key's route, and misses none that is there all the time. What the rules leave open, because it
 * would cost every writer a lock: when two move one route at once, an older value of it may be seen for the moment until the second
 * takes its copy back; a route that is inserted by two, changed and moved in the same moment may stand twice until it is removed. Its
 * identifiers still belong to that one flow.
 *
 * In a BPF program, use each of the operations that write at one place only: the verifier looks at 30,000 to 60,000 instructions for an
 * insertion, and gives up at a million. Better still, a program of their own, reached by a tail call.
 *
 * Compiles for BPF (clang -mcpu=v3) and for user space. Its parts: route-layout.h (what lies in memory), route-access.h (one
 * access to it), route-key.h (which buckets), route-entry.h (steps on one bucket).
 */
#ifndef SHUNT_ROUTE_TABLE_H
#define SHUNT_ROUTE_TABLE_H

#include "route-entry.h"

/* What an operation came to. Append only: counters stand in this order. */
enum route_result {
	ROUTE_BUSY = 0,     /* others were faster, several times: try again, or treat as a miss */
	ROUTE_INSERTED = 1,
	ROUTE_KICKED = 2,   /* inserted; another route has moved to its second bucket */
	ROUTE_EVICTED = 3,  /* inserted; the outcome's victim has gone */
	ROUTE_EXISTS = 4,   /* the key has a route already: the outcome's `existing` */
	ROUTE_FULL = 5,     /* both buckets hold pinned routes only */
	ROUTE_UPDATED = 6,
	ROUTE_STALE = 7,    /* the route is of a newer generation */
	ROUTE_MISSING = 8,
	ROUTE_REMOVED = 9,
	ROUTE_RESULTS = 10,
};

/* One processor's counters. */
struct route_stats {
	__u64 results[16];
};

struct route_outcome {
	__u64 existing;
	/* The evicted route; value 0: none. Its identifier must rest before it is used again. */
	__u64 victim_key, victim_value;
	struct route_client victim_client;
};

ROUTE_INLINE void route_count(struct route_stats *stats, int result)
{
	stats->results[result & 15]++;
}

/* The value of the key's route, and its entry for route_touch; 0: a miss. */
ROUTE_INLINE __u64 route_find(const struct route_table *t, const struct route_key *k, struct route_entry **entry)
{
	__u64 last = 0;
	struct route_bucket *b = route_bucket_at(t, k->first), *c = route_bucket_at(t, k->second);
	if (!b || !c)
		return 0;
	/* Both lines are under way before either is needed. */
	__u64 early = ROUTE_LOAD(&c->entries[0].key);
	asm volatile("" : "+r"(early));
	__u64 value = route_scan(t, b, k, entry, &last);
	if (value)
		return value;
	return route_scan(t, ROUTE_AFTER(c, last), k, entry, &last);
}

/* A packet passed at tick `now`. A plain store, at most one a tick: should the slot have changed hands, it makes that route younger by a little. */
ROUTE_INLINE void route_touch(struct route_entry *entry, __u64 value, __u16 now)
{
	if ((__u16)(value >> ROUTE_STAMP_SHIFT) != now)
		ROUTE_STAMP((char *)&entry->value + ROUTE_STAMP_SHIFT / 8, now);
}

/*
 * Gives a key that has none a route. `value` is of route_value(), its identifier no other route's. Answers INSERTED, KICKED, EVICTED, EXISTS,
 * FULL or BUSY. A victim may have gone with EXISTS and BUSY as well. Before its identifier is used again its key is looked up: a move that
 * was taken back may have left it where it was.
 */
ROUTE_INLINE int route_insert(const struct route_table *t, const struct route_key *k, __u64 value, __u16 now, struct route_outcome *out)
{
	struct route_entry *e;
	struct route_bucket *first = route_bucket_at(t, k->first), *second = route_bucket_at(t, k->second);
	out->existing = out->victim_key = out->victim_value = 0;
	if (!first || !second)
		return ROUTE_BUSY;
	out->existing = route_find(t, k, &e);
	if (out->existing)
		return ROUTE_EXISTS;

	int result = ROUTE_INSERTED;
	value = (value & ROUTE_CONTENT_MASK) | ROUTE_USED | (__u64)now << ROUTE_STAMP_SHIFT;
	struct route_bucket *b = first;
	__u32 i = route_claim(b, value);
	if (i == ROUTE_WAYS)
		i = route_claim(b = second, value);
	if (i == ROUTE_WAYS) {
		result = ROUTE_KICKED;
		i = route_kick(t, b = first, k->first, value);
	}
	if (i == ROUTE_WAYS)
		i = route_kick(t, b = second, k->second, value);
	if (i == ROUTE_WAYS) {
		struct route_key victim = {};
		__u32 worst = 0;
		result = ROUTE_EVICTED;
		i = route_oldest(t, b = first, now, &worst, &victim);
		__u32 j = route_oldest(t, second, now, &worst, &victim);
		if (j != ROUTE_WAYS) {
			b = second;
			i = j;
		}
		if (i == ROUTE_WAYS)
			return ROUTE_FULL;
		e = route_entry_at(b, i);
		if (ROUTE_CAS(&e->key, victim.key, 0) != victim.key)
			return ROUTE_BUSY;
		out->victim_key = victim.key;
		out->victim_client = victim.client;
		out->victim_value = ROUTE_SWAP(&e->value, route_next_owner(ROUTE_LOAD(&e->value), value));
	}
	e = route_entry_at(b, i);
	__u64 own = ROUTE_LOAD(&e->value) & ROUTE_OWNER_MASK;
	route_publish(t, b, i, k);

	out->existing = route_twin(t, first, k, e, value);
	if (!out->existing)
		out->existing = route_twin(t, second, k, e, value);
	if (!out->existing)
		return result;
	if ((ROUTE_LOAD(&e->value) & ROUTE_OWNER_MASK) == own && ROUTE_CAS(&e->key, k->key, 0) == k->key) {
		route_free(e);
	} else {
		route_withdraw(t, first, k, value);
		route_withdraw(t, second, k, value);
	}
	return out->existing & ROUTE_CONTENT_MASK ? ROUTE_EXISTS : ROUTE_BUSY;
}

/* Rule 5, in one bucket: those bits of `mask` become those of `bits`. */
ROUTE_INLINE int route_change_in(const struct route_table *t, struct route_bucket *b, const struct route_key *k, __u64 mask, __u64 bits, int result)
{
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		ROUTE_NO_UNROLL
		for (__u32 tries = 0; tries < ROUTE_TRIES; tries++) {
			__u64 was = route_read_once(t, b, i, k);
			if (!was)
				break;
			if (was & ROUTE_USED && mask & ROUTE_GENERATION_MASK && ((route_generation(bits) - route_generation(was)) & 63) > 31) {
				if (result == ROUTE_MISSING)
					result = ROUTE_STALE;
				break;
			}
			if (was & ROUTE_USED && ROUTE_CAS(&e->value, was, (was & ~mask) | (bits & mask)) == was) {
				result = ROUTE_UPDATED;
				break;
			}
			if (tries == ROUTE_TRIES - 1)
				result = ROUTE_BUSY;
		}
	}
	return result;
}

ROUTE_INLINE int route_change(const struct route_table *t, const struct route_key *k, __u64 mask, __u64 bits)
{
	struct route_bucket *first = route_bucket_at(t, k->first), *second = route_bucket_at(t, k->second);
	if (!first || !second)
		return ROUTE_BUSY;
	int result = route_change_in(t, first, k, mask, bits, ROUTE_MISSING);
	return route_change_in(t, second, k, mask, bits, result);
}

/* Another value in the place of the route's, unless that is of a newer generation: UPDATED, STALE, MISSING or BUSY. */
ROUTE_INLINE int route_update(const struct route_table *t, const struct route_key *k, __u64 value)
{
	return route_change(t, k, ROUTE_CONTENT_MASK, value);
}

/* Another state, all else as it is: UPDATED, MISSING or BUSY. */
ROUTE_INLINE int route_set_state(const struct route_table *t, const struct route_key *k, __u32 state)
{
	return route_change(t, k, ROUTE_STATE_MASK, (__u64)state << ROUTE_STATE_SHIFT);
}

ROUTE_INLINE int route_remove_in(const struct route_table *t, struct route_bucket *b, const struct route_key *k, int result, __u64 *value)
{
	ROUTE_NO_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		__u64 was = route_read_once(t, b, i, k);
		if (!was || ROUTE_CAS(&e->key, k->key, 0) != k->key)
			continue;
		if (result == ROUTE_MISSING)
			*value = ROUTE_LOAD(&e->value);
		route_free(e);
		result = ROUTE_REMOVED;
	}
	return result;
}

/* REMOVED, with the value that the route had, or MISSING. */
ROUTE_INLINE int route_remove(const struct route_table *t, const struct route_key *k, __u64 *value)
{
	struct route_bucket *first = route_bucket_at(t, k->first), *second = route_bucket_at(t, k->second);
	if (!first || !second)
		return ROUTE_MISSING;
	int result = route_remove_in(t, first, k, ROUTE_MISSING, value);
	return route_remove_in(t, second, k, result, value);
}

/*
 * The handshake's ACK (decision 8): the embryonic flow becomes a young route, and is in one table at least at any time. `from` and `to` are its
 * keys in the two tables. MISSING: there is no such flow; otherwise as route_insert, and with FULL and BUSY the flow stays embryonic.
 */
ROUTE_INLINE int route_promote(const struct route_table *embryonic, const struct route_key *from, const struct route_table *routes, const struct route_key *to, __u16 now,
			       struct route_outcome *out)
{
	struct route_entry *e;
	__u64 value = route_find(embryonic, from, &e), ignored;
	if (!value) {
		out->existing = out->victim_key = out->victim_value = 0;
		return ROUTE_MISSING;
	}
	value = (value & ~ROUTE_STATE_MASK) | (__u64)ROUTE_YOUNG << ROUTE_STATE_SHIFT;
	int result = route_insert(routes, to, value, now, out);
	if (result != ROUTE_FULL && result != ROUTE_BUSY)
		route_remove(embryonic, from, &ignored);
	return result;
}

#endif
