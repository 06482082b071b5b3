// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "written.h"

#include "hooks.h"

static const char *text_of(struct sample *sample)
{
	return packet_written(sample, &text_format);
}

/* The line of the report that begins so, without its newline. */
static void assert_line(struct sample *sample, const char *begin, const char *expected)
{
	char line[512] = "";

	for (const char *at = text_of(sample); *at; at += strcspn(at, "\n") + 1)
		if (!strncmp(at, begin, strlen(begin))) {
			snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
			break;
		}
	assert_string_equal(line, expected);
}

static void assert_no_line(struct sample *sample, const char *begin)
{
	char text[64];

	snprintf(text, sizeof(text), "\n%s", begin);
	assert_null(strstr(text_of(sample), text));
}

static void the_report_is_that_of_the_manual(void **state)
{
	assert_string_equal(
		text_of(*state),
		"=== VM Network Latency Trace: 2026-01-15 10:30:45.123456 (TX) ===\n"
		"Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP)\n"
		"VM Device: vnet0 (web1) → Physical: eth0\n"
		"Process: PID=1234 COMM=vhost-1201\n"
		"\n"
		"Latencies (us):\n"
		"  [0->2] STAGE_0 (tun_sendmsg) -> STAGE_2 (ovs_dp_process_packet): 12.345 us\n"
		"  [2->5] STAGE_2 (ovs_dp_process_packet) -> STAGE_5 (ovs_vport_send): 15.678 us "
		"(OVS No Upcall)\n"
		"  [5->6] STAGE_5 (ovs_vport_send) -> STAGE_6 (__dev_queue_xmit): 5.123 us\n"
		"  [6->driver] STAGE_6 (__dev_queue_xmit) -> DRIVER (net_dev_start_xmit): 0.812 us\n"
		"\n"
		"Total Latency: 33.958 us\n"
		"\n");
}

static void an_rx_report_goes_from_the_nic_to_the_tap_and_has_no_process(void **state)
{
	struct sample *sample = *state;

	make_rx(&sample->flight);
	assert_string_equal(
		text_of(sample),
		"=== VM Network Latency Trace: 2026-01-15 10:30:45.123456 (RX) ===\n"
		"Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP)\n"
		"Physical: eth0 → VM Device: vnet0 (web1)\n"
		"\n"
		"Latencies (us):\n"
		"  [0->1] STAGE_0 (netif_receive_skb) -> STAGE_1 (netdev_frame_hook): 0.500 us\n"
		"  [1->6] STAGE_1 (netdev_frame_hook) -> STAGE_6 (tun_net_xmit): 1.000 us\n"
		"\n"
		"Total Latency: 1.500 us\n"
		"\n");
}

static void an_upcall_has_its_segments_and_is_not_called_none(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flight *flight = &sample->flight;

	flight->visits = 2;
	add_visit(flight, VMLAT_STAGE_UPCALL, VMLAT_HOOK_OVS_DP_UPCALL, 20000);
	add_visit(flight, VMLAT_STAGE_REINJECT, VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE, 2020000);
	add_visit(flight, VMLAT_STAGE_VPORT, VMLAT_HOOK_OVS_VPORT_SEND, 2020001);
	assert_line(
		sample, "  [2->3]",
		"  [2->3] STAGE_2 (ovs_dp_process_packet) -> STAGE_3 (ovs_dp_upcall): 7.655 us");
	assert_line(sample, "  [3->4]",
		    "  [3->4] STAGE_3 (ovs_dp_upcall) -> STAGE_4 "
		    "(ovs_flow_key_extract_userspace): 2000.000 us");
	assert_line(sample, "  [4->5]",
		    "  [4->5] STAGE_4 (ovs_flow_key_extract_userspace) -> STAGE_5 "
		    "(ovs_vport_send): 0.001 us");
	assert_null(strstr(sample->text, "No Upcall"));
}

static void ipv6_addresses_with_ports_stand_in_brackets(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flow *flow = &sample->flight.flow;

	flow->family = 6;
	flow->src[0] = htonl(0x20010db8);
	flow->src[3] = htonl(1);
	flow->dst[0] = htonl(0xfe800000);
	flow->dst[3] = htonl(2);
	assert_line(sample, "Flow:", "Flow: [2001:db8::1]:8080 -> [fe80::2]:80 (TCP)");
	flow->has_ports = 0;
	flow->protocol = IPPROTO_ICMPV6;
	assert_line(sample, "Flow:", "Flow: 2001:db8::1 -> fe80::2 (ICMP)");
}

static void what_has_no_ports_shows_none(void **state)
{
	struct sample *sample = *state;

	sample->flight.flow.has_ports = 0;
	sample->flight.flow.protocol = 47;
	assert_line(sample, "Flow:", "Flow: 192.168.1.10 -> 192.168.1.20 (47)");
}

static void vlan_tags_stand_after_the_flow_by_number(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flow *flow = &sample->flight.flow;

	flow->vlans = 1;
	flow->vlan_tci[0] = 0xe000 | 100; /* of priority 7 */
	flow->vlan_tci[1] = 200;
	assert_line(sample, "Flow:", "Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP) VLAN 100");
	flow->vlans = 2;
	assert_line(sample,
		    "Flow:", "Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP) VLAN 100.200");
}

static void a_fragment_says_which(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flow *flow = &sample->flight.flow;

	flow->fragment = VMLAT_FIRST_FRAGMENT;
	assert_line(sample,
		    "Flow:", "Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP) fragment (first)");
	flow->fragment = VMLAT_LATER_FRAGMENT;
	flow->vlans = 1;
	flow->vlan_tci[0] = 100;
	assert_line(sample, "Flow:",
		    "Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP) VLAN 100 fragment (later)");
	flow->fragment = VMLAT_UNMATCHED_FRAGMENT;
	flow->has_ports = 0;
	assert_line(sample, "Flow:",
		    "Flow: 192.168.1.10 -> 192.168.1.20 (TCP) VLAN 100 fragment (unmatched)");
}

static void what_is_not_ip_says_so(void **state)
{
	struct sample *sample = *state;

	sample->flight.flow = (struct vmlat_flow){ 0 };
	assert_line(sample, "Flow:", "Flow: not IP");
	sample->flight.flow.vlans = 1;
	sample->flight.flow.vlan_tci[0] = 5;
	assert_line(sample, "Flow:", "Flow: not IP VLAN 5");
}

static void a_device_may_have_no_vm_and_may_be_unknown(void **state)
{
	struct sample *sample = *state;

	sample->flight.start.ifindex = 9;
	assert_line(sample, "VM Device:", "VM Device: tap9 → Physical: eth0");
	sample->flight.start.netns = OTHER_NETNS;
	sample->flight.exits = 0;
	assert_line(sample, "VM Device:", "VM Device: unknown → Physical: unknown");
	make_rx(&sample->flight);
	sample->flight.start.netns = HOST_NETNS;
	sample->flight.exits = 0;
	assert_line(sample, "Physical:", "Physical: eth0 → VM Device: unknown");
}

static void from_vm_to_vm_both_taps_are_shown(void **state)
{
	struct sample *sample = *state;

	sample->flight.exit[0].device.ifindex = 8;
	assert_line(sample, "VM Device:", "VM Device: vnet0 (web1) → VM Device: vnet2 (db)");
}

static void a_name_without_its_nul_ends_with_its_room(void **state)
{
	struct sample *sample = *state;

	memcpy(sample->flight.comm, "0123456789abcdef", VMLAT_COMM);
	assert_line(sample, "Process:", "Process: PID=1234 COMM=0123456789abcdef");
}

static void a_packet_that_did_not_complete_says_so_on_its_last_line(void **state)
{
	static const struct {
		enum vmlat_outcome outcome;
		const char *words;
	} cases[] = {
		{ VMLAT_DROPPED, "Dropped in net_dev_start_xmit" },
		{ VMLAT_DIVERTED, "Diverted from the measured path" },
		{ VMLAT_MERGED, "Merged into another packet" },
		{ VMLAT_UPCALL_LOST, "Upcall lost: the kernel could not queue it" },
		{ VMLAT_EXPIRED, "Expired" },
		{ VMLAT_EVICTED, "Evicted: its record was pushed out" },
		{ VMLAT_AMBIGUOUS, "Ambiguous: a packet of the same content was in flight" },
		{ VMLAT_IN_FLIGHT, "Still in flight" },
	};
	struct sample *sample = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[256];

		sample->flight.outcome = cases[i].outcome;
		snprintf(expected, sizeof(expected),
			 "\n\n%s after 33.958 us, last seen in driver\n\n", cases[i].words);
		text_of(sample);
		assert_string_equal(strstr(sample->text, ": 0.812 us") + strlen(": 0.812 us"),
				    expected);
		assert_null(strstr(sample->text, "Total Latency"));
	}
}

static void a_drop_says_where_and_why(void **state)
{
	struct sample *sample = *state;

	make_rx(&sample->flight);
	sample->flight.outcome = VMLAT_DROPPED;
	sample->flight.last_ns = BEGIN_NS + 2000;
	assert_line(sample, "Dropped", "Dropped in tun_net_xmit after 2.000 us, last seen in tap");
	sample->flight.location = 0xffffffff81000180;
	sample->flight.reason = 71;
	assert_line(sample, "Dropped",
		    "Dropped in __dev_queue_xmit after 2.000 us, last seen in tap");
	sample->flight.has_reason = 1;
	assert_line(sample, "Dropped",
		    "Dropped in __dev_queue_xmit (FULL_RING) after 2.000 us, last seen in tap");
}

static void an_upcall_that_expired_was_not_reinjected(void **state)
{
	struct sample *sample = *state;

	sample->flight.visits = 1;
	add_visit(&sample->flight, VMLAT_STAGE_UPCALL, VMLAT_HOOK_OVS_DP_UPCALL, 20000);
	sample->flight.outcome = VMLAT_EXPIRED;
	assert_line(sample, "Expired",
		    "Expired after 20.000 us, last seen in upcall: no reinjection");
}

static void stages_beyond_are_counted(void **state)
{
	struct sample *sample = *state;

	assert_no_line(sample, "  5 more stages");
	sample->flight.visits = 0;
	for (int i = 0; i < VMLAT_VISITS; i++)
		add_visit(&sample->flight, VMLAT_STAGE_DATAPATH, VMLAT_HOOK_OVS_DP_PROCESS_PACKET,
			  i * 1000);
	sample->flight.visits_beyond = 5;
	assert_line(sample, "  5", "  5 more stages are not kept");
}

static void several_exits_are_all_told(void **state)
{
	struct sample *sample = *state;

	assert_no_line(sample, "Exits:");
	add_exit(&sample->flight, 3, 40000, VMLAT_DROPPED);
	add_exit(&sample->flight, 42, 0, VMLAT_COMPLETED);
	sample->flight.exit[2].closed = 0;
	assert_line(sample, "Exits:",
		    "Exits: eth0 completed after 33.958 us, eth1 dropped after 40.000 us, ifindex "
		    "42 of namespace 4026531840 open");
	sample->flight.exits = 2;
	sample->flight.exits_beyond = 3;
	assert_line(sample, "Exits:",
		    "Exits: eth0 completed after 33.958 us, eth1 dropped after 40.000 us, 3 more "
		    "are not kept");
}

static void a_packet_that_was_cut_tells_its_segments(void **state)
{
	struct sample *sample = *state;

	assert_no_line(sample, "Segments:");
	sample->flight.segments = 12;
	sample->flight.exit[0].segments = 12;
	assert_line(sample, "Segments:", "Segments: 12");
	assert_no_line(sample, "Exits:");
	sample->flight.segments_lost = 1;
	assert_line(sample, "Segments:", "Segments: 12, 1 lost");
	assert_non_null(strstr(sample->text, "\n\nSegments: 12, 1 lost\nTotal Latency: "));
}

static void each_exit_tells_its_segments(void **state)
{
	struct sample *sample = *state;

	add_exit(&sample->flight, 3, 40000, VMLAT_DROPPED);
	add_exit(&sample->flight, 6, 0, VMLAT_COMPLETED);
	sample->flight.exit[0].segments = 12;
	sample->flight.exit[1].segments = 12;
	sample->flight.exit[1].segments_lost = 2;
	sample->flight.exit[2].closed = 0;
	assert_line(sample, "Exits:",
		    "Exits: eth0 completed after 33.958 us in 12 segments, eth1 dropped after "
		    "40.000 us in 12 segments (2 lost), vnet0 open");
}

static void an_example_of_the_statistics_says_so(void **state)
{
	struct sample *sample = *state;
	struct report report;
	size_t size;

	assert_no_line(sample, "Slowest");
	open_text(sample, &size);
	report__describe(&sample->context, &sample->flight, &report);
	report.exemplar = "p99";
	text_format.packet(&sample->context, &report);
	fclose(sample->context.out);
	assert_non_null(strstr(sample->text,
			       "(TX) ===\nSlowest of the interval (p99)\nFlow: 192.168.1.10:"));
}

static void verbose_shows_the_skb_of_each_stage(void **state)
{
	struct sample *sample = *state;

	assert_no_line(sample, "    skb");
	sample->options.verbose = true;
	assert_line(sample, "    skb", "    skb 0xffff888000001001 on CPU 1 at tun_sendmsg");
	assert_non_null(strstr(sample->text,
			       "    skb 0xffff888000001005 on CPU 5 at net_dev_start_xmit\n"));
}

static void stacks_are_symbolized_when_they_were_taken(void **state)
{
	struct sample *sample = *state;

	assert_no_line(sample, "    stack");
	sample->options.stacks = true;
	sample->flight.visits = 2;
	sample->flight.visit[1].stack = 7;
	sample->tracer.stack[0] = 0xffffffff81000110;
	sample->tracer.stack[1] = 0xffffffff80000000;
	sample->flight.visit[0].stack = -1;
	assert_non_null(
		strstr(text_of(sample), "    stack at tun_sendmsg: none is taken at this stage\n"));
	sample->flight.visit[0].stack = -ENOMEM;
	assert_non_null(strstr(text_of(sample), "    stack at tun_sendmsg: could not be kept\n"));
	assert_non_null(strstr(sample->text, "    stack at ovs_dp_process_packet\n"
					     "      __dev_queue_xmit+0x10\n"
					     "      0xffffffff80000000\n"));
}

/* The lines of the stack at ovs_dp_process_packet, of these addresses. */
static void assert_stack(struct sample *sample, const __u64 *addresses, size_t count,
			 const char *lines)
{
	char expected[256];

	sample->options.stacks = true;
	sample->flight.visits = 2;
	sample->flight.visit[1].stack = 7;
	memset(sample->tracer.stack, 0, sizeof(sample->tracer.stack));
	memcpy(sample->tracer.stack, addresses, count * sizeof(*addresses));
	snprintf(expected, sizeof(expected), "    stack at ovs_dp_process_packet\n%s\n", lines);
	assert_non_null(strstr(text_of(sample), expected));
}

static void a_stack_has_no_frame_of_the_tracer(void **state)
{
	static const char lines[] = "      ovs_dp_process_packet+0x5\n"
				    "      tun_get_user+0xc79\n"
				    "      __dev_queue_xmit+0x10\n";
	/* its program, and the trampolines of an fentry and (around the second function) an fexit */
	static const __u64 with_symbols[] = { 0xffffffffc0400010, 0xffffffffc0401010,
					      0xffffffff81300005, 0xffffffff81100c79,
					      0xffffffffc0401020, 0xffffffff81100005,
					      0xffffffff81000110 };
	/* the same without symbols of BPF: between modules, and far from any function */
	static const __u64 without[] = { 0xffffffffd0400010, 0xffffffffd0401010, 0xffffffff81300005,
					 0xffffffff81100c79, 0xffffffff81000110 };
	static const __u64 tracepoint[] = { 0xffffffffd0400010, 0xffffffff81200045,
					    0xffffffff81300005, 0xffffffff81100c79,
					    0xffffffff81000110 };
	static const __u64 kprobe[] = { 0xffffffff81300005, 0xffffffff81100c79,
					0xffffffff81000110 };

	assert_stack(*state, with_symbols, ARRAY_SIZE(with_symbols), lines);
	assert_stack(*state, without, ARRAY_SIZE(without), lines);
	assert_stack(*state, tracepoint, ARRAY_SIZE(tracepoint), lines);
	assert_stack(*state, kprobe, ARRAY_SIZE(kprobe), lines);
}

static void the_trace_has_no_heading(void **state)
{
	assert_string_equal(header_written(*state, &text_format), "");
}

static void a_sample_is_told_at_the_beginning_and_with_the_counts(void **state)
{
	struct sample *sample = *state;
	struct accounts accounts = sample_accounts();

	sample->options.sample = 10;
	assert_string_equal(header_written(sample, &text_format),
			    "=== Sample: one flow in 10 ===\n\n");
	end_written(sample, &text_format, &accounts);
	assert_non_null(strstr(sample->text,
			       "=== Summary: 2026-01-15 10:30:45.123456 ===\n"
			       "  Sample: one flow in 10; no other is in these counts\n"
			       "  Packets: 1000 started"));
}

static void the_summary_has_every_term_of_the_accounting(void **state)
{
	struct accounts accounts = sample_accounts();

	assert_string_equal(
		end_written(*state, &text_format, &accounts),
		"=== Summary: 2026-01-15 10:30:45.123456 ===\n"
		"  Packets: 1000 started = 11 completed + 12 dropped + 13 diverted + 14 merged +\n"
		"    15 upcall_lost + 16 expired + 17 evicted + 18 ambiguous + 19 in_flight\n"
		"  Reports: 900 written, 5 lost\n"
		"  Probes missed: 6\n"
		"  Not delivered: 7, unstarted: 31, malformed: 32, truncated: 33\n"
		"  Lost: stacks: 41, drop places: 42, statistics: 43, segments: 44, flows: 45\n"
		"  Dropped: none\n"
		"  Traffic: none\n");
}

static void the_longest_counts_fit_80_columns(void **state)
{
	struct sample *sample = *state;
	struct accounts accounts = { .counters.started = ~0ULL };

	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		accounts.counters.outcomes[i] = ~0ULL;
	end_written(sample, &text_format, &accounts);
	for (const char *at = sample->text; *at; at += strcspn(at, "\n") + 1)
		if (!strncmp(at, "  Packets", 9) || !strncmp(at, "    ", 4))
			assert_in_range(strcspn(at, "\n"), 0, 80);
}

static void what_is_0_is_told_as_well(void **state)
{
	struct accounts accounts = { .missed_known = true };

	end_written(*state, &text_format, &accounts);
	assert_non_null(
		strstr(((struct sample *)*state)->text,
		       "  Reports: 0 written, 0 lost\n"
		       "  Probes missed: 0\n"
		       "  Not delivered: 0, unstarted: 0, malformed: 0, truncated: 0\n"
		       "  Lost: stacks: 0, drop places: 0, statistics: 0, segments: 0, flows: 0\n"
		       "  Dropped: none\n"
		       "  Traffic: none\n"));
}

static void probes_missed_may_be_unknown(void **state)
{
	struct accounts accounts = { .missed_known = false };

	end_written(*state, &text_format, &accounts);
	assert_non_null(
		strstr(((struct sample *)*state)->text,
		       "  Probes missed: not known (of kprobes, and before kernel 5.12)\n"));
}

static void the_summary_lists_drops_and_traffic(void **state)
{
	struct sample *sample = *state;
	struct accounts accounts = { .missed_known = true };

	add_drops(&accounts);
	add_traffic(&accounts, sample);
	for (size_t i = 0; i < sample->devices.count; i++)
		sample->traffic[i][0] = (struct vmlat_traffic){ 1 + i, 100 + i };
	sample->traffic[5][1] = (struct vmlat_traffic){ 20, 2000 };
	host_device(&sample->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(&sample->devices, "vnet1")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_END;
	host_device(&sample->devices, "eth0")->roles = VMLAT_ROLE_TX_END;
	end_written(sample, &text_format, &accounts);
	assert_string_equal(strstr(sample->text, "  Dropped"),
			    "  Dropped in tun_net_xmit (FULL_RING): 9\n"
			    "  Dropped in ovs_dp_process_packet: 3\n"
			    "  Traffic: vnet0 TX: 6 packets, 105 bytes\n"
			    "  Traffic: vnet0 RX: 20 packets, 2000 bytes\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sample_test(the_report_is_that_of_the_manual),
		sample_test(an_rx_report_goes_from_the_nic_to_the_tap_and_has_no_process),
		sample_test(an_upcall_has_its_segments_and_is_not_called_none),
		sample_test(ipv6_addresses_with_ports_stand_in_brackets),
		sample_test(what_has_no_ports_shows_none),
		sample_test(vlan_tags_stand_after_the_flow_by_number),
		sample_test(a_fragment_says_which),
		sample_test(what_is_not_ip_says_so),
		sample_test(a_device_may_have_no_vm_and_may_be_unknown),
		sample_test(from_vm_to_vm_both_taps_are_shown),
		sample_test(a_name_without_its_nul_ends_with_its_room),
		sample_test(a_packet_that_did_not_complete_says_so_on_its_last_line),
		sample_test(a_drop_says_where_and_why),
		sample_test(an_upcall_that_expired_was_not_reinjected),
		sample_test(stages_beyond_are_counted),
		sample_test(several_exits_are_all_told),
		sample_test(a_packet_that_was_cut_tells_its_segments),
		sample_test(each_exit_tells_its_segments),
		sample_test(an_example_of_the_statistics_says_so),
		sample_test(verbose_shows_the_skb_of_each_stage),
		sample_test(stacks_are_symbolized_when_they_were_taken),
		sample_test(a_stack_has_no_frame_of_the_tracer),
		sample_test(the_trace_has_no_heading),
		sample_test(a_sample_is_told_at_the_beginning_and_with_the_counts),
		sample_test(the_summary_has_every_term_of_the_accounting),
		sample_test(the_longest_counts_fit_80_columns),
		sample_test(what_is_0_is_told_as_well),
		sample_test(probes_missed_may_be_unknown),
		sample_test(the_summary_lists_drops_and_traffic),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
