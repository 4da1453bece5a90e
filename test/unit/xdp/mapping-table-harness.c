/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's half of the mapping table (bpf/mapping-table.h) on ordinary memory, beside what the agent's half wrote there.
 *
 *   layout             prints what it is made of, as JSON
 *   find               standard input: struct setup, its keys, the table's memory; standard output: an answer for each key
 *   replay SEED RUNS   standard input: the same, then what the agent stored, in order, with what it meant: look-ups of which any access
 *                      may come after any of the stores. Counts
 *                        wrong: a client that the identifier did not stand for at any time since the look-up began;
 *                        lost: no mapping for an identifier that had one, unchanged, all the time.
 */
#include <linux/types.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void turn(void);
#define ROUTE_LOAD(p) ({ turn(); *(const volatile __typeof__(*(p)) *)(p); })
#define ROUTE_STORE(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))
#define ROUTE_STAMP(p, v) ({ turn(); *(volatile __u16 *)(p) = (v); })
#define ROUTE_CAS(p, was, is) __sync_val_compare_and_swap((p), (was), (is))
#define ROUTE_SWAP(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#include "mapping-table.h"

#define MAX_KEYS 256

struct setup {
	__u32 family, buckets, keys, events;
	struct route_secret secret;
};

struct key {
	__u32 identifier; /* as in a packet */
	__u8 tunnel, generation;
	__u16 reserved;
};

struct answer {
	__u64 word;
	struct mapping mapping;
};

/* STORE: word `at` of the buckets becomes `value`. CHANGING: key `at` will have content `value`. DONE: now it has; 0: none. */
enum { STORE, CHANGING, DONE };
struct event {
	__u32 kind, at;
	__u64 value;
};

static struct setup setup;
static struct key keys[MAX_KEYS];
static struct route_table table;
static __u64 *words;
static struct event *events;
static __u32 position;
static __u64 random_state, wrong, lost, found, missed;
static __u64 now_has[MAX_KEYS], will_have[MAX_KEYS];
static char changing[MAX_KEYS];
/* Of the look-up under way. */
static int looked_up = -1, may_miss;
static __u64 allowed[64];
static __u32 allowed_count;

static __u32 random_below(__u32 n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (__u32)(random_state >> 33) % n;
}

static void allow(__u64 content)
{
	if (!content)
		may_miss = 1;
	else if (allowed_count < 64)
		allowed[allowed_count++] = content;
}

static void step(void)
{
	struct event *e = &events[position++];
	if (e->kind == STORE) {
		words[e->at] = e->value;
		return;
	}
	if (e->kind == CHANGING) {
		changing[e->at] = 1;
		will_have[e->at] = e->value;
		if ((int)e->at == looked_up) {
			allow(e->value);
			may_miss = 1;
		}
		return;
	}
	changing[e->at] = 0;
	now_has[e->at] = e->value;
}

/* Fewer stores at a time than it takes to give one slot sixteen owners. */
static void turn(void)
{
	__u32 steps = random_below(8) ? !random_below(6) : random_below(24);
	if (looked_up < 0)
		return;
	while (steps-- > 0 && position < setup.events)
		step();
}

/* What the agent's half put in for a content (test/support/mappings.ts gives it a client of its own). */
static int is_content(const struct mapping *m, __u64 content)
{
	__u32 n = content - 1, port = 1024 + n;
	if (m->service != content || m->port != (__u16)((port & 0xff) << 8 | port >> 8))
		return 0;
	if (setup.family == 4)
		return m->client4 == __builtin_bswap32(0x0a000001 + n * 0x10001);
	return m->client.high == (0xb80d0120ull | (__u64)__builtin_bswap32(n) << 32) &&
	       m->client.low == (__builtin_bswap32(n * 0x1234567) | (__u64)__builtin_bswap32(~n) << 32);
}

static void look(__u32 n)
{
	struct mapping m = {};
	struct route_entry *entry;
	looked_up = n;
	allowed_count = may_miss = 0;
	allow(now_has[n]);
	if (changing[n]) {
		allow(will_have[n]);
		may_miss = 1;
	}
	__u64 word = mapping_find(&table, keys[n].identifier, keys[n].tunnel, keys[n].generation, &m, &entry);
	if (word) {
		int right = 0;
		found++;
		for (__u32 i = 0; i < allowed_count; i++)
			right |= is_content(&m, allowed[i]);
		wrong += !right;
		if (!random_below(4))
			mapping_touch(entry, word, random_below(3));
	} else {
		missed++;
		lost += !may_miss;
	}
	looked_up = -1;
}

static int replay(__u64 seed, __u32 runs)
{
	size_t bytes = setup.buckets * (setup.family == 6 ? sizeof(struct route_bucket6) : sizeof(struct route_bucket));
	for (__u32 run = 0; run < runs; run++) {
		random_state = (seed * 1000003 + run) * 0x9E3779B97F4A7C15ull + 1;
		memset(words, 0, bytes);
		memset(now_has, 0, sizeof now_has);
		memset(changing, 0, sizeof changing);
		position = 0;
		while (position < setup.events) {
			__u32 burst = random_below(12);
			look(random_below(setup.keys));
			while (burst-- > 0 && position < setup.events)
				step();
		}
	}
	printf("wrong %llu lost %llu found %llu missed %llu\n", (unsigned long long)wrong, (unsigned long long)lost, (unsigned long long)found, (unsigned long long)missed);
	return wrong + lost ? 1 : 0;
}

#define SHOW(name) printf("  \"%s\": \"%llu\",\n", #name, (unsigned long long)(name))

static int layout(void)
{
	printf("{\n");
	SHOW(MAPPING_MAGIC); SHOW(MAPPING_VERSION); SHOW(MAPPING_STAMP_SHIFT); SHOW(MAPPING_TUNNEL_SHIFT); SHOW(MAPPING_GENERATION_SHIFT);
	SHOW(MAPPING_STAMP_MASK); SHOW(MAPPING_REUSE_MASK); SHOW(MAPPING_KEY_MASK); SHOW(MAPPING_PORT_SHIFT); SHOW(MAPPING_SERVICE_SHIFT);
	SHOW(sizeof(struct route_entry)); SHOW(offsetof(struct route_bucket6, clients)); SHOW(offsetof(struct route_entry, value));
	printf("  \"end\": \"0\"\n}\n");
	return 0;
}

int main(int n, char **a)
{
	if (n < 2)
		return 2;
	if (!strcmp(a[1], "layout"))
		return layout();
	if (fread(&setup, sizeof setup, 1, stdin) != 1 || setup.keys > MAX_KEYS || fread(keys, sizeof *keys, setup.keys, stdin) != setup.keys)
		return 2;
	size_t bytes = ROUTE_HEADER_BYTES + setup.buckets * (setup.family == 6 ? sizeof(struct route_bucket6) : sizeof(struct route_bucket));
	table = (struct route_table){ .map = aligned_alloc(64, (bytes + 63) & ~63ul), .secret = &setup.secret, .buckets = setup.buckets, .six = setup.family == 6 };
	if (fread(table.map, bytes, 1, stdin) != 1)
		return 2;
	words = (__u64 *)((char *)table.map + ROUTE_HEADER_BYTES);
	events = calloc(setup.events + 1, sizeof *events);
	if (fread(events, sizeof *events, setup.events, stdin) != setup.events)
		return 2;
	if (!strcmp(a[1], "replay") && n > 3)
		return replay(strtoull(a[2], NULL, 10), atoi(a[3]));
	for (__u32 i = 0; i < setup.keys; i++) {
		struct answer answer = {};
		struct route_entry *entry;
		answer.word = mapping_find(&table, keys[i].identifier, keys[i].tunnel, keys[i].generation, &answer.mapping, &entry);
		fwrite(&answer, sizeof answer, 1, stdout);
	}
	return 0;
}
