/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a packet goes next, by the kernel's own routes, neighbours and MTUs; and the frame's header for it. */
#ifndef SHUNT_NEXT_HOP_H
#define SHUNT_NEXT_HOP_H

#include "hosts.h"

#define FIB_AF_INET 2
#define FIB_AF_INET6 10
#define FLOWINFO6 bpf_htonl(0x0fffffff)

struct next_hop {
	struct device device;
	__u8 source[ETH_ALEN], destination[ETH_ALEN];
};

/*
 * One processor's last next hop of a host, by its index and family. The kernel's look-up costs more than all the rest of a packet; what it
 * answered is used again for some time (config.hop_life_ns). A host that is reached by several ways at once (multipath) then has one of
 * them for all its flows at a time.
 */
struct known_hop {
	__u64 until; /* ns of CLOCK_MONOTONIC */
	__u32 generation;
	__u32 mtu;
	struct next_hop hop;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * HOSTS);
	__type(key, __u32);
	__type(value, struct known_hop);
} known_hops SEC(".maps");

/* Whether the frame's address is one of several receivers, or of all. */
static __always_inline int to_several(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	return (void *)(ethernet + 1) > (void *)(long)ctx->data_end || ethernet->h_dest[0] & 1;
}

/* For a frame that goes back the way that it came. */
static __always_inline void swap_frame(struct ethhdr *ethernet)
{
	__u16 *halves = (__u16 *)ethernet;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u16 half = halves[i];

		halves[i] = halves[i + 3];
		halves[i + 3] = half;
	}
}

static __always_inline int next_hop_interface(__u32 interface, struct next_hop *hop)
{
	struct device *device = bpf_map_lookup_elem(&devices, &interface);

	if (!device)
		return -COUNT_OTHER_INTERFACE;
	hop->device = *device;
	return 0;
}

/* What a packet will have when it goes on. */
struct next_tuple {
	union address src, dst;
	__be32 ports;
};

/*
 * The kernel's answer for such a packet: the MTU of the way, or a negative `enum counter`. Not inline: what it needs on the stack is not there
 * for the rest of a program.
 */
static __noinline int next_hop_look_up(struct xdp_md *ctx, const struct packet *p, const struct next_tuple *tuple, struct next_hop *hop)
{
	int result;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 length = p->end - p->l3;
	struct bpf_fib_lookup fib = {
		.ifindex = config.fib_interface,
		.l4_protocol = p->protocol,
		.sport = ((const __be16 *)&tuple->ports)[0],
		.dport = ((const __be16 *)&tuple->ports)[1],
		.tot_len = length > 0xffff ? 0xffff : length,
	};

	if (!fib.ifindex)
		fib.ifindex = ctx->ingress_ifindex;
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return -COUNT_TRUNCATED;
		fib.family = FIB_AF_INET;
		/* An IPv6 packet that goes on inside one of IPv4 (classify.h) asks for nothing. */
		fib.tos = ip->version == 4 ? ip->tos : 0;
		fib.ipv4_src = tuple->src.v4[0];
		fib.ipv4_dst = tuple->dst.v4[0];
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return -COUNT_TRUNCATED;
		fib.family = FIB_AF_INET6;
		fib.flowinfo = *(__be32 *)ip & FLOWINFO6;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			fib.ipv6_src[i] = tuple->src.w[i];
			fib.ipv6_dst[i] = tuple->dst.w[i];
		}
	}
	switch (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return -COUNT_NO_NEIGHBOUR;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return -COUNT_TOO_BIG;
	default:
		return -COUNT_NO_NEXT_HOP;
	}
	__builtin_memcpy(hop->source, fib.smac, ETH_ALEN);
	__builtin_memcpy(hop->destination, fib.dmac, ETH_ALEN);
	result = next_hop_interface(fib.ifindex, hop);
	return result ? result : fib.mtu_result;
}

/* The way of a packet to a host, by its index: 0, or a negative `enum counter`. */
static __always_inline int next_hop_find(struct xdp_md *ctx, const struct packet *p, __u32 host, const union address *src, const union address *dst, __be32 ports,
					 __u64 now, struct next_hop *hop)
{
	__u32 index = host * 2 + (p->family == 6), life = config.hop_life_ns, generation = config.hop_generation;
	struct known_hop *known = life ? bpf_map_lookup_elem(&known_hops, &index) : NULL;
	int mtu;

	if (known && known->until > now && known->generation == generation && p->end - p->l3 <= known->mtu) {
		*hop = known->hop;
		return 0;
	}
	/* Only now on the stack. */
	struct next_tuple tuple = { .src = *src, .dst = *dst, .ports = ports };

	mtu = next_hop_look_up(ctx, p, &tuple, hop);
	if (mtu < 0)
		return mtu;
	if (known) {
		known->generation = generation;
		known->mtu = mtu;
		known->hop = *hop;
		known->until = now + life;
	}
	return 0;
}

/* Makes room for as many VLAN tags as the way there has, 0 or 1; the packet begins elsewhere then. Before that nothing was changed. */
static __always_inline int next_hop_room(struct xdp_md *ctx, struct packet *p, const struct next_hop *hop)
{
	int surplus = p->vlan_tags - (hop->device.vlan_type ? 1 : 0), bytes = surplus * (int)sizeof(struct vlan_tag);

	if (!surplus)
		return 0;
	if (bpf_xdp_adjust_head(ctx, bytes))
		return -COUNT_OTHER_INTERFACE;
	p->l3 -= bytes;
	p->l4 -= bytes;
	p->end -= bytes;
	p->vlan_tags -= surplus;
	return 0;
}

/* Writes the frame's header. */
static __always_inline int next_hop_write(void *data, void *data_end, const struct packet *p, const struct next_hop *hop)
{
	struct ethhdr *ethernet = data;
	struct vlan_tag *tag = (void *)(ethernet + 1);
	__be16 type = p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);

	if ((void *)(tag + 1) > data_end)
		return -COUNT_TRUNCATED;
	__builtin_memcpy(ethernet->h_source, hop->source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, hop->destination, ETH_ALEN);
	if (hop->device.vlan_type) {
		ethernet->h_proto = hop->device.vlan_type;
		tag->tci = hop->device.vlan_tci;
		tag->type = type;
	} else {
		ethernet->h_proto = type;
	}
	return 0;
}

#endif
