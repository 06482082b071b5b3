// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include "line.h"
#include "utf8.h"

struct output {
	struct line line;
	char *text;
	size_t size;
};

static void begin(struct output *output)
{
	output->line.out = open_memstream(&output->text, &output->size);
	assert_non_null(output->line.out);
	output->line.length = 0;
}

static void assert_written(struct output *output, const char *expected)
{
	line__flush(&output->line);
	fclose(output->line.out);
	assert_string_equal(output->text, expected);
	free(output->text);
}

static void numbers_are_decimal(void **state)
{
	static const __u64 numbers[] = { 0,
					 1,
					 9,
					 10,
					 99,
					 100,
					 101,
					 1000,
					 9999,
					 10000,
					 4000000000,
					 1000000000000000000,
					 10000000000000000000ULL,
					 ~0ULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct output output;
		char expected[32];

		begin(&output);
		line__put_number(&output.line, numbers[i]);
		snprintf(expected, sizeof(expected), "%llu", numbers[i]);
		assert_written(&output, expected);
	}
}

static void every_number_of_four_digits_is_right(void **state)
{
	char expected[50000] = "";
	struct output output;
	size_t length = 0;

	(void)state;
	begin(&output);
	for (unsigned int number = 0; number < 10000; number++) {
		line__put_number(&output.line, number);
		line__put_literal(&output.line, " ");
		length += snprintf(expected + length, sizeof(expected) - length, "%u ", number);
	}
	assert_written(&output, expected);
}

static void strings_are_escaped(void **state)
{
	struct output output;

	(void)state;
	begin(&output);
	line__put_json(&output.line, NULL, SIZE_MAX);
	line__put_json(&output.line, "", SIZE_MAX);
	line__put_json(&output.line, "plain, as it is~", SIZE_MAX);
	line__put_json(&output.line, "a\"\\\n\x1f\x7f", SIZE_MAX);
	line__put_json(&output.line, "caf\xc3\xa9 \xe2\x86\x92", SIZE_MAX);
	line__put_json(&output.line, "\xff\xc3", SIZE_MAX);
	assert_written(&output,
		       "null\"\"\"plain, as it is~\"\"a\\\"\\\\\\u000a\\u001f\\u007f\""
		       "\"caf\xc3\xa9 \xe2\x86\x92\"\"" UTF8_REPLACEMENT UTF8_REPLACEMENT "\"");
}

static void a_string_ends_where_its_field_does(void **state)
{
	static const char field[8] = { 'f', 'i', 'e', 'l', 'd', '9', '\xc3', '\xa9' };
	struct output output;

	(void)state;
	begin(&output);
	line__put_json(&output.line, field, 6);
	line__put_json(&output.line, field, 7); /* in the middle of a character */
	line__put_json(&output.line, field, 8);
	line__put_json(&output.line, "ab\0cd", 5);
	assert_written(&output, "\"field9\"\"field9" UTF8_REPLACEMENT "\"\"field9\xc3\xa9\"\"ab\"");
}

/* Pieces that end just before, at and behind the buffer's end, and one that is longer. */
static void nothing_is_lost_at_the_end_of_the_buffer(void **state)
{
	enum { SIZE = sizeof(((struct line *)NULL)->text) };
	static char text[4 * SIZE], expected[64 * SIZE];

	(void)state;
	for (int i = 0; i < 4 * SIZE - 1; i++)
		text[i] = (char)('a' + i % 26);
	for (size_t first = SIZE - 2; first <= SIZE + 2; first++) {
		struct output output;

		begin(&output);
		line__put(&output.line, text, first);
		line__put_literal(&output.line, "<>");
		line__put(&output.line, text + 1, strlen(text + 1));
		line__put_text(&output.line, "end");
		snprintf(expected, sizeof(expected), "%.*s<>%send", (int)first, text, text + 1);
		assert_written(&output, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_decimal),
		cmocka_unit_test(every_number_of_four_digits_is_right),
		cmocka_unit_test(strings_are_escaped),
		cmocka_unit_test(a_string_ends_where_its_field_does),
		cmocka_unit_test(nothing_is_lost_at_the_end_of_the_buffer),
	};

	return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
