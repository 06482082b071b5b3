/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Records out of the BPF side's ring buffer, many at a time: it wakes nobody for each, only when
 * much waits (wake_up in bpf/flights.h).
 */
#ifndef VMLAT_RING_H
#define VMLAT_RING_H

#include <stdbool.h>

#include <bpf/libbpf.h>

struct ring;

/* The map's records go to the handler. NULL: errno says why. */
struct ring *ring__open(int map, ring_buffer_sample_fn handler, void *context);
void ring__close(struct ring *ring);

/* Whatever becomes readable here ends the waiting, too. 0 or -errno. */
int ring__watch(struct ring *ring, int fd);

/* Waits `timeout_ms`, or until much waits or a signal comes; not where reading stopped early. 0 or -errno. */
int ring__wait(struct ring *ring, int timeout_ms);

/*
 * Hands over what there is. Unless `all` is asked for it stops after some 100 ms, since records may
 * come faster than they are handled, for ever. 0 or -errno.
 */
int ring__read(struct ring *ring, bool all);

#endif
