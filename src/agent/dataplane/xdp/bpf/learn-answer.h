/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A host's kernel acknowledges mappings by itself, whether its agent lives or not (docs/ARCHITECTURE.md, decision 44): a MAP datagram with no
 * packet inside, which forwarders send while packets wait for the acknowledgement, is sent back as the MAP_ACK that the agent would send.
 *
 * From then on packets are tunnelled by the mapping, so nothing that was sent before may put another in its place (decision 6), not even
 * after the mapping has left `learnt`, or before the agent has heard of it. So of what was acknowledged the highest sequence is kept, for
 * each tunnel and each of 256 parts of the identifiers, where nothing displaces it; what is older is learnt by nobody:
 *
 *   who learns:   looks at the sequence, stores the mapping, looks at the sequence again, and takes the mapping out if it is older by now
 *   who answers:  raises the sequence, looks whether the mapping still is in force, and only then answers
 *
 * An older message of another identifier of the same part is the agent's to judge, too; or its forwarder's next one, which has a higher number.
 */
#ifndef SHUNT_LEARN_ANSWER_H
#define SHUNT_LEARN_ANSWER_H

#include "hosts.h"
#include "learn-maps.h"
#include "next-hop.h"

#define ANSWER_PARTS 256
#define ANSWER_TRIES 8
#define ANSWER_TTL 64

struct answered {
	__u64 words[ANSWER_PARTS]; /* epoch << 32 | sequence of the newest message that was acknowledged; another epoch: none was */
};

/* By index of the tunnel. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct answered);
} answered SEC(".maps");

enum learn_known { LEARN_UNKNOWN = 0, LEARN_STORED = 1, LEARN_LEARNT = 2, LEARN_OTHER = 3 };

static __always_inline __u64 *answered_word(const struct learn_message *m)
{
	__u32 tunnel = m->key.tunnel;
	struct answered *parts = bpf_map_lookup_elem(&answered, &tunnel);

	return parts ? &parts->words[bpf_ntohl(m->key.identifier) * 0x9e3779b1u >> 24 & (ANSWER_PARTS - 1)] : NULL;
}

/* Whether a newer message of the same part was acknowledged. The access is a full barrier. */
static __always_inline int answer_is_newer(const struct learn_message *m)
{
	__u64 *at = answered_word(m), word;

	if (!at)
		return 1;
	word = __sync_fetch_and_or(at, 0);
	return word >> 32 == m->mapping.epoch && (__s32)((__u32)word - m->mapping.sequence) > 0;
}

/* 0, or -1: others were faster too often. */
static __always_inline int answer_raise(const struct learn_message *m)
{
	__u64 *at = answered_word(m), next = (__u64)m->mapping.epoch << 32 | m->mapping.sequence;

	if (!at)
		return -1;
#pragma clang loop unroll(disable)
	for (int tries = 0; tries < ANSWER_TRIES; tries++) {
		__u64 word = *(volatile __u64 *)at;

		if (word >> 32 == m->mapping.epoch && (__s32)((__u32)word - m->mapping.sequence) >= 0)
			next = word;
		if (__sync_val_compare_and_swap(at, word, next) == word)
			return 0;
	}
	return -1;
}

/* Whether a mapping in force says the same. */
static __always_inline int learn_same(const struct learn_message *m, const struct mapping *is, int six)
{
	const __be32 *client = m->mapping.client;

	if (is->port != m->mapping.port || is->service != m->mapping.service)
		return 0;
	if (!six)
		return is->client4 == client[3];
	return is->client.high == (client[0] | (__u64)client[1] << 32) && is->client.low == (client[2] | (__u64)client[3] << 32);
}

/* What is in force of the message's identifier: an `enum learn_known`. Not static: the verifier looks at it by itself. */
__attribute__((noinline)) int learn_known(void)
{
	struct learn_message *m = learn_message_of();
	struct route_entry *entry = NULL;
	struct mapping known = {};
	__u32 tunnel;
	__u64 found;
	int six;

	if (!m)
		return LEARN_OTHER;
	six = m->length == MAPPING_HEADER6_BYTES;
	tunnel = m->key.tunnel | (__u32)m->key.generation << 8;
	if (six)
		found = mapping_find(MAPPINGS6, m->key.identifier, tunnel, tunnel >> 8, &known, &entry);
	else
		found = mapping_find(MAPPINGS4, m->key.identifier, tunnel, tunnel >> 8, &known, &entry);
	if (found)
		return learn_same(m, &known, six) ? LEARN_STORED : LEARN_OTHER;
	struct learnt *other = bpf_map_lookup_elem(&learnt, &m->key);

	if (!other)
		return LEARN_UNKNOWN;
	if (other->port != m->mapping.port || other->service != m->mapping.service)
		return LEARN_OTHER;
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (other->client[i] != m->mapping.client[i])
			return LEARN_OTHER;
	return LEARN_LEARNT;
}

static __always_inline void learn_lost(void)
{
	__sync_fetch_and_add((__u64 *)&learning.lost, 1);
}

static __always_inline void learn_tell(const struct learn_message *m)
{
	struct learnt_event event = { .key = m->key, .mapping = m->mapping };

	if (bpf_ringbuf_output(&mapping_events, &event, sizeof(event), 0))
		learn_lost();
}

/* Whether the frame can go back the way that it came. */
static __always_inline int answer_may_leave(struct xdp_md *ctx, const struct packet *p)
{
	__u32 link = ctx->ingress_ifindex;

	return p->family == 4 && p->l4 - p->l3 == sizeof(struct iphdr) && !to_several(ctx) && bpf_map_lookup_elem(&devices, &link);
}

/* Makes the frame the answer. Nothing was changed before, and nothing fails after the first change. */
static __always_inline int answer_write(struct xdp_md *ctx, const struct packet *p, const struct learn_message *m, __u64 now)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = packet_ipv4(data, data_end, p);
	struct udphdr *udp = data + (p->l4 & PACKET_L4_MASK);
	struct mapping_fixed *fixed = (void *)(udp + 1);
	struct siphash_key key = m->answer.key;

	if (!ip || data + sizeof(struct ethhdr) > data_end || (void *)(fixed + 1) > data_end)
		return -1;
	if ((void *)fixed + (m->length == MAPPING_HEADER6_BYTES ? MAPPING_HEADER6_BYTES : MAPPING_HEADER4_BYTES) > data_end)
		return -1;
	swap_frame(data);
	__be32 address = ip->saddr;
	__u16 before = ((__u16 *)ip)[4];

	ip->saddr = ip->daddr;
	ip->daddr = address;
	ip->ttl = ANSWER_TTL;
	ip->check = change_checksum(ip->check, (__u64)(__u16)~before + ((__u16 *)ip)[4]);
	udp->source = udp->dest = learning.port;
	udp->check = 0; /* none: the tag is a better one */
	fixed->version_kind = MAPPING_HEADER_VERSION << 4 | MAPPING_KIND_MAP_ACK;
	fixed->key_number = m->answer.number - 1;
	fixed->time = bpf_htonl((__u32)((now + learning.unix_ns) / 1000000000ull));
	if (m->length == MAPPING_HEADER6_BYTES) {
		if ((void *)fixed + MAPPING_HEADER6_BYTES <= data_end)
			mapping_sign6(&key, (void *)fixed);
	} else if ((void *)fixed + MAPPING_HEADER4_BYTES <= data_end) {
		mapping_sign4(&key, (void *)fixed);
	}
	return 0;
}

/*
 * Acknowledges the mapping at hand, which was verified and is in force: COUNT_MAPPING_ANSWERED, and the frame is the answer; or, with the frame as it was,
 * a negative `enum counter`. The agent hears of it unless it has stored the mapping itself.
 */
__attribute__((noinline)) int learn_answer(struct xdp_md *ctx, struct packet *p)
{
	struct learn_message *m = learn_message_of();
	int known;

	if (!p || !m || answer_raise(m))
		return -COUNT_MAPPING_UNUSUAL;
	known = learn_known();
	if (known != LEARN_STORED && known != LEARN_LEARNT)
		return -COUNT_MAPPING_UNUSUAL;
	if (answer_write(ctx, p, m, bpf_ktime_get_boot_ns()))
		return -COUNT_MAPPING_UNUSUAL;
	if (known == LEARN_LEARNT)
		learn_tell(m);
	return COUNT_MAPPING_ANSWERED;
}

#endif
