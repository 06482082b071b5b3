// SPDX-License-Identifier: GPL-2.0
#include "cpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"

static int add_range(struct cpus *cpus, int first, int last)
{
	int previous = cpus->count ? cpus->number[cpus->count - 1] : -1;

	if (first <= previous || last < first || last >= MAX_CPUS)
		return -EINVAL;
	for (int number = first; number <= last; number++)
		cpus->number[cpus->count++] = number;
	return 0;
}

int cpus__parse(struct cpus *cpus, const char *list)
{
	int first, last, length;

	cpus->count = 0;
	do {
		if (sscanf(list, "%d%n", &first, &length) != 1)
			return -EINVAL;
		list += length;
		last = first;
		if (sscanf(list, "-%d%n", &last, &length) == 1)
			list += length;
		if (add_range(cpus, first, last))
			return -EINVAL;
	} while (*list++ == ',');
	return list[-1] == '\n' || !list[-1] ? 0 : -EINVAL;
}

int cpus__find(struct cpus *cpus)
{
	cleanup_fclose FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	cleanup_free char *line = NULL;
	size_t size = 0;

	if (!file || getline(&line, &size, file) < 0)
		return errno ? -errno : -EINVAL;
	return cpus__parse(cpus, line);
}

unsigned int cpus__room(const struct cpus *cpus)
{
	int room = 0;

	for (int i = 0; i < cpus->count; i++)
		if (cpus->number[i] >= room)
			room = cpus->number[i] + 1;
	return room;
}
