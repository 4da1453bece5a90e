/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A packet behind a mapping header (R-E8), for its host: in UDP of IPv4, by which all nodes speak with each other, whatever family the packet is of.
 * The header is the very one that the agent would write (mapping-header.ts).
 */
#ifndef SHUNT_CLASS_DATAGRAM_H
#define SHUNT_CLASS_DATAGRAM_H

#include "class-maps.h"

struct class_datagram {
	struct iphdr ip;
	struct udphdr udp;
	union mapping_header4 header;
	struct iphdr inner;
} __attribute__((packed, aligned(4)));

struct class_datagram6 {
	struct iphdr ip;
	struct udphdr udp;
	__u8 header[MAPPING_HEADER6_BYTES];
	struct ipv6hdr inner;
} __attribute__((packed, aligned(4)));

#define CLASS_OVERHEAD (sizeof(struct iphdr) + sizeof(struct udphdr) + MAPPING_HEADER4_BYTES)
#define CLASS_OVERHEAD6 (sizeof(struct iphdr) + sizeof(struct udphdr) + MAPPING_HEADER6_BYTES)

/* All but the addresses and the tag. */
static __always_inline void class_fixed(struct mapping_fixed *h, const struct class_pool *pool, const struct packet *p, __u8 flags, __u32 identifier, __u64 now)
{
	h->magic = MAPPING_HEADER_MAGIC;
	h->version_kind = MAPPING_HEADER_VERSION << 4 | MAPPING_KIND_MAP;
	h->key_number = pool->key_number;
	h->flags = flags;
	h->epoch = bpf_htonl(class_config.epoch);
	h->sequence = bpf_htonl(__sync_fetch_and_add(&class_config.sequence, 1) + 1);
	h->time = bpf_htonl((__u32)((now + class_config.wall_ns) / 1000000000) + pool->clock_s);
	h->identifier = bpf_htonl(identifier);
	h->protocol = p->protocol;
	h->host = identifier >> 24;
	h->inner_length = bpf_htons(p->end - p->l3);
	h->ports[0] = p->ports[0];
	h->ports[1] = p->ports[1];
}

/* Fills in what goes in front of the packet; it is signed. */
static __always_inline void class_header4(struct class_scratch *s, const struct class_pool *pool, const struct packet *p, __be32 client, __be32 vip, __u32 identifier, __u64 now)
{
	union mapping_header4 *h = &s->header;
	struct siphash_key key = pool->key;

	class_fixed(&h->fixed, pool, p, MAPPING_FLAG_INNER, identifier, now);
	h->client = client;
	h->vip = vip;
	h->node = config.tunnel4.w[3];
	mapping_sign4(&key, h);
}

/* The same for s->client and s->vip; the forwarder is known by its address of IPv4. */
__attribute__((noinline)) int class_header6(struct class_scratch *s, struct class_pool *pool, struct packet *p, __u32 identifier, __u64 now)
{
	if (!s || !pool || !p)
		return 0;
	union mapping_header6 *h = &s->header6;
	struct siphash_key key = pool->key;

	class_fixed(&h->fixed, pool, p, MAPPING_FLAG_INNER | MAPPING_FLAG_IPV6, identifier, now);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		h->client[i] = s->client.w[i];
		h->vip[i] = s->vip.w[i];
		h->node[i] = config.tunnel4.w[i];
	}
	mapping_sign6(&key, h);
	return 0;
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

/* `length`: of the whole. */
static __always_inline void class_outer(struct iphdr *ip, struct udphdr *udp, const struct class_scratch *s, __u32 length)
{
	struct iphdr outer = { .version = 4, .ihl = 5, .tot_len = bpf_htons(length), .frag_off = bpf_htons(0x4000), .ttl = 64, .protocol = IPPROTO_UDP };

	outer.saddr = class_config.own4;
	outer.daddr = s->dst.v4[0];
	outer.check = class_ip_checksum(&outer);
	__builtin_memcpy(ip, &outer, sizeof(outer));
	udp->source = udp->dest = class_config.port;
	udp->len = bpf_htons(length - sizeof(struct iphdr));
	udp->check = 0; /* none: the tag is a better one, and the packet inside has its own */
}

/* The frame's first bytes, for a packet of IPv4; what came in may be none. */
static __always_inline void class_frame(void *data, void *data_end, const struct next_hop *hop)
{
	const struct packet outer = { .family = 4 };

	next_hop_write(data, data_end, &outer, hop);
}

/* Room for all of it: 0, or with nothing changed a negative `enum counter`. */
static __always_inline int class_room(struct xdp_md *ctx, const struct packet *p, const struct next_hop *hop, __u32 overhead)
{
	int surplus = p->vlan_tags - (hop->device.vlan_type ? 1 : 0);

	return bpf_xdp_adjust_head(ctx, surplus * (int)sizeof(struct vlan_tag) - (int)overhead) ? -COUNT_OTHER_INTERFACE : 0;
}

/* Puts s->header and what carries it in front of the packet. There is room (class_hop), so that what fails here fails before a change. */
static __always_inline int class_send4(struct xdp_md *ctx, struct packet *p, struct class_scratch *s)
{
	const struct next_hop *hop = &s->hop;

	if (class_room(ctx, p, hop, CLASS_OVERHEAD))
		return -COUNT_OTHER_INTERFACE;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct class_datagram *out = data + sizeof(struct ethhdr) + (hop->device.vlan_type ? sizeof(struct vlan_tag) : 0);

	if ((void *)(out + 1) > data_end)
		return -COUNT_TRUNCATED;
	class_frame(data, data_end, hop);
	class_outer(&out->ip, &out->udp, s, p->end - p->l3 + CLASS_OVERHEAD);
	__builtin_memcpy(&out->header, &s->header, sizeof(s->header));

	__u32 check = out->inner.check + bpf_htons(0x100);

	out->inner.check = check + (check >= 0xffff);
	out->inner.ttl--;
	return 0;
}

__attribute__((noinline)) int class_send6(struct xdp_md *ctx, struct packet *p, struct class_scratch *s)
{
	if (!p || !s)
		return -COUNT_TRUNCATED;
	const struct next_hop *hop = &s->hop;

	if (class_room(ctx, p, hop, CLASS_OVERHEAD6))
		return -COUNT_OTHER_INTERFACE;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct class_datagram6 *out = data + sizeof(struct ethhdr) + (hop->device.vlan_type ? sizeof(struct vlan_tag) : 0);

	if ((void *)(out + 1) > data_end)
		return -COUNT_TRUNCATED;
	class_frame(data, data_end, hop);
	class_outer(&out->ip, &out->udp, s, p->end - p->l3 + CLASS_OVERHEAD6);
	__builtin_memcpy(out->header, &s->header6, MAPPING_HEADER6_BYTES);
	out->inner.hop_limit--;
	return 0;
}

/* Where packets to the host go behind a header: 0, or a negative `enum counter`. */
__attribute__((noinline)) int class_hop(struct xdp_md *ctx, struct packet *p, __u32 host, __u64 now)
{
	struct class_scratch *s = class_scratch_of();
	struct packet outer;
	int result;

	if (!s || !p)
		return -COUNT_TRUNCATED;

	if (p->ttl <= 1)
		return -COUNT_TTL_EXPIRED;
	if (to_several(ctx))
		return -COUNT_LINK_MULTICAST;
	/* What follows it will be tunnelled, by addresses of its own family. */
	if (!config.tunnel4.w[3] || !tunnel_address(p, &s->src))
		return -COUNT_NO_HOST;
	s->src.v4[0] = class_config.own4;
	/* As the way there sees it. */
	outer = *p;
	outer.family = 4;
	outer.end += p->family == 4 ? CLASS_OVERHEAD : CLASS_OVERHEAD6;
	if (outer.end - outer.l3 > 0xffff)
		return -COUNT_TOO_BIG;
	result = host_address(host, &outer, &s->dst);
	if (result)
		return result;
	return next_hop_find(ctx, &outer, host, &s->src, &s->dst, 0, now, &s->hop);
}

#endif
