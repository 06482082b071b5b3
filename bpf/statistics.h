/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the completed packets of an interface add up to. User space swaps an interface's map for
 * an empty one and reads what was taken out: each packet is in one of them, as a whole.
 * Packets complete with softirqs off, so nobody interrupts one CPU's update of its values.
 */
#ifndef VMLAT_BPF_STATISTICS_H
#define VMLAT_BPF_STATISTICS_H

enum { USUAL_VISITS = 8 }; /* of a packet: what has more costs more */

/* The distribution of this pair, or NULL: there is no room for another. */
static __always_inline struct vmlat_distribution *
distribution_of(struct vmlat_statistics *statistics, __u64 pair)
{
	__u64 number;

	barrier_var(pair);
	if (pair >= VMLAT_PAIRS)
		return NULL;
	barrier_var(pair);
	if (!statistics->segment[pair] && statistics->segments < VMLAT_SEGMENTS)
		statistics->segment[pair] = ++statistics->segments;
	/* read again: what the verifier knows of it is the same on both ways then */
	number = *(volatile __u8 *)&statistics->segment[pair] - 1;
	barrier_var(number);
	if (number >= VMLAT_SEGMENTS) {
		statistics->unkept++;
		return NULL;
	}
	barrier_var(number);
	return &statistics->distribution[number];
}

static __always_inline struct vmlat_statistics *statistics_of(struct cpu_state *cpu, __u32 row)
{
	void *cpus = bpf_map_lookup_elem(&statistics_maps, &row);
	__u32 number = cpu->number;

	return cpus ? bpf_map_lookup_elem(cpus, &number) : NULL;
}

/* Of its many ways to a result the verifier sees one. */
GLOBAL __u32 bucket_of(__u64 ns)
{
	return vmlat_bucket(ns);
}

/*
 * The smaller and the larger of two times, which are less than 2^63 apart. Without a branch, which
 * would double the verifier's ways through what counts them, in every program that ends a flight.
 */
static __always_inline __u64 below(__u64 a, __u64 b)
{
	__u64 difference = a - b, a_is_less = (__s64)difference >> 63;

	barrier_var(a_is_less);
	return difference & a_is_less;
}

static __always_inline __u64 smaller(__u64 a, __u64 b)
{
	return b + below(a, b);
}

static __always_inline __u64 larger(__u64 a, __u64 b)
{
	return a - below(a, b);
}

/* True: it is the first in its bucket, or the longest of all. */
static __always_inline bool count_time(struct vmlat_statistics *statistics, __u32 pair, __u64 ns)
{
	struct vmlat_distribution *times = distribution_of(statistics, pair);
	__u64 bucket;
	bool longest;

	if (!times)
		return false;
	bucket = bucket_of(ns);
	barrier_var(bucket);
	if (bucket >= VMLAT_BUCKETS)
		return false;
	barrier_var(bucket);
	longest = ns > times->max;
	times->count++;
	times->sum += ns;
	times->max = larger(ns, times->max);
	times->min = smaller(ns, times->min);
	return times->bucket[bucket]++ == 0 || longest;
}

/* The interface whose statistics this flight belongs to. */
static __always_inline __u32 row_of(const struct vmlat_flight *flight)
{
	if (flight->direction == VMLAT_TX)
		return flight->interface;
	for (__u32 i = 0; i < VMLAT_EXITS && i < flight->exits; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		if (exit->closed && exit->outcome == VMLAT_COMPLETED)
			return exit->interface;
	}
	return VMLAT_INTERFACE_NONE;
}

/* Visit `n` goes before those of the ones before it that were later. */
GLOBAL int order_visit(__u32 slot, __u32 n)
{
	struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 0; flight && i < VMLAT_VISITS; i++) {
		__u64 at = n - i;
		struct vmlat_visit visit;

		barrier_var(at);
		if (at == 0 || at >= VMLAT_VISITS)
			return 0;
		barrier_var(at);
		if (flight->visit[at - 1].ns <= flight->visit[at].ns)
			return 0;
		visit = flight->visit[at];
		flight->visit[at] = flight->visit[at - 1];
		flight->visit[at - 1] = visit;
	}
	return 0;
}

/* Segments and parts pass their stages side by side: into the order of time. */
GLOBAL int order_visits(__u32 slot)
{
	struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 1; flight && i < VMLAT_VISITS && i < flight->visits; i++)
		order_visit(slot, i);
	return 0;
}

GLOBAL int count_flow(__u32 slot, __u32 interface); /* flows.h */

/* Of the segment that ends with visit `n`, 1 or more. */
static __always_inline __u32 pair_at(const struct vmlat_flight *flight, __u32 n)
{
	return vmlat_pair_of(flight->direction,
			     vmlat_pair(flight->visit[n - 1].stage, flight->visit[n].stage));
}

static __always_inline __u64 time_at(const struct vmlat_flight *flight, __u32 n)
{
	return flight->visit[n].ns - flight->visit[n - 1].ns;
}

/*
 * One of those of a long way: the verifier looks at it once, not for each. When user space has
 * swapped the map since the others were counted, it is unkept: it would be another interval's.
 */
GLOBAL int count_late_segment(__u32 slot, __u32 row, __u32 n, __u32 interval)
{
	struct vmlat_flight *flight = flight_at(slot);
	struct vmlat_statistics *statistics;
	struct cpu_state *cpu = this_cpu();
	__u64 at = n;

	barrier_var(at);
	if (!flight || !cpu || at < USUAL_VISITS || at >= VMLAT_VISITS)
		return 0;
	barrier_var(at);
	statistics = statistics_of(cpu, row);
	if (!statistics)
		return 0;
	if (statistics->interval == interval)
		count_time(statistics, pair_at(flight, at), time_at(flight, at));
	else
		statistics->unkept++;
	return 0;
}

/* A completed flight. */
static __always_inline void count_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	struct vmlat_statistics *statistics;
	__u32 direction, row;

	row = row_of(flight);
	if (features.flows)
		count_flow(flight->slot, row);
	statistics = statistics_of(cpu, row);
	if (!statistics) {
		cpu->count.uncounted++;
		return;
	}
	direction = vmlat_pair_of(flight->direction, 0);
	for (__u32 i = 1; i < USUAL_VISITS && i < flight->visits; i++)
		count_time(statistics, pair_at(flight, i), time_at(flight, i));
	for (__u32 i = USUAL_VISITS; i < VMLAT_VISITS && i < flight->visits; i++)
		count_late_segment(flight->slot, row, i, statistics->interval);
	if (count_time(statistics, direction + VMLAT_TOTAL, flight->last_ns - flight->begin_ns))
		flight->remarkable = statistics->interval;
}

#endif
