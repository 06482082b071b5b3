// SPDX-License-Identifier: GPL-2.0
#include "collector.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"

struct collector {
	struct bpf_map *maps; /* of the object */
	unsigned int cpus;
	int spare; /* a map that nobody uses */
	__u32 interval; /* that the maps are of which are put in now */
	int map[VMLAT_INTERFACES]; /* -1: none */
	__u32 since[VMLAT_INTERFACES]; /* the interval in which that was put in */
	struct vmlat_statistics *values; /* of each CPU */
	struct vmlat_statistics *empty;
};

static int new_map(const struct collector *collector)
{
	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "vmlat_interface", sizeof(__u32),
			      sizeof(struct vmlat_statistics), collector->cpus, NULL);
}

/* The totals have places of their own: however many segments there are, these are not lost. */
static void make_empty(struct vmlat_statistics *statistics)
{
	for (int i = 0; i < VMLAT_SEGMENTS; i++)
		statistics->distribution[i].min = VMLAT_NO_MIN;
	statistics->segment[vmlat_pair_of(VMLAT_TX, VMLAT_TOTAL)] = 1;
	statistics->segment[vmlat_pair_of(VMLAT_RX, VMLAT_TOTAL)] = 2;
	statistics->segments = VMLAT_TOTALS;
}

int collector__open(struct collector **result, struct bpf_map *maps, unsigned int cpus)
{
	struct collector *collector = calloc(1, sizeof(*collector));

	*result = collector;
	if (!collector)
		return -ENOMEM;
	collector->maps = maps;
	collector->cpus = cpus;
	collector->interval = 1;
	for (size_t i = 0; i < VMLAT_INTERFACES; i++)
		collector->map[i] = -1;
	collector->values = calloc(cpus, sizeof(*collector->values));
	collector->empty = calloc(1, sizeof(*collector->empty));
	collector->spare = new_map(collector);
	if (!collector->values || !collector->empty)
		return -ENOMEM;
	make_empty(collector->empty);
	return collector->spare < 0 ? -errno : bpf_map__set_inner_map_fd(maps, collector->spare);
}

__u32 collector__interval(const struct collector *collector)
{
	return collector->interval;
}

void collector__close(struct collector *collector)
{
	if (!collector)
		return;
	for (size_t i = 0; i < VMLAT_INTERFACES; i++)
		if (collector->map[i] >= 0)
			close(collector->map[i]);
	if (collector->spare >= 0)
		close(collector->spare);
	free(collector->values);
	free(collector->empty);
	free(collector);
}

/*
 * The BPF side finds the map there from now on; returns when no program uses the one before: an
 * update of a map of maps waits for running programs (1ae80cf31938).
 */
static int set_map(const struct collector *collector, __u32 key, int map)
{
	return bpf_map_update_elem(bpf_map__fd(collector->maps), &key, &map, BPF_ANY) ? -errno : 0;
}

/* An emptied one. */
static int put_map(struct collector *collector, size_t index, int map)
{
	int error;

	collector->empty->interval = collector->interval;
	for (__u32 cpu = 0; cpu < collector->cpus; cpu++)
		if (bpf_map_update_elem(map, &cpu, collector->empty, BPF_ANY))
			return -errno;
	error = set_map(collector, index, map);
	if (error)
		return error;
	collector->map[index] = map;
	collector->since[index] = collector->interval;
	return 0;
}

int collector__add(struct collector *collector, size_t index)
{
	int map, error;

	if (collector->map[index] >= 0)
		return 0;
	map = new_map(collector);
	if (map < 0)
		return -errno;
	error = put_map(collector, index, map);
	if (error)
		close(map);
	return error;
}

static bool has_times(const struct vmlat_statistics *statistics)
{
	for (__u32 i = 0; i < VMLAT_SEGMENTS; i++)
		if (statistics->distribution[i].count)
			return true;
	return false;
}

static int read_map(struct collector *collector, int map, bool *any)
{
	*any = false;
	for (__u32 cpu = 0; cpu < collector->cpus; cpu++) {
		if (bpf_map_lookup_elem(map, &cpu, &collector->values[cpu]))
			return -errno;
		*any |= has_times(&collector->values[cpu]);
	}
	return 0;
}

static void hand_over(const struct collector *collector, size_t index, distribution_handler handler,
		      void *context, __u64 *unkept)
{
	for (unsigned int cpu = 0; cpu < collector->cpus; cpu++) {
		const struct vmlat_statistics *value = &collector->values[cpu];

		*unkept += value->unkept;
		for (unsigned int pair = 0; pair < VMLAT_PAIRS; pair++) {
			unsigned int number = value->segment[pair];

			if (number && number <= VMLAT_SEGMENTS &&
			    value->distribution[number - 1].count)
				handler(context, index, pair, &value->distribution[number - 1]);
		}
	}
}

static int take_one(struct collector *collector, size_t index, distribution_handler handler,
		    void *context, __u64 *unkept)
{
	int map = collector->map[index], error;
	bool any;

	error = read_map(collector, map, &any);
	if (error || !any)
		return error;
	/* where a packet finds it of which it has counted a time already */
	error = set_map(collector, VMLAT_TAKEN_OUT, map);
	if (!error)
		error = put_map(collector, index, collector->spare);
	if (error)
		return error;
	collector->spare = map;
	error = read_map(collector, map, &any); /* which nobody writes to any more */
	if (!error)
		hand_over(collector, index, handler, context, unkept);
	return error;
}

int collector__take(struct collector *collector, interface_predicate is_known,
		    distribution_handler handler, void *context, __u64 *unkept)
{
	collector->interval++;
	for (size_t index = 0; index < VMLAT_INTERFACES; index++) {
		bool due = collector->map[index] >= 0 &&
			   collector->since[index] != collector->interval && /* added meanwhile */
			   is_known(context, index);
		int error = due ? take_one(collector, index, handler, context, unkept) : 0;

		if (error)
			return error;
	}
	return 0;
}

int collector__remove(struct collector *collector, size_t index, distribution_handler handler,
		      void *context, __u64 *unkept)
{
	int map = collector->map[index], error;
	__u32 key = index;
	bool any;

	if (map < 0)
		return 0;
	error = set_map(collector, VMLAT_TAKEN_OUT, map);
	if (error)
		return error;
	if (bpf_map_delete_elem(bpf_map__fd(collector->maps), &key))
		return -errno;
	collector->map[index] = -1;
	error = read_map(collector, map, &any);
	if (!error)
		hand_over(collector, index, handler, context, unkept);
	close(map);
	return error;
}
