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

/*
 * Words that are kept together, behind a space: on the line that has so many columns, or, where 80
 * have no room for them, on the next one. Words that are longer than a line are not cut.
 */
void print_words(FILE *out, int *column, const char *words);

/* "10.0.0.2:4000 -> 10.0.0.1:80 (TCP)", "not IP". */
void print_five_tuple(FILE *out, const struct vmlat_flow *flow);

/* The same as words. */
void print_five_tuple_words(FILE *out, int *column, const struct vmlat_flow *flow);

void text_packet(const struct report_context *context, const struct report *report);
void text_flows(const struct report_context *context, struct flows *flows);
void text_statistics(const struct report_context *context, const struct interval *interval);
void text_end(const struct report_context *context, const struct accounts *accounts,
	      const struct timespec *end);

#endif
