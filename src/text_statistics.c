// SPDX-License-Identifier: GPL-2.0
/* What the completed packets add up to, for people: 80 columns, the slowest VM first. */
#include <string.h>

#include "hook.h"
#include "log.h"
#include "text.h"
#include "utf8.h"
#include "words.h"

enum {
	VM_WIDTH = 16,
	SEGMENT_WIDTH = 28,
	BAR_WIDTH = 40,
	NAME = 80, /* bytes of a segment's name */
};

static const unsigned int permilles[] = { 500, 900, 990, 999 };

/* --- numbers --- */

static void print_duration(FILE *out, __u64 ns)
{
	char text[WORD];

	fprintf(out, " %5s", duration_word(ns, text));
}

/* To the end of the line. */
static void print_bar(FILE *out, double share)
{
	int length = share > 1 ? BAR_WIDTH : (int)(share * BAR_WIDTH + 0.5);

	if (length)
		fputc(' ', out);
	while (length-- > 0)
		fputc('#', out);
	fputc('\n', out);
}

/* --- segments --- */

static const char *number_of(enum vmlat_stage stage, char text[WORD])
{
	if (stage_number(stage) < 0)
		return stage_name(stage);
	snprintf(text, WORD, "%d", stage_number(stage));
	return text;
}

static const char *stages_of(const struct segment *segment, char text[NAME])
{
	snprintf(text, NAME, "%s -> %s", stage_name(segment->from), stage_name(segment->to));
	return text;
}

/* As in a packet's report and, where the column has no room for that, the stages alone. */
static const char *segment_name(const struct segment *segment, char text[NAME])
{
	char from[WORD], to[WORD], stages[NAME];

	if (segment->total)
		return "total";
	stages_of(segment, stages);
	if (snprintf(text, NAME, "[%s->%s] %s", number_of(segment->from, from),
		     number_of(segment->to, to), stages) > SEGMENT_WIDTH)
		snprintf(text, NAME, "%s", stages);
	return text;
}

/* Its part of all that the packets took. */
static double share(const struct row *row, const struct segment *segment)
{
	const struct segment *total = row__total(row);

	return total && total->times.sum ? (double)segment->times.sum / total->times.sum : 0;
}

static void print_times(FILE *out, const struct segment *segment)
{
	const struct distribution *times = &segment->times;
	char name[NAME], count[WORD];

	fprintf(out, "  %-*s %7s", SEGMENT_WIDTH, segment_name(segment, name),
		count_word(times->count, count));
	print_duration(out, times->min);
	print_duration(out, distribution__mean(times));
	for (size_t i = 0; i < sizeof(permilles) / sizeof(*permilles); i++)
		print_duration(out, distribution__percentile(times, permilles[i]));
	print_duration(out, times->max);
	fputc('\n', out);
}

static void print_share(FILE *out, const struct row *row, const struct segment *segment)
{
	char name[NAME];

	fprintf(out, "  %-*s %5.1f %%", SEGMENT_WIDTH, segment_name(segment, name),
		100 * share(row, segment));
	print_bar(out, share(row, segment));
}

/* --- distributions --- */

/* The first octave has 0, too, and the last one what is longer. */
static unsigned int octave_of(unsigned int bucket)
{
	return 63 - __builtin_clzll(vmlat_bucket_low(bucket) | 1);
}

static void print_octave(FILE *out, unsigned int octave, __u64 count, __u64 most)
{
	char low[WORD], high[WORD];

	fprintf(out, "    %5s - %5s %10llu", octave ? duration_word(1ULL << octave, low) : "0n",
		octave < VMLAT_LAST_OCTAVE ? duration_word(2ULL << octave, high) : "", count);
	print_bar(out, (double)count / most);
}

static void print_distribution(FILE *out, const struct segment *segment)
{
	__u64 counts[VMLAT_LAST_OCTAVE + 1] = { 0 }, most = 1;
	int first = VMLAT_LAST_OCTAVE, last = 0;
	char name[NAME];

	for (unsigned int i = 0; i < VMLAT_BUCKETS; i++)
		counts[octave_of(i)] += segment->times.bucket[i];
	for (int i = 0; i <= VMLAT_LAST_OCTAVE; i++) {
		if (!counts[i])
			continue;
		first = i < first ? i : first;
		last = i;
		most = counts[i] > most ? counts[i] : most;
	}
	fprintf(out, "\n  %s\n", segment_name(segment, name));
	for (int i = first; i <= last; i++)
		print_octave(out, i, counts[i], most);
}

/* --- rows --- */

static struct printable row_name(const struct row *row)
{
	return row->vm[0] ? printable(row->vm, sizeof(row->vm))
			  : printable(row->vm_interface, sizeof(row->vm_interface));
}

static const struct segment *slowest(const struct row *row)
{
	const struct segment *slowest = NULL;

	for (size_t i = 0; i < row->count; i++)
		if (!row->segments[i].total &&
		    (!slowest || row->segments[i].times.sum > slowest->times.sum))
			slowest = &row->segments[i];
	return slowest;
}

/* A name that is too long for its column has a line. */
static void print_overview_row(FILE *out, const struct row *row)
{
	const struct distribution *times = &row__total(row)->times;
	const struct segment *longest = slowest(row);
	struct printable name = row_name(row);
	int columns = (int)utf8__columns(name.text);
	char count[WORD], stages[NAME];

	if (columns > VM_WIDTH)
		fprintf(out, "%s\n%*s", name.text, VM_WIDTH, "");
	else
		fprintf(out, "%s%*s", name.text, VM_WIDTH - columns, "");
	fprintf(out, " %s %7s", text_direction(row->direction), count_word(times->count, count));
	print_duration(out, distribution__percentile(times, 500));
	print_duration(out, distribution__percentile(times, 990));
	print_duration(out, times->max);
	if (longest)
		fprintf(out, " %s %.0f %%", stages_of(longest, stages), 100 * share(row, longest));
	fputc('\n', out);
}

static void print_overview(FILE *out, const struct statistics *by_vm)
{
	fprintf(out, "\n%-*s    %7s %5s %5s %5s %s\n", VM_WIDTH, "VM", "packets", "p50", "p99",
		"max", "slowest segment, its share");
	for (size_t i = 0; i < by_vm->count; i++)
		if (row__total(&by_vm->rows[i]))
			print_overview_row(out, &by_vm->rows[i]);
}

/* Whether the row of a tap is part of the VM's, or the same of nobody's tap. */
static bool is_part(const struct row *tap, const struct row *row)
{
	return tap->direction == row->direction && !strcmp(tap->vm, row->vm) &&
	       (row->vm[0] || !strcmp(tap->vm_interface, row->vm_interface));
}

/* The row's first part from there on; NULL: there is none. */
static const struct row *next_tap(const struct statistics *by_tap, const struct row *row, size_t at)
{
	for (; at < by_tap->count; at++)
		if (is_part(&by_tap->rows[at], row))
			return &by_tap->rows[at];
	return NULL;
}

/* The VM, direction, and the VM's taps. */
static void print_title(FILE *out, const struct row *row, const struct statistics *by_tap)
{
	struct printable name = row_name(row);
	const struct row *tap = row->vm[0] ? next_tap(by_tap, row, 0) : NULL, *next;
	int column = (int)utf8__columns(name.text) + 3 + !!tap;

	fprintf(out, "%s %s%s", name.text, text_direction(row->direction), tap ? ":" : "");
	for (; tap; tap = next) {
		char words[sizeof(struct printable) + 1];

		next = next_tap(by_tap, row, tap - by_tap->rows + 1);
		snprintf(words, sizeof(words), "%s%s",
			 printable(tap->vm_interface, IF_NAMESIZE).text, next ? "," : "");
		print_words(out, &column, words);
	}
	fputc('\n', out);
}

/* Each ends with an empty line. Returns how many there are. */
static size_t print_examples(const struct report_context *context, const struct row *row,
			     const struct statistics *by_tap)
{
	size_t count = 0;

	for (size_t i = 0; i < by_tap->count; i++) {
		if (!is_part(&by_tap->rows[i], row))
			continue;
		if (!count && report__examples(context, &by_tap->rows[i], NULL))
			fputc('\n', context->out);
		count += report__examples(context, &by_tap->rows[i], text_packet);
	}
	return count;
}

/* Returns whether it ends with an empty line. */
static bool print_row(const struct report_context *context, const struct row *row,
		      const struct statistics *by_tap)
{
	FILE *out = context->out;

	print_title(out, row, by_tap);
	fprintf(out, "  %-*s %7s %5s %5s %5s %5s %5s %5s %5s\n", SEGMENT_WIDTH, "segment", "count",
		"min", "mean", "p50", "p90", "p99", "p99.9", "max");
	for (size_t i = 0; i < row->count; i++)
		print_times(out, &row->segments[i]);
	fputs("\n  share of the total\n", out);
	for (size_t i = 0; i < row->count; i++)
		if (!row->segments[i].total)
			print_share(out, row, &row->segments[i]);
	for (size_t i = 0; i < row->count && context->options->histogram; i++)
		print_distribution(out, &row->segments[i]);
	return print_examples(context, row, by_tap);
}

/* A row may have nothing but packets of another interval. */
static bool has_times(const struct statistics *statistics)
{
	for (size_t i = 0; i < statistics->count; i++)
		if (statistics->rows[i].count)
			return true;
	return false;
}

static void print_empty_line(FILE *out, bool *is_there)
{
	if (!*is_there)
		fputc('\n', out);
	*is_there = false;
}

/* Returns whether the last one ends with an empty line. */
static bool print_rows(const struct report_context *context, const struct statistics *by_tap)
{
	struct statistics by_vm = { 0 };
	bool empty_line = false;

	if (statistics__by_vm(by_tap, &by_vm))
		log_warn("out of memory: the statistics are not complete");
	statistics__sort(&by_vm);
	if (has_times(&by_vm))
		print_overview(context->out, &by_vm);
	else
		fputs("\nNo packet completed.\n", context->out);
	for (size_t i = 0; i < by_vm.count; i++) {
		if (!by_vm.rows[i].count)
			continue;
		print_empty_line(context->out, &empty_line);
		empty_line = print_row(context, &by_vm.rows[i], by_tap);
	}
	statistics__free(&by_vm);
	return empty_line;
}

void text_statistics(const struct report_context *context, const struct interval *interval)
{
	FILE *out = context->out;
	bool empty_line;

	fprintf(out, "=== Statistics%s: ", interval->whole ? " of the whole trace" : "");
	print_time(out, &interval->end);
	fprintf(out, ", %.3f s ===\n", interval->seconds);
	if (context->options->sample > 1)
		fprintf(out, "Sample: one flow in %llu; no other is in these\n",
			context->options->sample);
	fputs("Times in n, u, m, s: nano-, micro-, milliseconds, seconds\n", out);
	empty_line = print_rows(context, interval->statistics);
	if (interval->flows) {
		print_empty_line(out, &empty_line);
		text_flows(context, interval->flows);
	}
	print_empty_line(out, &empty_line);
	if (interval->whole) /* the summary follows */
		return;
	print_accounts(context, interval->accounts, false);
	fputc('\n', out);
}
