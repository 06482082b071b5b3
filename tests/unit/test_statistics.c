// SPDX-License-Identifier: GPL-2.0
/* What the completed packets add up to, and which of them are kept as examples. */
#include "statistics.h"

#include "host.h"
#include "rows.h"

enum {
	TO_DATAPATH = vmlat_pair(VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DATAPATH),
	TO_VPORT = vmlat_pair(VMLAT_STAGE_DATAPATH, VMLAT_STAGE_VPORT),
	TO_UPCALL = vmlat_pair(VMLAT_STAGE_DATAPATH, VMLAT_STAGE_UPCALL),
	TO_BRIDGE = vmlat_pair(VMLAT_STAGE_TAP_IN, VMLAT_STAGE_BRIDGE_IN),
	FROM_BRIDGE = vmlat_pair(VMLAT_STAGE_BRIDGE_OUT, VMLAT_STAGE_XMIT),
	TO_DRIVER = vmlat_pair(VMLAT_STAGE_XMIT, VMLAT_STAGE_DRIVER),
};

struct fixture {
	struct devices devices;
	struct statistics statistics, other;
	struct device *vnet0, *vnet1, *vnet2, *tap9;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->devices = host_devices();
	fixture->vnet0 = host_device(&fixture->devices, "vnet0");
	fixture->vnet1 = host_device(&fixture->devices, "vnet1");
	fixture->vnet2 = host_device(&fixture->devices, "vnet2");
	fixture->tap9 = host_device(&fixture->devices, "tap9");
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	statistics__free(&fixture->statistics);
	statistics__free(&fixture->other);
	devices__free(&fixture->devices);
	free(fixture);
	return 0;
}

static const struct row *row_of(const struct statistics *statistics, const char *vm_interface,
				enum vmlat_direction direction)
{
	for (size_t i = 0; i < statistics->count; i++)
		if (!strcmp(statistics->rows[i].vm_interface, vm_interface) &&
		    statistics->rows[i].direction == direction)
			return &statistics->rows[i];
	fail_msg("no row %s", vm_interface);
	return NULL;
}

/* --- distributions --- */

static int compare(const void *a, const void *b)
{
	__u64 left = *(const __u64 *)a, right = *(const __u64 *)b;

	return left < right ? -1 : left > right;
}

static void assert_percentile(const struct distribution *times, const __u64 *sorted, size_t count,
			      unsigned int permille)
{
	size_t rank = (count * permille + 999) / 1000;
	__u64 exact = sorted[rank ? rank - 1 : 0], told = distribution__percentile(times, permille);

	if (told > exact + exact * 3 / 100 || told + exact * 3 / 100 < exact)
		fail_msg("p%u of %zu is %llu, told as %llu", permille, count, exact, told);
}

static void check_distribution(struct fixture *fixture, size_t count, __u32 random)
{
	struct vmlat_distribution counted = { 0 };
	__u64 *times = calloc(count, sizeof(*times)), sum = 0;
	const struct distribution *total;

	for (size_t i = 0; i < count; i++) {
		times[i] = random_time(&random, 36);
		sum += times[i];
		add_time(&counted, times[i]);
	}
	qsort(times, count, sizeof(*times), compare);
	statistics__free(&fixture->statistics);
	assert_int_equal(statistics__add(&fixture->statistics, fixture->vnet0,
					 vmlat_pair_of(VMLAT_TX, VMLAT_TOTAL), &counted),
			 0);
	total = &row__total(&fixture->statistics.rows[0])->times;
	assert_int_equal(total->count, count);
	assert_int_equal(total->min, times[0]);
	assert_int_equal(total->max, times[count - 1]);
	assert_int_equal(distribution__mean(total), sum / count);
	for (unsigned int permille = 1; permille <= 1000; permille++)
		assert_percentile(total, times, count, permille);
	assert_int_equal(distribution__percentile(total, 1000), times[count - 1]);
	free(times);
}

static void percentiles_are_within_3_percent_of_the_exact_ones(void **state)
{
	static const size_t counts[] = { 1, 2, 3, 10, 99, 100, 101, 999, 1000, 1001, 20000 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		check_distribution(*state, counts[i], 100 + i);
}

static void an_empty_distribution_has_zeros(void **state)
{
	static const struct distribution empty;

	(void)state;
	assert_int_equal(distribution__percentile(&empty, 500), 0);
	assert_int_equal(distribution__mean(&empty), 0);
}

static void a_percentile_is_no_more_than_the_longest_time(void **state)
{
	struct fixture *fixture = *state;
	const struct distribution *total;

	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1000, 1000000, 0);
	total = &row__total(&fixture->statistics.rows[0])->times;
	assert_int_equal(distribution__percentile(total, 500), 1000000);
	assert_int_equal(distribution__percentile(total, 999), 1000000);
}

/* --- rows and segments --- */

static void each_direction_and_tap_has_a_row(void **state)
{
	struct fixture *fixture = *state;
	struct statistics *statistics = &fixture->statistics;

	add_times(statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1, 10, 0);
	add_times(statistics, fixture->vnet0, VMLAT_RX, VMLAT_TOTAL, 2, 20, 0);
	add_times(statistics, fixture->tap9, VMLAT_TX, VMLAT_TOTAL, 3, 30, 0);
	add_times(statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 4, 10, 0); /* another CPU */
	assert_int_equal(statistics->count, 3);
	assert_int_equal(row__total(row_of(statistics, "vnet0", VMLAT_TX))->times.count, 5);
	assert_int_equal(row__total(row_of(statistics, "vnet0", VMLAT_RX))->times.count, 2);
	assert_int_equal(row__total(row_of(statistics, "tap9", VMLAT_TX))->times.count, 3);
	assert_string_equal(row_of(statistics, "vnet0", VMLAT_TX)->vm, "web1");
	assert_string_equal(row_of(statistics, "tap9", VMLAT_TX)->vm, "");
}

static void segments_are_in_the_order_of_the_way_and_the_total_is_the_last(void **state)
{
	static const unsigned int pairs[] = { TO_DRIVER, VMLAT_TOTAL, FROM_BRIDGE, TO_UPCALL,
					      TO_BRIDGE, TO_VPORT,    TO_DATAPATH };
	static const enum vmlat_stage from[] = { VMLAT_STAGE_TAP_IN,	 VMLAT_STAGE_TAP_IN,
						 VMLAT_STAGE_BRIDGE_OUT, VMLAT_STAGE_DATAPATH,
						 VMLAT_STAGE_DATAPATH,	 VMLAT_STAGE_XMIT };
	static const enum vmlat_stage to[] = { VMLAT_STAGE_BRIDGE_IN, VMLAT_STAGE_DATAPATH,
					       VMLAT_STAGE_XMIT,      VMLAT_STAGE_UPCALL,
					       VMLAT_STAGE_VPORT,     VMLAT_STAGE_DRIVER };
	struct fixture *fixture = *state;
	const struct row *row;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, pairs[i], 1, i, 0);
	row = &fixture->statistics.rows[0];
	assert_int_equal(row->count, ARRAY_SIZE(pairs));
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		assert_false(row->segments[i].total);
		assert_int_equal(row->segments[i].from, from[i]);
		assert_int_equal(row->segments[i].to, to[i]);
	}
	assert_true(row->segments[row->count - 1].total);
	assert_int_equal(row__total(row)->times.max, 1);
}

static void a_row_without_its_total_has_none(void **state)
{
	struct fixture *fixture = *state;

	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, TO_VPORT, 1, 5, 0);
	assert_null(row__total(&fixture->statistics.rows[0]));
	assert_null(row__exemplar(&fixture->statistics.rows[0], 990));
	statistics__sort(&fixture->statistics);
}

static void merged_statistics_are_those_of_all_times(void **state)
{
	struct fixture *fixture = *state;
	struct statistics *statistics = &fixture->statistics, *other = &fixture->other;
	const struct distribution *times;

	add_times(statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 50, 1000, 10);
	add_times(other, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 50, 500, 10);
	add_times(other, fixture->vnet0, VMLAT_TX, TO_VPORT, 7, 3, 0);
	add_times(other, fixture->vnet2, VMLAT_RX, VMLAT_TOTAL, 9, 4, 0);
	statistics->unkept = 2;
	other->unkept = 3;
	assert_int_equal(statistics__merge(statistics, other), 0);
	assert_int_equal(statistics->count, 2);
	assert_int_equal(statistics->unkept, 5);
	times = &row__total(row_of(statistics, "vnet0", VMLAT_TX))->times;
	assert_int_equal(times->count, 100);
	assert_int_equal(times->min, 500);
	assert_int_equal(times->max, 1490);
	assert_int_equal(distribution__mean(times), 995);
	assert_in_range(distribution__percentile(times, 500), 990 - 30, 990 + 30);
	assert_int_equal(row_of(statistics, "vnet0", VMLAT_TX)->segments[0].times.count, 7);
	assert_int_equal(row__total(row_of(statistics, "vnet2", VMLAT_RX))->times.count, 9);
}

static void the_taps_of_a_vm_are_one_row_and_those_of_no_vm_are_not(void **state)
{
	struct fixture *fixture = *state;
	struct statistics *statistics = &fixture->statistics, *by_vm = &fixture->other;

	fixture->vnet2->vm[0] = '\0';
	add_times(statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 2, 10, 0);
	add_times(statistics, fixture->vnet1, VMLAT_TX, VMLAT_TOTAL, 3, 20, 0);
	add_times(statistics, fixture->vnet1, VMLAT_RX, VMLAT_TOTAL, 4, 30, 0);
	add_times(statistics, fixture->vnet2, VMLAT_TX, VMLAT_TOTAL, 5, 40, 0);
	add_times(statistics, fixture->tap9, VMLAT_TX, VMLAT_TOTAL, 6, 50, 0);
	statistics->unkept = 1;
	assert_int_equal(statistics__by_vm(statistics, by_vm), 0);
	assert_int_equal(by_vm->count, 4);
	assert_int_equal(by_vm->unkept, 1);
	assert_string_equal(row_of(by_vm, "", VMLAT_TX)->vm, "web1");
	assert_int_equal(row__total(row_of(by_vm, "", VMLAT_TX))->times.count, 5);
	assert_int_equal(row__total(row_of(by_vm, "", VMLAT_RX))->times.count, 4);
	assert_int_equal(row__total(row_of(by_vm, "vnet2", VMLAT_TX))->times.count, 5);
	assert_int_equal(row__total(row_of(by_vm, "tap9", VMLAT_TX))->times.count, 6);
	assert_int_equal(statistics->count, 5);
}

static void the_worst_p99_is_the_first_row_and_equals_are_by_name(void **state)
{
	static const char *const expected[] = { "vnet2", "tap9", "vnet0", "vnet0", "vnet1" };
	struct fixture *fixture = *state;
	struct statistics *statistics = &fixture->statistics;

	add_times(statistics, fixture->vnet1, VMLAT_TX, VMLAT_TOTAL, 1, 100, 0);
	add_times(statistics, fixture->vnet0, VMLAT_RX, VMLAT_TOTAL, 1, 100, 0);
	add_times(statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1, 100, 0);
	add_times(statistics, fixture->tap9, VMLAT_TX, VMLAT_TOTAL, 1, 200, 0);
	add_times(statistics, fixture->vnet2, VMLAT_TX, VMLAT_TOTAL, 1, 300, 0);
	/* its longest is the longest, but its p99 is not */
	add_times(statistics, fixture->vnet1, VMLAT_TX, VMLAT_TOTAL, 1000, 50, 0);
	add_times(statistics, fixture->vnet1, VMLAT_TX, VMLAT_TOTAL, 1, 100000, 0);
	statistics__sort(statistics);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_string_equal(statistics->rows[i].vm_interface, expected[i]);
	assert_int_equal(statistics->rows[2].direction, VMLAT_TX);
	assert_int_equal(statistics->rows[3].direction, VMLAT_RX);
}

static void a_long_name_is_kept_whole(void **state)
{
	struct fixture *fixture = *state;
	struct device *device = fixture->vnet0;

	memset(device->name, 'n', IF_NAMESIZE - 1);
	device->name[IF_NAMESIZE - 1] = '\0';
	memset(device->vm, 'v', VM_NAME - 1);
	device->vm[VM_NAME - 1] = '\0';
	add_times(&fixture->statistics, device, VMLAT_TX, VMLAT_TOTAL, 1, 1, 0);
	assert_string_equal(fixture->statistics.rows[0].vm_interface, device->name);
	assert_string_equal(fixture->statistics.rows[0].vm, device->vm);
}

static void a_tap_whose_vm_is_known_late_is_that_vms(void **state)
{
	struct fixture *fixture = *state;
	struct statistics *statistics = &fixture->statistics;

	add_times(statistics, fixture->tap9, VMLAT_TX, VMLAT_TOTAL, 2, 10, 0);
	add_times(statistics, fixture->tap9, VMLAT_RX, VMLAT_TOTAL, 3, 10, 0);
	add_times(statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1, 10, 0);
	assert_int_equal(statistics__name_vms(statistics, &fixture->devices), 0);
	assert_string_equal(row_of(statistics, "tap9", VMLAT_TX)->vm, "");
	snprintf(fixture->tap9->vm, VM_NAME, "web3");
	add_times(statistics, fixture->tap9, VMLAT_TX, VMLAT_TOTAL, 4, 20, 0);
	assert_int_equal(statistics->count, 4);
	assert_int_equal(statistics__name_vms(statistics, &fixture->devices), 0);
	assert_int_equal(statistics->count, 3);
	assert_string_equal(row_of(statistics, "tap9", VMLAT_TX)->vm, "web3");
	assert_int_equal(row__total(row_of(statistics, "tap9", VMLAT_TX))->times.count, 6);
	assert_string_equal(row_of(statistics, "tap9", VMLAT_RX)->vm, "web3");
	assert_int_equal(row__total(row_of(statistics, "tap9", VMLAT_RX))->times.count, 3);
	assert_string_equal(row_of(statistics, "vnet0", VMLAT_TX)->vm, "web1");
}

/* One tap of this name was nobody's, or another one's: whose the packets were is not known. */
static void a_name_that_two_taps_had_names_no_vm(void **state)
{
	struct fixture *fixture = *state;
	struct statistics *statistics = &fixture->statistics;

	add_times(statistics, fixture->tap9, VMLAT_TX, VMLAT_TOTAL, 2, 10, 0);
	snprintf(fixture->tap9->vm, VM_NAME, "web3");
	memcpy(fixture->vnet2->name, "tap9", sizeof("tap9"));
	assert_int_equal(statistics__name_vms(statistics, &fixture->devices), 0);
	assert_string_equal(statistics->rows[0].vm, "");
	fixture->vnet2->vm[0] = '\0';
	assert_int_equal(statistics__name_vms(statistics, &fixture->devices), 0);
	assert_string_equal(statistics->rows[0].vm, "");
}

/* --- examples --- */

static void add_example(struct fixture *fixture, __u64 total)
{
	const struct vmlat_flight flight = {
		.direction = VMLAT_TX, .visits = 2, .begin_ns = 1000, .last_ns = 1000 + total
	};
	size_t size = vmlat_flight_size(flight.visits);
	void *record = malloc(size); /* as the ring buffer has it */

	assert_non_null(record);
	memcpy(record, &flight, size);
	assert_int_equal(statistics__add_exemplar(&fixture->statistics, fixture->vnet0, record), 0);
	free(record);
}

static __u64 example(const struct fixture *fixture, unsigned int permille)
{
	const struct vmlat_flight *flight =
		row__exemplar(row_of(&fixture->statistics, "vnet0", VMLAT_TX), permille);

	return flight ? flight->last_ns - flight->begin_ns : 0;
}

static void the_slowest_and_one_of_the_p99_are_examples(void **state)
{
	struct fixture *fixture = *state;

	/* 1.000, 1.001, … 2.999 ms: the p99 is 2.979 */
	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 2000, 1000000, 1000);
	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 3, 50000000, 0);
	for (__u64 total = 1000000; total < 3000000; total += 1000)
		add_example(fixture, total);
	for (int i = 0; i < 3; i++)
		add_example(fixture, 50000000);
	assert_int_equal(example(fixture, 1000), 50000000);
	assert_int_equal(vmlat_bucket(example(fixture, 990)), vmlat_bucket(2980000));
	assert_int_equal(vmlat_bucket(example(fixture, 500)), vmlat_bucket(2000000));
}

static void where_the_p99_has_none_the_next_slower_one_is_the_example(void **state)
{
	struct fixture *fixture = *state;

	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1000, 1000, 0);
	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 2, 5000, 1000);
	add_example(fixture, 6000);
	add_example(fixture, 5000);
	add_example(fixture, 500);
	assert_int_equal(example(fixture, 1000), 6000);
	assert_int_equal(example(fixture, 990), 5000);
}

static void without_examples_there_is_none(void **state)
{
	struct fixture *fixture = *state;

	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1000, 1000, 0);
	assert_int_equal(example(fixture, 1000), 0);
	add_example(fixture, 500); /* faster than the p99 */
	assert_int_equal(example(fixture, 990), 0);
}

static void the_slowest_of_each_bucket_is_kept(void **state)
{
	static __u64 slowest[VMLAT_BUCKETS];
	struct fixture *fixture = *state;
	size_t kept = 0;
	__u32 random = 11;

	for (int i = 0; i < 5000; i++) {
		__u64 total = 1 + random_time(&random, 38), bucket = vmlat_bucket(total);

		slowest[bucket] = total > slowest[bucket] ? total : slowest[bucket];
		add_example(fixture, total);
	}
	for (int i = VMLAT_BUCKETS; i-- > 0;) {
		const struct row *row = &fixture->statistics.rows[0];

		if (!slowest[i])
			continue;
		assert_true(kept < row->exemplar_count);
		assert_int_equal(row->exemplars[kept++]->last_ns - 1000, slowest[i]);
	}
	assert_int_equal(fixture->statistics.rows[0].exemplar_count, kept);
}

/* As the BPF side does: of each bucket the first one, and each that is longer than all before it. */
static void send_examples(struct fixture *fixture, const __u64 *totals, size_t count)
{
	static bool sent[VMLAT_BUCKETS];
	__u64 longest = 0;

	memset(sent, 0, sizeof(sent));
	for (size_t i = 0; i < count; i++) {
		unsigned int bucket = vmlat_bucket(totals[i]);

		if (sent[bucket] && totals[i] <= longest)
			continue;
		longest = totals[i] > longest ? totals[i] : longest;
		sent[bucket] = true;
		add_example(fixture, totals[i]);
	}
}

/* Of 20,000 the slowest 200 are over seven octaves: in more buckets than 64, however wide these are. */
static void however_far_the_slowest_are_beyond_it_the_p99_has_its_example(void **state)
{
	enum { COUNT = 20000, SLOW = 200, P99_NS = 100000 };
	static __u64 totals[COUNT];
	struct fixture *fixture = *state;
	__u32 random = 5;

	for (size_t i = 0; i < COUNT; i++) {
		__u64 octave = (__u64)P99_NS << (1 + next_random(&random) % 7);
		bool slow = i % (COUNT / SLOW) == 7;

		totals[i] = slow ? octave + next_random(&random) % octave : P99_NS - i;
		add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 1, totals[i],
			  0);
	}
	send_examples(fixture, totals, COUNT);
	assert_int_equal(vmlat_bucket(example(fixture, 990)), vmlat_bucket(P99_NS));
	assert_true(example(fixture, 1000) > (P99_NS << 7));
	assert_true(row_of(&fixture->statistics, "vnet0", VMLAT_TX)->exemplar_count > 64);
}

static void of_one_bucket_the_slowest_is_kept_whichever_came_first(void **state)
{
	struct fixture *fixture = *state;

	add_times(&fixture->statistics, fixture->vnet0, VMLAT_TX, VMLAT_TOTAL, 3, 1000000, 1000);
	add_example(fixture, 1001000);
	add_example(fixture, 1002000);
	add_example(fixture, 1000000);
	assert_int_equal(fixture->statistics.rows[0].exemplar_count, 1);
	assert_int_equal(example(fixture, 1000), 1002000);
}

static void moved_examples_are_in_the_row_of_the_same_name(void **state)
{
	struct fixture *fixture = *state;

	add_example(fixture, 700);
	add_example(fixture, 900);
	assert_int_equal(statistics__move_exemplars(&fixture->other, &fixture->statistics.rows[0]),
			 0);
	assert_int_equal(fixture->statistics.rows[0].exemplar_count, 0);
	assert_int_equal(row_of(&fixture->other, "vnet0", VMLAT_TX)->exemplar_count, 2);
}

static void merged_statistics_have_the_slowest_of_both(void **state)
{
	struct fixture *fixture = *state;

	add_example(fixture, 700);
	add_example(fixture, 90000);
	assert_int_equal(statistics__merge(&fixture->other, &fixture->statistics), 0);
	statistics__free(&fixture->statistics);
	add_example(fixture, 8000);
	assert_int_equal(statistics__merge(&fixture->other, &fixture->statistics), 0);
	assert_int_equal(fixture->other.rows[0].exemplar_count, 3);
	assert_int_equal(fixture->other.rows[0].exemplars[0]->last_ns, 91000);
	assert_int_equal(fixture->other.rows[0].exemplars[2]->last_ns, 1700);
}

#define statistics_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		statistics_test(percentiles_are_within_3_percent_of_the_exact_ones),
		cmocka_unit_test(an_empty_distribution_has_zeros),
		statistics_test(a_percentile_is_no_more_than_the_longest_time),
		statistics_test(each_direction_and_tap_has_a_row),
		statistics_test(segments_are_in_the_order_of_the_way_and_the_total_is_the_last),
		statistics_test(a_row_without_its_total_has_none),
		statistics_test(merged_statistics_are_those_of_all_times),
		statistics_test(the_taps_of_a_vm_are_one_row_and_those_of_no_vm_are_not),
		statistics_test(the_worst_p99_is_the_first_row_and_equals_are_by_name),
		statistics_test(a_long_name_is_kept_whole),
		statistics_test(a_tap_whose_vm_is_known_late_is_that_vms),
		statistics_test(a_name_that_two_taps_had_names_no_vm),
		statistics_test(the_slowest_and_one_of_the_p99_are_examples),
		statistics_test(where_the_p99_has_none_the_next_slower_one_is_the_example),
		statistics_test(without_examples_there_is_none),
		statistics_test(the_slowest_of_each_bucket_is_kept),
		statistics_test(however_far_the_slowest_are_beyond_it_the_p99_has_its_example),
		statistics_test(of_one_bucket_the_slowest_is_kept_whichever_came_first),
		statistics_test(moved_examples_are_in_the_row_of_the_same_name),
		statistics_test(merged_statistics_have_the_slowest_of_both),
	};

	return cmocka_run_group_tests_name("statistics", tests, NULL, NULL);
}
