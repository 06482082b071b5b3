/* SPDX-License-Identifier: GPL-2.0 */
/* What the reports for people share. */
#ifndef VMLAT_TEXT_H
#define VMLAT_TEXT_H

#include "report.h"

struct printable {
	char text[3 * VM_NAME];
};

/* A name of `size` bytes at most. It is not ours. */
struct printable printable(const char *name, size_t size);

/* Local time, to the microsecond. */
void print_time(FILE *out, const struct timespec *time);

/* "TX" or "RX". */
const char *text_direction(int direction);

/* Counted from the start of an interval to its end; `whole`: of the trace, when it is over. */
void print_accounts(const struct report_context *context, const struct accounts *accounts,
		    bool whole);

/* "10.0.0.2:4000 -> 10.0.0.1:80 (TCP)", "not IP". */
void print_five_tuple(FILE *out, const struct vmlat_flow *flow);

void text_flows(const struct report_context *context, struct flows *flows);
void text_statistics(const struct report_context *context, const struct interval *interval);
void text_end(const struct report_context *context, const struct accounts *accounts,
	      const struct timespec *end);

#endif
