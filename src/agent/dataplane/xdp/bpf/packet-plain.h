/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What parse_frame says, in a third of the time, of what nearly all packets are: no tag, no options, no fragment, TCP or UDP, whole and in one
 * buffer. Whatever is not that is left to parse_frame.
 */
#ifndef SHUNT_PACKET_PLAIN_H
#define SHUNT_PACKET_PLAIN_H

#include "packet.h"

/* 0: it is something else, and nothing is said of it. */
static __always_inline int parse_plain(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	__u32 l4, end, length;
	__u8 protocol;

	if (data + sizeof(*ethernet) + sizeof(struct iphdr) > data_end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);

		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(FRAGMENT_MORE4 | FRAGMENT_OFFSET4) || !ipv4_checksum_right(ip, 0, data_end))
			return 0;
		l4 = sizeof(*ethernet) + sizeof(*ip);
		end = sizeof(*ethernet) + bpf_ntohs(ip->tot_len);
		protocol = ip->protocol;
		p->ttl = ip->ttl;
		p->family = 4;
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > data_end || ip->version != 6 || is_v4_mapped(&ip->saddr) || is_v4_mapped(&ip->daddr))
			return 0;
		l4 = sizeof(*ethernet) + sizeof(*ip);
		end = l4 + bpf_ntohs(ip->payload_len);
		protocol = ip->nexthdr;
		p->ttl = ip->hop_limit;
		p->family = 6;
	} else {
		return 0;
	}
	if (data + end > data_end)
		return 0;
	p->l3 = sizeof(*ethernet);
	p->l4 = l4;
	p->end = end;
	p->protocol = protocol;
	p->is_fragment = 0;
	p->vlan_tags = 0;
	p->tcp_flags = 0;
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + l4;

		if ((void *)(tcp + 1) > data_end || tcp->doff < 5 || l4 + tcp->doff * 4 > end)
			return 0;
		*(__u32 *)p->ports = *(__u32 *)tcp;
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->payload_hint = end - l4 - sizeof(*tcp);
		return 1;
	}
	if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = data + l4;

		if ((void *)(udp + 1) > data_end)
			return 0;
		length = bpf_ntohs(udp->len);
		if (length < sizeof(*udp) || l4 + length > end)
			return 0;
		*(__u32 *)p->ports = *(__u32 *)udp;
		p->payload_hint = end - l4 - sizeof(*udp);
		return 1;
	}
	return 0;
}

/* What parse_frame answers. */
static __always_inline int parse_any(struct xdp_md *ctx, struct packet *p)
{
	return parse_plain(ctx, p) ? 0 : parse_frame(ctx, p);
}

#endif
