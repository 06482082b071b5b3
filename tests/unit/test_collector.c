// SPDX-License-Identifier: GPL-2.0
/* Statistics out of the kernel: each time is handed over once, in its interval. */
#include "collector.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sys/mman.h>

#include "config.h"
#include "times.h"

enum { CPUS = 2, MAPS = 8, OUTER_FD = 999, VALUES = CPUS * sizeof(struct vmlat_statistics) };

/* The kernel's maps, by the order in which they were made; `outer` has 1 more, 0: none. */
static struct vmlat_statistics *values[MAPS];
static int created, fds[MAPS], outer[VMLAT_INTERFACES + 1], updates;
static int create_error, outer_error; /* errno; 0: it works */
static void (*before_swap)(void); /* what happens until a map is exchanged */
static void (*after_swap)(void); /* and until the update that does it returns */

int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
		   __u32 max_entries, const struct bpf_map_create_opts *opts)
{
	assert_int_equal(type, BPF_MAP_TYPE_ARRAY);
	assert_true(strlen(name) < BPF_OBJ_NAME_LEN);
	assert_int_equal(key_size, sizeof(__u32));
	assert_int_equal(value_size, sizeof(struct vmlat_statistics));
	assert_int_equal(max_entries, CPUS);
	assert_int_equal(opts->map_flags, BPF_F_MMAPABLE);
	errno = create_error;
	if (create_error)
		return -1;
	assert_in_range(created, 0, MAPS - 1);
	fds[created] = memfd_create(name, 0);
	assert_int_equal(ftruncate(fds[created], VALUES), 0);
	values[created] = mmap(NULL, VALUES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[created], 0);
	assert_true(values[created] != MAP_FAILED);
	return fds[created++];
}

/* Its place among the values. */
static int map_of(int fd)
{
	for (int i = created - 1; i >= 0; i--) /* numbers are used again */
		if (fds[i] == fd)
			return i;
	fail_msg("%d is no map", fd);
	return -1;
}

int bpf_map__fd(const struct bpf_map *map)
{
	(void)map;
	return OUTER_FD;
}

int bpf_map__set_inner_map_fd(struct bpf_map *map, int fd)
{
	(void)map;
	assert_int_equal(map_of(fd), 0);
	return 0;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	__u32 number = *(const __u32 *)key;

	assert_int_equal(flags, BPF_ANY);
	assert_int_equal(fd, OUTER_FD);
	if (before_swap && number != VMLAT_TAKEN_OUT)
		before_swap();
	errno = outer_error;
	if (outer_error)
		return -1;
	outer[number] = map_of(*(const int *)value) + 1;
	if (number == VMLAT_TAKEN_OUT)
		return 0;
	updates++;
	if (after_swap)
		after_swap();
	return 0;
}

int bpf_map_delete_elem(int fd, const void *key)
{
	assert_int_equal(fd, OUTER_FD);
	outer[*(const __u32 *)key] = 0;
	return 0;
}

/* As the BPF side does, on this CPU. */
static void measure(__u32 interface, unsigned int on_cpu, unsigned int pair, __u64 ns)
{
	struct vmlat_statistics *value;

	assert_int_not_equal(outer[interface], 0);
	value = &values[outer[interface] - 1][on_cpu];
	if (!value->segment[pair] && value->segments == VMLAT_SEGMENTS) {
		value->unkept++;
		return;
	}
	if (!value->segment[pair])
		value->segment[pair] = ++value->segments;
	add_time(&value->distribution[value->segment[pair] - 1], ns);
}

struct handed {
	__u64 count[2]; /* by interface */
	__u64 sum;
	unsigned int pair;
};

static void hand(void *context, size_t index, unsigned int pair,
		 const struct vmlat_distribution *times)
{
	struct handed *handed = context;

	assert_in_range(index, 0, 1);
	handed->count[index] += vmlat_times(times);
	handed->sum += times->sum;
	handed->pair = pair;
}

static __u64 unkept;
static size_t unknown; /* an interface; of the two that there are, none by default */

static bool is_known(void *context, size_t index)
{
	(void)context;
	return index != unknown;
}

static struct handed take(struct collector *collector)
{
	struct handed handed = { 0 };

	unkept = 0;
	assert_int_equal(collector__take(collector, is_known, hand, &handed, &unkept), 0);
	return handed;
}

static int set_up(void **state)
{
	struct collector *collector;

	memset(outer, 0, sizeof(outer));
	created = updates = create_error = outer_error = 0;
	before_swap = after_swap = NULL;
	unknown = 2;
	assert_int_equal(collector__open(&collector, NULL, CPUS), 0);
	assert_int_equal(collector__add(collector, 0), 0);
	assert_int_equal(collector__add(collector, 1), 0);
	*state = collector;
	return 0;
}

static int tear_down(void **state)
{
	collector__close(*state);
	for (int i = 0; i < created; i++)
		munmap(values[i], VALUES);
	return 0;
}

static void what_was_measured_on_any_cpu_is_handed_over_once(void **state)
{
	struct handed handed;

	measure(0, 0, 3, 10);
	measure(0, 1, 3, 20);
	measure(0, 1, 3, 30);
	measure(1, 0, 4, 40);
	handed = take(*state);
	assert_int_equal(handed.count[0], 3);
	assert_int_equal(handed.count[1], 1);
	assert_int_equal(handed.sum, 100);
	assert_int_equal(handed.pair, 4);
	handed = take(*state);
	assert_int_equal(handed.count[0] + handed.count[1], 0);
	measure(1, 1, 5, 7);
	handed = take(*state);
	assert_int_equal(handed.count[1], 1);
	assert_int_equal(handed.sum, 7);
}

static void measure_late(void)
{
	if (outer[0])
		measure(0, 0, 3, 1000);
}

static void go_on_counting(void)
{
	measure(VMLAT_TAKEN_OUT, 0, 4, 1000);
}

/* What was measured before, and 1000 ns amid the swap, are handed over by it. */
static void check_swap(struct collector *collector)
{
	struct handed handed;

	measure(0, 0, 3, 10);
	handed = take(collector);
	before_swap = after_swap = NULL;
	assert_int_equal(handed.count[0], 2);
	assert_int_equal(handed.sum, 1010);
	assert_int_equal(take(collector).count[0], 0);
}

static void what_is_measured_until_the_maps_are_swapped_is_handed_over(void **state)
{
	before_swap = measure_late;
	check_swap(*state);
}

static void a_packet_goes_on_counting_in_the_map_that_is_taken_out(void **state)
{
	after_swap = go_on_counting;
	check_swap(*state);
}

static void over_many_intervals_nothing_is_lost_and_no_map_is_made(void **state)
{
	__u64 count = 0;
	int maps = created;

	for (int i = 0; i < 100; i++) {
		for (int n = 0; n < i % 3; n++)
			measure(n % 2, n, 3, 10 + i);
		count += take(*state).count[0];
	}
	assert_int_equal(count, 33 + 33);
	assert_int_equal(created, maps);
}

static void where_nothing_was_measured_the_map_stays(void **state)
{
	int before = updates;

	measure(1, 0, 3, 10);
	take(*state);
	assert_int_equal(updates, before + 1);
}

static void a_map_has_the_number_of_the_interval_that_it_is_put_in_for(void **state)
{
	struct collector *collector = *state;

	assert_int_equal(collector__interval(collector), 1);
	assert_int_equal(values[outer[0] - 1][CPUS - 1].interval, 1);
	measure(0, 0, 3, 10);
	take(collector);
	assert_int_equal(collector__interval(collector), 2);
	assert_int_equal(values[outer[0] - 1][CPUS - 1].interval, 2);
	assert_int_equal(values[outer[0] - 1][0].segments, VMLAT_TOTALS);
	assert_int_equal(values[outer[1] - 1][0].interval, 1); /* nothing was measured */
}

/* Whose it is is told later. */
static void what_an_interface_has_that_is_not_known_yet_is_handed_over_when_it_is(void **state)
{
	struct handed handed;

	unknown = 1;
	measure(0, 0, 5, 1000);
	measure(1, 0, 5, 2000);
	handed = take(*state);
	assert_int_equal(handed.count[0], 1);
	assert_int_equal(handed.count[1], 0);
	unknown = 2;
	handed = take(*state);
	assert_int_equal(handed.count[0], 0);
	assert_int_equal(handed.count[1], 1);
}

static struct collector *growing;

/* A tap comes, and sends, while those before it are taken. */
static void hand_and_add(void *context, size_t index, unsigned int pair,
			 const struct vmlat_distribution *times)
{
	hand(context, index, pair, times);
	assert_int_equal(collector__add(growing, 1), 0);
	measure(1, 0, 5, 2000);
}

static void what_comes_during_a_take_is_of_the_interval_that_its_map_says(void **state)
{
	struct handed handed = { 0 };

	growing = *state;
	assert_int_equal(collector__remove(growing, 1, hand, &handed, &unkept), 0);
	measure(0, 0, 5, 1000);
	assert_int_equal(collector__take(growing, is_known, hand_and_add, &handed, &unkept), 0);
	assert_int_equal(handed.count[0], 1);
	assert_int_equal(handed.count[1], 0);
	assert_int_equal(values[outer[1] - 1][0].interval, collector__interval(growing));
	assert_int_equal(take(growing).count[1], 1);
}

static void times_without_room_are_added_up(void **state)
{
	measure(0, 0, 3, 10);
	values[outer[0] - 1][0].unkept = 4;
	values[outer[0] - 1][1].unkept = 3;
	take(*state);
	assert_int_equal(unkept, 7);
}

static void the_totals_have_room_however_many_segments_came_before(void **state)
{
	struct handed handed;

	for (unsigned int pair = 0; pair < VMLAT_SEGMENTS; pair++)
		measure(0, 0, pair, 1);
	measure(0, 0, vmlat_pair_of(VMLAT_TX, VMLAT_TOTAL), 10);
	measure(0, 0, vmlat_pair_of(VMLAT_RX, VMLAT_TOTAL), 100);
	handed = take(*state);
	assert_int_equal(handed.count[0], VMLAT_SEGMENTS);
	assert_int_equal(handed.sum, VMLAT_SEGMENTS - VMLAT_TOTALS + 110);
	assert_int_equal(unkept, VMLAT_TOTALS);
}

static void what_an_interface_had_is_handed_over_when_it_goes(void **state)
{
	struct handed handed = { 0 };
	__u64 lost = 0;

	measure(0, 1, 3, 10);
	assert_int_equal(collector__remove(*state, 0, hand, &handed, &lost), 0);
	assert_int_equal(handed.count[0], 1);
	assert_int_equal(outer[0], 0);
	assert_int_equal(collector__remove(*state, 0, hand, &handed, &lost), 0);
	assert_int_equal(handed.count[0], 1);
	assert_int_equal(collector__add(*state, 0), 0); /* another one of the same index */
	assert_int_not_equal(outer[0], 0);
	assert_int_equal(take(*state).count[0], 0);
}

static void an_interface_has_one_map_however_often_it_is_added(void **state)
{
	int map = outer[0], maps = created;

	assert_int_equal(collector__add(*state, 0), 0);
	assert_int_equal(outer[0], map);
	assert_int_equal(created, maps);
}

static void an_error_of_the_kernel_is_told_and_what_was_measured_stays(void **state)
{
	struct collector *collector = *state, *other;
	struct handed handed = { 0 };

	measure(0, 0, 3, 10);
	outer_error = EPERM;
	assert_int_equal(collector__take(collector, is_known, hand, &handed, &unkept), -EPERM);
	assert_int_equal(handed.count[0], 0);
	outer_error = 0;
	assert_int_equal(take(collector).count[0], 1);
	create_error = ENOMEM;
	assert_int_equal(collector__add(collector, 2), -ENOMEM);
	assert_int_equal(collector__open(&other, NULL, CPUS), -ENOMEM);
	collector__close(other);
}

#define collector_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		collector_test(what_was_measured_on_any_cpu_is_handed_over_once),
		collector_test(what_is_measured_until_the_maps_are_swapped_is_handed_over),
		collector_test(a_packet_goes_on_counting_in_the_map_that_is_taken_out),
		collector_test(over_many_intervals_nothing_is_lost_and_no_map_is_made),
		collector_test(where_nothing_was_measured_the_map_stays),
		collector_test(a_map_has_the_number_of_the_interval_that_it_is_put_in_for),
		collector_test(
			what_an_interface_has_that_is_not_known_yet_is_handed_over_when_it_is),
		collector_test(what_comes_during_a_take_is_of_the_interval_that_its_map_says),
		collector_test(times_without_room_are_added_up),
		collector_test(the_totals_have_room_however_many_segments_came_before),
		collector_test(what_an_interface_had_is_handed_over_when_it_goes),
		collector_test(an_interface_has_one_map_however_often_it_is_added),
		collector_test(an_error_of_the_kernel_is_told_and_what_was_measured_stays),
	};

	return cmocka_run_group_tests_name("collector", tests, NULL, NULL);
}
