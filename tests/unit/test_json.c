// SPDX-License-Identifier: GPL-2.0
#include "sample_statistics.h"

#include <ctype.h>
#include <json-c/json.h>

#include "hooks.h"
#include "utf8.h"
#include "version.h"

/* The line, parsed; it must be one line, and nothing but one object. */
static struct json_object *parsed(const char *line)
{
	struct json_tokener *tokener = json_tokener_new();
	size_t length = strcspn(line, "\n");
	struct json_object *object;

	assert_string_equal(line + length, "\n");
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, line, (int)length);
	assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
	assert_int_equal(json_tokener_get_parse_end(tokener), length);
	json_tokener_free(tokener);
	assert_true(json_object_is_type(object, json_type_object));
	return object;
}

static struct json_object *packet_of(struct sample *sample)
{
	return parsed(packet_written(sample, &json_format));
}

/* One field; it must be there, be it null. */
static struct json_object *field(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(object, key, &value))
		fail_msg("no field %s in %s", key, json_object_to_json_string(object));
	return value;
}

static void assert_string(struct json_object *object, const char *key, const char *expected)
{
	struct json_object *value = field(object, key);

	assert_true(json_object_is_type(value, json_type_string));
	assert_string_equal(json_object_get_string(value), expected);
}

static void assert_number(struct json_object *object, const char *key, __u64 expected)
{
	struct json_object *value = field(object, key);

	assert_true(json_object_is_type(value, json_type_int));
	assert_int_equal(json_object_get_uint64(value), expected);
}

static void assert_null_field(struct json_object *object, const char *key)
{
	assert_null(field(object, key));
}

/* The whole value, as JSON text without spaces. */
static void assert_json(struct json_object *object, const char *key, const char *expected)
{
	assert_string_equal(json_object_to_json_string_ext(field(object, key),
							   JSON_C_TO_STRING_PLAIN |
								   JSON_C_TO_STRING_NOSLASHESCAPE),
			    expected);
}

static void assert_keys(struct json_object *object, const char *const *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		field(object, keys[i]);
	assert_int_equal(json_object_object_length(object), count);
}

static void a_packet_has_every_field_and_no_other(void **state)
{
	static const char *const keys[] = {
		"type",
		"time",
		"direction",
		"vm",
		"vm_interface",
		"phy_interface",
		"peer_vm_interface",
		"flow",
		"vlan",
		"length",
		"ip_id",
		"tcp_seq",
		"fragment",
		"process",
		"exemplar",
		"outcome",
		"reason",
		"where",
		"upcall",
		"batch",
		"segments",
		"segments_lost",
		"exits",
		"stages",
		"stages_beyond",
		"exits_beyond",
		"total_ns",
	};
	struct sample *sample = *state;
	struct json_object *packet = packet_of(sample);

	assert_keys(packet, keys, ARRAY_SIZE(keys));
	json_object_put(packet);
	sample->flight = (struct vmlat_flight){ .visits = 1, .direction = VMLAT_RX };
	packet = packet_of(sample);
	assert_keys(packet, keys, ARRAY_SIZE(keys));
	json_object_put(packet);
}

static void a_packet_says_what_the_flight_says(void **state)
{
	struct json_object *packet = packet_of(*state);

	assert_string(packet, "type", "packet");
	assert_string(packet, "time", "2026-01-15T10:30:45.123456789Z");
	assert_string(packet, "direction", "tx");
	assert_string(packet, "vm", "web1");
	assert_string(packet, "vm_interface", "vnet0");
	assert_string(packet, "phy_interface", "eth0");
	assert_null_field(packet, "peer_vm_interface");
	assert_json(packet, "flow",
		    "{\"protocol\":\"tcp\",\"src_ip\":\"192.168.1.10\",\"src_port\":8080,"
		    "\"dst_ip\":\"192.168.1.20\",\"dst_port\":80}");
	assert_json(packet, "vlan", "[]");
	assert_number(packet, "length", 142);
	assert_number(packet, "ip_id", 4321);
	assert_number(packet, "tcp_seq", 4000000000);
	assert_json(packet, "process", "{\"pid\":1234,\"comm\":\"vhost-1201\"}");
	assert_string(packet, "outcome", "completed");
	assert_null_field(packet, "reason");
	assert_null_field(packet, "where");
	assert_json(packet, "upcall", "false");
	assert_number(packet, "batch", 3);
	assert_number(packet, "segments", 1);
	assert_number(packet, "segments_lost", 0);
	assert_null_field(packet, "fragment");
	assert_json(packet, "exits",
		    "[{\"interface\":\"eth0\",\"outcome\":\"completed\",\"offset_ns\":33958,"
		    "\"segments\":1,\"segments_lost\":0}]");
	assert_number(packet, "stages_beyond", 0);
	assert_number(packet, "exits_beyond", 0);
	assert_number(packet, "total_ns", 33958);
	json_object_put(packet);
}

static void each_packet_has_a_time_of_its_own(void **state)
{
	static const struct {
		__s64 later_ns;
		const char *time;
	} packets[] = {
		{ 0, "2026-01-15T10:30:45.123456789Z" },
		{ 1, "2026-01-15T10:30:45.123456790Z" },
		{ 876543210, "2026-01-15T10:30:45.999999999Z" },
		{ 876543211, "2026-01-15T10:30:46.000000000Z" },
		{ 1, "2026-01-15T10:30:45.123456790Z" }, /* they come as they end */
	};
	struct sample *sample = *state;

	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		struct json_object *packet;

		sample->context.clock_offset_ns = CLOCK_OFFSET_NS + packets[i].later_ns;
		packet = packet_of(sample);
		assert_string(packet, "time", packets[i].time);
		json_object_put(packet);
	}
}

static void stages_are_in_the_order_of_time(void **state)
{
	struct json_object *packet = packet_of(*state);

	assert_json(packet, "stages",
		    "[{\"stage\":\"tap\",\"number\":0,\"hook\":\"tun_sendmsg\",\"offset_ns\":0,"
		    "\"cpu\":1,\"stack\":null},"
		    "{\"stage\":\"datapath\",\"number\":2,\"hook\":\"ovs_dp_process_packet\","
		    "\"offset_ns\":12345,\"cpu\":2,\"stack\":null},"
		    "{\"stage\":\"vport\",\"number\":5,\"hook\":\"ovs_vport_send\","
		    "\"offset_ns\":28023,\"cpu\":3,\"stack\":null},"
		    "{\"stage\":\"xmit\",\"number\":6,\"hook\":\"__dev_queue_xmit\","
		    "\"offset_ns\":33146,\"cpu\":4,\"stack\":null},"
		    "{\"stage\":\"driver\",\"number\":null,\"hook\":\"net_dev_start_xmit\","
		    "\"offset_ns\":33958,\"cpu\":5,\"stack\":null}]");
	json_object_put(packet);
}

static void an_rx_packet_has_no_process(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	make_rx(&sample->flight);
	packet = packet_of(sample);
	assert_string(packet, "direction", "rx");
	assert_null_field(packet, "process");
	assert_string(packet, "vm_interface", "vnet0");
	assert_string(packet, "phy_interface", "eth0");
	json_object_put(packet);
}

static void from_vm_to_vm_there_is_a_peer(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	sample->flight.exit[0].device.ifindex = 9;
	packet = packet_of(sample);
	assert_string(packet, "vm_interface", "vnet0");
	assert_string(packet, "peer_vm_interface", "tap9");
	assert_null_field(packet, "phy_interface");
	json_object_put(packet);
}

static void what_is_unknown_is_null(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	sample->flight.start.ifindex = 9; /* whose VM nobody knows */
	sample->flight.exits = 0;
	packet = packet_of(sample);
	assert_null_field(packet, "vm");
	assert_string(packet, "vm_interface", "tap9");
	assert_null_field(packet, "phy_interface");
	assert_json(packet, "exits", "[]");
	json_object_put(packet);
	sample->flight.start.netns = OTHER_NETNS;
	packet = packet_of(sample);
	assert_null_field(packet, "vm_interface");
	json_object_put(packet);
}

static void what_is_not_ip_has_no_flow(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	/* as the parser leaves a packet that is malformed behind its IPv4 header */
	sample->flight.flow = (struct vmlat_flow){ .vlans = 2,
						   .vlan_tci = { 0xe000 | 100, 200 },
						   .protocol = IPPROTO_TCP,
						   .has_ip_id = 1 };
	packet = packet_of(sample);
	assert_null_field(packet, "flow");
	assert_json(packet, "vlan", "[100,200]");
	assert_null_field(packet, "ip_id");
	assert_null_field(packet, "tcp_seq");
	json_object_put(packet);
}

static void a_later_fragment_has_the_ports_of_its_first_and_no_sequence_number(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flow *flow = &sample->flight.flow;
	struct json_object *packet;

	flow->fragment = VMLAT_FIRST_FRAGMENT;
	packet = packet_of(sample);
	assert_string(packet, "fragment", "first");
	assert_number(packet, "tcp_seq", 4000000000);
	json_object_put(packet);
	flow->fragment = VMLAT_LATER_FRAGMENT;
	packet = packet_of(sample);
	assert_string(packet, "fragment", "later");
	assert_number(field(packet, "flow"), "dst_port", 80);
	assert_null_field(packet, "tcp_seq");
	json_object_put(packet);
}

static void a_fragment_without_its_first_has_no_ports(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	sample->flight.flow.has_ports = 0;
	sample->flight.flow.fragment = VMLAT_UNMATCHED_FRAGMENT;
	packet = packet_of(sample);
	assert_string(packet, "fragment", "unmatched");
	assert_json(packet, "flow",
		    "{\"protocol\":\"tcp\",\"src_ip\":\"192.168.1.10\",\"src_port\":null,"
		    "\"dst_ip\":\"192.168.1.20\",\"dst_port\":null}");
	assert_number(packet, "ip_id", 4321);
	assert_null_field(packet, "tcp_seq");
	json_object_put(packet);
}

static void a_packet_that_was_cut_tells_its_segments(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	sample->flight.segments = 45;
	sample->flight.segments_lost = 3;
	packet = packet_of(sample);
	assert_number(packet, "segments", 45);
	assert_number(packet, "segments_lost", 3);
	json_object_put(packet);
}

static void ipv6_has_no_id_and_udp_no_sequence_number(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flow *flow = &sample->flight.flow;
	struct json_object *packet;

	memset(flow->src, 0xff, sizeof(flow->src));
	flow->family = 6;
	flow->protocol = IPPROTO_UDP;
	flow->has_ip_id = 0;
	packet = packet_of(sample);
	assert_string(field(packet, "flow"), "src_ip", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_string(field(packet, "flow"), "protocol", "udp");
	assert_null_field(packet, "ip_id");
	assert_null_field(packet, "tcp_seq");
	json_object_put(packet);
}

static void every_outcome_has_its_name(void **state)
{
	struct sample *sample = *state;

	for (int outcome = 0; outcome < VMLAT_OUTCOME_COUNT; outcome++) {
		struct json_object *packet;

		sample->flight.outcome = outcome;
		packet = packet_of(sample);
		assert_string(packet, "outcome", outcome_name(outcome));
		json_object_put(packet);
	}
}

static void a_drop_says_where_and_why(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	sample->flight.outcome = VMLAT_DROPPED;
	sample->flight.reason = 71;
	packet = packet_of(sample);
	assert_null_field(packet, "reason");
	assert_string(packet, "where", "net_dev_start_xmit");
	json_object_put(packet);
	sample->flight.has_reason = 1;
	sample->flight.outcome = VMLAT_DIVERTED;
	packet = packet_of(sample);
	assert_null_field(packet, "reason");
	assert_null_field(packet, "where");
	json_object_put(packet);
	sample->flight.outcome = VMLAT_DROPPED;
	sample->flight.location = 0xffffffffc0300020;
	packet = packet_of(sample);
	assert_string(packet, "reason", "FULL_RING");
	assert_string(packet, "where", "tun_net_xmit");
	json_object_put(packet);
}

static void an_upcall_is_told(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	sample->flight.upcalled = 1;
	packet = packet_of(sample);
	assert_json(packet, "upcall", "true");
	json_object_put(packet);
}

static void several_exits_are_all_there(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	add_exit(&sample->flight, 3, 40000, VMLAT_DROPPED);
	add_exit(&sample->flight, 7, 0, VMLAT_COMPLETED);
	sample->flight.exit[2].closed = 0;
	sample->flight.exit[1].segments = 12;
	sample->flight.exit[1].segments_lost = 2;
	sample->flight.exits_beyond = 2;
	sample->flight.visits_beyond = 300;
	packet = packet_of(sample);
	assert_json(packet, "exits",
		    "[{\"interface\":\"eth0\",\"outcome\":\"completed\",\"offset_ns\":33958,"
		    "\"segments\":1,\"segments_lost\":0},"
		    "{\"interface\":\"eth1\",\"outcome\":\"dropped\",\"offset_ns\":40000,"
		    "\"segments\":12,\"segments_lost\":2},"
		    "{\"interface\":\"vnet1\",\"outcome\":null,\"offset_ns\":null,"
		    "\"segments\":1,\"segments_lost\":0}]");
	assert_number(packet, "exits_beyond", 2);
	assert_number(packet, "stages_beyond", 300);
	json_object_put(packet);
}

static void an_example_of_the_statistics_says_of_what(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet = packet_of(sample);
	struct report report;
	size_t size;

	assert_null_field(packet, "exemplar");
	json_object_put(packet);
	open_text(sample, &size);
	report__describe(&sample->context, &sample->flight, &report);
	report.exemplar = "max";
	json_format.packet(&sample->context, &report);
	fclose(sample->context.out);
	packet = parsed(sample->text);
	assert_string(packet, "exemplar", "max");
	json_object_put(packet);
}

static void verbose_adds_the_skb_of_each_stage(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet, *stages;

	sample->options.verbose = true;
	packet = packet_of(sample);
	stages = field(packet, "stages");
	for (size_t i = 0; i < 5; i++) {
		char skb[32];

		snprintf(skb, sizeof(skb), "0x%llx", sample->flight.visit[i].skb);
		assert_string(json_object_array_get_idx(stages, i), "skb", skb);
	}
	json_object_put(packet);
}

static void a_stack_is_a_list_of_symbols(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet, *stages;

	sample->options.stacks = true;
	sample->flight.visit[1].stack = 7;
	sample->tracer.stack[0] = 0xffffffff81000110;
	sample->tracer.stack[1] = 0xffffffff80000000;
	packet = packet_of(sample);
	stages = field(packet, "stages");
	assert_null_field(json_object_array_get_idx(stages, 0), "stack");
	assert_json(json_object_array_get_idx(stages, 1), "stack",
		    "[\"__dev_queue_xmit+0x10\",\"0xffffffff80000000\"]");
	json_object_put(packet);
}

static void odd_names_come_back_as_they_were(void **state)
{
	struct sample *sample = *state;
	struct json_object *packet;

	memcpy(sample->flight.comm, "a\"b\\c\n\t\x01\x7f}{[],:", VMLAT_COMM);
	snprintf(host_device(&sample->devices, "vnet0")->vm, VM_NAME, "%s", "</\"%s\\u0041");
	packet = packet_of(sample);
	assert_string(packet, "vm", "</\"%s\\u0041");
	assert_string(field(packet, "process"), "comm", "a\"b\\c\n\t\x01\x7f}{[],:");
	json_object_put(packet);
}

static void any_byte_in_a_name_leaves_a_valid_line(void **state)
{
	struct sample *sample = *state;

	for (int byte = 1; byte < 256; byte++) {
		struct json_object *packet;

		memset(sample->flight.comm, byte, VMLAT_COMM);
		packet = packet_of(sample);
		assert_int_equal(strstr(sample->text, UTF8_REPLACEMENT) != NULL, byte >= 0x80);
		for (const char *at = sample->text; at[1]; at++)
			assert_false(iscntrl((unsigned char)*at));
		json_object_put(packet);
	}
}

/* --- the header and the end --- */

static struct json_object *header_of(struct sample *sample)
{
	return parsed(header_written(sample, &json_format));
}

static void the_header_says_what_wrote_it_and_when(void **state)
{
	struct sample *sample = *state;
	struct json_object *header;

	sample->options.sample = 10;
	header = header_of(sample);

	assert_string(header, "type", "header");
	assert_number(header, "schema", 1);
	assert_string(header, "vmlat", VMLAT_VERSION);
	assert_string(header, "start", "2026-01-15T10:30:45.123456789Z");
	assert_number(header, "sample", 10);
	assert_true(strlen(json_object_get_string(field(header, "kernel"))) > 0);
	assert_true(strlen(json_object_get_string(field(header, "host"))) > 0);
	json_object_put(header);
}

static void the_header_has_the_filter_as_it_was_given(void **state)
{
	struct sample *sample = *state;
	struct vmlat_filter *filter = &sample->options.filter;
	struct json_object *header;

	host_device(&sample->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(&sample->devices, "vnet1")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_END;
	host_device(&sample->devices, "eth1")->roles = VMLAT_ROLE_TX_END;
	filter->src.family = 4;
	filter->src.addr[0] = htonl(0x0a000000);
	filter->src.mask[0] = htonl(0xfffffe00);
	filter->dst.family = 6;
	filter->dst_port = (struct vmlat_ports){ 53, 65535 };
	filter->protocols = VMLAT_UDP | VMLAT_ICMP;
	sample->options.devices.directions = VMLAT_TX;
	sample->options.threshold_ns = 1500;
	header = header_of(sample);
	assert_json(header, "filter",
		    "{\"direction\":\"tx\",\"src_ip\":\"10.0.0.0/23\",\"dst_ip\":\"::/0\","
		    "\"src_port\":null,\"dst_port\":\"53-65535\",\"protocol\":[\"udp\",\"icmp\"],"
		    "\"vm_interface\":[\"vnet0\"],\"phy_interface\":[\"eth1\"],"
		    "\"latency_threshold_ns\":1500}");
	json_object_put(header);
}

static void the_header_tells_each_hook_or_why_not(void **state)
{
	struct sample *sample = *state;
	struct json_object *header;

	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		sample->tracer.hooks[id].attach = "fentry";
	sample->tracer.hooks[VMLAT_HOOK_TUN_NET_XMIT] =
		(struct hook_choice){ .missing = "its module is not loaded" };
	header = header_of(sample);
	assert_int_equal(json_object_array_length(field(header, "hooks")), VMLAT_HOOK_COUNT - 1);
	assert_string_equal(
		json_object_to_json_string_ext(json_object_array_get_idx(field(header, "hooks"), 1),
					       JSON_C_TO_STRING_PLAIN),
		"{\"stage\":\"tap\",\"hook\":\"tun_get_user\",\"attach\":\"fentry\"}");
	assert_json(header, "missing",
		    "[{\"stage\":\"tap\",\"hook\":\"tun_net_xmit\",\"why\":\"its module is not "
		    "loaded\"}]");
	json_object_put(header);
}

static void a_hook_that_nobody_needs_here_is_neither_there_nor_missing(void **state)
{
	struct json_object *header = header_of(*state);

	assert_json(header, "hooks", "[]");
	assert_json(header, "missing", "[]");
	json_object_put(header);
}

/* --- statistics --- */

static void statistics_have_every_term_of_the_accounting_and_their_interval(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct json_object *line =
		parsed(statistics_written(sample, &json_format, &statistics, false));
	static const char *const keys[] = { "type",	"time",	   "interval_s",    "whole",
					    "segments", "top",	   "sample",	    "packets",
					    "events",	"probes",  "not_delivered", "unstarted",
					    "drops",	"traffic", "errors",	    "lost" };

	assert_keys(line, keys, ARRAY_SIZE(keys));
	assert_string(line, "type", "statistics");
	assert_string(line, "time", "2026-01-15T10:30:45.123456789Z");
	assert_json(line, "interval_s", "10.000400000");
	assert_json(line, "whole", "false");
	assert_json(line, "segments", "[]");
	/* what is in flight is what was found then, not at the end of the trace */
	assert_json(line, "packets",
		    "{\"started\":1000,\"completed\":11,\"dropped\":12,\"diverted\":13,"
		    "\"merged\":14,\"upcall_lost\":15,\"expired\":16,\"evicted\":17,"
		    "\"ambiguous\":18,\"in_flight\":887}");
	assert_json(
		line, "lost",
		"{\"stacks\":41,\"drop_places\":42,\"statistics\":43,\"segments\":44,\"flows\":45}");
	json_object_put(line);
	line = parsed(statistics_written(sample, &json_format, &statistics, true));
	assert_json(line, "whole", "true");
	assert_number(field(line, "packets"), "in_flight", 19);
	json_object_put(line);
}

static void a_segment_has_its_stages_and_a_total_has_none(void **state)
{
	struct sample *sample = *state;
	struct device *vnet0 = host_device(&sample->devices, "vnet0");
	struct device *tap9 = host_device(&sample->devices, "tap9");
	struct statistics statistics = { 0 };
	struct json_object *line;

	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DATAPATH, 2, 1000,
		    500);
	add_total(&statistics, tap9, VMLAT_RX, 1, 7, 0);
	line = parsed(statistics_written(sample, &json_format, &statistics, false));
	assert_json(line, "segments",
		    "[{\"direction\":\"tx\",\"vm_interface\":\"vnet0\",\"vm\":\"web1\","
		    "\"from\":\"tap\",\"to\":\"datapath\",\"total\":false,\"count\":2,"
		    "\"min_ns\":1000,\"p50_ns\":1000,\"p90_ns\":1500,\"p99_ns\":1500,"
		    "\"p999_ns\":1500,\"max_ns\":1500,\"mean_ns\":1250,\"histogram\":null},"
		    "{\"direction\":\"rx\",\"vm_interface\":\"tap9\",\"vm\":null,"
		    "\"from\":null,\"to\":null,\"total\":true,\"count\":1,"
		    "\"min_ns\":7,\"p50_ns\":7,\"p90_ns\":7,\"p99_ns\":7,"
		    "\"p999_ns\":7,\"max_ns\":7,\"mean_ns\":7,\"histogram\":null}]");
	json_object_put(line);
	statistics__free(&statistics);
}

static void a_histogram_has_the_bounds_and_the_count_of_each_bucket_in_use(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct json_object *line;

	sample->options.histogram = true;
	add_total(&statistics, host_device(&sample->devices, "vnet0"), VMLAT_TX, 3, 0, 0);
	add_total(&statistics, host_device(&sample->devices, "vnet0"), VMLAT_TX, 2, 64, 1);
	line = parsed(statistics_written(sample, &json_format, &statistics, false));
	assert_json(json_object_array_get_idx(field(line, "segments"), 0), "histogram",
		    "[[0,0,3],[64,65,2]]");
	json_object_put(line);
	statistics__free(&statistics);
}

static void flows_are_told_with_what_is_not(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct json_object *line;

	line = parsed(statistics_written(sample, &json_format, &statistics, false));
	assert_null(field(line, "top"));
	json_object_put(line);
	sample->options.top = 3;
	sample->flows = sample_flows(sample);
	line = parsed(statistics_written(sample, &json_format, &statistics, false));
	assert_json(line, "top",
		    "{\"by\":\"packets\",\"flows\":["
		    "{\"direction\":\"tx\",\"vm_interface\":\"vnet0\",\"vm\":\"web1\","
		    "\"flow\":{\"protocol\":\"udp\",\"src_ip\":\"10.0.0.2\",\"src_port\":4000,"
		    "\"dst_ip\":\"10.0.0.1\",\"dst_port\":5000},"
		    "\"packets\":12345678,\"bytes\":765432036,\"mean_ns\":9000,\"max_ns\":9001},"
		    "{\"direction\":\"rx\",\"vm_interface\":\"vnet0\",\"vm\":\"web1\","
		    "\"flow\":{\"protocol\":\"tcp\",\"src_ip\":\"fd00::1\",\"src_port\":443,"
		    "\"dst_ip\":\"fd00::2\",\"dst_port\":40000},"
		    "\"packets\":4,\"bytes\":6000,\"mean_ns\":2000,\"max_ns\":3000000},"
		    "{\"direction\":\"tx\",\"vm_interface\":\"tap9\",\"vm\":null,"
		    "\"flow\":{\"protocol\":\"icmp\",\"src_ip\":\"10.0.0.9\",\"src_port\":null,"
		    "\"dst_ip\":\"10.0.0.1\",\"dst_port\":null},"
		    "\"packets\":3,\"bytes\":294,\"mean_ns\":1,\"max_ns\":2}],"
		    "\"others\":{\"flows\":0,\"packets\":0,\"bytes\":0}}");
	json_object_put(line);
	flows__free(sample->flows);
	sample->flows = NULL;
}

static void the_end_has_every_term_of_the_accounting(void **state)
{
	struct accounts accounts = sample_accounts();
	struct json_object *end;

	end = parsed(end_written(*state, &json_format, &accounts));
	assert_string(end, "type", "end");
	assert_string(end, "time", "2026-01-15T10:30:45.123456789Z");
	assert_json(end, "packets",
		    "{\"started\":1000,\"completed\":11,\"dropped\":12,\"diverted\":13,"
		    "\"merged\":14,\"upcall_lost\":15,\"expired\":16,\"evicted\":17,"
		    "\"ambiguous\":18,\"in_flight\":19}");
	assert_json(end, "events", "{\"reported\":900,\"lost\":5}");
	assert_json(end, "probes", "{\"missed\":6}");
	assert_number(end, "not_delivered", 7);
	assert_number(end, "unstarted", 31);
	assert_json(end, "drops", "[]");
	assert_json(end, "errors", "{\"malformed\":32,\"truncated\":33}");
	assert_json(
		end, "lost",
		"{\"stacks\":41,\"drop_places\":42,\"statistics\":43,\"segments\":44,\"flows\":45}");
	json_object_put(end);
}

static void what_the_kernel_cannot_tell_is_null_in_the_end(void **state)
{
	struct accounts accounts = { 0 };
	struct json_object *end = parsed(end_written(*state, &json_format, &accounts));

	assert_json(end, "probes", "{\"missed\":null}");
	json_object_put(end);
}

static void counts_beyond_63_bits_are_kept(void **state)
{
	struct accounts accounts = { .counters.started = ~0ULL };
	struct json_object *end = parsed(end_written(*state, &json_format, &accounts));

	assert_number(field(end, "packets"), "started", ~0ULL);
	json_object_put(end);
}

static void the_end_lists_drops_and_traffic(void **state)
{
	struct sample *sample = *state;
	struct accounts accounts = { 0 };
	struct json_object *end;

	add_drops(&accounts);
	add_traffic(&accounts, sample);
	host_device(&sample->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(&sample->devices, "vnet1")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_END;
	host_device(&sample->devices, "eth0")->roles = VMLAT_ROLE_TX_END;
	sample->traffic[5][0] = (struct vmlat_traffic){ 20, 2000 };
	end = parsed(end_written(sample, &json_format, &accounts));
	assert_json(end, "drops",
		    "[{\"where\":\"tun_net_xmit\",\"reason\":\"FULL_RING\",\"count\":9},"
		    "{\"where\":\"ovs_dp_process_packet\",\"reason\":null,\"count\":3}]");
	assert_json(
		end, "traffic",
		"[{\"direction\":\"tx\",\"vm_interface\":\"vnet0\",\"packets\":20,\"bytes\":2000},"
		"{\"direction\":\"rx\",\"vm_interface\":\"vnet0\",\"packets\":0,\"bytes\":0}]");
	json_object_put(end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sample_test(a_packet_has_every_field_and_no_other),
		sample_test(a_packet_says_what_the_flight_says),
		sample_test(each_packet_has_a_time_of_its_own),
		sample_test(stages_are_in_the_order_of_time),
		sample_test(an_rx_packet_has_no_process),
		sample_test(from_vm_to_vm_there_is_a_peer),
		sample_test(what_is_unknown_is_null),
		sample_test(what_is_not_ip_has_no_flow),
		sample_test(a_later_fragment_has_the_ports_of_its_first_and_no_sequence_number),
		sample_test(a_fragment_without_its_first_has_no_ports),
		sample_test(a_packet_that_was_cut_tells_its_segments),
		sample_test(ipv6_has_no_id_and_udp_no_sequence_number),
		sample_test(every_outcome_has_its_name),
		sample_test(a_drop_says_where_and_why),
		sample_test(an_upcall_is_told),
		sample_test(several_exits_are_all_there),
		sample_test(an_example_of_the_statistics_says_of_what),
		sample_test(verbose_adds_the_skb_of_each_stage),
		sample_test(a_stack_is_a_list_of_symbols),
		sample_test(odd_names_come_back_as_they_were),
		sample_test(any_byte_in_a_name_leaves_a_valid_line),
		sample_test(the_header_says_what_wrote_it_and_when),
		sample_test(the_header_has_the_filter_as_it_was_given),
		sample_test(the_header_tells_each_hook_or_why_not),
		sample_test(a_hook_that_nobody_needs_here_is_neither_there_nor_missing),
		sample_test(statistics_have_every_term_of_the_accounting_and_their_interval),
		sample_test(flows_are_told_with_what_is_not),
		sample_test(a_segment_has_its_stages_and_a_total_has_none),
		sample_test(a_histogram_has_the_bounds_and_the_count_of_each_bucket_in_use),
		sample_test(the_end_has_every_term_of_the_accounting),
		sample_test(what_the_kernel_cannot_tell_is_null_in_the_end),
		sample_test(counts_beyond_63_bits_are_kept),
		sample_test(the_end_lists_drops_and_traffic),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
