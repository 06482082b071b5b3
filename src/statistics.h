/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the completed packets add up to: for each direction and tap, the distribution of each
 * segment and of the total, and the slowest packets. Times are nanoseconds.
 */
#ifndef VMLAT_STATISTICS_H
#define VMLAT_STATISTICS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "devices.h"
#include "flight.h"
#include "histogram.h"

struct distribution {
	__u64 count;
	__u64 sum;
	__u64 min; /* valid with count, as max is */
	__u64 max;
	__u64 bucket[VMLAT_BUCKETS];
};

/* Between two stages, or the total, which has none. */
struct segment {
	bool total;
	enum vmlat_stage from;
	enum vmlat_stage to;
	struct distribution times;
};

/* Of one tap, or of one VM, in one direction. */
struct row {
	enum vmlat_direction direction;
	char vm_interface[IF_NAMESIZE];
	char vm[VM_NAME]; /* "" unknown */
	struct segment *segments; /* in the order of the stages, the total last */
	size_t count;
	struct vmlat_flight **exemplars; /* each owned; the slowest first, one of a bucket */
	size_t exemplar_count;
};

/* Zeroed before its first use; freed with statistics__free. */
struct statistics {
	struct row *rows;
	size_t count;
	__u64 unkept; /* times that there was no room for */
};

void statistics__free(struct statistics *statistics);

/* Adds what a CPU measured of a pair (vmlat_pair_of) at this tap. 0 or -ENOMEM. */
int statistics__add(struct statistics *statistics, const struct device *tap, unsigned int pair,
		    const struct vmlat_distribution *times);

/* Adds a copy of the packet to those of its row, if it is the slowest of its bucket. 0 or -ENOMEM. */
int statistics__add_exemplar(struct statistics *statistics, const struct device *tap,
			     const struct vmlat_flight *flight);

/* Gives the packets of a row of another to the row of the same name. 0 or -ENOMEM. */
int statistics__move_exemplars(struct statistics *statistics, struct row *from);

/* Adds all that there is in another. 0 or -ENOMEM. */
int statistics__merge(struct statistics *statistics, const struct statistics *other);

/*
 * What was measured at a tap before its VM was known is that VM's, if the tap is nobody else's: gives
 * its rows the name that they lack. 0 or -ENOMEM.
 */
int statistics__name_vms(struct statistics *statistics, const struct devices *devices);

/* The same with the taps of each VM as one row, its name in both places. 0 or -ENOMEM. */
int statistics__by_vm(const struct statistics *statistics, struct statistics *by_vm);

/* The worst p99 of the total first; among equals by name, TX first. */
void statistics__sort(struct statistics *statistics);

/* The row's total; NULL: it has none. */
const struct segment *row__total(const struct row *row);

/*
 * A packet of the bucket that has the total's percentile, or the next slower one that there is (of
 * those beyond --latency-threshold); NULL: there is none.
 */
const struct vmlat_flight *row__exemplar(const struct row *row, unsigned int permille);

/*
 * The nearest rank's time, at most 3 % off, and the exact one at both ends; 0 for an empty one.
 */
__u64 distribution__percentile(const struct distribution *times, unsigned int permille);
__u64 distribution__mean(const struct distribution *times);

#endif
