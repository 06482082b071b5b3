// SPDX-License-Identifier: GPL-2.0
/* What a report says of a flight, before any format. */
#include "written.h"

static struct report described(const struct sample *sample)
{
	struct report report;

	report__describe(&sample->context, &sample->flight, &report);
	return report;
}

static void tx_goes_from_the_tap_to_the_nic(void **state)
{
	struct sample *sample = *state;
	struct report report = described(sample);

	assert_ptr_equal(report.flight, &sample->flight);
	assert_ptr_equal(report.tap, host_device(&sample->devices, "vnet0"));
	assert_string_equal(report.phy, "eth0");
	assert_null(report.peer);
	assert_int_equal(report.total_ns, 33958);
}

static void rx_goes_from_the_nic_to_the_tap(void **state)
{
	struct sample *sample = *state;
	struct report report;

	make_rx(&sample->flight);
	report = described(sample);
	assert_ptr_equal(report.tap, host_device(&sample->devices, "vnet0"));
	assert_string_equal(report.phy, "eth0");
	assert_null(report.peer);
	assert_int_equal(report.total_ns, 1500);
}

static void from_vm_to_vm_there_is_a_peer_and_no_nic(void **state)
{
	struct sample *sample = *state;
	struct report report;

	sample->flight.exit[0].device.ifindex = 8;
	report = described(sample);
	assert_ptr_equal(report.peer, host_device(&sample->devices, "vnet2"));
	assert_null(report.phy);
}

static void rx_from_another_vm_has_its_tap_as_the_peer(void **state)
{
	struct sample *sample = *state;
	struct report report;

	make_rx(&sample->flight);
	sample->flight.start.ifindex = 8;
	report = described(sample);
	assert_ptr_equal(report.peer, host_device(&sample->devices, "vnet2"));
	assert_ptr_equal(report.tap, host_device(&sample->devices, "vnet0"));
	assert_null(report.phy);
}

static void without_an_exit_the_other_end_is_unknown(void **state)
{
	struct sample *sample = *state;
	struct report report;

	sample->flight.exits = 0;
	report = described(sample);
	assert_null(report.phy);
	assert_null(report.peer);
	assert_non_null(report.tap);
	make_rx(&sample->flight);
	sample->flight.exits = 0;
	report = described(sample);
	assert_null(report.tap);
	assert_string_equal(report.phy, "eth0");
	add_exit(&sample->flight, 3, 1500, VMLAT_DROPPED); /* it ended at no tap */
	assert_null(described(sample).tap);
}

static void of_several_exits_one_that_completed_counts(void **state)
{
	struct sample *sample = *state;

	sample->flight.exit[0].outcome = VMLAT_DROPPED;
	add_exit(&sample->flight, 3, 40000, VMLAT_COMPLETED);
	assert_string_equal(described(sample).phy, "eth1");
	sample->flight.exit[1].closed = 0; /* not final yet */
	assert_string_equal(described(sample).phy, "eth0");
}

static void a_device_that_is_new_is_known_by_its_number(void **state)
{
	struct sample *sample = *state;
	struct report report;

	sample->flight.exit[0].device = (struct vmlat_device){ OTHER_NETNS, 42 };
	report__describe(&sample->context, &sample->flight, &report);
	assert_string_equal(report.phy, "ifindex 42 of namespace 4026532000");
}

/* Its second place in the table: the tap is that VM's now. */
static const struct device *hand_to(struct devices *devices, const char *tap, const char *vm)
{
	struct device *first = host_device(devices, tap), *second = host_device(devices, "tap9");

	*second = *first;
	first->gone = true;
	snprintf(second->vm, sizeof(second->vm), "%s", vm);
	return first;
}

static void a_packet_from_before_its_tap_changed_hands_is_the_former_vms(void **state)
{
	struct sample *sample = *state;
	const struct device *former = hand_to(&sample->devices, "vnet0", "web2");

	sample->flight.interface = former - sample->devices.all;
	assert_string_equal(described(sample).tap->vm, "web1");
	sample->flight.interface = VMLAT_INTERFACE_NONE;
	assert_string_equal(described(sample).tap->vm, "web2");
	make_rx(&sample->flight);
	sample->flight.exit[0].interface = former - sample->devices.all;
	assert_string_equal(described(sample).tap->vm, "web1");
}

static void a_fragment_is_named(void **state)
{
	struct vmlat_flow flow = { .family = 4 };

	(void)state;
	assert_null(fragment_name(&flow));
	flow.fragment = VMLAT_FIRST_FRAGMENT;
	assert_string_equal(fragment_name(&flow), "first");
	flow.fragment = VMLAT_LATER_FRAGMENT;
	assert_string_equal(fragment_name(&flow), "later");
	flow.fragment = VMLAT_UNMATCHED_FRAGMENT;
	assert_string_equal(fragment_name(&flow), "unmatched");
	flow.fragment = VMLAT_UNMATCHED_FRAGMENT + 1;
	assert_null(fragment_name(&flow));
	flow = (struct vmlat_flow){ .fragment = VMLAT_FIRST_FRAGMENT };
	assert_null(fragment_name(&flow)); /* of headers that could not be read */
}

static void every_outcome_is_named_as_in_the_table(void **state)
{
	(void)state;
#define X(id, name) assert_string_equal(outcome_name(VMLAT_##id), name);
	VMLAT_OUTCOMES(X)
#undef X
	assert_string_equal(outcome_name(VMLAT_OUTCOME_COUNT), "unknown");
}

static void assert_protocol(__u8 family, __u8 protocol, const char *upper, const char *lower)
{
	struct vmlat_flow flow = { .family = family, .protocol = protocol };
	char buffer[16];

	assert_string_equal(protocol_name(&flow, false, buffer, sizeof(buffer)), upper);
	assert_string_equal(protocol_name(&flow, true, buffer, sizeof(buffer)), lower);
}

static void a_protocol_without_a_name_is_a_number(void **state)
{
	(void)state;
	assert_protocol(4, IPPROTO_TCP, "TCP", "tcp");
	assert_protocol(6, IPPROTO_UDP, "UDP", "udp");
	assert_protocol(4, IPPROTO_ICMP, "ICMP", "icmp");
	assert_protocol(6, IPPROTO_ICMPV6, "ICMP", "icmp");
	assert_protocol(6, IPPROTO_ICMP, "1", "1"); /* not the one of this family */
	assert_protocol(4, IPPROTO_ICMPV6, "58", "58");
	assert_protocol(4, 255, "255", "255");
}

static void a_time_of_the_flight_is_turned_into_wall_clock(void **state)
{
	struct sample *sample = *state;
	struct timespec time = wall_clock(&sample->context, BEGIN_NS);

	assert_int_equal(time.tv_sec, sample_time.tv_sec);
	assert_int_equal(time.tv_nsec, sample_time.tv_nsec);
	time = wall_clock(&sample->context, BEGIN_NS + 876543211);
	assert_int_equal(time.tv_sec, sample_time.tv_sec + 1);
	assert_int_equal(time.tv_nsec, 0);
}

static void a_drop_is_in_the_function_that_freed_the_packet(void **state)
{
	struct sample *sample = *state;
	const struct report_context *context = &sample->context;

	assert_string_equal(drop_place(context, 0xffffffffc0300123, VMLAT_HOOK_OVS_VPORT_SEND),
			    "tun_net_xmit");
	assert_string_equal(drop_place(context, 0, VMLAT_HOOK_OVS_VPORT_SEND), "ovs_vport_send");
	assert_string_equal(drop_place(context, 1, VMLAT_HOOK_OVS_VPORT_SEND), "ovs_vport_send");
}

static void a_drop_has_a_reason_where_the_kernel_has_one(void **state)
{
	struct sample *sample = *state;
	const struct report_context *context = &sample->context;

	assert_string_equal(drop_reason(context, true, 71), "FULL_RING");
	assert_string_equal(drop_reason(context, true, 3), "NO_SOCKET");
	assert_null(drop_reason(context, true, 4)); /* a number without a name */
	assert_null(drop_reason(context, true, 0)); /* not dropped yet */
	assert_null(drop_reason(context, false, 71));
}

static void open_vswitch_has_reasons_of_its_own(void **state)
{
	struct sample *sample = *state;
	struct btf *btf = btf__new_empty();

	assert_true(btf__add_enum(btf, "ovs_drop_reason", 4) > 0);
	assert_int_equal(btf__add_enum_value(btf, "OVS_DROP_LAST_ACTION", 0x30001), 0);
	assert_null(drop_reason(&sample->context, true, 0x30001));
	kernel__module(&sample->kernel, "openvswitch")->btf = btf;
	kernel__keep_reasons(&sample->kernel);
	kernel__forget_types(&sample->kernel); /* neither is needed any more */
	assert_string_equal(drop_reason(&sample->context, true, 0x30001), "LAST_ACTION");
	assert_string_equal(drop_reason(&sample->context, true, 71), "FULL_RING");
}

struct told {
	char text[256];
};

static void tell(void *argument, const char *tap, int direction,
		 const struct vmlat_traffic *traffic)
{
	struct told *told = argument;
	size_t length = strlen(told->text);

	snprintf(told->text + length, sizeof(told->text) - length, "%s %s %llu/%llu; ", tap,
		 direction == VMLAT_TX ? "tx" : "rx", traffic->packets, traffic->bytes);
}

static void traffic_of_one_name_is_one(void **state)
{
	struct sample *sample = *state;
	struct devices *devices = &sample->devices;
	struct accounts accounts = { 0 };
	struct told told = { "" };

	host_device(devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(devices, "vnet0")->gone = true;
	host_device(devices, "vnet1")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END;
	host_device(devices, "vnet2")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(devices, "eth0")->roles = VMLAT_ROLE_TX_END;
	snprintf(host_device(devices, "vnet2")->name, IF_NAMESIZE, "vnet0");
	for (size_t i = 0; i < devices->count; i++)
		sample->traffic[i][0] = (struct vmlat_traffic){ 1 + i, 100 + i };
	sample->traffic[6][1] = (struct vmlat_traffic){ 20, 2000 };
	add_traffic(&accounts, sample);
	report__traffic(&sample->context, &accounts, tell, &told);
	assert_string_equal(told.text, "vnet0 tx 14/212; vnet0 rx 0/0; vnet1 tx 7/106; "
				       "vnet1 rx 20/2000; ");
	told.text[0] = '\0';
	sample->options.devices.directions = VMLAT_RX;
	report__traffic(&sample->context, &accounts, tell, &told);
	assert_string_equal(told.text, "vnet0 rx 0/0; vnet1 rx 20/2000; ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sample_test(tx_goes_from_the_tap_to_the_nic),
		sample_test(rx_goes_from_the_nic_to_the_tap),
		sample_test(from_vm_to_vm_there_is_a_peer_and_no_nic),
		sample_test(rx_from_another_vm_has_its_tap_as_the_peer),
		sample_test(without_an_exit_the_other_end_is_unknown),
		sample_test(of_several_exits_one_that_completed_counts),
		sample_test(a_device_that_is_new_is_known_by_its_number),
		sample_test(a_packet_from_before_its_tap_changed_hands_is_the_former_vms),
		sample_test(a_fragment_is_named),
		sample_test(every_outcome_is_named_as_in_the_table),
		sample_test(a_protocol_without_a_name_is_a_number),
		sample_test(a_time_of_the_flight_is_turned_into_wall_clock),
		sample_test(a_drop_is_in_the_function_that_freed_the_packet),
		sample_test(a_drop_has_a_reason_where_the_kernel_has_one),
		sample_test(open_vswitch_has_reasons_of_its_own),
		sample_test(traffic_of_one_name_is_one),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
