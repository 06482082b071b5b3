/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packets of each flow, out of the kernel: as with the statistics (collector.h), the map that the
 * BPF side writes to is swapped for an empty one.
 */
#ifndef VMLAT_FLOW_COLLECTOR_H
#define VMLAT_FLOW_COLLECTOR_H

#include <bpf/libbpf.h>
#include <stddef.h>

#include "flow_count.h"

struct flow_collector;

/* What all CPUs counted of a flow. */
typedef void (*flow_handler)(void *context, const struct vmlat_flow_key *key,
			     const struct vmlat_flow_count *counted);

/*
 * Before the object is loaded whose map of one map this is. `cpus`: how many are possible. 0 or
 * -errno; *collector is released with flow_collector__close, also after a failure.
 */
int flow_collector__open(struct flow_collector **collector, struct bpf_map *maps,
			 unsigned int cpus);
void flow_collector__close(struct flow_collector *collector);

/* When the object is loaded. 0 or -errno. */
int flow_collector__begin(struct flow_collector *collector);

/* Hands over what was counted since the last time. 0 or -errno. */
int flow_collector__take(struct flow_collector *collector, flow_handler handler, void *context);

#endif
