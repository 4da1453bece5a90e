/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A host learns a mapping in the kernel (R-E8, R-G3; docs/ARCHITECTURE.md, decision 6): a MAP datagram of a forwarder, with a packet inside,
 * becomes that packet, for the own stack, and its mapping is in force from then on. The agent follows by the ring `mapping_events`: it
 * keeps the inventory, moves the mapping into its own table, and then acknowledges it. One that packets wait for is acknowledged here:
 * learn-answer.h, which also says why that is no risk.
 *
 *  1. The mapping port of this node, structure, kind MAP; otherwise not for here. Without a packet inside only what can be answered (learn-answer.h).
 *  2. The tunnel is known, the sender is its forwarder, the epoch the tunnel's current one, the key known, the tag right, the time near.
 *  3. The packet inside is whole, of the header's own 4-tuple, no fragment, and of a service that this node has.
 *  4. No mapping of the identifier, and nothing newer was acknowledged; or the same one: whatever contradicts one in force is the agent's to judge.
 *  5. Stored; the outer headers go, the frame is marked as done for what is behind.
 * Whatever fails before 5 passes, unchanged, to the agent, who judges it by the same rules and answers.
 *
 * What is learnt here stands in a map of its own, `learnt`, so that the table of mappings keeps its one writer. It is looked up second, after
 * a miss: what the agent has stored goes first. It is small, and the least recently used ones go; the agent empties it all the time.
 */
#ifndef SHUNT_LEARN_H
#define SHUNT_LEARN_H

#include "learn-answer.h"
#include "own-stack.h"
#include "services.h"

static __always_inline void learn_control(__u32 identifier, __u32 tunnel, __u8 tcp_flags)
{
	struct control_event event = { .identifier = identifier, .tunnel = tunnel, .generation = tunnel >> 8 & 15, .tcp_flags = tcp_flags };

	if (bpf_ringbuf_output(&mapping_events, &event, sizeof(event), 0))
		learn_lost();
}

static __always_inline int learnt_of_ipv4(const struct learnt *l)
{
	return !(l->client[0] | l->client[1] | (l->client[2] ^ bpf_htonl(0xffff)));
}

/* The mapping of an identifier that the agent has not moved yet: 1, or 0 for none. */
static __always_inline int learnt_find(__u32 identifier, __u32 tunnel, __u8 family, struct mapping *m)
{
	struct learnt_key key = { .identifier = identifier, .tunnel = tunnel, .generation = tunnel >> 8 & 15 };
	struct learnt *found = bpf_map_lookup_elem(&learnt, &key);

	if (!found || family != (learnt_of_ipv4(found) ? 4 : 6))
		return 0;
	m->client.high = found->client[0] | (__u64)found->client[1] << 32;
	m->client.low = found->client[2] | (__u64)found->client[3] << 32;
	m->client4 = found->client[3];
	m->port = found->port;
	m->service = found->service;
	if (!found->tunnelled)
		found->tunnelled = 1;
	return 1;
}

/* Whether the packet inside is whole, no fragment, and has the header's addresses and ports. `m` gets its TCP flags. */
static __always_inline int learn_inner(void *l4, void *data_end, __u32 left, struct learn_message *m, __be16 vip_port)
{
	struct udphdr *udp = l4;
	struct tcphdr *tcp = l4;

	if (m->mapping.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end || left < sizeof(*tcp) || tcp->doff < 5 || tcp->doff * 4 > left)
			return 0;
		m->mapping.tcp_flags = ((__u8 *)tcp)[13];
	} else if (m->mapping.protocol == IPPROTO_UDP) {
		if ((void *)(udp + 1) > data_end || left < sizeof(*udp) || bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > left)
			return 0;
	} else {
		return 0;
	}
	return udp->source == m->mapping.port && udp->dest == vip_port;
}

static __always_inline int learn_inner4(void *at, void *data_end, struct learn_message *m, __be16 vip_port)
{
	struct iphdr *ip = at;

	/* With options it is the agent's: they are too rare for more code. */
	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl != 5 || bpf_ntohs(ip->tot_len) != m->inner || m->inner < sizeof(*ip))
		return 0;
	if (ip->frag_off & bpf_htons(FRAGMENT_MORE4 | FRAGMENT_OFFSET4) || !ipv4_checksum_right(ip, 0, data_end))
		return 0;
	if (ip->protocol != m->mapping.protocol || ip->saddr != m->mapping.client[3] || ip->daddr != m->vip.v4[0])
		return 0;
	return learn_inner(ip + 1, data_end, m->inner - sizeof(*ip), m, vip_port);
}

static __always_inline int learn_inner6(void *at, void *data_end, struct learn_message *m, __be16 vip_port)
{
	struct ipv6hdr *ip = at;

	/* Extension headers: as options of IPv4. */
	if ((void *)(ip + 1) > data_end || ip->version != 6 || bpf_ntohs(ip->payload_len) + sizeof(*ip) != m->inner || ip->nexthdr != m->mapping.protocol)
		return 0;
	if (is_v4_mapped(&ip->saddr) || is_v4_mapped(&ip->daddr))
		return 0;
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (ip->saddr.in6_u.u6_addr32[i] != m->mapping.client[i] || ip->daddr.in6_u.u6_addr32[i] != m->vip.w[i])
			return 0;
	return learn_inner(ip + 1, data_end, m->inner - sizeof(*ip), m, vip_port);
}

/* The word of the tunnel of a node address, which may be of IPv4 for flows of both families. */
static __always_inline __u32 learn_node_tunnel(const __be32 *node)
{
	__be32 own[4];
	int six = node[0] | node[1] | (node[2] ^ bpf_htonl(0xffff)) ? 1 : 0;

#pragma unroll
	for (int i = 0; i < 4; i++)
		own[i] = six ? learning.own6.w[i] : learning.own4.w[i];
	return tunnel_find(node, own, six ? 6 : 4);
}

/* Step 2 but for the tag: the tunnel's entry, or NULL; `*word` is what it said. */
static __always_inline struct learn_tunnel *learn_tunnel_of(struct xdp_md *ctx, const struct packet *p, __u32 tunnel, __be32 epoch, __u64 *word)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 index = tunnel & 0xff, generation = tunnel >> 8 & 0xff;
	struct learn_tunnel *t = tunnel ? bpf_map_lookup_elem(&learn_tunnels, &index) : NULL;

	if (!t)
		return NULL;
	*word = *(volatile __u64 *)&t->word;
	if (*word != (bpf_ntohl(epoch) | (__u64)generation << LEARN_TUNNEL_GENERATION_SHIFT | LEARN_TUNNEL_ON))
		return NULL;
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		return ip && ip->daddr == learning.own4.w[3] && ip->saddr == t->sender[3] && t->sender[2] == bpf_htonl(0xffff) && !(t->sender[0] | t->sender[1]) ? t : NULL;
	}
	struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

	if (!ip)
		return NULL;
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (ip->daddr.in6_u.u6_addr32[i] != learning.own6.w[i] || ip->saddr.in6_u.u6_addr32[i] != t->sender[i])
			return NULL;
	return t;
}

/* The tunnel's key of that number, or NULL. */
static __always_inline const struct siphash_key *learn_key_of(const struct learn_tunnel *t, __u8 number)
{
#pragma unroll
	for (int i = 0; i < LEARN_KEYS; i++)
		if (t->keys[i].number == number + 1u)
			return &t->keys[i].key;
	return NULL;
}

static __always_inline int learn_time_near(__be32 time, __u64 now)
{
	__s32 off = bpf_ntohl(time) - (__u32)((now + learning.unix_ns) / 1000000000ull);

	return (off < 0 ? -off : off) <= (__s32)learning.window;
}

/* Number of the service if this node restores it, or 0. */
static __always_inline __u16 learn_service(const struct learn_message *m, __be16 vip_port, int six)
{
	__u16 number = service_find(&m->vip, vip_port, m->mapping.protocol);
	__u32 index = number;
	struct target *target = number ? bpf_map_lookup_elem(&targets, &index) : NULL;

	if (!target)
		return 0;
	__u32 word = *(volatile __u32 *)&target->word;

	if ((word & 0xffff) != vip_port || (word >> 16 & 0xff) != m->mapping.protocol || !(word >> 24 & (six ? TARGET_IPV6 : TARGET_IPV4)))
		return 0;
	return number;
}

/* Steps 1 to 3: 1, or a negative `enum counter`, or COUNT_NONE: not for here. */
static __always_inline int learn_read(struct xdp_md *ctx, const struct packet *p, __u64 now, struct learn_message *m)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct udphdr *udp = data + (p->l4 & PACKET_L4_MASK);
	struct mapping_fixed *fixed = (void *)(udp + 1);
	const struct siphash_key *key;
	struct learn_tunnel *t;
	union address node = {};
	__u32 tunnel, payload;
	__u64 word = 0;
	int six;

	if ((void *)(fixed + 1) > data_end)
		return -COUNT_MAPPING_UNUSUAL;
	payload = bpf_ntohs(udp->len) - sizeof(*udp);
	if (fixed->magic != MAPPING_HEADER_MAGIC || fixed->version_kind != (MAPPING_HEADER_VERSION << 4 | MAPPING_KIND_MAP))
		return COUNT_NONE;
	if (fixed->flags & ~(MAPPING_FLAG_IPV6 | MAPPING_FLAG_INNER))
		return -COUNT_MAPPING_UNUSUAL;
	six = fixed->flags & MAPPING_FLAG_IPV6;
	m->length = six ? MAPPING_HEADER6_BYTES : MAPPING_HEADER4_BYTES;
	m->inner = bpf_ntohs(fixed->inner_length);
	if (m->length + m->inner != payload || !fixed->identifier || !m->inner != !(fixed->flags & MAPPING_FLAG_INNER))
		return -COUNT_MAPPING_UNUSUAL;
	if (!m->inner && !answer_may_leave(ctx, p))
		return -COUNT_MAPPING_UNUSUAL;
	m->key.identifier = fixed->identifier;
	m->mapping.port = fixed->ports[0];
	m->mapping.epoch = bpf_ntohl(fixed->epoch);
	m->mapping.sequence = bpf_ntohl(fixed->sequence);
	m->mapping.protocol = fixed->protocol;
	m->mapping.host = fixed->host;
	if (six) {
		union mapping_header6 *h = (void *)fixed;

		if ((void *)h + MAPPING_HEADER6_BYTES > data_end)
			return -COUNT_MAPPING_UNUSUAL;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			m->mapping.client[i] = h->client[i];
			m->vip.w[i] = h->vip[i];
			node.w[i] = h->node[i];
		}
	} else {
		union mapping_header4 *h = (void *)fixed;

		if ((void *)(h + 1) > data_end)
			return -COUNT_MAPPING_UNUSUAL;
		m->mapping.client[2] = m->vip.w[2] = node.w[2] = bpf_htonl(0xffff);
		m->mapping.client[3] = h->client;
		m->vip.w[3] = h->vip;
		node.w[3] = h->node;
	}
	tunnel = learn_node_tunnel(node.w);
	t = learn_tunnel_of(ctx, p, tunnel, fixed->epoch, &word);
	key = t ? learn_key_of(t, fixed->key_number) : NULL;
	if (!t || !key || !learn_time_near(fixed->time, now))
		return -COUNT_MAPPING_REFUSED;
	if (six ? !mapping_tag_right6(key, (void *)fixed) : !mapping_tag_right4(key, (void *)fixed))
		return -COUNT_MAPPING_REFUSED;
	if (!m->inner) {
		m->answer = t->answer;
		/* As much as a first packet proves. */
		m->mapping.tcp_flags = TCP_SYN;
		if (!m->answer.number)
			return -COUNT_MAPPING_UNUSUAL;
	}
	/* Another epoch or other keys meanwhile: what was read may be half of each. */
	if (*(volatile __u64 *)&t->word != word)
		return -COUNT_MAPPING_REFUSED;
	m->key.tunnel = tunnel;
	m->key.generation = tunnel >> 8 & 15;
	if (!m->inner) {
		if (m->mapping.protocol != IPPROTO_TCP && m->mapping.protocol != IPPROTO_UDP)
			return -COUNT_MAPPING_UNUSUAL;
	} else if (six ? !learn_inner6((void *)fixed + MAPPING_HEADER6_BYTES, data_end, m, fixed->ports[1])
		       : !learn_inner4((void *)fixed + MAPPING_HEADER4_BYTES, data_end, m, fixed->ports[1])) {
		return -COUNT_MAPPING_UNUSUAL;
	}
	m->mapping.service = learn_service(m, fixed->ports[1], six);
	return m->mapping.service ? 1 : -COUNT_MAPPING_UNUSUAL;
}

/* Step 4: what it counts as, or a negative `enum counter`. The mapping is in force then. */
static __always_inline int learn_store(struct learn_message *m)
{
	int known = learn_known();

	if (known != LEARN_UNKNOWN)
		return known == LEARN_OTHER ? -COUNT_MAPPING_UNUSUAL : COUNT_LEARNT_AGAIN;
	if (answer_is_newer(m) || bpf_map_update_elem(&learnt, &m->key, &m->mapping, BPF_NOEXIST))
		return -COUNT_MAPPING_UNUSUAL;
	/* Whoever answers does this in the other order: one of the two sees it. */
	if (answer_is_newer(m)) {
		bpf_map_delete_elem(&learnt, &m->key);
		return -COUNT_MAPPING_UNUSUAL;
	}
	return COUNT_LEARNT;
}

/* Step 5: the frame is that of the packet inside. Answers 0, or -1 with nothing changed. */
static __always_inline int learn_strip(struct xdp_md *ctx, const struct packet *p, __u32 shift, __be16 type)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data, header;
	struct vlan_tag *tag = (void *)(ethernet + 1), first, second;

	if ((void *)(tag + PACKET_VLAN_TAGS) > data_end)
		return -1;
	header = *ethernet;
	first = tag[0];
	second = tag[1];
	if (bpf_xdp_adjust_head(ctx, shift))
		return -1;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ethernet = data;
	tag = (void *)(ethernet + 1);
	/* The packet inside is longer than this. */
	if ((void *)(tag + PACKET_VLAN_TAGS) > data_end)
		return -1;
	/* What stands last in the header is the packet's type. */
	if (p->vlan_tags == 0)
		header.h_proto = type;
	else if (p->vlan_tags == 1)
		first.type = type;
	else
		second.type = type;
	*ethernet = header;
	if (p->vlan_tags > 0)
		tag[0] = first;
	if (p->vlan_tags > 1)
		tag[1] = second;
	mark_for_stack(data, data_end);
	return 0;
}

static __always_inline void learn_count(const struct learn_message *m)
{
	__u32 service = m->mapping.service;
	struct traffic *traffic = bpf_map_lookup_elem(&service_traffic, &service);

	if (!traffic)
		return;
	traffic->packets++;
	traffic->bytes += m->inner;
}

/*
 * A whole UDP packet to the mapping port. Answers COUNT_LEARNT or COUNT_LEARNT_AGAIN; COUNT_MAPPING_ANSWERED for one that is for learn_answer; or, with the frame as it was, a negative `enum counter`,
 * for what is the agent's, or COUNT_NONE. Not static: the verifier looks at it by itself.
 */
__attribute__((noinline)) int learn_datagram(struct xdp_md *ctx, struct packet *p)
{
	struct learn_message *m = learn_message_of();
	__u64 now;
	int result;

	if (!p || !m)
		return COUNT_NONE;
	now = bpf_ktime_get_boot_ns();
	if (now >= learning.until)
		return COUNT_NONE;
	__builtin_memset(m, 0, sizeof(*m));
	result = learn_read(ctx, p, now, m);
	if (result > 0)
		result = learn_store(m);
	if (result <= 0)
		return result;
	if (!m->inner)
		return COUNT_MAPPING_ANSWERED;
	learn_tell(m);
	learn_count(m);
	/* Headers between the frame's and the packet inside: IP and UDP, and the mapping. */
	if (learn_strip(ctx, p, p->l4 - p->l3 + sizeof(struct udphdr) + m->length, m->length == MAPPING_HEADER6_BYTES ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP)))
		return -COUNT_MAPPING_UNUSUAL;
	return result;
}

static __always_inline int learn_concerns(const struct packet *p)
{
	return p->protocol == IPPROTO_UDP && !p->is_fragment && learning.until && p->ports[1] == learning.port;
}

#endif
