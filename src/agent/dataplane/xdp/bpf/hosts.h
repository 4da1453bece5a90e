/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Hosts by index (the top byte of a flow identifier), the interfaces that lead to them, and what went there. */
#ifndef SHUNT_HOSTS_H
#define SHUNT_HOSTS_H

#include "config.h"

#define HOSTS 256
#define SERVICES 4096 /* traffic of those with a higher number is not counted by service */

#define HOST_IPV4 1
#define HOST_IPV6 2

struct host {
	__u32 families; /* HOST_IPV4, HOST_IPV6: which address is there; written last, and cleared first */
	__be32 ipv4;
	__be32 ipv6[4];
	__u64 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HOSTS);
	__type(key, __u32);
	__type(value, struct host);
} hosts SEC(".maps");

/* By an interface that the kernel routes by: what XDP has to do to send there. One that is not here cannot be sent by. */
struct device {
	__u32 link;        /* the interface itself, or what a VLAN device lies on; it must take XDP's frames */
	__be16 vlan_type;  /* 0x8100 or 0x88a8 in network order; 0: untagged */
	__be16 vlan_tci;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct device);
} devices SEC(".maps");

struct traffic {
	__u64 packets;
	__u64 bytes; /* of IP packets */
};

#define TRAFFIC(name, entries)                                                                                                 \
	struct {                                                                                                               \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                                       \
		__uint(max_entries, entries);                                                                                  \
		__type(key, __u32);                                                                                            \
		__type(value, struct traffic);                                                                                 \
	} name SEC(".maps")

TRAFFIC(service_traffic, SERVICES);
TRAFFIC(host_traffic, HOSTS);

static __always_inline void count_traffic(void *map, __u32 index, const struct packet *p)
{
	struct traffic *traffic = bpf_map_lookup_elem(map, &index);

	if (!traffic)
		return;
	traffic->packets++;
	traffic->bytes += p->end - p->l3;
}

/* This forwarder's tunnel address of the packet's family; 0: it has none. */
static __always_inline int tunnel_address(const struct packet *p, union address *address)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		address->w[i] = p->family == 4 ? config.tunnel4.w[i] : config.tunnel6.w[i];
	return p->family == 4 ? !!address->w[3] : !!(address->w[0] | address->w[1] | address->w[2] | address->w[3]);
}

/* The host's address of the packet's family: 0, or a negative `enum counter`. */
static __always_inline int host_address(__u32 index, const struct packet *p, union address *address)
{
	struct host *host = bpf_map_lookup_elem(&hosts, &index);
	__u32 families = host ? *(volatile __u32 *)&host->families : 0;

	if (!(families & (p->family == 4 ? HOST_IPV4 : HOST_IPV6)))
		return -COUNT_NO_HOST;
	if (p->family == 4) {
		address->v4[0] = host->ipv4;
		return 0;
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		address->w[i] = host->ipv6[i];
	return 0;
}

#endif
