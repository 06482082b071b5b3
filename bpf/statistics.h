/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the completed packets of an interface add up to. User space swaps an interface's map for
 * an empty one and reads what was taken out: each packet is in one of them, as a whole.
 * Packets complete with softirqs off, so nobody interrupts one CPU's update of its values.
 */
#ifndef VMLAT_BPF_STATISTICS_H
#define VMLAT_BPF_STATISTICS_H

_Static_assert((VMLAT_PAIRS & (VMLAT_PAIRS - 1)) == 0, "a mask bounds a pair");

/* The distribution of this pair, or NULL: it has none so far. */
static __always_inline struct vmlat_distribution *
distribution_of(struct vmlat_statistics *statistics, __u64 pair)
{
	__u64 number;

	barrier_var(pair);
	number = (__u64)statistics->segment[pair & (VMLAT_PAIRS - 1)] - 1;
	barrier_var(number);
	if (number >= VMLAT_SEGMENTS)
		return NULL;
	barrier_var(number);
	return &statistics->distribution[number];
}

/* Gives the pair one, if there is room for another. */
static __always_inline void make_distribution(struct vmlat_statistics *statistics, __u64 pair)
{
	__u8 *segment;

	barrier_var(pair);
	segment = &statistics->segment[pair & (VMLAT_PAIRS - 1)];
	if (!*segment && statistics->segments < VMLAT_SEGMENTS)
		*segment = ++statistics->segments;
}

static __always_inline struct vmlat_statistics *statistics_of(struct cpu_state *cpu, __u32 row)
{
	void *cpus = bpf_map_lookup_elem(&statistics_maps, &row);
	__u32 number = cpu->number;

	return cpus ? bpf_map_lookup_elem(cpus, &number) : NULL;
}

/* True: it is the first in its bucket, or the longest of all. */
static __always_inline bool count_time(struct vmlat_distribution *times, __u64 ns)
{
	__u64 bucket = vmlat_bucket(ns);
	bool longest;

	barrier_var(times); /* or the compiler adds it up again for each use */
	longest = ns > times->max;
	barrier_var(bucket);
	if (bucket >= VMLAT_BUCKETS)
		return false;
	barrier_var(bucket);
	times->sum += ns;
	if (longest)
		times->max = ns;
	if (ns < times->min)
		times->min = ns;
	return times->bucket[bucket]++ == 0 || longest;
}

/* The interface at which the packet was delivered. */
GLOBAL __u32 interface_of_exit(__u32 slot)
{
	const struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 0; flight && i < VMLAT_EXITS && i < flight->exits; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		if (exit->closed && exit->outcome == VMLAT_COMPLETED)
			return exit->interface;
	}
	return VMLAT_INTERFACE_NONE;
}

/* The interface whose statistics this flight belongs to. */
static __always_inline __u32 row_of(const struct vmlat_flight *flight)
{
	return flight->direction == VMLAT_TX ? flight->interface : interface_of_exit(flight->slot);
}

/* Visit `n` goes before those of the ones before it that were later. */
GLOBAL int order_visit(__u32 slot, __u32 n)
{
	struct vmlat_flight *flight = flight_at(slot);
	struct vmlat_visit *earlier, visit;
	__u64 before = n - 1;

	for (__u32 i = 0; flight && i < VMLAT_VISITS; i++) {
		barrier_var(before);
		if (before >= VMLAT_VISITS - 1)
			break;
		barrier_var(before);
		earlier = &flight->visit[before];
		if (earlier[0].ns <= earlier[1].ns)
			break;
		visit = earlier[1];
		earlier[1] = earlier[0];
		earlier[0] = visit;
		before--;
	}
	return 0;
}

/* Segments and parts pass their stages side by side: into the order of time. */
static __always_inline void order_visits(const struct vmlat_flight *flight)
{
	for (__u32 i = 1; i < VMLAT_VISITS && i < flight->visits; i++)
		order_visit(flight->slot, i);
}

GLOBAL int count_flow(__u32 slot, __u32 interface); /* flows.h */

/* As count_time, also for the first time of a pair. */
static __always_inline bool count_in(struct vmlat_statistics *statistics, __u32 pair, __u64 ns)
{
	struct vmlat_distribution *times = distribution_of(statistics, pair);

	if (!times) {
		make_distribution(statistics, pair);
		times = distribution_of(statistics, pair);
	}
	if (times)
		return count_time(times, ns);
	statistics->unkept++;
	return false;
}

/*
 * Those that the packet in hand began to count in: user space may be taking them out, and waits for
 * the programs that use them.
 */
static __always_inline struct vmlat_statistics *statistics_in(struct cpu_state *cpu, __u32 row,
							      __u32 interval)
{
	struct vmlat_statistics *statistics = statistics_of(cpu, row);

	if (statistics && statistics->interval == interval)
		return statistics;
	statistics = statistics_of(cpu, VMLAT_TAKEN_OUT);
	return statistics && statistics->interval == interval ? statistics : NULL;
}

/* The segment that ends with visit `n`. */
GLOBAL int count_visit(__u32 row, __u32 interval, __u32 slot, __u32 n)
{
	struct cpu_state *cpu = this_cpu();
	const struct vmlat_flight *flight = flight_at(slot);
	struct vmlat_statistics *statistics = statistics_in(cpu, row, interval);
	const struct vmlat_visit *from, *to;
	__u64 before = n - 1;

	barrier_var(before);
	if (!flight || !statistics || before >= VMLAT_VISITS - 1)
		return 0;
	barrier_var(before);
	from = &flight->visit[before];
	to = from + 1;
	return count_in(statistics,
			vmlat_pair_of(flight->direction, vmlat_pair(from->stage, to->stage)),
			to->ns - from->ns);
}

/* A completed flight: all times of a packet go to the same statistics. */
static __always_inline void count_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	__u64 ns = flight->last_ns - flight->begin_ns;
	struct vmlat_statistics *statistics;
	__u32 row = row_of(flight), interval;

	if (features.flows)
		count_flow(flight->slot, row);
	statistics = statistics_of(cpu, row);
	if (!statistics) {
		cpu->count.uncounted++;
		return;
	}
	interval = statistics->interval;
	if (count_in(statistics, vmlat_pair_of(flight->direction, VMLAT_TOTAL), ns))
		flight->remarkable = interval;
	for (__u32 i = 1; i < VMLAT_VISITS && i < flight->visits; i++)
		count_visit(row, interval, flight->slot, i);
}

#endif
