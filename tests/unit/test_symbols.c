// SPDX-License-Identifier: GPL-2.0
#include "host.h"

#include <errno.h>

/* Out of order, as the real one is: modules come after the kernel's init section. */
static const char kallsyms[] = "ffffffff81000000 T _text\n"
			       "ffffffff81000100 T __dev_queue_xmit\n"
			       "ffffffff81000300 t netdev_pick_tx.isra.0\n"
			       "ffffffff81000400 t netdev_pick_tx.cold\n"
			       "ffffffff81000500 W weak_function\n"
			       "ffffffff81000600 w weaker_function\n"
			       "ffffffff82000000 D jiffies\n"
			       "ffffffff82000100 R page_offset_base\n"
			       "ffffffff82000200 r __ksymtab_vmemmap_base\n"
			       "ffffffffc0400000 d vmemmap_base\t[other]\n"
			       "0000000000000000 A fixed_percpu_data\n"
			       "ffffffffc0300000 t tun_get_user\t[tun]\n"
			       "ffffffffc0300800 t tun_net_xmit\t[tun]\n"
			       "ffffffffc0200000 t get_dp\t[openvswitch]\n"
			       "ffffffffc0200100 t ovs_vport_send\t[openvswitch]\n"
			       "ffffffffc0100000 t get_dp\t[other]\n"
			       "ffffffff83000000 t init_function\n"
			       "not a line of it\n";

static void a_function_is_found_by_its_exact_name(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_int_equal(symbols__address(symbols, "", "__dev_queue_xmit"), 0xffffffff81000100);
	assert_int_equal(symbols__address(symbols, "", "weak_function"), 0xffffffff81000500);
	assert_int_equal(symbols__address(symbols, "", "weaker_function"), 0xffffffff81000600);
	assert_int_equal(symbols__address(symbols, "", "__dev_queue"), 0);
	assert_int_equal(symbols__address(symbols, "", "__dev_queue_xmit2"), 0);
	assert_int_equal(symbols__address(symbols, "", ""), 0);
	symbols__free(symbols);
}

static void what_the_compiler_made_of_a_function_is_not_it(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_int_equal(symbols__address(symbols, "", "netdev_pick_tx"), 0);
	symbols__free(symbols);
}

static void data_is_no_function(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_int_equal(symbols__address(symbols, "", "jiffies"), 0);
	symbols__free(symbols);
}

static void a_variable_is_the_kernels_own_of_exactly_this_name(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_int_equal(symbols__variable(symbols, "page_offset_base"), 0xffffffff82000100);
	assert_int_equal(symbols__variable(symbols, "vmemmap_base"), 0);
	assert_int_equal(symbols__variable(symbols, "jiffies"), 0); /* nobody asks for it */
	symbols__free(symbols);
}

static void a_modules_function_is_found_in_that_module_alone(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_int_equal(symbols__address(symbols, "tun", "tun_get_user"), 0xffffffffc0300000);
	assert_int_equal(symbols__address(symbols, "", "tun_get_user"), 0);
	assert_int_equal(symbols__address(symbols, "openvswitch", "tun_get_user"), 0);
	assert_int_equal(symbols__address(symbols, "openvswitch", "get_dp"), 0xffffffffc0200000);
	assert_int_equal(symbols__address(symbols, "other", "get_dp"), 0xffffffffc0100000);
	symbols__free(symbols);
}

static void a_module_that_is_built_in_has_its_functions_in_the_kernel(void **state)
{
	struct symbols *symbols = host_symbols("ffffffffc0100000 t get_dp\t[other]\n"
					       "ffffffff81000100 t tun_get_user\n");

	(void)state;
	assert_int_equal(symbols__address(symbols, "tun", "tun_get_user"), 0xffffffff81000100);
	symbols__free(symbols);
}

static void a_module_is_there_when_it_has_a_function(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_true(symbols__has_module(symbols, "tun"));
	assert_true(symbols__has_module(symbols, "openvswitch"));
	assert_true(symbols__has_module(symbols, ""));
	assert_false(symbols__has_module(symbols, "tu"));
	assert_false(symbols__has_module(symbols, "kvm"));
	symbols__free(symbols);
}

static void assert_name(struct symbols *symbols, __u64 address, const char *name,
			__u64 expected_offset)
{
	__u64 offset = ~0ULL;
	const char *found = symbols__name(symbols, address, &offset);

	assert_non_null(found);
	assert_string_equal(found, name);
	assert_int_equal(offset, expected_offset);
}

static void an_address_is_in_the_function_that_begins_last_before_it(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_name(symbols, 0xffffffff81000000, "_text", 0);
	assert_name(symbols, 0xffffffff810000ff, "_text", 0xff);
	assert_name(symbols, 0xffffffff81000100, "__dev_queue_xmit", 0);
	assert_name(symbols, 0xffffffff810002ff, "__dev_queue_xmit", 0x1ff);
	assert_name(symbols, 0xffffffff81000404, "netdev_pick_tx.cold", 4);
	assert_name(symbols, 0xffffffffc0300001, "tun_get_user", 1);
	assert_name(symbols, 0xffffffffc0300900, "tun_net_xmit", 0x100);
	symbols__free(symbols);
}

static void an_address_before_the_first_function_is_in_none(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);
	__u64 offset;

	(void)state;
	assert_null(symbols__name(symbols, 0xffffffff80ffffff, &offset));
	assert_null(symbols__name(symbols, 0, &offset));
	symbols__free(symbols);
}

static void assert_refused(const char *text, int expected)
{
	errno = 0;
	assert_null(host_symbols(text));
	assert_int_equal(errno, expected);
}

static void of_hidden_functions_the_names_are_known(void **state)
{
	struct symbols *hidden = host_symbols("0000000000000000 A fixed_percpu_data\n"
					      "0000000000000000 T _text\n"
					      "0000000000000000 t tun_get_user\t[tun]\n");
	struct symbols *shown = host_symbols(kallsyms);

	(void)state;
	assert_true(symbols__hidden(hidden));
	assert_true(symbols__has(hidden, "tun", "tun_get_user"));
	assert_false(symbols__has(hidden, "tun", "tun_sendmsg"));
	assert_int_equal(symbols__address(hidden, "tun", "tun_get_user"), 0);
	assert_false(symbols__hidden(shown));
	symbols__free(hidden);
	symbols__free(shown);
}

static void the_suffix_says_what_the_compiler_made_of_a_function(void **state)
{
	struct symbols *symbols = host_symbols(kallsyms);

	(void)state;
	assert_string_equal(symbols__suffix(symbols, "", "netdev_pick_tx"), ".isra.0");
	assert_null(symbols__suffix(symbols, "", "netdev_pick"));
	assert_null(symbols__suffix(symbols, "", "__dev_queue_xmit"));
	symbols__free(symbols);
}

static void a_file_without_functions_is_an_error(void **state)
{
	(void)state;
	assert_refused("", ENOENT);
	assert_refused("ffffffff82000000 D jiffies\n", ENOENT);
	assert_refused("nothing of the kind\n", ENOENT);
	errno = 0;
	assert_null(symbols__load("/nonexistent"));
	assert_int_equal(errno, ENOENT);
}

/* More than what is allocated first, in number and in text. */
static void a_hundred_thousand_functions_are_kept(void **state)
{
	enum { FUNCTIONS = 100000 };
	char *text = NULL, name[64];
	size_t size;
	FILE *file = open_memstream(&text, &size);
	struct symbols *symbols;

	(void)state;
	for (int i = 0; i < FUNCTIONS; i++)
		fprintf(file, "%016llx t function_with_a_long_name_%d\t[m%d]\n",
			0xffffffff81000000 + i * 16ULL, i, i / 1000);
	fclose(file);
	symbols = host_symbols(text);
	assert_non_null(symbols);
	for (int i = 0; i < FUNCTIONS; i += 9999) {
		snprintf(name, sizeof(name), "function_with_a_long_name_%d", i);
		assert_name(symbols, 0xffffffff81000000 + i * 16ULL + 3, name, 3);
	}
	assert_int_equal(symbols__address(symbols, "m99", name), 0xffffffff81000000 + 99990 * 16);
	symbols__free(symbols);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_function_is_found_by_its_exact_name),
		cmocka_unit_test(what_the_compiler_made_of_a_function_is_not_it),
		cmocka_unit_test(data_is_no_function),
		cmocka_unit_test(a_variable_is_the_kernels_own_of_exactly_this_name),
		cmocka_unit_test(a_modules_function_is_found_in_that_module_alone),
		cmocka_unit_test(a_module_that_is_built_in_has_its_functions_in_the_kernel),
		cmocka_unit_test(a_module_is_there_when_it_has_a_function),
		cmocka_unit_test(an_address_is_in_the_function_that_begins_last_before_it),
		cmocka_unit_test(an_address_before_the_first_function_is_in_none),
		cmocka_unit_test(of_hidden_functions_the_names_are_known),
		cmocka_unit_test(the_suffix_says_what_the_compiler_made_of_a_function),
		cmocka_unit_test(a_file_without_functions_is_an_error),
		cmocka_unit_test(a_hundred_thousand_functions_are_kept),
	};

	return cmocka_run_group_tests_name("symbols", tests, NULL, NULL);
}
