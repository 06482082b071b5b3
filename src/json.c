// SPDX-License-Identifier: GPL-2.0
/* JSON lines, by json-c, but for the packet's. */
#include "json.h"

#include <arpa/inet.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/utsname.h>

#include "address.h"
#include "hook.h"
#include "json_add.h"
#include "utf8.h"
#include "version.h"

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
	char text[JSON_TIME];

	uname(&host);
	add_string(object, "type", "header");
	add_count(object, "schema", SCHEMA);
	add_string(object, "vmlat", VMLAT_VERSION);
	add_string(object, "kernel", host.release);
	add_string(object, "host", host.nodename);
	add_string(object, "start", json_time(start, text));
	json_object_object_add(object, "filter", filter_object(context));
	add_count(object, "sample", context->options->sample);
	json_object_object_add(object, "hooks", hook_list(context->tracer, false));
	json_object_object_add(object, "missing", hook_list(context->tracer, true));
	write_line(context->out, object);
}

/* --- what was counted --- */

static struct json_object *drop_list(const struct report_context *context,
				     const struct accounts *accounts)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < accounts->drop_count; i++) {
		const struct vmlat_drop *place = &accounts->drops[i].place;
		struct json_object *entry = json_object_new_object();

		add_string(entry, "where", drop_place(context, place->location, place->hook));
		add_string(entry, "reason", drop_reason(context, place->has_reason, place->reason));
		add_count(entry, "count", accounts->drops[i].count);
		json_object_array_add(list, entry);
	}
	return list;
}

static const char *direction_name(int direction)
{
	return direction == VMLAT_TX ? "tx" : "rx";
}

static void add_traffic(void *list, const char *tap, int direction,
			const struct vmlat_traffic *traffic)
{
	struct json_object *entry = json_object_new_object();

	add_string(entry, "direction", direction_name(direction));
	add_string(entry, "vm_interface", tap);
	add_count(entry, "packets", traffic->packets);
	add_count(entry, "bytes", traffic->bytes);
	json_object_array_add(list, entry);
}

static struct json_object *packet_counts(const struct accounts *accounts, bool end)
{
	struct json_object *object = json_object_new_object();

	add_count(object, "started", accounts->counters.started);
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		add_count(object, outcome_name(i),
			  i == VMLAT_IN_FLIGHT && !end ? accounts->in_flight
						       : accounts->counters.outcomes[i]);
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

/* Counted from the start of an interval to its end; `end`: of the whole trace, when it is over. */
static void add_accounts(const struct report_context *context, struct json_object *object,
			 const struct accounts *accounts, bool end)
{
	const struct vmlat_counters *counters = &accounts->counters;
	struct json_object *probes = json_object_new_object();
	struct json_object *traffic = json_object_new_array();
	struct json_object *lost;

	report__traffic(context, accounts, add_traffic, traffic);
	add_count(object, "sample", context->options->sample);
	json_object_object_add(probes, "missed",
			       accounts->missed_known ? json_object_new_uint64(accounts->missed)
						      : NULL);
	json_object_object_add(object, "packets", packet_counts(accounts, end));
	json_object_object_add(object, "events",
			       counts("reported", accounts->written, "lost", counters->lost));
	json_object_object_add(object, "probes", probes);
	add_count(object, "not_delivered", accounts__not_delivered(accounts));
	add_count(object, "unstarted", counters->unstarted);
	json_object_object_add(object, "drops", drop_list(context, accounts));
	json_object_object_add(object, "traffic", traffic);
	json_object_object_add(
		object, "errors",
		counts("malformed", counters->malformed, "truncated", counters->truncated));
	lost = counts("stacks", counters->stacks_lost, "drop_places", counters->drops_lost);
	add_count(lost, "statistics", counters->uncounted);
	add_count(lost, "segments", accounts->unkept);
	add_count(lost, "flows", counters->flows_lost);
	json_object_object_add(object, "lost", lost);
}

/* --- statistics --- */

static struct json_object *histogram(const struct distribution *times)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < VMLAT_BUCKETS; i++) {
		struct json_object *bucket;

		if (!times->bucket[i])
			continue;
		bucket = json_object_new_array();
		json_object_array_add(bucket, json_object_new_uint64(vmlat_bucket_low(i)));
		json_object_array_add(bucket, json_object_new_uint64(vmlat_bucket_low(i + 1) - 1));
		json_object_array_add(bucket, json_object_new_uint64(times->bucket[i]));
		json_object_array_add(list, bucket);
	}
	return list;
}

static struct json_object *segment_object(const struct report_context *context,
					  const struct row *row, const struct segment *segment)
{
	const struct distribution *times = &segment->times;
	struct json_object *object = json_object_new_object();

	add_string(object, "direction", direction_name(row->direction));
	add_string(object, "vm_interface", row->vm_interface);
	add_string(object, "vm", row->vm[0] ? row->vm : NULL);
	add_string(object, "from", segment->total ? NULL : stage_name(segment->from));
	add_string(object, "to", segment->total ? NULL : stage_name(segment->to));
	json_object_object_add(object, "total", json_object_new_boolean(segment->total));
	add_count(object, "count", times->count);
	add_count(object, "min_ns", times->min);
	add_count(object, "p50_ns", distribution__percentile(times, 500));
	add_count(object, "p90_ns", distribution__percentile(times, 900));
	add_count(object, "p99_ns", distribution__percentile(times, 990));
	add_count(object, "p999_ns", distribution__percentile(times, 999));
	add_count(object, "max_ns", times->max);
	add_count(object, "mean_ns", distribution__mean(times));
	json_object_object_add(object, "histogram",
			       context->options->histogram ? histogram(times) : NULL);
	return object;
}

/* --- flows --- */

static struct json_object *five_tuple(const struct flow *flow)
{
	struct json_object *object = json_object_new_object();
	struct vmlat_flow headers = flow__headers(flow);
	char address[INET6_ADDRSTRLEN], protocol[16];

	add_string(object, "protocol", protocol_name(&headers, true, protocol, sizeof(protocol)));
	address__text(headers.family, headers.src, address);
	add_string(object, "src_ip", address);
	json_object_object_add(object, "src_port",
			       headers.has_ports ? json_object_new_int(headers.src_port) : NULL);
	address__text(headers.family, headers.dst, address);
	add_string(object, "dst_ip", address);
	json_object_object_add(object, "dst_port",
			       headers.has_ports ? json_object_new_int(headers.dst_port) : NULL);
	return object;
}

static struct json_object *flow_object(const struct report_context *context,
				       const struct flow *flow)
{
	const struct device *tap = report__tap(context, flow);
	struct json_object *object = json_object_new_object();

	add_string(object, "direction", direction_name(flow->key.direction));
	add_string(object, "vm_interface", tap ? tap->name : NULL);
	add_string(object, "vm", tap && tap->vm[0] ? tap->vm : NULL);
	json_object_object_add(object, "flow", five_tuple(flow));
	add_count(object, "packets", flow->counted.packets);
	add_count(object, "bytes", flow->counted.bytes);
	add_count(object, "mean_ns", flow__mean(flow));
	add_count(object, "max_ns", flow->counted.max_ns);
	return object;
}

static struct json_object *top_object(const struct report_context *context, struct flows *flows)
{
	struct json_object *object, *list, *rest;
	struct other_flows others;
	const struct flow *sorted;
	size_t count;

	if (!flows)
		return NULL;
	object = json_object_new_object();
	list = json_object_new_array();
	count = report__top(context, flows, &sorted);
	for (size_t i = 0; i < count; i++)
		json_object_array_add(list, flow_object(context, &sorted[i]));
	others = flows__others(flows, count);
	rest = counts("flows", others.flows, "packets", others.packets);
	add_count(rest, "bytes", others.bytes);
	add_string(object, "by", context->options->top_by_bytes ? "bytes" : "packets");
	json_object_object_add(object, "flows", list);
	json_object_object_add(object, "others", rest);
	return object;
}

/* To the nanosecond. */
static struct json_object *seconds(double value)
{
	struct json_object *object = json_object_new_double(value);

	json_object_set_serializer(object, json_object_double_to_json_string, "%.9f", NULL);
	return object;
}

static void json_statistics(const struct report_context *context, const struct interval *interval)
{
	const struct statistics *statistics = interval->statistics;
	struct json_object *object = json_object_new_object();
	struct json_object *segments = json_object_new_array();
	char text[JSON_TIME];

	for (size_t i = 0; i < statistics->count; i++)
		for (size_t j = 0; j < statistics->rows[i].count; j++)
			json_object_array_add(segments,
					      segment_object(context, &statistics->rows[i],
							     &statistics->rows[i].segments[j]));
	add_string(object, "type", "statistics");
	add_string(object, "time", json_time(&interval->end, text));
	json_object_object_add(object, "interval_s", seconds(interval->seconds));
	json_object_object_add(object, "whole", json_object_new_boolean(interval->whole));
	json_object_object_add(object, "segments", segments);
	json_object_object_add(object, "top", top_object(context, interval->flows));
	add_accounts(context, object, interval->accounts, interval->whole);
	write_line(context->out, object);
	for (size_t i = 0; i < statistics->count; i++)
		report__examples(context, &statistics->rows[i], json_packet);
}

static void json_end(const struct report_context *context, const struct accounts *accounts,
		     const struct timespec *end)
{
	struct json_object *object = json_object_new_object();
	char text[JSON_TIME];

	add_string(object, "type", "end");
	add_string(object, "time", json_time(end, text));
	add_accounts(context, object, accounts, true);
	write_line(context->out, object);
}

const struct format_ops json_format = {
	.header = json_header,
	.packet = json_packet,
	.statistics = json_statistics,
	.end = json_end,
	.exemplars = true,
};
