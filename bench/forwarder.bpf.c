// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The forwarder on packets of random flows, one a run; and its parts, so that what each of them costs can be told. */
#include "capture.h"
#include "forwarder.h"

#define HEAD_BYTES 74 /* Ethernet, IPv6 and TCP */

const volatile __u32 flows = 1;

struct bench {
	__u64 state;
	__u8 head4[HEAD_BYTES + 2], head6[HEAD_BYTES + 2]; /* of the packets; the clients' low bits and ports are 0 */
};
volatile struct bench bench = {};

/* The packet as it came from a flow at random, whatever the last run made of it. */
static __always_inline int renew(struct xdp_md *ctx, int six)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	volatile __u16 *from = (volatile __u16 *)(six ? bench.head6 : bench.head4);
	__u16 *to = data;

	if (data + HEAD_BYTES > data_end)
		return 0;
#pragma unroll
	for (int i = 0; i < HEAD_BYTES / 2; i++)
		to[i] = from[i];
	bench.state = bench.state * 6364136223846793005ull + 1442695040888963407ull;
	__u32 n = (bench.state >> 32) * flows >> 32;

	if (six) {
		struct ipv6hdr *ip = data + sizeof(struct ethhdr);
		struct tcphdr *tcp = (void *)(ip + 1);

		ip->saddr.in6_u.u6_addr32[3] = bpf_htonl(n >> 14);
		tcp->source = bpf_htons(1024 + (n & 0x3fff));
	} else {
		struct iphdr *ip = data + sizeof(struct ethhdr);
		struct tcphdr *tcp = (void *)(ip + 1);
		__be32 client = bpf_htonl(0x0a000000 + (n >> 14));

		/* The head has 0 for the client. */
		ip->saddr = client;
		ip->check = change_checksum(ip->check, client);
		tcp->source = bpf_htons(1024 + (n & 0x3fff));
	}
	return 1;
}

#define BENCH(name, six, what)                                                                                                 \
	SEC("xdp.frags") int name(struct xdp_md *ctx)                                                                          \
	{                                                                                                                      \
		struct packet p __attribute__((unused));                                                                        \
		if (!renew(ctx, six))                                                                                          \
			return XDP_ABORTED;                                                                                    \
		what;                                                                                                          \
	}

static __always_inline int find_service(struct xdp_md *ctx, struct packet *p)
{
	union address destination = {};

	parse_frame(ctx, p);
	packet_destination(ctx, p, &destination);
	return service_find(&destination, p->ports[1], p->protocol);
}

BENCH(base_4, 0, return XDP_PASS)
BENCH(base_6, 1, return XDP_PASS)
BENCH(parse_4, 0, return parse_frame(ctx, &p) ? XDP_ABORTED : XDP_PASS)
BENCH(parse_6, 1, return parse_frame(ctx, &p) ? XDP_ABORTED : XDP_PASS)
BENCH(service_4, 0, return find_service(ctx, &p) ? XDP_PASS : XDP_ABORTED)
BENCH(service_6, 1, return find_service(ctx, &p) ? XDP_PASS : XDP_ABORTED)
BENCH(route_4, 0, return forwarder_route(ctx, &p, find_service(ctx, &p), bpf_ktime_get_coarse_ns()) ? XDP_PASS : XDP_ABORTED)
BENCH(route_6, 1, return forwarder_route(ctx, &p, find_service(ctx, &p), bpf_ktime_get_coarse_ns()) ? XDP_PASS : XDP_ABORTED)
static __always_inline int hooked(struct xdp_md *ctx, struct packet *p)
{
	int parsed = parse_frame(ctx, p);

	capture_begin(ctx, p, parsed);
	return capture_end(forwarder_packet(ctx, p, parsed));
}

BENCH(hooked_4, 0, return hooked(ctx, &p))
BENCH(hooked_6, 1, return hooked(ctx, &p))
BENCH(whole_4, 0, return forwarder_packet(ctx, &p, parse_frame(ctx, &p)))
BENCH(whole_6, 1, return forwarder_packet(ctx, &p, parse_frame(ctx, &p)))
