/* SPDX-License-Identifier: GPL-2.0 */
/* What a trace adds up to, interval by interval and as a whole. */
#ifndef VMLAT_SUMMARY_H
#define VMLAT_SUMMARY_H

#include "report.h"

struct summary {
	const struct report_context *context;
	struct tracer *tracer;
	const struct format_ops *format;
	struct statistics interval; /* that is being measured */
	struct statistics next; /* begun while that one was read */
	struct statistics whole;
	struct flows *interval_flows; /* NULL, as the other: not asked for */
	struct flows *whole_flows;
	struct accounts before; /* when the interval began */
	__u32 number; /* of the interval, as in vmlat_flight.remarkable */
	__u64 begin_ns; /* CLOCK_MONOTONIC; of the interval */
	__u64 start_ns; /* of the trace */
	__u64 written; /* packets reported so far */
	__u64 handled; /* records that the ring buffer gave */
};

/* When starts are armed. What it is given must live as long. 0 or -errno. */
int summary__begin(struct summary *summary, const struct report_context *context,
		   struct tracer *tracer, const struct format_ops *format);
void summary__end(struct summary *summary);

/* A record of a packet that is not reported, but may be an example of the statistics. 0 or -errno. */
int summary__keep(struct summary *summary, const struct vmlat_flight *flight);

/* Empties what the kernel counts flows in; call it every second with options.top. 0 or -errno. */
int summary__collect_flows(struct summary *summary);

/* Reports the interval, and begins another. 0 or -errno. */
int summary__report_interval(struct summary *summary);

/* Goes on with the interval, but empties what the kernel counts in; call it every 10 s. 0 or -errno. */
int summary__collect(struct summary *summary);

/*
 * Reports the whole trace, as statistics and accounts (which it fills, for accounts__free).
 * `all_written`: every record was meant to be reported. 0 or -errno.
 */
int summary__report_end(struct summary *summary, struct accounts *accounts, bool all_written);

#endif
