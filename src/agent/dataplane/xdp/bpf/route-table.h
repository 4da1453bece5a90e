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
 * Compiles for BPF (clang -mcpu=v3) and for user space. All accesses to shared memory go through the five macros below, so that
 * a test may put a switch of threads at each.
 */
#ifndef SHUNT_ROUTE_TABLE_H
#define SHUNT_ROUTE_TABLE_H

#include "route-layout.h"

#define ROUTE_INLINE static inline __attribute__((always_inline, unused))

#ifndef ROUTE_LOAD
#define ROUTE_LOAD(p) (*(const volatile __typeof__(*(p)) *)(p))
#define ROUTE_STORE(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))
#define ROUTE_STAMP(p, v) (*(volatile __u16 *)(p) = (v))
#define ROUTE_CAS(p, was, is) __sync_val_compare_and_swap((p), (was), (is))
#define ROUTE_SWAP(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#endif

/* `p`, not to be read before `v` was: nothing to do on x86; a BPF program elsewhere makes the address depend on `v`. */
#if defined(__x86_64__) || defined(__TARGET_ARCH_x86)
#define ROUTE_AFTER(p, v) ({ asm volatile("" ::: "memory"); (p); })
#elif defined(__bpf__)
#define ROUTE_AFTER(p, v) ({ __u64 zero_ = (v); asm volatile("%0 &= 0" : "+r"(zero_)); (__typeof__(p))((char *)(p) + zero_); })
#else
#define ROUTE_AFTER(p, v) ({ __atomic_thread_fence(__ATOMIC_ACQUIRE); (p); })
#endif

#ifdef __clang__
#define ROUTE_UNROLL _Pragma("unroll")
#else
#define ROUTE_UNROLL
#endif

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

/* Pass the address of one built where it is used, all of it constant but `buckets`: it then costs nothing. */
struct route_table {
	void *map;
	const struct route_secret *secret;
	__u32 buckets;
	__u32 six; /* IPv6: buckets of two lines */
};

struct route_key {
	__u64 key;
	struct route_client client; /* IPv6 only */
	__u32 first, second;        /* buckets */
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

ROUTE_INLINE __u32 route_identifier(__u64 value) { return (__u32)value; }
ROUTE_INLINE __u32 route_host(__u64 value) { return (__u32)value >> 24; }
ROUTE_INLINE __u32 route_state(__u64 value) { return (value & ROUTE_STATE_MASK) >> ROUTE_STATE_SHIFT; }
ROUTE_INLINE __u32 route_generation(__u64 value) { return (value & ROUTE_GENERATION_MASK) >> ROUTE_GENERATION_SHIFT; }

/* Content of a value; flags: ROUTE_MAPPED, ROUTE_PINNED. */
ROUTE_INLINE __u64 route_value(__u32 identifier, __u32 state, __u32 generation, __u64 flags)
{
	return identifier | (__u64)(state & 7) << ROUTE_STATE_SHIFT | (__u64)(generation & 63) << ROUTE_GENERATION_SHIFT | flags;
}

/* Sums, products and halves of 64 bits under a secret: nobody outside can make keys that fall together. */
ROUTE_INLINE __u64 route_product(__u64 word, __u64 a, __u64 b) { return ((__u32)word + a) * ((word >> 32) + b); }

ROUTE_INLINE void route_place(const struct route_table *t, struct route_key *k, __u64 product)
{
	__u64 hash = product * t->secret->mix[0];
	hash ^= hash >> 32;
	k->first = (hash >> 32) * t->buckets >> 32;
	k->second = (hash & 0xffffffff) * t->buckets >> 32;
	if (k->second == k->first)
		k->second = k->first + 1 == t->buckets ? 0 : k->first + 1;
}

/* Address and port as they stand in the packet. */
ROUTE_INLINE void route_key4(const struct route_table *t, struct route_key *k, __u32 client, __u16 port, __u16 service)
{
	k->key = client | (__u64)port << 32 | (__u64)service << 48;
	k->client.high = k->client.low = 0;
	__u64 product = route_product(k->key, t->secret->add[0], t->secret->add[1]);
	route_place(t, k, product ^ product >> 32);
}

ROUTE_INLINE void route_key6(const struct route_table *t, struct route_key *k, __u64 high, __u64 low, __u16 port, __u16 service)
{
	const struct route_secret *s = t->secret;
	__u64 rest = port | (__u64)service << 16;
	__u64 product = route_product(high, s->add[0], s->add[1]) + route_product(low, s->add[2], s->add[3]) + (rest + s->add[4]) * s->add[5];
	product ^= product >> 32;
	k->key = product * s->mix[1] >> 32 | rest << 32;
	k->client.high = high;
	k->client.low = low;
	route_place(t, k, product);
}

/* The key of an entry that stands in a bucket already. */
ROUTE_INLINE void route_key_of(const struct route_table *t, struct route_key *k, __u64 key, const struct route_client *client)
{
	if (t->six)
		route_key6(t, k, client->high, client->low, key >> 32 & 0xffff, key >> 48);
	else
		route_key4(t, k, (__u32)key, key >> 32 & 0xffff, key >> 48);
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

/* Rule 3: the value of entry `i`, or 0 if the entry is not, or no longer, the key's. */
ROUTE_INLINE __u64 route_read(const struct route_table *t, struct route_bucket *b, __u32 i, const struct route_key *k)
{
	struct route_entry *e = route_entry_at(b, i);
	__u64 before = ROUTE_LOAD(&e->value), value = 0;
	__u64 owner = before & ROUTE_OWNER_MASK;
	for (__u32 tries = 0; tries < ROUTE_TRIES; tries++) {
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
	/* Changed again and again: fifteen owners in between would now go unseen. */
	return value & ROUTE_USED && (value & ROUTE_OWNER_MASK) == owner ? value : 0;
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
	return k->key == key ? route_read(t, b, i, k) : 0;
}

/* The key's entry in one bucket: its value, or 0. Loads `*last`, which the next bucket must not be read before. */
ROUTE_INLINE __u64 route_scan(const struct route_table *t, struct route_bucket *b, const struct route_key *k, struct route_entry **entry, __u64 *last)
{
	ROUTE_UNROLL
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		*last = ROUTE_LOAD(&b->entries[i].key);
		if (*last != k->key)
			continue;
		__u64 value = route_read(t, b, i, k);
		if (value) {
			*entry = &b->entries[i];
			return value;
		}
	}
	return 0;
}

/* The value of the key's route, and its entry for route_touch; 0: a miss. */
ROUTE_INLINE __u64 route_find(const struct route_table *t, const struct route_key *k, struct route_entry **entry)
{
	__u64 last = 0;
	struct route_bucket *b = route_bucket_at(t, k->first);
	if (!b)
		return 0;
	__u64 value = route_scan(t, b, k, entry, &last);
	if (value)
		return value;
	b = route_bucket_at(t, k->second);
	if (!b)
		return 0;
	return route_scan(t, ROUTE_AFTER(b, last), k, entry, &last);
}

/* A packet passed at tick `now`. A plain store, at most one a tick: should the slot have changed hands, it makes that route younger by a little. */
ROUTE_INLINE void route_touch(struct route_entry *entry, __u64 value, __u16 now)
{
	if ((__u16)(value >> ROUTE_STAMP_SHIFT) != now)
		ROUTE_STAMP((char *)&entry->value + ROUTE_STAMP_SHIFT / 8, now);
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
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		struct route_key k;
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
		__u64 is = route_read(t, b, i, &k);
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
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_key k;
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

/* Rule 6: whether another entry of the bucket has the key. Its value, or ROUTE_USED if it went meanwhile; 0: none. */
ROUTE_INLINE __u64 route_twin(const struct route_table *t, struct route_bucket *b, const struct route_key *k, const struct route_entry *own, __u64 value)
{
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		if (e == own || ROUTE_LOAD(&e->key) != k->key)
			continue;
		__u64 other = route_read(t, b, i, k);
		/* The own route, copied by one that moves it. */
		if (other && !((other ^ value) & ROUTE_IDENTIFIER_MASK))
			continue;
		if (other || !t->six)
			return other ? other : ROUTE_USED;
	}
	return 0;
}

/* Takes the own route out, that has been moved meanwhile. */
ROUTE_INLINE void route_withdraw(const struct route_table *t, struct route_bucket *b, const struct route_key *k, __u64 own)
{
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		__u64 value = route_read(t, b, i, k);
		if (value && !((value ^ own) & ROUTE_IDENTIFIER_MASK) && ROUTE_CAS(&e->key, k->key, 0) == k->key)
			route_free(e);
	}
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
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		for (__u32 tries = 0; tries < ROUTE_TRIES; tries++) {
			__u64 was = route_read(t, b, i, k);
			if (!was)
				break;
			if (mask & ROUTE_GENERATION_MASK && ((route_generation(bits) - route_generation(was)) & 63) > 31) {
				if (result == ROUTE_MISSING)
					result = ROUTE_STALE;
				break;
			}
			if (ROUTE_CAS(&e->value, was, (was & ~mask) | (bits & mask)) == was) {
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
	for (__u32 i = 0; i < ROUTE_WAYS; i++) {
		struct route_entry *e = route_entry_at(b, i);
		__u64 was = route_read(t, b, i, k);
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
