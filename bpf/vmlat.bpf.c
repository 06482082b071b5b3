// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The programs: each hook once by fentry and once by kprobe, user space loads one of them. */
#include "vmlinux.h"
#include "modules.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define GLOBAL __attribute__((noinline)) /* what for: see flights.h */

/*
 * An address as a number: the verifier lets a program compute with no other part of it. In 32-bit
 * instructions, or it would be one of 64 bits with its upper half cut off.
 */
#define LOW_HALF(address)                                                    \
	({                                                                   \
		__u32 low;                                                   \
		asm volatile("%0 = %1" : "=w"(low) : "w"((__u32)(address))); \
		low;                                                         \
	})

#include "hooks.h"
#include "config.h"
#include "maps.h"
#include "packet.h"
#include "filter.h"
#include "sampling.h"
#include "parking.h"
#include "flights.h"
#include "statistics.h"
#include "flows.h"
#include "lane.h"
#include "adopt.h"
#include "tap.h"
#include "fragments.h"
#include "pages.h"
#include "receive.h"
#include "segments.h"
#include "upcall.h"
#include "tunnel.h"
#include "switch.h"
#include "bridge.h"
#include "device.h"
#include "free.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * One body, two wrappers; `direct` says which of them, for what reads the arguments. `variant`:
 * empty, or __alone of one that does what a hook which is missing would (hook__stand_alone).
 */
#define HOOK_VARIANT(function, variant, arguments, body)              \
	SEC("?kprobe/" #function)                                     \
	int BPF_KPROBE(function##__kprobe##variant, UNWRAP arguments) \
	{                                                             \
		const bool direct __attribute__((unused)) = false;    \
                                                                      \
		return body;                                          \
	}                                                             \
	SEC("?fentry/" #function)                                     \
	int BPF_PROG(function##__fentry##variant, UNWRAP arguments)   \
	{                                                             \
		const bool direct __attribute__((unused)) = true;     \
                                                                      \
		return body;                                          \
	}
#define HOOK(function, arguments, body) HOOK_VARIANT(function, , arguments, body)
#define UNWRAP(...)			__VA_ARGS__

/* The same at the return, of an int from three arguments. */
#define RESULT_HOOK(function, body)                                            \
	SEC("?kretprobe/" #function)                                           \
	int BPF_KRETPROBE(function##__kretprobe, int result)                   \
	{                                                                      \
		return body;                                                   \
	}                                                                      \
	SEC("?fexit/" #function)                                               \
	int BPF_PROG(function##__fexit, void *a, void *b, __u32 c, int result) \
	{                                                                      \
		return body;                                                   \
	}

SEC("?tp_btf/netif_receive_skb")
int BPF_PROG(netif_receive_skb__tp, struct sk_buff *skb)
{
	return packet_received(ctx, skb, false);
}

/* Before RPS; net:netif_receive_skb is behind it. */
SEC("?tp_btf/netif_receive_skb_entry")
int BPF_PROG(netif_receive_skb_entry__tp, struct sk_buff *skb)
{
	return packet_received(ctx, skb, true);
}

HOOK(tun_get_user, (struct tun_struct___vmlat * tun),
     tap_call_begins(VMLAT_HOOK_TUN_GET_USER, tun_device(tun, direct), direct, 1))

HOOK(tun_sendmsg, (struct socket * socket, struct msghdr *message),
     tap_call_begins(VMLAT_HOOK_TUN_SENDMSG, tun_device_of_socket(socket), false,
		     batched_packets(message)))

HOOK(internal_dev_xmit, (struct sk_buff * skb),
     packet_in_switch(ctx, skb, VMLAT_STAGE_OVS_IN, VMLAT_HOOK_INTERNAL_DEV_XMIT))

/*
 * Asked before the skb is, which an rx_handler's hook has to read. It is known what comes to a port
 * when something was just received, and is in the lane: any other packet would have been received, too.
 */
static __always_inline bool skb_is_known(enum vmlat_stage stage, enum vmlat_hook hook)
{
	struct cpu_state *cpu = this_cpu();

	if (cpu->lane.key && cpu->lane.visits == 1)
		return stamp_in_switch(cpu, stage, hook);
	return is_idle(cpu);
}

/*
 * An rx_handler: its argument is a pointer to a pointer, which the verifier does not take from ctx
 * (6.1); bpf_get_func_arg does (5.17).
 */
#define PORT_HOOK(function, stage, hook)                                                          \
	SEC("?kprobe/" #function)                                                                 \
	int BPF_KPROBE(function##__kprobe, struct sk_buff **pointer)                              \
	{                                                                                         \
		return skb_is_known(stage, hook) ? 0 : packet_at_port(ctx, pointer, stage, hook); \
	}                                                                                         \
	SEC("?fentry/" #function)                                                                 \
	int function##__fentry(void *ctx)                                                         \
	{                                                                                         \
		__u64 pointer;                                                                    \
                                                                                                  \
		if (skb_is_known(stage, hook) || bpf_get_func_arg(ctx, 0, &pointer))              \
			return 0;                                                                 \
		return packet_at_port(ctx, (struct sk_buff **)pointer, stage, hook);              \
	}

static __always_inline int packet_at_port(void *ctx, struct sk_buff **pointer,
					  enum vmlat_stage stage, enum vmlat_hook hook)
{
	struct sk_buff *skb;

	if (bpf_probe_read_kernel(&skb, sizeof(skb), pointer))
		return 0;
	return packet_in_switch(ctx, skb, stage, hook);
}

PORT_HOOK(netdev_frame_hook, VMLAT_STAGE_OVS_IN, VMLAT_HOOK_NETDEV_FRAME_HOOK)

PORT_HOOK(br_handle_frame, VMLAT_STAGE_BRIDGE_IN, VMLAT_HOOK_BR_HANDLE_FRAME)

/* A bool is the lowest byte of its register alone. */
HOOK(br_forward, (void *port, struct sk_buff *skb, __u64 local_rcv),
     packet_forwarded(ctx, skb, VMLAT_HOOK_BR_FORWARD, (__u8)local_rcv, true))

HOOK(br_flood, (void *bridge, struct sk_buff *skb, __u64 type, __u64 local_rcv),
     packet_forwarded(ctx, skb, VMLAT_HOOK_BR_FLOOD, (__u8)local_rcv, false))

HOOK(br_multicast_flood, (void *group, struct sk_buff *skb),
     packet_forwarded(ctx, skb, VMLAT_HOOK_BR_MULTICAST_FLOOD, false, false))

HOOK(br_dev_queue_push_xmit, (struct net * net, struct sock *sk, struct sk_buff *skb),
     packet_leaves_bridge(ctx, skb, direct))

HOOK(ovs_dp_process_packet, (struct sk_buff * skb),
     packet_in_switch(ctx, skb, VMLAT_STAGE_DATAPATH, VMLAT_HOOK_OVS_DP_PROCESS_PACKET))

HOOK_VARIANT(ovs_dp_process_packet, __alone, (struct sk_buff * skb), packet_in_datapath(ctx, skb))

HOOK(ovs_dp_upcall,
     (void *datapath, struct sk_buff *skb, struct sw_flow_key___vmlat *key,
      struct dp_upcall_info___vmlat *info),
     packet_misses(ctx, skb, key, info, VMLAT_HOOK_OVS_DP_UPCALL))

SEC("?kretprobe/ovs_dp_upcall")
int BPF_KRETPROBE(ovs_dp_upcall__kretprobe, int result)
{
	return upcall_returned(result);
}

SEC("?fexit/ovs_dp_upcall")
int BPF_PROG(ovs_dp_upcall__fexit, void *datapath, struct sk_buff *skb, void *key, void *info,
	     __u32 cutlen, int result)
{
	return upcall_returned(result);
}

HOOK(queue_userspace_packet, (void *datapath, struct sk_buff *skb), packet_is_queued(skb))

/* It has what ovs_dp_upcall has, unless the packet is GSO and goes up in parts. */
HOOK_VARIANT(queue_userspace_packet, __alone,
	     (void *datapath, struct sk_buff *skb, struct sw_flow_key___vmlat *key,
	      struct dp_upcall_info___vmlat *info),
	     packet_misses(ctx, skb, key, info, VMLAT_HOOK_QUEUE_USERSPACE_PACKET))

HOOK(ovs_flow_key_extract_userspace, (struct net * net, struct nlattr *attr, struct sk_buff *skb),
     packet_reinjected(ctx, attr, skb))

HOOK(ovs_vport_send, (struct vport___vmlat * vport, struct sk_buff *skb),
     packet_leaves_switch(ctx, vport, skb, direct, false))

HOOK_VARIANT(ovs_vport_send, __alone, (struct vport___vmlat * vport, struct sk_buff *skb),
	     packet_leaves_switch(ctx, vport, skb, direct, true))

HOOK(ip_defrag, (struct net * net, struct sk_buff *skb), reassembly_begins(skb))

RESULT_HOOK(ip_defrag, reassembly_returns(result))

HOOK(nf_ct_frag6_gather, (struct net * net, struct sk_buff *skb), reassembly_begins(skb))

RESULT_HOOK(nf_ct_frag6_gather, reassembly_returns(result))

HOOK(ip_do_fragment, (struct net * net, struct sock *sk, struct sk_buff *skb),
     fragmentation_begins(skb))

HOOK(ip6_fragment, (struct net * net, struct sock *sk, struct sk_buff *skb),
     fragmentation_begins(skb))

HOOK(gro_cells_receive, (void *cells, struct sk_buff *skb), packet_unpacked(skb))

SEC("?tp_btf/napi_gro_receive_entry")
int BPF_PROG(napi_gro_receive_entry__tp, const struct sk_buff *skb)
{
	return gro_begins(skb);
}

SEC("?tp_btf/napi_gro_receive_exit")
int BPF_PROG(napi_gro_receive_exit__tp, int result)
{
	return gro_returns(result);
}

HOOK(__dev_queue_xmit, (struct sk_buff * skb),
     packet_queued(ctx, skb, direct, VMLAT_HOOK_DEV_QUEUE_XMIT))

/* Inside of it, before the queueing discipline. */
SEC("?tp_btf/net_dev_queue")
int BPF_PROG(net_dev_queue__tp, struct sk_buff *skb)
{
	return packet_queued(ctx, skb, true, VMLAT_HOOK_NET_DEV_QUEUE);
}

HOOK(__netif_schedule, (void *qdisc), packet_put_back())

HOOK(qdisc_tree_reduce_backlog, (void *qdisc), queue_is_cut())

HOOK(tun_net_xmit, (struct sk_buff * skb), packet_at_tap(ctx, skb))

/* Qdisc, netdev_queue, skb */
SEC("?tp_btf/qdisc_enqueue")
int qdisc_enqueue__tp(__u64 *ctx)
{
	return packet_kept((struct sk_buff *)ctx[2]);
}

SEC("?tp_btf/net_dev_start_xmit")
int BPF_PROG(net_dev_start_xmit__tp, const struct sk_buff *skb, const struct net_device *device)
{
	return packet_in_driver(ctx, skb, device);
}

SEC("?tp_btf/net_dev_xmit")
int BPF_PROG(net_dev_xmit__tp, struct sk_buff *skb, int result)
{
	return packet_sent(key_of(skb), result);
}

/* skb, location, and since 5.17 (in some 5.15, too) the reason */
SEC("?tp_btf/kfree_skb")
int kfree_skb__tp(__u64 *ctx)
{
	__u32 reason = features.kfree_skb_reason ? ctx[2] : 0;

	return packet_dropped((struct sk_buff *)ctx[0], ctx[1], reason, features.kfree_skb_reason);
}

SEC("?tp_btf/consume_skb")
int BPF_PROG(consume_skb__tp, struct sk_buff *skb)
{
	return packet_consumed(ctx, skb);
}

/* 0, or 1: there is no room. */
GLOBAL int give_back(__u32 slot)
{
	return bpf_map_push_elem(&free_slots, &slot, 0) ? 1 : 0;
}

/*
 * Run by user space (BPF_PROG_TEST_RUN) before the trace: these slots are free, the first is taken
 * first. 0, or 1: they have no room.
 */
SEC("?raw_tp/vmlat_fill")
int fill(struct vmlat_fill *args)
{
	for (int i = VMLAT_FILL - 1; i >= 0; i--) {
		__u32 slot = args->first + i;

		if (slot < args->end && give_back(slot))
			return 1;
	}
	return 0;
}

/* Of a CPU that is offline: what ends elsewhere gives its slot to others, and no more to that one. */
static __always_inline void take_slot_from(__u64 number, __u32 slot)
{
	struct cpu_state *cpu = (struct cpu_state *)&cpus[number & (VMLAT_CPUS - 1)];

	if (cpu->ready && cpu->slot == slot)
		cpu->ready = cpu->occupied = 0;
}

/*
 * Run by user space (BPF_PROG_TEST_RUN) for a flight that has been silent for --timeout, or
 * that is still open at the end: on the CPU that knows it, where a place has one.
 */
SEC("?raw_tp/vmlat_expire")
int expire(struct vmlat_expire *args)
{
	struct flight_ref ref = { .slot = args->slot, .generation = args->generation };
	struct vmlat_flight *flight = flight_of(&ref);
	enum vmlat_outcome outcome = args->outcome;
	struct cpu_state *cpu = this_cpu();
	bool elsewhere = args->anywhere >= 0;

	if (args->slot == VMLAT_LANE)
		return elsewhere ? lane_is_lost(args->anywhere) : lane_was_left(cpu, args->last_ns);
	if (args->slot == VMLAT_PARKED)
		return parked_is_silent(args);
	if (!flight || outcome >= VMLAT_OUTCOME_COUNT || flight->last_ns != args->last_ns)
		return 0;
	if (flight->place == VMLAT_ON_CPU || flight->place == VMLAT_DRIVING) {
		if (flight->cpu != cpu->number && !elsewhere)
			return 0;
		if (elsewhere)
			take_slot_from(args->anywhere, flight->slot);
		flight->cpu = cpu->number;
	}
	if (outcome == VMLAT_EXPIRED && flight->left)
		outcome = VMLAT_DIVERTED;
	if (flight->place == VMLAT_LEAVING)
		return end_shared(flight->slot, outcome);
	if (is_waiting(flight)) {
		if (!take_flight(cpu, flight))
			return 0;
		forget_upcall(flight);
		flight->cpu = cpu->number;
		flight->place = VMLAT_ON_CPU;
		if (flight->outcome != VMLAT_OUTCOME_COUNT)
			outcome = flight->outcome;
	}
	end_flight(flight->slot, outcome, bpf_ktime_get_ns());
	flight = flight_of(&ref);
	return flight ? end_shared(flight->slot, outcome) : 0; /* its copies are given up, too */
}
