// SPDX-License-Identifier: GPL-2.0
/* Flows out of the kernel: each packet is handed over once. */
#include "flow_collector.h"

#include <bpf/bpf.h>
#include <errno.h>

#include "unit.h"

enum { CPUS = 3, MAPS = 2, FIRST_FD = 1000, OUTER_FD = 999, FLOWS = 2000 };

/* The kernel's maps: the entries of each, in the order in which they came. */
static struct entry {
	struct vmlat_flow_key key;
	struct vmlat_flow_count of_cpu[CPUS];
} entries[MAPS][FLOWS];
static size_t counts[MAPS];
static int created, put; /* put: the descriptor that the BPF side counts in; 0: none */
static int outer_error, batch_error; /* errno; 0: it works */
static void (*before_swap)(void); /* what happens until a map is exchanged */

int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
		   __u32 max_entries, const struct bpf_map_create_opts *opts)
{
	assert_int_equal(type, BPF_MAP_TYPE_PERCPU_HASH);
	assert_true(strlen(name) < BPF_OBJ_NAME_LEN);
	assert_int_equal(key_size, sizeof(struct vmlat_flow_key));
	assert_int_equal(value_size, sizeof(struct vmlat_flow_count));
	assert_int_equal(max_entries, VMLAT_FLOWS);
	assert_null(opts);
	assert_in_range(created, 0, MAPS - 1);
	return FIRST_FD + created++;
}

int bpf_map__fd(const struct bpf_map *map)
{
	(void)map;
	return OUTER_FD;
}

int bpf_map__set_inner_map_fd(struct bpf_map *map, int fd)
{
	(void)map;
	assert_in_range(fd, FIRST_FD, FIRST_FD + MAPS - 1);
	return 0;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	assert_int_equal(fd, OUTER_FD);
	assert_int_equal(*(const __u32 *)key, 0);
	assert_int_equal(flags, BPF_ANY);
	if (before_swap)
		before_swap();
	errno = outer_error;
	if (outer_error)
		return -1;
	put = *(const int *)value;
	return 0;
}

int bpf_map_get_next_key(int fd, const void *key, void *next)
{
	assert_null(key);
	errno = ENOENT;
	if (!counts[fd - FIRST_FD])
		return -1;
	memcpy(next, &entries[fd - FIRST_FD][0].key, sizeof(struct vmlat_flow_key));
	return 0;
}

/* From the last one on; at the end ENOENT, and what there is left. */
int bpf_map_lookup_and_delete_batch(int fd, void *from, void *position, void *keys, void *values,
				    __u32 *count, const struct bpf_map_batch_opts *opts)
{
	size_t *left = &counts[fd - FIRST_FD];
	__u32 taken = 0;

	(void)from;
	assert_null(opts);
	assert_int_not_equal(fd, put);
	errno = batch_error;
	if (batch_error)
		return -1;
	for (; taken < *count && *left; taken++) {
		const struct entry *entry = &entries[fd - FIRST_FD][--*left];

		memcpy((struct vmlat_flow_key *)keys + taken, &entry->key, sizeof(entry->key));
		memcpy((struct vmlat_flow_count *)values + (size_t)taken * CPUS, entry->of_cpu,
		       sizeof(entry->of_cpu));
	}
	*count = taken;
	*(__u32 *)position = *left;
	errno = ENOENT;
	return *left ? 0 : -1;
}

/* As the BPF side does, on this CPU. */
static void count(__u32 flow, unsigned int on_cpu, __u64 ns)
{
	struct entry *all = entries[put - FIRST_FD], *entry = NULL;

	for (size_t i = 0; i < counts[put - FIRST_FD] && !entry; i++)
		if (all[i].key.src_port == flow)
			entry = &all[i];
	if (!entry) {
		entry = &all[counts[put - FIRST_FD]++];
		*entry = (struct entry){ .key.src_port = flow };
	}
	entry->of_cpu[on_cpu].packets++;
	entry->of_cpu[on_cpu].bytes += 60;
	entry->of_cpu[on_cpu].sum_ns += ns;
	if (ns > entry->of_cpu[on_cpu].max_ns)
		entry->of_cpu[on_cpu].max_ns = ns;
}

struct handed {
	size_t flows;
	struct vmlat_flow_count sum;
};

static void hand(void *context, const struct vmlat_flow_key *key,
		 const struct vmlat_flow_count *counted)
{
	struct handed *handed = context;

	assert_in_range(key->src_port, 0, FLOWS - 1);
	handed->flows++;
	handed->sum.packets += counted->packets;
	handed->sum.bytes += counted->bytes;
	handed->sum.sum_ns += counted->sum_ns;
	if (counted->max_ns > handed->sum.max_ns)
		handed->sum.max_ns = counted->max_ns;
}

static struct handed take(struct flow_collector *collector)
{
	struct handed handed = { 0 };

	assert_int_equal(flow_collector__take(collector, hand, &handed), 0);
	return handed;
}

static int set_up(void **state)
{
	struct flow_collector *collector;

	memset(counts, 0, sizeof(counts));
	created = put = outer_error = batch_error = 0;
	before_swap = NULL;
	assert_int_equal(flow_collector__open(&collector, NULL, CPUS), 0);
	assert_int_equal(flow_collector__begin(collector), 0);
	*state = collector;
	return 0;
}

static int tear_down(void **state)
{
	flow_collector__close(*state);
	return 0;
}

static void the_counts_of_all_cpus_are_added_up(void **state)
{
	struct handed handed;

	count(7, 0, 10);
	count(7, 2, 30);
	count(8, 1, 20);
	handed = take(*state);
	assert_int_equal(handed.flows, 2);
	assert_int_equal(handed.sum.packets, 3);
	assert_int_equal(handed.sum.bytes, 180);
	assert_int_equal(handed.sum.sum_ns, 60);
	assert_int_equal(handed.sum.max_ns, 30);
	assert_int_equal(take(*state).flows, 0);
}

static void more_flows_than_a_batch_are_all_handed_over(void **state)
{
	for (__u32 flow = 0; flow < FLOWS; flow++)
		count(flow, flow % CPUS, 1);
	assert_int_equal(take(*state).flows, FLOWS);
	count(1, 0, 1);
	assert_int_equal(take(*state).flows, 1);
}

static void count_one_more(void)
{
	count(7, 1, 5);
}

static void what_is_counted_while_the_maps_are_swapped_is_handed_over_once(void **state)
{
	count(7, 0, 10);
	before_swap = count_one_more;
	assert_int_equal(take(*state).sum.packets, 2);
	before_swap = NULL;
	assert_int_equal(take(*state).sum.packets, 0);
	count(7, 0, 10);
	assert_int_equal(take(*state).sum.packets, 1);
}

static void without_any_flow_nothing_is_swapped(void **state)
{
	int before = put;

	assert_int_equal(take(*state).flows, 0);
	assert_int_equal(put, before);
}

static void an_error_is_told_and_nothing_is_lost_by_it(void **state)
{
	struct handed handed = { 0 };

	count(7, 0, 10);
	outer_error = EPERM;
	assert_int_equal(flow_collector__take(*state, hand, &handed), -EPERM);
	outer_error = 0;
	assert_int_equal(take(*state).sum.packets, 1);
	count(7, 0, 10);
	batch_error = EFAULT;
	assert_int_equal(flow_collector__take(*state, hand, &handed), -EFAULT);
	assert_int_equal(handed.flows, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define collector_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		collector_test(the_counts_of_all_cpus_are_added_up),
		collector_test(more_flows_than_a_batch_are_all_handed_over),
		collector_test(what_is_counted_while_the_maps_are_swapped_is_handed_over_once),
		collector_test(without_any_flow_nothing_is_swapped),
		collector_test(an_error_is_told_and_nothing_is_lost_by_it),
	};

	return cmocka_run_group_tests_name("flow_collector", tests, NULL, NULL);
}
