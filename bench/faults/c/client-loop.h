/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The client's loop, its commands and its reports: a line of JSON each. Times are of CLOCK_MONOTONIC. */
#pragma once

#include "client.h"

static void turn(int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(c.epoll, events, EVENTS, timeout_ms);

	for (int i = 0; i < count; i++)
		if (events[i].data.u64 != 0)
			ready((struct flow *)(uintptr_t)events[i].data.u64, events[i].events);
}

/* Every second one, so many half-open at once; those that do not come up within a minute are told of. */
static void open_half(int first)
{
	int all = (c.idle + c.active - first + 1) / 2, begun = 0, failed = 0, done = 0;
	int64_t start = now_us(), end = start + 60000000ll;
	char *seen = calloc(c.idle + c.active + 1, 1);

	while (done < all && now_us() < end) {
		for (; begun < all && begun - done < AT_ONCE; begun++) {
			int i = first + 2 * begun;

			open_flow(&c.flows[i], i < c.idle ? IDLE : ACTIVE, i);
		}
		turn(100);
		for (int i = first; i < first + 2 * begun; i += 2) {
			if (seen[i] || (c.flows[i].fd >= 0 && !whole(&c.flows[i])))
				continue;
			seen[i] = 1;
			done++;
			failed += c.flows[i].fd < 0;
		}
	}
	free(seen);
	printf("{\"opened\":%d,\"failed\":%d,\"ms\":%.1f}\n", done - failed, failed + all - done, ms(now_us() - start));
	fflush(stdout);
}

static void tick(int64_t now)
{
	for (int i = c.idle; i < c.idle + c.active; i++) {
		struct flow *f = &c.flows[i];

		if (f->fd >= 0 && f->sent_us == 0 && now >= f->next_us)
			begin(f, now);
	}
	if (c.probe_us == 0)
		return;
	for (int i = 0; i < PROBES; i++)
		if (c.probes[i].fd >= 0 && now - c.probes[i].next_us > PROBE_PATIENCE_US)
			over(&c.probes[i], TIMED_OUT);
	for (int i = 0; i < PROBES && now >= c.next_probe_us; i++) {
		if (c.probes[i].fd >= 0)
			continue;
		open_flow(&c.probes[i], PROBE, 0x80000000u + c.result_count);
		c.next_probe_us = now + c.probe_us;
	}
}

/* Goes on with a check; says what came of it when all have answered or time is up. */
static void check(int64_t now)
{
	int waiting = 0, held = 0, good = 0;

	for (int n = 0; n < ASKED_A_TICK && c.asking < c.idle; c.asking++) {
		struct flow *f = &c.flows[c.asking];

		/* One that still waits for its last answer goes on waiting for that. */
		if (f->fd < 0 || f->sent_us != 0)
			continue;
		begin(f, now);
		n++;
	}
	if (c.asking < c.idle)
		return;
	for (int i = 0; i < c.idle; i++) {
		waiting += c.flows[i].fd >= 0 && c.flows[i].sent_us != 0;
		good += c.flows[i].fd >= 0 && c.flows[i].sent_us == 0;
	}
	/* Active ones too: what they sent before it. */
	for (int i = c.idle; i < c.idle + c.active; i++)
		held += c.flows[i].fd >= 0 && c.flows[i].sent_us != 0 && c.flows[i].sent_us < c.check_us;
	if (waiting + held > 0 && now - c.check_us < c.patience_us)
		return;
	c.asking = -1;
	printf("{\"good\":%d,\"silent\":%d,\"broken\":%d,\"ms\":%.1f}\n", good, waiting, c.idle - good - waiting, ms(now - c.check_us));
	fflush(stdout);
}

static void mark(void)
{
	c.mark_us = now_us();
	c.result_count = 0;
	for (int i = 0; i < c.idle + c.active; i++)
		c.flows[i].worst_us = c.flows[i].worst_at_us = 0;
	printf("{\"markMs\":%.1f}\n", ms(c.mark_us));
	fflush(stdout);
}

/* Every connection: kind, host, cause (empty: it is fine), longest wait and its begin; and every new one since the mark. */
static void report(void)
{
	int64_t now = now_us();

	printf("{\"nowMs\":%.1f,\"flows\":[", ms(now));
	for (int i = 0; i < c.idle + c.active; i++) {
		struct flow *f = &c.flows[i];
		const char *cause = f->fd < 0 ? causes[f->cause] : f->sent_us != 0 && now - f->sent_us > c.patience_us ? "silent" : "";

		waited(f, now);
		printf("%s[%d,\"%.16s\",\"%s\",%.1f,%.1f]", i ? "," : "", f->kind, f->host, cause, ms(f->worst_us), ms(f->worst_at_us));
	}
	printf("],\"probes\":[");
	for (int i = 0; i < c.result_count; i++)
		printf("%s[%.1f,%.1f,\"%s\"]", i ? "," : "", ms(c.results[i].start_us), ms(c.results[i].took_us), causes[c.results[i].cause]);
	printf("]}\n");
	fflush(stdout);
}

static void obey(const char *line)
{
	if (!strcmp(line, "mark"))
		mark();
	else if (!strcmp(line, "rest"))
		open_half(1);
	else if (!strcmp(line, "report"))
		report();
	else if (!strncmp(line, "check ", 6)) {
		c.asking = 0;
		c.check_us = now_us();
		c.patience_us = atoi(line + 6) * 1000ll;
	} else if (!strncmp(line, "probe ", 6)) {
		c.probe_us = atoi(line + 6) * 1000ll;
		c.next_probe_us = now_us();
	}
}

/* VIP PORT IDLE ACTIVE FROM PERIOD_MS */
static _Noreturn void hold(char **args)
{
	c.epoll = epoll_create1(0);
	c.to = address(args[0], atoi(args[1]));
	c.idle = atoi(args[2]);
	c.active = atoi(args[3]);
	c.from = address(args[4], 0);
	c.period_us = atoi(args[5]) * 1000ll;
	c.patience_us = PROBE_PATIENCE_US;
	c.asking = -1;
	c.flows = calloc(c.idle + c.active + 1, sizeof(*c.flows));
	for (int i = 0; i < PROBES; i++)
		c.probes[i].fd = -1;
	for (int i = 0; i < c.idle + c.active; i++)
		c.flows[i].fd = -1;
	open_half(0);
	must(fcntl(0, F_SETFL, O_NONBLOCK) == 0, "fcntl");
	watch_fd(c.epoll, EPOLL_CTL_ADD, 0, EPOLLIN, 0);
	for (int64_t last = 0;;) {
		turn(TICK_MS);
		for (char *line; (line = command()) != NULL;)
			obey(line);
		int64_t now = now_us();

		if (now - last < TICK_MS * 1000)
			continue;
		last = now;
		tick(now);
		if (c.asking >= 0)
			check(now);
	}
}
