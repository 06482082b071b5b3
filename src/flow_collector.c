// SPDX-License-Identifier: GPL-2.0
#include "flow_collector.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 512 }; /* flows at a time */

struct flow_collector {
	struct bpf_map *maps; /* of the object */
	unsigned int cpus;
	int map; /* that the BPF side writes to */
	int spare; /* an empty one */
	struct vmlat_flow_key *keys; /* BATCH of them */
	struct vmlat_flow_count *counts; /* the same of each CPU */
};

static int new_map(void)
{
	return bpf_map_create(BPF_MAP_TYPE_PERCPU_HASH, "vmlat_flows",
			      sizeof(struct vmlat_flow_key), sizeof(struct vmlat_flow_count),
			      VMLAT_FLOWS, NULL);
}

int flow_collector__open(struct flow_collector **result, struct bpf_map *maps, unsigned int cpus)
{
	struct flow_collector *collector = calloc(1, sizeof(*collector));

	*result = collector;
	if (!collector)
		return -ENOMEM;
	collector->maps = maps;
	collector->cpus = cpus;
	collector->map = collector->spare = -1;
	collector->keys = calloc(BATCH, sizeof(*collector->keys));
	collector->counts = calloc((size_t)BATCH * cpus, sizeof(*collector->counts));
	if (!collector->keys || !collector->counts)
		return -ENOMEM;
	collector->map = new_map();
	if (collector->map < 0)
		return -errno;
	collector->spare = new_map();
	return collector->spare < 0 ? -errno : bpf_map__set_inner_map_fd(maps, collector->spare);
}

void flow_collector__close(struct flow_collector *collector)
{
	if (!collector)
		return;
	if (collector->map >= 0)
		close(collector->map);
	if (collector->spare >= 0)
		close(collector->spare);
	free(collector->keys);
	free(collector->counts);
	free(collector);
}

/* Returns when no program uses the one before: an update of a map of maps waits (1ae80cf31938). */
static int put_map(const struct flow_collector *collector, int map)
{
	__u32 zero = 0;

	return bpf_map_update_elem(bpf_map__fd(collector->maps), &zero, &map, BPF_ANY) ? -errno : 0;
}

int flow_collector__begin(struct flow_collector *collector)
{
	return put_map(collector, collector->map);
}

static struct vmlat_flow_count add_up(const struct flow_collector *collector, __u32 index)
{
	const struct vmlat_flow_count *of_cpus =
		&collector->counts[(size_t)index * collector->cpus];
	struct vmlat_flow_count sum = { 0 };

	for (unsigned int cpu = 0; cpu < collector->cpus; cpu++) {
		sum.packets += of_cpus[cpu].packets;
		sum.bytes += of_cpus[cpu].bytes;
		sum.sum_ns += of_cpus[cpu].sum_ns;
		if (of_cpus[cpu].max_ns > sum.max_ns)
			sum.max_ns = of_cpus[cpu].max_ns;
	}
	return sum;
}

/* Hands over all that there is in the map, and empties it. */
static int empty(const struct flow_collector *collector, int map, flow_handler handler,
		 void *context)
{
	__u32 position, *from = NULL;

	for (;;) {
		__u32 count = BATCH;
		int error = bpf_map_lookup_and_delete_batch(map, from, &position, collector->keys,
							    collector->counts, &count, NULL)
				    ? -errno
				    : 0;

		if (error && error != -ENOENT) /* that is the end, and these the last */
			return error;
		for (__u32 i = 0; i < count; i++) {
			struct vmlat_flow_count sum = add_up(collector, i);

			handler(context, &collector->keys[i], &sum);
		}
		if (error)
			return 0;
		from = &position;
	}
}

int flow_collector__take(struct flow_collector *collector, flow_handler handler, void *context)
{
	struct vmlat_flow_key key;
	int map = collector->map, error;

	if (bpf_map_get_next_key(map, NULL, &key))
		return errno == ENOENT ? 0 : -errno;
	error = put_map(collector, collector->spare);
	if (error)
		return error;
	collector->map = collector->spare;
	collector->spare = map;
	return empty(collector, map, handler, context);
}
