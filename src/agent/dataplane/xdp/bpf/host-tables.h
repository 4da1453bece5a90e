/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a host looks up: the mappings that the agent has stored, and what services mean to it. */
#ifndef SHUNT_HOST_TABLES_H
#define SHUNT_HOST_TABLES_H

#include "hosts.h"
#include "mapping-table.h"
#include "route-map.h"
#include "targets.h"
#include "tunnels.h"

/* Set before loading: from the headers of the two maps. */
const volatile __u32 mappings4_buckets = 2, mappings6_buckets = 2;
const volatile struct route_secret mappings4_secret = {}, mappings6_secret = {};

ROUTES(mappings4, route_bucket);
ROUTES(mappings6, route_bucket6);

#define MAPPINGS4 ROUTE_TABLE4(mappings4)
#define MAPPINGS6 ROUTE_TABLE6(mappings6)

#endif
