// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Loaded to find out whether this machine can run the XDP data plane at all, and to prove the ground under it: each kind
 * of map, global and program that the data plane relies on is here once. It changes no packet.
 */
#include "base.h"

#include <linux/if_ether.h>
#include <linux/ip.h>

#define PROBE_HEAD_BYTES 16

enum probe_kind { PROBE_OTHER = 0, PROBE_IPV4 = 1, PROBE_IPV6 = 2, PROBE_KINDS = 3 };

struct probe_count {
	__u64 packets;
	__u64 bytes;
};

struct probe_key {
	__u32 source; /* network order */
	__u8 protocol;
	__u8 reserved[3];
};

struct probe_entry {
	struct probe_count count;
	__u32 interface_index;
	__u32 last_length;
};

struct probe_event {
	__u64 sequence;
	__u64 time_ns;
	__u32 interface_index;
	__u32 length;
	enum probe_kind kind;
	__u8 head[PROBE_HEAD_BYTES];
	__u32 reserved;
};
SHUNT_EXPORT(struct, probe_event);

/* Set before loading. */
const volatile __u32 verdict = XDP_PASS;
const volatile __u32 sample_every = 1; /* one record for so many packets; 0: none */

/* Changed while it runs. */
__u64 sequence = 1;
__u64 records_lost;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROBE_KINDS);
	__type(key, __u32);
	__type(value, struct probe_count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct probe_key);
	__type(value, struct probe_entry);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

/* `kind` is a constant in each inlined copy: a number that the verifier must bound costs more than three copies. */
static __always_inline void count(enum probe_kind kind, __u64 bytes)
{
	__u32 index = kind;
	struct probe_count *slot = bpf_map_lookup_elem(&counts, &index);

	if (!slot)
		return;
	__sync_fetch_and_add(&slot->packets, 1);
	__sync_fetch_and_add(&slot->bytes, bytes);
}

static __always_inline void note_source(const struct iphdr *ip, __u32 interface_index, __u64 bytes)
{
	struct probe_key key = { .source = ip->saddr, .protocol = ip->protocol };
	struct probe_entry *entry = bpf_map_lookup_elem(&sources, &key);

	if (!entry) {
		struct probe_entry first = { .interface_index = interface_index };

		bpf_map_update_elem(&sources, &key, &first, BPF_NOEXIST);
		entry = bpf_map_lookup_elem(&sources, &key);
		if (!entry)
			return;
	}
	__sync_fetch_and_add(&entry->count.packets, 1);
	__sync_fetch_and_add(&entry->count.bytes, bytes);
	entry->last_length = bytes;
}

static __always_inline void report(enum probe_kind kind, const __u8 *data, __u32 interface_index, __u64 bytes)
{
	__u64 number = __sync_fetch_and_add(&sequence, 1);
	struct probe_event *event;

	if (!sample_every || number % sample_every)
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&records_lost, 1);
		return;
	}
	event->sequence = number;
	event->time_ns = bpf_ktime_get_ns();
	event->interface_index = interface_index;
	event->length = bytes;
	event->kind = kind;
	event->reserved = 0;
	__builtin_memcpy(event->head, data, PROBE_HEAD_BYTES);
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void look(void *data, void *end, __u32 interface_index, __u64 bytes)
{
	struct ethhdr *ethernet = data;

	if (data + sizeof(*ethernet) + sizeof(struct iphdr) > end) {
		count(PROBE_OTHER, bytes);
		return;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		count(PROBE_IPV4, bytes);
		note_source((void *)(ethernet + 1), interface_index, bytes);
		report(PROBE_IPV4, data, interface_index, bytes);
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		count(PROBE_IPV6, bytes);
		report(PROBE_IPV6, data, interface_index, bytes);
	} else {
		count(PROBE_OTHER, bytes);
	}
}

SEC("xdp")
int probe(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	look(data, end, ctx->ingress_ifindex, end - data);
	return verdict;
}

/* For a packet in several buffers (jumbo MTU) data_end is the end of the first one. */
SEC("xdp.frags")
int probe_frags(struct xdp_md *ctx)
{
	look((void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->ingress_ifindex,
	     bpf_xdp_get_buff_len(ctx));
	return verdict;
}

SEC("tc")
int probe_tc(struct __sk_buff *skb)
{
	look((void *)(long)skb->data, (void *)(long)skb->data_end, skb->ifindex, skb->len);
	return SHUNT_TCX_NEXT;
}
