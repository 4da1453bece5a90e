/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The route table of bpf/route-table.h on ordinary memory, driven by a test. `layout`: prints what it is made of, as JSON. Without an
 * argument: standard input is a struct setup and its operations, standard output an answer each and then the memory of both tables.
 */
#include <linux/types.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "route-table.h"

struct setup {
	__u32 family, buckets[2], operations;
	struct route_secret secret;
};

enum { GET, INSERT, UPDATE, STATE, REMOVE, PROMOTE, TOUCH };

struct operation {
	__u32 kind, table;
	__u8 client[16];
	__u16 port, service; /* the port as in a packet */
	__u32 now;
	__u64 value;
};

struct answer {
	__u32 result, first, second, reserved;
	__u64 value, victim_key, victim_value;
};

#define SHOW(name) printf("  \"%s\": \"%llu\",\n", #name, (unsigned long long)(name))

static int layout(void)
{
	printf("{\n");
	SHOW(ROUTE_MAGIC); SHOW(ROUTE_VERSION); SHOW(ROUTE_WAYS); SHOW(ROUTE_HEADER_BYTES); SHOW(ROUTE_MAX_BUCKETS); SHOW(ROUTE_MAX_AGE); SHOW(ROUTE_TRIES); SHOW(ROUTE_IDENTIFIER_MASK);
	SHOW(ROUTE_USED); SHOW(ROUTE_PINNED); SHOW(ROUTE_MAPPED); SHOW(ROUTE_STATE_MASK); SHOW(ROUTE_GENERATION_MASK);
	SHOW(ROUTE_REUSE_ONE); SHOW(ROUTE_REUSE_MASK); SHOW(ROUTE_STAMP_MASK); SHOW(ROUTE_CONTENT_MASK); SHOW(ROUTE_OWNER_MASK);
	SHOW(ROUTE_EMBRYONIC); SHOW(ROUTE_YOUNG); SHOW(ROUTE_ESTABLISHED); SHOW(ROUTE_FIN); SHOW(ROUTE_RESET); SHOW(ROUTE_REOPENED); SHOW(ROUTE_HELD);
	SHOW(ROUTE_BUSY); SHOW(ROUTE_INSERTED); SHOW(ROUTE_KICKED); SHOW(ROUTE_EVICTED); SHOW(ROUTE_EXISTS); SHOW(ROUTE_FULL);
	SHOW(ROUTE_UPDATED); SHOW(ROUTE_STALE); SHOW(ROUTE_MISSING); SHOW(ROUTE_REMOVED); SHOW(ROUTE_RESULTS);
	SHOW(sizeof(struct route_entry)); SHOW(sizeof(struct route_bucket)); SHOW(sizeof(struct route_bucket6));
	SHOW(offsetof(struct route_entry, key)); SHOW(offsetof(struct route_entry, value)); SHOW(offsetof(struct route_bucket6, clients));
	SHOW(offsetof(struct route_header, magic)); SHOW(offsetof(struct route_header, version)); SHOW(offsetof(struct route_header, family));
	SHOW(offsetof(struct route_header, buckets)); SHOW(offsetof(struct route_header, tick_shift)); SHOW(offsetof(struct route_header, secret)); SHOW(sizeof(struct route_secret));
	printf("  \"end\": \"0\"\n}\n");
	return 0;
}

static void key_in(const struct route_table *t, struct route_key *k, const struct operation *op)
{
	__u64 client[2];
	__u32 ipv4;
	memcpy(client, op->client, 16);
	memcpy(&ipv4, op->client + 12, 4);
	memset(k, 0, sizeof *k);
	if (t->six)
		route_key6(t, k, client[0], client[1], op->port, op->service);
	else
		route_key4(t, k, ipv4, op->port, op->service);
}

int main(int count, char **arguments)
{
	struct setup setup;
	struct route_table tables[2];
	if (count > 1 && !strcmp(arguments[1], "layout"))
		return layout();
	if (fread(&setup, sizeof setup, 1, stdin) != 1)
		return 1;
	size_t width = setup.family == 6 ? sizeof(struct route_bucket6) : sizeof(struct route_bucket);
	for (int i = 0; i < 2; i++) {
		size_t bytes = ROUTE_HEADER_BYTES + setup.buckets[i] * width;
		struct route_table t = { .secret = &setup.secret, .buckets = setup.buckets[i], .six = setup.family == 6 };
		t.map = aligned_alloc(64, (bytes + 63) & ~63ul);
		memset(t.map, 0, bytes);
		struct route_header header = {
			.magic = ROUTE_MAGIC, .version = ROUTE_VERSION, .family = setup.family, .buckets = setup.buckets[i], .tick_shift = 27, .secret = setup.secret,
		};
		memcpy(t.map, &header, sizeof header);
		tables[i] = t;
	}
	for (__u32 n = 0; n < setup.operations; n++) {
		struct operation op;
		struct answer answer = { 0 };
		struct route_outcome out = { 0 };
		struct route_key k, to;
		struct route_entry *e;
		if (fread(&op, sizeof op, 1, stdin) != 1)
			return 1;
		const struct route_table *t = &tables[op.table & 1];
		key_in(t, &k, &op);
		answer.first = k.first;
		answer.second = k.second;
		switch (op.kind) {
		case GET: answer.value = route_find(t, &k, &e); break;
		case INSERT: answer.result = route_insert(t, &k, op.value, op.now, &out); break;
		case UPDATE: answer.result = route_update(t, &k, op.value); break;
		case STATE: answer.result = route_set_state(t, &k, op.value); break;
		case REMOVE: answer.result = route_remove(t, &k, &answer.value); break;
		case PROMOTE:
			key_in(&tables[0], &to, &op);
			answer.result = route_promote(&tables[1], &k, &tables[0], &to, op.now, &out);
			break;
		case TOUCH:
			answer.value = route_find(t, &k, &e);
			if (answer.value)
				route_touch(e, answer.value, op.now);
			break;
		}
		if (out.existing)
			answer.value = out.existing;
		answer.victim_key = out.victim_key;
		answer.victim_value = out.victim_value;
		fwrite(&answer, sizeof answer, 1, stdout);
	}
	for (int i = 0; i < 2; i++)
		fwrite(tables[i].map, ROUTE_HEADER_BYTES + setup.buckets[i] * width, 1, stdout);
	return 0;
}
