// SPDX-License-Identifier: GPL-2.0
/* What was counted, for people. */
#include <stdarg.h>

#include "text.h"

/* A number and what it is of, with what stands between and behind them. */
__attribute__((format(printf, 3, 4))) static void print_count(FILE *out, int *column,
							      const char *format, ...)
{
	va_list arguments;
	char words[512]; /* a function of the kernel may have a long name */

	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	print_words(out, column, words);
}

static __u64 in_flight(const struct accounts *accounts, bool whole)
{
	return whole ? accounts->counters.outcomes[VMLAT_IN_FLIGHT] : accounts->in_flight;
}

/* What was open when the interval began. */
static __u64 open_before(const struct accounts *accounts)
{
	__u64 sum = accounts->in_flight - accounts->counters.started;

	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		if (i != VMLAT_IN_FLIGHT)
			sum += accounts->counters.outcomes[i];
	return sum;
}

static void print_equation(FILE *out, const struct accounts *accounts, bool whole)
{
	int column = fprintf(out, "  Packets:");

	if (!whole)
		print_count(out, &column, "%llu in flight before +", open_before(accounts));
	print_count(out, &column, "%llu started =", accounts->counters.started);
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		print_count(out, &column, "%llu %s%s",
			    i == VMLAT_IN_FLIGHT ? in_flight(accounts, whole)
						 : accounts->counters.outcomes[i],
			    outcome_name(i), i + 1 < VMLAT_OUTCOME_COUNT ? " +" : "");
	fputc('\n', out);
}

static void print_drops(const struct report_context *context, const struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->drop_count; i++) {
		const struct vmlat_drop *place = &accounts->drops[i].place;
		const char *reason = drop_reason(context, place->has_reason, place->reason);
		const char *function = drop_place(context, place->location, place->hook);
		int column = fprintf(context->out, "  Dropped in");

		print_count(context->out, &column, "%s%s", function, reason ? "" : ":");
		if (reason)
			print_count(context->out, &column, "(%s):", reason);
		print_count(context->out, &column, "%llu", accounts->drops[i].count);
		fputc('\n', context->out);
	}
	if (!accounts->drop_count)
		fputs("  Dropped: none\n", context->out);
}

struct traffic_lines {
	FILE *out;
	bool any;
};

static void print_traffic(void *argument, const char *tap, int direction,
			  const struct vmlat_traffic *traffic)
{
	struct traffic_lines *lines = argument;
	int column;

	if (!traffic->packets)
		return;
	lines->any = true;
	column = fprintf(lines->out, "  Traffic:");
	print_count(lines->out, &column, "%s", printable(tap, IF_NAMESIZE).text);
	print_count(lines->out, &column, "%s:", text_direction(direction));
	print_count(lines->out, &column, "%llu packets,", traffic->packets);
	print_count(lines->out, &column, "%llu bytes", traffic->bytes);
	fputc('\n', lines->out);
}

static void print_odd(FILE *out, const struct accounts *accounts)
{
	const struct vmlat_counters *counters = &accounts->counters;
	int column = fprintf(out, " ");

	print_count(out, &column, "Not delivered: %llu,", accounts__not_delivered(accounts));
	print_count(out, &column, "unstarted: %llu,", counters->unstarted);
	print_count(out, &column, "malformed: %llu,", counters->malformed);
	print_count(out, &column, "truncated: %llu", counters->truncated);
	fputc('\n', out);
}

static void print_lost(FILE *out, const struct accounts *accounts)
{
	const struct vmlat_counters *counters = &accounts->counters;
	int column = fprintf(out, "  Lost:");

	print_count(out, &column, "stacks: %llu,", counters->stacks_lost);
	print_count(out, &column, "drop places: %llu,", counters->drops_lost);
	print_count(out, &column, "statistics: %llu,", counters->uncounted);
	print_count(out, &column, "segments: %llu,", accounts->unkept);
	print_count(out, &column, "flows: %llu", counters->flows_lost);
	fputc('\n', out);
}

void print_accounts(const struct report_context *context, const struct accounts *accounts,
		    bool whole)
{
	const struct vmlat_counters *counters = &accounts->counters;
	struct traffic_lines lines = { .out = context->out };
	FILE *out = context->out;

	if (context->options->sample > 1)
		fprintf(out, "  Sample: one flow in %llu; no other is in these counts\n",
			context->options->sample);
	print_equation(out, accounts, whole);
	fprintf(out, "  Reports: %llu written, %llu lost\n", accounts->written, counters->lost);
	fputs("  Probes missed: ", out);
	if (accounts->missed_known)
		fprintf(out, "%llu\n", accounts->missed);
	else
		fputs("not known (of kprobes, and before kernel 5.12)\n", out);
	print_odd(out, accounts);
	print_lost(out, accounts);
	print_drops(context, accounts);
	report__traffic(context, accounts, print_traffic, &lines);
	if (!lines.any)
		fputs("  Traffic: none\n", out);
}

void text_end(const struct report_context *context, const struct accounts *accounts,
	      const struct timespec *end)
{
	fputs("=== Summary: ", context->out);
	print_time(context->out, end);
	fputs(" ===\n", context->out);
	print_accounts(context, accounts, true);
}
