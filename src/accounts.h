/* SPDX-License-Identifier: GPL-2.0 */
/* Everything that a tracer counts, at one moment or between two. */
#ifndef VMLAT_ACCOUNTS_H
#define VMLAT_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>

#include "counters.h"
#include "devices.h"
#include "tracer.h"

struct drop_count {
	struct vmlat_drop place;
	__u64 count;
};

/* Zeroed before its first use; freed with accounts__free. */
struct accounts {
	struct vmlat_counters counters;
	__u64 in_flight; /* open then, or so found at the end */
	__u64 written; /* packets reported */
	__u64 missed; /* by probes, valid with missed_known */
	bool missed_known;
	__u64 unkept; /* times that the statistics had no room for */
	struct vmlat_traffic *traffic; /* by device: TX, RX */
	size_t devices;
	struct drop_count *drops;
	size_t drop_count;
};

/* What has been counted so far, but for what only the caller knows: written, unkept. 0 or -errno. */
int accounts__take(struct accounts *accounts, const struct tracer *tracer,
		   const struct devices *devices);

/* What of `now` was not there before. 0 or -ENOMEM. */
int accounts__since(struct accounts *difference, const struct accounts *now,
		    const struct accounts *before);

void accounts__free(struct accounts *accounts);

/* Packets that have started and not ended, those that were found in flight at the end among them. */
__u64 accounts__open(const struct vmlat_counters *counters);

/* Of all the taps with this name, one after the other. */
struct vmlat_traffic accounts__traffic(const struct accounts *accounts,
				       const struct devices *devices, const char *tap,
				       int direction);

/* Packets given to a selected tap, by a call that is over, that never became an skb. */
__u64 accounts__not_delivered(const struct accounts *accounts);

/* True when something was lost or missed, so that the numbers are not the whole truth. */
bool accounts__incomplete(const struct accounts *accounts);

#endif
