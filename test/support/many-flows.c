/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * More TCP connections than scripts can hold:
 *
 *   many-flows server PORT PROCESSES          sends back what comes, on any address; says "listening"; ends with
 *                                             standard input
 *   many-flows client VIP PORT COUNT FROM     opens COUNT connections from an address, says "open COUNT FAILED MS", and keeps them; for each
 *                                             line "try N" on standard input, N of them (spread evenly) send 64 bytes of their own and must
 *                                             get those back: says "tried N WRONG"; for "all N" all of them do so N times, at the same time; ends
 *                                             with standard input
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PARALLEL 64
#define EVENTS 512
#define BYTES 64
#define PATIENCE_MS 60000

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
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

static void watch(int epoll, int fd, unsigned int events, unsigned int data)
{
	struct epoll_event event = { .events = events, .data.u32 = data };

	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static int listening(int port)
{
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
	struct sockaddr_in any = address("0.0.0.0", port);

	setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
	must(bind(listener, (void *)&any, sizeof(any)) == 0, "bind");
	must(listen(listener, 4096) == 0, "listen");
	return listener;
}

static void serve(int listener)
{
	int epoll = epoll_create1(0);
	struct epoll_event events[EVENTS];
	char buffer[4096];

	watch(epoll, listener, EPOLLIN, listener);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.u32;

			if (fd == listener) {
				int one;

				while ((one = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					watch(epoll, one, EPOLLIN, one);
				continue;
			}
			ssize_t got = read(fd, buffer, sizeof(buffer));

			if (got <= 0 && errno != EAGAIN)
				close(fd);
			else if (got > 0 && write(fd, buffer, got) != got)
				close(fd);
		}
	}
}

/* Each process may have so many files only. Ends with standard input, when all their connections are gone. */
static int serve_all(int port, int processes)
{
	setpgid(0, 0);
	for (int i = 0; i < processes; i++) {
		int listener = listening(port);

		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(listener);
		}
		close(listener);
	}
	printf("listening\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
	return 0;
}

static int open_one(const char *from, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
	struct sockaddr_in source = address(from, 0);

	must(fd >= 0, "socket");
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
	must(bind(fd, (void *)&source, sizeof(source)) == 0, "bind");
	if (connect(fd, (void *)to, sizeof(*to)) != 0)
		must(errno == EINPROGRESS, "connect");
	return fd;
}

/* Bytes that only this connection sends. */
static void content(char *bytes, int i, long seed)
{
	snprintf(bytes, BYTES, "%d/%ld/", i, seed);
	for (size_t at = strlen(bytes); at < BYTES; at++)
		bytes[at] = 'a' + (i * 31 + seed * 7 + at) % 26;
}

static int sends(int fd, int i, long seed)
{
	char bytes[BYTES];

	content(bytes, i, seed);
	return write(fd, bytes, BYTES) == BYTES;
}

/* Whether the connection gives back what it got. */
static int gets_back(int fd, int i, long seed)
{
	char sent[BYTES], back[BYTES];
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	size_t got = 0;

	content(sent, i, seed);
	while (got < BYTES) {
		if (poll(&poller, 1, PATIENCE_MS) != 1)
			return 0;
		ssize_t more = read(fd, back + got, BYTES - got);

		if (more <= 0)
			return 0;
		got += more;
	}
	return memcmp(sent, back, BYTES) == 0;
}

/* Some of them, evenly spread, so many at once: how many were wrong. */
static int exchange(const int *fds, int count, int tries, long seed)
{
	int wrong = 0;

	for (int from = 0; from < tries; from += PARALLEL) {
		int to = from + PARALLEL < tries ? from + PARALLEL : tries;

		for (int n = from; n < to; n++)
			wrong += !sends(fds[(long)n * count / tries], n, seed);
		for (int n = from; n < to; n++)
			wrong += !gets_back(fds[(long)n * count / tries], n, seed);
	}
	return wrong;
}

static int connect_all(int *fds, int count, const struct sockaddr_in *to, const char *from)
{
	int epoll = epoll_create1(0), begun = 0, waiting = 0, done = 0, failed = 0;
	struct epoll_event events[EVENTS];

	while (done < count) {
		for (; begun < count && waiting < PARALLEL; begun++, waiting++) {
			fds[begun] = open_one(from, to);
			watch(epoll, fds[begun], EPOLLOUT, begun);
		}
		int ready = epoll_wait(epoll, events, EVENTS, 60000);

		if (ready <= 0)
			break;
		for (int i = 0; i < ready; i++) {
			int fd = fds[events[i].data.u32], error = 0;
			socklen_t length = sizeof(error);

			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
			failed += error != 0;
			epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
			waiting--;
			done++;
		}
	}
	return failed + count - done;
}

static int hold(char **args)
{
	struct sockaddr_in to = address(args[0], atoi(args[1]));
	int count = atoi(args[2]), failed;
	int *fds = calloc(count, sizeof(*fds));
	long start = now_ms(), seed = 0;
	char line[64];

	failed = connect_all(fds, count, &to, args[3]);
	printf("open %d %d %ld\n", count, failed, now_ms() - start);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		int number = atoi(line + 4), wrong = 0;

		if (line[0] == 't')
			wrong = exchange(fds, count, number, ++seed);
		else
			for (int round = 0; round < number; round++)
				wrong += exchange(fds, count, count, ++seed);
		printf("tried %d %d\n", number, wrong);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	more_files();
	if (argc == 4 && !strcmp(argv[1], "server"))
		return serve_all(atoi(argv[2]), atoi(argv[3]));
	if (argc == 6 && !strcmp(argv[1], "client"))
		return hold(argv + 2);
	fprintf(stderr, "see the head of many-flows.c\n");
	return 2;
}
