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

/* What one segment of a packet is known by (see segments.h); inner headers, where it is in a tunnel. */
struct segment {
	__be32 src[4];
	__be32 dst[4];
	__u16 src_port;
	__u16 dst_port;
	__u32 number; /* TCP: sequence number; UDP: IPv4 identification, or 0 */
	__u16 protocol;
	__u16 family;
	__u32 pad;
	__u64 device; /* that it leaves by, or that cut it: an address */
};

/* The segments or parts of one exit, of exit.segments. */
struct cut {
	__u64 device;
	__u32 done;
	__u32 lost; /* of done */
	__u32 diverted; /* of done */
	__u32 pad;
};

/* The way of a copy, from where it left that of the original. */
struct way {
	__u64 port_ns;
	__u64 xmit_ns; /* 0: not passed, as each below */
	__u64 end_ns;
	__u64 host_head; /* of a copy for the host: its data buffer, else 0 */
	__u16 common; /* visits of the original that are its own, too */
	__u16 cpu;
	__u8 port_hook; /* of port_ns */
	__u8 end_hook; /* of end_ns */
	__u8 beyond; /* it has passed a device that is no end of the trace */
	__u8 pad;
};

/* The parts of a packet that went up as several. */
struct parts {
	__u32 up; /* queued for user space */
	__u32 done;
	__u32 lost; /* of done, by no exit */
	__u32 copies;
	__u32 copies_done;
	__u32 pad;
};

/* Value of the flights map. */
struct flight_slot {
	struct vmlat_flight flight; /* first: user space reads it there */
	struct content content; /* VMLAT_UPCALLED: its key in the upcalls map */
	struct segment segment; /* flight.cut: the first one's key, but for the device */
	__u32 segment_count;
	__u32 segment_step; /* from one number to the next */
	struct cut cut[VMLAT_EXITS];
	struct way way[VMLAT_EXITS];
	struct parts parts; /* VMLAT_PARTED */
	__u64 sent_up_ns; /* flight.sent_up: when */
	__u64 fence; /* see end_shared */
};

/* One use of a slot of the flights map. */
struct flight_ref {
	__u32 slot;
	__u32 generation;
};

/*
 * What an skb is to its flight: below VMLAT_EXITS, a copy of the packet, or a segment of it,
 * that leaves by this exit.
 */
enum role {
	ROLE_ORIGINAL = VMLAT_EXITS, /* it carries the packet */
	ROLE_PART, /* one of the skbs that came back from user space for it */
	ROLE_PART_COPY, /* a copy of one of these */
	ROLE_HEAD, /* no skb: the data buffer */
};

/* Value of the carriers map. */
struct carrier {
	struct flight_ref flight;
	__u32 role;
	__u32 pad;
};

/* A packet that went up, or a part of it, found again by its content. */
struct upcall {
	struct flight_ref flight;
	__u32 ambiguous; /* of several flights: nobody can tell which one comes back */
	__u32 pending; /* how many of this content are up */
	__u64 ns; /* when the last one went up */
};

/* The call of a tap's entry function that began last on this CPU. */
struct tap_call {
	__u64 thread; /* pid_tgid; 0: none */
	__u64 migrations; /* as often the thread had changed its CPU */
	__u64 device; /* address of the tap's net_device */
	__u64 ns;
	__u64 named; /* the thread whose name comm is */
	__u64 named_jiffies;
	char comm[VMLAT_COMM];
	__u16 packets;
	__u8 hook;
};

enum {
	PACKET_BYTES = 128,
	PACKET_MARGIN = 40,
	FEW_BYTES = 64, /* what most headers need, a tag, IPv6 and TCP among them */
};

/* Bytes of a packet in the CPU's scratch; `at` is where the next header begins. */
struct cursor {
	const __u8 *bytes; /* scratch.packet */
	__u32 at;
	__u64 end; /* bytes that are there */
	__u32 length; /* bytes that the packet has from offset 0 on */
	__u32 ip_end; /* where the IP packet says that it ends */
	__u16 ethertype;
	__u16 l4_size; /* of the TCP or UDP header at `at`, 0 when there is none */
	__u32 fragment_id; /* of a fragment's datagram */
};

/* Room to look at one packet. */
struct scratch {
	struct content content;
	struct vmlat_flow flow;
	struct cursor cursor; /* but for its bytes */
	__u32 l3; /* offset of the network header */
	/* its headers: PACKET_BYTES; as many can be read, or PACKET_MARGIN looked at, from each on */
	__u8 packet[2 * PACKET_BYTES];
};

struct cpu_state {
	/* as struct vmlat_cpu */
	struct vmlat_counters count;
	__u64 number;
	__u64 slots;
	__u32 occupied;
	__u32 untold;
	__u32 handed_over;
	__u32 left;
	__u64 parked;
	struct vmlat_lane lane;
	struct tap_call tap_call;
	__u32 ready; /* `slot` is valid */
	__u32 slot; /* private to this CPU: the packet in its call stack, or empty */
	__u32 driving_segments; /* that the skb stands for */
	struct flight_ref driving; /* between net_dev_start_xmit and net_dev_xmit */
	__u64 driving_skb;
	__u32 driving_role;
	__u32 driving_exit;
	__u32 driving_seen; /* tun_net_xmit's hook has */
	__u32 driving_interface; /* where the trace ends; VMLAT_INTERFACE_NONE: not here */
	__u64 driving_ns; /* since when */
	__u64 upcalling; /* skb between ovs_dp_upcall and its return */
	struct flight_ref upcalled;
	__u32 upcalled_port;
	__u32 upcalled_parted; /* in parts */
	__u64 merging; /* skb that GRO has in hand */
	__u64 joining; /* skb that a reassembly has in hand */
	__u64 keeping; /* skb that a bridge keeps for the host, while its copies go on */
	__u64 keeping_one; /* there is only one copy */
	__u64 queueing; /* skb that came to a queue last, which tells if it keeps it */
	volatile __u64 pointer; /* see number_of */
	volatile __u64 pointer_in_thread;
	union {
		struct scratch scratches[2]; /* as scratch_of counts them */
		struct scratch scratch; /* softirqs are off */
	};
};

_Static_assert(sizeof(struct cpu_state) <= VMLAT_CPU_BYTES, "a CPU's state has room");
_Static_assert(__builtin_offsetof(struct cpu_state, lane) ==
		       __builtin_offsetof(struct vmlat_cpu, lane),
	       "it begins as user space sees it");

/* By the CPU's number: to find one's own costs less than in a per-CPU map (before 6.10). */
union vmlat_cpu_room cpus[VMLAT_CPUS] __attribute__((aligned(64)));

/* It begins on a line of its own: next to nobody writes to it while packets pass. */
struct vmlat_config settings __attribute__((aligned(64)));

/* Sizes of the maps below that hold flights follow --flights. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flight_slot);
} flights SEC(".maps");

/* VMLAT_PARKED_EACH of each CPU, by its number: see parking.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vmlat_parked);
} parked_lanes SEC(".maps");

/* Slots that nobody uses: see fill. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 1);
	__uint(value_size, sizeof(__u32));
} free_slots SEC(".maps");

/* Published flights by the address of their skb, of each copy's, and of a data buffer. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct carrier);
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
	__type(value, struct carrier);
} segments SEC(".maps");

/* Flights that are found by several entries, or by their content: who deletes this one may end it. */
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

/* Names of taps that are selected, come when they may. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, char[VMLAT_IFNAME]);
	__type(value, __u8);
} wanted_taps SEC(".maps");

/* Indexes of interfaces, for adopt_tap; filled by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, VMLAT_SPARES);
	__uint(value_size, sizeof(__u32));
} spare_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VMLAT_SPARES);
	__type(key, struct vmlat_device);
	__type(value, struct vmlat_adopted);
} adopted_taps SEC(".maps");

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

/*
 * The statistics of each interface that has any, by its index; within, of each CPU, by its number.
 * The last are those that user space is taking out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, VMLAT_INTERFACES + 1);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(max_entries, 1); /* user space says how many CPUs there are */
			__uint(key_size, sizeof(__u32));
			__uint(value_size, sizeof(struct vmlat_statistics));
		});
} statistics_maps SEC(".maps");

/* First fragments: the ports that the later ones of their datagram have. */
struct fragment_key {
	__be32 src[4];
	__be32 dst[4];
	__u32 id;
	__u32 protocol;
	__u64 device; /* that they came by: an address */
};

struct fragment {
	__u64 ns;
	__u16 src_port;
	__u16 dst_port;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

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
	.tunnels = 1,
	.receive_entry = 1,
	.bridges = 1,
	.flows = 1,
	.wake_shift = 8,
	.sample_below = 1,
	.internal_dev_xmit = 1,
	.tun_net_xmit = 1,
	.vmemmap_base = 1,
	.page_offset_base = 1,
	.per_cpu_offset = 1,
	.preempt_count = 1,
	.pcpu_hot = 1,
	.hardirq_bits = 1,
};

/* While there is none of them, nobody needs to look. */
static volatile union {
	struct {
		__s32 carriers; /* entries there */
		__s32 cuts; /* exits with segments */
	};
	__u64 any;
} known;

/* Entries of upcalls that were left behind, for user space to remove when they are old. */
volatile __u64 orphans;

/* How many taps were entered in adopted_taps. */
volatile __u64 adoptions;

static __always_inline struct cpu_state *this_cpu(void)
{
	__u64 number = bpf_get_smp_processor_id();
	struct cpu_state *cpu = (struct cpu_state *)&cpus[number & (VMLAT_CPUS - 1)];

	barrier_var(cpu); /* or the compiler adds it up again for each use */
	return cpu;
}

/* Which of a CPU's scratches: THREAD's is a thread's, which a softirq may interrupt. */
enum { SOFTIRQS_OFF, THREAD };

/* Without a branch: the verifier would look at all that follows once for each. */
static __always_inline struct scratch *scratch_of(struct cpu_state *cpu, __u64 which)
{
	struct scratch *scratch = &cpu->scratches[which & 1];

	barrier_var(scratch); /* or the compiler adds it up again for each use */
	return scratch;
}

#endif
