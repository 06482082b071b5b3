// SPDX-License-Identifier: GPL-2.0
/* The flows with the most packets or bytes, for people: two lines each. */
#include "text.h"
#include "words.h"

static void print_flow(const struct report_context *context, const struct flow *flow)
{
	const struct device *tap = report__tap(context, flow);
	struct vmlat_flow headers = flow__headers(flow);
	char packets[WORD], bytes[WORD], mean[WORD], max[WORD];
	FILE *out = context->out;

	fputs("  ", out);
	print_five_tuple(out, &headers);
	fprintf(out, "\n  %9s %9s %5s %5s %s", count_word(flow->counted.packets, packets),
		count_word(flow->counted.bytes, bytes), duration_word(flow__mean(flow), mean),
		duration_word(flow->counted.max_ns, max), text_direction(flow->key.direction));
	if (tap)
		fprintf(out, " %s", printable(tap->name, sizeof(tap->name)).text);
	if (tap && tap->vm[0])
		fprintf(out, " (%s)", printable(tap->vm, sizeof(tap->vm)).text);
	fputc('\n', out);
}

void text_flows(const struct report_context *context, struct flows *flows)
{
	const struct flow *sorted;
	size_t count = report__top(context, flows, &sorted);
	struct other_flows others = flows__others(flows, count);
	FILE *out = context->out;

	fprintf(out, "\nThe flows with the most %s\n  %9s %9s %5s %5s\n",
		context->options->top_by_bytes ? "bytes" : "packets", "packets", "bytes", "mean",
		"max");
	for (size_t i = 0; i < count; i++)
		print_flow(context, &sorted[i]);
	fprintf(out, "  others: %llu flows, %llu packets, %llu bytes\n", others.flows,
		others.packets, others.bytes);
}
