/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reads the headers of a frame: Ethernet, up to two VLAN tags, IPv4 or IPv6, TCP or UDP. Answers as dataplane/packet.ts does. */
#ifndef SHUNT_PACKET_H
#define SHUNT_PACKET_H

#include "counters.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define PACKET_VLAN_TAGS 2
#define PACKET_EXTENSIONS 8 /* more are refused: each costs a look, and honest senders use one or two */
/* The verifier wants offsets bounded; headers that end later than this are refused. */
#define PACKET_L3_MASK 0x1f
#define PACKET_L4_MASK 0xfff

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_CONTROL (TCP_FIN | TCP_SYN | TCP_RST)

#define FRAGMENT_MORE4 0x2000
#define FRAGMENT_OFFSET4 0x1fff
#define FRAGMENT_ANY6 0xfff9

struct packet {
	__u32 l3; /* offsets from the frame's first byte */
	__u32 l4;
	__u32 end;          /* after the last byte of the IP packet, by its own length; what follows is padding */
	__u16 payload_hint; /* bytes after the L4 header's fixed part */
	__u8 family;        /* 4 or 6; 0: neither */
	__u8 protocol;      /* of what starts at l4 */
	__u8 tcp_flags;
	__u8 ttl;
	__u8 is_fragment; /* any, the first too; there are no ports then */
	__u8 vlan_tags;
	__be16 ports[2]; /* source, destination */
};

struct vlan_tag {
	__be16 tci;
	__be16 type;
};

struct extension {
	__u8 next;
	__u8 units; /* of 8 bytes, the first one not counted; reserved in a fragment header */
	__be16 word;
	__be32 identification;
};

/* The headers of a packet that was parsed, or NULL. */
static __always_inline struct iphdr *packet_ipv4(void *data, void *data_end, const struct packet *p)
{
	struct iphdr *ip = data + (p->l3 & PACKET_L3_MASK);

	return (void *)(ip + 1) > data_end ? NULL : ip;
}

static __always_inline struct ipv6hdr *packet_ipv6(void *data, void *data_end, const struct packet *p)
{
	struct ipv6hdr *ip = data + (p->l3 & PACKET_L3_MASK);

	return (void *)(ip + 1) > data_end ? NULL : ip;
}

static __always_inline struct tcphdr *packet_tcp(void *data, void *data_end, const struct packet *p)
{
	struct tcphdr *tcp = data + (p->l4 & PACKET_L4_MASK);

	return (void *)(tcp + 1) > data_end ? NULL : tcp;
}

static __always_inline struct udphdr *packet_udp(void *data, void *data_end, const struct packet *p)
{
	struct udphdr *udp = data + (p->l4 & PACKET_L4_MASK);

	return (void *)(udp + 1) > data_end ? NULL : udp;
}

/* RFC 1812, section 5.2.2: who forwards verifies it. An incremental update would hide that the header was damaged here or before. */
static __always_inline int ipv4_checksum_right(const struct iphdr *ip, __u32 options, void *data_end)
{
	const __u32 *words = (const __u32 *)ip;
	__u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];

	if (options) {
#pragma clang loop unroll(disable)
		for (__u32 i = 5; i < 15 && i < 5 + options; i++) {
			asm volatile("" : "+r"(data_end)); /* keeps clang from reckoning with the end, which the verifier forbids */
			if ((const void *)(words + i + 1) > data_end)
				return 0;
			sum += words[i];
		}
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static __always_inline int parse_ipv4(void *data, void *data_end, struct packet *p)
{
	struct iphdr *ip = packet_ipv4(data, data_end, p);

	if (!ip)
		return -COUNT_TRUNCATED;
	if (ip->version != 4)
		return -COUNT_BAD_VERSION;
	if (ip->ihl < 5)
		return -COUNT_BAD_HEADER_LENGTH;
	__u32 header = ip->ihl * 4, total = bpf_ntohs(ip->tot_len);

	if (total < header)
		return -COUNT_BAD_TOTAL_LENGTH;
	if (data + p->l3 + header > data_end)
		return -COUNT_TRUNCATED;
	if (!ipv4_checksum_right(ip, ip->ihl - 5, data_end))
		return -COUNT_BAD_CHECKSUM;
	p->family = 4;
	p->protocol = ip->protocol;
	p->ttl = ip->ttl;
	p->is_fragment = !!(ip->frag_off & bpf_htons(FRAGMENT_MORE4 | FRAGMENT_OFFSET4));
	p->l4 = p->l3 + header;
	p->end = p->l3 + total;
	return 0;
}

static __always_inline int is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT || next == IPPROTO_DSTOPTS;
}

/* On the wire it would share the key of an IPv4 client; RFC 6890 forbids it there. */
static __always_inline int is_v4_mapped(const struct in6_addr *address)
{
	const __be32 *words = address->in6_u.u6_addr32;

	return !(words[0] | words[1] | (words[2] ^ bpf_htonl(0xffff)));
}

/* From the first extension header, of type `next` at `at`, to what is none. */
static __always_inline int parse_extensions(void *data, void *data_end, struct packet *p, __u8 next, __u32 at)
{
	int fragment_header = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; is_extension(next); i++) {
		struct extension *extension = data + (at & PACKET_L4_MASK);

		if (i == PACKET_EXTENSIONS)
			return -COUNT_EXTENSION_HEADERS;
		if (at + sizeof(*extension) > p->end || (void *)(extension + 1) > data_end)
			return -COUNT_TRUNCATED;
		if (next == IPPROTO_FRAGMENT) {
			if (fragment_header)
				return -COUNT_EXTENSION_HEADERS;
			fragment_header = 1;
			/* Neither offset nor more: an atomic fragment, a whole packet (RFC 6946). The reserved bits count for nothing. */
			p->is_fragment = !!(extension->word & bpf_htons(FRAGMENT_ANY6));
			next = extension->next;
			at += sizeof(*extension);
			if (p->is_fragment && extension->word & bpf_htons(0xfff8))
				break;
			continue;
		}
		/* Hop-by-hop options stand first or nowhere (RFC 8200, section 4.1). With segments left the checksum covers another address. */
		if (next == IPPROTO_HOPOPTS && i)
			return -COUNT_EXTENSION_HEADERS;
		if (next == IPPROTO_ROUTING && extension->word & bpf_htons(0xff))
			return -COUNT_EXTENSION_HEADERS;
		next = extension->next;
		at += (extension->units + 1) * 8;
		if (at > p->end)
			return -COUNT_TRUNCATED;
		if (at > PACKET_L4_MASK)
			return -COUNT_EXTENSION_HEADERS;
	}
	p->protocol = next;
	p->l4 = at;
	return 0;
}

static __always_inline int parse_ipv6(void *data, void *data_end, struct packet *p)
{
	struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

	if (!ip)
		return -COUNT_TRUNCATED;
	if (ip->version != 6)
		return -COUNT_BAD_VERSION;
	if (is_v4_mapped(&ip->saddr) || is_v4_mapped(&ip->daddr))
		return -COUNT_BAD_ADDRESS;
	p->family = 6;
	p->ttl = ip->hop_limit;
	p->protocol = ip->nexthdr;
	p->l4 = p->l3 + sizeof(*ip);
	p->end = p->l4 + bpf_ntohs(ip->payload_len);
	return is_extension(p->protocol) ? parse_extensions(data, data_end, p, p->protocol, p->l4) : 0;
}

static __always_inline int parse_l4(void *data, void *data_end, struct packet *p)
{
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = packet_tcp(data, data_end, p);

		if (!tcp || p->l4 + sizeof(*tcp) > p->end)
			return -COUNT_TRUNCATED;
		if (tcp->doff < 5 || p->l4 + tcp->doff * 4 > p->end)
			return -COUNT_BAD_HEADER_LENGTH;
		p->ports[0] = tcp->source;
		p->ports[1] = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->payload_hint = p->end - p->l4 - sizeof(*tcp);
		return 0;
	}
	if (p->protocol == IPPROTO_UDP) {
		struct udphdr *udp = packet_udp(data, data_end, p);

		if (!udp || p->l4 + sizeof(*udp) > p->end)
			return -COUNT_TRUNCATED;
		if (bpf_ntohs(udp->len) < sizeof(*udp) || p->l4 + bpf_ntohs(udp->len) > p->end)
			return -COUNT_BAD_TOTAL_LENGTH;
		p->ports[0] = udp->source;
		p->ports[1] = udp->dest;
		p->payload_hint = p->end - p->l4 - sizeof(*udp);
		return 0;
	}
	return -COUNT_UNSUPPORTED_PROTOCOL;
}

/*
 * Answers 0, or a negative `enum counter`: then `family` (0: no IP packet) is all that is sure. A fragment answers 0 and has no ports. That
 * the frame is as long as the packet says is for the caller to see: data_end may be the end of the first buffer of several (parse_frame).
 */
static __always_inline int parse_packet(void *data, void *data_end, struct packet *p)
{
	struct ethhdr *ethernet = data;
	int result;

	__builtin_memset(p, 0, sizeof(*p));
	if ((void *)(ethernet + 1) > data_end)
		return -COUNT_NOT_IP;
	__be16 type = ethernet->h_proto;

	p->l3 = sizeof(*ethernet);
#pragma unroll
	for (int i = 0; i <= PACKET_VLAN_TAGS; i++) {
		struct vlan_tag *tag = data + sizeof(*ethernet) + i * sizeof(*tag);

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if (i == PACKET_VLAN_TAGS)
			return -COUNT_VLAN_TAGS;
		if ((void *)(tag + 1) > data_end)
			return -COUNT_TRUNCATED;
		type = tag->type;
		p->l3 += sizeof(*tag);
		p->vlan_tags++;
	}
	if (type == bpf_htons(ETH_P_IP))
		result = parse_ipv4(data, data_end, p);
	else if (type == bpf_htons(ETH_P_IPV6))
		result = parse_ipv6(data, data_end, p);
	else
		return -COUNT_NOT_IP;
	if (result || p->is_fragment)
		return result;
	return parse_l4(data, data_end, p);
}

/*
 * parse_packet of the packet at hand, which is also seen to be whole. Not static, so that the verifier looks at it by itself and takes what it
 * answers for unknown: otherwise it would follow each kind of headers through all that comes after.
 */
__attribute__((noinline)) int parse_frame(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return -COUNT_TRUNCATED;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	int result = parse_packet(data, data_end, p);

	/* The rest may be in further buffers (jumbo MTU). */
	if (!result && data + p->end > data_end && p->end > bpf_xdp_get_buff_len(ctx))
		return -COUNT_TRUNCATED;
	return result;
}

#endif
