// SPDX-License-Identifier: GPL-2.0
#include "collector.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"

/*
 * A map of one interface. Its values are read and emptied as memory: while a system call copies one,
 * the kernel runs no kprobe's program on this CPU (bpf_disable_instrumentation), and the packets that
 * come meanwhile would miss their hooks.
 */
struct interface_map {
	int fd; /* -1: none */
	struct vmlat_statistics *values; /* of each CPU */
};

struct collector {
	struct bpf_map *maps; /* of the object */
	unsigned int cpus;
	__u32 interval; /* that the maps are of which are put in now */
	struct interface_map spare; /* nobody uses it */
	struct interface_map map[VMLAT_INTERFACES];
	__u32 since[VMLAT_INTERFACES]; /* the interval in which that was put in */
	struct vmlat_statistics *empty;
};

static size_t map_bytes(const struct collector *collector)
{
	return collector->cpus * sizeof(struct vmlat_statistics);
}

static void close_map(const struct collector *collector, struct interface_map *map)
{
	if (map->values)
		munmap(map->values, map_bytes(collector));
	if (map->fd >= 0)
		close(map->fd);
	*map = (struct interface_map){ .fd = -1 };
}

/* 0 or -errno. */
static int open_map(const struct collector *collector, struct interface_map *map)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	int error = 0;

	map->values = NULL;
	map->fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "vmlat_interface", sizeof(__u32),
				 sizeof(struct vmlat_statistics), collector->cpus, &options);
	if (map->fd < 0)
		return -errno;
	map->values =
		mmap(NULL, map_bytes(collector), PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
	if (map->values == MAP_FAILED) {
		error = -errno;
		map->values = NULL;
		close_map(collector, map);
	}
	return error;
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
	int error;

	*result = collector;
	if (!collector)
		return -ENOMEM;
	collector->maps = maps;
	collector->cpus = cpus;
	collector->interval = 1;
	for (size_t i = 0; i < VMLAT_INTERFACES; i++)
		collector->map[i].fd = -1;
	error = open_map(collector, &collector->spare);
	collector->empty = calloc(1, sizeof(*collector->empty));
	if (error || !collector->empty)
		return error ? error : -ENOMEM;
	make_empty(collector->empty);
	return bpf_map__set_inner_map_fd(maps, collector->spare.fd);
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
		close_map(collector, &collector->map[i]);
	close_map(collector, &collector->spare);
	free(collector->empty);
	free(collector);
}

/*
 * The BPF side finds the map there from now on; returns when no program uses the one before: an
 * update of a map of maps waits for running programs (1ae80cf31938).
 */
static int set_map(const struct collector *collector, __u32 key, const struct interface_map *map)
{
	return bpf_map_update_elem(bpf_map__fd(collector->maps), &key, &map->fd, BPF_ANY) ? -errno
											  : 0;
}

/* An emptied one. */
static int put_map(struct collector *collector, size_t index, struct interface_map map)
{
	int error;

	collector->empty->interval = collector->interval;
	for (unsigned int cpu = 0; cpu < collector->cpus; cpu++)
		map.values[cpu] = *collector->empty;
	error = set_map(collector, index, &map);
	if (error)
		return error;
	collector->map[index] = map;
	collector->since[index] = collector->interval;
	return 0;
}

int collector__add(struct collector *collector, size_t index)
{
	struct interface_map map;
	int error;

	if (collector->map[index].fd >= 0)
		return 0;
	error = open_map(collector, &map);
	if (error)
		return error;
	error = put_map(collector, index, map);
	if (error)
		close_map(collector, &map);
	return error;
}

static bool has_times(const struct vmlat_distribution *times)
{
	return times->min != VMLAT_NO_MIN;
}

static bool was_measured(const struct collector *collector, const struct interface_map *map)
{
	for (unsigned int cpu = 0; cpu < collector->cpus; cpu++)
		for (__u32 i = 0; i < VMLAT_SEGMENTS; i++)
			if (has_times(&map->values[cpu].distribution[i]))
				return true;
	return false;
}

static void hand_over(const struct collector *collector, size_t index,
		      const struct interface_map *map, distribution_handler handler, void *context,
		      __u64 *unkept)
{
	for (unsigned int cpu = 0; cpu < collector->cpus; cpu++) {
		const struct vmlat_statistics *value = &map->values[cpu];

		*unkept += value->unkept;
		for (unsigned int pair = 0; pair < VMLAT_PAIRS; pair++) {
			unsigned int number = value->segment[pair];

			if (number && number <= VMLAT_SEGMENTS &&
			    has_times(&value->distribution[number - 1]))
				handler(context, index, pair, &value->distribution[number - 1]);
		}
	}
}

static int take_one(struct collector *collector, size_t index, distribution_handler handler,
		    void *context, __u64 *unkept)
{
	struct interface_map map = collector->map[index];
	int error;

	if (!was_measured(collector, &map))
		return 0;
	/* where a packet finds it of which it has counted a time already */
	error = set_map(collector, VMLAT_TAKEN_OUT, &map);
	if (!error)
		error = put_map(collector, index, collector->spare);
	if (error)
		return error;
	collector->spare = map; /* nobody writes to it any more */
	hand_over(collector, index, &map, handler, context, unkept);
	return 0;
}

int collector__take(struct collector *collector, interface_predicate is_known,
		    distribution_handler handler, void *context, __u64 *unkept)
{
	collector->interval++;
	for (size_t index = 0; index < VMLAT_INTERFACES; index++) {
		bool due = collector->map[index].fd >= 0 &&
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
	struct interface_map *map = &collector->map[index];
	__u32 key = index;
	int error;

	if (map->fd < 0)
		return 0;
	error = set_map(collector, VMLAT_TAKEN_OUT, map);
	if (error)
		return error;
	if (bpf_map_delete_elem(bpf_map__fd(collector->maps), &key))
		return -errno;
	hand_over(collector, index, map, handler, context, unkept);
	close_map(collector, map);
	return 0;
}
