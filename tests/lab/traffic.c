// SPDX-License-Identifier: GPL-2.0
/* traffic: send an exact number of numbered frames, or count those that arrive. */
#include <stdio.h>
#include <string.h>

#include "options.h"

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "send"))
		return traffic_send(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "count"))
		return traffic_count(argc - 1, argv + 1);
	fprintf(stderr, "usage: traffic send|count [OPTION...]; each explains itself with --help\n");
	return 2;
}
