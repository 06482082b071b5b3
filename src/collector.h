/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The statistics of each interface, out of the kernel. What the BPF side writes to is swapped for
 * an empty map, and read once nobody writes to it any more: nothing is lost, nothing is there
 * twice. Memory follows the interfaces that have statistics.
 */
#ifndef VMLAT_COLLECTOR_H
#define VMLAT_COLLECTOR_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>

#include "histogram.h"

struct collector;

/* What one CPU measured of a pair (vmlat_pair_of) at the interface with this index. */
typedef void (*distribution_handler)(void *context, size_t index, unsigned int pair,
				     const struct vmlat_distribution *times);

/* Whether the caller knows the interface with this index. */
typedef bool (*interface_predicate)(void *context, size_t index);

/*
 * Before the object is loaded that has these maps, whose values are maps with an entry for each
 * CPU. 0 or -errno; *collector is released with collector__close, also after a failure.
 */
int collector__open(struct collector **collector, struct bpf_map *maps, unsigned int cpus);
void collector__close(struct collector *collector);

/* Statistics are kept of this interface from now on. 0 or -errno. */
int collector__add(struct collector *collector, size_t index);

/*
 * The number of the interval that the BPF side measures, from 1. An interface where nothing was
 * measured in one goes on with the number of an earlier one.
 */
__u32 collector__interval(const struct collector *collector);

/*
 * Hands over what was measured since the last time, of all interfaces that are known: the next
 * interval begins. Of the others, and of those that `handler` adds, it stays for the next time.
 * Adds to *unkept the times that there was no room for. 0 or -errno.
 */
int collector__take(struct collector *collector, interface_predicate is_known,
		    distribution_handler handler, void *context, __u64 *unkept);

/* The same of one interface, of which none are kept any more. Its map lives on until the next take. */
int collector__remove(struct collector *collector, size_t index, distribution_handler handler,
		      void *context, __u64 *unkept);

#endif
