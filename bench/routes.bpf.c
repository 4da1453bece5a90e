// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Looks random flows up, one a run: in the route table, in the kernel's hash map, and nowhere (what the rest costs). */
#include "base.h"
#include "route-table.h"

struct flow4 {
	__u32 client, vip;
	__u16 client_port, port;
	__u32 protocol;
};

struct flow6 {
	__u64 client[2], vip[2];
	__u16 client_port, port;
	__u32 protocol;
};

#define TABLE(name, bucket)                                                                                                                                  \
	struct {                                                                                                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                                                                \
		__uint(max_entries, 1);                                                                                                                          \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                                                               \
		__type(key, __u32);                                                                                                                              \
		__type(value, struct bucket);                                                                                                                    \
	} name SEC(".maps")
#define HASH(name, flow)                                                                                                                                     \
	struct {                                                                                                                                               \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                                                                 \
		__uint(max_entries, 1);                                                                                                                          \
		__type(key, struct flow);                                                                                                                        \
		__type(value, __u64);                                                                                                                            \
	} name SEC(".maps")

TABLE(routes4, route_bucket);
TABLE(routes6, route_bucket6);
HASH(hash4, flow4);
HASH(hash6, flow6);

const volatile __u32 flows = 1;
const volatile __u32 buckets4 = 2, buckets6 = 2;
const volatile struct route_secret secret = {};
/* 0, but nobody knows: makes each look-up wait for the one before it. */
const volatile __u64 chain = 0;

struct bench {
	__u64 state;
	__u64 found, missed;
	__u32 now, fresh;
};
struct bench bench = {};

/* A flow at random; `found` is what the look-up before gave. */
static __always_inline __u32 next_flow(void)
{
	bench.state = bench.state * 6364136223846793005ull + 1442695040888963407ull + (bench.found & chain);
	return (bench.state >> 32) * flows >> 32;
}

static __always_inline int done(__u64 value)
{
	if (!value)
		bench.missed++;
	bench.found = value;
	return XDP_PASS;
}

#define CLIENT4(n) bpf_htonl(0x0a000000 + ((n) >> 14))
#define PORT(n) bpf_htons(1024 + ((n) & 0x3fff))
#define HIGH6 0xb80d0120ull
#define LOW6(n) bpf_cpu_to_be64((n) >> 14)
#define ROUTES4 &(struct route_table){ .map = &routes4, .secret = &secret, .buckets = buckets4 }
#define ROUTES6 &(struct route_table){ .map = &routes6, .secret = &secret, .buckets = buckets6, .six = 1 }

SEC("xdp") int base_4(struct xdp_md *context)
{
	__u32 n = next_flow();
	return done(CLIENT4(n) | (__u64)PORT(n) << 32);
}

SEC("xdp") int base_6(struct xdp_md *context)
{
	__u32 n = next_flow();
	return done(LOW6(n) ^ PORT(n) ^ HIGH6);
}

SEC("xdp") int table_4(struct xdp_md *context)
{
	__u32 n = next_flow();
	struct route_key k;
	struct route_entry *e;
	route_key4(ROUTES4, &k, CLIENT4(n), PORT(n), 1);
	__u64 value = route_find(ROUTES4, &k, &e);
	if (value)
		route_touch(e, value, bench.now);
	return done(value);
}

SEC("xdp") int table_6(struct xdp_md *context)
{
	__u32 n = next_flow();
	struct route_key k;
	struct route_entry *e;
	route_key6(ROUTES6, &k, HIGH6, LOW6(n), PORT(n), 1);
	__u64 value = route_find(ROUTES6, &k, &e);
	if (value)
		route_touch(e, value, bench.now);
	return done(value);
}

SEC("xdp") int hash_4(struct xdp_md *context)
{
	__u32 n = next_flow();
	struct flow4 flow = { CLIENT4(n), 0x0100090a, PORT(n), 0x5000, 6 };
	__u64 *value = bpf_map_lookup_elem(&hash4, &flow);
	return done(value ? *value : 0);
}

SEC("xdp") int hash_6(struct xdp_md *context)
{
	__u32 n = next_flow();
	struct flow6 flow = { { HIGH6, LOW6(n) }, { HIGH6, 1 }, PORT(n), 0x5000, 6 };
	__u64 *value = bpf_map_lookup_elem(&hash6, &flow);
	return done(value ? *value : 0);
}

/* New flows, one after another: claims, moves, and when it is full evictions. */
#define INSERT(name, table, set_key)                                                                                                                         \
	SEC("xdp") int name(struct xdp_md *context)                                                                                                            \
	{                                                                                                                                                      \
		__u32 n = 0x10000000 + bench.fresh++;                                                                                                            \
		struct route_key k;                                                                                                                              \
		struct route_outcome out;                                                                                                                        \
		set_key;                                                                                                                                         \
		int result = route_insert(table, &k, route_value(n, ROUTE_YOUNG, 0, ROUTE_MAPPED), bench.now, &out);                                             \
		if (result == ROUTE_EVICTED)                                                                                                                     \
			bench.missed++;                                                                                                                            \
		return XDP_PASS;                                                                                                                                 \
	}
INSERT(insert_4, ROUTES4, route_key4(ROUTES4, &k, CLIENT4(n), PORT(n), 1))
INSERT(insert_6, ROUTES6, route_key6(ROUTES6, &k, HIGH6, LOW6(n), PORT(n), 1))
