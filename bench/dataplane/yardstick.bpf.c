// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The yardstick: the same forwarder, to the instruction, but that it looks for routes in the kernel's own hash map. */
#include "base.h"
#include "route-table.h"

struct yard_key6 {
	__u64 rest; /* port and service */
	struct route_client client;
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

/* The caller's key is changed, for there is no room on the stack for another: its begin is a yard_key6. */
static __always_inline __u64 yard_find(__u32 six, struct route_key *k, struct route_entry **entry)
{
	if (six)
		k->key >>= 32;
	*entry = six ? bpf_map_lookup_elem(&yard6, k) : bpf_map_lookup_elem(&yard4, &k->key);
	return *entry ? (*entry)->value : 0;
}

#define route_find(table, key, entry) yard_find((table)->six, key, entry)
#include "forwarder.bpf.c"
