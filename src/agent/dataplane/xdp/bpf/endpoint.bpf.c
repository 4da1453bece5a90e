// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Gives new connections to a VIP to an application that listens at another address or port of this machine. Not one byte is changed: the
 * packet is given to the listening socket, the connection that comes of it has the VIP for its own address, so answers leave by it, and the
 * kernel finds the later packets' socket by itself. The application sees the real client.
 *
 *  1. Not TCP, a fragment, or to no endpoint: nothing is done.
 *  2. Of a connection that there is (half-open too): nothing is done.
 *  3. Given to who listens at the endpoint. Nobody does: as if nobody listened at the VIP either.
 *
 * tcx, at ingress, on all interfaces by which packets with their true addresses come: after XDP, and on the TUN device of the slow path.
 * Where a packet socket listens besides the stack, as the agent's ring does, the stack gets a copy, and a copy has no socket: so there a first
 * packet is sent on to the TUN device, which has no such, and comes by here again.
 */
#include "base.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#define FRAGMENT_ANY4 0x3fff
#define TCP_LISTENS 10 /* include/net/tcp_states.h */

struct endpoint_key {
	__be32 vip[4]; /* IPv4: 0, 0, ffff, address */
	__be16 port;
	__u16 reserved;
};

/* The application's own, of the VIP's family. */
struct endpoint {
	__be32 address[4];
	__be16 port;
	__u16 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

/* The TUN device; 0: there is none. */
volatile __u32 quiet_interface;

#define LOOPBACK 1

enum endpoint_counter {
	ENDPOINT_GIVEN = 0,
	ENDPOINT_NOBODY = 1,  /* nobody listens there */
	ENDPOINT_REFUSED = 2, /* the kernel did not take the socket */
	ENDPOINT_COUNTERS = 4,
};
SHUNT_EXPORT(enum, endpoint_counter);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ENDPOINT_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} endpoint_counts SEC(".maps");

static __always_inline void count(enum endpoint_counter reason)
{
	__u32 index = reason;
	__u64 *counter = bpf_map_lookup_elem(&endpoint_counts, &index);

	if (counter)
		(*counter)++;
}

/* What a packet of TCP is about, in network order, and what the kernel looks sockets up by. */
struct connection {
	struct endpoint_key key;
	struct bpf_sock_tuple tuple;
};

static __always_inline int read4(struct __sk_buff *skb, struct connection *c)
{
	struct iphdr ip;
	struct tcphdr tcp;

	if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET))
		return 0;
	if (ip.version != 4 || ip.protocol != IPPROTO_TCP || ip.frag_off & bpf_htons(FRAGMENT_ANY4))
		return 0;
	if (bpf_skb_load_bytes_relative(skb, ip.ihl * 4, &tcp, sizeof(tcp), BPF_HDR_START_NET))
		return 0;
	c->key.vip[2] = bpf_htonl(0xffff);
	c->key.vip[3] = ip.daddr;
	c->key.port = tcp.dest;
	c->tuple.ipv4.saddr = ip.saddr;
	c->tuple.ipv4.daddr = ip.daddr;
	c->tuple.ipv4.sport = tcp.source;
	c->tuple.ipv4.dport = tcp.dest;
	return 1;
}

static __always_inline int read6(struct __sk_buff *skb, struct connection *c)
{
	struct ipv6hdr ip;
	struct tcphdr tcp;

	if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET))
		return 0;
	if (ip.version != 6 || ip.nexthdr != IPPROTO_TCP)
		return 0;
	if (bpf_skb_load_bytes_relative(skb, sizeof(ip), &tcp, sizeof(tcp), BPF_HDR_START_NET))
		return 0;
	__builtin_memcpy(c->key.vip, &ip.daddr, sizeof(c->key.vip));
	c->key.port = tcp.dest;
	__builtin_memcpy(c->tuple.ipv6.saddr, &ip.saddr, sizeof(ip.saddr));
	__builtin_memcpy(c->tuple.ipv6.daddr, &ip.daddr, sizeof(ip.daddr));
	c->tuple.ipv6.sport = tcp.source;
	c->tuple.ipv6.dport = tcp.dest;
	return 1;
}

/* Only by the address: with a client's, a connection of his to the endpoint itself could be found. */
static __always_inline struct bpf_sock *listener_at(struct __sk_buff *skb, const struct endpoint *endpoint, int six)
{
	struct bpf_sock_tuple tuple = {};

	if (six) {
		__builtin_memcpy(tuple.ipv6.daddr, endpoint->address, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.dport = endpoint->port;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	tuple.ipv4.daddr = endpoint->address[3];
	tuple.ipv4.dport = endpoint->port;
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

SEC("tc")
int endpoint_ingress(struct __sk_buff *skb)
{
	struct connection c = {};
	struct endpoint *endpoint;
	struct bpf_sock *sk;
	int six = skb->protocol == bpf_htons(ETH_P_IPV6), others = 0, result;

	if (six ? !read6(skb, &c) : skb->protocol != bpf_htons(ETH_P_IP) || !read4(skb, &c))
		return SHUNT_TCX_NEXT;
	endpoint = bpf_map_lookup_elem(&endpoints, &c.key);
	if (!endpoint)
		return SHUNT_TCX_NEXT;
	if (six)
		sk = bpf_skc_lookup_tcp(skb, &c.tuple, sizeof(c.tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(skb, &c.tuple, sizeof(c.tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (sk) {
		others = sk->state == TCP_LISTENS;
		bpf_sk_release(sk);
		if (!others)
			return SHUNT_TCX_NEXT;
	}
	if (quiet_interface && skb->ifindex != quiet_interface && skb->ifindex != LOOPBACK)
		return bpf_redirect(quiet_interface, BPF_F_INGRESS);
	sk = listener_at(skb, endpoint, six);
	if (!sk) {
		count(ENDPOINT_NOBODY);
		/* Never to somebody else's application. */
		return others ? TC_ACT_SHOT : SHUNT_TCX_NEXT;
	}
	result = bpf_sk_assign(skb, sk, 0);
	bpf_sk_release(sk);
	count(result ? ENDPOINT_REFUSED : ENDPOINT_GIVEN);
	return result && others ? TC_ACT_SHOT : SHUNT_TCX_NEXT;
}
