// SPDX-License-Identifier: GPL-2.0
/* The BPF side's parser and filters, the very source, in user space. */
#include "unit.h"

#include <arpa/inet.h>

#include "bpf_shim.h"

/* --- packets, written byte by byte --- */

struct packet {
	__u8 bytes[512];
	size_t size;
	__u16 ethertype; /* of the first header in bytes */
};

static void put(struct packet *packet, size_t size, const void *bytes)
{
	assert_true(packet->size + size <= sizeof(packet->bytes));
	memcpy(packet->bytes + packet->size, bytes, size);
	packet->size += size;
}

static void put8(struct packet *packet, __u8 value)
{
	put(packet, 1, &value);
}

static void put16(struct packet *packet, __u16 value)
{
	put8(packet, value >> 8);
	put8(packet, value & 0xff);
}

static void put32(struct packet *packet, __u32 value)
{
	put16(packet, value >> 16);
	put16(packet, value & 0xffff);
}

static void put_zeros(struct packet *packet, size_t size)
{
	while (size--)
		put8(packet, 0);
}

static void put_tag(struct packet *packet, __u16 tci, __u16 next)
{
	put16(packet, tci);
	put16(packet, next);
}

enum { PAYLOAD = 10, FRAGMENT_MORE = 0x2000, FRAGMENT_NEVER = 0x4000 };

/* 192.168.1.10 -> 10.0.0.20, id 0x1234; `options` bytes of options, `payload` bytes to come */
static void put_ipv4(struct packet *packet, __u8 protocol, __u16 fragment, size_t options,
		     size_t payload)
{
	put8(packet, 0x40 | (5 + options / 4));
	put8(packet, 0);
	put16(packet, 20 + options + payload);
	put16(packet, 0x1234);
	put16(packet, fragment);
	put8(packet, 64);
	put8(packet, protocol);
	put16(packet, 0xabcd);
	put32(packet, 0xc0a8010a);
	put32(packet, 0x0a000014);
	put_zeros(packet, options);
}

static const __u8 ipv6_src[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
static const __u8 ipv6_dst[16] = { 0xfe, 0x80, [14] = 2, [15] = 3 };

static void put_ipv6(struct packet *packet, __u8 next, size_t payload)
{
	put32(packet, 0x60012345);
	put16(packet, payload);
	put8(packet, next);
	put8(packet, 64);
	put(packet, 16, ipv6_src);
	put(packet, 16, ipv6_dst);
}

/* A hop-by-hop, routing or destination header of `size` bytes. */
static void put_extension(struct packet *packet, __u8 next, size_t size)
{
	put8(packet, next);
	put8(packet, size / 8 - 1);
	put_zeros(packet, size - 2);
}

static void put_fragment_header(struct packet *packet, __u8 next, __u16 offset_and_more)
{
	put8(packet, next);
	put8(packet, 0xff); /* reserved, no length */
	put16(packet, offset_and_more);
	put32(packet, 77);
}

static void put_udp(struct packet *packet, __u16 src, __u16 dst)
{
	put16(packet, src);
	put16(packet, dst);
	put16(packet, 8 + PAYLOAD);
	put16(packet, 0);
	put_zeros(packet, PAYLOAD);
}

static void put_tcp(struct packet *packet, __u16 src, __u16 dst, __u8 words)
{
	put16(packet, src);
	put16(packet, dst);
	put32(packet, 0xdeadbeef);
	put32(packet, 0);
	put8(packet, words << 4);
	put_zeros(packet, 7 + PAYLOAD);
}

enum { UDP_SIZE = 8 + PAYLOAD, TCP_SIZE = 20 + PAYLOAD };

static struct packet ipv4_udp(void)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV4 };

	put_ipv4(&packet, PROTOCOL_UDP, FRAGMENT_NEVER, 0, UDP_SIZE);
	put_udp(&packet, 5000, 53);
	return packet;
}

static struct packet ipv4_tcp(void)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV4 };

	put_ipv4(&packet, PROTOCOL_TCP, 0, 0, TCP_SIZE);
	put_tcp(&packet, 8080, 443, 5);
	return packet;
}

static struct packet ipv6_udp(void)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV6 };

	put_ipv6(&packet, PROTOCOL_UDP, UDP_SIZE);
	put_udp(&packet, 5000, 53);
	return packet;
}

static struct packet ipv6_all_extensions(void)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV6 };

	put_ipv6(&packet, IPV6_HOP_BY_HOP, 8 + 16 + 8 + 8 + TCP_SIZE);
	put_extension(&packet, IPV6_DESTINATION, 8);
	put_extension(&packet, IPV6_ROUTING, 16);
	put_extension(&packet, IPV6_FRAGMENT, 8);
	put_fragment_header(&packet, PROTOCOL_TCP, 1);
	put_tcp(&packet, 8080, 443, 5);
	return packet;
}

static struct packet tagged(struct packet inner, __u16 outer_type, int tags)
{
	struct packet packet = { .ethertype = tags ? outer_type : inner.ethertype };

	if (tags == 2)
		put_tag(&packet, 0xe000 | 100, ETHERTYPE_VLAN);
	if (tags)
		put_tag(&packet, 200, inner.ethertype);
	put(&packet, inner.size, inner.bytes);
	return packet;
}

/* --- parsing --- */

/* What the few steps for most packets say is what parse_packet says, or nothing. */
static bool is_plain(const struct packet *packet, size_t linear, size_t length, enum parsed parsed,
		     const struct vmlat_flow *expected)
{
	__u8 bytes[PLAIN_BYTES];
	struct vmlat_flow flow;
	size_t end = at_most(linear, PLAIN_BYTES);

	memset(&flow, 0xa5, sizeof(flow));
	memset(bytes, 0x45, sizeof(bytes)); /* what stood in the scratch before */
	memcpy(bytes, packet->bytes, end);
	if (packet->ethertype != ETHERTYPE_IPV4 || !parse_plain(bytes, end, length, &flow))
		return false;
	assert_int_equal(parsed, PARSED);
	assert_memory_equal(&flow, expected, sizeof(flow));
	return true;
}

static bool last_was_plain;

/*
 * Parses the packet's first `linear` bytes, which are all that is there to be read: not even
 * the scratch's margin is, so that the sanitizer sees every step beyond.
 */
static enum parsed parse_linear(const struct packet *packet, size_t linear, size_t length,
				struct vmlat_flow *flow)
{
	__u8 *bytes = malloc(linear ? linear : 1);
	struct cursor c = { .bytes = bytes, .length = length, .ethertype = packet->ethertype };
	enum parsed parsed;

	assert_non_null(bytes);
	memcpy(bytes, packet->bytes, linear);
	c.end = at_most(linear, PACKET_BYTES);
	memset(flow, 0, sizeof(*flow));
	parsed = parse_packet(&c, flow);
	free(bytes);
	last_was_plain = is_plain(packet, linear, length, parsed, flow);
	return parsed;
}

static enum parsed parse(const struct packet *packet, struct vmlat_flow *flow)
{
	return parse_linear(packet, packet->size, packet->size, flow);
}

static struct vmlat_flow good(struct packet packet)
{
	struct vmlat_flow flow;

	assert_int_equal(parse(&packet, &flow), PARSED);
	return flow;
}

static void assert_no_flow(struct packet packet, enum parsed expected)
{
	struct vmlat_flow flow;

	assert_int_equal(parse(&packet, &flow), expected);
	assert_int_equal(flow.family, 0);
}

static struct vmlat_flow expected_ipv4(__u8 protocol)
{
	struct vmlat_flow flow = { .family = 4, .protocol = protocol, .ip_id = 0x1234 };

	flow.src[0] = htonl(0xc0a8010a);
	flow.dst[0] = htonl(0x0a000014);
	flow.has_ip_id = 1;
	return flow;
}

static struct vmlat_flow expected_ipv6(__u8 protocol)
{
	struct vmlat_flow flow = { .family = 6, .protocol = protocol };

	memcpy(flow.src, ipv6_src, sizeof(ipv6_src));
	memcpy(flow.dst, ipv6_dst, sizeof(ipv6_dst));
	return flow;
}

static struct vmlat_flow with_ports(struct vmlat_flow flow, __u16 src, __u16 dst)
{
	flow.has_ports = 1;
	flow.src_port = src;
	flow.dst_port = dst;
	if (flow.protocol == PROTOCOL_TCP)
		flow.tcp_seq = 0xdeadbeef;
	return flow;
}

static void assert_flow(struct packet packet, struct vmlat_flow expected)
{
	struct vmlat_flow flow = good(packet);

	assert_memory_equal(&flow, &expected, sizeof(flow));
}

static void an_ipv4_udp_packet_has_addresses_ports_and_id(void **state)
{
	(void)state;
	assert_flow(ipv4_udp(), with_ports(expected_ipv4(PROTOCOL_UDP), 5000, 53));
}

static void a_tcp_packet_has_its_sequence_number_too(void **state)
{
	(void)state;
	assert_flow(ipv4_tcp(), with_ports(expected_ipv4(PROTOCOL_TCP), 8080, 443));
}

static void tcp_and_udp_in_ipv4_are_told_in_few_steps(void **state)
{
	(void)state;
	good(ipv4_udp());
	assert_true(last_was_plain);
	good(ipv4_tcp());
	assert_true(last_was_plain);
	good(ipv6_udp());
	assert_false(last_was_plain);
	good(tagged(ipv4_udp(), ETHERTYPE_VLAN, 1));
	assert_false(last_was_plain);
}

static void ports_stand_behind_any_ipv4_options(void **state)
{
	(void)state;
	for (size_t options = 4; options <= 40; options += 4) {
		struct packet packet = { .ethertype = ETHERTYPE_IPV4 };

		put_ipv4(&packet, PROTOCOL_UDP, 0, options, UDP_SIZE);
		put_udp(&packet, 1, 2);
		assert_flow(packet, with_ports(expected_ipv4(PROTOCOL_UDP), 1, 2));
	}
}

static void icmp_has_no_ports(void **state)
{
	struct packet v4 = { .ethertype = ETHERTYPE_IPV4 };
	struct packet v6 = { .ethertype = ETHERTYPE_IPV6 };

	(void)state;
	put_ipv4(&v4, PROTOCOL_ICMP, 0, 0, 8);
	put_zeros(&v4, 8);
	assert_flow(v4, expected_ipv4(PROTOCOL_ICMP));
	put_ipv6(&v6, PROTOCOL_ICMPV6, 8);
	put_zeros(&v6, 8);
	assert_flow(v6, expected_ipv6(PROTOCOL_ICMPV6));
}

static void an_ipv6_udp_packet_has_no_id(void **state)
{
	(void)state;
	assert_flow(ipv6_udp(), with_ports(expected_ipv6(PROTOCOL_UDP), 5000, 53));
}

static void ports_stand_behind_ipv6_extension_headers(void **state)
{
	static const __u8 headers[] = { IPV6_HOP_BY_HOP, IPV6_ROUTING, IPV6_DESTINATION };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		for (size_t size = 8; size <= 64; size += 8) {
			struct packet packet = { .ethertype = ETHERTYPE_IPV6 };

			put_ipv6(&packet, headers[i], size + UDP_SIZE);
			put_extension(&packet, PROTOCOL_UDP, size);
			put_udp(&packet, 7, 9);
			assert_flow(packet, with_ports(expected_ipv6(PROTOCOL_UDP), 7, 9));
		}
}

static void four_extension_headers_are_followed(void **state)
{
	struct vmlat_flow expected = with_ports(expected_ipv6(PROTOCOL_TCP), 8080, 443);

	(void)state;
	expected.fragment = VMLAT_FIRST_FRAGMENT;
	assert_flow(ipv6_all_extensions(), expected);
}

static void the_first_fragment_has_ports_and_later_ones_have_not(void **state)
{
	struct vmlat_flow expected = expected_ipv4(PROTOCOL_UDP);
	struct packet first = { .ethertype = ETHERTYPE_IPV4 }, later = first, last = first;

	(void)state;
	expected.fragment = VMLAT_FIRST_FRAGMENT;
	put_ipv4(&first, PROTOCOL_UDP, FRAGMENT_MORE, 0, UDP_SIZE);
	put_udp(&first, 5000, 53);
	assert_flow(first, with_ports(expected, 5000, 53));
	expected.fragment = VMLAT_UNMATCHED_FRAGMENT; /* the parser knows no other packets */
	put_ipv4(&later, PROTOCOL_UDP, FRAGMENT_MORE | 185, 0, UDP_SIZE);
	put_udp(&later, 5000, 53);
	assert_flow(later, expected);
	put_ipv4(&last, PROTOCOL_UDP, 1, 0, UDP_SIZE);
	put_udp(&last, 5000, 53);
	assert_flow(last, expected);
}

static struct packet ipv6_fragment(__u16 offset_and_more)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV6 };

	put_ipv6(&packet, IPV6_FRAGMENT, 8 + UDP_SIZE);
	put_fragment_header(&packet, PROTOCOL_UDP, offset_and_more);
	put_udp(&packet, 5000, 53);
	return packet;
}

static void ipv6_fragments_are_like_those_of_ipv4(void **state)
{
	struct vmlat_flow expected = expected_ipv6(PROTOCOL_UDP);

	(void)state;
	assert_flow(ipv6_fragment(0), with_ports(expected, 5000, 53)); /* atomic: RFC 6946 */
	assert_flow(ipv6_fragment(6), with_ports(expected, 5000, 53)); /* reserved bits */
	expected.fragment = VMLAT_FIRST_FRAGMENT;
	assert_flow(ipv6_fragment(1), with_ports(expected, 5000, 53));
	expected.fragment = VMLAT_UNMATCHED_FRAGMENT;
	assert_flow(ipv6_fragment(185 << 3 | 1), expected);
	assert_flow(ipv6_fragment(1 << 3), expected);
}

static void tags_in_the_packet_are_taken_outer_first(void **state)
{
	struct vmlat_flow expected = with_ports(expected_ipv4(PROTOCOL_UDP), 5000, 53);

	(void)state;
	expected.vlans = 1;
	expected.vlan_tci[0] = 200;
	assert_flow(tagged(ipv4_udp(), ETHERTYPE_VLAN, 1), expected);
	expected.vlans = 2;
	expected.vlan_tci[0] = 0xe000 | 100;
	expected.vlan_tci[1] = 200;
	assert_flow(tagged(ipv4_udp(), ETHERTYPE_VLAN, 2), expected);
	assert_flow(tagged(ipv4_udp(), ETHERTYPE_SVLAN, 2), expected);
}

/* As way.h does it: the tag beside the packet is the outer one. */
static void a_tag_in_the_skb_stands_before_those_in_the_packet(void **state)
{
	struct packet packet = tagged(ipv6_udp(), ETHERTYPE_VLAN, 1);
	struct vmlat_flow flow = { 0 };
	struct cursor c = { .bytes = packet.bytes,
			    .end = packet.size,
			    .length = packet.size,
			    .ethertype = packet.ethertype };

	(void)state;
	add_vlan(&flow, 300);
	assert_int_equal(parse_packet(&c, &flow), PARSED);
	assert_int_equal(flow.vlans, 2);
	assert_int_equal(flow.vlan_tci[0], 300);
	assert_int_equal(flow.vlan_tci[1], 200);
	assert_int_equal(flow.dst_port, 53);
}

static void a_third_tag_is_an_ethertype_of_its_own(void **state)
{
	struct packet packet = tagged(ipv4_udp(), ETHERTYPE_VLAN, 2);
	struct vmlat_flow flow = { .vlans = 1, .vlan_tci = { 300 } };
	struct cursor c = { .bytes = packet.bytes,
			    .end = packet.size,
			    .length = packet.size,
			    .ethertype = packet.ethertype };

	(void)state;
	assert_int_equal(parse_packet(&c, &flow), PARSED);
	assert_int_equal(flow.vlans, 2);
	assert_int_equal(flow.vlan_tci[1], 0xe000 | 100);
	assert_int_equal(flow.family, 0);
}

static void what_is_not_ip_is_known_by_its_tags_alone(void **state)
{
	struct packet arp = { .ethertype = 0x0806 };
	struct vmlat_flow expected = { 0 };

	(void)state;
	assert_flow(arp, expected);
	put_zeros(&arp, 28);
	assert_flow(arp, expected);
	expected.vlans = 1;
	expected.vlan_tci[0] = 200;
	assert_flow(tagged(arp, ETHERTYPE_SVLAN, 1), expected);
}

static void a_packet_that_ends_within_a_header_is_truncated(void **state)
{
	struct packet packet = ipv4_tcp();
	struct vmlat_flow flow;

	(void)state;
	assert_int_equal(parse_linear(&packet, 0, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 19, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 20, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 39, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 40, packet.size, &flow), PARSED);
	packet = ipv6_udp();
	assert_int_equal(parse_linear(&packet, 39, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 47, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 48, packet.size, &flow), PARSED);
	packet = tagged(ipv4_udp(), ETHERTYPE_VLAN, 2);
	assert_int_equal(parse_linear(&packet, 3, packet.size, &flow), PARSED_TRUNCATED);
	assert_int_equal(parse_linear(&packet, 7, packet.size, &flow), PARSED_TRUNCATED);
}

static void headers_beyond_what_is_copied_are_truncated(void **state)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV6 };

	(void)state;
	put_ipv6(&packet, IPV6_DESTINATION, 80 + UDP_SIZE);
	put_extension(&packet, PROTOCOL_UDP, 80);
	put_udp(&packet, 7, 9);
	assert_int_equal(good(packet).dst_port, 9); /* up to the last byte that is copied */
	packet = (struct packet){ .ethertype = ETHERTYPE_IPV6 };
	put_ipv6(&packet, IPV6_DESTINATION, 88 + UDP_SIZE);
	put_extension(&packet, PROTOCOL_UDP, 88);
	put_udp(&packet, 7, 9);
	assert_no_flow(packet, PARSED_TRUNCATED);
}

/* Cut to any length, the linear part or the packet: the whole truth or none of it. */
static void assert_any_cut_is_harmless(struct packet packet)
{
	struct vmlat_flow whole = good(packet), flow;
	size_t first = 0;

	for (size_t size = 0; size <= packet.size; size++) {
		enum parsed parsed = parse_linear(&packet, size, packet.size, &flow);

		assert_in_range(parsed, PARSED, PARSED_TRUNCATED);
		if (parsed == PARSED)
			assert_memory_equal(&flow, &whole, sizeof(flow));
		else
			assert_int_equal(flow.family, 0);
		first = parsed == PARSED && !first ? size : first;
		assert_true(!first || parsed == PARSED); /* more bytes never say less */
		parsed = parse_linear(&packet, size, size, &flow);
		if (size == packet.size)
			assert_int_equal(parsed, PARSED);
		else
			assert_int_equal(flow.family, 0); /* its IP length is beyond it */
	}
	assert_true(first > 20);
}

static void any_cut_of_any_packet_is_harmless(void **state)
{
	const struct packet packets[] = { ipv4_udp(), ipv4_tcp(), ipv6_udp(), ipv6_all_extensions(),
					  ipv6_fragment(1) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++)
		for (int tags = 0; tags <= 2; tags++)
			assert_any_cut_is_harmless(tagged(packets[i], ETHERTYPE_VLAN, tags));
}

static struct packet with_byte(struct packet packet, size_t at, __u8 value)
{
	packet.bytes[at] = value;
	return packet;
}

static void headers_that_contradict_each_other_are_malformed(void **state)
{
	(void)state;
	for (__u8 words = 0; words < 5; words++) {
		assert_no_flow(with_byte(ipv4_udp(), 0, 0x40 | words), PARSED_MALFORMED);
		assert_no_flow(with_byte(ipv4_tcp(), 32, words << 4), PARSED_MALFORMED);
	}
	for (unsigned int version = 0; version < 16; version++) {
		if (version != 4)
			assert_no_flow(with_byte(ipv4_udp(), 0, version << 4 | 5),
				       PARSED_MALFORMED);
		if (version != 6)
			assert_no_flow(with_byte(ipv6_udp(), 0, version << 4), PARSED_MALFORMED);
	}
}

static void an_l4_header_in_the_padding_is_malformed(void **state)
{
	(void)state;
	assert_no_flow(with_byte(ipv4_tcp(), 3, 20 + 19), PARSED_MALFORMED);
	assert_no_flow(with_byte(ipv4_udp(), 3, 20 + 7), PARSED_MALFORMED);
	assert_no_flow(with_byte(ipv6_udp(), 5, 7), PARSED_MALFORMED);
}

static void an_ip_length_beyond_the_packet_is_malformed(void **state)
{
	__u8 v4 = 20 + UDP_SIZE, v6 = UDP_SIZE;

	(void)state;
	assert_no_flow(with_byte(ipv4_udp(), 3, v4 + 1), PARSED_MALFORMED);
	assert_no_flow(with_byte(ipv4_udp(), 2, 0xff), PARSED_MALFORMED);
	assert_no_flow(with_byte(ipv4_udp(), 3, 19), PARSED_MALFORMED); /* not even the header */
	assert_no_flow(with_byte(ipv6_udp(), 5, v6 + 1), PARSED_MALFORMED);
	assert_no_flow(with_byte(tagged(ipv4_udp(), ETHERTYPE_VLAN, 1), 7, v4 + 1),
		       PARSED_MALFORMED);
	assert_no_flow(with_byte(tagged(ipv6_udp(), ETHERTYPE_VLAN, 2), 13, v6 + 1),
		       PARSED_MALFORMED);
}

static void padding_behind_the_packet_is_none_of_it(void **state)
{
	struct packet packet = ipv4_udp();

	(void)state;
	put_zeros(&packet, 6);
	assert_flow(packet, with_ports(expected_ipv4(PROTOCOL_UDP), 5000, 53));
}

static void an_ip_length_of_0_is_big_tcp_where_none_else_has_room(void **state)
{
	const struct packet packets[] = { with_byte(ipv4_tcp(), 3, 0),
					  with_byte(ipv6_all_extensions(), 5, 0) };
	enum { LONGEST = 0xffff + 40, BIG = LONGEST + 1 };
	struct vmlat_flow flow;

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct packet *packet = &packets[i];

		assert_int_equal(parse_linear(packet, packet->size, BIG, &flow), PARSED);
		assert_int_equal(flow.dst_port, 443);
		assert_int_equal(parse(packet, &flow), PARSED_MALFORMED);
	}
	assert_int_equal(parse_linear(&packets[1], packets[1].size, LONGEST, &flow),
			 PARSED_MALFORMED);
}

static void an_extension_header_ends_within_the_packet(void **state)
{
	struct packet packet = with_byte(with_byte(ipv6_all_extensions(), 4, 0), 5, 7);

	(void)state;
	assert_no_flow(packet, PARSED_MALFORMED);
}

/* Numerical Recipes' generator: the same packets on every machine. */
static __u32 next_random(__u32 *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Half of them noise, half of them good packets with a few bytes changed. */
static struct packet random_packet(__u32 *seed)
{
	static const __u16 ethertypes[] = { ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN,
					    ETHERTYPE_SVLAN };
	struct packet packet = { .size = next_random(seed) % 200 };

	if (next_random(seed) % 2) {
		packet.ethertype = ethertypes[next_random(seed) % 4];
		for (size_t i = 0; i < packet.size; i++)
			packet.bytes[i] = next_random(seed);
		return packet;
	}
	packet = next_random(seed) % 2 ? ipv4_tcp() : ipv6_all_extensions();
	packet = tagged(packet, ETHERTYPE_VLAN, next_random(seed) % 3);
	for (int i = next_random(seed) % 3; i >= 0; i--)
		packet.bytes[next_random(seed) % packet.size] = next_random(seed);
	return packet;
}

static void random_packets_do_no_harm(void **state)
{
	size_t counts[3] = { 0 };
	__u32 seed = 20260115;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct packet packet = random_packet(&seed);
		size_t linear = next_random(&seed) % (packet.size + 1);
		struct vmlat_flow flow;
		enum parsed parsed = parse_linear(&packet, linear, packet.size, &flow);

		counts[parsed]++;
		assert_true(flow.vlans <= 2);
		assert_true(flow.family == 0 ||
			    (parsed == PARSED && (flow.family == 4 || flow.family == 6)));
		assert_true(!flow.family || !flow.has_ports || flow.protocol == PROTOCOL_TCP ||
			    flow.protocol == PROTOCOL_UDP);
	}
	for (int i = 0; i < 3; i++)
		assert_true(counts[i] > 5000); /* each way was taken */
}

static void before_6_2_a_tag_is_there_when_vlan_present_says_so(void **state)
{
	struct sk_buff skb = { .vlan_present = 1, .vlan_proto = 0, .vlan_tci = 100 };
	__u16 tci = 7;

	(void)state;
	kernel_has_vlan_present = true;
	assert_true(skb_vlan(&skb, false, &tci));
	assert_int_equal(tci, 100);
	skb.vlan_present = 0;
	skb.vlan_proto = htons(ETHERTYPE_VLAN); /* left behind */
	assert_false(skb_vlan(&skb, false, &tci));
}

static void since_6_2_a_tag_is_there_when_its_protocol_is(void **state)
{
	struct sk_buff skb = { .vlan_proto = htons(ETHERTYPE_SVLAN), .vlan_tci = 0 };
	__u16 tci = 7;

	(void)state;
	kernel_has_vlan_present = false;
	assert_true(skb_vlan(&skb, false, &tci)); /* a priority tag has VLAN 0 */
	assert_int_equal(tci, 0);
	skb.vlan_proto = 0;
	assert_false(skb_vlan(&skb, false, &tci));
}

/* --- whole frames --- */

/* What cannot be read is NULL. */
static long bpf_probe_read_kernel(void *to, size_t size, const void *from)
{
	if (!from)
		return -14; /* -EFAULT */
	memcpy(to, from, size);
	return 0;
}

/* A frame whose data begins at the Ethernet header, all of it linear. */
static struct sk_buff frame_of(struct packet *frame, struct packet packet)
{
	*frame = (struct packet){ 0 };
	put_zeros(frame, 12);
	put16(frame, packet.ethertype);
	put(frame, packet.size, packet.bytes);
	kernel_has_vlan_present = false;
	return (struct sk_buff){ .data = frame->bytes, .len = frame->size };
}

struct read {
	struct scratch scratch;
	struct cursor c;
	__u32 l3;
};

static struct cpu_state *const cpu = (struct cpu_state *)&cpus[SHIM_CPU];

static bool read_frame(const struct sk_buff *skb, struct read *read)
{
	memset(read, 0xa5, sizeof(*read));
	cpu->scratch = read->scratch; /* nothing of it may stay */
	if (!read_ethernet(skb, &cpu->scratch))
		return false;
	if (parse_scratch(SOFTIRQS_OFF) != PARSED)
		cpu->scratch.flow.family = 0;
	read->scratch = cpu->scratch;
	read->c = cpu->scratch.cursor;
	read->l3 = cpu->scratch.l3;
	return true;
}

static void a_frame_has_its_flow_and_where_its_headers_are(void **state)
{
	for (int tags = 0; tags <= 2; tags++) {
		struct packet frame;
		struct sk_buff skb = frame_of(&frame, tagged(ipv4_tcp(), ETHERTYPE_VLAN, tags));
		struct read read;

		(void)state;
		assert_true(read_frame(&skb, &read));
		assert_int_equal(read.l3, ETHERNET + 4 * tags);
		assert_int_equal(read.c.at, read.l3 + 20);
		assert_int_equal(read.c.l4_size, 20);
		assert_int_equal(read.c.length, frame.size);
		assert_int_equal(read.scratch.flow.family, 4);
		assert_int_equal(read.scratch.flow.src_port, 8080);
		assert_int_equal(read.scratch.flow.vlans, tags);
	}
}

static void the_l4_header_has_its_own_size(void **state)
{
	struct packet packet = { .ethertype = ETHERTYPE_IPV4 }, frame;
	struct sk_buff skb = frame_of(&frame, ipv6_udp());
	struct read read;

	(void)state;
	assert_true(read_frame(&skb, &read));
	assert_int_equal(read.c.l4_size, 8);
	put_ipv4(&packet, PROTOCOL_TCP, 0, 0, TCP_SIZE);
	put_tcp(&packet, 8080, 443, 7);
	skb = frame_of(&frame, packet);
	assert_true(read_frame(&skb, &read));
	assert_int_equal(read.c.l4_size, 28);
	packet = (struct packet){ .ethertype = ETHERTYPE_IPV4 };
	put_ipv4(&packet, PROTOCOL_ICMP, 0, 0, 8);
	put_zeros(&packet, 8);
	skb = frame_of(&frame, packet);
	assert_true(read_frame(&skb, &read));
	assert_int_equal(read.c.l4_size, 0);
}

static void a_frames_tag_in_the_skb_is_the_outer_one(void **state)
{
	struct packet frame;
	struct sk_buff skb = frame_of(&frame, tagged(ipv4_udp(), ETHERTYPE_VLAN, 1));
	struct read read;

	(void)state;
	skb.vlan_proto = htons(ETHERTYPE_SVLAN);
	skb.vlan_tci = 300;
	assert_true(read_frame(&skb, &read));
	assert_int_equal(read.scratch.flow.vlans, 2);
	assert_int_equal(read.scratch.flow.vlan_tci[0], 300);
	assert_int_equal(read.scratch.flow.vlan_tci[1], 200);
	assert_int_equal(read.l3, ETHERNET + 4);
}

static void a_frame_whose_packet_is_wrong_is_not_ip(void **state)
{
	struct packet frame;
	struct sk_buff skb = frame_of(&frame, with_byte(ipv4_udp(), 0, 0x41));
	struct read read;

	(void)state;
	assert_true(read_frame(&skb, &read));
	assert_int_equal(read.scratch.flow.family, 0);
	assert_int_equal(read.l3, ETHERNET);
}

static void a_frame_that_cannot_be_read_has_nothing(void **state)
{
	struct packet frame;
	struct sk_buff skb = frame_of(&frame, tagged(ipv4_udp(), ETHERTYPE_VLAN, 2));
	struct read read;

	(void)state;
	skb.data_len = frame.size - 14; /* the tags are not linear */
	assert_false(read_frame(&skb, &read));
	skb.data_len = frame.size - 13; /* nor is the Ethernet header */
	assert_false(read_frame(&skb, &read));
	skb.data_len = 0;
	skb.data = NULL;
	assert_false(read_frame(&skb, &read));
}

/* --- filters --- */

static const struct vmlat_filter everything = { .src_port = { 0, 65535 },
						.dst_port = { 0, 65535 },
						.active = 1 };

/* 10.1.2.3:1000 -> 10.9.8.7:2000 */
static struct vmlat_flow ipv4_flow(__u8 protocol)
{
	struct vmlat_flow flow = { .family = 4, .protocol = protocol };

	flow.src[0] = htonl(0x0a010203);
	flow.dst[0] = htonl(0x0a090807);
	if (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP)
		flow = with_ports(flow, 1000, 2000);
	return flow;
}

static struct vmlat_prefix prefix_of(const __be32 *addr, __u32 family, unsigned int bits)
{
	struct vmlat_prefix prefix = { .family = family };

	for (unsigned int bit = 0; bit < bits; bit++)
		prefix.mask[bit / 32] |= htonl(1U << (31 - bit % 32));
	for (int i = 0; i < 4; i++)
		prefix.addr[i] = addr[i] & prefix.mask[i];
	return prefix;
}

static void without_filters_everything_passes(void **state)
{
	struct vmlat_filter filter = everything;
	struct vmlat_flow flow = { 0 };

	(void)state;
	filter.active = 0;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_PASSED);
	flow = ipv4_flow(47);
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_PASSED);
}

static void any_filter_turns_away_what_is_not_ip(void **state)
{
	struct vmlat_flow flow = { 0 };

	(void)state;
	assert_int_equal(filter_flow(&everything, &flow), VMLAT_REFUSED_NOT_IP);
	flow = ipv4_flow(47);
	assert_int_equal(filter_flow(&everything, &flow), VMLAT_PASSED);
}

static void a_protocol_filter_passes_its_own(void **state)
{
	static const struct {
		__u8 protocol;
		__u32 bit;
	} cases[] = { { PROTOCOL_TCP, VMLAT_TCP },
		      { PROTOCOL_UDP, VMLAT_UDP },
		      { PROTOCOL_ICMP, VMLAT_ICMP },
		      { PROTOCOL_ICMPV6, 0 },
		      { 47, 0 } };

	(void)state;
	for (__u32 mask = 1; mask < 8; mask++)
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct vmlat_filter filter = everything;
			struct vmlat_flow flow = ipv4_flow(cases[i].protocol);

			filter.protocols = mask;
			assert_int_equal(filter_flow(&filter, &flow),
					 mask & cases[i].bit ? VMLAT_PASSED
							     : VMLAT_REFUSED_PROTOCOL);
		}
}

static void icmp_is_that_of_the_packets_family(void **state)
{
	struct vmlat_filter filter = everything;
	struct vmlat_flow flow = expected_ipv6(PROTOCOL_ICMPV6);

	(void)state;
	filter.protocols = VMLAT_ICMP;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_PASSED);
	flow.protocol = PROTOCOL_ICMP;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_PROTOCOL);
}

/* For each length: the address itself passes, and one bit in the prefix changed does not. */
static void assert_prefix_lengths(struct vmlat_flow flow, unsigned int width, bool source)
{
	for (unsigned int bits = 0; bits <= width; bits++) {
		struct vmlat_filter filter = everything;
		__be32 *addr = source ? flow.src : flow.dst;

		*(source ? &filter.src : &filter.dst) = prefix_of(addr, flow.family, bits);
		assert_int_equal(filter_flow(&filter, &flow), VMLAT_PASSED);
		for (unsigned int bit = 0; bit < width; bit++) {
			addr[bit / 32] ^= htonl(1U << (31 - bit % 32));
			assert_int_equal(filter_flow(&filter, &flow),
					 bit >= bits ? VMLAT_PASSED
					 : source    ? VMLAT_REFUSED_SRC_IP
						     : VMLAT_REFUSED_DST_IP);
			addr[bit / 32] ^= htonl(1U << (31 - bit % 32));
		}
	}
}

static void a_prefix_passes_what_begins_so_and_nothing_else(void **state)
{
	(void)state;
	assert_prefix_lengths(ipv4_flow(PROTOCOL_UDP), 32, true);
	assert_prefix_lengths(ipv4_flow(PROTOCOL_UDP), 32, false);
	assert_prefix_lengths(expected_ipv6(PROTOCOL_UDP), 128, true);
	assert_prefix_lengths(expected_ipv6(PROTOCOL_UDP), 128, false);
}

static void a_prefix_passes_its_own_family_alone(void **state)
{
	struct vmlat_flow v4 = ipv4_flow(PROTOCOL_UDP), v6 = expected_ipv6(PROTOCOL_UDP);
	struct vmlat_filter filter = everything;

	(void)state;
	filter.src = prefix_of(v4.src, 4, 0);
	assert_int_equal(filter_flow(&filter, &v4), VMLAT_PASSED);
	assert_int_equal(filter_flow(&filter, &v6), VMLAT_REFUSED_SRC_IP);
	filter = everything;
	filter.dst = prefix_of(v6.dst, 6, 0);
	assert_int_equal(filter_flow(&filter, &v6), VMLAT_PASSED);
	assert_int_equal(filter_flow(&filter, &v4), VMLAT_REFUSED_DST_IP);
}

static void a_source_filter_never_matches_a_destination(void **state)
{
	struct vmlat_flow flow = ipv4_flow(PROTOCOL_UDP);
	struct vmlat_filter filter = everything;

	(void)state;
	filter.src = prefix_of(flow.dst, 4, 32);
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_SRC_IP);
	filter = everything;
	filter.dst = prefix_of(flow.src, 4, 32);
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_DST_IP);
	filter = everything;
	filter.src_port = (struct vmlat_ports){ 2000, 2000 };
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_SRC_PORT);
	filter = everything;
	filter.dst_port = (struct vmlat_ports){ 1000, 1000 };
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_DST_PORT);
}

static void a_port_range_has_both_ends_in_it(void **state)
{
	static const struct {
		struct vmlat_ports range;
		bool has_1000;
	} cases[] = { { { 1000, 1000 }, true },	  { { 999, 1001 }, true }, { { 0, 1000 }, true },
		      { { 1000, 65535 }, true },  { { 0, 65535 }, true },  { { 0, 999 }, false },
		      { { 1001, 65535 }, false }, { { 0, 0 }, false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmlat_flow flow = with_ports(ipv4_flow(PROTOCOL_TCP), 1000, 1000);
		struct vmlat_filter src = everything, dst = everything;

		src.src_port = dst.dst_port = cases[i].range;
		assert_int_equal(filter_flow(&src, &flow),
				 cases[i].has_1000 ? VMLAT_PASSED : VMLAT_REFUSED_SRC_PORT);
		assert_int_equal(filter_flow(&dst, &flow),
				 cases[i].has_1000 ? VMLAT_PASSED : VMLAT_REFUSED_DST_PORT);
	}
}

static void a_port_filter_turns_away_what_has_no_ports(void **state)
{
	struct vmlat_flow flow = ipv4_flow(PROTOCOL_UDP);
	struct vmlat_filter filter = everything;

	(void)state;
	flow.has_ports = 0; /* an ICMP packet, whose ports read as 0 */
	flow.src_port = flow.dst_port = 0;
	filter.src_port = (struct vmlat_ports){ 0, 100 };
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_SRC_PORT);
	filter = everything;
	filter.dst_port = (struct vmlat_ports){ 0, 65534 };
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_DST_PORT);
	assert_int_equal(filter_flow(&everything, &flow), VMLAT_PASSED);
	flow.fragment = VMLAT_UNMATCHED_FRAGMENT;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_FRAGMENT);
	assert_int_equal(filter_flow(&everything, &flow), VMLAT_PASSED);
}

static void the_first_filter_that_fails_is_the_reason(void **state)
{
	struct vmlat_flow flow = ipv4_flow(PROTOCOL_UDP);
	struct vmlat_filter filter = { .protocols = VMLAT_TCP, .active = 1 };

	(void)state;
	filter.src = prefix_of(flow.dst, 4, 32);
	filter.dst = prefix_of(flow.src, 4, 32);
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_PROTOCOL);
	filter.protocols = 0;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_SRC_IP);
	filter.src.family = 0;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_DST_IP);
	filter.dst.family = 0;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_SRC_PORT);
	filter.src_port.high = 65535;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_REFUSED_DST_PORT);
	filter.dst_port.high = 65535;
	assert_int_equal(filter_flow(&filter, &flow), VMLAT_PASSED);
}

/* --- interfaces --- */

static struct vmlat_interface second = { .device = { 1, 70 + VMLAT_INTERFACES } };
static int lookups;

/* The interfaces map has what does not stand in the settings. */
static void *bpf_map_lookup_elem(const void *map, const void *key)
{
	lookups++;
	return map == &interfaces && !memcmp(key, &second.device, sizeof(second.device)) ? &second
											 : NULL;
}

static void an_interface_is_known_by_number_and_namespace(void **state)
{
	static struct vmlat_config config = {
		.interfaces[70] = { .device = { 1, 70 }, .roles = VMLAT_ROLE_TAP, .others = 1 }
	};
	struct net ours = { .ns.inum = 1 }, other = { .ns.inum = 2 };
	struct net_device device = { .ifindex = 70, .nd_net.net = &ours };

	(void)state;
	assert_ptr_equal(selected_interface(&config, &device, true), &config.interfaces[70]);
	assert_ptr_equal(selected_interface(&config, &device, false), &config.interfaces[70]);
	device.nd_net.net = &other;
	assert_null(selected_interface(&config, &device, true));
	device.ifindex = 70 + VMLAT_INTERFACES; /* the same place */
	assert_null(selected_interface(&config, &device, true));
	device.nd_net.net = &ours;
	assert_ptr_equal(selected_interface(&config, &device, true), &second);
}

static void an_interface_that_nobody_selected_is_known_as_such(void **state)
{
	static struct vmlat_config config = { .interfaces[70] = { .device = { 1, 70 } } };
	struct net ours = { .ns.inum = 1 };
	struct net_device device = { .ifindex = 70, .nd_net.net = &ours };

	(void)state;
	lookups = 0;
	assert_ptr_equal(selected_interface(&config, &device, true), &config.interfaces[70]);
	assert_int_equal(lookups, 0);
}

static void an_interface_that_has_no_entry_costs_no_lookup(void **state)
{
	static struct vmlat_config config = { .interfaces[70] = { .device = { 1, 70 },
								  .roles = VMLAT_ROLE_TAP } };
	struct net ours = { .ns.inum = 1 };
	struct net_device device = { .nd_net.net = &ours };

	(void)state;
	lookups = 0;
	for (device.ifindex = 1; device.ifindex < 2 * VMLAT_INTERFACES; device.ifindex++)
		if (device.ifindex != 70)
			assert_null(selected_interface(&config, &device, true));
	assert_int_equal(lookups, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ipv4_udp_packet_has_addresses_ports_and_id),
		cmocka_unit_test(a_tcp_packet_has_its_sequence_number_too),
		cmocka_unit_test(tcp_and_udp_in_ipv4_are_told_in_few_steps),
		cmocka_unit_test(ports_stand_behind_any_ipv4_options),
		cmocka_unit_test(icmp_has_no_ports),
		cmocka_unit_test(an_ipv6_udp_packet_has_no_id),
		cmocka_unit_test(ports_stand_behind_ipv6_extension_headers),
		cmocka_unit_test(four_extension_headers_are_followed),
		cmocka_unit_test(the_first_fragment_has_ports_and_later_ones_have_not),
		cmocka_unit_test(ipv6_fragments_are_like_those_of_ipv4),
		cmocka_unit_test(tags_in_the_packet_are_taken_outer_first),
		cmocka_unit_test(a_tag_in_the_skb_stands_before_those_in_the_packet),
		cmocka_unit_test(a_third_tag_is_an_ethertype_of_its_own),
		cmocka_unit_test(what_is_not_ip_is_known_by_its_tags_alone),
		cmocka_unit_test(a_packet_that_ends_within_a_header_is_truncated),
		cmocka_unit_test(headers_beyond_what_is_copied_are_truncated),
		cmocka_unit_test(any_cut_of_any_packet_is_harmless),
		cmocka_unit_test(headers_that_contradict_each_other_are_malformed),
		cmocka_unit_test(an_l4_header_in_the_padding_is_malformed),
		cmocka_unit_test(an_ip_length_beyond_the_packet_is_malformed),
		cmocka_unit_test(padding_behind_the_packet_is_none_of_it),
		cmocka_unit_test(an_ip_length_of_0_is_big_tcp_where_none_else_has_room),
		cmocka_unit_test(an_extension_header_ends_within_the_packet),
		cmocka_unit_test(random_packets_do_no_harm),
		cmocka_unit_test(before_6_2_a_tag_is_there_when_vlan_present_says_so),
		cmocka_unit_test(since_6_2_a_tag_is_there_when_its_protocol_is),
		cmocka_unit_test(a_frame_has_its_flow_and_where_its_headers_are),
		cmocka_unit_test(the_l4_header_has_its_own_size),
		cmocka_unit_test(a_frames_tag_in_the_skb_is_the_outer_one),
		cmocka_unit_test(a_frame_whose_packet_is_wrong_is_not_ip),
		cmocka_unit_test(a_frame_that_cannot_be_read_has_nothing),
		cmocka_unit_test(without_filters_everything_passes),
		cmocka_unit_test(any_filter_turns_away_what_is_not_ip),
		cmocka_unit_test(a_protocol_filter_passes_its_own),
		cmocka_unit_test(icmp_is_that_of_the_packets_family),
		cmocka_unit_test(a_prefix_passes_what_begins_so_and_nothing_else),
		cmocka_unit_test(a_prefix_passes_its_own_family_alone),
		cmocka_unit_test(a_source_filter_never_matches_a_destination),
		cmocka_unit_test(a_port_range_has_both_ends_in_it),
		cmocka_unit_test(a_port_filter_turns_away_what_has_no_ports),
		cmocka_unit_test(the_first_filter_that_fails_is_the_reason),
		cmocka_unit_test(an_interface_is_known_by_number_and_namespace),
		cmocka_unit_test(an_interface_that_nobody_selected_is_known_as_such),
		cmocka_unit_test(an_interface_that_has_no_entry_costs_no_lookup),
	};

	return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
