/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A host's acknowledgement of an embryonic flow's mapping (docs/ARCHITECTURE.md, decision 6): from then on the flow's packets may be tunnelled.
 * It is believed as the agent believes it: by its tag, from that host, of this epoch, for one of the last messages, and for this very flow.
 * Whatever is not all of that passes to the agent.
 */
#ifndef SHUNT_MAPPING_ACK_H
#define SHUNT_MAPPING_ACK_H

#include "classify.h"

/* Answers to one of the last so many messages are taken for answers to this forwarder's. */
#define MAPPING_RECENT (1 << 20)

/* Its key, or 0: none is known by that number. */
static __always_inline int mapping_ack_key(__u8 number, struct siphash_key *key)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < CLASS_KEYS; i++) {
		volatile struct class_key *known = &class_config.answers[i];

		if (known->used && known->number == number) {
			key->low = known->key.low;
			key->high = known->key.high;
			return 1;
		}
	}
	return 0;
}

/* Whether a header that is signed is an acknowledgement of this forwarder's last messages, from the host that it names. */
static __always_inline int mapping_ack_fits(const struct mapping_fixed *h, __be32 sender)
{
	__u32 index = bpf_ntohl(h->identifier) >> 24;
	struct host *host = bpf_map_lookup_elem(&hosts, &index);

	if (!host || !(*(volatile __u32 *)&host->families & HOST_IPV4) || host->ipv4 != sender)
		return 0;
	return h->epoch == bpf_htonl(class_config.epoch) && class_config.sequence - bpf_ntohl(h->sequence) <= MAPPING_RECENT;
}

static __always_inline int mapping_ack_kind(const struct mapping_fixed *h, __u8 flags)
{
	return h->magic == MAPPING_HEADER_MAGIC && h->version_kind == (MAPPING_HEADER_VERSION << 4 | MAPPING_KIND_MAP_ACK) && h->flags == flags && !h->inner_length;
}

/* The flow of s->key, with that identifier, is acknowledged: 0; or -1 for nothing of the kind. */
static __always_inline int mapping_ack_take(const struct route_table *embryos, struct class_scratch *s, __u32 identifier)
{
	struct route_entry *entry = NULL;
	__u64 value = route_find(embryos, &s->key, &entry);

	/* The agent waits for it, if it holds packets of the flow. */
	if (!value || route_identifier(value) != identifier || route_state(value) == ROUTE_HELD)
		return -1;
	if (value & ROUTE_MAPPED)
		return 0;
	if (route_change(embryos, &s->key, ROUTE_MAPPED, ROUTE_MAPPED) != ROUTE_UPDATED)
		return -1;
	class_event(s, CLASS_MAPPED, s->key.key, &s->key.client, value | ROUTE_MAPPED, 0);
	return 0;
}

/* Of an IPv4 flow: 0, or -1 for what is no such acknowledgement. */
__attribute__((noinline)) int mapping_ack4(struct xdp_md *ctx, struct packet *p)
{
	struct class_scratch *s = class_scratch_of();
	union address vip = {};
	struct siphash_key key;
	__u32 service;

	if (!s || !p)
		return -1;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = packet_ipv4(data, data_end, p);
	union mapping_header4 *in = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct udphdr), *h = &s->header;

	if (!ip || (void *)(in + 1) > data_end || ip->daddr != class_config.own4)
		return -1;
	__builtin_memcpy(h, in, sizeof(*h));
	if (!mapping_ack_kind(&h->fixed, 0) || h->node != config.tunnel4.w[3])
		return -1;
	if (!mapping_ack_key(h->fixed.key_number, &key) || !mapping_tag_right4(&key, h) || !mapping_ack_fits(&h->fixed, ip->saddr))
		return -1;
	vip.w[2] = bpf_htonl(0xffff);
	vip.w[3] = h->vip;
	service = service_find(&vip, h->fixed.ports[1], h->fixed.protocol);
	if (!service)
		return -1;
	route_key4(EMBRYOS4, &s->key, h->client, h->fixed.ports[0], service);
	return mapping_ack_take(EMBRYOS4, s, bpf_ntohl(h->fixed.identifier));
}

/* The same of an IPv6 one. It comes by IPv4, and names this forwarder by its address of IPv4, as all mapping messages. */
__attribute__((noinline)) int mapping_ack6(struct xdp_md *ctx, struct packet *p)
{
	struct class_scratch *s = class_scratch_of();
	struct siphash_key key;
	__u32 service;

	if (!s || !p)
		return -1;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = packet_ipv4(data, data_end, p);
	void *in = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct udphdr);
	union mapping_header6 *h = &s->header6;

	if (!ip || in + MAPPING_HEADER6_BYTES > data_end || ip->daddr != class_config.own4)
		return -1;
	__builtin_memcpy(h, in, MAPPING_HEADER6_BYTES);
	if (!mapping_ack_kind(&h->fixed, MAPPING_FLAG_IPV6))
		return -1;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (h->node[i] != config.tunnel4.w[i])
			return -1;
		s->client.w[i] = h->client[i];
		s->vip.w[i] = h->vip[i];
	}
	if (!mapping_ack_key(h->fixed.key_number, &key) || !mapping_tag_right6(&key, h) || !mapping_ack_fits(&h->fixed, ip->saddr))
		return -1;
	service = service_find(&s->vip, h->fixed.ports[1], h->fixed.protocol);
	if (!service)
		return -1;
	class_key6(EMBRYOS6, s, h->fixed.ports[0], service);
	return mapping_ack_take(EMBRYOS6, s, bpf_ntohl(h->fixed.identifier));
}

/* Answers the verdict, which is counted; or -1, with nothing counted, for what is no such acknowledgement. */
static __always_inline int mapping_ack(struct xdp_md *ctx, struct packet *p)
{
	__u32 length = p->end - p->l4 - sizeof(struct udphdr);

	if (p->family != 4 || (length != MAPPING_HEADER4_BYTES && length != MAPPING_HEADER6_BYTES))
		return -1;
	if (length == MAPPING_HEADER4_BYTES ? mapping_ack4(ctx, p) : mapping_ack6(ctx, p))
		return -1;
	count(COUNT_MAPPING_ACK);
	return XDP_DROP;
}

/* Whether it is worth a call. */
static __always_inline int is_mapping_message(const struct packet *p, int parsed)
{
	return !parsed && p->protocol == IPPROTO_UDP && !p->is_fragment && p->ports[1] == class_config.port && class_config.on;
}

#endif
