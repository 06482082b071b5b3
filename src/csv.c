// SPDX-License-Identifier: GPL-2.0
/*
 * Comma separated values, quoted by RFC 4180: a row of names, then a row for each packet or, with
 * --summary, for each segment's statistics. What is not there is an empty field.
 */
#include <stdint.h>

#include "address.h"
#include "hook.h"
#include "json.h"
#include "line.h"
#include "text.h"
#include "utf8.h"

/* In the order in which put_packet writes them; behind them each stage has one. */
#define PACKET_COLUMNS                                                                       \
	"time,direction,vm,vm_interface,phy_interface,peer_vm_interface,protocol,src_ip,"    \
	"src_port,dst_ip,dst_port,vlan,length,ip_id,tcp_seq,fragment,pid,comm,outcome,"      \
	"reason,where,upcall,batch,segments,segments_lost,exits,exits_beyond,stages_beyond," \
	"total_ns,sample"

/* The same of put_segment. */
#define SEGMENT_COLUMNS                                                                      \
	"time,interval_s,whole,direction,vm_interface,vm,from,to,total,count,min_ns,p50_ns," \
	"p90_ns,p99_ns,p999_ns,max_ns,mean_ns,sample\n"

/* --- fields, each behind a comma --- */

static void put_number(struct line *line, bool known, __u64 number)
{
	line__put_literal(line, ",");
	if (known)
		line__put_number(line, number);
}

static bool needs_quotes(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (strchr(",\"\r\n", text[i]))
			return true;
	return false;
}

/* One that is not ours, of `size` bytes at most; NULL: none. */
static void put_text(struct line *line, const char *text, size_t size)
{
	bool quoted;

	line__put_literal(line, ",");
	if (!text)
		return;
	size = strnlen(text, size);
	quoted = needs_quotes(text, size);
	if (quoted)
		line__put_literal(line, "\"");
	for (size_t i = 0, length; i < size; i += length ? length : 1) {
		length = utf8__sequence(text + i, size - i);
		if (!length)
			line__put_literal(line, UTF8_REPLACEMENT);
		else if (text[i] == '"')
			line__put_literal(line, "\"\"");
		else
			line__put(line, text + i, length);
	}
	if (quoted)
		line__put_literal(line, "\"");
}

static void put_name(struct line *line, const char *name)
{
	put_text(line, name, SIZE_MAX);
}

/* One that needs no quotes. */
static void put_word(struct line *line, const char *word)
{
	line__put_literal(line, ",");
	line__put_text(line, word);
}

static void put_truth(struct line *line, bool truth)
{
	put_word(line, truth ? "true" : "false");
}

static void put_direction(struct line *line, int direction)
{
	put_word(line, direction == VMLAT_TX ? "tx" : "rx");
}

/* --- a packet --- */

static void put_flow(struct line *line, const struct vmlat_flow *flow)
{
	char address[INET6_ADDRSTRLEN], protocol[16];

	if (!flow->family) {
		line__put_literal(line, ",,,,,");
		return;
	}
	put_word(line, protocol_name(flow, true, protocol, sizeof(protocol)));
	address__text(flow->family, flow->src, address);
	put_word(line, address);
	put_number(line, flow->has_ports, flow->src_port);
	address__text(flow->family, flow->dst, address);
	put_word(line, address);
	put_number(line, flow->has_ports, flow->dst_port);
}

static void put_packet_facts(struct line *line, const struct vmlat_flight *flight)
{
	const struct vmlat_flow *flow = &flight->flow;

	line__put_literal(line, ",");
	for (int i = 0; i < flow->vlans; i++) {
		if (i)
			line__put_literal(line, ".");
		line__put_number(line, flow->vlan_tci[i] & 0xfff);
	}
	put_number(line, true, flight->length);
	put_number(line, flow->family && flow->has_ip_id, flow->ip_id);
	put_number(line, has_tcp_seq(flow), flow->tcp_seq);
	put_name(line, fragment_name(flow));
}

static void put_process(struct line *line, const struct vmlat_flight *flight)
{
	bool tx = flight->direction == VMLAT_TX;

	put_number(line, tx, flight->pid);
	put_text(line, tx ? flight->comm : NULL, sizeof(flight->comm));
}

static void put_outcome(struct line *line, const struct report_context *context,
			const struct vmlat_flight *flight)
{
	bool dropped = flight->outcome == VMLAT_DROPPED;
	enum vmlat_hook last = flight->visit[flight->visits - 1].hook;

	put_word(line, outcome_name(flight->outcome));
	put_name(line, drop_reason(context, dropped && flight->has_reason, flight->reason));
	put_name(line, dropped ? drop_place(context, flight->location, last) : NULL);
}

/* One of another namespace has spaces in its name ("ifindex 7 of namespace 4026531840"). */
static const char *name_in_list(const struct report_context *context, const struct vmlat_exit *exit,
				char *buffer, size_t size)
{
	const char *name = devices__name(context->devices, &exit->device, buffer, size);

	for (char *c = buffer; name == buffer && (c = strchr(c, ' '));)
		*c = '_';
	return name;
}

/* "eth0:completed:33958 vnet1:dropped:40000"; outcome and offset are empty while it is open. */
static void put_exits(struct line *line, const struct report_context *context,
		      const struct vmlat_flight *flight)
{
	char list[VMLAT_EXITS * 128] = "", buffer[64];
	size_t length = 0;

	for (int i = 0; i < flight->exits; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		length += snprintf(list + length, sizeof(list) - length, "%s%s:", length ? " " : "",
				   name_in_list(context, exit, buffer, sizeof(buffer)));
		if (exit->closed)
			length += snprintf(list + length, sizeof(list) - length, "%s:%llu",
					   outcome_name(exit->outcome),
					   exit->ns - flight->begin_ns);
		else
			length += snprintf(list + length, sizeof(list) - length, ":");
	}
	put_name(line, list);
}

/* Of its first visit, each in the column of its stage. */
static void put_offsets(struct line *line, const struct vmlat_flight *flight)
{
	const struct vmlat_visit *first[VMLAT_STAGE_COUNT] = { NULL };

	for (int i = flight->visits; i-- > 0;)
		first[flight->visit[i].stage] = &flight->visit[i];
	for (int stage = 0; stage < VMLAT_STAGE_COUNT; stage++)
		put_number(line, first[stage] != NULL,
			   first[stage] ? first[stage]->ns - flight->begin_ns : 0);
}

static void put_packet(struct line *line, const struct report_context *context,
		       const struct report *report)
{
	const struct vmlat_flight *flight = report->flight;
	struct timespec time = wall_clock(context, flight->begin_ns);
	char text[JSON_TIME];

	line__put_text(line, json_time(&time, text));
	put_direction(line, flight->direction);
	put_name(line, report->tap ? report->tap->vm : NULL);
	put_name(line, report->tap ? report->tap->name : NULL);
	put_name(line, report->phy);
	put_name(line, report->peer ? report->peer->name : NULL);
	put_flow(line, &flight->flow);
	put_packet_facts(line, flight);
	put_process(line, flight);
	put_outcome(line, context, flight);
	put_truth(line, flight->upcalled);
	put_number(line, true, flight->batch);
	put_number(line, true, flight->segments);
	put_number(line, true, flight->segments_lost);
	put_exits(line, context, flight);
	put_number(line, true, flight->exits_beyond);
	put_number(line, true, flight->visits_beyond);
	put_number(line, true, report->total_ns);
	put_number(line, true, context->options->sample);
	put_offsets(line, flight);
	line__put_literal(line, "\n");
}

/* --- statistics --- */

static void put_segment(struct line *line, const struct report_context *context,
			const struct interval *interval, const struct row *row,
			const struct segment *segment)
{
	const struct distribution *times = &segment->times;
	char text[JSON_TIME];

	line__put_text(line, json_time(&interval->end, text));
	snprintf(text, sizeof(text), "%.9g", interval->seconds);
	put_word(line, text);
	put_truth(line, interval->whole);
	put_direction(line, row->direction);
	put_name(line, row->vm_interface);
	put_name(line, row->vm);
	put_name(line, segment->total ? NULL : stage_name(segment->from));
	put_name(line, segment->total ? NULL : stage_name(segment->to));
	put_truth(line, segment->total);
	put_number(line, true, times->count);
	put_number(line, true, times->min);
	put_number(line, true, distribution__percentile(times, 500));
	put_number(line, true, distribution__percentile(times, 900));
	put_number(line, true, distribution__percentile(times, 990));
	put_number(line, true, distribution__percentile(times, 999));
	put_number(line, true, times->max);
	put_number(line, true, distribution__mean(times));
	put_number(line, true, context->options->sample);
	line__put_literal(line, "\n");
}

/* --- the format --- */

/* Where there is no data goes what has no row. */
static struct report_context aside(const struct report_context *context)
{
	struct report_context aside = *context;

	aside.out = stderr;
	return aside;
}

static void csv_header(const struct report_context *context, const struct timespec *start)
{
	FILE *out = context->out;

	(void)start;
	if (context->options->summary) {
		fputs(SEGMENT_COLUMNS, out);
		return;
	}
	fputs(PACKET_COLUMNS, out);
	for (int stage = 0; stage < VMLAT_STAGE_COUNT; stage++) {
		fputs(",stage_", out);
		if (stage_number(stage) >= 0)
			fprintf(out, "%d_", stage_number(stage));
		fprintf(out, "%s_ns", stage_name(stage));
	}
	fputc('\n', out);
}

static void csv_packet(const struct report_context *context, const struct report *report)
{
	struct line line;

	line.out = context->out;
	line.length = 0;
	put_packet(&line, context, report);
	line__flush(&line);
}

/* Those of the whole trace are told at its end. */
static void put_accounts_aside(const struct report_context *aside, const struct interval *interval)
{
	char text[JSON_TIME];

	fprintf(aside->out, "=== Interval: %s, %.3f s ===\n", json_time(&interval->end, text),
		interval->seconds);
	print_accounts(aside, interval->accounts, false);
}

static void csv_statistics(const struct report_context *context, const struct interval *interval)
{
	const struct statistics *statistics = interval->statistics;
	struct report_context elsewhere = aside(context);
	struct line line;

	if (!context->options->summary) {
		if (!context->options->quiet)
			text_format.statistics(&elsewhere, interval);
		return;
	}
	line.out = context->out;
	line.length = 0;
	for (size_t i = 0; i < statistics->count; i++)
		for (size_t j = 0; j < statistics->rows[i].count; j++)
			put_segment(&line, context, interval, &statistics->rows[i],
				    &statistics->rows[i].segments[j]);
	line__flush(&line);
	if (!interval->whole && !context->options->quiet)
		put_accounts_aside(&elsewhere, interval);
}

static void csv_end(const struct report_context *context, const struct accounts *accounts,
		    const struct timespec *end)
{
	struct report_context elsewhere = aside(context);

	if (!context->options->quiet)
		text_format.end(&elsewhere, accounts, end);
}

const struct format_ops csv_format = {
	.header = csv_header,
	.packet = csv_packet,
	.statistics = csv_statistics,
	.end = csv_end,
};
