/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The mapping header (R-E8), as dataplane/mapping-header.ts describes it: reading it is for the caller, its tag is made and compared here. */
#ifndef SHUNT_MAPPING_HEADER_H
#define SHUNT_MAPPING_HEADER_H

#include "siphash.h"

#define MAPPING_HEADER_MAGIC 0x53
#define MAPPING_HEADER_VERSION 1
#define MAPPING_KIND_MAP 1
#define MAPPING_KIND_MAP_ACK 2
#define MAPPING_FLAG_IPV6 0x01
#define MAPPING_FLAG_INNER 0x02

/* The 28 bytes in front of the addresses. Numbers as they stand in packets. */
struct mapping_fixed {
	__u8 magic;
	__u8 version_kind; /* version << 4 | kind */
	__u8 key_number;
	__u8 flags;
	__be32 epoch;
	__be32 sequence;
	__be32 time;
	__be32 identifier;
	__u8 protocol;
	__u8 host;
	__be16 inner_length;
	__be16 ports[2]; /* client's, VIP's */
} __attribute__((packed, aligned(4)));

/* Client, VIP and node of IPv4. As words of eight bytes for the tag. */
union mapping_header4 {
	struct {
		struct mapping_fixed fixed;
		__be32 client, vip, node;
		__u32 tag[2]; /* low word first */
	} __attribute__((packed, aligned(4)));
	__u64 words[6];
};

/* With flag 6. */
union mapping_header6 {
	struct {
		struct mapping_fixed fixed;
		__be32 client[4], vip[4], node[4];
		__u32 tag[2];
	} __attribute__((packed, aligned(4)));
	__u64 words[10]; /* of which the last four bytes are not the header's */
};

#define MAPPING_HEADER4_BYTES 48
#define MAPPING_HEADER6_BYTES 84

_Static_assert(sizeof(struct mapping_fixed) == 28, "the addresses begin at byte 28");
_Static_assert(sizeof(union mapping_header4) == MAPPING_HEADER4_BYTES, "header of IPv4");
_Static_assert(__builtin_offsetof(union mapping_header6, tag) == 76, "tag of IPv6");

/* The tag of what stands in front of it, as one word: low half first in memory. */
static __always_inline __u64 mapping_tag4(const struct siphash_key *key, const union mapping_header4 *h)
{
	struct siphash s;

	siphash_begin(&s, key);
#pragma clang loop unroll(full)
	for (int i = 0; i < 5; i++)
		siphash_word(&s, h->words[i]);
	return siphash_end(&s, 0, 40);
}

static __always_inline __u64 mapping_tag6(const struct siphash_key *key, const union mapping_header6 *h)
{
	struct siphash s;

	siphash_begin(&s, key);
#pragma clang loop unroll(full)
	for (int i = 0; i < 9; i++)
		siphash_word(&s, h->words[i]);
	return siphash_end(&s, (__u32)h->words[9], 76);
}

/* Signs a header that is otherwise complete. */
static __always_inline void mapping_sign4(const struct siphash_key *key, union mapping_header4 *h)
{
	h->words[5] = mapping_tag4(key, h);
}

static __always_inline void mapping_sign6(const struct siphash_key *key, union mapping_header6 *h)
{
	__u64 tag = mapping_tag6(key, h);

	h->tag[0] = tag;
	h->tag[1] = tag >> 32;
}

static __always_inline int mapping_tag_right4(const struct siphash_key *key, const union mapping_header4 *h)
{
	return h->words[5] == mapping_tag4(key, h);
}

static __always_inline int mapping_tag_right6(const struct siphash_key *key, const union mapping_header6 *h)
{
	__u64 tag = mapping_tag6(key, h);

	return h->tag[0] == (__u32)tag && h->tag[1] == (__u32)(tag >> 32);
}

#endif
