/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What learn.h and learn-answer.h go by, and what they tell. */
#ifndef SHUNT_LEARN_MAPS_H
#define SHUNT_LEARN_MAPS_H

#include "host-tables.h"
#include "mapping-header.h"

#define LEARN_KEYS 4 /* secrets that overlap; the plan rarely has more than two */

#define LEARN_TUNNEL_GENERATION_SHIFT 32
#define LEARN_TUNNEL_ON (1ull << 40)

struct learn_key {
	struct siphash_key key;
	__u32 number; /* of the cluster secret, and one more; 0: no key */
	__u32 reserved;
};

/* By index of the tunnel. Written by the agent, `word` cleared first and written last: epoch, generation, LEARN_TUNNEL_ON. */
struct learn_tunnel {
	__u64 word;
	__be32 sender[4]; /* the forwarder's cluster address, as in union address */
	__u64 reserved;
	struct learn_key keys[LEARN_KEYS];
	struct learn_key answer; /* of what this node sends to the forwarder */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct learn_tunnel);
} learn_tunnels SEC(".maps");

struct learn_config {
	__u64 until;   /* ns of CLOCK_BOOTTIME: from then on the agent is taken for dead, and nothing is learnt; 0: not at all */
	__u64 unix_ns; /* Unix time less CLOCK_BOOTTIME */
	__u32 window;  /* s, how far a sender's time may be off */
	__be16 port;   /* of mapping datagrams */
	__u16 reserved;
	union address own4, own6; /* this node's end of the tunnels; all 0: none of that family */
	__u64 lost;               /* events that found no room, all processors */
};

volatile struct learn_config learning;

struct learnt_key {
	__u32 identifier; /* as it stands in packets */
	__u8 tunnel, generation;
	__u16 reserved;
};

struct learnt {
	__be32 client[4]; /* as in union address */
	__be16 port;
	__u16 service;
	__u32 epoch, sequence; /* of the message, as numbers */
	__u8 protocol, host;   /* of the message */
	__u8 tunnelled;        /* a packet has followed it */
	__u8 tcp_flags;        /* of the packet that it came with */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2);
	__type(key, struct learnt_key);
	__type(value, struct learnt);
} learnt SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} mapping_events SEC(".maps");

/* FIN or RST of a mapped flow. */
struct control_event {
	__u32 identifier; /* as it stands in packets */
	__u8 tunnel, generation;
	__u8 tcp_flags;
	__u8 reserved;
};
SHUNT_EXPORT(struct, control_event);

/* A packet that came with its mapping, which is in force. */
struct learnt_event {
	struct learnt_key key;
	struct learnt mapping;
};
SHUNT_EXPORT(struct, learnt_event);

/* What a datagram says, and where in it the packet is. */
struct learn_message {
	struct learnt_key key;
	struct learnt mapping;
	union address vip;
	__u32 length; /* of the mapping header: 48 or 84 */
	__u32 inner;  /* bytes; 0: there is no packet */
	struct learn_key answer; /* where there is no packet */
};

/* The message at hand: more than fits the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct learn_message);
} learn_messages SEC(".maps");

static __always_inline struct learn_message *learn_message_of(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&learn_messages, &zero);
}

#endif
