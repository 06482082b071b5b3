// SPDX-License-Identifier: GPL-2.0
#include "garbage.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum {
	ETH_LENGTH = 14,
	DAMAGED_BYTES = 100, /* from the EtherType on: where headers are */
};

/* A frame in the making, and where its headers begin. */
struct garbage {
	uint64_t random;
	uint8_t *frame;
	size_t length;
	size_t network;
	size_t transport;
	int family;
};

/* splitmix64 */
static uint64_t next(struct garbage *g)
{
	uint64_t z = g->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t below(struct garbage *g, size_t limit)
{
	return next(g) % limit;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static uint16_t get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static void fill(struct garbage *g, uint8_t *at, size_t length)
{
	for (size_t i = 0; i < length; i++)
		at[i] = next(g);
}

static struct address random_address(struct garbage *g, const struct address *like, int family)
{
	struct address address = { .family = family };

	if (like->family == family)
		address = *like;
	else
		fill(g, address.bytes, 16);
	address.bytes[family == AF_INET6 ? 15 : 3] = next(g);
	return address;
}

static struct frame_spec random_spec(struct garbage *g, const struct flow *flow)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP };
	static const uint8_t vlans[] = { 0, 0, 0, 0, 0, 1, 1, 2, 2, 3 };
	struct frame_spec spec = { .flow = *flow, .tcp_flags = next(g) };

	g->family = below(g, 2) ? AF_INET6 : AF_INET;
	spec.flow.src_ip = random_address(g, &flow->src_ip, g->family);
	spec.flow.dst_ip = random_address(g, &flow->dst_ip, g->family);
	spec.flow.src_port = next(g);
	spec.flow.dst_port = next(g);
	spec.flow.protocol = protocols[below(g, sizeof(protocols))];
	spec.flow.vlan_count = vlans[below(g, sizeof(vlans))];
	spec.flow.vlan_proto = below(g, 2) ? ETH_P_8021AD : ETH_P_8021Q;
	for (unsigned int i = 0; i < spec.flow.vlan_count; i++)
		spec.flow.vlans[i] = next(g);
	spec.payload = below(g, 4) ? MARK_BYTES + below(g, 64) : 0;
	return spec;
}

/* Room between the IP header and what follows; the IP header's length grows with it. */
static uint8_t *insert(struct garbage *g, size_t at, size_t bytes)
{
	uint8_t *length = g->frame + g->network + (g->family == AF_INET6 ? 4 : 2);

	memmove(g->frame + at + bytes, g->frame + at, g->length - at);
	put16(length, get16(length) + bytes);
	g->length += bytes;
	g->transport += bytes;
	return g->frame + at;
}

static void add_options(struct garbage *g)
{
	size_t words = below(g, 11);

	fill(g, insert(g, g->transport, 4 * words), 4 * words);
	g->frame[g->network] += words;
}

/* In front of the others. */
static void add_extension(struct garbage *g)
{
	static const uint8_t kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT,
					 IPPROTO_DSTOPTS, IPPROTO_AH };
	uint8_t *next_header = g->frame + g->network + 6, *header;
	uint8_t kind = kinds[below(g, sizeof(kinds))];
	size_t more = kind == IPPROTO_FRAGMENT ? 0 : below(g, 3);
	size_t length = 8 + 8 * more;

	header = insert(g, g->network + 40, length);
	fill(g, header, length);
	header[0] = *next_header;
	header[1] = more;
	if (kind == IPPROTO_FRAGMENT && below(g, 2))
		put16(header + 2, below(g, 2)); /* an offset of 0: it is the first, or all */
	*next_header = kind;
}

static void make_fragment(struct garbage *g)
{
	static const uint16_t kinds[] = { 0x2000, 0x2000, 0x2010, 0x0010, 0x1fff, 0x8000 };

	put16(g->frame + g->network + 6, kinds[below(g, sizeof(kinds) / sizeof(kinds[0]))]);
}

/* Unusual, but not wrong. */
static void embellish(struct garbage *g)
{
	if (g->family == AF_INET6) {
		for (size_t i = below(g, 7); i > 1; i--)
			add_extension(g);
		return;
	}
	if (!below(g, 3))
		add_options(g);
	if (!below(g, 3))
		make_fragment(g);
}

static void cut(struct garbage *g)
{
	g->length = ETH_LENGTH + below(g, g->length - ETH_LENGTH + 1);
}

static void damage_bytes(struct garbage *g)
{
	size_t limit = g->length - 12 < DAMAGED_BYTES ? g->length - 12 : DAMAGED_BYTES;

	for (size_t i = 1 + below(g, 4); i > 0; i--)
		g->frame[12 + below(g, limit)] = next(g);
}

/* A length a bit too small or too large, or any. */
static uint16_t false_length(struct garbage *g, uint16_t length)
{
	static const uint16_t extremes[] = { 0, 1, 0xffff };

	switch (below(g, 3)) {
	case 0:
		return length + below(g, 41) - 20;
	case 1:
		return extremes[below(g, 3)];
	default:
		return next(g);
	}
}

static void lie(struct garbage *g)
{
	uint8_t *ip = g->frame + g->network, *transport = g->frame + g->transport;
	uint8_t *length = ip + (g->family == AF_INET6 ? 4 : 2);
	uint8_t *next_header = ip + (g->family == AF_INET6 ? 6 : 9);

	switch (below(g, 6)) {
	case 0:
		ip[0] = next(g);
		break;
	case 1:
	case 2:
		put16(length, false_length(g, get16(length)));
		break;
	case 3:
		*next_header = next(g);
		break;
	case 4: /* of an extension header; of IPv4, what it is */
		ip[g->family == AF_INET6 ? 41 : 0] ^= 1 + below(g, 15);
		break;
	default: /* TCP's header or UDP's datagram */
		if (g->transport + 13 <= g->length)
			transport[below(g, 2) ? 12 : 4] = next(g);
	}
}

static void pad(struct garbage *g)
{
	size_t bytes = 1 + below(g, 20);

	fill(g, g->frame + g->length, bytes);
	g->length += bytes;
}

static void randomize(struct garbage *g)
{
	static const uint16_t types[] = { ETH_P_IP,	ETH_P_IPV6,    ETH_P_8021Q,
					  ETH_P_8021AD, ETH_P_ARP,     0x88b5,
					  0x0040,	ETH_P_MPLS_UC, ETH_P_PPP_SES };

	g->length = ETH_LENGTH + below(g, 150);
	fill(g, g->frame + ETH_LENGTH, g->length - ETH_LENGTH);
	put16(g->frame + 12, types[below(g, sizeof(types) / sizeof(types[0]))]);
}

size_t garbage_build(uint64_t seed, uint32_t number, const struct flow *flow, uint8_t *out)
{
	static void (*const harm[])(struct garbage * g) = { cut, cut, damage_bytes, lie,
							    lie, pad, randomize };
	struct garbage g = { .random = seed << 32 | number, .frame = out };
	struct frame_spec spec = random_spec(&g, flow);
	struct frame_number numbers = { .sequence = number, .tcp_seq = next(&g), .ip_id = number };

	g.length = frame_build(&spec, &numbers, out);
	g.network = ETH_LENGTH + 4 * spec.flow.vlan_count;
	g.transport = frame_header_length(&spec) - (spec.flow.protocol == IPPROTO_TCP ? 20 : 8);
	if (below(&g, 2))
		embellish(&g);
	for (size_t harms = (1 + below(&g, 4)) / 2; harms > 0; harms--)
		harm[below(&g, sizeof(harm) / sizeof(harm[0]))](&g);
	return g.length;
}
