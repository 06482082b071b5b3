/* SPDX-License-Identifier: GPL-2.0 */
/* Ethernet frames of the traffic program: what they are made of, building them, taking them apart. */
#ifndef LAB_FRAME_H
#define LAB_FRAME_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VLANS_MAX = 4,
	HEADERS_MAX = 14 + 4 * VLANS_MAX + 40 + 20,
	FRAME_MAX = HEADERS_MAX + 65535,
	MARK_BYTES =
		8, /* at the start of a payload: FRAME_MAGIC and the sequence number, big-endian */
};

#define FRAME_MAGIC 0x564d4c54u /* "VMLT" */

struct address {
	int family; /* AF_INET, AF_INET6, or 0 while it is not known */
	uint8_t bytes[16];
};

struct flow {
	uint8_t src_mac[6];
	uint8_t dst_mac[6];
	uint16_t vlans[VLANS_MAX]; /* IDs, outermost first */
	unsigned int vlan_count;
	uint16_t vlan_proto; /* of the outermost tag */
	uint8_t protocol; /* IPPROTO_UDP, _TCP or _ICMP; the last for ICMPv6, too */
	struct address src_ip;
	struct address dst_ip;
	uint16_t src_port;
	uint16_t dst_port;
};

/* Everything of a frame but what changes from one to the next. */
struct frame_spec {
	struct flow flow;
	uint8_t dscp;
	uint8_t tcp_flags;
	uint32_t tcp_ack;
	uint32_t payload; /* bytes; either 0 or at least MARK_BYTES */
	uint16_t gso_size; /* 0: an ordinary frame */
	bool partial_checksum; /* leave the transport's checksum to the kernel */
};

struct frame_number {
	uint32_t sequence;
	uint32_t tcp_seq;
	uint16_t ip_id;
};

/* Headers of all layers, in bytes. */
size_t frame_header_length(const struct frame_spec *spec);

/* Writes a whole frame to out, which has room for FRAME_MAX bytes; returns its length. spec is a checked one: payload
 * fits an IP packet, both addresses are of one family.
 */
size_t frame_build(const struct frame_spec *spec, const struct frame_number *number, uint8_t *out);

/* One fragment of a frame that frame_build wrote: of its IP payload the size bytes (a multiple of 8) from index * size
 * on, with id where IPv6 has it; IPv4 has it from the frame. Returns its length, 0 for an index behind the last.
 */
size_t frame_fragment(const struct flow *flow, const uint8_t *frame, size_t length, size_t size,
		      unsigned int index, uint32_t id, uint8_t *out);

/* The header that tells the kernel what is left to do with the frame; all zero for a finished one. */
struct virtio_net_hdr frame_vnet_header(const struct frame_spec *spec);

struct frame_view {
	struct flow flow;
	const uint8_t *payload;
	size_t payload_length;
	bool bad_checksum;
	bool marked;
	uint32_t sequence; /* if marked */
};

/* A tag that the kernel took out of the frame, as PACKET_AUXDATA gives it back; id < 0: none. */
struct outer_tag {
	int id;
	uint16_t proto;
};

/* Takes an Ethernet frame of length bytes apart; view points into it. 0, or -EINVAL for anything but a complete UDP,
 * TCP or ICMP packet without IP options or fragments.
 */
int frame_parse(const uint8_t *frame, size_t length, struct outer_tag tag, struct frame_view *view);

#endif
