// SPDX-License-Identifier: GPL-2.0
/* Which bucket a time falls into: one function, of the BPF side and of user space. */
#include "histogram.h"

#include <stdbool.h>

#include "times.h"

static void each_bucket_has_the_times_between_its_bounds(void **state)
{
	(void)state;
	assert_int_equal(vmlat_bucket_low(0), 0);
	for (__u32 bucket = 0; bucket < VMLAT_BUCKETS; bucket++) {
		__u64 low = vmlat_bucket_low(bucket), next = vmlat_bucket_low(bucket + 1);

		assert_true(low < next);
		assert_int_equal(vmlat_bucket(low), bucket);
		assert_int_equal(vmlat_bucket(next - 1), bucket);
		assert_in_range(vmlat_bucket_value(bucket), low, next - 1);
	}
}

static void a_longer_time_is_in_no_lower_bucket(void **state)
{
	__u32 random = 7;

	(void)state;
	for (__u64 ns = 0; ns < 100000; ns++)
		assert_in_range(vmlat_bucket(ns + 1) - vmlat_bucket(ns), 0, 1);
	for (int i = 0; i < 10000; i++) {
		__u64 one = random_time(&random, 63), other = random_time(&random, 63);

		assert_true(one >= other || vmlat_bucket(one) <= vmlat_bucket(other));
	}
}

static void what_is_longer_than_the_last_octave_is_in_the_last_bucket(void **state)
{
	(void)state;
	assert_int_equal(vmlat_bucket_low(VMLAT_BUCKETS), 1ULL << (VMLAT_LAST_OCTAVE + 1));
	assert_int_equal(vmlat_bucket(1ULL << (VMLAT_LAST_OCTAVE + 1)), VMLAT_BUCKETS - 1);
	assert_int_equal(vmlat_bucket(~0ULL), VMLAT_BUCKETS - 1);
	assert_true(1ULL << VMLAT_LAST_OCTAVE > 60000000000ULL); /* minutes are within */
}

static void assert_close(__u64 ns)
{
	__u64 value = vmlat_bucket_value(vmlat_bucket(ns));
	double error = ((double)value - (double)ns) / (ns ? ns : 1);

	if (error > 0.016 || error < -0.016)
		fail_msg("%llu is told as %llu", ns, value);
}

static void a_bucket_stands_for_each_of_its_times_within_1_6_percent(void **state)
{
	__u32 random = 3;

	(void)state;
	for (__u32 bucket = 0; bucket < VMLAT_BUCKETS; bucket++) {
		assert_close(vmlat_bucket_low(bucket));
		assert_close(vmlat_bucket_low(bucket + 1) - 1);
	}
	for (int i = 0; i < 100000; i++)
		assert_close(random_time(&random, VMLAT_LAST_OCTAVE + 1));
}

static void each_pair_of_stages_has_a_number_of_its_own(void **state)
{
	static bool seen[VMLAT_PAIRS];

	(void)state;
	for (int direction = VMLAT_TX; direction <= VMLAT_RX; direction++) {
		for (unsigned int from = 0; from < VMLAT_STAGE_COUNT; from++)
			for (unsigned int to = 0; to < VMLAT_STAGE_COUNT; to++) {
				unsigned int pair = vmlat_pair_of(direction, vmlat_pair(from, to));

				assert_in_range(pair, 0, VMLAT_PAIRS - 1);
				assert_false(seen[pair]);
				seen[pair] = true;
			}
		assert_in_range(vmlat_pair_of(direction, VMLAT_TOTAL), 0, VMLAT_PAIRS - 1);
		assert_false(seen[vmlat_pair_of(direction, VMLAT_TOTAL)]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bucket_has_the_times_between_its_bounds),
		cmocka_unit_test(a_longer_time_is_in_no_lower_bucket),
		cmocka_unit_test(what_is_longer_than_the_last_octave_is_in_the_last_bucket),
		cmocka_unit_test(a_bucket_stands_for_each_of_its_times_within_1_6_percent),
		cmocka_unit_test(each_pair_of_stages_has_a_number_of_its_own),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
