/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps, and the state of one CPU. */
#ifndef VMLAT_MAPS_H
#define VMLAT_MAPS_H

/* What a packet keeps on its way through ovs-vswitchd (see upcall.h). */
enum { CONTENT_BYTES = 96 };
struct content {
	__u8 mac[12];
	__u16 in_port;
	__u16 ethertype;
	__u16 vlan_tci[2];
	__u16 vlans;
	__u16 headers_only; /* the payload could not be read */
	__u32 length; /* from the network header on */
	__u8 bytes
		[CONTENT_BYTES]; /* from the network header on, no L4 checksum, 0 beyond the end */
};

/* What one segment of a packet is known by (see segments.h). */
struct segment {
	__be32 src[4];
	__be32 dst[4];
	__u16 src_port;
	__u16 dst_port;
	__u32 tcp_seq; /* 0: UDP, whose segments have no number */
	__u32 protocol;
};

/* Value of the flights map. */
struct flight_slot {
	struct vmlat_flight flight; /* first: user space reads it there */
	struct content content; /* VMLAT_UPCALLED: its key in the upcalls map */
	struct segment segment; /* VMLAT_CUT: the first of them */
	__u32 segment_bytes;
	__u32 segments_done; /* of flight.segments */
	__u32 segments_lost; /* of segments_done */
};

/* One use of a slot of the flights map. */
struct flight_ref {
	__u32 slot;
	__u32 generation;
};

/* A packet that went up, found again by its content. */
struct upcall {
	struct flight_ref flight;
	__u32 twins; /* further packets of the same content, told apart by nobody */
	__u32 pad;
};

/* The call of a tap's entry function that is running on this CPU. */
struct tap_call {
	__u64 thread; /* pid_tgid; 0: none */
	__u64 device; /* address of the tap's net_device */
	__u64 ns;
	char comm[VMLAT_COMM];
	__u16 packets;
	__u8 hook;
};

enum { PACKET_BYTES = 128, PACKET_MARGIN = 40 };

struct cpu_state {
	struct vmlat_counters count;
	__u64 number; /* of the CPU; user space writes it, behind the counters */
	struct tap_call tap_call;
	__u32 ready; /* `slot` is valid */
	__u32 slot; /* private to this CPU: the packet in its call stack, or empty */
	__u32 generation;
	struct flight_ref driving; /* between net_dev_start_xmit and net_dev_xmit */
	__u64 driving_skb;
	__u32 driving_interface; /* where the trace ends; VMLAT_INTERFACE_NONE: not here */
	__u64 upcalling; /* skb between ovs_dp_upcall and its return */
	struct flight_ref upcalled;
	struct content content; /* of the packet being looked for */
	volatile __u32 size; /* see forget_bounds */
	struct vmlat_flow flow; /* of the packet being parsed */
	__u8 packet[PACKET_BYTES + PACKET_MARGIN]; /* its headers; no read goes beyond the margin */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vmlat_config);
} settings SEC(".maps");

/* Sizes of the maps below that hold flights follow --flights. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flight_slot);
} flights SEC(".maps");

/* Slots that nobody uses; filled by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 1);
	__uint(value_size, sizeof(__u32));
} free_slots SEC(".maps");

/* Published flights by the address of their skb, and of each copy's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct flight_ref);
} carriers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct content);
	__type(value, struct upcall);
} upcalls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct segment);
	__type(value, struct flight_ref);
} segments SEC(".maps");

/* Flights of several skbs, copies or segments: who deletes the entry may end the flight. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct flight_ref);
	__type(value, __u8);
} shared_flights SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VMLAT_INTERFACES);
	__type(key, struct vmlat_device);
	__type(value, struct vmlat_interface);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VMLAT_INTERFACES * 2); /* index * 2, TX then RX */
	__type(key, __u32);
	__type(value, struct vmlat_traffic);
} traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, struct vmlat_drop);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 127 * sizeof(__u64)); /* the kernel's own bound, PERF_MAX_STACK_DEPTH */
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} reports SEC(".maps");

const volatile struct vmlat_features features = {
	.stacks = 1,
	.kfree_skb_reason = 1,
	.qdisc_enqueue = 1,
	.internal_dev_xmit = 1,
	.tun_net_xmit = 1,
};

/* Entries in carriers: while there is none, nobody needs to look. */
static volatile __s64 published;

/* Flights in VMLAT_CUT: the same for segments. */
static volatile __s64 cut;

static __always_inline struct cpu_state *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

static __always_inline const struct vmlat_config *configuration(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

#endif
