/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Why each packet went where it went: exactly one count a packet. Append only: operators' graphs know the numbers. */
#ifndef SHUNT_COUNTERS_H
#define SHUNT_COUNTERS_H

#include "base.h"

enum counter {
	COUNT_NONE = 0,

	/* Not ours: the stack gets it as it came. */
	COUNT_NOT_IP = 1,
	COUNT_VLAN_TAGS = 2, /* more than two */
	COUNT_NOT_A_VIP = 3,

	/* What the slow path decides about: those of dataplane/drops.ts have its names. */
	COUNT_TRUNCATED = 4, /* or with headers that go on in a second buffer */
	COUNT_BAD_VERSION = 5,
	COUNT_BAD_HEADER_LENGTH = 6,
	COUNT_BAD_TOTAL_LENGTH = 7,
	COUNT_BAD_CHECKSUM = 8,
	COUNT_BAD_ADDRESS = 9,
	COUNT_EXTENSION_HEADERS = 10,
	COUNT_UNSUPPORTED_PROTOCOL = 11,
	COUNT_FRAGMENT = 12,
	COUNT_TCP_CONTROL = 13, /* SYN, FIN or RST */
	COUNT_NO_ROUTE = 14,
	COUNT_NOT_MAPPED = 15, /* the host has not acknowledged the route's identifier */
	COUNT_TTL_EXPIRED = 16,
	COUNT_NO_HOST = 17,         /* the route's host, or this forwarder, has no address of this family */
	COUNT_NO_NEIGHBOUR = 18,    /* the kernel has to ask for its hardware address */
	COUNT_NO_NEXT_HOP = 19,     /* no way there, or forwarding is off */
	COUNT_TOO_BIG = 20,
	COUNT_OTHER_INTERFACE = 21, /* the way there leads over one that XDP cannot send by */

	/* Dropped. */
	COUNT_NOT_A_SERVICE = 22,

	/* Forwarded. */
	COUNT_SENT_BACK = 23,  /* by the interface that it came in by */
	COUNT_REDIRECTED = 24,
	COUNT_LOCAL = 25,      /* this node is its host: into the stack, as it came */

	/* The host's. */
	COUNT_RESTORED = 26,   /* a tunnelled packet, into the stack with its own addresses */
	COUNT_NO_MAPPING = 27, /* the slow path asks for it */
	COUNT_NOT_TO_VIP = 28, /* a mapping that says what this node no longer serves */

	COUNT_ROLE_OFF = 29, /* neither role is on */
	COUNT_NOT_TUNNELLED = 30, /* on a cluster interface only: not from a tunnel to this node, so not ours either */
	COUNT_LINK_MULTICAST = 31, /* a unicast packet in a frame to several: not forwarded (RFC 1812, section 5.3.4) */

	/* First packets (classify.h). */
	COUNT_CLASSIFIED = 32,   /* forwarded: it opens a flow, whose host was chosen here */
	COUNT_WITH_MAPPING = 33, /* forwarded: a later one of a flow whose host has not acknowledged */
	COUNT_NO_IDENTIFIER = 34, /* to the slow path: none is ready for the host */
	COUNT_LEASE_OVER = 35,    /* to the slow path: nobody vouches for the host now */
	COUNT_GRACE_OVER = 36,    /* to the slow path, if there is one: no agent was there for too long */
	COUNT_MAPPING_ACK = 37,   /* taken: a host's acknowledgement */
	COUNT_NO_ROOM = 38,       /* to the slow path: others were faster, or the tables are full of pinned entries */

	/* Mapping datagrams to a host. */
	COUNT_LEARNT = 39,           /* the mapping is in force, the packet inside goes into the stack */
	COUNT_LEARNT_AGAIN = 40,     /* the same, by a mapping that was there */
	COUNT_MAPPING_UNUSUAL = 41,  /* in order, as far as was seen, and for the agent to judge */
	COUNT_MAPPING_REFUSED = 42,  /* another tunnel, sender, epoch, key, tag or time: the agent says what is wrong */

	/* ICMP (icmp.h). */
	COUNT_ICMP_ECHO = 44,     /* an echo request to a VIP, answered */
	COUNT_ICMP_TO_HOST = 45,  /* an error from a client's path, sent to the host of its flow */
	COUNT_ICMP_LOCAL = 46,    /* the same, and this node is the host */
	COUNT_ICMP_RESTORED = 47, /* a tunnelled error, into the stack with its own addresses */

	/* Full encapsulation (R-A4). */
	COUNT_ENCAPSULATED = 50,    /* forwarded so */
	COUNT_DECAPSULATED = 51,    /* taken out, into the own stack */
	COUNT_BAD_INNER = 52,       /* what is inside cannot be carried; the slow path says why */
	COUNT_CONGESTION_LOST = 53, /* congestion was marked outside, and the inner sender would not understand (RFC 6040): the slow path drops it */
	COUNT_NO_HEADROOM = 54,     /* the driver left no room in front of the packet */

	COUNT_MAPPING_ANSWERED = 55, /* a mapping datagram without a packet, sent back as its acknowledgement (learn-answer.h) */
	COUNT_ICMP_LIMITED = 56, /* dropped: more echoes, or errors, than icmp-limit.h allows */
	COUNTERS = 64,
};
SHUNT_EXPORT(enum, counter);

struct counts {
	__u64 packets[COUNTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counters SEC(".maps");

static __always_inline void count(enum counter reason)
{
	__u32 zero = 0;
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);

	if (counts)
		counts->packets[reason & (COUNTERS - 1)]++;
}

static __always_inline int pass(enum counter reason)
{
	count(reason);
	return XDP_PASS;
}

#endif
