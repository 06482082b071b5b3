// SPDX-License-Identifier: GPL-2.0
/* Where packets wait in queues, the very source of the BPF side, in user space. */
#include "unit.h"

#define LOW_HALF(address) ((__u32)(address))

#include "bpf_shim.h"

#include "../../bpf/parking.h"

enum { OTHER_CPU = 1, CPUS = SHIM_CPU + 1 };

static struct vmlat_parked places[CPUS * VMLAT_PARKED_EACH];
static struct cpu_state *const here = (struct cpu_state *)&cpus[SHIM_CPU],
			       *const there = (struct cpu_state *)&cpus[OTHER_CPU];

static void *bpf_map_lookup_elem(const void *map, const void *key)
{
	__u32 index = *(const __u32 *)key;

	assert_ptr_equal(map, &parked_lanes);
	return index < ARRAY_SIZE(places) ? &places[index] : NULL;
}

static long bpf_probe_read_kernel(void *to, size_t size, const void *from)
{
	memcpy(to, from, size);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(places, 0, sizeof(places));
	memset((void *)parking, 0, sizeof(parking));
	memset(here, 0, sizeof(*here));
	memset(there, 0, sizeof(*there));
	here->number = SHIM_CPU;
	there->number = OTHER_CPU;
	return 0;
}

static __u64 key_with_entry(unsigned int entry)
{
	for (__u64 key = 0xffff888000000000ULL;; key += 256)
		if (parking_entry(key) == &parking[entry])
			return key;
}

/* Another one that has the same entry. */
static __u64 key_like(__u64 key)
{
	__u64 other = key + 256;

	while (parking_entry(other) != parking_entry(key))
		other += 256;
	return other;
}

static bool park_key(struct cpu_state *cpu, __u64 key)
{
	cpu->lane.key = key;
	cpu->lane.visits = 3;
	cpu->lane.length = key >> 8;
	return park(cpu);
}

static bool takes(struct cpu_state *cpu, __u64 key)
{
	bool found;

	cpu->lane.key = 0;
	if (may_be_parked(key))
		unpark(cpu, key);
	found = cpu->lane.key == key && cpu->lane.length == (__u32)(key >> 8);
	cpu->lane.key = 0;
	return found;
}

static void what_one_cpu_parks_another_has_in_its_lane_once(void **state)
{
	const __u64 key = key_with_entry(7);

	(void)state;
	assert_true(park_key(here, key));
	assert_int_equal(here->lane.key, 0);
	unpark(there, key);
	assert_int_equal(there->lane.key, key);
	assert_int_equal(there->lane.parked_cpu, SHIM_CPU);
	assert_int_equal(there->lane.parked_visits, 3);
	assert_false(takes(here, key));
	assert_false(may_be_parked(key));
}

static void who_has_another_packet_in_hand_leaves_it_parked(void **state)
{
	const __u64 key = key_with_entry(7), other = key_with_entry(8);

	(void)state;
	assert_true(park_key(here, key));
	there->lane.key = other;
	unpark(there, key);
	assert_int_equal(there->lane.key, other);
	there->lane.key = 0;
	there->occupied = 1;
	unpark(there, key);
	assert_int_equal(there->lane.key, 0);
	there->occupied = 0;
	there->driving_skb = other;
	unpark(there, key);
	assert_int_equal(there->lane.key, 0);
	there->driving_skb = 0;
	assert_true(takes(there, key));
}

static void of_two_packets_with_one_entry_the_first_is_parked(void **state)
{
	const __u64 key = key_with_entry(7), same = key_like(key);

	(void)state;
	assert_true(park_key(here, key));
	assert_false(park_key(there, same));
	assert_int_equal(there->lane.key, same); /* it is where it was */
	assert_false(takes(here, same));
	assert_true(takes(there, key));
	assert_true(park_key(there, same));
	assert_true(takes(here, same));
}

static void a_cpu_has_room_for_512_and_again_for_those_that_left(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VMLAT_PARKED_EACH; i++)
		assert_true(park_key(here, key_with_entry(i)));
	assert_false(park_key(here, key_with_entry(600)));
	assert_true(park_key(there, key_with_entry(600)));
	for (unsigned int i = 0; i < VMLAT_PARKED_EACH; i++)
		assert_true(takes(there, key_with_entry(i)));
	for (unsigned int i = 0; i < VMLAT_PARKED_EACH; i++)
		assert_true(park_key(here, key_with_entry(i)));
}

static void what_is_given_up_is_found_no_more(void **state)
{
	const __u64 key = key_with_entry(7);
	__u32 index;

	(void)state;
	assert_true(park_key(here, key));
	assert_non_null(parked_at(key, &index));
	places[index].given_up = key;
	assert_false(takes(there, key));
	clear_parked(&places[index], index);
	assert_false(may_be_parked(key));
	for (unsigned int i = 1; i < VMLAT_PARKED_EACH; i++) /* until its place's turn comes */
		assert_true(park_key(here, key_with_entry(100 + i)));
	assert_true(park_key(here, key));
	assert_true(takes(there, key));
}

/* Two CPUs may write one entry at once: the packet of the first is where user space looks for it. */
static void an_entry_that_was_overwritten_leads_to_the_later_packet_alone(void **state)
{
	const __u64 key = key_with_entry(7), same = key_like(key);

	(void)state;
	assert_true(park_key(here, key));
	*parking_entry(key) = 0; /* as the other one saw it */
	assert_true(park_key(there, same));
	assert_false(takes(here, key));
	clear_parked(&places[SHIM_CPU * VMLAT_PARKED_EACH], SHIM_CPU * VMLAT_PARKED_EACH);
	assert_true(takes(here, same));
}

#define parking_test(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		parking_test(what_one_cpu_parks_another_has_in_its_lane_once),
		parking_test(who_has_another_packet_in_hand_leaves_it_parked),
		parking_test(of_two_packets_with_one_entry_the_first_is_parked),
		parking_test(a_cpu_has_room_for_512_and_again_for_those_that_left),
		parking_test(what_is_given_up_is_found_no_more),
		parking_test(an_entry_that_was_overwritten_leads_to_the_later_packet_alone),
	};

	return cmocka_run_group_tests_name("parking", tests, NULL, NULL);
}
