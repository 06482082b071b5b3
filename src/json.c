// SPDX-License-Identifier: GPL-2.0
/*
 * JSON lines. The packet's line is written as it goes, since there may be one for each packet;
 * the header and the end are json-c's.
 */
#include <arpa/inet.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/utsname.h>

#include "hook.h"
#include "json_add.h"
#include "report.h"
#include "utf8.h"
#include "version.h"

enum { TIME_TEXT = 40 };

static const char *format_time(const struct timespec *time, char text[TIME_TEXT])
{
	struct tm utc;
	size_t length;

	length = strftime(text, TIME_TEXT, "%FT%T", gmtime_r(&time->tv_sec, &utc));
	snprintf(text + length, TIME_TEXT - length, ".%09ldZ", time->tv_nsec);
	return text;
}

/* --- the packet's line --- */

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

static void json_packet(const struct report_context *context, const struct report *report)
{
	const struct vmlat_flight *flight = report->flight;
	struct timespec time = wall_clock(context, flight->begin_ns);
	bool dropped = flight->outcome == VMLAT_DROPPED;
	FILE *out = context->out;
	char text[TIME_TEXT];

	fprintf(out, "{\"type\":\"packet\",\"time\":\"%s\",\"direction\":\"%s\"",
		format_time(&time, text), flight->direction == VMLAT_TX ? "tx" : "rx");
	put_name(out, "vm", report->tap && report->tap->vm[0] ? report->tap->vm : NULL);
	put_name(out, "vm_interface", report->tap ? report->tap->name : NULL);
	put_name(out, "phy_interface", report->phy);
	put_name(out, "peer_vm_interface", report->peer ? report->peer->name : NULL);
	put_flow(out, &flight->flow);
	put_packet_facts(out, flight);
	put_process(out, flight);
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

/* --- the header and the end --- */

static void add_prefix(struct json_object *object, const char *key,
		       const struct vmlat_prefix *prefix)
{
	char text[INET6_ADDRSTRLEN + 16];
	int bits = 0;

	if (!prefix->family) {
		add_string(object, key, NULL);
		return;
	}
	for (int i = 0; i < 4; i++)
		bits += __builtin_popcount(prefix->mask[i]);
	inet_ntop(prefix->family == 4 ? AF_INET : AF_INET6, prefix->addr, text, sizeof(text));
	snprintf(text + strlen(text), 16, "/%d", bits);
	add_string(object, key, text);
}

static void add_ports(struct json_object *object, const char *key, const struct vmlat_ports *ports)
{
	char text[16];

	if (!ports->low && ports->high == 65535) {
		add_string(object, key, NULL);
		return;
	}
	snprintf(text, sizeof(text), "%u-%u", ports->low, ports->high);
	add_string(object, key, text);
}

static struct json_object *protocol_list(__u32 protocols)
{
	static const char *const names[] = { "tcp", "udp", "icmp" };
	struct json_object *list;

	if (!protocols)
		return NULL;
	list = json_object_new_array();
	for (int i = 0; i < 3; i++)
		if (protocols & 1U << i)
			json_object_array_add(list, json_object_new_string(names[i]));
	return list;
}

static struct json_object *selected_list(const struct devices *devices, bool taps)
{
	struct json_object *list = json_object_new_array();
	char name[64];

	for (size_t i = 0; i < devices->count; i++)
		if (devices__chosen(&devices->all[i]) && devices->all[i].tap == taps)
			json_object_array_add(
				list, json_object_new_string(utf8__clean(name, sizeof(name),
									 devices->all[i].name)));
	return list;
}

static struct json_object *filter_object(const struct report_context *context)
{
	const struct vmlat_filter *filter = &context->options->filter;
	struct json_object *object = json_object_new_object();
	static const char *const directions[] = { "", "tx", "rx", "both" };

	add_string(object, "direction", directions[context->options->devices.directions]);
	add_prefix(object, "src_ip", &filter->src);
	add_prefix(object, "dst_ip", &filter->dst);
	add_ports(object, "src_port", &filter->src_port);
	add_ports(object, "dst_port", &filter->dst_port);
	json_object_object_add(object, "protocol", protocol_list(filter->protocols));
	json_object_object_add(object, "vm_interface", selected_list(context->devices, true));
	json_object_object_add(object, "phy_interface", selected_list(context->devices, false));
	add_count(object, "latency_threshold_ns", context->options->threshold_ns);
	return object;
}

static struct json_object *hook_list(const struct tracer *tracer, bool missing)
{
	struct json_object *list = json_object_new_array();

	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const struct hook_choice *choice = tracer__hook(tracer, id);
		struct json_object *entry;

		if (!(missing ? choice->missing : choice->attach))
			continue;
		entry = json_object_new_object();
		add_string(entry, "stage", stage_name(hooks[id].stage));
		add_string(entry, "hook", hooks[id].name);
		add_string(entry, missing ? "why" : "attach",
			   missing ? choice->missing : choice->attach);
		json_object_array_add(list, entry);
	}
	return list;
}

static void json_header(const struct report_context *context, const struct timespec *start)
{
	struct json_object *object = json_object_new_object();
	struct utsname host;
	char text[TIME_TEXT];

	uname(&host);
	add_string(object, "type", "header");
	add_count(object, "schema", SCHEMA);
	add_string(object, "vmlat", VMLAT_VERSION);
	add_string(object, "kernel", host.release);
	add_string(object, "host", host.nodename);
	add_string(object, "start", format_time(start, text));
	json_object_object_add(object, "filter", filter_object(context));
	add_count(object, "sample", 1);
	json_object_object_add(object, "hooks", hook_list(context->tracer, false));
	json_object_object_add(object, "missing", hook_list(context->tracer, true));
	write_line(context->out, object);
}

struct drop_list {
	const struct report_context *context;
	struct json_object *list;
};

static void add_drop(void *argument, const struct vmlat_drop *drop, __u64 count)
{
	const struct drop_list *drops = argument;
	struct json_object *entry = json_object_new_object();

	add_string(entry, "where", drop_place(drops->context, drop->location, drop->hook));
	add_string(entry, "reason", drop_reason(drops->context, drop->has_reason, drop->reason));
	add_count(entry, "count", count);
	json_object_array_add(drops->list, entry);
}

static void add_traffic(void *list, const char *tap, int direction,
			const struct vmlat_traffic *traffic)
{
	struct json_object *entry = json_object_new_object();

	add_string(entry, "direction", direction == VMLAT_TX ? "tx" : "rx");
	add_string(entry, "vm_interface", tap);
	add_count(entry, "packets", traffic->packets);
	add_count(entry, "bytes", traffic->bytes);
	json_object_array_add(list, entry);
}

static struct json_object *packet_counts(const struct vmlat_counters *counters)
{
	struct json_object *object = json_object_new_object();

	add_count(object, "started", counters->started);
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		add_count(object, outcome_name(i), counters->outcomes[i]);
	return object;
}

static struct json_object *counts(const char *first, __u64 first_count, const char *second,
				  __u64 second_count)
{
	struct json_object *object = json_object_new_object();

	add_count(object, first, first_count);
	add_count(object, second, second_count);
	return object;
}

static void json_end(const struct report_context *context, const struct summary *summary,
		     const struct timespec *end)
{
	const struct vmlat_counters *counters = &summary->counters;
	struct json_object *object = json_object_new_object();
	struct json_object *probes = json_object_new_object();
	struct drop_list drops = { context, json_object_new_array() };
	struct json_object *traffic = json_object_new_array();
	char text[TIME_TEXT];

	tracer__drops(context->tracer, add_drop, &drops);
	report__traffic(context, add_traffic, traffic);
	json_object_object_add(probes, "missed",
			       summary->missed_known ? json_object_new_uint64(summary->missed)
						     : NULL);
	add_string(object, "type", "end");
	add_string(object, "time", format_time(end, text));
	json_object_object_add(object, "packets", packet_counts(counters));
	json_object_object_add(object, "events",
			       counts("reported", summary->written, "lost", counters->lost));
	json_object_object_add(object, "probes", probes);
	add_count(object, "not_delivered", not_delivered(counters));
	add_count(object, "unstarted", counters->unstarted);
	json_object_object_add(object, "drops", drops.list);
	json_object_object_add(object, "traffic", traffic);
	json_object_object_add(
		object, "errors",
		counts("malformed", counters->malformed, "truncated", counters->truncated));
	json_object_object_add(
		object, "lost",
		counts("stacks", counters->stacks_lost, "drop_places", counters->drops_lost));
	write_line(context->out, object);
}

const struct format_ops json_format = { json_header, json_packet, json_end };
