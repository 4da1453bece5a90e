/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The application of a host: says its name, then sends back what comes. */
#pragma once

#include "common.h"

#define SERVER_BYTES 16384

/* By file descriptor: what could not be sent back yet. */
struct back {
	char *bytes;
	size_t from, to;
};

static struct back *backs;
/* So many more reads are sent back with a bit turned, to prove that clients see it. */
static int spoilt;

static void forget(int fd)
{
	free(backs[fd].bytes);
	memset(&backs[fd], 0, sizeof(backs[fd]));
	close(fd);
}

/* Sends on what waits; 0 when the connection is gone. */
static int send_back(int epoll, int fd)
{
	struct back *b = &backs[fd];

	while (b->from < b->to) {
		ssize_t sent = write(fd, b->bytes + b->from, b->to - b->from);

		if (sent < 0 && errno == EAGAIN) {
			watch_fd(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT, fd);
			return 1;
		}
		if (sent <= 0) {
			forget(fd);
			return 0;
		}
		b->from += sent;
	}
	b->from = b->to = 0;
	return 1;
}

static void served(int epoll, int fd, unsigned int events)
{
	struct back *b = &backs[fd];

	if (b->from < b->to) {
		if (send_back(epoll, fd) && b->to == 0)
			watch_fd(epoll, EPOLL_CTL_MOD, fd, EPOLLIN, fd);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (b->bytes == NULL)
		b->bytes = malloc(SERVER_BYTES);
	ssize_t got = read(fd, b->bytes, SERVER_BYTES);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		forget(fd);
		return;
	}
	if (spoilt > 0) {
		spoilt--;
		b->bytes[got / 2] ^= 1;
	}
	b->to = got;
	/* An idle connection keeps no memory. */
	if (send_back(epoll, fd) && b->to == 0) {
		free(b->bytes);
		b->bytes = NULL;
	}
}

static void welcome(int epoll, int listener, const char *name)
{
	char hello[NAME_BYTES] = { 0 };
	int fd, yes = 1;

	memcpy(hello, name, strnlen(name, NAME_BYTES - 1));
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		if (write(fd, hello, NAME_BYTES) != NAME_BYTES) {
			close(fd);
			continue;
		}
		watch_fd(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, fd);
	}
}

static _Noreturn void serve(int port, const char *name)
{
	int epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
	struct sockaddr_in any = address("0.0.0.0", port);
	struct epoll_event events[EVENTS];
	struct rlimit limit;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	backs = calloc(limit.rlim_cur, sizeof(*backs));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	must(bind(listener, (void *)&any, sizeof(any)) == 0, "bind");
	must(listen(listener, 4096) == 0, "listen");
	watch_fd(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, listener);
	watch_fd(epoll, EPOLL_CTL_ADD, 0, EPOLLIN, 0);
	printf("{\"listening\":%d}\n", port);
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.u64;

			if (fd == listener) {
				welcome(epoll, listener, name);
			} else if (fd == 0) {
				for (char *line; (line = command()) != NULL;)
					if (!strncmp(line, "spoil ", 6))
						spoilt = atoi(line + 6);
			} else {
				served(epoll, fd, events[i].events);
			}
		}
	}
}
