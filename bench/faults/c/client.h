/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Idle and active connections in one loop, and a new one now and then. Every byte that comes back is compared with what was sent. A connection
 * is never made again: once broken, it is broken.
 */
#pragma once

#include "common.h"

#define AT_ONCE 128
#define IDLE_BYTES 64
#define MOST_BYTES 4096
/* So many idle connections are asked a tick: a burst would be dropped by queues, and that is another test's. */
#define ASKED_A_TICK 25
#define TICK_MS 5
#define PROBE_PATIENCE_US 10000000ll
/* In flight at most: twice what patience and the usual pace make. */
#define PROBES 1024

enum { IDLE, ACTIVE, PROBE };
enum { FINE, RESET, ENDED, TIMED_OUT, WRONG, REFUSED, OTHER, CAUSES };
static const char *const causes[] = { "", "reset", "ended", "timed out", "wrong bytes", "refused", "other" };

struct flow {
	int fd;
	uint32_t id, seq;
	uint8_t kind, cause, up, writing;
	uint8_t named;
	char host[NAME_BYTES];
	/* Of the message that is on its way; sent_us 0: there is none. */
	uint32_t length, written, got;
	int64_t sent_us, next_us;
	/* Since the mark: the longest wait for an answer, and when it began. */
	int64_t worst_us, worst_at_us;
};

struct probe_result {
	int64_t start_us, took_us;
	uint8_t cause;
};

static struct {
	int epoll, idle, active;
	struct sockaddr_in to, from;
	int64_t period_us, probe_us, next_probe_us, mark_us;
	struct flow *flows;
	struct flow probes[PROBES];
	struct probe_result *results;
	int result_count, result_room;
	/* Of the check that goes on: next to ask; -1: none. */
	int asking;
	int64_t check_us, patience_us;
} c;

static void waited(struct flow *f, int64_t now)
{
	int64_t since = f->sent_us < c.mark_us ? c.mark_us : f->sent_us;

	if (f->sent_us != 0 && now - since > f->worst_us) {
		f->worst_us = now - since;
		f->worst_at_us = since;
	}
}

static void probed(struct flow *f, int cause)
{
	if (c.result_count == c.result_room) {
		c.result_room = c.result_room ? 2 * c.result_room : 1024;
		c.results = realloc(c.results, c.result_room * sizeof(*c.results));
		must(c.results != NULL, "realloc");
	}
	c.results[c.result_count++] = (struct probe_result){ f->next_us, now_us() - f->next_us, cause };
}

static void over(struct flow *f, int cause)
{
	if (f->fd < 0)
		return;
	waited(f, now_us());
	close(f->fd);
	f->fd = -1;
	f->cause = cause;
	f->sent_us = 0;
	if (f->kind == PROBE)
		probed(f, cause);
}

static int cause_of(int error)
{
	return error == ECONNRESET || error == EPIPE ? RESET : error == ETIMEDOUT ? TIMED_OUT : error == ECONNREFUSED ? REFUSED : OTHER;
}

static void interest(struct flow *f, int writing)
{
	if (f->writing == writing)
		return;
	f->writing = writing;
	watch_fd(c.epoll, EPOLL_CTL_MOD, f->fd, EPOLLIN | (writing ? EPOLLOUT : 0), (uintptr_t)f);
}

/* Sends on the message that is under way. */
static void push(struct flow *f)
{
	char bytes[MOST_BYTES];

	while (f->written < f->length) {
		content(bytes, f->id, f->seq, f->written, f->length - f->written);
		ssize_t sent = write(f->fd, bytes, f->length - f->written);

		if (sent < 0) {
			if (errno != EAGAIN)
				over(f, cause_of(errno));
			else
				interest(f, 1);
			return;
		}
		f->written += sent;
	}
	interest(f, 0);
}

static void begin(struct flow *f, int64_t now)
{
	f->seq++;
	f->length = f->kind == ACTIVE ? 1 + mixed(((uint64_t)f->seq << 32) | f->id) % MOST_BYTES : IDLE_BYTES;
	f->written = f->got = 0;
	f->sent_us = now;
	push(f);
}

static void answered(struct flow *f)
{
	int64_t now = now_us();

	waited(f, now);
	f->sent_us = 0;
	if (f->kind == ACTIVE)
		f->next_us = now + c.period_us;
	if (f->kind == PROBE)
		over(f, FINE);
}

static void received(struct flow *f, const char *bytes, size_t count)
{
	char wanted[MOST_BYTES];

	for (; count > 0 && f->named < NAME_BYTES; count--)
		f->host[f->named++] = *bytes++;
	if (f->named == NAME_BYTES && f->kind == PROBE && f->seq == 0)
		begin(f, now_us());
	if (count == 0)
		return;
	if (f->sent_us == 0 || count > f->length - f->got) {
		over(f, WRONG);
		return;
	}
	content(wanted, f->id, f->seq, f->got, count);
	if (memcmp(wanted, bytes, count) != 0) {
		over(f, WRONG);
		return;
	}
	f->got += count;
	if (f->got == f->length)
		answered(f);
}

static void ready(struct flow *f, unsigned int events)
{
	if (f->fd < 0)
		return;
	if (!f->up || (events & EPOLLERR)) {
		int error = 0;
		socklen_t length = sizeof(error);

		getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error != 0) {
			over(f, cause_of(error));
			return;
		}
		if (!f->up) {
			f->up = 1;
			interest(f, 0);
		}
	}
	if (events & EPOLLOUT && f->sent_us != 0)
		push(f);
	if (f->fd < 0 || !(events & (EPOLLIN | EPOLLHUP)))
		return;
	char bytes[MOST_BYTES];
	ssize_t got = read(f->fd, bytes, sizeof(bytes));

	if (got > 0)
		received(f, bytes, got);
	else if (got == 0)
		over(f, ENDED);
	else if (errno != EAGAIN)
		over(f, cause_of(errno));
}

static void open_flow(struct flow *f, int kind, uint32_t id)
{
	int yes = 1;

	memset(f, 0, sizeof(*f));
	f->kind = kind;
	f->id = id;
	f->next_us = now_us();
	f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	must(f->fd >= 0, "socket");
	setsockopt(f->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
	setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	must(bind(f->fd, (void *)&c.from, sizeof(c.from)) == 0, "bind");
	f->writing = 1;
	watch_fd(c.epoll, EPOLL_CTL_ADD, f->fd, EPOLLIN | EPOLLOUT, (uintptr_t)f);
	if (connect(f->fd, (void *)&c.to, sizeof(c.to)) != 0 && errno != EINPROGRESS)
		over(f, cause_of(errno));
}

/* Has its host's name: a whole connection, in both directions. */
static int whole(const struct flow *f)
{
	return f->fd >= 0 && f->named == NAME_BYTES;
}
