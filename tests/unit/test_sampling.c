// SPDX-License-Identifier: GPL-2.0
/* The BPF side's choice of flows, the very source, in user space. */
#include "unit.h"

#include <arpa/inet.h>

#include "bpf_shim.h"

static void *bpf_map_lookup_elem(const void *map, const void *key)
{
	(void)map;
	(void)key;
	return NULL;
}

static long bpf_probe_read_kernel(void *to, size_t size, const void *from)
{
	(void)to;
	(void)size;
	(void)from;
	return -1;
}

static struct vmlat_flow flow_of(__u8 family, __u32 src, __u16 src_port, __u32 dst, __u16 dst_port)
{
	struct vmlat_flow flow = { .family = family,
				   .protocol = PROTOCOL_TCP,
				   .has_ports = 1,
				   .src_port = src_port,
				   .dst_port = dst_port };
	int last = family == 4 ? 0 : 3;

	if (family == 6)
		flow.src[0] = flow.dst[0] = htonl(0x20010db8);
	flow.src[last] = htonl(src);
	flow.dst[last] = htonl(dst);
	return flow;
}

/* What --sample=N takes, of 100,000 flows that differ as the function has it. */
static void assert_share(struct vmlat_flow (*flow)(__u32 n))
{
	enum { FLOWS = 100000 };

	for (__u64 n = 2; n <= 1000; n = n * 5 / 2) {
		__s64 expected = FLOWS / (__s64)n, taken = 0;

		for (__u32 i = 0; i < FLOWS; i++) {
			struct vmlat_flow one = flow(i);

			taken += hash_flow(&one) < (1ULL << 32) / n;
		}
		/* four standard deviations of a fair coin with as many sides, squared */
		assert_true((taken - expected) * (taken - expected) <= 16 * expected + 16);
	}
}

static struct vmlat_flow by_source_port(__u32 n)
{
	return flow_of(4, 0x0a000001, n % 50000 + 10000, 0x0a000002 + n / 50000, 443);
}

static struct vmlat_flow by_both_ports(__u32 n)
{
	return flow_of(4, 0x0a000001, n % 400 + 4000, 0x0a000002, n / 400 + 4000);
}

static struct vmlat_flow by_source_address(__u32 n)
{
	return flow_of(4, 0x0a000000 + n, 4000, 0x0a800001, 5000);
}

static struct vmlat_flow by_both_addresses(__u32 n)
{
	return flow_of(6, n % 400, 4000, 1000 + n / 400, 5000);
}

static struct vmlat_flow by_address_without_ports(__u32 n)
{
	struct vmlat_flow flow = flow_of(4, 0x0a000001, 0, 0x0a000000 + n * 256, 0);

	flow.protocol = PROTOCOL_ICMP;
	flow.has_ports = 0;
	return flow;
}

static struct vmlat_flow by_mac(__u32 n)
{
	struct vmlat_flow flow = { .family = 0 };
	__u8 mac[12] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0 };

	mac[9] = n >> 16;
	mac[10] = n >> 8 & 0xff;
	mac[11] = n & 0xff;
	know_by_mac(&flow, mac);
	return flow;
}

static void one_flow_in_n_is_taken_whatever_tells_them_apart(void **state)
{
	(void)state;
	assert_share(by_source_port);
	assert_share(by_both_ports);
	assert_share(by_source_address);
	assert_share(by_both_addresses);
	assert_share(by_address_without_ports);
	assert_share(by_mac);
}

static void both_directions_are_one_flow(void **state)
{
	(void)state;
	for (__u32 i = 0; i < 1000; i++) {
		struct vmlat_flow there = flow_of(i % 2 ? 4 : 6, i * 77, i, i * 99, 443);
		struct vmlat_flow back = flow_of(i % 2 ? 4 : 6, i * 99, 443, i * 77, i);

		assert_int_equal(hash_flow(&there), hash_flow(&back));
	}
}

static void nothing_else_of_a_packet_counts(void **state)
{
	struct vmlat_flow flow = flow_of(4, 1, 2, 3, 4), other = flow;

	(void)state;
	other.ip_id = 77;
	other.has_ip_id = 1;
	other.tcp_seq = 12345;
	other.vlans = 1;
	other.vlan_tci[0] = 100;
	other.fragment = VMLAT_LATER_FRAGMENT;
	assert_int_equal(hash_flow(&flow), hash_flow(&other));
	other = flow;
	other.protocol = PROTOCOL_UDP;
	assert_int_not_equal(hash_flow(&flow), hash_flow(&other));
	other = flow_of(4, 1, 4, 3, 2); /* the ports are those of the other ends */
	assert_int_not_equal(hash_flow(&flow), hash_flow(&other));
}

static void what_has_no_flow_is_known_by_its_addresses_alone(void **state)
{
	struct vmlat_flow flow = { .family = 0 }, malformed = flow_of(4, 1, 2, 3, 4);
	static const __u8 mac[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

	(void)state;
	malformed.family = 0;
	know_by_mac(&flow, mac);
	know_by_mac(&malformed, mac);
	assert_int_equal(hash_flow(&flow), hash_flow(&malformed));
}

/* The least there can be: --sample has no flow but that with the hash 0. */
static void a_flow_that_is_not_sampled_is_turned_away_behind_the_filters(void **state)
{
	struct vmlat_filter filter = { .src_port = { 0, 65535 }, .dst_port = { 443, 443 } };
	struct vmlat_flow flow = flow_of(4, 1, 2, 3, 4);

	(void)state;
	assert_int_equal(features.sample_below, 1);
	assert_int_equal(choose_flow(&filter, &flow), VMLAT_REFUSED_SAMPLE);
	filter.active = 1;
	assert_int_equal(choose_flow(&filter, &flow), VMLAT_REFUSED_DST_PORT);
}

static void a_fragment_that_may_be_of_any_flow_is_of_none(void **state)
{
	struct vmlat_flow flow = by_address_without_ports(1);

	(void)state;
	assert_false(lacks_ports(&flow));
	flow.fragment = VMLAT_UNMATCHED_FRAGMENT;
	assert_false(lacks_ports(&flow)); /* ICMP has none */
	flow.protocol = PROTOCOL_UDP;
	assert_true(lacks_ports(&flow));
	flow.fragment = VMLAT_LATER_FRAGMENT;
	assert_false(lacks_ports(&flow));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_flow_in_n_is_taken_whatever_tells_them_apart),
		cmocka_unit_test(both_directions_are_one_flow),
		cmocka_unit_test(nothing_else_of_a_packet_counts),
		cmocka_unit_test(what_has_no_flow_is_known_by_its_addresses_alone),
		cmocka_unit_test(a_flow_that_is_not_sampled_is_turned_away_behind_the_filters),
		cmocka_unit_test(a_fragment_that_may_be_of_any_flow_is_of_none),
	};

	return cmocka_run_group_tests_name("sampling", tests, NULL, NULL);
}
