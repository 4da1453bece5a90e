/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ICMP that needs no agent (R-A7): echo to a VIP; errors from clients' paths, to the host of their flow in tunnelled form (what that is:
 * dataplane/icmp-rewrite.ts); and there, back into the own form. Only what is plain, of a flow that the tables know; all else passes to the slow path.
 *
 *  1. No options or extension headers, outside or inside; of the packet inside at least 8 bytes of TCP or UDP (RFC 792).
 *  2. An error is to who sent the packet inside, and about nothing but TCP or UDP: never about ICMP (RFC 1122, section 3.2.2).
 *  3. Checksums follow incrementally: a damaged message stays damaged, and who gets it sees that.
 *  4. The life of flows and mappings is not prolonged by errors.
 */
#ifndef SHUNT_ICMP_H
#define SHUNT_ICMP_H

#include "forwarder.h"
#include "host.h"
#include "icmp-limit.h"

#define ICMP4_UNREACHABLE 3
#define ICMP4_ECHO 8
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAMETER_PROBLEM 12
#define ICMP6_UNREACHABLE 1
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO 128
#define ICMP_TTL 64
#define ICMP_QUOTED 8

struct icmp_head {
	__u8 type, code;
	__sum16 check;
	__u8 length6; /* of the packet inside where extensions follow (RFC 4884): in 8 bytes */
	__u8 length4; /* in 4 bytes */
	__be16 word;
};

/* Of an error: who tells of it, who gets it, and to whom the packet inside was. */
struct icmp_tuple {
	union address source, sender, receiver;
	__be16 ports[2]; /* of the packet inside */
	__u8 protocol;   /* the same */
	__u8 has_check;  /* its TCP or UDP checksum is there */
};

struct icmp_work {
	struct icmp_tuple tuple;
	struct next_hop hop;
};

/* The message at hand: more than fits the stack, of which a program and what it calls have 512 bytes together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct icmp_work);
} icmp_works SEC(".maps");

static __always_inline struct icmp_work *icmp_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&icmp_works, &zero);
}

static __always_inline struct icmp_head *icmp_head(void *data, void *data_end, const struct packet *p)
{
	struct icmp_head *head = data + (p->l4 & PACKET_L4_MASK);

	return (void *)(head + 1) > data_end ? NULL : head;
}

static __always_inline struct iphdr *icmp_inner4(void *data, void *data_end, const struct packet *p)
{
	struct iphdr *ip = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct icmp_head);

	return (void *)(ip + 1) > data_end ? NULL : ip;
}

static __always_inline struct ipv6hdr *icmp_inner6(void *data, void *data_end, const struct packet *p)
{
	struct ipv6hdr *ip = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct icmp_head);

	return (void *)(ip + 1) > data_end ? NULL : ip;
}

/* The ports inside, or NULL. */
static __always_inline __be16 *icmp_ports(void *data, void *data_end, const struct packet *p)
{
	__be16 *ports = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct icmp_head) + (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));

	return (void *)ports + ICMP_QUOTED > data_end ? NULL : ports;
}

/* The TCP or UDP checksum inside, or NULL. */
static __always_inline __sum16 *icmp_check(void *data, void *data_end, const struct packet *p, __u8 protocol)
{
	__sum16 *check = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct icmp_head) + (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) +
			 (protocol == IPPROTO_TCP ? 16 : 6);

	return (void *)(check + 1) > data_end ? NULL : check;
}

static __always_inline int icmp_is(const struct packet *p)
{
	return p->protocol == (p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline int icmp_is_error(const struct packet *p, __u8 type)
{
	if (p->family == 4)
		return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER_PROBLEM;
	return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM;
}

/* An address of a single machine elsewhere (RFC 1122, section 3.2.2). */
static __always_inline int icmp_is_single(const union address *address, __u8 family)
{
	__u8 first = family == 4 ? bpf_ntohl(address->w[3]) >> 24 : bpf_ntohl(address->w[0]) >> 24;

	if (family == 4)
		return first && first != 127 && first < 224;
	if (first == 0xff || (address->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))
		return 0;
	return (address->w[0] | address->w[1] | address->w[2]) != 0;
}

static __always_inline int same_address(const union address *a, const union address *b)
{
	return !((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) | (a->w[3] ^ b->w[3]));
}

static __always_inline void address_of4(union address *address, __be32 ip)
{
	address->w[0] = address->w[1] = 0;
	address->w[2] = bpf_htonl(0xffff);
	address->v4[0] = ip;
}

static __always_inline void address_of6(union address *address, const struct in6_addr *ip)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		address->w[i] = ip->in6_u.u6_addr32[i];
}

/* Source and destination of the packet: 0, or -1. */
static __always_inline int icmp_ends(void *data, void *data_end, const struct packet *p, union address *source, union address *destination)
{
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return -1;
		address_of4(source, ip->saddr);
		address_of4(destination, ip->daddr);
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return -1;
		address_of6(source, &ip->saddr);
		address_of6(destination, &ip->daddr);
	}
	return 0;
}

/* Of the packet inside an error: sender, receiver, ports, protocol: 0, or -1. */
static __always_inline int icmp_inside(void *data, void *data_end, const struct packet *p, struct icmp_tuple *t)
{
	struct icmp_head *head = icmp_head(data, data_end, p);
	__be16 *ports = icmp_ports(data, data_end, p);
	__u32 inner = p->l4 + sizeof(*head), end = p->end, l4, units = 0;

	if (!head || !ports)
		return -1;
	if (p->family == 4) {
		struct iphdr *ip = icmp_inner4(data, data_end, p);

		if (!ip || *(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(FRAGMENT_OFFSET4))
			return -1;
		address_of4(&t->sender, ip->saddr);
		address_of4(&t->receiver, ip->daddr);
		t->protocol = ip->protocol;
		units = head->length4 * 4;
		l4 = inner + sizeof(*ip);
	} else {
		struct ipv6hdr *ip = icmp_inner6(data, data_end, p);

		if (!ip || ip->version != 6)
			return -1;
		address_of6(&t->sender, &ip->saddr);
		address_of6(&t->receiver, &ip->daddr);
		t->protocol = ip->nexthdr;
		if (head->type == ICMP6_UNREACHABLE || head->type == ICMP6_TIME_EXCEEDED)
			units = head->length6 * 8;
		l4 = inner + sizeof(*ip);
	}
	if (units) {
		if (inner + units > end)
			return -1;
		end = inner + units;
	}
	if (l4 + ICMP_QUOTED > end || (t->protocol != IPPROTO_TCP && t->protocol != IPPROTO_UDP))
		return -1;
	t->ports[0] = ports[0];
	t->ports[1] = ports[1];
	t->has_check = l4 + (t->protocol == IPPROTO_TCP ? 18 : 8) <= end;
	/* In a further buffer. */
	return t->has_check && !icmp_check(data, data_end, p, t->protocol) ? -1 : 0;
}

static __always_inline __u64 replace_check(__sum16 *at, __u64 change, int udp)
{
	__sum16 before = *at, after = change_checksum(before, change);

	/* 0 would say that there is none (RFC 768). */
	if (udp && !after)
		after = 0xffff;
	*at = after;
	return (__u64)(__u16)~before + after;
}

/* Gives the error the tuple's addresses and ports. Cannot fail for one that icmp_inside has read. */
static __always_inline void icmp_rewrite(void *data, void *data_end, const struct packet *p, const struct icmp_tuple *t)
{
	struct icmp_head *head = icmp_head(data, data_end, p);
	__be16 *ports = icmp_ports(data, data_end, p);
	__u64 within = 0, covered = 0;

	if (!head || !ports)
		return;
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p), *inner = icmp_inner4(data, data_end, p);

		if (!ip || !inner)
			return;
		__u64 outer = replace_word(&ip->saddr, t->source.v4[0]) + replace_word(&ip->daddr, t->sender.v4[0]);

		ip->check = change_checksum(ip->check, outer);
		within = replace_word(&inner->saddr, t->sender.v4[0]) + replace_word(&inner->daddr, t->receiver.v4[0]);
		covered = replace_check(&inner->check, within, 0);
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p), *inner = icmp_inner6(data, data_end, p);

		if (!ip || !inner)
			return;
#pragma clang loop unroll(disable)
		for (int i = 0; i < 4; i++) {
			covered += replace_word(&ip->saddr.in6_u.u6_addr32[i], t->source.w[i]);
			covered += replace_word(&ip->daddr.in6_u.u6_addr32[i], t->sender.w[i]);
			within += replace_word(&inner->saddr.in6_u.u6_addr32[i], t->sender.w[i]);
			within += replace_word(&inner->daddr.in6_u.u6_addr32[i], t->receiver.w[i]);
		}
	}
	within += replace_word((__be32 *)ports, t->ports[0] | (__u32)t->ports[1] << 16);
	covered += within;
	if (t->has_check) {
		__sum16 *check = icmp_check(data, data_end, p, t->protocol);

		if (check && (t->protocol == IPPROTO_TCP || *check))
			covered += replace_check(check, within, t->protocol == IPPROTO_UDP);
	}
	head->check = change_checksum(head->check, covered);
}

static __always_inline int icmp_dropped(void)
{
	count(COUNT_ICMP_LIMITED);
	return XDP_DROP;
}

/* A reply goes back the way that the request came, if frames may be sent there. */
static __always_inline int icmp_echo(struct xdp_md *ctx, const struct packet *p, const union address *source, const union address *destination)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct icmp_head *head = icmp_head(data, data_end, p);
	__u32 link = ctx->ingress_ifindex;

	if (!head || head->code || !icmp_is_single(source, p->family) || same_address(source, destination) || to_several(ctx))
		return -1;
	if (!vip_find(destination) || !bpf_map_lookup_elem(&devices, &link))
		return -1;
	if (!icmp_allowed(ICMP_LIMIT_ECHO))
		return icmp_dropped();
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return -1;
		__u16 before = ((__u16 *)ip)[4];

		ip->saddr = destination->v4[0];
		ip->daddr = source->v4[0];
		ip->ttl = ICMP_TTL;
		ip->check = change_checksum(ip->check, (__u64)(__u16)~before + ((__u16 *)ip)[4]);
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return -1;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			ip->saddr.in6_u.u6_addr32[i] = destination->w[i];
			ip->daddr.in6_u.u6_addr32[i] = source->w[i];
		}
		ip->hop_limit = ICMP_TTL;
	}
	__u16 before = *(__u16 *)head;

	head->type = p->family == 4 ? 0 : ICMP6_ECHO + 1;
	head->check = change_checksum(head->check, (__u64)(__u16)~before + *(__u16 *)head);
	swap_frame(data);
	count(COUNT_ICMP_ECHO);
	return XDP_TX;
}

/* The way of the error at hand to the host of its flow, with the room for it, and what it will be: 0, or -1. */
__attribute__((noinline)) int icmp_way(struct xdp_md *ctx, struct packet *p, __u32 identifier)
{
	struct icmp_work *work = icmp_work();

	if (!p || !work || p->ttl <= 1 || to_several(ctx))
		return -1;
	struct icmp_tuple *t = &work->tuple;

#pragma unroll
	for (int i = 0; i < 4; i++)
		t->source.w[i] = t->receiver.w[i] = p->family == 4 ? config.tunnel4.w[i] : config.tunnel6.w[i];
	if (!(p->family == 4 ? t->source.w[3] : t->source.w[0] | t->source.w[1] | t->source.w[2] | t->source.w[3]))
		return -1;
	if (host_address(identifier >> 24, p, &t->sender))
		return -1;
	/* The other way round than in packets to the host. */
	t->ports[0] = bpf_htons(identifier);
	t->ports[1] = bpf_htons(identifier >> 16);
	if (next_hop_find(ctx, p, identifier >> 24, &t->source, &t->sender, 0, bpf_ktime_get_coarse_ns(), &work->hop))
		return -1;
	return next_hop_room(ctx, p, &work->hop) ? -1 : 0;
}

/* Gives the error at hand what was found for it. */
__attribute__((noinline)) int icmp_apply(struct xdp_md *ctx, struct packet *p)
{
	struct icmp_work *work = icmp_work();

	if (p && work)
		icmp_rewrite((void *)(long)ctx->data, (void *)(long)ctx->data_end, p, &work->tuple);
	return 0;
}

/* To a VIP, about a packet that one of its hosts sent: the flow's identifier, or 0. */
__attribute__((noinline)) int icmp_route(struct packet *p)
{
	struct icmp_work *work = icmp_work();
	struct route_entry *entry = NULL;
	struct route_key key;
	__u16 service;
	__u64 value;

	if (!p || !work)
		return 0;
	struct icmp_tuple *t = &work->tuple;

	service = service_find(&t->sender, t->ports[0], t->protocol);
	if (!service)
		return 0;
	if (p->family == 4) {
		route_key4(ROUTES4, &key, t->receiver.v4[0], t->ports[1], service);
		value = route_find(ROUTES4, &key, &entry);
	} else {
		route_key6(ROUTES6, &key, t->receiver.w[0] | (__u64)t->receiver.w[1] << 32, t->receiver.w[2] | (__u64)t->receiver.w[3] << 32, t->ports[1],
			   service);
		value = route_find(ROUTES6, &key, &entry);
	}
	if (!value || route_state(value) == ROUTE_HELD || !(value & ROUTE_MAPPED))
		return 0;
	return route_identifier(value);
}

/* By a tunnel, about a packet of this node's: what it will be. 0, or -1. */
__attribute__((noinline)) int icmp_mapping(struct packet *p, __u32 tunnel)
{
	struct icmp_work *work = icmp_work();
	struct route_entry *entry = NULL;
	struct mapping mapping = {};
	__u32 identifier;
	__be32 ports = 0;
	__u8 protocol;
	__u64 word;
	int result;

	if (!p || !work)
		return -1;
	struct icmp_tuple *t = &work->tuple;

	identifier = t->ports[1] | (__u32)t->ports[0] << 16;
	protocol = p->protocol;
	if (p->family == 4)
		word = mapping_find(MAPPINGS4, identifier, tunnel, tunnel >> 8, &mapping, &entry);
	else
		word = mapping_find(MAPPINGS6, identifier, tunnel, tunnel >> 8, &mapping, &entry);
	if (!word)
		return -1;
	p->protocol = t->protocol;
	result = host_tuple(p, &mapping, &t->receiver, &t->sender, &ports);
	p->protocol = protocol;
	if (result)
		return -1;
	t->ports[0] = ports >> 16;
	t->ports[1] = ports;
	return 0;
}

#define ICMP_DONE 0x100 /* and the verdict */
#define ICMP_FROM_CLIENT 1
#define ICMP_FROM_TUNNEL 2

/* What the message at hand is, into icmp_works; an echo is answered. 0, with nothing changed: something for the slow path. */
__attribute__((noinline)) int icmp_read(struct xdp_md *ctx, struct packet *p, __u32 roles)
{
	struct icmp_work *work = icmp_work();
	union address destination;
	int verdict;

	if (!p || !work || p->end > bpf_xdp_get_buff_len(ctx) || p->l4 - p->l3 != (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return 0;
	if (p->l4 + sizeof(struct icmp_head) > p->end)
		return 0;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct icmp_head *head = icmp_head(data, data_end, p);
	struct icmp_tuple *t = &work->tuple;

	if (!head || icmp_ends(data, data_end, p, &t->source, &destination))
		return 0;
	if (head->type == (p->family == 4 ? ICMP4_ECHO : ICMP6_ECHO)) {
		verdict = roles & ROLE_FORWARDER ? icmp_echo(ctx, p, &t->source, &destination) : -1;
		return verdict < 0 ? 0 : ICMP_DONE | verdict;
	}
	if (!icmp_is_error(p, head->type) || icmp_inside(data, data_end, p, t) || !same_address(&t->sender, &destination))
		return 0;
	if (roles & ROLE_HOST && same_address(&t->source, &t->receiver))
		return ICMP_FROM_TUNNEL;
	return roles & ROLE_FORWARDER ? ICMP_FROM_CLIENT : 0;
}

/*
 * A whole ICMP message, by its IP header. Answers the verdict, which is counted; or -1, with nothing counted and nothing changed, for what the
 * slow path has to look at. Its parts are not static: the verifier looks at each by itself, and each has a stack of its own.
 */
static __always_inline int icmp_packet(struct xdp_md *ctx, struct packet *p, __u32 roles)
{
	int what = icmp_read(ctx, p, roles);
	__u32 identifier, tunnel;
	struct icmp_work *work;

	if (what & ICMP_DONE)
		return what & 7;
	if (what == ICMP_FROM_TUNNEL) {
		tunnel = host_tunnel(ctx, p);
		if (!tunnel || icmp_mapping(p, tunnel))
			return -1;
		if (!icmp_allowed(ICMP_LIMIT_ERRORS))
			return icmp_dropped();
		icmp_apply(ctx, p);
		mark_for_stack((void *)(long)ctx->data, (void *)(long)ctx->data_end);
		count(COUNT_ICMP_RESTORED);
		return XDP_PASS;
	}
	if (what != ICMP_FROM_CLIENT)
		return -1;
	identifier = icmp_route(p);
	if (!identifier)
		return -1;
	if (!icmp_allowed(ICMP_LIMIT_ERRORS))
		return icmp_dropped();
	if (config.local_host && identifier >> 24 == config.local_host) {
		mark_for_stack((void *)(long)ctx->data, (void *)(long)ctx->data_end);
		count(COUNT_ICMP_LOCAL);
		return XDP_PASS;
	}
	work = icmp_work();
	if (!work || icmp_way(ctx, p, identifier))
		return -1;
	icmp_apply(ctx, p);
	decrement_ttl((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);
	next_hop_write((void *)(long)ctx->data, (void *)(long)ctx->data_end, p, &work->hop);
	count(COUNT_ICMP_TO_HOST);
	return work->hop.device.link == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(work->hop.device.link, 0);
}

#endif
