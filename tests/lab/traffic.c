// SPDX-License-Identifier: GPL-2.0
/* traffic: send an exact number of numbered frames, or count those that arrive. */
#include <stdio.h>
#include <string.h>

#include "options.h"

static const struct {
	const char *name;
	char *full_name; /* as messages and --help show it */
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "send", "traffic send", traffic_send },
	{ "count", "traffic count", traffic_count },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		argv[1] = commands[i].full_name;
		return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr,
		"usage: traffic send|count [OPTION...]; each explains itself with --help\n");
	return 2;
}
