// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The XDP data plane, in front of the nftables one: one program an interface, by what the interface is for. What it does not know it
 * passes on as it came, so a miss costs speed and nothing else.
 */
#include "capture.h"
#include "forwarder.h"
#include "host.h"
#include "icmp.h"
#include "mapping-ack.h"
#include "packet-plain.h"

static __always_inline int edge(struct xdp_md *ctx, __u32 roles)
{
	struct packet p;
	int parsed, verdict;

	roles &= config.roles;
	if (!roles && !class_config.on)
		return pass(COUNT_ROLE_OFF);
	parsed = parse_any(ctx, &p);
	if (is_mapping_message(&p, parsed) && (verdict = mapping_ack(ctx, &p)) >= 0)
		return verdict;
	if (parsed == -COUNT_UNSUPPORTED_PROTOCOL && icmp_is(&p)) {
		verdict = icmp_packet(ctx, &p, roles);
		if (verdict >= 0)
			return verdict;
	}
	if (roles & ROLE_HOST) {
		verdict = host_packet(ctx, &p, parsed);
		if (verdict < 0 && !parsed)
			verdict = host_datagram(ctx, &p);
		if (verdict >= 0)
			return verdict;
	}
	if (roles & ROLE_FORWARDER) {
		capture_begin(ctx, &p, parsed);
		return capture_end(forwarder_packet(ctx, &p, parsed));
	}
	return pass(parsed && !p.family ? -parsed : COUNT_NOT_TUNNELLED);
}

SEC("xdp.frags")
int edge_uplink(struct xdp_md *ctx)
{
	return edge(ctx, ROLE_FORWARDER);
}

SEC("xdp.frags")
int edge_cluster(struct xdp_md *ctx)
{
	return edge(ctx, ROLE_HOST);
}

/* Uplink and cluster interface at once, which is common. */
SEC("xdp.frags")
int edge_both(struct xdp_md *ctx)
{
	return edge(ctx, ROLE_FORWARDER | ROLE_HOST);
}
