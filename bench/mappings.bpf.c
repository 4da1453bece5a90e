// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Looks random identifiers up, one a run: in the mapping table, in the kernel's hash map, and nowhere; and the host's whole way. */
#include "host.h"

#define HEAD_BYTES 74 /* Ethernet, IPv6 and TCP */

struct tunnelled {
	__u32 identifier, tunnel;
	__u32 protocol, reserved;
};

struct told {
	__u64 client[2];
	__u16 port, service;
	__u32 reserved;
};

#define HASH(name)                                                                                                             \
	struct {                                                                                                               \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                               \
		__uint(max_entries, 1);                                                                                        \
		__type(key, struct tunnelled);                                                                                 \
		__type(value, struct told);                                                                                    \
	} name SEC(".maps")

HASH(hash4);
HASH(hash6);

const volatile __u32 flows = 1;
/* 0, but nobody knows: makes each look-up wait for the one before it. */
const volatile __u64 chain = 0;

struct bench {
	__u64 state;
	__u64 found, missed;
	__u8 head4[HEAD_BYTES + 2], head6[HEAD_BYTES + 2]; /* of the packets; their ports are 0 */
};
volatile struct bench bench = {};

/* An identifier at random, as it stands in packets; `found` is what the look-up before gave. */
static __always_inline __u32 next_identifier(void)
{
	bench.state = bench.state * 6364136223846793005ull + 1442695040888963407ull + (bench.found & chain);
	__u32 n = (bench.state >> 32) * flows >> 32;

	return bpf_htonl(0x07000001 + n * 0x9e3779b1u);
}

/* The packet as it came from a forwarder. */
static __always_inline __u32 renew(struct xdp_md *ctx, int six)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	volatile __u16 *from = (volatile __u16 *)(six ? bench.head6 : bench.head4);
	__u32 identifier = next_identifier();
	__u16 *to = data;

	if (data + HEAD_BYTES > data_end)
		return 0;
#pragma unroll
	for (int i = 0; i < HEAD_BYTES / 2; i++)
		to[i] = from[i];
	*(__u16 *)(data + (six ? 54 : 34)) = identifier;
	*(__u16 *)(data + (six ? 56 : 36)) = identifier >> 16;
	return identifier;
}

static __always_inline int done(__u64 value)
{
	if (!value)
		bench.missed++;
	bench.found = value;
	return XDP_PASS;
}

#define LOOK(version, table)                                                                                                    \
	SEC("xdp") int base_##version(struct xdp_md *ctx)                                                                       \
	{                                                                                                                      \
		return done(next_identifier());                                                                                \
	}                                                                                                                      \
	SEC("xdp") int table_##version(struct xdp_md *ctx)                                                                      \
	{                                                                                                                      \
		struct mapping mapping = {};                                                                                   \
		struct route_entry *entry = NULL;                                                                              \
		__u64 word = mapping_find(table, next_identifier(), 1, 0, &mapping, &entry);                                   \
                                                                                                                               \
		if (!word || !entry)                                                                                           \
			return done(0);                                                                                        \
		mapping_touch(entry, word, 0);                                                                                 \
		return done(mapping.client4 + mapping.client.low + mapping.port + 1);                                          \
	}                                                                                                                      \
	SEC("xdp") int hash_##version(struct xdp_md *ctx)                                                                       \
	{                                                                                                                      \
		struct tunnelled key = { .identifier = next_identifier(), .tunnel = 1, .protocol = 6 };                        \
		struct told *told = bpf_map_lookup_elem(&hash##version, &key);                                                  \
                                                                                                                               \
		return done(told ? told->client[0] + told->port + 1 : 0);                                                      \
	}                                                                                                                      \
	SEC("xdp") int packet_##version(struct xdp_md *ctx)                                                                     \
	{                                                                                                                      \
		return done(renew(ctx, version == 6));                                                                          \
	}                                                                                                                      \
	SEC("xdp") int tunnel_##version(struct xdp_md *ctx)                                                                     \
	{                                                                                                                      \
		struct packet p;                                                                                               \
                                                                                                                               \
		renew(ctx, version == 6);                                                                                       \
		if (parse_frame(ctx, &p) || p.family != version)                                                                \
			return done(0);                                                                                        \
		return done(host_tunnel(ctx, &p));                                                                             \
	}                                                                                                                      \
	SEC("xdp") int whole_##version(struct xdp_md *ctx)                                                                      \
	{                                                                                                                      \
		struct packet p;                                                                                               \
		int parsed;                                                                                                    \
                                                                                                                               \
		renew(ctx, version == 6);                                                                                       \
		parsed = parse_frame(ctx, &p);                                                                                 \
		return done(host_packet(ctx, &p, parsed) == XDP_PASS);                                                         \
	}

LOOK(4, MAPPINGS4)
LOOK(6, MAPPINGS6)
