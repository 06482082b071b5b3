// SPDX-License-Identifier: GPL-2.0
/* The flows with the most packets or bytes, for people: two lines each. */
#include "text.h"
#include "words.h"

/* Of whom it is, as far as that is known. */
static void print_tap(FILE *out, int *column, const struct device *tap)
{
	char vm[sizeof(struct printable) + 2];

	if (!tap)
		return;
	print_words(out, column, printable(tap->name, sizeof(tap->name)).text);
	if (!tap->vm[0])
		return;
	snprintf(vm, sizeof(vm), "(%s)", printable(tap->vm, sizeof(tap->vm)).text);
	print_words(out, column, vm);
}

static void print_flow(const struct report_context *context, const struct flow *flow)
{
	struct vmlat_flow headers = flow__headers(flow);
	char packets[WORD], bytes[WORD], mean[WORD], max[WORD];
	FILE *out = context->out;
	int column = fprintf(out, " ");

	print_five_tuple_words(out, &column, &headers);
	fputc('\n', out);
	column = fprintf(
		out, "  %9s %9s %5s %5s %s", count_word(flow->counted.packets, packets),
		count_word(flow->counted.bytes, bytes), duration_word(flow__mean(flow), mean),
		duration_word(flow->counted.max_ns, max), text_direction(flow->key.direction));
	print_tap(out, &column, report__tap(context, flow));
	fputc('\n', out);
}

static void print_others(FILE *out, const struct other_flows *others)
{
	int column = fprintf(out, "  others:");
	char words[64];

	snprintf(words, sizeof(words), "%llu flows,", others->flows);
	print_words(out, &column, words);
	snprintf(words, sizeof(words), "%llu packets,", others->packets);
	print_words(out, &column, words);
	snprintf(words, sizeof(words), "%llu bytes", others->bytes);
	print_words(out, &column, words);
	fputc('\n', out);
}

void text_flows(const struct report_context *context, struct flows *flows)
{
	const struct flow *sorted;
	size_t count = report__top(context, flows, &sorted);
	struct other_flows others = flows__others(flows, count);
	FILE *out = context->out;

	fprintf(out, "The flows with the most %s\n  %9s %9s %5s %5s\n",
		context->options->top_by_bytes ? "bytes" : "packets", "packets", "bytes", "mean",
		"max");
	for (size_t i = 0; i < count; i++)
		print_flow(context, &sorted[i]);
	print_others(out, &others);
}
