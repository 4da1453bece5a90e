/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Full encapsulation (R-A4): the packet goes to its host as it is, in a new IP packet of the same family (RFC 2003; RFC 2473, section 3),
 * so that what stands between forwarder and host sees real ports. The host needs no mapping for it.
 *
 *    link header | outer: tunnel address -> host, TTL 64 | inner: one hop less, else untouched
 *
 * DSCP and ECN are the inner ones (RFC 6040, section 4.1), and so is DF: what must not be fragmented inside must not be outside.
 */
#ifndef SHUNT_ENCAP_H
#define SHUNT_ENCAP_H

#include "next-hop.h"

#define OUTER_TTL 64
#define DONT_FRAGMENT4 0x4000

/* Bytes of the outer header. */
static __always_inline __u32 outer_bytes(const struct packet *p)
{
	return p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Room for the outer header and for as many VLAN tags as the way there has, at once: nothing has changed if there is none. */
static __always_inline int encap_room(struct xdp_md *ctx, const struct packet *p, const struct next_hop *hop)
{
	int surplus = p->vlan_tags - (hop->device.vlan_type ? 1 : 0);

	if (bpf_xdp_adjust_head(ctx, surplus * (int)sizeof(struct vlan_tag) - (int)outer_bytes(p)))
		return -COUNT_NO_HEADROOM;
	return 0;
}

static __always_inline void write_outer4(struct iphdr *outer, const struct iphdr *inner, const union address *src, const union address *dst, __u32 length)
{
	const __u32 *words = (const __u32 *)outer;
	__be16 atomic = inner->frag_off & bpf_htons(DONT_FRAGMENT4);

	outer->version = 4;
	outer->ihl = sizeof(*outer) / 4;
	outer->tos = inner->tos;
	outer->tot_len = bpf_htons(length + sizeof(*outer));
	/* One that is never fragmented needs none (RFC 6864, section 4); another's must not be repeated soon. */
	outer->id = atomic ? 0 : bpf_get_prandom_u32();
	outer->frag_off = atomic;
	outer->ttl = OUTER_TTL;
	outer->protocol = IPPROTO_IPIP;
	outer->check = 0;
	outer->saddr = src->v4[0];
	outer->daddr = dst->v4[0];
	outer->check = ~fold_sum((__u64)words[0] + words[1] + words[2] + words[3] + words[4]);
}

static __always_inline void write_outer6(struct ipv6hdr *outer, const struct ipv6hdr *inner, const union address *src, const union address *dst, __u32 length)
{
	/* Version, traffic class and flow label. */
	*(__be32 *)outer = *(const __be32 *)inner;
	outer->payload_len = bpf_htons(length);
	outer->nexthdr = IPPROTO_IPV6;
	outer->hop_limit = OUTER_TTL;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		outer->saddr.in6_u.u6_addr32[i] = src->w[i];
		outer->daddr.in6_u.u6_addr32[i] = dst->w[i];
	}
}

/* Both headers and the frame's, once there is room: `p` is still of the packet as it came. */
static __always_inline void encap_write(struct xdp_md *ctx, struct packet *p, const union address *src, const union address *dst, const struct next_hop *hop)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 length = p->end - p->l3;

	p->l3 = sizeof(struct ethhdr) + (hop->device.vlan_type ? sizeof(struct vlan_tag) : 0);
	if (p->family == 4) {
		struct iphdr *outer = packet_ipv4(data, data_end, p);

		if (!outer || (void *)(outer + 2) > data_end)
			return;
		/* The inner one is decremented as by any router (RFC 2003, section 3.1). */
		__u32 check = outer[1].check + bpf_htons(0x100);

		outer[1].ttl--;
		outer[1].check = check + (check >= 0xffff);
		write_outer4(outer, outer + 1, src, dst, length);
	} else {
		struct ipv6hdr *outer = packet_ipv6(data, data_end, p);

		if (!outer || (void *)(outer + 2) > data_end)
			return;
		outer[1].hop_limit--;
		write_outer6(outer, outer + 1, src, dst, length);
	}
	next_hop_write(data, data_end, p, hop);
}

/*
 * Sends the packet of a flow to its host in full encapsulation. Answers the verdict, which is counted. Global, so that the verifier looks at it
 * once: 5,000 instructions of its million.
 */
__attribute__((noinline)) int encap_send(struct xdp_md *ctx, struct packet *p, __u32 service, __u32 host, __u64 now)
{
	union address src, dst = {};
	struct next_hop hop;
	struct packet outer;
	int result;

	if (!p)
		return pass(COUNT_TRUNCATED);
	if (p->ttl <= 1)
		return pass(COUNT_TTL_EXPIRED);
	if (to_several(ctx))
		return pass(COUNT_LINK_MULTICAST);
	if (!tunnel_address(p, &src))
		return pass(COUNT_NO_HOST);
	/* As the way there sees it. */
	outer = *p;
	outer.end += outer_bytes(p);
	outer.protocol = p->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	if (outer.end - outer.l3 > 0xffff)
		return pass(COUNT_TOO_BIG);
	result = host_address(host, p, &dst);
	if (!result)
		result = next_hop_find(ctx, &outer, host, &src, &dst, 0, now, &hop);
	if (!result)
		result = encap_room(ctx, p, &hop);
	if (result)
		return pass(-result);
	count_traffic(&service_traffic, service, p);
	count_traffic(&host_traffic, host, p);
	encap_write(ctx, p, &src, &dst, &hop);
	count(COUNT_ENCAPSULATED);
	return hop.device.link == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(hop.device.link, 0);
}

#endif
