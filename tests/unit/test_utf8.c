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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_text_is_kept),
		cmocka_unit_test(each_byte_that_is_no_utf8_is_replaced),
		cmocka_unit_test(a_character_that_does_not_fit_is_left_out_whole),
	};

	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
