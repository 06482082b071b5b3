/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The record of one packet between its start and its end: what the BPF side keeps, and what
 * crosses the ring buffer, cut after the last visit (vmlat_flight_size). Host byte order
 * except where a type says __be; times are CLOCK_MONOTONIC nanoseconds.
 */
#ifndef VMLAT_FLIGHT_H
#define VMLAT_FLIGHT_H

#ifndef __VMLINUX_H__ /* which has these types, and the BPF side no libc */
#include <linux/types.h>
#include <stddef.h>
#endif

enum {
	VMLAT_VISITS = 32, /* stages kept per packet; what is beyond is counted */
	VMLAT_EXITS = 8, /* devices that one packet and its copies may leave by */
	VMLAT_COMM = 16,
	VMLAT_NO_INTERFACE = 0xffff, /* of an exit */
};

/* id, name in reports and in the end record */
#define VMLAT_OUTCOMES(X)             \
	X(COMPLETED, "completed")     \
	X(DROPPED, "dropped")         \
	X(DIVERTED, "diverted")       \
	X(MERGED, "merged")           \
	X(UPCALL_LOST, "upcall_lost") \
	X(EXPIRED, "expired")         \
	X(EVICTED, "evicted")         \
	X(AMBIGUOUS, "ambiguous")     \
	X(IN_FLIGHT, "in_flight")

enum vmlat_outcome {
#define X(id, name) VMLAT_##id,
	VMLAT_OUTCOMES(X)
#undef X
		VMLAT_OUTCOME_COUNT,
};

/* A network device, by namespace: an ifindex alone, or a name, may be there twice. */
struct vmlat_device {
	__u32 netns; /* inode number of the namespace */
	__u32 ifindex;
};

/* The headers that a packet is known by. An IPv4 address is addr[0], the rest 0. */
struct vmlat_flow {
	__be32 src[4];
	__be32 dst[4];
	__u16 src_port;
	__u16 dst_port;
	__u16 vlan_tci[2]; /* outer first */
	__u8 vlans;
	__u8 family; /* 4, 6, or 0: not IP, and nothing else of the flow is known */
	__u8 protocol; /* as in the IP header, after any IPv6 extension headers */
	__u8 has_ports;
	__u8 fragment; /* enum vmlat_fragment */
	__u8 has_ip_id;
	__u16 ip_id;
	__u32 tcp_seq; /* valid for TCP with has_ports */
};

enum vmlat_fragment {
	VMLAT_WHOLE,
	VMLAT_FIRST_FRAGMENT, /* has the ports */
	VMLAT_LATER_FRAGMENT, /* has them from its first, found by the IP id */
	VMLAT_UNMATCHED_FRAGMENT, /* its first was not seen before it: no ports */
};

struct vmlat_visit {
	__u64 ns;
	__u64 skb;
	__s32 stack; /* id in the stacks map; negative: not taken, or -errno */
	__u16 cpu;
	__u8 stage;
	__u8 hook;
};

struct vmlat_exit {
	__u64 ns;
	__u64 skb;
	struct vmlat_device device;
	__u8 closed; /* the outcome is final */
	__u8 outcome;
	__u16 segments; /* skbs that it was cut into; 0: whole */
	__u16 segments_lost;
	__u16 interface; /* index in the interface table; VMLAT_NO_INTERFACE: the trace does not end here */
};

/* Where a record can be found, and so who may end it. */
enum vmlat_place {
	VMLAT_FREE,
	VMLAT_ON_CPU, /* only this CPU knows it: the packet is within one call stack */
	VMLAT_PUBLISHED, /* by the carrier's address: any CPU may meet it next */
	VMLAT_UPCALLED, /* by its content: it is with ovs-vswitchd */
	VMLAT_DRIVING, /* in a device's driver, on this CPU, until net_dev_xmit */
	VMLAT_LEAVING, /* the original is no more: by its copies and its segments */
	VMLAT_PARTED, /* it went up in parts (GSO): by their contents, and by each that came back */
	VMLAT_TAKEN, /* out of a place, and not yet in the next; its copies go on meanwhile */
};

/* RX: a packet that is no flight yet, and costs no record if it never becomes one. */
enum vmlat_candidate {
	VMLAT_STARTED,
	VMLAT_CANDIDATE, /* has not reached a switch */
	VMLAT_PACKED, /* in a tunnel of this host, perhaps: its flow is the inner one */
};

enum vmlat_left {
	VMLAT_HERE,
	VMLAT_TO_DEVICE, /* a tunnel or a veth, which may give it another buffer */
	VMLAT_TO_HOST, /* the host's own stack */
};

struct vmlat_flight {
	__u64 carrier; /* address of the skb that carries the packet now */
	__u64 head; /* its data buffer: a copy of the packet shares it */
	__u64 begin_ns;
	__u64 last_ns; /* of the last thing seen of it */
	__u64 location; /* dropped: the code address that freed it, 0 unknown */
	__u32 reason; /* dropped: the kernel's reason, valid with has_reason */
	__u32 generation; /* tells the uses of one slot apart */
	char comm[VMLAT_COMM];
	struct vmlat_flow flow;
	__u32 pid;
	struct vmlat_device start;
	__u32 length; /* bytes of the frame as handed over, tags included */
	__u32 interface; /* index of the start device in the interface table */
	__u32 slot;
	__u32 remarkable; /* completed: of this interval the first with about its total, or the longest; or 0 */
	__u16 batch; /* packets that the tap got in the same call */
	__u16 segments; /* skbs that it was cut into, or 1 */
	__u16 segments_lost; /* of these */
	__u16 cpu; /* where place says a CPU matters */
	__u16 visits_beyond;
	__u8 visits;
	__u8 exits;
	__u8 exits_beyond;
	__u8 direction;
	__u8 place;
	__u8 outcome;
	__u8 candidate; /* enum vmlat_candidate */
	__u8 passed; /* the filter took its outer headers; VMLAT_PACKED only */
	__u8 upcalled; /* went up to ovs-vswitchd at least once */
	__u8 undirected; /* in a datapath, and no output so far */
	__u8 shared; /* has or had copies or segments, which may outlive the original */
	__u8 by_head; /* known by `head`, too: a copy may come before the original does */
	__u8 cut; /* exits with segments, so far */
	__u8 sent_up; /* an action sent a copy up, and nothing was sent out since */
	__u8 fragmenting; /* the kernel is about to cut it into IP fragments */
	__u8 parted_at; /* visits when it went up in parts: those behind are theirs */
	__u8 has_reason;
	__u8 late; /* it left its call stack unseen, and was published only then; or may leave it so */
	__u8 left; /* enum vmlat_left: where the trace does not end; it may come back */
	struct vmlat_exit exit[VMLAT_EXITS];
	struct vmlat_visit visit[VMLAT_VISITS];
};

_Static_assert(sizeof(struct vmlat_flow) == 52, "vmlat_flow is ABI");
_Static_assert(sizeof(struct vmlat_visit) == 24, "vmlat_visit is ABI");
_Static_assert(sizeof(struct vmlat_exit) == 32, "vmlat_exit is ABI");
_Static_assert(sizeof(struct vmlat_flight) % 8 == 0, "vmlat_flight leaves no hole at its end");

/* Bytes of a record with this many visits. */
#define vmlat_flight_size(visits) \
	(__builtin_offsetof(struct vmlat_flight, visit) + (visits) * sizeof(struct vmlat_visit))

#endif
