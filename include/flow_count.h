/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the completed packets of one flow add up to, as the BPF side keeps it where it is asked to. */
#ifndef VMLAT_FLOW_COUNT_H
#define VMLAT_FLOW_COUNT_H

#include "flight.h"

enum { VMLAT_FLOWS = 8192 }; /* that have a place between two times that they are taken out */

/* A flow at a tap; ports are 0 where there are none, as unused words of addresses are. */
struct vmlat_flow_key {
	__be32 src[4];
	__be32 dst[4];
	__u16 src_port;
	__u16 dst_port;
	__u32 interface; /* index in the interface table */
	__u8 family;
	__u8 protocol;
	__u8 has_ports;
	__u8 direction;
};

/* Of one CPU, or the sum of all. */
struct vmlat_flow_count {
	__u64 packets;
	__u64 bytes; /* of the frames as handed over, tags included */
	__u64 sum_ns; /* of the total times */
	__u64 max_ns;
};

_Static_assert(sizeof(struct vmlat_flow_key) == 44, "a key has no hole: it is compared as bytes");

#endif
