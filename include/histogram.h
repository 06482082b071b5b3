/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Distributions of times, as the BPF side keeps them: for each interface, direction and segment.
 * A segment is what lies between two stages that follow each other in a completed packet's
 * record; the total is one, too. Times are nanoseconds.
 */
#ifndef VMLAT_HISTOGRAM_H
#define VMLAT_HISTOGRAM_H

#include "hooks.h"

#ifndef __VMLINUX_H__ /* which has these types, and the BPF side no libc */
#include <linux/types.h>
#include <stddef.h>
#endif

/*
 * Times below two octaves of steps have a bucket each; from there on each octave is cut into steps
 * of one width. The value that stands for a bucket (vmlat_bucket_value) is less than 1.6 % away
 * from each that fell into it. Steps are a power of two, so that a bucket is found by a shift; how far
 * is in a table, for a BPF program finds no highest bit.
 */
enum {
	VMLAT_STEP_BITS = 5,
	VMLAT_STEPS = 1 << VMLAT_STEP_BITS,
	VMLAT_EXACT = 2 * VMLAT_STEPS,
	VMLAT_LAST_OCTAVE = 39, /* up to 18 minutes; what is longer is in the last bucket, too */
	VMLAT_BUCKETS = VMLAT_EXACT + (VMLAT_LAST_OCTAVE - VMLAT_STEP_BITS) * VMLAT_STEPS,
};

enum { VMLAT_TABLE_BITS = 8 };

/* How often a number has to be halved to be below 2. */
static const __u8 vmlat_halvings[1 << VMLAT_TABLE_BITS] = {
	[2 ... 3] = 1,	 [4 ... 7] = 2,	   [8 ... 15] = 3,    [16 ... 31] = 4,
	[32 ... 63] = 5, [64 ... 127] = 6, [128 ... 255] = 7,
};

/* The table is asked for what is above so many bits of a time. */
enum {
	VMLAT_SHORT = VMLAT_STEP_BITS,
	VMLAT_USUAL = VMLAT_SHORT + VMLAT_TABLE_BITS,
	VMLAT_LONG = VMLAT_USUAL + VMLAT_TABLE_BITS,
	VMLAT_LONGER = VMLAT_LONG + VMLAT_TABLE_BITS,
	VMLAT_LONGEST = VMLAT_LONGER + VMLAT_TABLE_BITS,
};

/* The bucket that a time falls into. */
static inline __u32 vmlat_bucket(__u64 ns)
{
	__u64 halvings, above;

	/* halved so often it is below VMLAT_EXACT, each time VMLAT_STEPS buckets further on */
	if (ns < 1ULL << VMLAT_USUAL) {
		halvings = vmlat_halvings[ns >> VMLAT_SHORT];
	} else if (ns < 1ULL << VMLAT_LONG) {
		halvings = VMLAT_TABLE_BITS + vmlat_halvings[ns >> VMLAT_USUAL];
	} else {
		if (ns >> (VMLAT_LAST_OCTAVE + 1))
			return VMLAT_BUCKETS - 1;
		above = ns >> VMLAT_LONGEST  ? VMLAT_LONGEST
			: ns >> VMLAT_LONGER ? VMLAT_LONGER
					     : VMLAT_LONG;
		halvings = above - VMLAT_STEP_BITS + vmlat_halvings[(__u8)(ns >> above)];
	}
	return halvings * VMLAT_STEPS + (ns >> halvings);
}

/* The shortest time that falls into the bucket; of VMLAT_BUCKETS: the first beyond the last. */
static inline __u64 vmlat_bucket_low(__u32 bucket)
{
	__u32 halvings = bucket / VMLAT_STEPS;

	if (bucket < VMLAT_EXACT)
		return bucket;
	return (__u64)(VMLAT_STEPS + bucket % VMLAT_STEPS) << (halvings - 1);
}

/* The time that stands for the bucket: as far from its lowest as from its highest, in proportion. */
static inline __u64 vmlat_bucket_value(__u32 bucket)
{
	__u64 low = vmlat_bucket_low(bucket), high = vmlat_bucket_low(bucket + 1) - 1;
	unsigned int shift;

	if (high == low)
		return low;
	shift = low >> 20 ? 12 : 0; /* or the product would not fit */
	return low + (low >> shift) * (high - low) / ((low + high) >> shift);
}

enum {
	VMLAT_SEGMENTS = 24, /* of one interface, both directions: totals, and pairs of stages */
	VMLAT_TOTALS = 2, /* of these; they have the first places from the start */
	VMLAT_STAGES_MAX = 16,
	VMLAT_TOTAL = VMLAT_STAGES_MAX * VMLAT_STAGES_MAX - 1, /* the pair that is the total */
	VMLAT_PAIRS = 2 * VMLAT_STAGES_MAX * VMLAT_STAGES_MAX,
};

_Static_assert((int)VMLAT_STAGE_COUNT < (int)VMLAT_STAGES_MAX, "no pair of stages is VMLAT_TOTAL");

/* Number of a pair of stages, or of the total (VMLAT_TOTAL), in a direction. */
#define vmlat_pair(from, to)	       ((from)*VMLAT_STAGES_MAX + (to))
#define vmlat_pair_of(direction, pair) ((direction) == VMLAT_RX ? VMLAT_PAIRS / 2 + (pair) : (pair))

#define VMLAT_NO_MIN (~0ULL >> 1)

struct vmlat_distribution {
	__u64 sum;
	__u64 min; /* VMLAT_NO_MIN: none so far */
	__u64 max;
	__u32 bucket[VMLAT_BUCKETS]; /* emptied often enough not to overflow */
};

/* Of one interface on one CPU: value of the inner maps of the statistics map. */
struct vmlat_statistics {
	__u8 segment[VMLAT_PAIRS]; /* which distribution a pair has, less 1; 0: none so far */
	__u32 segments; /* distributions that are taken */
	__u32 interval; /* that these are of, from 1 */
	__u64 unkept; /* times that no distribution was left for */
	struct vmlat_distribution distribution[VMLAT_SEGMENTS];
};

_Static_assert(sizeof(struct vmlat_statistics) % 8 == 0, "in an array map one follows the other");

/* How many times it has; each one is in a bucket. */
static inline __u64 vmlat_times(const struct vmlat_distribution *times)
{
	__u64 count = 0;

	for (int i = 0; i < VMLAT_BUCKETS; i++)
		count += times->bucket[i];
	return count;
}

#endif
