/* SPDX-License-Identifier: GPL-2.0 */
/* What a report says of a flight, and the formats that say it. */
#ifndef VMLAT_REPORT_H
#define VMLAT_REPORT_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "accounts.h"
#include "devices.h"
#include "flows.h"
#include "kernel.h"
#include "options.h"
#include "statistics.h"
#include "tracer.h"

/* Everything that a report may need beside the flight. */
struct report_context {
	FILE *out;
	const struct options *options;
	const struct kernel *kernel;
	const struct devices *devices;
	const struct tracer *tracer;
	__s64 clock_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
};

/* One flight, with the names that its numbers have on this host. Must stay where it is. */
struct report {
	const struct vmlat_flight *flight;
	const char *exemplar; /* "p99" or "max", what it is an example of; NULL: of nothing */
	const struct device *tap; /* where it left (TX) or entered (RX) the VM; NULL unknown */
	const struct device
		*peer; /* the tap of another VM of this host at the other end; or NULL */
	const char *phy; /* the NIC; NULL unknown or none */
	__u64 total_ns;
	char phy_buffer[64];
};

/* A part of a trace, or all of it, as statistics. */
struct interval {
	struct timespec end;
	double seconds;
	bool whole; /* all of the trace */
	const struct statistics *statistics; /* in the order of statistics__sort */
	struct flows *flows; /* NULL: not asked for */
	const struct accounts *accounts;
};

struct format_ops {
	void (*header)(const struct report_context *context, const struct timespec *start);
	void (*packet)(const struct report_context *context, const struct report *report);
	void (*statistics)(const struct report_context *context, const struct interval *interval);
	void (*end)(const struct report_context *context, const struct accounts *accounts,
		    const struct timespec *end);
	bool exemplars; /* it tells the slowest packets with the statistics (report__examples) */
};

extern const struct format_ops text_format, json_format, csv_format;

void report__describe(const struct report_context *context, const struct vmlat_flight *flight,
		      struct report *report);

/*
 * Tells the slowest packet of a row, and one of its p99 if that is another one, by `packet` (NULL: not
 * at all). Returns how many there are.
 */
size_t report__examples(const struct report_context *context, const struct row *row,
			void (*packet)(const struct report_context *context,
				       const struct report *report));

/* "completed", … */
const char *outcome_name(enum vmlat_outcome outcome);

/* "first", …; NULL for a packet that is whole, or that has no flow. */
const char *fragment_name(const struct vmlat_flow *flow);

bool has_tcp_seq(const struct vmlat_flow *flow);

/* The skbs that left by this exit: 1, or what the packet was cut into. */
unsigned int exit_segments(const struct vmlat_exit *exit);

/* "TCP", …; a number in `buffer` for those without a name. `lower`: "tcp". */
const char *protocol_name(const struct vmlat_flow *flow, bool lower, char *buffer, size_t size);

/* CLOCK_REALTIME of a time of a flight. */
struct timespec wall_clock(const struct report_context *context, __u64 ns);

/* The function that freed a dropped packet, or the one that saw it last. */
const char *drop_place(const struct report_context *context, __u64 location, enum vmlat_hook last);

/* The kernel's word for why, NULL when it has none. */
const char *drop_reason(const struct report_context *context, bool has_reason, __u32 reason);

/* One level of a kernel stack. */
struct frame {
	const char *name; /* of the function; NULL: it is in none that is known */
	__u64 offset; /* into the function, or the address */
};

enum { FRAMES = 127 };

/*
 * The stack at this visit, innermost first, without the frames of the tracer itself. Returns how
 * many of FRAMES there are; 0 when none was taken.
 */
size_t report__stack(const struct report_context *context, const struct vmlat_visit *visit,
		     struct frame *frames);

/* The flows of --top, at most so many: the first of flows__sorted. Returns how many. */
size_t report__top(const struct report_context *context, struct flows *flows,
		   const struct flow **sorted);

/* The tap of a flow; NULL unknown. */
const struct device *report__tap(const struct report_context *context, const struct flow *flow);

/*
 * Calls back for each selected tap and direction that is traced. What had one name, one after the
 * other, is one.
 */
void report__traffic(const struct report_context *context, const struct accounts *accounts,
		     void (*handler)(void *argument, const char *tap, int direction,
				     const struct vmlat_traffic *traffic),
		     void *argument);

#endif
