/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * (VIP, port, protocol) -> number of the service. Written by the agent through memory (service-table.ts), read without locks.
 *
 * An ARRAY map of buckets of eight slots, the bucket by a hash of the key. A slot's `word` says whether it is taken, and is written
 * last and cleared first; a slot's address never changes under a word that is not 0.
 *
 *   word   63        48 47      32 31   24 23    16 15       0
 *         |   flags     |  number  |   1   | protocol |  port  |   port and address as they stand in packets
 */
#ifndef SHUNT_SERVICES_H
#define SHUNT_SERVICES_H

#include "rewrite.h"

#define SERVICE_BUCKETS 1024 /* eight times the slots that 1,024 services need: hardly ever does one find its bucket full */
#define SERVICE_SLOTS 8
#define SERVICE_HASH_SHIFT 22
#define SERVICE_USED (1u << 24)

/* Flags, as service_find answers them. */
#define SERVICE_ENCAPSULATE (1u << 16) /* delivery by full encapsulation (R-A4) */

struct service_slot {
	__be32 vip[4]; /* as in union address */
	__u64 word;
	__u64 reserved;
};

struct service_bucket {
	struct service_slot slots[SERVICE_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVICE_BUCKETS);
	__type(key, __u32);
	__type(value, struct service_bucket);
} services SEC(".maps");

/* VIPs, for what is no service's: otherwise dropped. */
#define VIP_OPEN 1 /* some service of the VIP is not in `services`: what is unknown here passes to the slow path */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, union address);
	__type(value, __u32);
} vips SEC(".maps");

static __always_inline __u32 service_bucket_of(const union address *vip, __u32 key)
{
	__u32 hash = key * 0x9e3779b1u;

	hash = (hash ^ hash >> 15 ^ vip->w[3]) * 0x85ebca77u;
	hash = (hash ^ hash >> 15 ^ vip->w[1]) * 0xc2b2ae3du;
	hash = (hash ^ hash >> 15 ^ vip->w[0] ^ vip->w[2]) * 0x27d4eb2fu;
	return hash >> SERVICE_HASH_SHIFT;
}

/* The service's number, with its flags above the low 16 bits; or 0. */
static __always_inline __u32 service_find(const union address *vip, __be16 port, __u8 protocol)
{
	__u32 key = port | (__u32)protocol << 16 | SERVICE_USED;
	__u32 index = service_bucket_of(vip, key);
	struct service_bucket *bucket = bpf_map_lookup_elem(&services, &index);

	if (!bucket)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SERVICE_SLOTS; i++) {
		struct service_slot *slot = &bucket->slots[i];
		__u64 word = *(volatile __u64 *)&slot->word;

		if ((__u32)word == key && slot->vip[3] == vip->w[3] && slot->vip[2] == vip->w[2] && slot->vip[1] == vip->w[1] && slot->vip[0] == vip->w[0])
			return word >> 32;
	}
	return 0;
}

static __always_inline __u32 *vip_find(const union address *address)
{
	return bpf_map_lookup_elem(&vips, address);
}

#endif
