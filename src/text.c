// SPDX-License-Identifier: GPL-2.0
/* Reports for people. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "address.h"
#include "hook.h"
#include "text.h"
#include "utf8.h"

static double us(__u64 ns)
{
	return ns / 1000.0;
}

struct printable printable(const char *name, size_t size)
{
	struct printable result = { "" };
	char copy[VM_NAME];

	snprintf(copy, sizeof(copy), "%.*s", (int)size, name);
	utf8__printable(result.text, sizeof(result.text), copy);
	return result;
}

void print_time(FILE *out, const struct timespec *time)
{
	char text[32];
	struct tm local;

	strftime(text, sizeof(text), "%F %T", localtime_r(&time->tv_sec, &local));
	fprintf(out, "%s.%06ld", text, time->tv_nsec / 1000);
}

void print_words(FILE *out, int *column, const char *words)
{
	enum { WIDTH = 80, INDENT = 3 };
	int length = 1 + (int)utf8__columns(words);

	if (*column + length > WIDTH && *column > INDENT) {
		fprintf(out, "\n%*s", INDENT, "");
		*column = INDENT;
	}
	fprintf(out, " %s", words);
	*column += length;
}

enum { ENDPOINT = INET6_ADDRSTRLEN + sizeof("[]:65535"), PROTOCOL = 16 };

/* Returns `text`. */
static const char *endpoint(const struct vmlat_flow *flow, bool source, char text[ENDPOINT])
{
	char address[INET6_ADDRSTRLEN];

	address__text(flow->family, source ? flow->src : flow->dst, address);
	if (!flow->has_ports)
		snprintf(text, ENDPOINT, "%s", address);
	else
		snprintf(text, ENDPOINT, flow->family == 6 ? "[%s]:%u" : "%s:%u", address,
			 source ? flow->src_port : flow->dst_port);
	return text;
}

void print_five_tuple(FILE *out, const struct vmlat_flow *flow)
{
	char source[ENDPOINT], destination[ENDPOINT], protocol[PROTOCOL];

	if (!flow->family)
		fputs("not IP", out);
	else
		fprintf(out, "%s -> %s (%s)", endpoint(flow, true, source),
			endpoint(flow, false, destination),
			protocol_name(flow, false, protocol, sizeof(protocol)));
}

void print_five_tuple_words(FILE *out, int *column, const struct vmlat_flow *flow)
{
	char text[ENDPOINT], protocol[PROTOCOL], words[ENDPOINT + PROTOCOL + 8];

	snprintf(words, sizeof(words), "%s ->", endpoint(flow, true, text));
	print_words(out, column, words);
	snprintf(words, sizeof(words), "%s (%s)", endpoint(flow, false, text),
		 protocol_name(flow, false, protocol, sizeof(protocol)));
	print_words(out, column, words);
}

static void print_flow(FILE *out, const struct vmlat_flow *flow)
{
	fputs("Flow: ", out);
	print_five_tuple(out, flow);
	for (int i = 0; i < flow->vlans; i++)
		fprintf(out, i ? ".%u" : " VLAN %u", flow->vlan_tci[i] & 0xfff);
	if (fragment_name(flow))
		fprintf(out, " fragment (%s)", fragment_name(flow));
	fputc('\n', out);
}

static void print_tap(FILE *out, const struct device *tap)
{
	fprintf(out, "VM Device: %s", printable(tap ? tap->name : "unknown", IF_NAMESIZE).text);
	if (tap && tap->vm[0])
		fprintf(out, " (%s)", printable(tap->vm, sizeof(tap->vm)).text);
}

/* One end and the other, in the direction of the packet. */
static void print_devices(FILE *out, const struct report *report)
{
	bool rx = report->flight->direction == VMLAT_RX;

	if (!rx || report->peer)
		print_tap(out, rx ? report->peer : report->tap);
	else
		fprintf(out, "Physical: %s", printable(report->phy, 64).text);
	fputs(" → ", out);
	if (rx || report->peer)
		print_tap(out, rx ? report->tap : report->peer);
	else
		fprintf(out, "Physical: %s",
			printable(report->phy ? report->phy : "unknown", 64).text);
	fputc('\n', out);
}

static void print_upper(FILE *out, const char *name)
{
	for (; *name; name++)
		fputc(toupper((unsigned char)*name), out);
}

static void print_stage(FILE *out, const struct vmlat_visit *visit)
{
	int number = stage_number(visit->stage);

	if (number >= 0)
		fprintf(out, "STAGE_%d", number);
	else
		print_upper(out, stage_name(visit->stage));
	fprintf(out, " (%s)", hooks[visit->hook].name);
}

const char *text_direction(int direction)
{
	return direction == VMLAT_TX ? "TX" : "RX";
}

static void print_number(FILE *out, enum vmlat_stage stage)
{
	if (stage_number(stage) >= 0)
		fprintf(out, "%d", stage_number(stage));
	else
		fputs(stage_name(stage), out);
}

static void print_latency(FILE *out, const struct vmlat_visit *from, const struct vmlat_visit *to)
{
	fputs("  [", out);
	print_number(out, from->stage);
	fputs("->", out);
	print_number(out, to->stage);
	fputs("] ", out);
	print_stage(out, from);
	fputs(" -> ", out);
	print_stage(out, to);
	fprintf(out, ": %.3f us", us(to->ns - from->ns));
	if (from->stage == VMLAT_STAGE_DATAPATH && to->stage == VMLAT_STAGE_VPORT)
		fputs(" (OVS No Upcall)", out);
	fputc('\n', out);
}

static void print_stack(const struct report_context *context, const struct vmlat_visit *visit)
{
	struct frame frames[FRAMES];
	size_t count;

	if (!context->options->stacks)
		return;
	count = report__stack(context, visit, frames);
	fprintf(context->out, "    stack at %s%s\n", hooks[visit->hook].name,
		count		     ? ""
		: visit->stack == -1 ? ": none is taken at this stage"
				     : ": could not be kept");
	for (size_t i = 0; i < count; i++)
		fprintf(context->out, "      %s%s0x%llx\n", frames[i].name ? frames[i].name : "",
			frames[i].name ? "+" : "", frames[i].offset);
}

static void print_latencies(const struct report_context *context, const struct vmlat_flight *flight)
{
	FILE *out = context->out;

	fputs("\nLatencies (us):\n", out);
	for (int i = 0; i < flight->visits; i++) {
		const struct vmlat_visit *visit = &flight->visit[i];

		if (i)
			print_latency(out, visit - 1, visit);
		if (context->options->verbose)
			fprintf(out, "    skb 0x%llx on CPU %u at %s\n", visit->skb, visit->cpu,
				hooks[visit->hook].name);
		print_stack(context, visit);
	}
	if (flight->visits_beyond)
		fprintf(out, "  %u more stages are not kept\n", flight->visits_beyond);
}

static void print_segments(FILE *out, const struct vmlat_flight *flight)
{
	if (flight->segments < 2)
		return;
	fprintf(out, "Segments: %u", flight->segments);
	if (flight->segments_lost)
		fprintf(out, ", %u lost", flight->segments_lost);
	fputc('\n', out);
}

static void print_exits(const struct report_context *context, const struct vmlat_flight *flight)
{
	if (flight->exits < 2)
		return;
	fputs("Exits:", context->out);
	for (int i = 0; i < flight->exits; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];
		char buffer[64];

		fprintf(context->out, "%s %s %s", i ? "," : "",
			printable(devices__name(context->devices, &exit->device, buffer,
						sizeof(buffer)),
				  64)
				.text,
			exit->closed ? outcome_name(exit->outcome) : "open");
		if (exit->closed)
			fprintf(context->out, " after %.3f us", us(exit->ns - flight->begin_ns));
		if (exit_segments(exit) > 1)
			fprintf(context->out, " in %u segments", exit_segments(exit));
		if (exit->segments_lost)
			fprintf(context->out, " (%u lost)", exit->segments_lost);
	}
	if (flight->exits_beyond)
		fprintf(context->out, ", %u more are not kept", flight->exits_beyond);
	fputc('\n', context->out);
}

/* Where it was last seen, and what that says of an expired packet. */
static void print_last(FILE *out, const struct vmlat_flight *flight)
{
	const struct vmlat_visit *last = &flight->visit[flight->visits - 1];

	fprintf(out, ", last seen in %s", stage_name(last->stage));
	if (flight->outcome == VMLAT_EXPIRED && last->stage == VMLAT_STAGE_UPCALL)
		fputs(": no reinjection", out);
}

static void print_outcome(const struct report_context *context, const struct report *report)
{
	const struct vmlat_flight *flight = report->flight;
	FILE *out = context->out;
	const char *reason;

	if (flight->outcome == VMLAT_COMPLETED) {
		fprintf(out, "Total Latency: %.3f us\n\n", us(report->total_ns));
		return;
	}
	switch (flight->outcome) {
	case VMLAT_DROPPED:
		reason = drop_reason(context, flight->has_reason, flight->reason);
		fprintf(out, "Dropped in %s",
			drop_place(context, flight->location,
				   flight->visit[flight->visits - 1].hook));
		if (reason)
			fprintf(out, " (%s)", reason);
		break;
	case VMLAT_DIVERTED:
		fputs("Diverted from the measured path", out);
		break;
	case VMLAT_MERGED:
		fputs("Merged into another packet", out);
		break;
	case VMLAT_UPCALL_LOST:
		fputs("Upcall lost: the kernel could not queue it", out);
		break;
	case VMLAT_EXPIRED:
		fputs("Expired", out);
		break;
	case VMLAT_EVICTED:
		fputs("Evicted: its record was pushed out", out);
		break;
	case VMLAT_AMBIGUOUS:
		fputs("Ambiguous: a packet of the same content was in flight", out);
		break;
	default:
		fputs("Still in flight", out);
	}
	fprintf(out, " after %.3f us", us(report->total_ns));
	print_last(out, flight);
	fputs("\n\n", out);
}

static void text_header(const struct report_context *context, const struct timespec *start)
{
	(void)start;
	if (context->options->sample > 1)
		fprintf(context->out, "=== Sample: one flow in %llu ===\n\n",
			context->options->sample);
}

void text_packet(const struct report_context *context, const struct report *report)
{
	const struct vmlat_flight *flight = report->flight;
	struct timespec time = wall_clock(context, flight->begin_ns);
	FILE *out = context->out;

	fputs("=== VM Network Latency Trace: ", out);
	print_time(out, &time);
	fprintf(out, " (%s) ===\n", text_direction(flight->direction));
	if (report->exemplar)
		fprintf(out, "Slowest of the interval (%s)\n", report->exemplar);
	print_flow(out, &flight->flow);
	print_devices(out, report);
	if (flight->direction == VMLAT_TX)
		fprintf(out, "Process: PID=%u COMM=%s\n", flight->pid,
			printable(flight->comm, VMLAT_COMM).text);
	print_latencies(context, flight);
	fputc('\n', out);
	print_segments(out, flight);
	print_exits(context, flight);
	print_outcome(context, report);
}

const struct format_ops text_format = {
	.header = text_header,
	.packet = text_packet,
	.statistics = text_statistics,
	.end = text_end,
	.exemplars = true,
};
