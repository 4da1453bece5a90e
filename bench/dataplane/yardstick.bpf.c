// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The yardstick: the same forwarder, to the instruction, but that it looks for routes in the kernel's own hash map. */
#include "base.h"
#include "route-table.h"

struct yard_key6 {
	struct route_client client;
	__u64 rest; /* port and service */
};

#define YARD(name, key_type)                                                                                                   \
	struct {                                                                                                               \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                               \
		__uint(max_entries, 1);                                                                                        \
		__type(key, key_type);                                                                                         \
		__type(value, struct route_entry);                                                                             \
	} name SEC(".maps")

YARD(yard4, __u64);
YARD(yard6, struct yard_key6);

static __always_inline __u64 yard_find(__u32 six, const struct route_key *k, struct route_entry **entry)
{
	struct yard_key6 key6 = { .client = k->client, .rest = k->key >> 32 };

	*entry = six ? bpf_map_lookup_elem(&yard6, &key6) : bpf_map_lookup_elem(&yard4, &k->key);
	return *entry ? (*entry)->value : 0;
}

#define route_find(table, key, entry) yard_find((table)->six, key, entry)
#include "forwarder.bpf.c"
