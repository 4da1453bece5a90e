/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Services that this node has as a host, by number: what a mapping's packets go back to (host.h), and which whole packets are let in (decap.h). */
#ifndef SHUNT_TARGETS_H
#define SHUNT_TARGETS_H

#include "hosts.h"

/*
 * What a service's number means to a host; one that has no entry is not restored here.
 *
 *   word   31      24 23      16 15          0    families: TARGET_IPV4, TARGET_IPV6: which VIP is there
 *         | families | protocol |   VIP's port |    0: no such service; written last, and cleared first
 */
#define TARGET_IPV4 1
#define TARGET_IPV6 2

struct target {
	__be32 ipv6[4];
	__be32 ipv4;
	__u32 word;
	__u32 reserved[10]; /* for the application's own address and port */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVICES);
	__type(key, __u32);
	__type(value, struct target);
} targets SEC(".maps");

/* Whether this node has the service. */
static __always_inline int host_serves(__u32 service, __u8 family, __u8 protocol)
{
	struct target *target = bpf_map_lookup_elem(&targets, &service);
	__u32 word = target ? *(volatile __u32 *)&target->word : 0;

	return (word >> 16 & 0xff) == protocol && word >> 24 & (family == 4 ? TARGET_IPV4 : TARGET_IPV6);
}

#endif
