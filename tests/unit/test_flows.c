// SPDX-License-Identifier: GPL-2.0
/* The flows with the most packets or bytes: whatever is pushed out is in the sums. */
#include "flows.h"

#include "unit.h"

static struct vmlat_flow_key key_of(__u32 number)
{
	return (struct vmlat_flow_key){ .src = { number },
					.dst = { 1 },
					.src_port = number,
					.dst_port = 53,
					.family = 4,
					.protocol = 17,
					.has_ports = 1,
					.direction = 1 };
}

/* A flow by its number: packets of so many bytes and ns each. */
static void add(struct flows *flows, __u32 number, __u64 packets, __u64 bytes, __u64 ns)
{
	struct vmlat_flow_key key = key_of(number);
	struct vmlat_flow_count counted = {
		.packets = packets, .bytes = packets * bytes, .sum_ns = packets * ns, .max_ns = ns
	};

	flows__add(flows, &key, &counted);
}

static void assert_order(struct flows *flows, const __u32 *numbers, size_t count)
{
	const struct flow *sorted;

	assert_int_equal(flows__sorted(flows, &sorted), count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(sorted[i].key.src_port, numbers[i]);
}
#define ASSERT_ORDER(flows, ...)                            \
	assert_order(flows, (const __u32[]){ __VA_ARGS__ }, \
		     ARRAY_SIZE(((const __u32[]){ __VA_ARGS__ })))

static void assert_others(const struct flows *flows, size_t told, __u64 count, __u64 packets,
			  __u64 bytes)
{
	struct other_flows others = flows__others(flows, told);

	assert_int_equal(others.flows, count);
	assert_int_equal(others.packets, packets);
	assert_int_equal(others.bytes, bytes);
}

static void packets_of_a_flow_add_up_wherever_they_come_from(void **state)
{
	struct flows *flows = flows__new(4, false);
	const struct flow *sorted;
	struct vmlat_flow headers;

	(void)state;
	assert_non_null(flows);
	add(flows, 7, 2, 100, 10);
	add(flows, 8, 1, 60, 1000);
	add(flows, 7, 3, 60, 5);
	assert_int_equal(flows__sorted(flows, &sorted), 2);
	assert_int_equal(sorted[0].key.src_port, 7);
	assert_int_equal(sorted[0].counted.packets, 5);
	assert_int_equal(sorted[0].counted.bytes, 380);
	assert_int_equal(sorted[0].counted.max_ns, 10);
	assert_int_equal(flow__mean(&sorted[0]), 7);
	headers = flow__headers(&sorted[0]);
	assert_int_equal(headers.src[0], 7);
	assert_int_equal(headers.dst_port, 53);
	assert_int_equal(headers.protocol, 17);
	flows__free(flows);
}

static void a_flow_at_another_tap_or_the_other_way_is_another_one(void **state)
{
	struct vmlat_flow_count one = { .packets = 1, .bytes = 1 };
	struct flows *flows = flows__new(4, false);
	struct vmlat_flow_key key = key_of(7);
	const struct flow *sorted;

	(void)state;
	flows__add(flows, &key, &one);
	key.interface = 1;
	flows__add(flows, &key, &one);
	key.direction = 2;
	flows__add(flows, &key, &one);
	assert_int_equal(flows__sorted(flows, &sorted), 3);
	flows__free(flows);
}

static void they_are_in_the_order_of_packets_or_of_bytes(void **state)
{
	(void)state;
	for (int by_bytes = 0; by_bytes <= 1; by_bytes++) {
		struct flows *flows = flows__new(8, by_bytes);

		add(flows, 1, 10, 60, 1);
		add(flows, 2, 5, 1000, 1);
		add(flows, 3, 10, 61, 1); /* equals: the more bytes first */
		add(flows, 5, 1, 5000, 1); /* equals: the more packets first */
		add(flows, 4, 1, 5000, 1); /* equals of both: by the key */
		if (by_bytes)
			ASSERT_ORDER(flows, 2, 4, 5, 3, 1);
		else
			ASSERT_ORDER(flows, 3, 1, 2, 4, 5);
		assert_others(flows, 2, 3, by_bytes ? 21 : 7, by_bytes ? 6210 : 15000);
		flows__free(flows);
	}
}

static void the_least_are_pushed_out_and_counted(void **state)
{
	struct flows *flows = flows__new(4, false);

	(void)state;
	add(flows, 1, 100, 60, 1);
	add(flows, 2, 1, 60, 1);
	add(flows, 3, 50, 60, 1);
	add(flows, 4, 2, 60, 1);
	assert_others(flows, 4, 0, 0, 0);
	add(flows, 5, 1, 60, 1); /* no room: 2 and 4 go */
	ASSERT_ORDER(flows, 1, 3, 5);
	assert_others(flows, 3, 2, 3, 180);
	add(flows, 2, 1, 60, 1); /* it comes again, as if it were new */
	ASSERT_ORDER(flows, 1, 3, 2, 5);
	assert_others(flows, 4, 2, 3, 180);
	assert_others(flows, 1, 5, 55, 3300);
	flows__free(flows);
}

static void of_a_hundred_thousand_none_is_lost(void **state)
{
	struct flows *flows = flows__new(1000, false), *whole = flows__new(1000, false);
	const struct flow *sorted;
	__u64 packets = 0;
	size_t count;

	(void)state;
	for (__u32 i = 0; i < 100000; i++) {
		add(flows, i, 1 + i % 7, 60, 1);
		packets += 1 + i % 7;
		if (i % 10000)
			continue;
		flows__merge(whole, flows);
		flows__clear(flows);
		assert_int_equal(flows__sorted(flows, &sorted), 0);
		assert_others(flows, 0, 0, 0, 0);
	}
	flows__merge(whole, flows);
	count = flows__sorted(whole, &sorted);
	assert_in_range(count, 500, 1000);
	assert_others(whole, 0, 100000, packets, packets * 60);
	flows__free(flows);
	flows__free(whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_of_a_flow_add_up_wherever_they_come_from),
		cmocka_unit_test(a_flow_at_another_tap_or_the_other_way_is_another_one),
		cmocka_unit_test(they_are_in_the_order_of_packets_or_of_bytes),
		cmocka_unit_test(the_least_are_pushed_out_and_counted),
		cmocka_unit_test(of_a_hundred_thousand_none_is_lost),
	};

	return cmocka_run_group_tests_name("flows", tests, NULL, NULL);
}
