/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A packet that is done with goes into the own stack, to a VIP; the nftables back-end behind would take it for one from a client, and
 * ask for a route. So its frame gets a source address that nobody else knows, by which the rules let it through.
 */
#ifndef SHUNT_OWN_STACK_H
#define SHUNT_OWN_STACK_H

#include "packet.h"

struct stack_mark {
	__u8 source[ETH_ALEN]; /* of the agent's making, anew with each start; locally administered */
	__u16 on;              /* 0: frames stay as they are */
};

volatile struct stack_mark stack_mark;

static __always_inline void mark_for_stack(void *data, void *data_end)
{
	struct ethhdr *ethernet = data;

	if (!stack_mark.on || (void *)(ethernet + 1) > data_end)
		return;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		ethernet->h_source[i] = stack_mark.source[i];
}

#endif
