/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The host's end of full encapsulation (R-A4, encap.h). What a forwarder's tunnel address sent to this node in a packet of protocol 4 or 41 is
 * taken out of it and goes into the own stack, if
 *
 *  1. the outer packet is whole and no fragment, and the inner one is neither, and within it;
 *  2. the inner one is TCP or UDP without extension headers, to a service that this node has;
 *  3. the network's marks can be carried over (RFC 6040, section 4.2).
 *
 * Otherwise it passes, unchanged, to the slow path behind, which decides and counts. No mapping is looked up: it says all itself.
 */
#ifndef SHUNT_DECAP_H
#define SHUNT_DECAP_H

#include "own-stack.h"
#include "services.h"
#include "targets.h"

#define ECN_MASK 3
#define ECN_ECT1 1
#define ECN_CE 3

/* What is inside: its length by itself, its family and destination, and the service's port and protocol. */
struct inner {
	union address destination;
	__u32 length;
	__be16 port;
	__u8 protocol;
	__u8 family;
	__u8 ecn;
};

static __always_inline int is_encapsulated(const struct packet *p)
{
	return p->family && !p->is_fragment && (p->protocol == IPPROTO_IPIP || p->protocol == IPPROTO_IPV6);
}

/* An L4 header's whole length is seen to be there by the stack; ports must be. */
static __always_inline int inner_ports(const void *l4, const void *data_end, __u32 room, struct inner *in)
{
	const __be16 *ports = l4;

	asm volatile("" : "+r"(ports)); /* one register for the check and the look, which the verifier wants */
	if (in->protocol != IPPROTO_TCP && in->protocol != IPPROTO_UDP)
		return -COUNT_BAD_INNER;
	if (room < (in->protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr)) || (const void *)(ports + 2) > data_end)
		return -COUNT_BAD_INNER;
	in->port = ports[1];
	return 0;
}

static __always_inline int parse_inner4(void *data, void *data_end, const struct packet *p, struct inner *in)
{
	struct iphdr *ip = data + (p->l4 & PACKET_L4_MASK);

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5)
		return -COUNT_BAD_INNER;
	__u32 header = ip->ihl * 4;

	in->length = bpf_ntohs(ip->tot_len);
	if (in->length < header || p->l4 + in->length > p->end || ip->frag_off & bpf_htons(FRAGMENT_MORE4 | FRAGMENT_OFFSET4))
		return -COUNT_BAD_INNER;
	in->family = 4;
	in->protocol = ip->protocol;
	in->ecn = ip->tos & ECN_MASK;
	in->destination.w[0] = in->destination.w[1] = 0;
	in->destination.w[2] = bpf_htonl(0xffff);
	in->destination.v4[0] = ip->daddr;
	return inner_ports((void *)ip + header, data_end, in->length - header, in);
}

static __always_inline int parse_inner6(void *data, void *data_end, const struct packet *p, struct inner *in)
{
	struct ipv6hdr *ip = data + (p->l4 & PACKET_L4_MASK);

	if ((void *)(ip + 1) > data_end || ip->version != 6)
		return -COUNT_BAD_INNER;
	in->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (p->l4 + in->length > p->end || is_v4_mapped(&ip->saddr) || is_v4_mapped(&ip->daddr))
		return -COUNT_BAD_INNER;
	in->family = 6;
	in->protocol = ip->nexthdr;
	in->ecn = ip->flow_lbl[0] >> 4 & ECN_MASK;
#pragma unroll
	for (int i = 0; i < 4; i++)
		in->destination.w[i] = ip->daddr.in6_u.u6_addr32[i];
	return inner_ports(ip + 1, data_end, in->length - sizeof(*ip), in);
}

static __always_inline __u8 outer_ecn(void *data, void *data_end, const struct packet *p)
{
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		return ip ? ip->tos & ECN_MASK : 0;
	}
	struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

	return ip ? ip->flow_lbl[0] >> 4 & ECN_MASK : 0;
}

/* RFC 6040, figure 4: what the inner packet's ECN becomes, or a negative counter for one that must not go on. */
static __always_inline int carried_ecn(__u8 outer, __u8 inner)
{
	if (!inner)
		return outer == ECN_CE ? -COUNT_CONGESTION_LOST : 0;
	return outer == ECN_CE || (outer == ECN_ECT1 && inner != ECN_CE) ? outer : inner;
}

/* Of a packet that begins at `data + at`. */
static __always_inline void write_ecn(void *data, void *data_end, __u32 at, __u8 family, __u8 ecn)
{
	if (family == 4) {
		struct iphdr *ip = data + (at & PACKET_L4_MASK);

		if ((void *)(ip + 1) > data_end)
			return;
		__be16 *first = (__be16 *)ip, before = *first;

		ip->tos = (ip->tos & ~ECN_MASK) | ecn;
		ip->check = change_checksum(ip->check, (__u64)(__u16)~before + *first);
		return;
	}
	struct ipv6hdr *ip = data + (at & PACKET_L4_MASK);

	if ((void *)(ip + 1) <= data_end)
		ip->flow_lbl[0] = (ip->flow_lbl[0] & ~(ECN_MASK << 4)) | ecn << 4;
}

/* The frame's header, with `p->vlan_tags` tags, from before the outer packet to before the inner one; 0, or a negative counter. */
static __always_inline int take_off_outer(struct xdp_md *ctx, const struct packet *p, __u8 family)
{
	__be16 type = family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct vlan_tag tags[PACKET_VLAN_TAGS] = {}, *tag = data + sizeof(struct ethhdr);
	struct ethhdr ethernet;
	__u32 shift = p->l4 - p->l3;

	if (data + sizeof(ethernet) > data_end)
		return -COUNT_TRUNCATED;
	__builtin_memcpy(&ethernet, data, sizeof(ethernet));
#pragma unroll
	for (int i = 0; i < PACKET_VLAN_TAGS; i++)
		if (i < p->vlan_tags) {
			if ((void *)(tag + i + 1) > data_end)
				return -COUNT_TRUNCATED;
			tags[i] = tag[i];
		}
	if (p->vlan_tags == 0)
		ethernet.h_proto = type;
	else if (p->vlan_tags == 1)
		tags[0].type = type;
	else
		tags[1].type = type;
	if (bpf_xdp_adjust_head(ctx, shift & PACKET_L4_MASK))
		return -COUNT_TRUNCATED;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	tag = data + sizeof(ethernet);
	if (data + sizeof(ethernet) > data_end)
		return -COUNT_TRUNCATED;
	__builtin_memcpy(data, &ethernet, sizeof(ethernet));
#pragma unroll
	for (int i = 0; i < PACKET_VLAN_TAGS; i++)
		if (i < p->vlan_tags && (void *)(tag + i + 1) <= data_end)
			tag[i] = tags[i];
	return 0;
}

/*
 * A packet of a known tunnel to this node, of protocol 4 or 41. Answers the number of the service if it was taken out, or a negative `enum
 * counter`: then it is as it came. Global, as encap_send is: 3,000 instructions.
 */
__attribute__((noinline)) int decap_packet(struct xdp_md *ctx, struct packet *p)
{
	struct inner in = {};
	int result, ecn;
	__u32 service;

	if (!p)
		return -COUNT_TRUNCATED;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	/* parse_frame does not look at the length of what it does not know. */
	if (p->end > bpf_xdp_get_buff_len(ctx))
		return -COUNT_TRUNCATED;
	result = p->protocol == IPPROTO_IPIP ? parse_inner4(data, data_end, p, &in) : parse_inner6(data, data_end, p, &in);
	if (result)
		return result;
	service = (__u16)service_find(&in.destination, in.port, in.protocol);
	if (!service || !host_serves(service, in.family, in.protocol))
		return -COUNT_NOT_TO_VIP;
	ecn = carried_ecn(outer_ecn(data, data_end, p), in.ecn);
	if (ecn < 0)
		return ecn;
	result = take_off_outer(ctx, p, in.family);
	if (result)
		return result;
	/* Of the inner packet from here on. */
	p->end = p->l3 + in.length;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (ecn != in.ecn)
		write_ecn(data, data_end, p->l3, in.family, ecn);
	mark_for_stack(data, data_end);
	return service;
}

#endif
