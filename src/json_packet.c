// SPDX-License-Identifier: GPL-2.0
/* A packet's JSON line, written as it goes, since there may be one for each packet. */
#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "hook.h"
#include "json.h"
#include "utf8.h"

const char *json_time(const struct timespec *time, char text[JSON_TIME])
{
	struct tm utc;
	size_t length;

	length = strftime(text, JSON_TIME, "%FT%T", gmtime_r(&time->tv_sec, &utc));
	snprintf(text + length, JSON_TIME - length, ".%09ldZ", time->tv_nsec);
	return text;
}

/* A JSON string of `size` bytes at most, or null. */
static void put_string(FILE *out, const char *string, size_t size)
{
	size_t length;

	if (!string) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	size = strnlen(string, size);
	for (size_t i = 0; i < size; i += length ? length : 1) {
		unsigned char c = string[i];

		length = utf8__sequence(string + i, size - i);
		if (!length)
			fputs(UTF8_REPLACEMENT, out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fwrite(string + i, 1, length, out);
	}
	fputc('"', out);
}

static void put_name(FILE *out, const char *key, const char *string)
{
	fprintf(out, ",\"%s\":", key);
	put_string(out, string, SIZE_MAX);
}

static void put_flow(FILE *out, const struct vmlat_flow *flow)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], protocol[16];

	if (!flow->family) {
		fputs(",\"flow\":null", out);
		return;
	}
	flow_address(flow, true, src, sizeof(src));
	flow_address(flow, false, dst, sizeof(dst));
	fprintf(out, ",\"flow\":{\"protocol\":\"%s\",\"src_ip\":\"%s\",",
		protocol_name(flow, true, protocol, sizeof(protocol)), src);
	if (flow->has_ports)
		fprintf(out, "\"src_port\":%u,\"dst_ip\":\"%s\",\"dst_port\":%u}", flow->src_port,
			dst, flow->dst_port);
	else
		fprintf(out, "\"src_port\":null,\"dst_ip\":\"%s\",\"dst_port\":null}", dst);
}

static void put_packet_facts(FILE *out, const struct vmlat_flight *flight)
{
	const struct vmlat_flow *flow = &flight->flow;

	fputs(",\"vlan\":[", out);
	for (int i = 0; i < flow->vlans; i++)
		fprintf(out, "%s%u", i ? "," : "", flow->vlan_tci[i] & 0xfff);
	fprintf(out, "],\"length\":%u,\"ip_id\":", flight->length);
	if (flow->family && flow->has_ip_id)
		fprintf(out, "%u", flow->ip_id);
	else
		fputs("null", out);
	fputs(",\"tcp_seq\":", out);
	if (flow->has_ports && flow->protocol == IPPROTO_TCP &&
	    flow->fragment != VMLAT_LATER_FRAGMENT)
		fprintf(out, "%u", flow->tcp_seq);
	else
		fputs("null", out);
	put_name(out, "fragment", fragment_name(flow));
}

static void put_process(FILE *out, const struct vmlat_flight *flight)
{
	if (flight->direction != VMLAT_TX) {
		fputs(",\"process\":null", out);
		return;
	}
	fprintf(out, ",\"process\":{\"pid\":%u,\"comm\":", flight->pid);
	put_string(out, flight->comm, sizeof(flight->comm));
	fputc('}', out);
}

static void put_exits(const struct report_context *context, const struct vmlat_flight *flight)
{
	FILE *out = context->out;
	char buffer[64];

	fputs(",\"exits\":[", out);
	for (int i = 0; i < flight->exits; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		fprintf(out, "%s{\"interface\":", i ? "," : "");
		put_string(out,
			   devices__name(context->devices, &exit->device, buffer, sizeof(buffer)),
			   SIZE_MAX);
		if (exit->closed)
			fprintf(out, ",\"outcome\":\"%s\",\"offset_ns\":%llu",
				outcome_name(exit->outcome), exit->ns - flight->begin_ns);
		else
			fputs(",\"outcome\":null,\"offset_ns\":null", out);
		fprintf(out, ",\"segments\":%u,\"segments_lost\":%u}", exit_segments(exit),
			exit->segments_lost);
	}
	fputc(']', out);
}

static void put_stack(const struct report_context *context, const struct vmlat_visit *visit)
{
	struct frame frames[FRAMES];
	size_t count = report__stack(context, visit, frames);
	FILE *out = context->out;

	if (!count)
		fputs("null", out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s\"%s%s0x%llx\"%s", i ? "," : "[",
			frames[i].name ? frames[i].name : "", frames[i].name ? "+" : "",
			frames[i].offset, i + 1 < count ? "" : "]");
}

static void put_stages(const struct report_context *context, const struct vmlat_flight *flight)
{
	FILE *out = context->out;

	fputs(",\"stages\":[", out);
	for (int i = 0; i < flight->visits; i++) {
		const struct vmlat_visit *visit = &flight->visit[i];
		int number = stage_number(visit->stage);

		fprintf(out, "%s{\"stage\":\"%s\",\"number\":", i ? "," : "",
			stage_name(visit->stage));
		if (number >= 0)
			fprintf(out, "%d", number);
		else
			fputs("null", out);
		fprintf(out, ",\"hook\":\"%s\",\"offset_ns\":%llu,\"cpu\":%u,\"stack\":",
			hooks[visit->hook].name, visit->ns - flight->begin_ns, visit->cpu);
		put_stack(context, visit);
		if (context->options->verbose)
			fprintf(out, ",\"skb\":\"0x%llx\"", visit->skb);
		fputc('}', out);
	}
	fputc(']', out);
}

void json_packet(const struct report_context *context, const struct report *report)
{
	const struct vmlat_flight *flight = report->flight;
	struct timespec time = wall_clock(context, flight->begin_ns);
	bool dropped = flight->outcome == VMLAT_DROPPED;
	FILE *out = context->out;
	char text[JSON_TIME];

	fprintf(out, "{\"type\":\"packet\",\"time\":\"%s\",\"direction\":\"%s\"",
		json_time(&time, text), flight->direction == VMLAT_TX ? "tx" : "rx");
	put_name(out, "vm", report->tap && report->tap->vm[0] ? report->tap->vm : NULL);
	put_name(out, "vm_interface", report->tap ? report->tap->name : NULL);
	put_name(out, "phy_interface", report->phy);
	put_name(out, "peer_vm_interface", report->peer ? report->peer->name : NULL);
	put_flow(out, &flight->flow);
	put_packet_facts(out, flight);
	put_process(out, flight);
	put_name(out, "exemplar", report->exemplar);
	put_name(out, "outcome", outcome_name(flight->outcome));
	put_name(out, "reason",
		 drop_reason(context, dropped && flight->has_reason, flight->reason));
	put_name(out, "where",
		 dropped ? drop_place(context, flight->location,
				      flight->visit[flight->visits - 1].hook)
			 : NULL);
	fprintf(out, ",\"upcall\":%s,\"batch\":%u,\"segments\":%u,\"segments_lost\":%u",
		flight->upcalled ? "true" : "false", flight->batch, flight->segments,
		flight->segments_lost);
	put_exits(context, flight);
	put_stages(context, flight);
	fprintf(out, ",\"stages_beyond\":%u,\"exits_beyond\":%u,\"total_ns\":%llu}\n",
		flight->visits_beyond, flight->exits_beyond, report->total_ns);
}
