/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * (tunnel address of a forwarder, address of this node) -> index and generation of the tunnel. Written by the agent through memory
 * (tunnel-table.ts), read without locks.
 *
 * An open-addressed table in an ARRAY map: from the slot that a hash says, one after the other, to the first that was never used. A
 * slot's `word` is written last and cleared first; a generation changes at once.
 *
 *   word   31      24 23      16 15        8 7         0
 *         |  state   |  family  | generation |  index   |    state 0: never used, 1: in use, 2: was used
 */
#ifndef SHUNT_TUNNELS_H
#define SHUNT_TUNNELS_H

#include "rewrite.h"

#define TUNNEL_SLOTS 1024 /* twice as many as 255 tunnels of both families need */
#define TUNNEL_PROBES 16  /* more are never needed to find what is there: the agent sees to it */
#define TUNNEL_USED 1
#define TUNNEL_WAS_USED 2

struct tunnel_slot {
	__be32 tunnel[4]; /* as in union address */
	__be32 own[4];
	__u32 word;
	__u32 reserved[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TUNNEL_SLOTS);
	__type(key, __u32);
	__type(value, struct tunnel_slot);
} tunnels SEC(".maps");

static __always_inline __u32 tunnel_hash(const __be32 *tunnel, const __be32 *own, __u8 family)
{
	__u32 hash = (tunnel[3] ^ own[3] << 16 ^ own[3] >> 16) * 0x9e3779b1u;

	if (family == 6) {
		hash = (hash ^ hash >> 15 ^ tunnel[2] ^ own[2]) * 0x85ebca77u;
		hash = (hash ^ hash >> 15 ^ tunnel[1] ^ own[1]) * 0xc2b2ae3du;
		hash = (hash ^ hash >> 15 ^ tunnel[0] ^ own[0]) * 0x27d4eb2fu;
	}
	return hash >> 22;
}

/* The word of a packet's tunnel; 0: it comes from none, or does not go to this node. */
static __always_inline __u32 tunnel_find(const __be32 *tunnel, const __be32 *own, __u8 family)
{
	__u32 hash = tunnel_hash(tunnel, own, family);

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < TUNNEL_PROBES; i++) {
		__u32 index = (hash + i) & (TUNNEL_SLOTS - 1);
		struct tunnel_slot *slot = bpf_map_lookup_elem(&tunnels, &index);
		__u32 word = slot ? *(volatile __u32 *)&slot->word : 0;

		if (!word)
			return 0;
		if (word >> 24 != TUNNEL_USED || (word >> 16 & 0xff) != family || slot->tunnel[3] != tunnel[3] || slot->own[3] != own[3])
			continue;
		if (family == 4 || (slot->tunnel[2] == tunnel[2] && slot->tunnel[1] == tunnel[1] && slot->tunnel[0] == tunnel[0] &&
				    slot->own[2] == own[2] && slot->own[1] == own[1] && slot->own[0] == own[0]))
			return word;
	}
	return 0;
}

#endif
