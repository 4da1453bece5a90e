/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a host looks up: the mappings that the agent has stored, and what services mean to it. */
#ifndef SHUNT_HOST_TABLES_H
#define SHUNT_HOST_TABLES_H

#include "hosts.h"
#include "mapping-table.h"
#include "targets.h"
#include "tunnels.h"

/* Set before loading: from the headers of the two maps. */
const volatile __u32 mappings4_buckets = 2, mappings6_buckets = 2;
const volatile struct route_secret mappings4_secret = {}, mappings6_secret = {};

#define MAPPINGS(name, bucket)                                                                                                 \
	struct {                                                                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                              \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                             \
		__uint(max_entries, 2 + ROUTE_HEADER_BYTES / sizeof(struct bucket));                                           \
		__type(key, __u32);                                                                                            \
		__type(value, struct bucket);                                                                                  \
	} name SEC(".maps")

MAPPINGS(mappings4, route_bucket);
MAPPINGS(mappings6, route_bucket6);

#define MAPPINGS4 &(struct route_table){ .map = &mappings4, .secret = &mappings4_secret, .buckets = mappings4_buckets }
#define MAPPINGS6 &(struct route_table){ .map = &mappings6, .secret = &mappings6_secret, .buckets = mappings6_buckets, .six = 1 }

#endif
