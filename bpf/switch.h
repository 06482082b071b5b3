/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet in the switch: into its datapath, up to user space, out by a port. */
#ifndef VMLAT_SWITCH_H
#define VMLAT_SWITCH_H

/*
 * With a packet socket open the switch goes on with a clone (skb_share_check in
 * netdev_port_receive) and the socket keeps the original: before the first datapath, a packet
 * of the same buffer on the same CPU is the flight's, and its carrier from now on.
 */
static __always_inline struct vmlat_flight *continued_flight(struct cpu_state *cpu,
							     const struct sk_buff *skb)
{
	struct vmlat_flight *flight = find_flight(cpu, (__u64)skb);
	__u32 last;

	if (flight)
		return flight->carrier == (__u64)skb && still_carrier(cpu, flight, skb) ? flight
											: NULL;
	flight = current_flight(cpu);
	if (!flight || !shares_buffer(flight, skb))
		return NULL;
	last = flight->visits - 1;
	if (last >= VMLAT_VISITS || flight->visit[last].stage > VMLAT_STAGE_OVS_IN)
		return NULL;
	flight->carrier = (__u64)skb;
	return flight;
}

static __always_inline int packet_in_switch(void *ctx, const struct sk_buff *skb,
					    enum vmlat_stage stage, enum vmlat_hook hook)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = continued_flight(cpu, skb);
	if (!flight)
		return 0;
	if (flight->candidate)
		count_start(cpu, flight);
	if (stage == VMLAT_STAGE_DATAPATH)
		flight->undirected = 1;
	visit(ctx, cpu, flight, stage, hook, bpf_ktime_get_ns());
	return 0;
}

static __always_inline int packet_misses(void *ctx, const struct sk_buff *skb,
					 const struct sw_flow_key___vmlat *key,
					 const struct dp_upcall_info___vmlat *info)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u16 in_port = 0;
	__u8 command = 0;

	if (!cpu)
		return 0;
	cpu->upcalling = 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight || flight->carrier != (__u64)skb)
		return 0;
	READ_MODULE(command, info, cmd, false);
	if (command != OVS_PACKET_CMD_MISS___vmlat)
		return 0;
	READ_MODULE(in_port, key, phy.in_port, false);
	flight_goes_up(ctx, cpu, flight, skb, in_port);
	return 0;
}

static __always_inline __u64 transmit_function(const struct net_device *device, bool direct)
{
	return direct ? (__u64)device->netdev_ops->ndo_start_xmit
		      : (__u64)BPF_CORE_READ(device, netdev_ops, ndo_start_xmit);
}

static __always_inline const struct net_device *vport_device(const struct vport___vmlat *vport,
							     bool direct)
{
	struct net_device *device = NULL;

	READ_MODULE(device, vport, dev, direct);
	return device;
}

/* A clone of the packet in this CPU's call stack leaves by a port of its own. */
static __always_inline void copy_leaves(struct cpu_state *cpu, const struct sk_buff *skb,
					const struct vport___vmlat *vport)
{
	struct vmlat_flight *flight = current_flight(cpu);
	const struct net_device *device;
	struct vmlat_exit *exit;
	struct flight_ref ref;
	__u8 one = 1;

	if (!flight || flight->candidate || !shares_buffer(flight, skb))
		return;
	ref = ref_of(flight);
	if (!flight->shared && bpf_map_update_elem(&shared_flights, &ref, &one, BPF_ANY))
		return;
	flight->shared = 1;
	exit = exit_of(flight, (__u64)skb);
	if (!exit)
		return;
	flight->undirected = 0;
	device = vport_device(vport, false);
	exit->device.ifindex = BPF_CORE_READ(device, ifindex);
	exit->device.netns = BPF_CORE_READ(device, nd_net.net, ns.inum);
	if (!insert_carrier((__u64)skb, flight))
		close_exit(exit, VMLAT_EVICTED, bpf_ktime_get_ns());
}

static __always_inline int packet_leaves_switch(void *ctx, const struct vport___vmlat *vport,
						const struct sk_buff *skb, bool direct)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight) {
		copy_leaves(cpu, skb, vport);
		return 0;
	}
	if (flight->carrier != (__u64)skb)
		return 0;
	flight->undirected = 0;
	visit(ctx, cpu, flight, VMLAT_STAGE_VPORT, VMLAT_HOOK_OVS_VPORT_SEND, bpf_ktime_get_ns());
	/* internal_dev_recv hands it to the host's stack by netif_rx: any CPU may be next */
	if (transmit_function(vport_device(vport, direct), direct) == features.internal_dev_xmit)
		flight_leaves(cpu, flight, VMLAT_TO_HOST);
	return 0;
}

#endif
