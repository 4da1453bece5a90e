/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The host (R-E8): a packet from a forwarder's tunnel address to this node gets back what the forwarder took from it, the client and the
 * VIP for its addresses and their ports for the identifier, and goes into the own stack. Whatever is not that simple passes, unchanged,
 * to the slow path behind.
 *
 *  1. Not from a tunnel address that is known to an address of this node: not the host's.
 *  2. A whole packet inside (decap.h): taken out.
 *     Fragments, and TCP's SYN: pass. A damaged packet passes too.
 *  3. No mapping of the identifier, in the tunnel's generation, to a service that this node has, of the packet's protocol: passes, and
 *     the slow path asks the forwarder.
 *  4. Restored, with its checksums; TTL as it came. Of FIN and RST the agent is told (learn.h).
 */
#ifndef SHUNT_HOST_H
#define SHUNT_HOST_H

#include "decap.h"
#include "learn.h"

/* The word of the tunnel that the packet came by, or 0. */
static __always_inline __u32 host_tunnel(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return 0;
		__be32 tunnel[4] = { [3] = ip->saddr }, own[4] = { [3] = ip->daddr };

		return tunnel_find(tunnel, own, 4);
	}
	struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

	return ip ? tunnel_find(ip->saddr.in6_u.u6_addr32, ip->daddr.in6_u.u6_addr32, 6) : 0;
}

/* The mapping of the packet's identifier, whose stamp is now: 0, or a negative `enum counter`. */
static __always_inline int host_mapping(const struct packet *p, __u32 tunnel, struct mapping *mapping)
{
	__u32 identifier = *(const __u32 *)p->ports;
	__u8 index = tunnel, generation = tunnel >> 8;
	struct route_entry *entry = NULL;
	__u64 word;

	if (p->family == 4)
		word = mapping_find(MAPPINGS4, identifier, index, generation, mapping, &entry);
	else
		word = mapping_find(MAPPINGS6, identifier, index, generation, mapping, &entry);
	if (!word || !entry)
		return learnt_find(identifier, tunnel, p->family, mapping) ? 0 : -COUNT_NO_MAPPING;
	mapping_touch(entry, word, tick_now());
	return 0;
}

/* Client and VIP of a mapping, and their ports: 0, or a negative `enum counter`. */
static __always_inline int host_tuple(const struct packet *p, const struct mapping *mapping, union address *client, union address *vip, __be32 *ports)
{
	__u32 service = mapping->service;
	struct target *target = bpf_map_lookup_elem(&targets, &service);

	if (!target)
		return -COUNT_NOT_TO_VIP;
	__u32 word = *(volatile __u32 *)&target->word;

	if ((word >> 16 & 0xff) != p->protocol || !(word >> 24 & (p->family == 4 ? TARGET_IPV4 : TARGET_IPV6)))
		return -COUNT_NOT_TO_VIP;
	if (p->family == 4) {
		client->v4[0] = mapping->client4;
		vip->v4[0] = target->ipv4;
	} else {
		client->w[0] = mapping->client.high;
		client->w[1] = mapping->client.high >> 32;
		client->w[2] = mapping->client.low;
		client->w[3] = mapping->client.low >> 32;
#pragma unroll
		for (int i = 0; i < 4; i++)
			vip->w[i] = target->ipv6[i];
	}
	*ports = mapping->port | (word & 0xffff) << 16;
	return 0;
}

/*
 * `parsed`: what parse_frame answered. Answers the verdict, which is counted; or -1, with nothing counted, for a packet that did not come
 * by a tunnel.
 */
static __always_inline int host_packet(struct xdp_md *ctx, struct packet *p, int parsed)
{
	union address client = {}, vip = {};
	struct mapping mapping = {};
	__be32 ports = 0;
	__u32 tunnel, identifier = *(const __u32 *)p->ports;
	int result;

	tunnel = p->family ? host_tunnel(ctx, p) : 0;
	if (!tunnel)
		return -1;
	if (parsed == -COUNT_UNSUPPORTED_PROTOCOL && is_encapsulated(p)) {
		result = decap_packet(ctx, p);
		if (result < 0)
			return pass(-result);
		count_traffic(&service_traffic, result, p);
		return pass(COUNT_DECAPSULATED);
	}
	if (!parsed && p->is_fragment)
		parsed = -COUNT_FRAGMENT;
	if (!parsed && p->tcp_flags & TCP_SYN)
		parsed = -COUNT_TCP_CONTROL;
	result = parsed ? parsed : host_mapping(p, tunnel, &mapping);
	if (!result)
		result = host_tuple(p, &mapping, &client, &vip, &ports);
	if (result) {
		count(-result);
		return XDP_PASS;
	}
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	rewrite_tuple(data, data_end, p, &client, &vip, ports);
	mark_for_stack(data, data_end);
	count_traffic(&service_traffic, mapping.service, p);
	count(COUNT_RESTORED);
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		learn_control(identifier, tunnel, p->tcp_flags);
	return XDP_PASS;
}

/* A mapping datagram to this node that becomes the packet inside, or its own acknowledgement: the verdict, or -1, with nothing counted, for any other packet. */
static __always_inline int host_datagram(struct xdp_md *ctx, struct packet *p)
{
	int result = learn_concerns(p) ? learn_datagram(ctx, p) : 0;

	if (!result)
		return -1;
	if (result == COUNT_MAPPING_ANSWERED)
		result = learn_answer(ctx, p);
	count(result < 0 ? -result : result);
	return result == COUNT_MAPPING_ANSWERED ? XDP_TX : XDP_PASS;
}

#endif
