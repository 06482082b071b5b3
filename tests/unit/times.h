/* SPDX-License-Identifier: GPL-2.0 */
/* Distributions by hand, each time counted as the BPF side counts it. */
#ifndef VMLAT_UNIT_TIMES_H
#define VMLAT_UNIT_TIMES_H

#include "histogram.h"
#include "unit.h"

/* Numerical Recipes' generator: the same numbers on every machine. */
static inline __u32 next_random(__u32 *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state;
}

/* As likely in each octave, below 2^bits. */
static inline __u64 random_time(__u32 *state, unsigned int bits)
{
	__u64 value = (__u64)next_random(state) << 32 | next_random(state);
	unsigned int kept = next_random(state) % (bits + 1);

	return kept ? value >> (64 - kept) : 0;
}

static inline void add_time(struct vmlat_distribution *times, __u64 ns)
{
	if (!vmlat_times(times) || ns < times->min)
		times->min = ns;
	if (ns > times->max)
		times->max = ns;
	times->bucket[vmlat_bucket(ns)]++;
	times->sum += ns;
}

#endif
