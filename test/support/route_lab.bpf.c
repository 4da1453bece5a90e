// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Does with a route table what a test asks for: one operation a run, or one at random beside the agent's. */
#include "base.h"
#include "route-table.h"

#define TABLE(name, bucket)                                                                                                                                  \
	struct {                                                                                                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                                                                \
		__uint(max_entries, 1);                                                                                                                          \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                                                               \
		__type(key, __u32);                                                                                                                              \
		__type(value, struct bucket);                                                                                                                    \
	} name SEC(".maps")
TABLE(routes4, route_bucket);
TABLE(embryonic4, route_bucket);
TABLE(routes6, route_bucket6);
TABLE(embryonic6, route_bucket6);

struct config {
	__u32 buckets, kept, keys, reserved;
	struct route_secret secret;
};
const volatile struct config config = {};

enum { GET, INSERT, UPDATE, STATE, REMOVE, PROMOTE, TOUCH, EMBRYONIC };

struct lab {
	__u32 kind, n, now, identifiers;
	__u64 value, result;
	__u64 seed, looks, wrong, lost;
};
struct lab lab = {};

#define TABLE4(name) &(struct route_table){ .map = &name##4, .secret = &config.secret, .buckets = config.buckets }
#define TABLE6(name) &(struct route_table){ .map = &name##6, .secret = &config.secret, .buckets = config.buckets, .six = 1 }
#define KEY4(table, k, n) route_key4(table, k, bpf_htonl(0x0a000001 + ((n) >> 4)), bpf_htons(1024 + ((n) & 15)), 1)
#define KEY6(table, k, n)                                                                                                                                    \
	route_key6(table, k, bpf_cpu_to_be64(0x20010db800000000ull | ((n) & 1)), bpf_cpu_to_be64((__u64)(0x1234u * (n)) << 32 | (n) >> 4), bpf_htons(1024 + ((n) & 15)), 1)

#define PROGRAMS(family)                                                                                                                                     \
	SEC("xdp") int op_##family(struct xdp_md *context)                                                                                                     \
	{                                                                                                                                                      \
		struct route_table *t = TABLE##family(routes), *m = TABLE##family(embryonic);                                                                    \
		struct route_outcome out = {};                                                                                                                   \
		struct route_entry *e;                                                                                                                           \
		struct route_key k;                                                                                                                              \
		__u64 value = lab.value;                                                                                                                         \
		__u32 n = lab.n;                                                                                                                                 \
		KEY##family(t, &k, n);                                                                                                                           \
		switch (lab.kind) {                                                                                                                              \
		case GET: lab.result = route_find(t, &k, &e); break;                                                                                             \
		case INSERT: lab.result = route_insert(t, &k, value, lab.now, &out); break;                                                                      \
		case UPDATE: lab.result = route_update(t, &k, value); break;                                                                                     \
		case STATE: lab.result = route_set_state(t, &k, value); break;                                                                                   \
		case REMOVE: lab.result = route_remove(t, &k, &value); break;                                                                                    \
		case PROMOTE: lab.result = route_promote(m, &k, t, &k, lab.now, &out); break;                                                                    \
		case EMBRYONIC: lab.result = route_insert(m, &k, value, lab.now, &out); break;                                                                   \
		case TOUCH:                                                                                                                                      \
			lab.result = route_find(t, &k, &e);                                                                                                        \
			if (lab.result)                                                                                                                            \
				route_touch(e, lab.result, lab.now);                                                                                                 \
		}                                                                                                                                                \
		return XDP_PASS;                                                                                                                                 \
	}                                                                                                                                                      \
	SEC("xdp") int churn_##family(struct xdp_md *context)                                                                                                  \
	{                                                                                                                                                      \
		struct route_table *t = TABLE##family(routes);                                                                                                   \
		struct route_outcome out;                                                                                                                        \
		struct route_entry *e;                                                                                                                           \
		struct route_key k;                                                                                                                              \
		__u64 value;                                                                                                                                     \
		lab.seed = lab.seed * 6364136223846793005ull + 1442695040888963407ull;                                                                           \
		__u32 random = lab.seed >> 33, n = random % config.keys;                                                                                         \
		KEY##family(t, &k, n);                                                                                                                           \
		__u32 what = random >> 20 & 3;                                                                                                                   \
		if (n >= config.kept && what == 0) {                                                                                                             \
			route_insert(t, &k, route_value(n << 16 | 0x8000 | (lab.identifiers++ & 0x7fff), ROUTE_ESTABLISHED, 0, 0), lab.now, &out);                   \
		} else if (n >= config.kept && what == 1) {                                                                                                      \
			route_remove(t, &k, &value);                                                                                                               \
		} else {                                                                                                                                         \
			lab.looks++;                                                                                                                               \
			value = route_find(t, &k, &e);                                                                                                             \
			if (value)                                                                                                                                 \
				route_touch(e, value, lab.now++ & 1);                                                                                                \
			if (value ? route_identifier(value) >> 16 != n : 0)                                                                                        \
				lab.wrong++;                                                                                                                         \
			if (!value && n < config.kept)                                                                                                             \
				lab.lost++;                                                                                                                          \
		}                                                                                                                                                \
		return XDP_PASS;                                                                                                                                 \
	}
PROGRAMS(4)
PROGRAMS(6)
