/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's own flows (docs/ARCHITECTURE.md, decision 35) in the tables of embryonic ones and of routes, which are of one family each. Functions
 * of IPv4 and of IPv6 stand apart, and are global, so that the verifier looks at each by itself.
 */
#ifndef SHUNT_CLASS_FLOWS_H
#define SHUNT_CLASS_FLOWS_H

#include "class-maps.h"

const volatile __u32 embryos4_buckets = 2, embryos6_buckets = 2;

ROUTES(embryos4, route_bucket);
ROUTES(embryos6, route_bucket6);

/* Of the same keys as the routes' tables. */
#define EMBRYOS4 &(struct route_table){ .map = &embryos4, .secret = &routes4_secret, .buckets = embryos4_buckets }
#define EMBRYOS6 &(struct route_table){ .map = &embryos6, .secret = &routes6_secret, .buckets = embryos6_buckets, .six = 1 }

/* s->key: of s->client's flow in that table. */
static __always_inline void class_key6(const struct route_table *table, struct class_scratch *s, __be16 port, __u32 service)
{
	const __be32 *words = s->client.w;

	route_key6(table, &s->key, words[0] | (__u64)words[1] << 32, words[2] | (__u64)words[3] << 32, port, service);
}

static __always_inline int class_closes(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && p->tcp_flags & (TCP_FIN | TCP_RST);
}

/* The value of the embryonic flow of s->key, or 0. Its stamp is now, unless the packet ends it. */
static __always_inline __u64 class_find_in(const struct route_table *embryos, struct class_scratch *s, const struct packet *p, __u64 now)
{
	struct route_entry *entry = NULL;
	__u64 value = route_find(embryos, &s->key, &entry);

	if (value && entry && !class_closes(p))
		route_touch(entry, value, tick_of(now));
	return value;
}

static __always_inline __u64 class_find4(struct class_scratch *s, const struct packet *p, __be32 client, __u32 service, __u64 now)
{
	route_key4(EMBRYOS4, &s->key, client, p->ports[0], service);
	return class_find_in(EMBRYOS4, s, p, now);
}

__attribute__((noinline)) __u64 class_find6(struct class_scratch *s, struct packet *p, __u32 service, __u64 now)
{
	if (!s || !p)
		return 0;
	class_key6(EMBRYOS6, s, p->ports[0], service);
	return class_find_in(EMBRYOS6, s, p, now);
}

/* The embryonic flow of s->key with that value, or the one that another processor has made meanwhile; 0: there is no room. */
static __always_inline __u64 class_open_in(const struct route_table *embryos, struct class_scratch *s, __u64 value, __u32 now)
{
	int result = route_insert(embryos, &s->key, value, now, &s->outcome);

	if (s->outcome.victim_value)
		class_event(s, CLASS_GONE, s->outcome.victim_key, &s->outcome.victim_client, s->outcome.victim_value, 0);
	if (result == ROUTE_INSERTED || result == ROUTE_KICKED || result == ROUTE_EVICTED)
		return value | ROUTE_USED;
	return result == ROUTE_EXISTS ? s->outcome.existing : 0;
}

__attribute__((noinline)) __u64 class_open4(struct class_scratch *s, __u64 value, __u32 now)
{
	return s ? class_open_in(EMBRYOS4, s, value, now) : 0;
}

__attribute__((noinline)) __u64 class_open6(struct class_scratch *s, __u64 value, __u32 now)
{
	return s ? class_open_in(EMBRYOS6, s, value, now) : 0;
}

/* The embryonic flow of s->key, which is of `routes`, becomes a route; 0: there is no room. */
static __always_inline __u64 class_promote_in(const struct route_table *embryos, const struct route_table *routes, struct class_scratch *s, __u64 value, __u32 now)
{
	__u64 ignored;

	value = (value & ~ROUTE_STATE_MASK) | (__u64)ROUTE_YOUNG << ROUTE_STATE_SHIFT;
	int result = route_insert(routes, &s->key, value, now, &s->outcome);

	if (s->outcome.victim_value)
		class_event(s, CLASS_ROUTE_GONE, s->outcome.victim_key, &s->outcome.victim_client, s->outcome.victim_value, 0);
	if (result == ROUTE_EXISTS)
		return s->outcome.existing;
	if (result != ROUTE_INSERTED && result != ROUTE_KICKED && result != ROUTE_EVICTED)
		return 0;
	class_event(s, CLASS_PROMOTED, s->key.key, &s->key.client, value | ROUTE_USED, 0);
	/* In one of the two tables at any time; its buckets in the other are others. */
	route_key_of(embryos, &s->key, s->key.key, &s->key.client);
	route_remove(embryos, &s->key, &ignored);
	return value | ROUTE_USED;
}

__attribute__((noinline)) __u64 class_promote4(struct class_scratch *s, __u64 value, __u32 now)
{
	return s ? class_promote_in(EMBRYOS4, ROUTES4, s, value, now) : 0;
}

__attribute__((noinline)) __u64 class_promote6(struct class_scratch *s, struct packet *p, __u32 service, __u64 value, __u32 now)
{
	if (!s || !p)
		return 0;
	class_key6(ROUTES6, s, p->ports[0], service);
	return class_promote_in(EMBRYOS6, ROUTES6, s, value, now);
}

#endif
