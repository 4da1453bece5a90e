/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A route table as its users hold it, and where in it a key belongs. The agent's half: route-hash.ts, route-key.ts. */
#ifndef SHUNT_ROUTE_KEY_H
#define SHUNT_ROUTE_KEY_H

#include "route-access.h"
#include "route-layout.h"

/* Pass the address of one built where it is used, all of it constant but `buckets`: it then costs nothing. */
struct route_table {
	void *map;
	const volatile struct route_secret *secret; /* volatile, as constants set at load are */
	__u32 buckets;
	__u32 six; /* IPv6: buckets of two lines */
};

struct route_key {
	__u64 key;
	struct route_client client; /* IPv6 only */
	__u32 first, second;        /* buckets */
};

/* Sums, products and halves of 64 bits under a secret: nobody outside can make keys that fall together. */
ROUTE_INLINE __u64 route_product(__u64 word, __u64 a, __u64 b) { return ((__u32)word + a) * ((word >> 32) + b); }

ROUTE_INLINE void route_place(const struct route_table *t, struct route_key *k, __u64 product)
{
	__u64 hash = product * t->secret->mix[0];
	hash ^= hash >> 32;
	k->first = (hash >> 32) * t->buckets >> 32;
	k->second = (hash & 0xffffffff) * t->buckets >> 32;
	if (k->second == k->first)
		k->second = k->first + 1 == t->buckets ? 0 : k->first + 1;
}

/* Address and port as they stand in the packet. */
ROUTE_INLINE void route_key4(const struct route_table *t, struct route_key *k, __u32 client, __u16 port, __u16 service)
{
	k->key = client | (__u64)port << 32 | (__u64)service << 48;
	k->client.high = k->client.low = 0;
	__u64 product = route_product(k->key, t->secret->add[0], t->secret->add[1]);
	route_place(t, k, product ^ product >> 32);
}

ROUTE_INLINE void route_key6(const struct route_table *t, struct route_key *k, __u64 high, __u64 low, __u16 port, __u16 service)
{
	const volatile struct route_secret *s = t->secret;
	__u64 rest = port | (__u64)service << 16;
	__u64 product = route_product(high, s->add[0], s->add[1]) + route_product(low, s->add[2], s->add[3]) + (rest + s->add[4]) * s->add[5];
	product ^= product >> 32;
	k->key = product * s->mix[1] >> 32 | rest << 32;
	k->client.high = high;
	k->client.low = low;
	route_place(t, k, product);
}

/* The key of an entry that stands in a bucket already. */
ROUTE_INLINE void route_key_of(const struct route_table *t, struct route_key *k, __u64 key, const struct route_client *client)
{
	if (t->six)
		route_key6(t, k, client->high, client->low, key >> 32 & 0xffff, key >> 48);
	else
		route_key4(t, k, (__u32)key, key >> 32 & 0xffff, key >> 48);
}

#endif
