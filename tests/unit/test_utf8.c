// SPDX-License-Identifier: GPL-2.0
/* What we write is valid UTF-8, whatever a name is made of. */
#include "unit.h"

#include "utf8.h"

static void assert_clean(const char *from, const char *expected)
{
	char to[64];

	assert_string_equal(utf8__clean(to, sizeof(to), from), expected);
}

static void valid_text_is_kept(void **state)
{
	(void)state;
	assert_clean("", "");
	assert_clean("vnet0", "vnet0");
	assert_clean("caf\xc3\xa9 \xe2\x86\x92 \xf0\x9f\x98\x80",
		     "caf\xc3\xa9 \xe2\x86\x92 \xf0\x9f\x98\x80");
	assert_clean("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
		     "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
}

static void each_byte_that_is_no_utf8_is_replaced(void **state)
{
	(void)state;
	assert_clean("a\xff"
		     "b",
		     "a" UTF8_REPLACEMENT "b");
	assert_clean("\xc3", UTF8_REPLACEMENT);
	assert_clean("\xc3(", UTF8_REPLACEMENT "(");
	assert_clean("\xc0\x80", UTF8_REPLACEMENT UTF8_REPLACEMENT);
	assert_clean("\xed\xa0\x80", UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT);
	assert_clean("\xf4\x90\x80\x80",
		     UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT);
}

static void a_character_that_does_not_fit_is_left_out_whole(void **state)
{
	char to[4];

	(void)state;
	assert_string_equal(utf8__clean(to, sizeof(to), "ab\xc3\xa9"), "ab");
	assert_string_equal(utf8__clean(to, sizeof(to), "a\xc3\xa9z"), "a\xc3\xa9");
}

static void what_a_terminal_may_take_for_a_command_is_no_command(void **state)
{
	char to[64];

	(void)state;
	assert_string_equal(utf8__printable(to, sizeof(to), "a\033[2Jb\177\n"), "a?[2Jb??");
	assert_string_equal(utf8__printable(to, sizeof(to),
					    "\xc2\x9b"
					    "2J\xc2\x80\xc2\x9f"),
			    "?2J??");
	assert_string_equal(utf8__printable(to, sizeof(to), "\xc2\xa0\xc3\xa9"),
			    "\xc2\xa0\xc3\xa9");
}

static void columns_are_those_of_a_terminal(void **state)
{
	(void)state;
	assert_int_equal(utf8__columns(""), 0);
	assert_int_equal(utf8__columns("web1"), 4);
	assert_int_equal(utf8__columns("b\xc3\xbcro"), 4); /* an umlaut */
	assert_int_equal(utf8__columns("bu\xcc\x88ro"), 4); /* the same of two characters */
	assert_int_equal(utf8__columns("\xe2\x86\x92 1"), 3); /* an arrow */
	assert_int_equal(utf8__columns("\xe6\x9d\xb1\xe4\xba\xac"), 4); /* Tokyo */
	assert_int_equal(utf8__columns("\xea\xb0\x80"), 2); /* Hangul */
	assert_int_equal(utf8__columns("\xf0\x9f\x98\x80!"), 3); /* a face */
	assert_int_equal(utf8__columns(UTF8_REPLACEMENT), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_text_is_kept),
		cmocka_unit_test(each_byte_that_is_no_utf8_is_replaced),
		cmocka_unit_test(a_character_that_does_not_fit_is_left_out_whole),
		cmocka_unit_test(what_a_terminal_may_take_for_a_command_is_no_command),
		cmocka_unit_test(columns_are_those_of_a_terminal),
	};

	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
