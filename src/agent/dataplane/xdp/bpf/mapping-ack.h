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

static __always_inline int mapping_ack_signed(const union mapping_header4 *h)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < CLASS_KEYS; i++) {
		volatile struct class_key *known = &class_config.answers[i];

		if (known->used && known->number == h->fixed.key_number) {
			struct siphash_key key = { .low = known->key.low, .high = known->key.high };

			return mapping_tag_right4(&key, h);
		}
	}
	return 0;
}

/* Answers the verdict, which is counted; or -1, with nothing counted, for what is no such acknowledgement. */
__attribute__((noinline)) int mapping_ack(struct xdp_md *ctx, struct packet *p)
{
	struct class_scratch *s = class_scratch_of();
	struct route_entry *entry = NULL;
	union address vip = {};
	__u32 index, service;
	__u64 value;

	if (!s || !p || p->family != 4 || p->end - p->l4 != sizeof(struct udphdr) + MAPPING_HEADER4_BYTES)
		return -1;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = packet_ipv4(data, data_end, p);
	union mapping_header4 *in = data + (p->l4 & PACKET_L4_MASK) + sizeof(struct udphdr), *h = &s->header;

	if (!ip || (void *)(in + 1) > data_end || ip->daddr != class_config.own4)
		return -1;
	__builtin_memcpy(h, in, sizeof(*h));
	if (h->fixed.magic != MAPPING_HEADER_MAGIC || h->fixed.version_kind != (MAPPING_HEADER_VERSION << 4 | MAPPING_KIND_MAP_ACK) || h->fixed.flags || h->fixed.inner_length)
		return -1;
	if (h->node != config.tunnel4.w[3] || !mapping_ack_signed(h))
		return -1;
	index = bpf_ntohl(h->fixed.identifier) >> 24;
	struct host *host = bpf_map_lookup_elem(&hosts, &index);

	if (!host || !(*(volatile __u32 *)&host->families & HOST_IPV4) || host->ipv4 != ip->saddr)
		return -1;
	if (h->fixed.epoch != bpf_htonl(class_config.epoch) || class_config.sequence - bpf_ntohl(h->fixed.sequence) > MAPPING_RECENT)
		return -1;
	vip.w[2] = bpf_htonl(0xffff);
	vip.w[3] = h->vip;
	service = service_find(&vip, h->fixed.ports[1], h->fixed.protocol);
	if (!service)
		return -1;
	route_key4(EMBRYOS4, &s->key, h->client, h->fixed.ports[0], service);
	value = route_find(EMBRYOS4, &s->key, &entry);
	if (!value || route_identifier(value) != bpf_ntohl(h->fixed.identifier))
		return -1;
	if (!(value & ROUTE_MAPPED)) {
		if (route_change(EMBRYOS4, &s->key, ROUTE_MAPPED, ROUTE_MAPPED) != ROUTE_UPDATED)
			return -1;
		class_event(s, CLASS_MAPPED, s->key.key, &s->key.client, value | ROUTE_MAPPED, 0);
	}
	count(COUNT_MAPPING_ACK);
	return XDP_DROP;
}

/* Whether it is worth a call. */
static __always_inline int is_mapping_message(const struct packet *p, int parsed)
{
	return !parsed && p->protocol == IPPROTO_UDP && !p->is_fragment && p->ports[1] == class_config.port && class_config.on;
}

#endif
