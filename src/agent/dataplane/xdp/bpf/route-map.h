/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A route table's memory as a map, and the table that it is: NAME_buckets and NAME_secret are set before loading, from the map's header. */
#ifndef SHUNT_ROUTE_MAP_H
#define SHUNT_ROUTE_MAP_H

#include "route-table.h"

#define ROUTES(name, bucket)                                                                                                \
	struct {                                                                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                              \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                             \
		__uint(max_entries, 2 + ROUTE_HEADER_BYTES / sizeof(struct bucket));                                           \
		__type(key, __u32);                                                                                            \
		__type(value, struct bucket);                                                                                  \
	} name SEC(".maps")

#define ROUTE_TABLE4(name) &(struct route_table){ .map = &name, .secret = &name##_secret, .buckets = name##_buckets }
#define ROUTE_TABLE6(name) &(struct route_table){ .map = &name, .secret = &name##_secret, .buckets = name##_buckets, .six = 1 }

#endif
