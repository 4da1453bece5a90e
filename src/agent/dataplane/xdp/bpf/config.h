/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the agent tells the programs of this node: changed while packets flow, each word by itself. */
#ifndef SHUNT_CONFIG_H
#define SHUNT_CONFIG_H

#include "clock.h"
#include "rewrite.h"

#define ROLE_FORWARDER 1
#define ROLE_HOST 2

struct edge_config {
	__u32 roles;         /* what is in force: without a role every packet passes */
	__u32 local_host;    /* this node's own index as a host, 1..255; 0: it is none */
	__u32 fib_interface; /* whose forwarding setting and rules look-ups of next hops go by; 0: where the packet came in */
	__u32 hop_life_ns;    /* how long a next hop that was looked up is used again; 0: not at all */
	__u32 hop_generation; /* another number: all that were looked up are forgotten */
	__u32 reserved[3];
	union address tunnel4; /* this forwarder's tunnel addresses; all 0: none of that family */
	union address tunnel6;
};

volatile struct edge_config config;

/* Set before loading: a tick of the tables' stamps is 2^tick_shift ns of CLOCK_MONOTONIC. */
const volatile __u32 tick_shift = 30;

/* Of a time in ns. */
static __always_inline __u16 tick_of(__u64 now)
{
	return now >> (tick_shift & 63);
}

static __always_inline __u16 tick_now(void)
{
	return tick_of(time_now());
}

#endif
