// SPDX-License-Identifier: GPL-2.0
/* Names in a line. */
#include "unit.h"

#include "words.h"

static void names_stand_in_their_order_with_what_belongs_to_them(void **state)
{
	struct name_list list = { 0 };

	(void)state;
	assert_string_equal(name_list_text(&list, "none"), "none");
	name_list_add(&list, "vnet0", "web1");
	name_list_add(&list, "vnet1", "");
	name_list_add(&list, "vnet2", NULL);
	assert_string_equal(name_list_text(&list, "none"), "vnet0 (web1), vnet1, vnet2");
}

static void what_has_no_room_is_counted_and_no_name_is_cut(void **state)
{
	struct name_list list = { 0 };
	const char *text;
	size_t named = 0;
	char name[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "vnet%d", 100 + i % 900);
		name_list_add(&list, name, NULL);
	}
	text = name_list_text(&list, "none");
	for (const char *c = text; (c = strstr(c, "vnet")); c += strlen("vnet"))
		named++;
	snprintf(name, sizeof(name), " %zu more", 1000 - named);
	assert_in_range(named, 100, 150);
	assert_string_equal(strstr(text, " and ") + strlen(" and"), name);
	assert_in_range(strcspn(strstr(text, " and ") - strlen("vnet100"), " "), 7, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_stand_in_their_order_with_what_belongs_to_them),
		cmocka_unit_test(what_has_no_room_is_counted_and_no_name_is_cut),
	};

	return cmocka_run_group_tests_name("words", tests, NULL, NULL);
}
