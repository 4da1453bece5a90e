/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What client, server and watch share: time, sockets, and bytes that only one message of one connection has. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 512
/* Sent by the server at once: its name, padded with zeros. */
#define NAME_BYTES 16

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

/* Of the clock that process.hrtime reads too. */
static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static double ms(int64_t us)
{
	return us / 1000.0;
}

/* As many as one may have. */
static void more_files(void)
{
	struct rlimit limit;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

static struct sockaddr_in address(const char *text, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	must(inet_pton(AF_INET, text, &a.sin_addr) == 1, text);
	return a;
}

static void watch_fd(int epoll, int how, int fd, unsigned int events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	must(epoll_ctl(epoll, how, fd, &event) == 0, "epoll_ctl");
}

/* SplitMix64: well mixed, and any byte of a message can be had without those before it. */
static uint64_t mixed(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* `count` bytes, from `from` on, of message `seq` of connection `id`. */
static void content(char *bytes, uint32_t id, uint32_t seq, size_t from, size_t count)
{
	uint64_t seed = mixed(((uint64_t)id << 32) | seq);

	for (size_t i = 0; i < count; i++)
		bytes[i] = mixed(seed + ((from + i) >> 3)) >> (8 * ((from + i) & 7));
}

/* A line of standard input that is whole, or NULL. Standard input must not block; its end ends the process. */
static char *command(void)
{
	static char text[256];
	static size_t have;
	static char line[256];
	ssize_t got = read(0, text + have, sizeof(text) - 1 - have);

	if (got == 0)
		exit(0);
	if (got > 0)
		have += got;
	char *end = memchr(text, '\n', have);

	if (end == NULL)
		return NULL;
	size_t length = end - text;

	memcpy(line, text, length);
	line[length] = 0;
	have -= length + 1;
	memmove(text, end + 1, have);
	return line;
}
