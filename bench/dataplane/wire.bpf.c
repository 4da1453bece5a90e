// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* A source of packets of many flows, run in live mode, and a sink that counts them. */
#include "rewrite.h"

#define HEAD_BYTES 42 /* Ethernet, IPv4 and UDP; the client is 10.0.0.0, its port 0 */

struct wire {
	__u64 state;
	__u64 sunk;
	__u32 flows;
	__u32 out; /* interface that the packets enter by the far end of */
	__u8 head[HEAD_BYTES + 6];
};
volatile struct wire wire = {};

/* Memory comes back as those left it who had the packet before. */
SEC("xdp.frags") int source(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int at = 0; at < HEAD_BYTES; at += 2)
		*(__u16 *)(data + at) = *(volatile __u16 *)(wire.head + at);
	wire.state = wire.state * 6364136223846793005ull + 1442695040888963407ull;
	__u32 n = (wire.state >> 32) * wire.flows >> 32;
	__be32 client = bpf_htonl(0x0a000000 + (n >> 14));

	ip->check = change_checksum(ip->check, (__u64)(__u32)~ip->saddr + client);
	ip->saddr = client;
	udp->source = bpf_htons(1024 + (n & 0x3fff));
	return bpf_redirect(wire.out, 0);
}

SEC("xdp.frags") int sink(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&wire.sunk, 1);
	return XDP_DROP;
}
