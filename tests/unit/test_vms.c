// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include "vms.h"

/* The arguments are given as one string literal, its last NUL the compiler's. */
#define assert_name(expected, arguments) name_is(expected, arguments, sizeof(arguments))
#define assert_no_name(arguments)	 assert_name(NULL, arguments)

static void name_is(const char *expected, const char *arguments, size_t length)
{
	/* of exactly this size: what is read beyond is seen */
	char *copy = malloc(length), name[64] = "";
	int found;

	assert_non_null(copy);
	memcpy(copy, arguments, length);
	found = vms__name_from_arguments(copy, length, name, sizeof(name));
	free(copy);
	assert_int_equal(found, expected != NULL);
	if (expected)
		assert_string_equal(name, expected);
}

static void a_name_is_given_by_itself(void **state)
{
	(void)state;
	assert_name("web1", "qemu-system-x86_64\0-name\0web1\0-m\0"
			    "512");
	assert_name("web1", "qemu\0--name\0web1");
	assert_name("web1", "qemu\0-name\0web1,process=qemu-web1");
	assert_name("vm 1", "qemu\0-name\0vm 1");
}

static void a_name_is_given_by_guest(void **state)
{
	(void)state;
	assert_name("web1", "qemu\0-name\0guest=web1,debug-threads=on\0-S");
	assert_name("web1", "qemu\0-name\0debug-threads=on,guest=web1");
	assert_name("a=b", "qemu\0-name\0guest=a=b");
}

static void a_command_line_may_have_no_name(void **state)
{
	(void)state;
	assert_no_name("qemu\0-m\0"
		       "512");
	assert_no_name("qemu\0-name");
	assert_no_name("qemu\0-name\0debug-threads=on");
	assert_no_name("qemu\0-name\0");
	assert_no_name("qemu\0-name\0guest=");
	assert_no_name("qemu\0-names\0web1");
	assert_no_name("");
}

static void what_looks_like_a_name_elsewhere_is_none(void **state)
{
	(void)state;
	assert_no_name("qemu\0-append\0name=x");
	assert_no_name("qemu\0guest=web1");
	assert_name("b", "qemu\0-device\0x,name=a\0-name\0b");
}

static void a_command_line_that_is_cut_ends_there(void **state)
{
	static const char line[] = "qemu\0-name\0web1";
	char name[64];

	(void)state;
	for (size_t length = 0; length < sizeof(line); length++) {
		char *copy = malloc(length ? length : 1);

		assert_non_null(copy);
		memcpy(copy, line, length);
		assert_false(vms__name_from_arguments(copy, length, name, sizeof(name)));
		free(copy);
	}
}

static void a_long_name_is_cut_to_its_room(void **state)
{
	static const char line[] = "qemu\0-name\0abcdefghij";
	char name[5];

	(void)state;
	assert_true(vms__name_from_arguments(line, sizeof(line), name, sizeof(name)));
	assert_string_equal(name, "abcd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_given_by_itself),
		cmocka_unit_test(a_name_is_given_by_guest),
		cmocka_unit_test(a_command_line_may_have_no_name),
		cmocka_unit_test(what_looks_like_a_name_elsewhere_is_none),
		cmocka_unit_test(a_command_line_that_is_cut_ends_there),
		cmocka_unit_test(a_long_name_is_cut_to_its_room),
	};

	return cmocka_run_group_tests_name("vms", tests, NULL, NULL);
}
