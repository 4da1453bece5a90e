/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The traffic of the fault suite. Each of them ends with its standard input.
 *
 *   flows server PORT NAME                                   says its NAME to each client, then sends back what comes; "spoil N": the
 *                                                            next N times with a bit turned
 *   flows client VIP PORT IDLE ACTIVE FROM PERIOD_MS         opens connections from the address FROM; active ones exchange messages of up to
 *                                                            4 kB all the time, PERIOD_MS after the last answer; idle ones only when told to.
 *                                                            "rest": half of them are opened at first, this opens the others;
 *                                                            "mark": measure from here on; "check MS": every idle one sends a message, and has
 *                                                            so long for its answer; "probe MS": a new connection so often; "report"
 *   flows watch ADDRESS...                                   says when one of them does not answer echo requests any more, and when it does
 */
#define _GNU_SOURCE
#include "client-loop.h"
#include "server.h"
#include "watch.h"

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	more_files();
	if (argc == 4 && !strcmp(argv[1], "server")) {
		must(fcntl(0, F_SETFL, O_NONBLOCK) == 0, "fcntl");
		serve(atoi(argv[2]), argv[3]);
	}
	if (argc == 8 && !strcmp(argv[1], "client"))
		hold(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "watch")) {
		must(fcntl(0, F_SETFL, O_NONBLOCK) == 0, "fcntl");
		watch_hops(argv + 2, argc - 2);
	}
	fprintf(stderr, "see the head of flows.c\n");
	return 2;
}
