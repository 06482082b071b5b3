// SPDX-License-Identifier: GPL-2.0
#include "accounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COUNTERS = sizeof(struct vmlat_counters) / sizeof(__u64) };

static void add_drop(void *context, const struct vmlat_drop *place, __u64 count)
{
	struct accounts *accounts = context;
	struct drop_count *drops =
		reallocarray(accounts->drops, accounts->drop_count + 1, sizeof(*drops));

	if (!drops) {
		accounts->counters.drops_lost += count;
		return;
	}
	accounts->drops = drops;
	drops[accounts->drop_count++] = (struct drop_count){ *place, count };
}

static int take_traffic(struct accounts *accounts, const struct tracer *tracer,
			const struct devices *devices)
{
	int error = 0;

	accounts->devices = devices->count;
	accounts->traffic = calloc(devices->count + 1, 2 * sizeof(*accounts->traffic));
	if (!accounts->traffic)
		return -ENOMEM;
	for (size_t i = 0; i < devices->count; i++)
		for (int direction = VMLAT_TX; direction <= VMLAT_RX; direction++)
			if (devices->all[i].tap && !error)
				error = tracer__traffic(
					tracer, i, direction,
					&accounts->traffic[2 * i + direction - VMLAT_TX]);
	return error;
}

__u64 accounts__open(const struct vmlat_counters *counters)
{
	__u64 open = counters->started;

	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		if (i != VMLAT_IN_FLIGHT)
			open -= counters->outcomes[i];
	return open;
}

/*
 * Packets go on while this is read. The outcomes are of an earlier reading than the starts: each
 * packet that has ended has started.
 */
static int take_counters(struct accounts *accounts, const struct tracer *tracer)
{
	struct vmlat_counters *counters = &accounts->counters, earlier;
	int error = tracer__counters(tracer, &earlier);

	if (!error)
		error = tracer__counters(tracer, counters);
	if (error)
		return error;
	memcpy(counters->outcomes, earlier.outcomes, sizeof(counters->outcomes));
	accounts->in_flight = accounts__open(counters);
	return 0;
}

int accounts__take(struct accounts *accounts, const struct tracer *tracer,
		   const struct devices *devices)
{
	int error;

	memset(accounts, 0, sizeof(*accounts));
	error = take_counters(accounts, tracer);
	if (error)
		return error;
	accounts->missed_known = tracer__missed(tracer, &accounts->missed);
	tracer__drops(tracer, add_drop, accounts);
	return take_traffic(accounts, tracer, devices);
}

static __u64 count_at(const struct accounts *accounts, const struct vmlat_drop *place)
{
	for (size_t i = 0; i < accounts->drop_count; i++)
		if (!memcmp(&accounts->drops[i].place, place, sizeof(*place)))
			return accounts->drops[i].count;
	return 0;
}

static void subtract_traffic(struct vmlat_traffic *traffic, const struct vmlat_traffic *before)
{
	traffic->packets -= before->packets;
	traffic->bytes -= before->bytes;
}

int accounts__since(struct accounts *difference, const struct accounts *now,
		    const struct accounts *before)
{
	__u64 *counters = (__u64 *)&difference->counters;

	*difference = *now;
	difference->drops = calloc(now->drop_count + 1, sizeof(*now->drops));
	difference->traffic = calloc(now->devices + 1, 2 * sizeof(*now->traffic));
	if (!difference->drops || !difference->traffic)
		return -ENOMEM;
	for (int i = 0; i < COUNTERS; i++)
		counters[i] -= ((const __u64 *)&before->counters)[i];
	difference->written -= before->written;
	difference->missed -= before->missed;
	difference->unkept -= before->unkept;
	memcpy(difference->traffic, now->traffic, 2 * now->devices * sizeof(*now->traffic));
	for (size_t i = 0; i < 2 * before->devices; i++)
		subtract_traffic(&difference->traffic[i], &before->traffic[i]);
	difference->drop_count = 0;
	for (size_t i = 0; i < now->drop_count; i++) {
		struct drop_count drop = now->drops[i];

		drop.count -= count_at(before, &drop.place);
		if (drop.count)
			difference->drops[difference->drop_count++] = drop;
	}
	return 0;
}

void accounts__free(struct accounts *accounts)
{
	free(accounts->traffic);
	free(accounts->drops);
	memset(accounts, 0, sizeof(*accounts));
}

struct vmlat_traffic accounts__traffic(const struct accounts *accounts,
				       const struct devices *devices, const char *tap,
				       int direction)
{
	struct vmlat_traffic sum = { 0 };

	for (size_t i = 0; i < accounts->devices && i < devices->count; i++) {
		const struct vmlat_traffic *traffic =
			&accounts->traffic[2 * i + direction - VMLAT_TX];

		if (!devices->all[i].tap || !devices__chosen(&devices->all[i]) ||
		    strcmp(devices->all[i].name, tap) != 0)
			continue;
		sum.packets += traffic->packets;
		sum.bytes += traffic->bytes;
	}
	return sum;
}

__u64 accounts__not_delivered(const struct accounts *accounts)
{
	const struct vmlat_counters *counters = &accounts->counters;

	return counters->given > counters->delivered ? counters->given - counters->delivered : 0;
}

bool accounts__incomplete(const struct accounts *accounts)
{
	const struct vmlat_counters *counters = &accounts->counters;

	return counters->lost || counters->stacks_lost || counters->drops_lost ||
	       counters->uncounted || counters->flows_lost || accounts->unkept ||
	       counters->outcomes[VMLAT_EVICTED] || accounts->missed;
}
