// SPDX-License-Identifier: GPL-2.0
/* A packet's JSON line, written as it goes, since there may be one for each packet. */
#include <stdint.h>

#include "address.h"
#include "hook.h"
#include "json.h"
#include "line.h"

/* Packets come many to a second, whose text is kept. */
const char *json_time(const struct timespec *time, char text[JSON_TIME])
{
	static char seconds[JSON_TIME];
	static size_t length;
	static time_t written;
	long ns = time->tv_nsec;
	struct tm utc;

	if (!length || written != time->tv_sec)
		length = strftime(seconds, sizeof(seconds), "%FT%T", gmtime_r(&time->tv_sec, &utc));
	written = time->tv_sec;
	memcpy(text, seconds, length);
	text[length] = '.';
	for (size_t at = length + 8; at > length; at -= 2, ns /= 100)
		memcpy(text + at, line__pairs + 2 * (ns % 100), 2);
	text[length + 1] = (char)('0' + ns);
	memcpy(text + length + 10, "Z", 2);
	return text;
}

static void put_null_or_number(struct line *line, bool known, __u32 number)
{
	if (known)
		line__put_number(line, number);
	else
		line__put_literal(line, "null");
}

/* Of names that need no escapes, or null. */
static void put_known_name(struct line *line, const char *name)
{
	if (!name) {
		line__put_literal(line, "null");
		return;
	}
	line__put_literal(line, "\"");
	line__put_text(line, name);
	line__put_literal(line, "\"");
}

static void put_address(struct line *line, const struct vmlat_flow *flow, const __be32 *address)
{
	char text[INET6_ADDRSTRLEN];

	line__put(line, text, address__text(flow->family, address, text));
}

static void put_flow(struct line *line, const struct vmlat_flow *flow)
{
	char protocol[16];

	if (!flow->family) {
		line__put_literal(line, ",\"flow\":null");
		return;
	}
	line__put_literal(line, ",\"flow\":{\"protocol\":\"");
	line__put_text(line, protocol_name(flow, true, protocol, sizeof(protocol)));
	line__put_literal(line, "\",\"src_ip\":\"");
	put_address(line, flow, flow->src);
	line__put_literal(line, "\",\"src_port\":");
	put_null_or_number(line, flow->has_ports, flow->src_port);
	line__put_literal(line, ",\"dst_ip\":\"");
	put_address(line, flow, flow->dst);
	line__put_literal(line, "\",\"dst_port\":");
	put_null_or_number(line, flow->has_ports, flow->dst_port);
	line__put_literal(line, "}");
}

static void put_packet_facts(struct line *line, const struct vmlat_flight *flight)
{
	const struct vmlat_flow *flow = &flight->flow;

	line__put_literal(line, ",\"vlan\":[");
	for (int i = 0; i < flow->vlans; i++) {
		if (i)
			line__put_literal(line, ",");
		line__put_number(line, flow->vlan_tci[i] & 0xfff);
	}
	line__put_literal(line, "],\"length\":");
	line__put_number(line, flight->length);
	line__put_literal(line, ",\"ip_id\":");
	put_null_or_number(line, flow->family && flow->has_ip_id, flow->ip_id);
	line__put_literal(line, ",\"tcp_seq\":");
	put_null_or_number(line, has_tcp_seq(flow), flow->tcp_seq);
	line__put_literal(line, ",\"fragment\":");
	put_known_name(line, fragment_name(flow));
}

static void put_process(struct line *line, const struct vmlat_flight *flight)
{
	if (flight->direction != VMLAT_TX) {
		line__put_literal(line, ",\"process\":null");
		return;
	}
	line__put_literal(line, ",\"process\":{\"pid\":");
	line__put_number(line, flight->pid);
	line__put_literal(line, ",\"comm\":");
	line__put_json(line, flight->comm, sizeof(flight->comm));
	line__put_literal(line, "}");
}

static void put_exit(struct line *line, const struct report_context *context,
		     const struct vmlat_exit *exit, __u64 begin_ns)
{
	char buffer[64];

	line__put_literal(line, "{\"interface\":");
	line__put_json(line, devices__name(context->devices, &exit->device, buffer, sizeof(buffer)),
		       SIZE_MAX);
	line__put_literal(line, ",\"outcome\":");
	if (exit->closed) {
		put_known_name(line, outcome_name(exit->outcome));
		line__put_literal(line, ",\"offset_ns\":");
		line__put_number(line, exit->ns - begin_ns);
	} else {
		line__put_literal(line, "null,\"offset_ns\":null");
	}
	line__put_literal(line, ",\"segments\":");
	line__put_number(line, exit_segments(exit));
	line__put_literal(line, ",\"segments_lost\":");
	line__put_number(line, exit->segments_lost);
	line__put_literal(line, "}");
}

static void put_exits(struct line *line, const struct report_context *context,
		      const struct vmlat_flight *flight)
{
	line__put_literal(line, ",\"exits\":[");
	for (int i = 0; i < flight->exits; i++) {
		if (i)
			line__put_literal(line, ",");
		put_exit(line, context, &flight->exit[i], flight->begin_ns);
	}
	line__put_literal(line, "]");
}

static void put_hex(struct line *line, __u64 number)
{
	char text[32];

	line__put(line, text, snprintf(text, sizeof(text), "0x%llx", number));
}

static void put_stack(struct line *line, const struct report_context *context,
		      const struct vmlat_visit *visit)
{
	struct frame frames[FRAMES];
	size_t count = report__stack(context, visit, frames);

	if (!count)
		line__put_literal(line, "null");
	for (size_t i = 0; i < count; i++) {
		line__put(line, &",["[!i], 1);
		line__put_literal(line, "\"");
		if (frames[i].name) {
			line__put_text(line, frames[i].name);
			line__put_literal(line, "+");
		}
		put_hex(line, frames[i].offset);
		line__put_literal(line, "\"");
	}
	if (count)
		line__put_literal(line, "]");
}

/* A stage, or a hook, with what stands around it. */
struct words {
	const char *text;
	size_t length;
};

static void put_visit(struct line *line, const struct report_context *context,
		      const struct vmlat_visit *visit, __u64 begin_ns)
{
#define STAGE(name, number) "{\"stage\":\"" name "\",\"number\":" number
	static const struct words stages[] = {
#define X(id, number, name)                                          \
	{ (number) < 0 ? STAGE(name, "null") : STAGE(name, #number), \
	  ((number) < 0 ? sizeof(STAGE(name, "null")) : sizeof(STAGE(name, #number))) - 1 },
		VMLAT_STAGES(X)
#undef X
	};
	static const struct words hook_names[] = {
#define HOOK(name)					   ",\"hook\":\"" #name "\",\"offset_ns\":"
#define X(id, stage, directions, kind, need, module, name) { HOOK(name), sizeof(HOOK(name)) - 1 },
		VMLAT_HOOKS(X)
#undef X
	};

	line__put(line, stages[visit->stage].text, stages[visit->stage].length);
	line__put(line, hook_names[visit->hook].text, hook_names[visit->hook].length);
	line__put_number(line, visit->ns - begin_ns);
	line__put_literal(line, ",\"cpu\":");
	line__put_number(line, visit->cpu);
	line__put_literal(line, ",\"stack\":");
	if (context->options->stacks)
		put_stack(line, context, visit);
	else
		line__put_literal(line, "null");
	if (context->options->verbose) {
		line__put_literal(line, ",\"skb\":\"");
		put_hex(line, visit->skb);
		line__put_literal(line, "\"");
	}
	line__put_literal(line, "}");
}

static void put_stages(struct line *line, const struct report_context *context,
		       const struct vmlat_flight *flight)
{
	line__put_literal(line, ",\"stages\":[");
	for (int i = 0; i < flight->visits; i++) {
		if (i)
			line__put_literal(line, ",");
		put_visit(line, context, &flight->visit[i], flight->begin_ns);
	}
	line__put_literal(line, "]");
}

static void put_ends(struct line *line, const struct report *report)
{
	const struct device *tap = report->tap, *peer = report->peer;

	line__put_literal(line, ",\"vm\":");
	line__put_json(line, tap && tap->vm[0] ? tap->vm : NULL, SIZE_MAX);
	line__put_literal(line, ",\"vm_interface\":");
	line__put_json(line, tap ? tap->name : NULL, SIZE_MAX);
	line__put_literal(line, ",\"phy_interface\":");
	line__put_json(line, report->phy, SIZE_MAX);
	line__put_literal(line, ",\"peer_vm_interface\":");
	line__put_json(line, peer ? peer->name : NULL, SIZE_MAX);
}

static void put_outcome(struct line *line, const struct report_context *context,
			const struct vmlat_flight *flight)
{
	bool dropped = flight->outcome == VMLAT_DROPPED;

	line__put_literal(line, ",\"outcome\":");
	put_known_name(line, outcome_name(flight->outcome));
	line__put_literal(line, ",\"reason\":");
	line__put_json(line, drop_reason(context, dropped && flight->has_reason, flight->reason),
		       SIZE_MAX);
	line__put_literal(line, ",\"where\":");
	line__put_json(line,
		       dropped ? drop_place(context, flight->location,
					    flight->visit[flight->visits - 1].hook)
			       : NULL,
		       SIZE_MAX);
}

static void put_counts(struct line *line, const struct vmlat_flight *flight)
{
	line__put_literal(line, ",\"upcall\":");
	line__put_text(line, flight->upcalled ? "true" : "false");
	line__put_literal(line, ",\"batch\":");
	line__put_number(line, flight->batch);
	line__put_literal(line, ",\"segments\":");
	line__put_number(line, flight->segments);
	line__put_literal(line, ",\"segments_lost\":");
	line__put_number(line, flight->segments_lost);
}

static void put_rest(struct line *line, const struct report *report)
{
	line__put_literal(line, ",\"stages_beyond\":");
	line__put_number(line, report->flight->visits_beyond);
	line__put_literal(line, ",\"exits_beyond\":");
	line__put_number(line, report->flight->exits_beyond);
	line__put_literal(line, ",\"total_ns\":");
	line__put_number(line, report->total_ns);
	line__put_literal(line, "}\n");
}

void json_packet(const struct report_context *context, const struct report *report)
{
	const struct vmlat_flight *flight = report->flight;
	struct timespec time = wall_clock(context, flight->begin_ns);
	char text[JSON_TIME];
	struct line line;

	line.out = context->out;
	line.length = 0;
	line__put_literal(&line, "{\"type\":\"packet\",\"time\":\"");
	line__put_text(&line, json_time(&time, text));
	line__put_literal(&line, "\",\"direction\":\"");
	line__put_text(&line, flight->direction == VMLAT_TX ? "tx\"" : "rx\"");
	put_ends(&line, report);
	put_flow(&line, &flight->flow);
	put_packet_facts(&line, flight);
	put_process(&line, flight);
	line__put_literal(&line, ",\"exemplar\":");
	put_known_name(&line, report->exemplar);
	put_outcome(&line, context, flight);
	put_counts(&line, flight);
	put_exits(&line, context, flight);
	put_stages(&line, context, flight);
	put_rest(&line, report);
	line__flush(&line);
}
