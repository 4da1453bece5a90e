// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The forwarder on packets of random flows, one a run; and its parts, so that what each of them costs can be told. */
#include "capture.h"
#include "forwarder.h"
#include "packet-plain.h"

#define HEAD_BYTES 78 /* Ethernet, IPv6 and TCP, to a whole word */

const volatile __u32 flows = 1;

struct bench {
	__u64 state;
	__u8 head4[HEAD_BYTES + 2], head6[HEAD_BYTES + 2]; /* of the packets; the clients' low bits and ports are 0 */
};
volatile struct bench bench = {};

/*
 * The packet as it came from a flow at random, whatever the last run made of it. No word of a header is written in parts: reading it
 * as a whole would then have to wait for the processor's stores, which it has not to after a card wrote it.
 */
static __always_inline int renew(struct xdp_md *ctx, int six)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	volatile __u8 *from = six ? bench.head6 : bench.head4;

	if (data + HEAD_BYTES > data_end)
		return 0;
	bench.state = bench.state * 6364136223846793005ull + 1442695040888963407ull;
	__u32 n = (bench.state >> 32) * flows >> 32;
	__be16 port = bpf_htons(1024 + (n & 0x3fff));

	*(__u64 *)data = *(volatile __u64 *)from;
	*(__u32 *)(data + 8) = *(volatile __u32 *)(from + 8);
	*(__u16 *)(data + 12) = *(volatile __u16 *)(from + 12);
#pragma unroll
	for (int at = 14; at < HEAD_BYTES; at += 4) {
		__u32 word = *(volatile __u32 *)(from + at);

		if (six && at == 14 + 20) /* the client's last word */
			word = bpf_htonl(n >> 14);
		if (!six && at == 14 + 12)
			word = bpf_htonl(0x0a000000 + (n >> 14));
		/* The head has 0 for the client. TTL and protocol stand before the checksum. */
		if (!six && at == 14 + 8)
			word = (word & 0xffff) | (__u32)change_checksum(word >> 16, bpf_htonl(0x0a000000 + (n >> 14))) << 16;
		if (at == (six ? 14 + 40 : 14 + 20))
			word |= port;
		*(__u32 *)(data + at) = word;
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

	parse_any(ctx, p);
	packet_destination(ctx, p, &destination);
	return service_find(&destination, p->ports[1], p->protocol);
}

BENCH(base_4, 0, return XDP_TX)
BENCH(base_6, 1, return XDP_TX)
BENCH(parse_4, 0, return parse_any(ctx, &p) ? XDP_ABORTED : XDP_PASS)
BENCH(parse_6, 1, return parse_any(ctx, &p) ? XDP_ABORTED : XDP_PASS)
BENCH(service_4, 0, return find_service(ctx, &p) ? XDP_PASS : XDP_ABORTED)
BENCH(service_6, 1, return find_service(ctx, &p) ? XDP_PASS : XDP_ABORTED)
BENCH(route_4, 0, return forwarder_route(ctx, &p, find_service(ctx, &p), time_now()) ? XDP_PASS : XDP_ABORTED)
BENCH(route_6, 1, return forwarder_route(ctx, &p, find_service(ctx, &p), time_now()) ? XDP_PASS : XDP_ABORTED)
static __always_inline int hooked(struct xdp_md *ctx, struct packet *p)
{
	int parsed = parse_any(ctx, p);

	capture_begin(ctx, p, parsed);
	return capture_end(forwarder_packet(ctx, p, parsed));
}

BENCH(hooked_4, 0, return hooked(ctx, &p))
BENCH(hooked_6, 1, return hooked(ctx, &p))
BENCH(whole_4, 0, return forwarder_packet(ctx, &p, parse_any(ctx, &p)))
BENCH(whole_6, 1, return forwarder_packet(ctx, &p, parse_any(ctx, &p)))
