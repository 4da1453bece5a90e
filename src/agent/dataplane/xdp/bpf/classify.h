/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * First packets (R-A3, R-G3; docs/ARCHITECTURE.md, decision 35): a flow without a route of a service that the agent has left to the kernel.
 *
 *  1. A packet that opens a flow (SYN, or the first one of UDP) gets the host of its part of the clients, and an identifier of those that the
 *     agent has put ready for it; the flow becomes an entry of the table of embryonic ones, the agent is told, and the packet goes to the host
 *     behind a mapping header.
 *  2. So do all that follow, until the host has acknowledged (map_ack): then the next one that is no SYN makes it a route, and is tunnelled.
 *  3. Whatever does not fit, or is nobody's, passes: the agent knows of the flow, or finds it in the table.
 *
 * Of both families, by an IPv4 network between the nodes.
 */
#ifndef SHUNT_CLASSIFY_H
#define SHUNT_CLASSIFY_H

#include "class-datagram.h"
#include "class-flows.h"

/* Why a packet is the agent's, when nothing more can be said of it. */
static __always_inline __u64 class_pass(const struct packet *p)
{
	return pass(p->tcp_flags & TCP_CONTROL ? COUNT_TCP_CONTROL : COUNT_NO_ROUTE);
}

/* The host's index by the cluster's choice: as src/agent/classify/rendezvous.ts; 0: there is none. */
static __always_inline __u32 class_choose(struct class_scratch *s, const struct class_service *service, const struct packet *p)
{
	__u32 table = service->choices, hash;
	struct class_choices *choices = bpf_map_lookup_elem(&class_choices, &table);

	if (!choices)
		return 0;
	s->words[8] = (__u32)bpf_ntohs(p->ports[0]) << 16 | bpf_ntohs(p->ports[1]);
	s->words[9] = p->protocol;
	hash = half_siphash13(class_config.choice_key[0], class_config.choice_key[1], s->words, 10);
	return *(volatile __u8 *)&choices->hosts[hash >> CLASS_CHOICE_SHIFT & (CLASS_CHOICES - 1)];
}

/* An identifier for a flow of the host, or 0. `*low`: half of them are gone, which only one of those who take is told. */
static __always_inline __u32 class_take(struct class_pool *pool, __u32 *low)
{
#pragma clang loop unroll(disable)
	for (int tries = 0; tries < ROUTE_TRIES; tries++) {
		__u32 head = ROUTE_LOAD(&pool->head), tail = ROUTE_LOAD(&pool->tail);

		if (head == tail)
			return 0;
		__u32 identifier = ROUTE_LOAD(&pool->identifiers[head & (CLASS_POOL - 1)]);

		if (ROUTE_CAS(&pool->head, head, head + 1) == head) {
			*low = tail - head == CLASS_POOL / 2;
			return identifier;
		}
	}
	return 0;
}

/* The packet's addresses, into the words of the choice. */
static __always_inline void class_words4(struct class_scratch *s, __be32 client, __be32 vip)
{
	s->words[0] = s->words[1] = s->words[4] = s->words[5] = 0;
	s->words[2] = s->words[6] = 0xffff;
	s->words[3] = bpf_ntohl(client);
	s->words[7] = bpf_ntohl(vip);
}

static __always_inline void class_words6(struct class_scratch *s)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		s->words[i] = bpf_ntohl(s->client.w[i]);
		s->words[4 + i] = bpf_ntohl(s->vip.w[i]);
	}
}

/* s->client and s->vip; false: there are none. */
static __always_inline int class_addresses6(struct xdp_md *ctx, const struct packet *p, struct class_scratch *s)
{
	struct ipv6hdr *ip = packet_ipv6((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);

	if (!ip)
		return 0;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		s->client.w[i] = ip->saddr.in6_u.u6_addr32[i];
		s->vip.w[i] = ip->daddr.in6_u.u6_addr32[i];
	}
	return 1;
}

static __always_inline int class_opens(const struct packet *p)
{
	return p->protocol != IPPROTO_TCP || (p->tcp_flags & (TCP_CONTROL | TCP_ACK)) == TCP_SYN;
}

static __always_inline __u64 class_opened(struct class_scratch *s, int six, __u64 value, __u32 now)
{
	return six ? class_open6(s, value, now) : class_open4(s, value, now);
}

static __always_inline __u64 class_promoted(struct class_scratch *s, struct packet *p, __be32 client, __u32 service, __u64 value, __u32 now)
{
	if (p->family == 6)
		return class_promote6(s, p, service, value, now);
	route_key4(ROUTES4, &s->key, client, p->ports[0], service);
	return class_promote4(s, value, now);
}

/*
 * A packet of a service's flow that has no route. Answers the verdict, which is counted; or, with ROUTE_USED, the value of the route that the
 * packet has now, which is that of the own host or is mapped.
 */
__attribute__((noinline)) __u64 classify_packet(struct xdp_md *ctx, struct packet *p, __u32 service)
{
	struct class_scratch *s = class_scratch_of();
	struct class_service *class = bpf_map_lookup_elem(&class_services, &service);
	struct class_pool *pool;
	__be32 client = 0, vip = 0;
	__u32 host, low = 0;
	__u64 value, now, until = class ? ROUTE_LOAD(&class->until) : 0;
	int result, six, is_new = 0;

	if (!p)
		return XDP_ABORTED;
	if (!s || !class || !until || !class_config.on)
		return class_pass(p);
	now = time_now();
	if (until <= now)
		return pass(COUNT_GRACE_OVER);

	six = p->family == 6;
	if (six) {
		if (!class_addresses6(ctx, p, s))
			return pass(COUNT_TRUNCATED);
		value = class_find6(s, p, service, now);
	} else {
		struct iphdr *ip = packet_ipv4((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);

		if (!ip)
			return pass(COUNT_TRUNCATED);
		client = ip->saddr;
		vip = ip->daddr;
		value = class_find4(s, p, client, service, now);
	}
	if (value) {
		if (class_closes(p))
			return pass(COUNT_TCP_CONTROL);
		/* None overtakes those that wait there. */
		if (route_state(value) == ROUTE_HELD)
			return class_pass(p);
		host = route_host(value);
	} else {
		if (!class_opens(p))
			return class_pass(p);
		if (six)
			class_words6(s);
		else
			class_words4(s, client, vip);
		host = class_choose(s, class, p);
		if (!host)
			return class_pass(p);
		is_new = 1;
	}
	pool = bpf_map_lookup_elem(&class_pools, &host);
	if (!pool)
		return class_pass(p);
	if (is_new && now < class_config.vouched_until && ROUTE_LOAD(&pool->lease_until) <= now)
		return pass(COUNT_LEASE_OVER);

	if (config.local_host && host == config.local_host) {
		if (is_new) {
			value = class_opened(s, six, route_value(host << 24, ROUTE_EMBRYONIC, 0, ROUTE_MAPPED), tick_of(now));
			if (value)
				class_event(s, CLASS_OPENED, s->key.key, &s->key.client, value, 0);
			return value ? value : pass(COUNT_NO_ROOM);
		}
		if (!class_opens(p) || p->protocol != IPPROTO_TCP) {
			value = class_promoted(s, p, client, service, value, tick_of(now));
		}
		return value ? value : pass(COUNT_NO_ROOM);
	}

	if (value & ROUTE_MAPPED && class_config.tunnel_young && !(p->tcp_flags & TCP_SYN)) {
		value = class_promoted(s, p, client, service, value, tick_of(now));
		return value ? value : pass(COUNT_NO_ROOM);
	}

	/* All that can fail comes before an identifier is taken. */
	result = class_hop(ctx, p, host, now);
	if (result)
		return pass(-result);
	if (is_new) {
		__u32 identifier = class_take(pool, &low);

		if (!identifier)
			return pass(COUNT_NO_IDENTIFIER);
		value = class_opened(s, six, route_value(identifier, ROUTE_EMBRYONIC, 0, 0), tick_of(now));
		if (route_identifier(value) != identifier) {
			class_event(s, CLASS_UNUSED, 0, &s->key.client, identifier, 0);
			/* Another processor's packet of the flow was faster; this one is sent again by its client. */
			return pass(COUNT_NO_ROOM);
		}
		class_event(s, CLASS_OPENED, s->key.key, &s->key.client, value, low);
	}
	if (six)
		class_header6(s, pool, p, route_identifier(value), now);
	else
		class_header4(s, pool, p, client, vip, route_identifier(value), now);
	count_traffic(&service_traffic, service, p);
	count_traffic(&host_traffic, host, p);
	result = six ? class_send6(ctx, p, s) : class_send4(ctx, p, s);
	if (result)
		return pass(-result);
	count(is_new ? COUNT_CLASSIFIED : COUNT_WITH_MAPPING);
	if (s->hop.device.link == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(s->hop.device.link, 0);
}

/* The state that a packet gives its flow, or a negative number: the packet is the agent's. */
static __always_inline int class_state_after(const struct packet *p, __u32 service, __u32 was)
{
	if (!class_config.on || p->protocol != IPPROTO_TCP || p->tcp_flags & TCP_SYN)
		return -1;
	struct class_service *class = bpf_map_lookup_elem(&class_services, &service);

	if (!class || ROUTE_LOAD(&class->until) <= time_now())
		return -1;
	return p->tcp_flags & TCP_RST ? ROUTE_RESET : p->tcp_flags & TCP_FIN ? ROUTE_FIN : was == ROUTE_RESET ? ROUTE_YOUNG : was;
}

/* Whether the route of s->client's flow has that state now. */
__attribute__((noinline)) int class_set_state6(struct class_scratch *s, struct packet *p, __u32 service, __u32 state)
{
	if (!s || !p)
		return 0;
	class_key6(ROUTES6, s, p->ports[0], service);
	return route_set_state(ROUTES6, &s->key, state) == ROUTE_UPDATED;
}

static __always_inline int class_set_state4(struct class_scratch *s, const struct packet *p, __be32 client, __u32 service, __u32 state)
{
	route_key4(ROUTES4, &s->key, client, p->ports[0], service);
	return route_set_state(ROUTES4, &s->key, state) == ROUTE_UPDATED;
}

/*
 * A FIN or RST of a flow with a route of that value, or a packet after a RST. Answers whether it goes on by the route: so the agent hears of the
 * end, and keeps the flow for the packets that are still to come.
 */
__attribute__((noinline)) int class_ends(struct xdp_md *ctx, struct packet *p, __u32 service, __u64 value)
{
	struct class_scratch *s = class_scratch_of();
	__u32 was = route_state(value);
	int state, is_set;

	if (!p || !s)
		return 0;
	state = class_state_after(p, service, was);
	if (state < 0)
		return 0;
	if ((__u32)state == was)
		return 1;
	if (p->family == 6) {
		is_set = class_addresses6(ctx, p, s) && class_set_state6(s, p, service, state);
	} else {
		struct iphdr *ip = packet_ipv4((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);

		is_set = ip && class_set_state4(s, p, ip->saddr, service, state);
	}
	if (!is_set)
		return 0;
	class_event(s, state == ROUTE_YOUNG ? CLASS_REOPENED : CLASS_CLOSING, s->key.key, &s->key.client,
		    (value & ~ROUTE_STATE_MASK) | (__u64)state << ROUTE_STATE_SHIFT, 0);
	return 1;
}

#endif
