// SPDX-License-Identifier: GPL-2.0
#include "summary.h"

#include <errno.h>
#include <string.h>

enum { FLOWS = 32768 }; /* kept of an interval, and of the trace */

static __u64 now_ns(clockid_t clock, struct timespec *now)
{
	clock_gettime(clock, now);
	return now->tv_sec * 1000000000ULL + now->tv_nsec;
}

int summary__begin(struct summary *summary, const struct report_context *context,
		   struct tracer *tracer, const struct format_ops *format)
{
	const struct options *options = context->options;
	struct timespec now;

	memset(summary, 0, sizeof(*summary));
	if (options->top) {
		summary->interval_flows = flows__new(FLOWS, options->top_by_bytes);
		summary->whole_flows = flows__new(FLOWS, options->top_by_bytes);
		if (!summary->interval_flows || !summary->whole_flows)
			return -ENOMEM;
	}
	summary->context = context;
	summary->tracer = tracer;
	summary->format = format;
	summary->number = tracer__interval(tracer);
	summary->begin_ns = summary->start_ns = now_ns(CLOCK_MONOTONIC, &now);
	return accounts__take(&summary->before, tracer, context->devices);
}

void summary__end(struct summary *summary)
{
	statistics__free(&summary->interval);
	statistics__free(&summary->next);
	statistics__free(&summary->whole);
	flows__free(summary->interval_flows);
	flows__free(summary->whole_flows);
	accounts__free(&summary->before);
}

int summary__keep(struct summary *summary, const struct vmlat_flight *flight)
{
	bool early = flight->remarkable > summary->number;
	struct report report;

	summary->handled++;
	report__describe(summary->context, flight, &report);
	if (!report.tap || !flight->remarkable)
		return 0;
	return statistics__add_exemplar(early ? &summary->next : &summary->interval, report.tap,
					flight);
}

int summary__collect_flows(struct summary *summary)
{
	return summary->interval_flows ? tracer__flows(summary->tracer, summary->interval_flows)
				       : 0;
}

/* VMs may have become known since, also while examples were taken. */
static int name_vms(struct summary *summary)
{
	const struct devices *devices = summary->context->devices;
	int error = statistics__name_vms(&summary->interval, devices);

	if (!error)
		error = statistics__name_vms(&summary->next, devices);
	return error ? error : statistics__name_vms(&summary->whole, devices);
}

/*
 * Adds up what was measured, and takes the examples of it that wait in the ring buffer. Where
 * nothing was measured an example is of the next interval: only then its number is too low.
 */
static int take(struct summary *summary)
{
	int error =
		tracer__statistics(summary->tracer, summary->context->devices, &summary->interval);

	if (!error)
		error = summary__collect_flows(summary);
	if (!error)
		error = tracer__handle(summary->tracer, false);
	if (!error)
		error = name_vms(summary);
	for (size_t i = 0; i < summary->interval.count && !error; i++)
		if (!row__total(&summary->interval.rows[i]))
			error = statistics__move_exemplars(&summary->next,
							   &summary->interval.rows[i]);
	summary->number = tracer__interval(summary->tracer);
	return error;
}

static void report(struct summary *summary, struct statistics *statistics,
		   const struct accounts *accounts, bool whole)
{
	struct interval interval = { .whole = whole,
				     .statistics = statistics,
				     .flows = whole ? summary->whole_flows
						    : summary->interval_flows,
				     .accounts = accounts };
	struct timespec now;
	__u64 end_ns = now_ns(CLOCK_MONOTONIC, &now);

	interval.seconds = (end_ns - (whole ? summary->start_ns : summary->begin_ns)) / 1e9;
	now_ns(CLOCK_REALTIME, &interval.end);
	statistics__sort(statistics);
	summary->format->statistics(summary->context, &interval);
	summary->begin_ns = end_ns;
}

static __u64 count_examples(const struct summary *summary, const struct statistics *statistics)
{
	__u64 count = 0;

	for (size_t i = 0; i < statistics->count && summary->format->exemplars; i++)
		count += report__examples(summary->context, &statistics->rows[i], NULL);
	return count;
}

static int take_accounts(const struct summary *summary, struct accounts *accounts)
{
	int error = accounts__take(accounts, summary->tracer, summary->context->devices);

	accounts->written = summary->written;
	accounts->unkept = summary->whole.unkept;
	return error;
}

static int close_interval(struct summary *summary)
{
	int error = statistics__merge(&summary->whole, &summary->interval);

	if (summary->whole_flows) {
		flows__merge(summary->whole_flows, summary->interval_flows);
		flows__clear(summary->interval_flows);
	}
	statistics__free(&summary->interval);
	summary->interval = summary->next;
	memset(&summary->next, 0, sizeof(summary->next));
	return error;
}

/* What is measured next is of the same interval. */
static int go_on(struct summary *summary)
{
	int error = statistics__merge(&summary->interval, &summary->next);

	statistics__free(&summary->next);
	return error;
}

int summary__collect(struct summary *summary)
{
	int error = take(summary);

	if (error)
		return error;
	return summary->context->options->interval_ns ? go_on(summary) : close_interval(summary);
}

int summary__report_interval(struct summary *summary)
{
	struct accounts now = { 0 }, difference = { 0 };
	int error = take(summary);

	summary->written += count_examples(summary, &summary->interval);
	if (!error)
		error = take_accounts(summary, &now);
	now.unkept += summary->interval.unkept;
	if (!error)
		error = accounts__since(&difference, &now, &summary->before);
	if (!error)
		report(summary, &summary->interval, &difference, false);
	accounts__free(&difference);
	accounts__free(&summary->before);
	summary->before = now;
	return error ? error : close_interval(summary);
}

int summary__report_end(struct summary *summary, struct accounts *accounts, bool all_written)
{
	int error = take(summary);
	__u64 taken;

	if (!error)
		error = close_interval(summary);
	summary->written += count_examples(summary, &summary->whole);
	if (!error)
		error = take_accounts(summary, accounts);
	if (error)
		return error;
	taken = accounts->counters.reported;
	if (all_written) /* of what the ring buffer took, all was to be handled */
		accounts->counters.lost += taken - summary->handled;
	report(summary, &summary->whole, accounts, true);
	return 0;
}
