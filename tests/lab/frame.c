// SPDX-License-Identifier: GPL-2.0
#include "frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Linux 6.2, newer than the headers of Debian 12 */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
	ETH_LENGTH = 14,
	TAG_LENGTH = 4,
	IP4_LENGTH = 20,
	IP6_LENGTH = 40,
	IP6_FRAGMENT_LENGTH = 8,
	UDP_LENGTH = 8,
	ICMP_LENGTH = 8,
	TCP_LENGTH = 20,
	TTL = 64,
};

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static uint16_t get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint64_t sum16(uint64_t sum, const uint8_t *data, size_t length)
{
	for (; length > 1; data += 2, length -= 2)
		sum += get16(data);
	return length ? sum + (data[0] << 8) : sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static size_t address_length(const struct flow *flow)
{
	return flow->src_ip.family == AF_INET6 ? 16 : 4;
}

static size_t ip_length(const struct flow *flow)
{
	return flow->src_ip.family == AF_INET6 ? IP6_LENGTH : IP4_LENGTH;
}

static size_t transport_length(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP ? TCP_LENGTH : UDP_LENGTH;
}

static uint8_t wire_protocol(const struct flow *flow)
{
	if (flow->protocol == IPPROTO_ICMP && flow->src_ip.family == AF_INET6)
		return IPPROTO_ICMPV6;
	return flow->protocol;
}

static size_t checksum_offset(const struct flow *flow)
{
	switch (flow->protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	default:
		return 2;
	}
}

static uint64_t pseudo_sum(const struct flow *flow, size_t length)
{
	uint64_t sum = wire_protocol(flow) + length;

	if (wire_protocol(flow) == IPPROTO_ICMP)
		return 0;
	sum = sum16(sum, flow->src_ip.bytes, address_length(flow));
	return sum16(sum, flow->dst_ip.bytes, address_length(flow));
}

size_t frame_header_length(const struct frame_spec *spec)
{
	const struct flow *flow = &spec->flow;

	return ETH_LENGTH + TAG_LENGTH * flow->vlan_count + ip_length(flow) +
	       transport_length(flow);
}

static size_t build_ethernet(const struct flow *flow, uint8_t *out)
{
	uint8_t *at = out + 12;

	memcpy(out, flow->dst_mac, 6);
	memcpy(out + 6, flow->src_mac, 6);
	for (unsigned int i = 0; i < flow->vlan_count; i++, at += TAG_LENGTH) {
		put16(at, i ? ETH_P_8021Q : flow->vlan_proto);
		put16(at + 2, flow->vlans[i]);
	}
	put16(at, flow->src_ip.family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
	return at + 2 - out;
}

static size_t build_ip4(const struct frame_spec *spec, uint16_t id, size_t length, uint8_t *out)
{
	memset(out, 0, IP4_LENGTH);
	out[0] = 0x45;
	out[1] = spec->dscp << 2;
	put16(out + 2, IP4_LENGTH + length);
	put16(out + 4, id);
	out[8] = TTL;
	out[9] = spec->flow.protocol;
	memcpy(out + 12, spec->flow.src_ip.bytes, 4);
	memcpy(out + 16, spec->flow.dst_ip.bytes, 4);
	put16(out + 10, ~fold(sum16(0, out, IP4_LENGTH)));
	return IP4_LENGTH;
}

static size_t build_ip6(const struct frame_spec *spec, size_t length, uint8_t *out)
{
	put32(out, 6u << 28 | (uint32_t)spec->dscp << 22);
	put16(out + 4, length);
	out[6] = wire_protocol(&spec->flow);
	out[7] = TTL;
	memcpy(out + 8, spec->flow.src_ip.bytes, 16);
	memcpy(out + 24, spec->flow.dst_ip.bytes, 16);
	return IP6_LENGTH;
}

static void build_tcp(const struct frame_spec *spec, const struct frame_number *number,
		      uint8_t *out)
{
	put16(out, spec->flow.src_port);
	put16(out + 2, spec->flow.dst_port);
	put32(out + 4, number->tcp_seq);
	put32(out + 8, spec->tcp_ack);
	out[12] = TCP_LENGTH / 4 << 4;
	out[13] = spec->tcp_flags;
	put16(out + 14, 65535);
}

/* An echo request; its identifier is what other protocols have as a source port. */
static void build_icmp(const struct frame_spec *spec, const struct frame_number *number,
		       uint8_t *out)
{
	out[0] = spec->flow.src_ip.family == AF_INET6 ? 128 : 8;
	put16(out + 4, spec->flow.src_port);
	put16(out + 6, number->sequence);
}

static void build_payload(const struct frame_spec *spec, uint32_t sequence, uint8_t *out)
{
	if (spec->payload < MARK_BYTES)
		return;
	put32(out, FRAME_MAGIC);
	put32(out + 4, sequence);
	for (uint32_t i = MARK_BYTES; i < spec->payload; i++)
		out[i] = i;
}

static void put_checksum(const struct frame_spec *spec, uint8_t *transport, size_t length)
{
	uint8_t *at = transport + checksum_offset(&spec->flow);
	uint64_t pseudo = pseudo_sum(&spec->flow, length);
	uint16_t sum;

	put16(at, 0);
	if (spec->partial_checksum) {
		put16(at, fold(pseudo));
		return;
	}
	sum = ~fold(sum16(pseudo, transport, length));
	if (!sum && spec->flow.protocol == IPPROTO_UDP)
		sum = 0xffff; /* 0 would say that there is none */
	put16(at, sum);
}

static void build_transport(const struct frame_spec *spec, const struct frame_number *number,
			    uint8_t *out)
{
	size_t header = transport_length(&spec->flow), length = header + spec->payload;

	memset(out, 0, header);
	switch (spec->flow.protocol) {
	case IPPROTO_TCP:
		build_tcp(spec, number, out);
		break;
	case IPPROTO_UDP:
		put16(out, spec->flow.src_port);
		put16(out + 2, spec->flow.dst_port);
		put16(out + 4, length);
		break;
	default:
		build_icmp(spec, number, out);
	}
	build_payload(spec, number->sequence, out + header);
	put_checksum(spec, out, length);
}

size_t frame_build(const struct frame_spec *spec, const struct frame_number *number, uint8_t *out)
{
	size_t length = transport_length(&spec->flow) + spec->payload;
	size_t at = build_ethernet(&spec->flow, out);

	if (spec->flow.src_ip.family == AF_INET6)
		at += build_ip6(spec, length, out + at);
	else
		at += build_ip4(spec, number->ip_id, length, out + at);
	build_transport(spec, number, out + at);
	return at + length;
}

/* Of an IPv4 header that is whole otherwise. */
static size_t make_fragment4(uint8_t *ip, size_t offset, size_t length, bool last)
{
	put16(ip + 2, IP4_LENGTH + length);
	put16(ip + 6, offset / 8 | (last ? 0 : 0x2000));
	put16(ip + 10, 0);
	put16(ip + 10, ~fold(sum16(0, ip, IP4_LENGTH)));
	return IP4_LENGTH;
}

/* With a fragment header behind. */
static size_t make_fragment6(uint8_t *ip, size_t offset, size_t length, bool last, uint32_t id)
{
	uint8_t *header = ip + IP6_LENGTH;

	header[0] = ip[6];
	header[1] = 0;
	put16(header + 2, offset | (last ? 0 : 1));
	put32(header + 4, id);
	ip[6] = IPPROTO_FRAGMENT;
	put16(ip + 4, IP6_FRAGMENT_LENGTH + length);
	return IP6_LENGTH + IP6_FRAGMENT_LENGTH;
}

size_t frame_fragment(const struct flow *flow, const uint8_t *frame, size_t length, size_t size,
		      unsigned int index, uint32_t id, uint8_t *out)
{
	size_t network = ETH_LENGTH + TAG_LENGTH * flow->vlan_count;
	size_t headers = network + ip_length(flow), offset = index * size, part;
	bool last;

	if (offset >= length - headers)
		return 0;
	part = length - headers - offset;
	last = part <= size;
	if (!last)
		part = size;
	memcpy(out, frame, headers);
	if (flow->src_ip.family == AF_INET6)
		out += make_fragment6(out + network, offset, part, last, id);
	else
		out += make_fragment4(out + network, offset, part, last);
	memcpy(out + network, frame + headers + offset, part);
	return headers + part + (flow->src_ip.family == AF_INET6 ? IP6_FRAGMENT_LENGTH : 0);
}

struct virtio_net_hdr frame_vnet_header(const struct frame_spec *spec)
{
	const struct flow *flow = &spec->flow;
	struct virtio_net_hdr header = {};

	if (!spec->partial_checksum)
		return header;
	header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.csum_start = frame_header_length(spec) - transport_length(flow);
	header.csum_offset = checksum_offset(flow);
	if (!spec->gso_size)
		return header;
	header.hdr_len = frame_header_length(spec);
	header.gso_size = spec->gso_size;
	if (flow->protocol == IPPROTO_UDP)
		header.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
	else
		header.gso_type = flow->src_ip.family == AF_INET6 ? VIRTIO_NET_HDR_GSO_TCPV6
								  : VIRTIO_NET_HDR_GSO_TCPV4;
	return header;
}

/* What is left of a frame that is being taken apart. */
struct rest {
	const uint8_t *at;
	size_t length;
};

static const uint8_t *take(struct rest *rest, size_t length)
{
	const uint8_t *at = rest->at;

	if (rest->length < length)
		return NULL;
	rest->at += length;
	rest->length -= length;
	return at;
}

static int add_tag(struct flow *flow, uint16_t proto, uint16_t id)
{
	if (flow->vlan_count == VLANS_MAX)
		return -EINVAL;
	if (!flow->vlan_count)
		flow->vlan_proto = proto;
	flow->vlans[flow->vlan_count++] = id & 0xfff;
	return 0;
}

/* The EtherType after all tags, or -EINVAL. */
static int parse_ethernet(struct rest *rest, struct outer_tag tag, struct flow *flow)
{
	const uint8_t *at = take(rest, ETH_LENGTH);
	int type;

	if (!at)
		return -EINVAL;
	memcpy(flow->dst_mac, at, 6);
	memcpy(flow->src_mac, at + 6, 6);
	if (tag.id >= 0 && add_tag(flow, tag.proto, tag.id))
		return -EINVAL;
	for (type = get16(at + 12); type == ETH_P_8021Q || type == ETH_P_8021AD;
	     type = get16(at + 2)) {
		at = take(rest, TAG_LENGTH);
		if (!at || add_tag(flow, type, get16(at)))
			return -EINVAL;
	}
	return type;
}

static int parse_ip4(struct rest *rest, struct flow *flow)
{
	const uint8_t *at = take(rest, IP4_LENGTH);
	size_t length;

	/* options, fragments, a header that does not sum up */
	if (!at || at[0] != 0x45 || get16(at + 6) & 0x3fff ||
	    fold(sum16(0, at, IP4_LENGTH)) != 0xffff)
		return -EINVAL;
	length = get16(at + 2);
	if (length < IP4_LENGTH || length - IP4_LENGTH > rest->length)
		return -EINVAL;
	rest->length = length - IP4_LENGTH; /* the rest is Ethernet's padding */
	flow->protocol = at[9];
	flow->src_ip.family = flow->dst_ip.family = AF_INET;
	memcpy(flow->src_ip.bytes, at + 12, 4);
	memcpy(flow->dst_ip.bytes, at + 16, 4);
	return 0;
}

static int parse_ip6(struct rest *rest, struct flow *flow)
{
	const uint8_t *at = take(rest, IP6_LENGTH);

	if (!at || at[0] >> 4 != 6 || get16(at + 4) > rest->length)
		return -EINVAL;
	rest->length = get16(at + 4);
	flow->protocol = at[6] == IPPROTO_ICMPV6 ? IPPROTO_ICMP : at[6];
	flow->src_ip.family = flow->dst_ip.family = AF_INET6;
	memcpy(flow->src_ip.bytes, at + 8, 16);
	memcpy(flow->dst_ip.bytes, at + 24, 16);
	return 0;
}

static int parse_transport(struct rest *rest, struct frame_view *view)
{
	struct flow *flow = &view->flow;
	struct rest whole = *rest;
	const uint8_t *at = take(rest, transport_length(flow));
	size_t options;

	if (!at)
		return -EINVAL;
	view->bad_checksum = fold(sum16(pseudo_sum(flow, whole.length), whole.at, whole.length)) !=
			     0xffff;
	if (flow->protocol == IPPROTO_ICMP) {
		flow->src_port = get16(at + 4);
		return 0;
	}
	flow->src_port = get16(at);
	flow->dst_port = get16(at + 2);
	if (flow->protocol == IPPROTO_UDP)
		return 0;
	options = (at[12] >> 4) * 4;
	return options >= TCP_LENGTH && take(rest, options - TCP_LENGTH) ? 0 : -EINVAL;
}

static void read_mark(struct frame_view *view)
{
	if (view->payload_length < MARK_BYTES || get32(view->payload) != FRAME_MAGIC)
		return;
	view->marked = true;
	view->sequence = get32(view->payload + 4);
}

int frame_parse(const uint8_t *frame, size_t length, struct outer_tag tag, struct frame_view *view)
{
	struct rest rest = { frame, length };
	int type, ret;

	*view = (struct frame_view){};
	type = parse_ethernet(&rest, tag, &view->flow);
	if (type == ETH_P_IP)
		ret = parse_ip4(&rest, &view->flow);
	else if (type == ETH_P_IPV6)
		ret = parse_ip6(&rest, &view->flow);
	else
		return -EINVAL;
	if (ret)
		return ret;
	if (view->flow.protocol != IPPROTO_UDP && view->flow.protocol != IPPROTO_TCP &&
	    view->flow.protocol != IPPROTO_ICMP)
		return -EINVAL;
	ret = parse_transport(&rest, view);
	view->payload = rest.at;
	view->payload_length = rest.length;
	if (!ret)
		read_mark(view);
	return ret;
}
