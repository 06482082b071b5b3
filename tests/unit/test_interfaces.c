// SPDX-License-Identifier: GPL-2.0
/* Where the entries of devices stand, while some come and others go. */
#include "unit.h"

#include "interfaces.h"

enum { NETNS = 4026531840U };

static struct vmlat_interface table[VMLAT_INTERFACES];

static int clear_table(void **state)
{
	(void)state;
	memset(table, 0, sizeof(table));
	return 0;
}

static bool place(__u32 ifindex, __u32 roles, __u32 index)
{
	struct vmlat_interface entry = { { NETNS, ifindex }, roles, index, 0 };

	return interfaces__place(table, &entry);
}

static void clear(__u32 ifindex)
{
	interfaces__clear(table, &(struct vmlat_device){ NETNS, ifindex });
}

static void assert_stands(__u32 at, __u32 ifindex, __u32 roles, __u32 index)
{
	assert_int_equal(table[at].device.ifindex, ifindex);
	assert_int_equal(table[at].device.netns, NETNS);
	assert_int_equal(table[at].roles, roles);
	assert_int_equal(table[at].index, index);
}

static void a_device_stands_at_its_number(void **state)
{
	(void)state;
	assert_true(place(7, VMLAT_ROLE_TAP, 3));
	assert_stands(7, 7, VMLAT_ROLE_TAP, 3);
	assert_true(place(VMLAT_INTERFACES + 8, VMLAT_ROLE_TX_END, 4));
	assert_stands(8, VMLAT_INTERFACES + 8, VMLAT_ROLE_TX_END, 4);
}

static void another_one_of_the_same_place_has_to_go_into_the_map(void **state)
{
	(void)state;
	assert_true(place(7, VMLAT_ROLE_TAP, 3));
	assert_int_equal(table[7].others, 0);
	assert_false(place(VMLAT_INTERFACES + 7, VMLAT_ROLE_TX_END, 4));
	assert_stands(7, 7, VMLAT_ROLE_TAP, 3);
	assert_int_equal(table[7].others, 1);
	clear(VMLAT_INTERFACES + 7);
	assert_stands(7, 7, VMLAT_ROLE_TAP, 3);
}

static void roles_change_in_place(void **state)
{
	(void)state;
	assert_true(place(7, VMLAT_ROLE_TAP, 3));
	assert_true(place(7, VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END, 3));
	assert_stands(7, 7, VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END, 3);
}

static void one_that_is_not_selected_stands_there_too(void **state)
{
	(void)state;
	assert_true(place(7, 0, 3));
	assert_stands(7, 7, 0, 3);
	assert_true(place(7, VMLAT_ROLE_TAP, 3));
	assert_stands(7, 7, VMLAT_ROLE_TAP, 3);
}

/* Others of it are still looked for. */
static void the_place_of_one_that_is_gone_is_free(void **state)
{
	(void)state;
	assert_true(place(7, VMLAT_ROLE_TAP, 3));
	assert_false(place(VMLAT_INTERFACES + 7, VMLAT_ROLE_TX_END, 4));
	clear(7);
	assert_int_equal(table[7].device.ifindex, 0);
	assert_int_equal(table[7].others, 1);
	assert_true(place(2 * VMLAT_INTERFACES + 7, VMLAT_ROLE_TX_END, 5));
	assert_stands(7, 2 * VMLAT_INTERFACES + 7, VMLAT_ROLE_TX_END, 5);
	clear(2 * VMLAT_INTERFACES + 7);
	assert_true(place(7, VMLAT_ROLE_TAP, 9)); /* the same number again */
	assert_stands(7, 7, VMLAT_ROLE_TAP, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_device_stands_at_its_number, clear_table),
		cmocka_unit_test_setup(another_one_of_the_same_place_has_to_go_into_the_map,
				       clear_table),
		cmocka_unit_test_setup(roles_change_in_place, clear_table),
		cmocka_unit_test_setup(one_that_is_not_selected_stands_there_too, clear_table),
		cmocka_unit_test_setup(the_place_of_one_that_is_gone_is_free, clear_table),
	};

	return cmocka_run_group_tests_name("interfaces", tests, NULL, NULL);
}
