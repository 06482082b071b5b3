// SPDX-License-Identifier: GPL-2.0
/* What the BPF side counts of completed packets, the very source, in user space. */
#include "times.h"

#include <errno.h>

#include "bpf_shim.h"

static struct vmlat_flight flight;

static struct vmlat_flight *flight_at(__u32 slot)
{
	return slot ? NULL : &flight;
}

static long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags);

#include "../../bpf/statistics.h"
#include "../../bpf/flows.h"

enum { TAP = 7, OTHER_TAP = 9, INTERVAL = 5 };

static struct cpu_state *const cpu = (struct cpu_state *)&cpus[SHIM_CPU];
static struct vmlat_statistics of_tap, of_other_tap, *taken_out;

/* What there is of flows: one, and its key. */
static int flow_map;
static bool has_flow, flows_are_full;
static struct vmlat_flow_key flow_key;
static struct vmlat_flow_count flow_count;

static void *find_flow(const struct vmlat_flow_key *key)
{
	return has_flow && !memcmp(key, &flow_key, sizeof(*key)) ? &flow_count : NULL;
}

static long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags)
{
	assert_ptr_equal(map, &flow_map);
	assert_int_equal(flags, BPF_NOEXIST);
	if (flows_are_full)
		return -E2BIG;
	has_flow = true;
	memcpy(&flow_key, key, sizeof(flow_key));
	memcpy(&flow_count, value, sizeof(flow_count));
	return 0;
}

static struct vmlat_statistics *statistics_at(__u32 index)
{
	switch (index) {
	case TAP:
		return &of_tap;
	case OTHER_TAP:
		return &of_other_tap;
	case VMLAT_TAKEN_OUT:
		return taken_out;
	default:
		return NULL;
	}
}

/* The value that a key has in the maps that are used here. */
static void *bpf_map_lookup_elem(const void *map, const void *key)
{
	__u32 number = *(const __u32 *)key;

	if (map == &flow_map)
		return find_flow(key);
	if (map == &flow_maps)
		return &flow_map;
	if (map == &statistics_maps)
		return statistics_at(number);
	return number == SHIM_CPU ? (void *)map : NULL; /* of a tap: its only CPU's */
}

static long bpf_probe_read_kernel(void *to, size_t size, const void *from)
{
	memcpy(to, from, size);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(cpu, 0, sizeof(*cpu));
	memset(&flight, 0, sizeof(flight));
	memset(&of_tap, 0, sizeof(of_tap));
	memset(&of_other_tap, 0, sizeof(of_other_tap));
	memset(&flow_count, 0, sizeof(flow_count));
	has_flow = flows_are_full = false;
	taken_out = NULL;
	cpu->number = SHIM_CPU;
	of_tap.interval = of_other_tap.interval = INTERVAL;
	for (int i = 0; i < VMLAT_SEGMENTS; i++)
		of_tap.distribution[i].min = of_other_tap.distribution[i].min = VMLAT_NO_MIN;
	return 0;
}

static const struct vmlat_distribution *counted(const struct vmlat_statistics *statistics,
						unsigned int pair)
{
	unsigned int number = statistics->segment[pair];

	assert_in_range(number, 1, VMLAT_SEGMENTS);
	return &statistics->distribution[number - 1];
}

/* --- times --- */

static bool count_one(struct vmlat_statistics *statistics, unsigned int pair, __u64 ns)
{
	return count_in(statistics, pair, ns);
}

static void times_are_counted_exactly(void **state)
{
	static struct vmlat_distribution expected;
	__u32 random = 5;

	(void)state;
	memset(&expected, 0, sizeof(expected));
	for (int i = 0; i < 10000; i++) {
		__u64 ns = random_time(&random, 45);

		add_time(&expected, ns);
		count_one(&of_tap, 3, ns);
	}
	assert_memory_equal(counted(&of_tap, 3), &expected, sizeof(expected));
	assert_int_equal(of_tap.segments, 1);
	assert_int_equal(of_other_tap.segments, 0);
}

static void the_first_of_a_bucket_and_the_longest_are_remarkable(void **state)
{
	(void)state;
	assert_int_equal(count_one(&of_tap, 3, 1000000), 1);
	assert_int_equal(count_one(&of_tap, 3, 1000000), 0);
	assert_int_equal(count_one(&of_tap, 3, 1000001), 1); /* the longest so far */
	assert_int_equal(count_one(&of_tap, 3, 1000000), 0);
	assert_int_equal(count_one(&of_tap, 3, 10), 1);
	assert_int_equal(count_one(&of_tap, 3, 10), 0);
	assert_int_equal(count_one(&of_tap, 4, 10), 1); /* of another pair */
	assert_int_equal(count_one(&of_other_tap, 3, 10), 1);
	assert_int_equal(count_one(&of_tap, 3, 0), 1);
}

static void pairs_that_have_no_room_are_counted_as_such(void **state)
{
	(void)state;
	for (unsigned int pair = 0; pair < VMLAT_SEGMENTS; pair++)
		assert_int_equal(count_one(&of_tap, pair, 100), 1);
	assert_int_equal(of_tap.unkept, 0);
	assert_int_equal(count_one(&of_tap, VMLAT_SEGMENTS, 100), 0);
	assert_int_equal(count_one(&of_tap, VMLAT_PAIRS - 1, 100), 0);
	assert_int_equal(of_tap.unkept, 2);
	assert_int_equal(count_one(&of_tap, 0, 100), 0);
	assert_int_equal(vmlat_times(counted(&of_tap, 0)), 2);
}

/* --- flights --- */

static void visit(enum vmlat_stage stage, __u64 ns)
{
	flight.visit[flight.visits].stage = stage;
	flight.visit[flight.visits++].ns = 1000 + ns;
	flight.begin_ns = 1000;
	if (flight.last_ns < 1000 + ns)
		flight.last_ns = 1000 + ns;
}

static void assert_time(const struct vmlat_statistics *statistics, enum vmlat_direction direction,
			unsigned int pair, __u64 ns)
{
	const struct vmlat_distribution *times =
		counted(statistics, vmlat_pair_of(direction, pair));

	assert_int_equal(vmlat_times(times), 1);
	assert_int_equal(times->sum, ns);
}

static void a_flight_counts_with_each_pair_of_neighbours_and_its_total(void **state)
{
	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP;
	visit(VMLAT_STAGE_TAP_IN, 0);
	visit(VMLAT_STAGE_DATAPATH, 30);
	visit(VMLAT_STAGE_VPORT, 100);
	visit(VMLAT_STAGE_DRIVER, 1000);
	count_flight(cpu, &flight);
	assert_int_equal(of_tap.segments, 4);
	assert_time(&of_tap, VMLAT_TX, vmlat_pair(VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DATAPATH), 30);
	assert_time(&of_tap, VMLAT_TX, vmlat_pair(VMLAT_STAGE_DATAPATH, VMLAT_STAGE_VPORT), 70);
	assert_time(&of_tap, VMLAT_TX, vmlat_pair(VMLAT_STAGE_VPORT, VMLAT_STAGE_DRIVER), 900);
	assert_time(&of_tap, VMLAT_TX, VMLAT_TOTAL, 1000);
	assert_int_equal(flight.remarkable, INTERVAL);
	flight.remarkable = 0;
	count_flight(cpu, &flight);
	assert_int_equal(flight.remarkable, 0); /* the second one of its bucket */
}

static void each_segment_of_the_longest_way_is_counted(void **state)
{
	const unsigned int pair =
		vmlat_pair_of(VMLAT_TX, vmlat_pair(VMLAT_STAGE_DATAPATH, VMLAT_STAGE_DATAPATH));

	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP;
	for (unsigned int i = 0; i < VMLAT_VISITS; i++)
		visit(VMLAT_STAGE_DATAPATH, i * i);
	count_flight(cpu, &flight);
	assert_int_equal(vmlat_times(counted(&of_tap, pair)), VMLAT_VISITS - 1);
	assert_int_equal(counted(&of_tap, pair)->sum, (VMLAT_VISITS - 1) * (VMLAT_VISITS - 1));
	assert_int_equal(of_tap.unkept, 0);
}

static void a_packet_goes_on_in_what_is_taken_out_meanwhile(void **state)
{
	const unsigned int pair = vmlat_pair(VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DRIVER);

	(void)state;
	flight.direction = VMLAT_TX;
	visit(VMLAT_STAGE_TAP_IN, 0);
	visit(VMLAT_STAGE_DRIVER, 50);
	of_tap.interval++; /* another one by now */
	taken_out = &of_other_tap;
	count_visit(TAP, INTERVAL, 0, 1);
	assert_time(&of_other_tap, VMLAT_TX, pair, 50);
	assert_int_equal(of_tap.segments, 0);
	count_visit(TAP + 1, INTERVAL, 0, 1); /* the tap is gone */
	assert_int_equal(vmlat_times(counted(&of_other_tap, pair)), 2);
}

static void rx_counts_for_the_tap_that_took_it(void **state)
{
	(void)state;
	flight.direction = VMLAT_RX;
	flight.interface = TAP; /* the NIC's index, had it statistics */
	flight.exits = 3;
	flight.exit[0] =
		(struct vmlat_exit){ .closed = 1, .outcome = VMLAT_DROPPED, .interface = TAP };
	flight.exit[1] = (struct vmlat_exit){ .outcome = VMLAT_COMPLETED, .interface = TAP };
	flight.exit[2] = (struct vmlat_exit){ .closed = 1,
					      .outcome = VMLAT_COMPLETED,
					      .interface = OTHER_TAP };
	visit(VMLAT_STAGE_NIC, 0);
	visit(VMLAT_STAGE_TAP_OUT, 50);
	count_flight(cpu, &flight);
	assert_int_equal(of_tap.segments, 0);
	assert_time(&of_other_tap, VMLAT_RX, vmlat_pair(VMLAT_STAGE_NIC, VMLAT_STAGE_TAP_OUT), 50);
	assert_time(&of_other_tap, VMLAT_RX, VMLAT_TOTAL, 50);
}

static void what_no_statistics_are_kept_of_is_uncounted(void **state)
{
	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP + 1;
	visit(VMLAT_STAGE_TAP_IN, 0);
	visit(VMLAT_STAGE_DRIVER, 50);
	count_flight(cpu, &flight);
	assert_int_equal(cpu->count.uncounted, 1);
	flight.direction = VMLAT_RX; /* and no exit that completed */
	count_flight(cpu, &flight);
	assert_int_equal(cpu->count.uncounted, 2);
	assert_int_equal(flight.remarkable, 0);
}

/* --- flows --- */

static void fly(__u64 ns, __u32 length)
{
	flight.visits = 0;
	flight.last_ns = 0;
	flight.length = length;
	visit(VMLAT_STAGE_TAP_IN, 0);
	visit(VMLAT_STAGE_DRIVER, ns);
	count_flight(cpu, &flight);
}

static void packets_of_a_flow_are_counted_together(void **state)
{
	static const struct vmlat_flow_key expected = { .src = { 1, 2, 3, 4 },
							.dst = { 5, 6, 7, 8 },
							.src_port = 9,
							.dst_port = 10,
							.interface = TAP,
							.family = 6,
							.protocol = 17,
							.has_ports = 1,
							.direction = VMLAT_TX };

	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP;
	flight.flow = (struct vmlat_flow){ .src = { 1, 2, 3, 4 },
					   .dst = { 5, 6, 7, 8 },
					   .src_port = 9,
					   .dst_port = 10,
					   .vlans = 1,
					   .family = 6,
					   .protocol = 17,
					   .has_ports = 1 };
	fly(100, 60);
	fly(50, 1500);
	assert_memory_equal(&flow_key, &expected, sizeof(expected));
	assert_int_equal(flow_count.packets, 2);
	assert_int_equal(flow_count.bytes, 1560);
	assert_int_equal(flow_count.sum_ns, 150);
	assert_int_equal(flow_count.max_ns, 100);
	assert_int_equal(cpu->count.flows_lost, 0);
}

static void what_is_no_port_is_no_part_of_a_flow(void **state)
{
	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP;
	flight.flow =
		(struct vmlat_flow){ .src_port = 9, .dst_port = 10, .family = 4, .protocol = 1 };
	fly(100, 60);
	assert_int_equal(flow_key.src_port, 0);
	assert_int_equal(flow_key.dst_port, 0);
}

static void what_is_not_ip_is_no_flow(void **state)
{
	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP;
	fly(100, 60);
	assert_false(has_flow);
	assert_int_equal(cpu->count.flows_lost, 0);
}

static void flows_that_there_is_no_room_for_are_counted(void **state)
{
	(void)state;
	flight.direction = VMLAT_TX;
	flight.interface = TAP;
	flight.flow = (struct vmlat_flow){ .family = 4, .protocol = 1 };
	flows_are_full = true;
	fly(100, 60);
	fly(100, 60);
	assert_int_equal(cpu->count.flows_lost, 2);
}

static void visits_are_put_in_the_order_of_time_and_equals_stay(void **state)
{
	static const enum vmlat_stage expected[] = { VMLAT_STAGE_TAP_IN, VMLAT_STAGE_UPCALL,
						     VMLAT_STAGE_REINJECT, VMLAT_STAGE_DATAPATH,
						     VMLAT_STAGE_VPORT };

	(void)state;
	visit(VMLAT_STAGE_TAP_IN, 0);
	visit(VMLAT_STAGE_REINJECT, 300);
	visit(VMLAT_STAGE_UPCALL, 100);
	visit(VMLAT_STAGE_VPORT, 400);
	visit(VMLAT_STAGE_DATAPATH, 300);
	order_visits(&flight);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(flight.visit[i].stage, expected[i]);
}

static void any_number_of_visits_is_ordered(void **state)
{
	__u32 random = 13;

	(void)state;
	for (int i = 0; i < 200; i++) {
		flight.visits = 0;
		for (__u32 n = next_random(&random) % (VMLAT_VISITS + 1); n > 0; n--)
			visit(VMLAT_STAGE_DATAPATH, next_random(&random) >> 20);
		order_visits(&flight);
		for (int n = 1; n < flight.visits; n++)
			assert_true(flight.visit[n - 1].ns <= flight.visit[n].ns);
	}
}

#define count_test(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		count_test(times_are_counted_exactly),
		count_test(the_first_of_a_bucket_and_the_longest_are_remarkable),
		count_test(pairs_that_have_no_room_are_counted_as_such),
		count_test(a_flight_counts_with_each_pair_of_neighbours_and_its_total),
		count_test(each_segment_of_the_longest_way_is_counted),
		count_test(a_packet_goes_on_in_what_is_taken_out_meanwhile),
		count_test(rx_counts_for_the_tap_that_took_it),
		count_test(what_no_statistics_are_kept_of_is_uncounted),
		count_test(packets_of_a_flow_are_counted_together),
		count_test(what_is_no_port_is_no_part_of_a_flow),
		count_test(what_is_not_ip_is_no_flow),
		count_test(flows_that_there_is_no_room_for_are_counted),
		count_test(visits_are_put_in_the_order_of_time_and_equals_stay),
		count_test(any_number_of_visits_is_ordered),
	};

	return cmocka_run_group_tests_name("count", tests, NULL, NULL);
}
