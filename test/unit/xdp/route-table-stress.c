/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Many at a time on one small route table; what any of them sees that must not be, is counted and makes the exit status 1.
 *
 *   stress schedules FAMILY COUNT [collide]   seeded interleavings: four fibers, that take turns at any access to the table
 *   stress threads FAMILY MILLISECONDS        four threads of the processor's own interleaving
 *
 * Kept routes are inserted first, are pinned and never removed, while other keys come and go around them. Seen must be
 *   wrong: a route of another key.                 lost: no route for a kept key.
 *   back: a kept route's generation below one that an update had ended with, before the look-up began.
 *   untidy: at the end, a key twice, or in a bucket that is not its own, or a slot claimed for ever.
 */
#define _GNU_SOURCE
#include <linux/types.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

static void turn(void);
#define ROUTE_LOAD(p) ({ turn(); *(const volatile __typeof__(*(p)) *)(p); })
#define ROUTE_STORE(p, v) ({ __typeof__(*(p)) v_ = (v); turn(); *(volatile __typeof__(*(p)) *)(p) = v_; })
#define ROUTE_STAMP(p, v) ({ turn(); *(volatile __u16 *)(p) = (v); })
#define ROUTE_CAS(p, was, is) ({ __u64 is_ = (is); turn(); __sync_val_compare_and_swap((p), (was), is_); })
#define ROUTE_SWAP(p, v) ({ __u64 v_ = (v); turn(); __atomic_exchange_n((p), v_, __ATOMIC_SEQ_CST); })
#include "route-table.h"

#define WORKERS 4
#define KEPT 3
#define MAX_KEYS 64
#define MAX_BUCKETS 16

static struct route_table table;
static struct route_secret secret;
static struct route_bucket6 memory[MAX_BUCKETS + 1];
static struct route_key keys[MAX_KEYS];
static __u32 key_count, kept;
/* Of each kept key: the newest generation asked for, and the newest that an update has ended with. */
static __u32 asked[KEPT], confirmed[KEPT];
static __u64 wrong, lost, back, untidy, reads, inserted, kicked, evicted, updated, removed;
static __u32 identifiers;
static volatile __u32 ticks;

/* ---- fibers ---- */
static int fibers;
static ucontext_t contexts[WORKERS], home;
static int current, alive;
static char finished[WORKERS], stacks[WORKERS][65536];
static __thread __u64 random_state;

static __u32 random_below(__u32 n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (__u32)(random_state >> 33) % n;
}

/* Some runs last and some are short: a fiber must stand still while others do a lot. */
static void turn(void)
{
	static __u32 stay;
	if (!fibers) {
		if (random_below(512) == 0)
			sched_yield();
		return;
	}
	if (alive < 2 || stay-- > 0)
		return;
	stay = random_below(8) ? random_below(4) : random_below(160);
	int was = current, next;
	do
		next = random_below(WORKERS);
	while (finished[next]);
	if (next == was)
		return;
	current = next;
	swapcontext(&contexts[was], &contexts[next]);
}

/* ---- what each does ---- */
static void count(__u64 *what) { __atomic_add_fetch(what, 1, __ATOMIC_RELAXED); }

static void look(__u32 n)
{
	struct route_entry *e;
	__u32 least = n < kept ? __atomic_load_n(&confirmed[n], __ATOMIC_SEQ_CST) : 0;
	__u64 value = route_find(&table, &keys[n], &e);
	count(&reads);
	if (!value) {
		if (n < kept)
			count(&lost);
		return;
	}
	if (route_identifier(value) >> 16 != n)
		count(&wrong);
	else if (n < kept && ((route_generation(value) - least) & 63) > 31)
		count(&back);
	if (random_below(4) == 0)
		route_touch(e, value, random_below(3));
}

static __u32 new_identifier(__u32 n) { return n << 16 | (__atomic_add_fetch(&identifiers, 1, __ATOMIC_RELAXED) & 0xffff); }

static void renew(__u32 n)
{
	__u32 generation = 0;
	if (n < kept) {
		/* A thread that stands still must not see half of the serial numbers pass. */
		generation = __atomic_load_n(&asked[n], __ATOMIC_SEQ_CST);
		if (fibers ? random_below(2) : generation < ticks)
			generation = __atomic_add_fetch(&asked[n], 1, __ATOMIC_SEQ_CST);
		if (generation && random_below(3) == 0)
			generation--;
	}
	if (route_update(&table, &keys[n], route_value(new_identifier(n), ROUTE_ESTABLISHED, generation, n < kept ? ROUTE_PINNED : 0)) != ROUTE_UPDATED || n >= kept)
		return;
	count(&updated);
	for (;;) {
		__u32 was = __atomic_load_n(&confirmed[n], __ATOMIC_SEQ_CST);
		if (generation <= was || __sync_val_compare_and_swap(&confirmed[n], was, generation) == was)
			return;
	}
}

static void act(void)
{
	struct route_outcome out;
	__u64 value;
	__u32 n = kept + random_below(key_count - kept);
	switch (random_below(10)) {
	case 0: case 1: case 2: case 3:
		switch (route_insert(&table, &keys[n], route_value(new_identifier(n), ROUTE_ESTABLISHED, 0, 0), random_below(3), &out)) {
		case ROUTE_KICKED: count(&kicked); /* fall through */
		case ROUTE_INSERTED: count(&inserted); break;
		case ROUTE_EVICTED: count(&evicted); break;
		case ROUTE_EXISTS: if (route_identifier(out.existing) >> 16 != n) count(&wrong); break;
		}
		break;
	case 4: if (route_remove(&table, &keys[n], &value) == ROUTE_REMOVED) count(&removed); break;
	case 5: renew(random_below(key_count)); break;
	case 6: renew(random_below(kept)); break;
	case 7: look(random_below(kept)); break;
	default: look(random_below(key_count));
	}
}

static void build(__u64 seed, __u32 family, __u32 buckets, __u32 count_of_keys, __u32 keep, int collide)
{
	struct route_outcome out;
	random_state = seed * 0x9E3779B97F4A7C15ull + 1;
	for (int i = 0; i < 6; i++)
		secret.add[i] = ((__u64)random_below(1u << 31) << 33 ^ (__u64)random_below(1u << 31) << 13) | 1;
	secret.mix[0] = 0x9FB21C651E98DF25ull;
	secret.mix[1] = collide ? 0 : 0xD1B54A32D192ED03ull;
	table = (struct route_table){ .map = memory, .secret = &secret, .buckets = buckets, .six = family == 6 };
	memset(memory, 0, sizeof memory);
	memset(asked, 0, sizeof asked);
	memset(confirmed, 0, sizeof confirmed);
	key_count = count_of_keys;
	kept = keep;
	for (__u32 n = 0; n < key_count; n++) {
		if (family == 6)
			route_key6(&table, &keys[n], 0xb80d0120, (__u64)(n + 1) << 56, 0x5000, 1);
		else
			route_key4(&table, &keys[n], 0x0100000a + (n << 24), 0x5000, 1);
		if (n < kept && route_insert(&table, &keys[n], route_value(n << 16, ROUTE_ESTABLISHED, 0, ROUTE_PINNED), 0, &out) != ROUTE_INSERTED)
			abort();
	}
}

static void audit(void)
{
	struct route_key at[MAX_BUCKETS * ROUTE_WAYS], k;
	__u32 found = 0;
	for (__u32 bucket = 0; bucket < table.buckets; bucket++) {
		struct route_bucket *b = route_bucket_at(&table, bucket);
		for (__u32 i = 0; i < ROUTE_WAYS; i++) {
			struct route_entry *e = &b->entries[i];
			if (!e->key != !(e->value & ROUTE_USED))
				untidy++;
			if (!e->key)
				continue;
			route_key_of(&table, &k, e->key, table.six ? route_client_at(b, i) : &k.client);
			if (k.key != e->key || (k.first != bucket && k.second != bucket))
				untidy++;
			for (__u32 j = 0; j < found; j++)
				if (at[j].key == k.key && (!table.six || !memcmp(&at[j].client, &k.client, sizeof k.client)))
					untidy++;
			at[found++] = k;
		}
	}
	for (__u32 n = 0; n < key_count; n++)
		look(n);
}

static void fiber(int self)
{
	for (int i = 0; i < 40; i++)
		act();
	finished[self] = 1;
	alive--;
	do
		current = random_below(WORKERS);
	while (alive && finished[current]);
	setcontext(alive ? &contexts[current] : &home);
}

static void schedule(__u64 seed, __u32 family, int collide)
{
	/* With equal fingerprints a removal may hit a neighbour that took the slot meanwhile: then nothing is kept, but nothing wrong either. */
	build(seed, family, 3 + seed % 3, 14 + seed % 5, KEPT, collide);
	alive = WORKERS;
	current = 0;
	memset(finished, 0, sizeof finished);
	for (int i = 0; i < WORKERS; i++) {
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_sp = stacks[i];
		contexts[i].uc_stack.ss_size = sizeof stacks[i];
		contexts[i].uc_link = &home;
		makecontext(&contexts[i], (void (*)(void))fiber, 1, i);
	}
	fibers = 1;
	swapcontext(&home, &contexts[0]);
	fibers = 0;
	audit();
}

static volatile int stop;

static void *thread(void *argument)
{
	random_state = (__u64)argument * 0x9E3779B97F4A7C15ull + 7;
	while (!stop)
		for (int i = 0; i < 1000; i++)
			act();
	return NULL;
}

int main(int n, char **a)
{
	if (n < 4)
		return 2;
	__u32 family = atoi(a[2]), amount = atoi(a[3]);
	int collide = n > 4 && !strcmp(a[4], "collide");
	if (!strcmp(a[1], "schedules")) {
		for (__u64 seed = 1; seed <= amount; seed++) {
			__u64 before = wrong + (collide ? 0 : lost + back + untidy);
			schedule(seed, family, collide);
			if (wrong + (collide ? 0 : lost + back + untidy) != before && before == 0)
				printf("first at seed %llu; ", (unsigned long long)seed);
		}
		if (collide)
			lost = back = untidy = 0;
	} else {
		pthread_t threads[WORKERS];
		build(1, family, MAX_BUCKETS, MAX_BUCKETS * ROUTE_WAYS, KEPT, 0);
		for (long i = 0; i < WORKERS; i++)
			pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
		for (ticks = 0; ticks * 10 < amount; ticks++)
			nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
		stop = 1;
		for (int i = 0; i < WORKERS; i++)
			pthread_join(threads[i], NULL);
		audit();
	}
	printf("wrong %llu lost %llu back %llu untidy %llu; reads %llu inserted %llu kicked %llu evicted %llu updated %llu removed %llu\n", (unsigned long long)wrong, (unsigned long long)lost,
	       (unsigned long long)back, (unsigned long long)untidy, (unsigned long long)reads, (unsigned long long)inserted, (unsigned long long)kicked, (unsigned long long)evicted,
	       (unsigned long long)updated, (unsigned long long)removed);
	return wrong + lost + back + untidy ? 1 : 0;
}
