/* SPDX-License-Identifier: GPL-2.0 */
/* Rows of statistics by hand. */
#ifndef VMLAT_UNIT_ROWS_H
#define VMLAT_UNIT_ROWS_H

#include "statistics.h"
#include "times.h"

/* So many times of this segment, or of the total, at the tap: first, first + step, … */
static inline void add_times(struct statistics *statistics, const struct device *tap,
			     enum vmlat_direction direction, unsigned int pair, size_t count,
			     __u64 first, __u64 step)
{
	struct vmlat_distribution times = { 0 };

	for (size_t i = 0; i < count; i++)
		add_time(&times, first + i * step);
	assert_int_equal(statistics__add(statistics, tap, vmlat_pair_of(direction, pair), &times),
			 0);
}

#endif
