/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The BPF side's state of one CPU, as far as user space reads it while it changes. */
#ifndef VMLAT_CPU_H
#define VMLAT_CPU_H

#include "counters.h"

enum {
	VMLAT_CPUS = 1024, /* the numbers of CPUs are below; a power of two */
	VMLAT_CPU_BYTES = 2048, /* of each one's state: lines that no other CPU writes to */
	VMLAT_LANE_STAMPS = 8,
	VMLAT_LANE = 0xffffffff, /* instead of a slot: the packet in a CPU's lane */
	VMLAT_PARKED = 0xfffffffe, /* the same: one that waits in a queue */
	VMLAT_PARKED_EACH = 512, /* packets of each CPU that may do so; a power of two */
};

struct vmlat_stamp {
	__u64 ns;
	__u8 stage;
	__u8 hook;
};

/*
 * The packet that is in this CPU's call stack, as long as nobody asks for more of it than when it
 * passed its stages: it has no record then, and is in no map (see bpf/lane.h).
 */
struct vmlat_lane {
	__u64 key; /* its skb; 0: nothing is in the lane */
	__u64 skb; /* the same, but where a mistake is planted */
	__u64 head; /* its data buffer */
	struct vmlat_device start;
	struct vmlat_device end; /* driving: the device */
	__u32 interface; /* index of the start device in the interface table */
	__u32 end_interface; /* driving: of the device; VMLAT_INTERFACE_NONE: no end of the trace */
	__u64 driving_ns; /* since when, for RX */
	__u32 length;
	__u32 pid;
	char comm[VMLAT_COMM];
	struct vmlat_flow flow;
	__u16 batch;
	__u16 parked_cpu; /* by which it was parked */
	/* these eight are written as one */
	__u8 visits;
	__u8 direction;
	__u8 candidate;
	__u8 passed;
	__u8 driving; /* between net_dev_start_xmit and net_dev_xmit */
	__u8 seen; /* driving: by tun_net_xmit's hook */
	__u8 parked_visits; /* it was parked after these; 0: never */
	__u8 zero;
	struct vmlat_stamp stamp[VMLAT_LANE_STAMPS];
};

/* A packet that was in a lane, and waits in a queue (see bpf/parking.h). */
struct vmlat_parked {
	struct vmlat_lane lane;
	__u64 given_up; /* the lane's key: nobody meets it any more */
};

struct vmlat_cpu {
	struct vmlat_counters count;
	__u64 number; /* of the CPU; user space writes it */
	__u64 slots; /* all flights that it ever had a slot for are below */
	__u32 occupied; /* a flight may be in its slot */
	__u32 untold; /* a packet may come back from user space, and no hook tells so: see is_idle */
	__u32 handed_over; /* packets, to a tap in the call that began last; 0: not to be counted */
	__u32 left; /* of that call's, have not become an skb so far */
	__u64 parked; /* packets that this CPU has parked, so far */
	struct vmlat_lane lane;
};

union vmlat_cpu_room {
	struct vmlat_cpu cpu;
	char room[VMLAT_CPU_BYTES];
};

#endif
