/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether next hops answer, as a router with BFD knows it: an echo request every 100 ms, three without an answer are one too many. */
#pragma once

#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>

#include "common.h"

#define HOPS 32
#define EVERY_US 100000
#define MISSED 3

struct hop {
	struct sockaddr_in to;
	const char *name;
	int unanswered, good, down;
};

static uint16_t checksum(const uint16_t *words, size_t count)
{
	uint32_t sum = 0;

	while (count--)
		sum += *words++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static void tell(const struct hop *hop)
{
	printf("{\"%s\":\"%s\",\"atMs\":%.1f}\n", hop->down ? "down" : "up", hop->name, ms(now_us()));
	fflush(stdout);
}

static void ask(int fd, struct hop *hop, uint16_t number)
{
	struct icmphdr echo = { .type = ICMP_ECHO, .un.echo = { .id = htons(0x5348), .sequence = htons(number) } };

	echo.checksum = checksum((void *)&echo, sizeof(echo) / 2);
	if (hop->unanswered >= MISSED) {
		hop->good = 0;
		if (!hop->down) {
			hop->down = 1;
			tell(hop);
		}
	}
	hop->unanswered++;
	/* A neighbour that is not found is an answer that does not come. */
	(void)!sendto(fd, &echo, sizeof(echo), MSG_DONTWAIT, (void *)&hop->to, sizeof(hop->to));
}

static void answers(int fd, struct hop *hops, int count)
{
	char packet[256];
	struct sockaddr_in from;
	socklen_t length = sizeof(from);

	while (recvfrom(fd, packet, sizeof(packet), MSG_DONTWAIT, (void *)&from, &length) > 0) {
		struct iphdr *ip = (void *)packet;
		struct icmphdr *icmp = (void *)(packet + ip->ihl * 4);

		for (int i = 0; i < count; i++) {
			if (icmp->type != ICMP_ECHOREPLY || hops[i].to.sin_addr.s_addr != from.sin_addr.s_addr)
				continue;
			hops[i].unanswered = 0;
			if (++hops[i].good >= MISSED && hops[i].down) {
				hops[i].down = 0;
				tell(&hops[i]);
			}
		}
		length = sizeof(from);
	}
}

static _Noreturn void watch_hops(char **names, int count)
{
	struct hop hops[HOPS] = { 0 };
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	int64_t next = now_us();
	uint16_t number = 0;

	must(fd >= 0, "raw socket");
	must(count <= HOPS, "too many next hops");
	/* A router's own detection does not wait for a busy machine. */
	(void)!setpriority(PRIO_PROCESS, 0, -15);
	for (int i = 0; i < count; i++)
		hops[i] = (struct hop){ .to = address(names[i], 0), .name = names[i] };
	for (;;) {
		struct pollfd pollers[] = { { .fd = fd, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
		int64_t left = next - now_us();

		if (poll(pollers, 2, left > 0 ? (left + 999) / 1000 : 0) > 0) {
			if (pollers[1].revents)
				command();
			answers(fd, hops, count);
		}
		if (now_us() < next)
			continue;
		number++;
		for (int i = 0; i < count; i++)
			ask(fd, &hops[i], number);
		next = now_us() + EVERY_US;
	}
}
