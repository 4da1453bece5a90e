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
 * IPv4, by an IPv4 network between the nodes; all other flows pass.
 */
#ifndef SHUNT_CLASSIFY_H
#define SHUNT_CLASSIFY_H

#include "class-maps.h"

const volatile __u32 embryos4_buckets = 2;

ROUTES(embryos4, route_bucket);

/* Of the same keys as the routes' table. */
#define EMBRYOS4 &(struct route_table){ .map = &embryos4, .secret = &routes4_secret, .buckets = embryos4_buckets }

/* Why a packet is the agent's, when nothing more can be said of it. */
static __always_inline __u64 class_pass(const struct packet *p)
{
	return pass(p->tcp_flags & TCP_CONTROL ? COUNT_TCP_CONTROL : COUNT_NO_ROUTE);
}

/* The host's index by the cluster's choice: as src/agent/classify/rendezvous.ts; 0: there is none. */
static __always_inline __u32 class_choose(struct class_scratch *s, const struct class_service *service, const struct packet *p, __be32 client, __be32 vip)
{
	__u32 table = service->choices, hash;
	struct class_choices *choices = bpf_map_lookup_elem(&class_choices, &table);

	if (!choices)
		return 0;
	s->words[0] = s->words[1] = s->words[4] = s->words[5] = 0;
	s->words[2] = s->words[6] = 0xffff;
	s->words[3] = bpf_ntohl(client);
	s->words[7] = bpf_ntohl(vip);
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

/* The embryonic flow of s->key with that value, or the one that another processor has made meanwhile; 0: there is no room. */
__attribute__((noinline)) __u64 class_open(struct class_scratch *s, __u64 value, __u32 now)
{
	if (!s)
		return 0;
	int result = route_insert(EMBRYOS4, &s->key, value, now, &s->outcome);

	if (s->outcome.victim_value)
		class_event(s, CLASS_GONE, s->outcome.victim_key, &s->outcome.victim_client, s->outcome.victim_value, 0);
	if (result == ROUTE_INSERTED || result == ROUTE_KICKED || result == ROUTE_EVICTED)
		return value | ROUTE_USED;
	return result == ROUTE_EXISTS ? s->outcome.existing : 0;
}

/* The embryonic flow of s->key becomes a route; 0: there is no room. */
__attribute__((noinline)) __u64 class_promote(struct class_scratch *s, __u64 value, __u32 now)
{
	__u64 ignored;

	if (!s)
		return 0;
	value = (value & ~ROUTE_STATE_MASK) | (__u64)ROUTE_YOUNG << ROUTE_STATE_SHIFT;
	int result = route_insert(ROUTES4, &s->key, value, now, &s->outcome);

	if (s->outcome.victim_value)
		class_event(s, CLASS_ROUTE_GONE, s->outcome.victim_key, &s->outcome.victim_client, s->outcome.victim_value, 0);
	if (result == ROUTE_EXISTS)
		return s->outcome.existing;
	if (result != ROUTE_INSERTED && result != ROUTE_KICKED && result != ROUTE_EVICTED)
		return 0;
	class_event(s, CLASS_PROMOTED, s->key.key, &s->key.client, value | ROUTE_USED, 0);
	/* In one of the two tables at any time; its buckets in the other are others. */
	route_key_of(EMBRYOS4, &s->key, s->key.key, &s->key.client);
	route_remove(EMBRYOS4, &s->key, &ignored);
	return value | ROUTE_USED;
}

struct class_datagram {
	struct iphdr ip;
	struct udphdr udp;
	union mapping_header4 header;
	struct iphdr inner;
} __attribute__((packed, aligned(4)));

#define CLASS_OVERHEAD (sizeof(struct iphdr) + sizeof(struct udphdr) + MAPPING_HEADER4_BYTES)

/* Fills in what goes in front of the packet; it is signed. */
static __always_inline void class_header(struct class_scratch *s, const struct class_pool *pool, const struct packet *p, __be32 client, __be32 vip, __u32 identifier, __u64 now)
{
	union mapping_header4 *h = &s->header;
	struct siphash_key key = pool->key;

	h->fixed.magic = MAPPING_HEADER_MAGIC;
	h->fixed.version_kind = MAPPING_HEADER_VERSION << 4 | MAPPING_KIND_MAP;
	h->fixed.key_number = pool->key_number;
	h->fixed.flags = MAPPING_FLAG_INNER;
	h->fixed.epoch = bpf_htonl(class_config.epoch);
	h->fixed.sequence = bpf_htonl(__sync_fetch_and_add(&class_config.sequence, 1) + 1);
	h->fixed.time = bpf_htonl((__u32)((now + class_config.wall_ns) / 1000000000) + pool->clock_s);
	h->fixed.identifier = bpf_htonl(identifier);
	h->fixed.protocol = p->protocol;
	h->fixed.host = identifier >> 24;
	h->fixed.inner_length = bpf_htons(p->end - p->l3);
	h->fixed.ports[0] = p->ports[0];
	h->fixed.ports[1] = p->ports[1];
	h->client = client;
	h->vip = vip;
	h->node = config.tunnel4.w[3];
	mapping_sign4(&key, h);
}

static __always_inline __u16 class_ip_checksum(const struct iphdr *ip)
{
	const __u16 *words = (const __u16 *)ip;
	__u64 sum = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < 10; i++)
		sum += words[i];
	return ~fold_sum(sum);
}

/* Puts s->header and what carries it in front of the packet. There is room (class_hop), so that what fails here fails before a change. */
static __always_inline int class_send(struct xdp_md *ctx, struct packet *p, struct class_scratch *s)
{
	const struct next_hop *hop = &s->hop;
	__u32 length = p->end - p->l3 + CLASS_OVERHEAD;
	int surplus = p->vlan_tags - (hop->device.vlan_type ? 1 : 0);

	if (bpf_xdp_adjust_head(ctx, surplus * (int)sizeof(struct vlan_tag) - (int)CLASS_OVERHEAD))
		return -COUNT_OTHER_INTERFACE;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct class_datagram *out = data + sizeof(struct ethhdr) + (hop->device.vlan_type ? sizeof(struct vlan_tag) : 0);

	if ((void *)(out + 1) > data_end)
		return -COUNT_TRUNCATED;
	next_hop_write(data, data_end, p, hop);
	struct iphdr ip = { .version = 4, .ihl = 5, .tot_len = bpf_htons(length), .frag_off = bpf_htons(0x4000), .ttl = 64, .protocol = IPPROTO_UDP };

	ip.saddr = class_config.own4;
	ip.daddr = s->dst.v4[0];
	ip.check = class_ip_checksum(&ip);
	__builtin_memcpy(&out->ip, &ip, sizeof(ip));
	out->udp.source = out->udp.dest = class_config.port;
	out->udp.len = bpf_htons(length - sizeof(struct iphdr));
	out->udp.check = 0; /* none: the tag is a better one, and the packet inside has its own */
	__builtin_memcpy(&out->header, &s->header, sizeof(s->header));

	__u32 check = out->inner.check + bpf_htons(0x100);

	out->inner.check = check + (check >= 0xffff);
	out->inner.ttl--;
	return 0;
}

/* Where packets to the host go behind a header: 0, or a negative `enum counter`. */
__attribute__((noinline)) int class_hop(struct xdp_md *ctx, struct packet *p, __u32 host, __u64 now)
{
	struct class_scratch *s = class_scratch_of();
	int result;

	if (!s || !p)
		return -COUNT_TRUNCATED;

	if (p->ttl <= 1)
		return -COUNT_TTL_EXPIRED;
	if (to_several(ctx))
		return -COUNT_LINK_MULTICAST;
	s->src.v4[0] = class_config.own4;
	if (!config.tunnel4.w[3])
		return -COUNT_NO_HOST;
	result = host_address(host, p, &s->dst);
	if (result)
		return result;
	p->end += CLASS_OVERHEAD;
	result = next_hop_find(ctx, p, host, &s->src, &s->dst, 0, now, &s->hop);
	p->end -= CLASS_OVERHEAD;
	return result;
}

static __always_inline int class_opens(const struct packet *p)
{
	return p->protocol != IPPROTO_TCP || (p->tcp_flags & (TCP_CONTROL | TCP_ACK)) == TCP_SYN;
}

/*
 * A packet of a service's flow that has no route. Answers the verdict, which is counted; or, with ROUTE_USED, the value of the route that the
 * packet has now, which is that of the own host or is mapped.
 */
__attribute__((noinline)) __u64 classify_packet(struct xdp_md *ctx, struct packet *p, __u32 service)
{
	struct class_scratch *s = class_scratch_of();
	struct class_service *class = bpf_map_lookup_elem(&class_services, &service);
	struct route_entry *entry = NULL;
	struct class_pool *pool;
	__be32 client, vip;
	__u32 host, low = 0;
	__u64 value, now, until = class ? ROUTE_LOAD(&class->until) : 0;
	int result, is_new = 0;

	if (!p)
		return XDP_ABORTED;
	if (!s || !class || !until || p->family != 4 || !class_config.on)
		return class_pass(p);
	now = time_now();
	if (until <= now)
		return pass(COUNT_GRACE_OVER);

	struct iphdr *ip = packet_ipv4((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);

	if (!ip)
		return pass(COUNT_TRUNCATED);
	client = ip->saddr;
	vip = ip->daddr;
	route_key4(EMBRYOS4, &s->key, client, p->ports[0], service);
	value = route_find(EMBRYOS4, &s->key, &entry);
	if (value) {
		if (p->protocol == IPPROTO_TCP && p->tcp_flags & (TCP_FIN | TCP_RST))
			return pass(COUNT_TCP_CONTROL);
		if (entry)
			route_touch(entry, value, tick_of(now));
		host = route_host(value);
	} else {
		if (!class_opens(p))
			return class_pass(p);
		host = class_choose(s, class, p, client, vip);
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
			value = class_open(s, route_value(host << 24, ROUTE_EMBRYONIC, 0, ROUTE_MAPPED), tick_of(now));
			if (value)
				class_event(s, CLASS_OPENED, s->key.key, &s->key.client, value, 0);
			return value ? value : pass(COUNT_NO_ROOM);
		}
		if (!class_opens(p) || p->protocol != IPPROTO_TCP) {
			route_key4(ROUTES4, &s->key, client, p->ports[0], service);
			value = class_promote(s, value, tick_of(now));
		}
		return value ? value : pass(COUNT_NO_ROOM);
	}

	if (value & ROUTE_MAPPED && class_config.tunnel_young && !(p->tcp_flags & TCP_SYN)) {
		route_key4(ROUTES4, &s->key, client, p->ports[0], service);
		value = class_promote(s, value, tick_of(now));
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
		value = class_open(s, route_value(identifier, ROUTE_EMBRYONIC, 0, 0), tick_of(now));
		if (route_identifier(value) != identifier) {
			class_event(s, CLASS_UNUSED, 0, &s->key.client, identifier, 0);
			/* Another processor's packet of the flow was faster; this one is sent again by its client. */
			return pass(COUNT_NO_ROOM);
		}
		class_event(s, CLASS_OPENED, s->key.key, &s->key.client, value, low);
	}
	class_header(s, pool, p, client, vip, route_identifier(value), now);
	count_traffic(&service_traffic, service, p);
	count_traffic(&host_traffic, host, p);
	result = class_send(ctx, p, s);
	if (result)
		return pass(-result);
	count(is_new ? COUNT_CLASSIFIED : COUNT_WITH_MAPPING);
	if (s->hop.device.link == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(s->hop.device.link, 0);
}

/*
 * A FIN or RST of a flow with a route, or a packet after a RST. Answers whether it goes on by the route: so the agent hears of the end, and keeps
 * the flow for the packets that are still to come.
 */
__attribute__((noinline)) int class_ends(struct packet *p, struct class_closing *c)
{
	struct class_scratch *s = class_scratch_of();
	__u32 service;

	if (!p || !c || !s || !class_config.on || p->family != 4 || p->protocol != IPPROTO_TCP || p->tcp_flags & TCP_SYN)
		return 0;
	service = c->service;
	struct class_service *class = bpf_map_lookup_elem(&class_services, &service);

	if (!class || ROUTE_LOAD(&class->until) <= time_now())
		return 0;
	__u32 was = route_state(c->value), state = p->tcp_flags & TCP_RST ? ROUTE_RESET : p->tcp_flags & TCP_FIN ? ROUTE_FIN : was == ROUTE_RESET ? ROUTE_YOUNG : was;

	if (state == was)
		return 1;
	route_key4(ROUTES4, &s->key, c->client, p->ports[0], service);
	if (route_set_state(ROUTES4, &s->key, state) != ROUTE_UPDATED)
		return 0;
	class_event(s, state == ROUTE_YOUNG ? CLASS_REOPENED : CLASS_CLOSING, s->key.key, &s->key.client,
		    (c->value & ~ROUTE_STATE_MASK) | (__u64)state << ROUTE_STATE_SHIFT, 0);
	return 1;
}

#endif
