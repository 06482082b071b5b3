/* SPDX-License-Identifier: GPL-2.0 */
/* A tracer by hand: it stands in for src/tracer.c, which would need the kernel. */
#ifndef VMLAT_UNIT_BY_HAND_H
#define VMLAT_UNIT_BY_HAND_H

#include "accounts.h"
#include "unit.h"

struct tracer {
	struct hook_choice hooks[VMLAT_HOOK_COUNT];
	__u64 stack[8]; /* of id 7 */
	int error; /* of reading the counters */
	struct vmlat_counters counters;
	__u64 rate; /* packets that start and complete between two readings of these */
	__u64 missed;
	bool missed_known;
	struct drop_count drops[3];
	struct vmlat_traffic traffic[16][3]; /* by device and direction */
};

const struct hook_choice *tracer__hook(const struct tracer *tracer, enum vmlat_hook hook)
{
	return &tracer->hooks[hook];
}

size_t tracer__stack(const struct tracer *tracer, __s32 id, __u64 *addresses, size_t room)
{
	size_t count = 0;

	while (id == 7 && count < ARRAY_SIZE(tracer->stack) && count < room &&
	       tracer->stack[count]) {
		addresses[count] = tracer->stack[count];
		count++;
	}
	return count;
}

int tracer__counters(const struct tracer *tracer, struct vmlat_counters *counters)
{
	struct vmlat_counters *counts = (struct vmlat_counters *)&tracer->counters;

	*counters = *counts;
	counts->started += tracer->rate;
	counts->outcomes[VMLAT_COMPLETED] += tracer->rate;
	return tracer->error;
}

bool tracer__missed(const struct tracer *tracer, __u64 *missed)
{
	*missed = tracer->missed;
	return tracer->missed_known;
}

void tracer__drops(const struct tracer *tracer,
		   void (*handler)(void *context, const struct vmlat_drop *drop, __u64 count),
		   void *context)
{
	for (size_t i = 0; i < ARRAY_SIZE(tracer->drops); i++)
		if (tracer->drops[i].count)
			handler(context, &tracer->drops[i].place, tracer->drops[i].count);
}

int tracer__traffic(const struct tracer *tracer, size_t device, int direction,
		    struct vmlat_traffic *traffic)
{
	*traffic = tracer->traffic[device][direction];
	return 0;
}

#endif
