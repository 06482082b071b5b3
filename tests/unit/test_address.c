// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include <arpa/inet.h>

#include "address.h"

static void assert_text(int family, const __be32 *address, const char *expected)
{
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(address__text(family, address, text), strlen(expected));
	assert_string_equal(text, expected);
}

/* Parsed by libc, and written by us. */
static void assert_same(const char *expected)
{
	int family = strchr(expected, ':') ? 6 : 4;
	__be32 address[4];

	assert_int_equal(inet_pton(family == 4 ? AF_INET : AF_INET6, expected, address), 1);
	assert_text(family, address, expected);
}

static void ipv4_is_four_numbers(void **state)
{
	(void)state;
	assert_same("0.0.0.0");
	assert_same("9.10.99.100");
	assert_same("192.168.1.20");
	assert_same("255.255.255.255");
}

static void the_longest_run_of_zeros_is_left_out(void **state)
{
	(void)state;
	assert_same("::");
	assert_same("::1");
	assert_same("fe80::");
	assert_same("2001:db8::1");
	assert_same("1:0:0:2::3"); /* the longer one */
	assert_same("1::2:0:0:3:4"); /* the first of two */
	assert_same("1:0:2:3:4:5:6:7"); /* one zero is none */
	assert_same("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_same("abc:10:f:1000:0:1:2:3");
}

static void ipv4_in_ipv6_is_written_as_ipv4(void **state)
{
	(void)state;
	assert_same("::192.168.1.20");
	assert_same("::ffff:10.0.0.1");
	assert_same("::ffff:0:a00:1");
	assert_same("::fffe:a00:1");
}

/* Each word is 0, all ones, or one of 1 to 4 digits. */
static void any_address_is_as_libc_writes_it(void **state)
{
	static const __u16 words[] = { 0, 0, 0, 0xffff, 1, 0x23, 0x456, 0x789a };
	unsigned int seed = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char expected[INET6_ADDRSTRLEN];
		__u16 address[8];

		for (int word = 0; word < 8; word++) {
			seed = seed * 1103515245 + 12345;
			address[word] = htons(words[seed >> 16 & 7]);
		}
		assert_non_null(inet_ntop(AF_INET6, address, expected, sizeof(expected)));
		assert_text(6, (__be32 *)address, expected);
		assert_non_null(inet_ntop(AF_INET, address, expected, sizeof(expected)));
		assert_text(4, (__be32 *)address, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_is_four_numbers),
		cmocka_unit_test(the_longest_run_of_zeros_is_left_out),
		cmocka_unit_test(ipv4_in_ipv6_is_written_as_ipv4),
		cmocka_unit_test(any_address_is_as_libc_writes_it),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
