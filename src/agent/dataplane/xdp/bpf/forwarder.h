/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The forwarder (R-A3, R-E8): a packet of a flow with a route gets the flow's identifier for its ports, this forwarder and the host for
 * its addresses, and goes on. Whatever is not that simple passes, unchanged, to the slow path behind (docs/ARCHITECTURE.md, decision 1).
 *
 *  1. Not to a VIP: passes. To a VIP, but none of its services: dropped.
 *  2. Fragments pass. So do TCP's SYN, FIN and RST, unless the service's flows are left to the kernel (classify.h).
 *  3. No route, or one that the agent holds: passes, unless the kernel may make one.
 *  4. This node is the host: passes, marked as done for what is behind (own-stack.h). But for that nothing is changed before 6.
 *  5. TTL used up, a frame to several receivers, no address of the host or of this forwarder, no known way there, or too small a one: passes.
 *  6. Rewritten, or put into another packet (encap.h), and sent.
 */
#ifndef SHUNT_FORWARDER_H
#define SHUNT_FORWARDER_H

#include "encap.h"
#include "own-stack.h"
#include "route-map.h"
#include "services.h"

/* Set before loading: from the headers of the two maps. */
const volatile __u32 routes4_buckets = 2, routes6_buckets = 2;
const volatile struct route_secret routes4_secret = {}, routes6_secret = {};

ROUTES(routes4, route_bucket);
ROUTES(routes6, route_bucket6);

#define ROUTES4 ROUTE_TABLE4(routes4)
#define ROUTES6 ROUTE_TABLE6(routes6)

/* Where the packet wants to go; 0, or a negative `enum counter`. */
static __always_inline int packet_destination(struct xdp_md *ctx, const struct packet *p, union address *address)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return -COUNT_TRUNCATED;
		address->w[0] = address->w[1] = 0;
		address->w[2] = bpf_htonl(0xffff);
		address->v4[0] = ip->daddr;
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return -COUNT_TRUNCATED;
#pragma unroll
		for (int i = 0; i < 4; i++)
			address->w[i] = ip->daddr.in6_u.u6_addr32[i];
	}
	return 0;
}

/* The value of the flow's route, whose stamp is now; 0: there is none. */
static __always_inline __u64 forwarder_route(struct xdp_md *ctx, const struct packet *p, __u16 service, __u64 now)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct route_entry *entry = NULL;
	struct route_key key;
	__u64 value;

	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return 0;
		route_key4(ROUTES4, &key, ip->saddr, p->ports[0], service);
		value = route_find(ROUTES4, &key, &entry);
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return 0;
		const __be32 *words = ip->saddr.in6_u.u6_addr32;

		route_key6(ROUTES6, &key, words[0] | (__u64)words[1] << 32, words[2] | (__u64)words[3] << 32, p->ports[0], service);
		value = route_find(ROUTES6, &key, &entry);
	}
	if (value && entry)
		route_touch(entry, value, tick_of(now));
	return value;
}

/* Steps 5 and 6, of which the last cannot fail. */
static __always_inline int forwarder_send(struct xdp_md *ctx, struct packet *p, __u16 service, __u32 identifier, __u64 now)
{
	__u32 host = identifier >> 24;
	__be32 ports = bpf_htonl(identifier);
	union address src, dst = {};
	struct next_hop hop;
	int result;

	if (p->ttl <= 1)
		return pass(COUNT_TTL_EXPIRED);
	if (to_several(ctx))
		return pass(COUNT_LINK_MULTICAST);
	if (!tunnel_address(p, &src))
		return pass(COUNT_NO_HOST);
	result = host_address(host, p, &dst);
	if (!result)
		result = next_hop_find(ctx, p, host, &src, &dst, ports, now, &hop);
	if (!result)
		result = next_hop_room(ctx, p, &hop);
	if (result)
		return pass(-result);

	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	rewrite_tuple(data, data_end, p, &src, &dst, ports);
	decrement_ttl(data, data_end, p);
	next_hop_write(data, data_end, p, &hop);
	count_traffic(&service_traffic, service, p);
	count_traffic(&host_traffic, host, p);
	if (hop.device.link == ctx->ingress_ifindex) {
		count(COUNT_SENT_BACK);
		return XDP_TX;
	}
	count(COUNT_REDIRECTED);
	return bpf_redirect(hop.device.link, 0);
}

/* classify.h: apart, for the verifier's sake. */
__u64 classify_packet(struct xdp_md *ctx, struct packet *p, __u32 service);
int class_ends(struct xdp_md *ctx, struct packet *p, __u32 service, __u64 value);

/* `parsed`: what parse_frame answered. Answers the verdict, which is counted. */
static __always_inline int forwarder_packet(struct xdp_md *ctx, struct packet *p, int parsed)
{
	union address destination = {};
	__u16 service;
	__u64 value, now;
	__u32 *vip, found;

	if (parsed && !p->family)
		return pass(-parsed);
	if (packet_destination(ctx, p, &destination))
		return pass(COUNT_TRUNCATED);
	if (parsed || p->is_fragment) {
		if (!vip_find(&destination))
			return pass(COUNT_NOT_A_VIP);
		return pass(parsed ? -parsed : COUNT_FRAGMENT);
	}
	service = found = service_find(&destination, p->ports[1], p->protocol);
	if (!service) {
		vip = vip_find(&destination);
		if (!vip)
			return pass(COUNT_NOT_A_VIP);
		if (*vip & VIP_OPEN)
			return pass(COUNT_NO_ROUTE);
		count(COUNT_NOT_A_SERVICE);
		return XDP_DROP;
	}
	now = time_now();
	value = forwarder_route(ctx, p, service, now);
	if (!value) {
		value = classify_packet(ctx, p, service);
		if (!(value & ROUTE_USED))
			return value;
	} else if (p->tcp_flags & TCP_CONTROL || route_state(value) == ROUTE_RESET) {
		if (route_state(value) == ROUTE_HELD || (!class_ends(ctx, p, service, value) && p->tcp_flags & TCP_CONTROL))
			return pass(COUNT_TCP_CONTROL);
	} else if (route_state(value) == ROUTE_HELD) {
		return pass(COUNT_NOT_MAPPED);
	}
	if (config.local_host && route_host(value) == config.local_host) {
		count_traffic(&service_traffic, service, p);
		count_traffic(&host_traffic, config.local_host, p);
		mark_for_stack((void *)(long)ctx->data, (void *)(long)ctx->data_end);
		return pass(COUNT_LOCAL);
	}
	if (found & SERVICE_ENCAPSULATE)
		return encap_send(ctx, p, service, route_host(value), now);
	if (!(value & ROUTE_MAPPED))
		return pass(COUNT_NOT_MAPPED);
	return forwarder_send(ctx, p, service, route_identifier(value), now);
}

#include "classify.h"

#endif
