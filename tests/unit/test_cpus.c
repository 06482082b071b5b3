// SPDX-License-Identifier: GPL-2.0
/* Lists of CPUs, as the kernel writes them. */
#include "unit.h"

#include <bpf/libbpf.h>
#include <errno.h>

#include "cpus.h"

static struct cpus cpus;

static void assert_numbers(const char *list, int count, const int *numbers)
{
	assert_int_equal(cpus__parse(&cpus, list), 0);
	assert_int_equal(cpus.count, count);
	for (int i = 0; i < count; i++)
		assert_int_equal(cpus.number[i], numbers[i]);
}

static void a_list_has_numbers_and_ranges(void **state)
{
	(void)state;
	assert_numbers("0\n", 1, (int[]){ 0 });
	assert_numbers("0-3\n", 4, (int[]){ 0, 1, 2, 3 });
	assert_numbers("0,2", 2, (int[]){ 0, 2 });
	assert_numbers("8191\n", 1, (int[]){ 8191 });
}

static void the_nth_cpu_may_have_another_number(void **state)
{
	(void)state;
	assert_numbers("0-1,4-5,9\n", 5, (int[]){ 0, 1, 4, 5, 9 });
	assert_numbers("2,4-6\n", 4, (int[]){ 2, 4, 5, 6 });
}

static void what_is_no_list_is_refused(void **state)
{
	static const char *const wrong[] = { "",    "\n",    "x",      "0-",   "0-1,",
					     "3-1", "1,0-3", "0,0",    "-1",   "8192",
					     "0 1", "0-1;",  "0-8192", "0--1", "0,,1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(cpus__parse(&cpus, wrong[i]), -EINVAL);
}

static void this_machine_has_as_many_as_libbpf_says(void **state)
{
	(void)state;
	assert_int_equal(cpus__find(&cpus), 0);
	assert_int_equal(cpus.count, libbpf_num_possible_cpus());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_has_numbers_and_ranges),
		cmocka_unit_test(the_nth_cpu_may_have_another_number),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(this_machine_has_as_many_as_libbpf_says),
	};

	return cmocka_run_group_tests_name("cpus", tests, NULL, NULL);
}
