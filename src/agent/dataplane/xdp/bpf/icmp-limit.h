/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How much ICMP is answered or passed on without an agent: a bucket of tokens for each processor and each kind. What is beyond is dropped and
 * counted, so that it does not come to the agent instead. The agent's own limits are lower, and by client (icmp-forwarder.ts).
 */
#ifndef SHUNT_ICMP_LIMIT_H
#define SHUNT_ICMP_LIMIT_H

#include "counters.h"

#define ICMP_LIMIT_PER_SECOND 10000 /* messages a processor: echoes; errors as many again */
#define ICMP_LIMIT_BURST 2000
#define ICMP_LIMIT_NS (1000000000ull / ICMP_LIMIT_PER_SECOND)

enum icmp_limit { ICMP_LIMIT_ECHO = 0, ICMP_LIMIT_ERRORS = 1, ICMP_LIMITS = 2 };

/* When the bucket was empty, in ns of CLOCK_MONOTONIC: what has passed since is what is in it. */
struct icmp_bucket {
	__u64 empty[ICMP_LIMITS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct icmp_bucket);
} icmp_buckets SEC(".maps");

/* Takes a token; 0: there is none. */
static __always_inline int icmp_allowed(enum icmp_limit kind)
{
	__u64 now = bpf_ktime_get_ns(), empty;
	struct icmp_bucket *bucket;
	__u32 zero = 0;

	bucket = bpf_map_lookup_elem(&icmp_buckets, &zero);
	if (!bucket)
		return 0;
	empty = bucket->empty[kind];
	if ((__s64)(now - empty) > (__s64)(ICMP_LIMIT_BURST * ICMP_LIMIT_NS))
		empty = now - ICMP_LIMIT_BURST * ICMP_LIMIT_NS;
	if ((__s64)(now - empty) < (__s64)ICMP_LIMIT_NS)
		return 0;
	bucket->empty[kind] = empty + ICMP_LIMIT_NS;
	return 1;
}

#endif
