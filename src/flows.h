/* SPDX-License-Identifier: GPL-2.0 */
/* The flows with the most packets, or bytes. Memory is bounded; what has no place is counted. */
#ifndef VMLAT_FLOWS_H
#define VMLAT_FLOWS_H

#include <stdbool.h>
#include <stddef.h>

#include "flow_count.h"

struct flow {
	struct vmlat_flow_key key;
	struct vmlat_flow_count counted;
};

/* Flows that are not told one by one. One that was pushed out and came again is there twice. */
struct other_flows {
	__u64 flows;
	__u64 packets;
	__u64 bytes;
};

struct flows;

/*
 * For `room` flows, 2 or more. When there are more, the half with the fewest packets (`by_bytes`:
 * bytes) is pushed out. NULL: out of memory. Freed with flows__free.
 */
struct flows *flows__new(size_t room, bool by_bytes);
void flows__free(struct flows *flows);

/* Adds packets of a flow. */
void flows__add(struct flows *flows, const struct vmlat_flow_key *key,
		const struct vmlat_flow_count *counted);

/* Adds all that there is in another. */
void flows__merge(struct flows *flows, const struct flows *other);

/* As if it were new. */
void flows__clear(struct flows *flows);

/*
 * The most first; among equals by the other of packets and bytes, then by the key. Valid until the
 * next call that changes anything. Returns how many there are.
 */
size_t flows__sorted(struct flows *flows, const struct flow **sorted);

/* Those behind the first `told` of flows__sorted, and those that were pushed out. */
struct other_flows flows__others(const struct flows *flows, size_t told);

/* Nanoseconds. */
__u64 flow__mean(const struct flow *flow);

/* The five-tuple, as in a packet's record. */
struct vmlat_flow flow__headers(const struct flow *flow);

#endif
