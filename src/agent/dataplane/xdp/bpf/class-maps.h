/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the kernel needs to decide about first packets (R-G3), written by the agent through memory while packets flow (class-tables.ts,
 * class-pools.ts): which services it decides for and until when, which host each part of their clients gets, and identifiers to give away.
 */
#ifndef SHUNT_CLASS_MAPS_H
#define SHUNT_CLASS_MAPS_H

#include "hosts.h"
#include "mapping-header.h"
#include "next-hop.h"
#include "route-table.h"

#define CLASS_CHOICES 16384 /* parts that clients fall into */
#define CLASS_CHOICE_SHIFT 18
#define CLASS_POOL 1024
#define CLASS_KEYS 4

struct class_key {
	struct siphash_key key;
	__u32 number;
	__u32 used; /* written last, and cleared first */
};

struct class_config {
	__u64 vouched_until; /* ns of CLOCK_MONOTONIC: until then hosts' leases are the agent's word */
	__u64 wall_ns;       /* to be added to CLOCK_MONOTONIC for the time of day */
	__u32 on;
	__u32 epoch;
	__u32 sequence; /* of the last mapping message, of programs and agent alike: only ever added to, atomically */
	__be32 own4;    /* where mapping messages come from and their answers go to */
	__be16 port;
	__u16 reserved;
	__u32 tunnel_young; /* identifiers abound: a flow's packets may be tunnelled once its host has acknowledged */
	__u32 choice_key[2]; /* the cluster's */
	__u32 reserved2[2];
	struct class_key answers[CLASS_KEYS]; /* of what hosts send to this forwarder */
};

volatile struct class_config class_config;

/* By a service's number. */
struct class_service {
	__u64 until; /* ns of CLOCK_MONOTONIC: the agent decides from then on; 0: always */
	__u32 choices; /* index of its table */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVICES);
	__type(key, __u32);
	__type(value, struct class_service);
} class_services SEC(".maps");

/* Index of the host of each part; 0: nobody's. Each byte changes by itself. */
struct class_choices {
	__u8 hosts[CLASS_CHOICES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct class_choices);
} class_choices SEC(".maps");

/*
 * By a host's index: identifiers that are this forwarder's, in use by nobody. The agent puts in at `tail`, programs take at `head`; both
 * only grow, and an identifier stays where it is until `head` has passed it.
 */
struct class_pool {
	__u64 lease_until; /* ns of CLOCK_MONOTONIC */
	__u32 head, tail;
	struct siphash_key key; /* of what this forwarder sends to the host */
	__u32 key_number;
	__s32 clock_s; /* by how much its clock is ahead of this one's */
	__u32 reserved[6];
	__u32 identifiers[CLASS_POOL];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HOSTS);
	__type(key, __u32);
	__type(value, struct class_pool);
} class_pools SEC(".maps");

/* What the agent has to know of what was decided here. Append only. */
enum class_event_type {
	CLASS_OPENED = 1,   /* a flow, embryonic */
	CLASS_MAPPED = 2,   /* its host has acknowledged */
	CLASS_PROMOTED = 3, /* it has a route of its own */
	CLASS_CLOSING = 4,  /* FIN or RST, by the value's state */
	CLASS_REOPENED = 5, /* a packet after a RST, which so was forged or stale */
	CLASS_GONE = 6,     /* an embryonic flow gave way to another */
	CLASS_ROUTE_GONE = 7, /* a route did */
	CLASS_UNUSED = 8,   /* an identifier that was taken and not used; it has no flow */
};
SHUNT_EXPORT(enum, class_event_type);

struct class_event {
	__u64 key, high, low; /* as they stand in the table */
	__u64 value;
	__u32 type;
	__u32 sequence; /* not above that of the flow's first message */
};
SHUNT_EXPORT(struct, class_event);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} class_events SEC(".maps");

#define CLASS_EVENTS_WAKE (1 << 18) /* bytes that wait */

/* One processor's, so that none of it lies on the stack. */
struct class_scratch {
	struct class_event event;
	struct route_outcome outcome;
	struct route_key key;
	union {
		union mapping_header4 header;
		union mapping_header6 header6;
	};
	__u32 words[10];
	union address src, dst;
	union address client, vip; /* of a packet of IPv6 */
	struct next_hop hop;
	__u64 lost; /* events that found the ring full */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct class_scratch);
} class_scratch SEC(".maps");

static __always_inline struct class_scratch *class_scratch_of(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&class_scratch, &zero);
}

/* The agent looks by itself several times a second; it is woken only when much waits, or `soon`. */
static __noinline int class_tell(struct class_scratch *s, __u32 soon)
{
	__u64 flags = soon || bpf_ringbuf_query(&class_events, BPF_RB_AVAIL_DATA) > CLASS_EVENTS_WAKE ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;

	if (bpf_ringbuf_output(&class_events, &s->event, sizeof(s->event), flags))
		s->lost++;
	return 0;
}

static __always_inline void class_event(struct class_scratch *s, enum class_event_type type, __u64 key, const struct route_client *client, __u64 value, __u32 soon)
{
	s->event.key = key;
	s->event.high = client->high;
	s->event.low = client->low;
	s->event.value = value;
	s->event.type = type;
	s->event.sequence = class_config.sequence;
	class_tell(s, soon);
}

#endif
