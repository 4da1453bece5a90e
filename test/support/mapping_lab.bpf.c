// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Looks mappings up at random, while the agent changes them, and counts what must not be (test/lab/mapping-table.test.ts). */
#include "base.h"

/* Now and then stands still for about as long as the agent takes for a store: otherwise hardly any look-up would meet one. */
__noinline int turn(void)
{
	if (!(bpf_get_prandom_u32() & 7)) {
#pragma clang loop unroll(disable)
		for (int i = 0; i < 100; i++)
			bpf_get_prandom_u32();
	}
	return 0;
}

#define ROUTE_LOAD(p) ({ turn(); *(const volatile __typeof__(*(p)) *)(p); })
#define ROUTE_STORE(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))
#define ROUTE_STAMP(p, v) (*(volatile __u16 *)(p) = (v))
#define ROUTE_CAS(p, was, is) __sync_val_compare_and_swap((p), (was), (is))
#define ROUTE_SWAP(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#include "mapping-table.h"

#define TABLE(name, bucket)                                                                                                    \
	struct {                                                                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                              \
		__uint(max_entries, 1);                                                                                        \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                             \
		__type(key, __u32);                                                                                            \
		__type(value, struct bucket);                                                                                  \
	} name SEC(".maps")
TABLE(mappings4, route_bucket);
TABLE(mappings6, route_bucket6);

struct config {
	__u32 buckets, kept, keys, reserved;
	struct route_secret secret;
};
const volatile struct config config = {};

struct lab {
	__u64 seed, looks, found, wrong, lost;
};
struct lab lab = {};

#define MAPPINGS4 &(struct route_table){ .map = &mappings4, .secret = &config.secret, .buckets = config.buckets }
#define MAPPINGS6 &(struct route_table){ .map = &mappings6, .secret = &config.secret, .buckets = config.buckets, .six = 1 }

/* Of key `n` the service is n + 1, and each other part of its content is made from the port. */
static __always_inline int is_right(const struct mapping *m, __u32 n, int six)
{
	if (m->service != n + 1)
		return 0;
	if (!six)
		return m->client4 == bpf_htonl(0x0a000000 + bpf_ntohs(m->port));
	return m->client.high == bpf_cpu_to_be64(0x20010db800000000ull + bpf_ntohs(m->port)) && m->client.low == ~m->client.high;
}

#define PROGRAM(version)                                                                                                       \
	SEC("xdp") int churn_##version(struct xdp_md *context)                                                                 \
	{                                                                                                                      \
		struct route_entry *entry = NULL;                                                                              \
		struct mapping m = {};                                                                                         \
                                                                                                                               \
		lab.seed = lab.seed * 6364136223846793005ull + 1442695040888963407ull;                                         \
		__u32 n = (lab.seed >> 33) % config.keys;                                                                      \
		__u64 word = mapping_find(MAPPINGS##version, bpf_htonl(n + 1), 1 + (n & 1), 0, &m, &entry);                    \
                                                                                                                               \
		lab.looks++;                                                                                                   \
		if (word && entry) {                                                                                           \
			lab.found++;                                                                                           \
			if (!is_right(&m, n, version == 6))                                                                    \
				lab.wrong++;                                                                                   \
			/* What is kept is newest, so that it is not evicted. */                                               \
			if (n < config.kept)                                                                                   \
				mapping_touch(entry, word, 5 + (lab.seed >> 20 & 1));                                          \
		} else if (n < config.kept) {                                                                                  \
			lab.lost++;                                                                                            \
		}                                                                                                              \
		return XDP_PASS;                                                                                               \
	}
PROGRAM(4)
PROGRAM(6)
