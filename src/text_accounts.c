// SPDX-License-Identifier: GPL-2.0
/* What was counted, for people. */
#include <string.h>

#include "text.h"

enum { WIDTH = 80, INDENT = 4 };

/* Words that are kept together, on a line of their own where this one has no room. */
static void put_words(FILE *out, int *column, const char *words)
{
	int length = (int)strlen(words);

	if (*column + 1 + length > WIDTH) {
		fprintf(out, "\n%*s", INDENT - 1, "");
		*column = INDENT - 1;
	}
	fprintf(out, " %s", words);
	*column += 1 + length;
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
	char words[64];

	if (!whole) {
		snprintf(words, sizeof(words), "%llu in flight before +", open_before(accounts));
		put_words(out, &column, words);
	}
	snprintf(words, sizeof(words), "%llu started =", accounts->counters.started);
	put_words(out, &column, words);
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++) {
		snprintf(words, sizeof(words), "%llu %s%s",
			 i == VMLAT_IN_FLIGHT ? in_flight(accounts, whole)
					      : accounts->counters.outcomes[i],
			 outcome_name(i), i + 1 < VMLAT_OUTCOME_COUNT ? " +" : "");
		put_words(out, &column, words);
	}
	fputc('\n', out);
}

static void print_drops(const struct report_context *context, const struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->drop_count; i++) {
		const struct vmlat_drop *place = &accounts->drops[i].place;
		const char *reason = drop_reason(context, place->has_reason, place->reason);

		fprintf(context->out, "  Dropped in %s%s%s%s: %llu\n",
			drop_place(context, place->location, place->hook), reason ? " (" : "",
			reason ? reason : "", reason ? ")" : "", accounts->drops[i].count);
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

	if (!traffic->packets)
		return;
	lines->any = true;
	fprintf(lines->out, "  Traffic: %s %s: %llu packets, %llu bytes\n",
		printable(tap, IF_NAMESIZE).text, text_direction(direction), traffic->packets,
		traffic->bytes);
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
		fputs("this kernel does not tell\n", out);
	fprintf(out, "  Not delivered: %llu, unstarted: %llu, malformed: %llu, truncated: %llu\n",
		accounts__not_delivered(accounts), counters->unstarted, counters->malformed,
		counters->truncated);
	fprintf(out,
		"  Lost: stacks: %llu, drop places: %llu, statistics: %llu, segments: %llu, "
		"flows: %llu\n",
		counters->stacks_lost, counters->drops_lost, counters->uncounted, accounts->unkept,
		counters->flows_lost);
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
