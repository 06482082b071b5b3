/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What user space tells the BPF side. */
#ifndef VMLAT_CONFIG_H
#define VMLAT_CONFIG_H

#include "cpu.h"
#include "flow_count.h"
#include "histogram.h"

enum {
	VMLAT_INTERFACES = 1024, /* known at once */
	VMLAT_TAKEN_OUT = VMLAT_INTERFACES, /* in place of one: what is taken out */
	VMLAT_INTERFACE_NONE = 0xffffffff,
	VMLAT_TUNNEL_PORTS = 8, /* UDP ports that tunnels of the host listen on */
	VMLAT_SPARES = 4, /* places kept free for taps that the BPF side sees first */
	VMLAT_IFNAME = 16,
	VMLAT_ANSWERED_WITHIN = 2, /* timeouts; a later answer may be taken for another's */
};

/* What a device is to the trace. */
enum vmlat_role {
	VMLAT_ROLE_TAP = 1,
	VMLAT_ROLE_TX_START = 2,
	VMLAT_ROLE_TX_END = 4,
	VMLAT_ROLE_RX_START = 8,
	VMLAT_ROLE_RX_END = 16,
	VMLAT_ROLE_BRIDGE = 32, /* a Linux bridge: what it receives goes to the host's own stack */
	VMLAT_ROLE_ROUTED = 64, /* a port of no switch: only the host itself may send on to one */
};

/*
 * A device of the trace: at its ifindex % VMLAT_INTERFACES in the settings or, where another one
 * stands there, in the interfaces map by its vmlat_device.
 */
struct vmlat_interface {
	struct vmlat_device device; /* ifindex 0: nobody stands here */
	__u32 roles; /* 0: it is known, and not selected */
	__u32 index; /* into the traffic map and user space's table */
	__u32 others; /* at this place: some of this number are, or were, in the interfaces map */
};

/* A tap that the BPF side saw first: value of the adopted_taps map, its key is the vmlat_device. */
struct vmlat_adopted {
	__u32 index;
	char name[VMLAT_IFNAME];
};

/* What a tap gets that user space has not told of yet. */
struct vmlat_new_taps {
	__u32 netns; /* where it has to be */
	__u32 any; /* it is selected, whatever its name is; else those in the wanted_taps map are */
	__u32 chosen; /* roles, if it is selected */
	__u32 others; /* if not */
};

/* An address or prefix; family 0 matches everything. Unused words of mask are 0. */
struct vmlat_prefix {
	__be32 addr[4];
	__be32 mask[4];
	__u32 family;
};

/* A port range, both ends in it; low 0 and high 65535 matches everything. */
struct vmlat_ports {
	__u16 low;
	__u16 high;
};

struct vmlat_filter {
	struct vmlat_prefix src;
	struct vmlat_prefix dst;
	struct vmlat_ports src_port;
	struct vmlat_ports dst_port;
	__u32 protocols; /* bit mask of enum vmlat_protocol; 0 matches everything */
	__u32 active; /* any of the above is set: what is not IP does not match */
};

enum vmlat_armed {
	VMLAT_DISARMED,
	VMLAT_ARMED,
	VMLAT_DRAINING, /* no more, though the calls that bring some may not be over */
	VMLAT_ARMING, /* not yet, though calls that bring some are noted */
};

enum vmlat_protocol {
	VMLAT_TCP = 1,
	VMLAT_UDP = 2,
	VMLAT_ICMP = 4, /* v4 and v6 */
};

/* The settings. Written before `armed`; that, tunnel_port and interfaces change in a trace. */
struct vmlat_config {
	struct vmlat_filter filter;
	__u64 threshold_ns;
	__u32 outcomes; /* bit mask of the outcomes to report */
	__u32 armed; /* enum vmlat_armed: packets may start */
	__u32 summary; /* of completed packets, report the remarkable ones only */
	__u32 pad;
	__u64 timeout_ns; /* --timeout: what was silent for so long is forgotten */
	__u16 tunnel_port[VMLAT_TUNNEL_PORTS]; /* 0: none */
	struct vmlat_new_taps new_taps;
	__u64 own_net; /* address of the struct net of that number, once the BPF side has met it */
	struct vmlat_interface interfaces[VMLAT_INTERFACES];
};

/*
 * Read-only when the object is loaded, so that the verifier cuts out what is off. Defaults
 * keep everything on: that is the worst path, the one to verify.
 */
struct vmlat_features {
	__u32 stacks;
	__u32 kfree_skb_reason; /* the tracepoint has the argument (5.17, and some 5.15) */
	__u32 qdisc_enqueue; /* it is told of each packet that a locked qdisc keeps */
	__u32 tunnels; /* there are tunnels on the host: what a NIC receives may have to be unpacked */
	__u32 receive_entry; /* there is RPS on a tap: TX starts at netif_receive_skb_entry */
	__u32 bridges; /* there are Linux bridges on the way */
	__u32 wake_shift; /* log2 of a sixteenth of the ring buffer's bytes */
	__u32 flows; /* count the packets of each flow */
	__u64 sample_below; /* of the 2^32 hashes of flows, those that are measured; 2^32: all */
	__u64 attached; /* bit 1 << enum vmlat_hook; where one is not, others do what they can */
	__u64 internal_dev_xmit; /* its address, which tells OVS internal ports; 0: none */
	__u64 tun_net_xmit; /* its address, which tells taps; 0: none */
	__u64 vmemmap_base; /* addresses of the two variables that tell where a page is (x86-64) */
	__u64 page_offset_base; /* 0: none */
	__u64 per_cpu_offset; /* address of the array that has each CPU's */
	__u64 preempt_count; /* of each CPU (x86-64), by that offset; 0: none */
	__u64 pcpu_hot; /* the same, the structure that it is in (6.2 to 6.14) */
	__u64 hardirq_bits; /* of the preempt count: how many hard interrupts this is in */
};

/* Argument of the fill program: slots, as many as there are from `first` on, but VMLAT_FILL at most. */
enum { VMLAT_FILL = 256 };
struct vmlat_fill {
	__u64 first;
	__u64 end; /* no slot */
};

/* Argument of the expire program: end this flight, unless it has ended already. */
struct vmlat_expire {
	__u64 slot; /* or VMLAT_LANE: the packet in the CPU's lane; or VMLAT_PARKED */
	__u64 generation;
	__u64 last_ns; /* as user space saw it: since then it has not moved */
	__u64 outcome; /* VMLAT_OUTCOME_COUNT: a parked one is given up, and ended later */
	__u64 parked; /* VMLAT_PARKED: which */
	__s64 anywhere; /* the CPU that knows it is offline, and this is its number; else -1 */
};

#endif
