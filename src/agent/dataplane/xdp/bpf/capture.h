/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * `shunt capture`: the heads of clients' packets to one VIP, as they came, with what became of each. Neither a socket nor tcpdump sees what
 * native XDP sends or drops. Off, it costs a load and a branch before the packet and after it. It ends by itself, also without an agent:
 * after so many packets, at that time.
 */
#ifndef SHUNT_CAPTURE_H
#define SHUNT_CAPTURE_H

#include "forwarder.h"

#define CAPTURE_BYTES 256
#define CAPTURE_RING_BYTES (256 << 10)

struct capture_config {
	__u32 on;   /* written last, and cleared first */
	__u32 snap; /* bytes of each packet, at most CAPTURE_BYTES */
	union address vip;
	union address client, mask; /* client & mask, as the VIP: IPv4 stands as v4-mapped */
	__be16 port;                /* of the VIP; 0: any */
	__u16 reserved[3];
	__u64 until_ns; /* CLOCK_MONOTONIC */
	__s64 left;     /* packets that may still come */
	__u64 lost;     /* the ring had no room */
};

volatile struct capture_config capture;

struct captured {
	__u64 at_ns; /* CLOCK_MONOTONIC */
	__u32 link;
	__u32 length; /* of the frame */
	__u16 bytes;  /* of it that follow */
	__u16 reason; /* enum counter */
	__u32 verdict;
	__u8 head[CAPTURE_BYTES];
};
SHUNT_EXPORT(struct, captured);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CAPTURE_RING_BYTES);
} captures SEC(".maps");

/* The packet that this processor is at: its head must be kept before it is rewritten. */
struct capture_scratch {
	__u64 counts[COUNTERS]; /* as they were */
	struct captured record; /* bytes 0: it is not wanted */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct capture_scratch);
} capture_scratches SEC(".maps");

static __always_inline int capture_wants(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	union address to = {}, from = {};

	if (!p->family || packet_destination(ctx, p, &to))
		return 0;
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return 0;
		from.w[2] = bpf_htonl(0xffff);
		from.v4[0] = ip->saddr;
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return 0;
#pragma unroll
		for (int i = 0; i < 4; i++)
			from.w[i] = ip->saddr.in6_u.u6_addr32[i];
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (to.w[i] != capture.vip.w[i] || (from.w[i] & capture.mask.w[i]) != capture.client.w[i])
			return 0;
	return 1;
}

/* Keeps the packet's head if it is wanted. */
static __noinline void capture_head(struct xdp_md *ctx, const struct packet *p, int parsed)
{
	__u32 zero = 0, snap = capture.snap;
	struct capture_scratch *scratch = bpf_map_lookup_elem(&capture_scratches, &zero);
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	__u64 length = bpf_xdp_get_buff_len(ctx);

	if (!scratch || !counts)
		return;
	scratch->record.bytes = 0;
	if (!capture_wants(ctx, p))
		return;
	/* A fragment or a damaged packet has no port that is known: it may be of any. */
	if (capture.port && !parsed && !p->is_fragment && p->ports[1] != capture.port)
		return;
	if (snap > length)
		snap = length;
	if (!snap || snap > CAPTURE_BYTES)
		return;
	scratch->record.at_ns = bpf_ktime_get_ns();
	if (scratch->record.at_ns > capture.until_ns || capture.left <= 0)
		return;
	if (bpf_xdp_load_bytes(ctx, 0, scratch->record.head, snap))
		return;
	scratch->record.link = ctx->ingress_ifindex;
	scratch->record.length = length;
	scratch->record.bytes = snap;
#pragma clang loop unroll(disable)
	for (int i = 0; i < COUNTERS; i++)
		scratch->counts[i] = counts->packets[i];
}

/* Sends the head that was kept, with the verdict and the one count that was made meanwhile. */
static __noinline int capture_send(int verdict)
{
	__u32 zero = 0;
	struct capture_scratch *scratch = bpf_map_lookup_elem(&capture_scratches, &zero);
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	__u64 bytes;

	if (!scratch || !counts)
		return verdict;
	bytes = scratch->record.bytes;
	scratch->record.bytes = 0;
	if (!bytes || bytes > CAPTURE_BYTES)
		return verdict;
	/* On several processors at once no more than were asked for. */
	if (__sync_fetch_and_add(&capture.left, -1) <= 0)
		return verdict;
	scratch->record.reason = COUNT_NONE;
#pragma clang loop unroll(disable)
	for (int i = 0; i < COUNTERS; i++)
		if (scratch->counts[i] != counts->packets[i])
			scratch->record.reason = i;
	scratch->record.verdict = verdict;
	scratch->record.bytes = bytes;
	if (bpf_ringbuf_output(&captures, &scratch->record, __builtin_offsetof(struct captured, head) + bytes, 0))
		__sync_fetch_and_add(&capture.lost, 1);
	scratch->record.bytes = 0;
	return verdict;
}

static __always_inline void capture_begin(struct xdp_md *ctx, const struct packet *p, int parsed)
{
	if (capture.on)
		capture_head(ctx, p, parsed);
}

static __always_inline int capture_end(int verdict)
{
	return capture.on ? capture_send(verdict) : verdict;
}

#endif
