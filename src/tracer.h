/* SPDX-License-Identifier: GPL-2.0 */
/* The BPF object: loaded, attached, armed, read, and taken down. */
#ifndef VMLAT_TRACER_H
#define VMLAT_TRACER_H

#include <stdbool.h>

#include "config.h"
#include "devices.h"
#include "flows.h"
#include "hook.h"
#include "kernel.h"
#include "options.h"
#include "statistics.h"

struct tracer;

/* Called with each record, valid until it returns. */
typedef void (*flight_handler)(void *context, const struct vmlat_flight *flight);

/* What the trace's hooks are chosen for. */
struct hook_use tracer__use(const struct options *options, const struct devices *devices);

/*
 * Loads and attaches what the options need. A way of attaching that the kernel refuses is noted in
 * `kernel`, and the next one is tried. On failure says why and what to do, and returns an exit code;
 * else 0 and *tracer, released with tracer__close. Nothing starts before tracer__arm.
 */
int tracer__open(struct tracer **tracer, const struct options *options, struct kernel *kernel,
		 const struct devices *devices, flight_handler handler, void *context);
void tracer__close(struct tracer *tracer);

/*
 * Tells the BPF side of a device of the table that has come, is gone, or has other roles. 0 or
 * -errno. What it would need that was not there when the tracer was opened, it warns of.
 */
int tracer__set_device(struct tracer *tracer, const struct devices *devices,
		       const struct device *device);

/* A place of the table that the BPF side may give to a tap that it sees first. 0 or -errno. */
int tracer__spare(struct tracer *tracer, __u32 index);

/* Calls back for each tap that got one since the last time. Whether there was any. */
bool tracer__adopted(struct tracer *tracer,
		     void (*handler)(void *context, const struct vmlat_device *id,
				     const struct vmlat_adopted *adopted),
		     void *context);

/* The same as tracer__set_device of the tunnels. */
void tracer__set_tunnels(struct tracer *tracer, const struct tunnels *tunnels);

/* From now on packets start, and none starts any more. */
void tracer__arm(struct tracer *tracer);
void tracer__disarm(struct tracer *tracer);

/* Whatever becomes readable here ends the waiting, too. 0 or -errno. */
int tracer__watch(struct tracer *tracer, int fd);

/* Waits `timeout_ms`, or until many records wait or a signal comes. 0 or -errno. */
int tracer__wait(struct tracer *tracer, int timeout_ms);

/* Handles the records that there are; how many, and `all`, as ring__read. 0 or -errno. */
int tracer__handle(struct tracer *tracer, bool all);

/* Ends, as expired, each flight that was not seen for as long; timeout_ns 0: as in flight, all. Returns
 * how many that were: one that moved may be among them, and open still. */
size_t tracer__expire(struct tracer *tracer, __u64 timeout_ns);

/*
 * Removes what is left in the map of upcalls of flights that ended while they were up, once it is
 * VMLAT_ANSWERED_WITHIN timeouts old. Call it now and then: it looks only where the BPF side left
 * something.
 */
void tracer__forget_upcalls(struct tracer *tracer, __u64 timeout_ns);

/*
 * Adds to the statistics what was measured since the last time: another interval begins. 0 or
 * -errno.
 */
int tracer__statistics(struct tracer *tracer, const struct devices *devices,
		       struct statistics *statistics);

/* Adds the packets of each flow since the last time. With options.top only. 0 or -errno. */
int tracer__flows(struct tracer *tracer, struct flows *flows);

/* The number of the interval that is being measured, as in vmlat_flight.remarkable. */
__u32 tracer__interval(const struct tracer *tracer);

/* What the hook got on this kernel. */
const struct hook_choice *tracer__hook(const struct tracer *tracer, enum vmlat_hook hook);

/* Sums over all CPUs. 0 or -errno. */
int tracer__counters(const struct tracer *tracer, struct vmlat_counters *counters);
int tracer__traffic(const struct tracer *tracer, size_t device, int direction,
		    struct vmlat_traffic *traffic);

/* Calls back for each place of drops, with its count. */
void tracer__drops(const struct tracer *tracer,
		   void (*handler)(void *context, const struct vmlat_drop *drop, __u64 count),
		   void *context);

/* Times that a program did not run when its hook was hit; false: this kernel cannot tell. */
bool tracer__missed(const struct tracer *tracer, __u64 *missed);

/* The code addresses of a stack, innermost first, at most `room`. Returns how many. */
size_t tracer__stack(const struct tracer *tracer, __s32 id, __u64 *addresses, size_t room);

#endif
