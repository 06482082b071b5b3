// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include <arpa/inet.h>

#include "hooks.h"
#include "parse.h"

#define SECOND 1000000000ULL
#define DAY    (86400 * SECOND)

static struct vmlat_prefix good_prefix(const char *text)
{
	struct vmlat_prefix prefix;

	memset(&prefix, 0xa5, sizeof(prefix)); /* nothing of it may stay */
	assert_null(parse_prefix(text, &prefix));
	return prefix;
}

static void assert_wrong_prefix(const char *text, const char *why)
{
	struct vmlat_prefix prefix;
	const char *error = parse_prefix(text, &prefix);

	assert_non_null(error);
	assert_string_equal(error, why);
}

static void an_ipv4_address_is_a_prefix_of_32_bits(void **state)
{
	struct vmlat_prefix expected = { .family = 4 }, prefix = good_prefix("10.1.2.3");

	(void)state;
	expected.addr[0] = htonl(0x0a010203);
	expected.mask[0] = 0xffffffff;
	assert_memory_equal(&prefix, &expected, sizeof(prefix));
}

static void an_ipv6_address_is_a_prefix_of_128_bits(void **state)
{
	struct vmlat_prefix expected = { .family = 6 }, prefix = good_prefix("2001:db8::a:1");

	(void)state;
	expected.addr[0] = htonl(0x20010db8);
	expected.addr[3] = htonl(0x000a0001);
	memset(expected.mask, 0xff, sizeof(expected.mask));
	assert_memory_equal(&prefix, &expected, sizeof(prefix));
}

static void every_ipv4_prefix_length_has_its_mask(void **state)
{
	char text[32];

	(void)state;
	for (unsigned int bits = 0; bits <= 32; bits++) {
		struct vmlat_prefix prefix;

		snprintf(text, sizeof(text), "%s/%u", bits ? "128.0.0.0" : "0.0.0.0", bits);
		prefix = good_prefix(text);
		assert_int_equal(ntohl(prefix.mask[0]), 0xffffffffULL << (32 - bits) & 0xffffffff);
		assert_int_equal(prefix.mask[1] | prefix.mask[2] | prefix.mask[3], 0);
		assert_int_equal(prefix.family, 4);
	}
}

static void every_ipv6_prefix_length_has_its_mask(void **state)
{
	char text[32];

	(void)state;
	for (unsigned int bits = 0; bits <= 128; bits++) {
		struct vmlat_prefix prefix;

		snprintf(text, sizeof(text), "::/%u", bits);
		prefix = good_prefix(text);
		for (unsigned int bit = 0; bit < 128; bit++)
			assert_int_equal(ntohl(prefix.mask[bit / 32]) >> (31 - bit % 32) & 1,
					 bit < bits);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const texts[] = {
		"",	    "vnet0", "10.0.0",	  "10.0.0.256", "1.2.3.4 ",	  " 1.2.3.4",
		"1.2.3.4x", ":::",   "fe80::1%0", "/24",	"1.2.3.4,5.6.7.8"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_wrong_prefix(texts[i],
				    "is no IPv4 or IPv6 address (names are not looked up)");
}

static void an_address_longer_than_any_is_refused(void **state)
{
	char text[200];

	(void)state;
	memset(text, '1', sizeof(text) - 1);
	for (size_t length = 60; length < sizeof(text); length++) {
		struct vmlat_prefix prefix;

		text[length] = '\0';
		assert_non_null(parse_prefix(text, &prefix));
		text[length] = '1';
	}
	text[64] = '\0';
	assert_wrong_prefix(text, "is no IPv4 or IPv6 address");
}

static void a_prefix_length_beyond_the_address_is_refused(void **state)
{
	static const char v4[] = "has no prefix length from 0 to 32";
	static const char v6[] = "has no prefix length from 0 to 128";

	(void)state;
	assert_wrong_prefix("10.0.0.0/33", v4);
	assert_wrong_prefix("10.0.0.0/", v4);
	assert_wrong_prefix("10.0.0.0/-1", v4);
	assert_wrong_prefix("10.0.0.0/8/8", v4);
	assert_wrong_prefix("10.0.0.0/ 8", v4);
	assert_wrong_prefix("10.0.0.0/255.0.0.0", v4);
	assert_wrong_prefix("10.0.0.0/4294967304", v4);
	assert_wrong_prefix("10.0.0.0/18446744073709551624", v4);
	assert_wrong_prefix("::/129", v6);
	assert_wrong_prefix("::/x", v6);
}

static void host_bits_beyond_the_prefix_are_refused(void **state)
{
	static const char why[] = "has bits set beyond its prefix length";

	(void)state;
	assert_wrong_prefix("10.0.0.1/31", why);
	assert_wrong_prefix("10.0.0.1/24", why);
	assert_wrong_prefix("128.0.0.0/0", why);
	assert_wrong_prefix("2001:db8::1/127", why);
	assert_wrong_prefix("2001:db8::1/64", why);
	assert_wrong_prefix("2001:db9::/31", why);
	good_prefix("10.0.0.0/31");
	good_prefix("2001:db8::/32");
}

static void a_port_is_a_range_of_one(void **state)
{
	struct vmlat_ports ports;

	(void)state;
	assert_null(parse_ports("443", &ports));
	assert_int_equal(ports.low, 443);
	assert_int_equal(ports.high, 443);
	assert_null(parse_ports("0", &ports));
	assert_int_equal(ports.high, 0);
}

static void a_port_range_has_both_ends(void **state)
{
	struct vmlat_ports ports;

	(void)state;
	assert_null(parse_ports("1024-65535", &ports));
	assert_int_equal(ports.low, 1024);
	assert_int_equal(ports.high, 65535);
	assert_null(parse_ports("80-80", &ports));
	assert_int_equal(ports.low, 80);
	assert_int_equal(ports.high, 80);
}

static void what_is_no_port_is_refused(void **state)
{
	static const char *const texts[] = { "",
					     "-",
					     "http",
					     "65536",
					     "80-65536",
					     "80-",
					     "-80",
					     "+80",
					     "8 0",
					     "80-90-91",
					     "0x50",
					     "4294967376",
					     "18446744073709551696" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct vmlat_ports ports;
		const char *error = parse_ports(texts[i], &ports);

		assert_non_null(error);
		assert_string_equal(error, "is no port or port range (0 to 65535)");
	}
}

static void an_empty_port_range_is_refused(void **state)
{
	struct vmlat_ports ports;

	(void)state;
	assert_string_equal(parse_ports("81-80", &ports),
			    "is an empty range: the lower port comes first");
}

static void protocols_are_a_list(void **state)
{
	__u32 mask;

	(void)state;
	assert_null(parse_protocols("tcp", &mask));
	assert_int_equal(mask, VMLAT_TCP);
	assert_null(parse_protocols("udp", &mask));
	assert_int_equal(mask, VMLAT_UDP);
	assert_null(parse_protocols("icmp", &mask));
	assert_int_equal(mask, VMLAT_ICMP);
	assert_null(parse_protocols("icmp,tcp,icmp", &mask));
	assert_int_equal(mask, VMLAT_ICMP | VMLAT_TCP);
}

static void any_protocol_stands_for_all(void **state)
{
	__u32 mask = 77;

	(void)state;
	assert_null(parse_protocols("any", &mask));
	assert_int_equal(mask, 0);
	assert_null(parse_protocols("tcp,any", &mask));
	assert_int_equal(mask, 0);
}

static void an_unknown_protocol_is_refused(void **state)
{
	static const char *const texts[] = { "",	 "sctp", "TCP",	    "tcp,", ",tcp",
					     "tcp,,udp", "tc",	 "tcp udp", "tcpx" };
	__u32 mask;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *error = parse_protocols(texts[i], &mask);

		assert_non_null(error);
		assert_string_equal(error, "is no list of tcp, udp, icmp, any");
	}
}

static void every_outcome_has_a_name(void **state)
{
	__u32 mask;

	(void)state;
#define X(id, name)                               \
	assert_null(parse_outcomes(name, &mask)); \
	assert_int_equal(mask, 1U << VMLAT_##id);
	VMLAT_OUTCOMES(X)
#undef X
	assert_null(parse_outcomes("dropped,upcall_lost", &mask));
	assert_int_equal(mask, 1U << VMLAT_DROPPED | 1U << VMLAT_UPCALL_LOST);
}

static void an_unknown_outcome_is_told_all_that_there_are(void **state)
{
#define X(id, name) ", " name
	static const char names[] = VMLAT_OUTCOMES(X);
#undef X
	char expected[256];
	__u32 mask;

	(void)state;
	snprintf(expected, sizeof(expected), "is no list of %s", names + 2);
	assert_string_equal(parse_outcomes("lost", &mask), expected);
	assert_string_equal(parse_outcomes("", &mask), expected);
}

static void a_direction_is_one_of_three(void **state)
{
	int directions;

	(void)state;
	assert_null(parse_direction("tx", &directions));
	assert_int_equal(directions, VMLAT_TX);
	assert_null(parse_direction("rx", &directions));
	assert_int_equal(directions, VMLAT_RX);
	assert_null(parse_direction("both", &directions));
	assert_int_equal(directions, VMLAT_BOTH);
	assert_string_equal(parse_direction("tx,rx", &directions), "is none of tx, rx, both");
	assert_string_equal(parse_direction("", &directions), "is none of tx, rx, both");
}

static void a_number_keeps_to_its_bounds(void **state)
{
	__u64 number;

	(void)state;
	assert_null(parse_number("16", 16, 4096, &number));
	assert_int_equal(number, 16);
	assert_null(parse_number("4096", 16, 4096, &number));
	assert_int_equal(number, 4096);
	assert_null(parse_number("18446744073709551615", 0, ~0ULL, &number));
	assert_int_equal(number, ~0ULL);
	assert_string_equal(parse_number("15", 16, 4096, &number), "is out of range");
	assert_string_equal(parse_number("4097", 16, 4096, &number), "is out of range");
}

static void what_is_no_number_is_refused(void **state)
{
	static const char *const texts[] = { "",
					     "x",
					     "1x",
					     "-1",
					     "+1",
					     " 1",
					     "1 ",
					     "0x10",
					     "1.5",
					     "18446744073709551616",
					     "99999999999999999999999" };
	__u64 number;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *error = parse_number(texts[i], 0, ~0ULL, &number);

		assert_non_null(error);
		assert_string_equal(error, "is no number");
	}
}

static void assert_time(const char *text, __u64 unit_ns, __u64 expected)
{
	__u64 ns;

	assert_null(parse_time(text, unit_ns, &ns));
	assert_int_equal(ns, expected);
}

static void a_time_is_a_decimal_fraction_of_its_unit(void **state)
{
	(void)state;
	assert_time("250", 1000, 250000);
	assert_time("1.5", 1000, 1500);
	assert_time("0.001", 1000, 1);
	assert_time("0", 1000, 0);
	assert_time("0.0", 1000, 0);
	assert_time("5", SECOND, 5 * SECOND);
	assert_time("0.25", SECOND, SECOND / 4);
	assert_time("1.000000001", SECOND, SECOND + 1);
	assert_time("007.10", SECOND, 7 * SECOND + SECOND / 10);
}

static void what_is_finer_than_a_nanosecond_is_cut(void **state)
{
	(void)state;
	assert_time("0.0009", 1000, 0);
	assert_time("0.9999999", 1000, 999);
	assert_time("0.000000000000000000000000000000001", SECOND, 0);
}

static void a_time_is_at_most_a_day(void **state)
{
	__u64 ns;

	(void)state;
	assert_time("86400", SECOND, DAY);
	assert_time("86400000000", 1000, DAY);
	assert_string_equal(parse_time("86401", SECOND, &ns), "is more than a day");
	assert_string_equal(parse_time("86400.1", SECOND, &ns), "is more than a day");
	assert_string_equal(parse_time("86400000000.001", 1000, &ns), "is more than a day");
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const texts[] = { "",    ".",  ".5", "5.",  "1.2.3", "-1",  "+1",
					     "1e3", "1s", " 1", "1,5", "nan",	"inf", "0x1" };
	__u64 ns;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *error = parse_time(texts[i], SECOND, &ns);

		assert_non_null(error);
		assert_string_equal(error, "is no time (a decimal number, such as 250 or 0.5)");
	}
}

static void the_nearest_name_is_found(void **state)
{
	static const char *const names[] = { "src-ip", "dst-ip", "src-port", "dst-port", "count" };

	(void)state;
	assert_string_equal(nearest_name("src-pi", names, 5), "src-ip");
	assert_string_equal(nearest_name("scr-port", names, 5), "src-port");
	assert_string_equal(nearest_name("dstport", names, 5), "dst-port");
	assert_string_equal(nearest_name("counts", names, 5), "count");
	assert_string_equal(nearest_name("cunt", names, 5), "count");
	assert_ptr_equal(nearest_name("count", names, 5), names[4]);
}

static void a_name_like_none_has_no_nearest(void **state)
{
	static const char *const names[] = { "src-ip", "count", "x" };
	char longer[300];

	(void)state;
	assert_null(nearest_name("zzzzzz", names, 3));
	assert_null(nearest_name("", names, 3));
	assert_null(nearest_name("y", names, 3));
	assert_null(nearest_name("count", names, 0));
	memset(longer, 'z', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_null(nearest_name(longer, names, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ipv4_address_is_a_prefix_of_32_bits),
		cmocka_unit_test(an_ipv6_address_is_a_prefix_of_128_bits),
		cmocka_unit_test(every_ipv4_prefix_length_has_its_mask),
		cmocka_unit_test(every_ipv6_prefix_length_has_its_mask),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(an_address_longer_than_any_is_refused),
		cmocka_unit_test(a_prefix_length_beyond_the_address_is_refused),
		cmocka_unit_test(host_bits_beyond_the_prefix_are_refused),
		cmocka_unit_test(a_port_is_a_range_of_one),
		cmocka_unit_test(a_port_range_has_both_ends),
		cmocka_unit_test(what_is_no_port_is_refused),
		cmocka_unit_test(an_empty_port_range_is_refused),
		cmocka_unit_test(protocols_are_a_list),
		cmocka_unit_test(any_protocol_stands_for_all),
		cmocka_unit_test(an_unknown_protocol_is_refused),
		cmocka_unit_test(every_outcome_has_a_name),
		cmocka_unit_test(an_unknown_outcome_is_told_all_that_there_are),
		cmocka_unit_test(a_direction_is_one_of_three),
		cmocka_unit_test(a_number_keeps_to_its_bounds),
		cmocka_unit_test(what_is_no_number_is_refused),
		cmocka_unit_test(a_time_is_a_decimal_fraction_of_its_unit),
		cmocka_unit_test(what_is_finer_than_a_nanosecond_is_cut),
		cmocka_unit_test(a_time_is_at_most_a_day),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(the_nearest_name_is_found),
		cmocka_unit_test(a_name_like_none_has_no_nearest),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
