/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Replaces addresses and ports of a packet in place, with its checksums (R-E8). The agent's half: dataplane/rewrite.ts. */
#ifndef SHUNT_REWRITE_H
#define SHUNT_REWRITE_H

#include "packet.h"

/* Network order; IPv4 v4-mapped, as in flow keys: 0, 0, ffff, address. */
union address {
	__be32 w[4];
	struct {
		__be32 mapped[3];
		__be32 v4[1];
	};
};

/* Sums of 32-bit words in ones' complement; a __u64 takes many before it must be folded. */
static __always_inline __u16 fold_sum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* A checksum after words were replaced (RFC 1624, equation 3): `change` is the sum of new words and of old words' complements. */
static __always_inline __sum16 change_checksum(__sum16 check, __u64 change)
{
	return ~fold_sum((__u16)~check + change);
}

static __always_inline __u64 replace_word(__be32 *at, __be32 word)
{
	__u64 change = (__u64)(__u32)~*at + word;

	*at = word;
	return change;
}

/* The first four bytes of L4 become `ports`; `change`: of the addresses. */
static __always_inline int rewrite_l4(void *data, void *data_end, const struct packet *p, __be32 ports, __u64 change)
{
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = packet_tcp(data, data_end, p);

		if (!tcp)
			return -COUNT_TRUNCATED;
		change += replace_word((__be32 *)tcp, ports);
		tcp->check = change_checksum(tcp->check, change);
		return 0;
	}
	struct udphdr *udp = packet_udp(data, data_end, p);

	if (!udp)
		return -COUNT_TRUNCATED;
	change += replace_word((__be32 *)udp, ports);
	if (udp->check) {
		/* 0 would say that there is none (RFC 768). */
		udp->check = change_checksum(udp->check, change);
		if (!udp->check)
			udp->check = 0xffff;
	}
	return 0;
}

/*
 * Both addresses and the 32 port bits, in network order, of a whole TCP or UDP packet. IPv4 header, TCP and UDP checksums follow; a UDP
 * checksum of 0 (none) stays. Answers 0, or a negative `enum counter`, which only a packet that was not parsed can get.
 */
static __always_inline int rewrite_tuple(void *data, void *data_end, const struct packet *p, const union address *src, const union address *dst, __be32 ports)
{
	__u64 change = 0;

	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return -COUNT_TRUNCATED;
		change += replace_word(&ip->saddr, src->v4[0]);
		change += replace_word(&ip->daddr, dst->v4[0]);
		ip->check = change_checksum(ip->check, change);
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (!ip)
			return -COUNT_TRUNCATED;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			change += replace_word(&ip->saddr.in6_u.u6_addr32[i], src->w[i]);
			change += replace_word(&ip->daddr.in6_u.u6_addr32[i], dst->w[i]);
		}
	}
	return rewrite_l4(data, data_end, p, ports, change);
}

/* One hop. The caller has seen that the TTL is above 1 (RFC 1812, section 5.3.1). */
static __always_inline void decrement_ttl(void *data, void *data_end, const struct packet *p)
{
	if (p->family == 4) {
		struct iphdr *ip = packet_ipv4(data, data_end, p);

		if (!ip)
			return;
		/* One less in the high byte of a word is one more in that of the checksum, with the carry around. */
		__u32 check = ip->check + bpf_htons(0x100);

		ip->ttl--;
		ip->check = check + (check >= 0xffff);
	} else {
		struct ipv6hdr *ip = packet_ipv6(data, data_end, p);

		if (ip)
			ip->hop_limit--;
	}
}

#endif
