// SPDX-License-Identifier: GPL-2.0
/* Frames that are built are the same when taken apart, fragments the same when put together, and no truncated or damaged
 * one is read past its end. The frames are parsed in memory of exactly their size: it is AddressSanitizer that notices
 * (see test-frame).
 */
#include <assert.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "garbage.h"

static const struct outer_tag no_tag = { -1, 0 };

static struct frame_spec make_spec(int family, uint8_t protocol, unsigned int vlans,
				   uint32_t payload)
{
	struct frame_spec spec = {
		.flow = {
			.src_mac = { 2, 0, 0, 0, 0, 1 }, .dst_mac = { 2, 0, 0, 0, 0, 2 },
			.vlans = { 100, 200, 300, 400 }, .vlan_count = vlans, .vlan_proto = ETH_P_8021AD,
			.protocol = protocol,
			.src_ip = { family, { 10, 0, 0, 2 } }, .dst_ip = { family, { 10, 0, 0, 1 } },
			.src_port = 12345, .dst_port = 5201,
		},
		.dscp = 46, .tcp_flags = 0x18, .payload = payload,
	};

	return spec;
}

/* As frame_parse, in memory that ends where the frame does. */
static int parse_exactly(const uint8_t *frame, size_t length, struct frame_view *view)
{
	uint8_t *copy = malloc(length ? length : 1);
	int ret;

	assert(copy);
	memcpy(copy, frame, length);
	ret = frame_parse(copy, length, no_tag, view);
	free(copy);
	return ret;
}

static void check_same(const struct frame_spec *spec, const struct frame_view *view,
		       uint32_t sequence)
{
	const struct flow *a = &spec->flow, *b = &view->flow;

	assert(!view->bad_checksum);
	assert(view->payload_length == spec->payload);
	assert(view->marked == (spec->payload >= MARK_BYTES));
	assert(!view->marked || view->sequence == sequence);
	assert(!memcmp(a->src_mac, b->src_mac, 6) && !memcmp(a->dst_mac, b->dst_mac, 6));
	assert(a->vlan_count == b->vlan_count &&
	       !memcmp(a->vlans, b->vlans, a->vlan_count * sizeof(a->vlans[0])));
	assert(!a->vlan_count || b->vlan_proto == a->vlan_proto);
	assert(a->protocol == b->protocol && a->src_port == b->src_port);
	assert(a->protocol == IPPROTO_ICMP || a->dst_port == b->dst_port);
	assert(a->src_ip.family == b->src_ip.family &&
	       !memcmp(a->src_ip.bytes, b->src_ip.bytes, 4));
}

static void check_damage(const uint8_t *frame, size_t length)
{
	static uint8_t damaged[FRAME_MAX];
	struct frame_view view;

	for (int i = 0; i < 2000; i++) {
		memcpy(damaged, frame, length);
		for (int n = 0; n < 3; n++)
			damaged[rand() % length] = rand();
		parse_exactly(damaged, length, &view);
	}
}

static void check_frame(int family, uint8_t protocol, unsigned int vlans, uint32_t payload)
{
	struct frame_spec spec = make_spec(family, protocol, vlans, payload);
	struct frame_number number = { .sequence = 0x01020304, .tcp_seq = 7, .ip_id = 9 };
	static uint8_t frame[FRAME_MAX];
	struct frame_view view;
	size_t length = frame_build(&spec, &number, frame);

	assert(length == frame_header_length(&spec) + payload);
	assert(!parse_exactly(frame, length, &view));
	check_same(&spec, &view, number.sequence);
	if (payload > 1000)
		return;
	for (size_t cut = 0; cut < length; cut++)
		assert(parse_exactly(frame, cut, &view));
	check_damage(frame, length);
}

static uint16_t get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* What the fragment says of itself: its offset, whether it is the last, its identification. */
static size_t read_fragment(const struct flow *flow, const uint8_t *ip, bool *last, uint32_t *id)
{
	bool six = flow->src_ip.family == AF_INET6;
	uint16_t field = get16(ip + (six ? 42 : 6));

	assert(!six || (ip[6] == IPPROTO_FRAGMENT && ip[40] == flow->protocol));
	*last = six ? !(field & 1) : !(field & 0x2000);
	*id = six ? (uint32_t)get16(ip + 44) << 16 | get16(ip + 46) : get16(ip + 4);
	return six ? field & 0xfff8 : (field & 0x1fff) * 8;
}

static void check_fragments(int family, unsigned int vlans, uint32_t payload, size_t size)
{
	struct frame_spec spec = make_spec(family, IPPROTO_UDP, vlans, payload);
	struct frame_number number = { .sequence = 1, .ip_id = 77 };
	static uint8_t whole[FRAME_MAX], part[FRAME_MAX];
	size_t length = frame_build(&spec, &number, whole), network = 14 + 4 * vlans;
	size_t header = family == AF_INET6 ? 40 : 20, extra = family == AF_INET6 ? 8 : 0;
	size_t done = 0, got, offset;
	bool last = false;
	uint32_t id;

	for (unsigned int i = 0; !last; i++) {
		got = frame_fragment(&spec.flow, whole, length, size, i, 77, part);
		assert(got > network + header + extra);
		offset = read_fragment(&spec.flow, part + network, &last, &id);
		assert(offset == done && id == 77);
		got -= network + header + extra;
		assert(last ? got <= size : got == size);
		assert(get16(part + network + (extra ? 4 : 2)) == got + (extra ? extra : header));
		assert(!memcmp(part + network + header + extra, whole + network + header + done,
			       got));
		done += got;
	}
	assert(done == length - network - header);
	assert(!frame_fragment(&spec.flow, whole, length, size, done / size + 1, 77, part));
}

static void check_garbage(void)
{
	struct flow flow = make_spec(AF_INET, IPPROTO_UDP, 0, 0).flow;
	static uint8_t frame[FRAME_MAX], again[FRAME_MAX];
	unsigned int good = 0, same = 0;
	struct frame_view view;
	size_t length;

	for (uint32_t n = 0; n < 20000; n++) {
		memset(frame, 0, 2000);
		memset(again, 0xff, 2000);
		length = garbage_build(1, n, &flow, frame);
		assert(length >= 14 && length < 1500);
		assert(garbage_build(1, n, &flow, again) == length &&
		       !memcmp(frame, again, length));
		assert(!memcmp(frame, flow.dst_mac, 6) && !memcmp(frame + 6, flow.src_mac, 6));
		good += !parse_exactly(frame, length, &view);
		same += garbage_build(2, n, &flow, again) == length &&
			!memcmp(frame, again, length);
	}
	assert(good > 1000 && good < 10000 && same < 100);
}

int main(void)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP };
	static const uint32_t payloads[] = { 0, 8, 9, 64, 1400, 65487 };

	for (size_t protocol = 0; protocol < 3; protocol++)
		for (unsigned int vlans = 0; vlans <= VLANS_MAX; vlans++)
			for (size_t payload = 0; payload < sizeof(payloads) / sizeof(payloads[0]);
			     payload++) {
				check_frame(AF_INET, protocols[protocol], vlans, payloads[payload]);
				check_frame(AF_INET6, protocols[protocol], vlans,
					    payloads[payload]);
			}
	for (unsigned int vlans = 0; vlans <= 2; vlans++)
		for (size_t size = 8; size <= 128; size += 8) {
			check_fragments(AF_INET, vlans, 100, size);
			check_fragments(AF_INET6, vlans, 100, size);
		}
	check_garbage();
	puts("frames: as they should be");
	return 0;
}
