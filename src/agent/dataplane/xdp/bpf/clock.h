/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The time of a packet. The kernel's coarse clock moves on with the jiffies, and a call of it costs more than a packet's way through the
 * route table; a jiffy is one load. So the clock is asked once a jiffy, by whoever comes first.
 */
#ifndef SHUNT_CLOCK_H
#define SHUNT_CLOCK_H

#include "base.h"
#include "route-access.h"

struct coarse_time {
	__u64 jiffies; /* at which `now` was asked for; written after it */
	__u64 now;
};

volatile struct coarse_time coarse_time __attribute__((aligned(64)));

/* ns of CLOCK_MONOTONIC, late by two timer ticks at most. */
static __always_inline __u64 time_now(void)
{
	__u64 jiffies = bpf_jiffies64(), now;

	if (coarse_time.jiffies == jiffies)
		return *ROUTE_AFTER(&coarse_time.now, jiffies);
	now = bpf_ktime_get_coarse_ns();
	coarse_time.now = now;
	__sync_lock_test_and_set(&coarse_time.jiffies, jiffies);
	return now;
}

#endif
