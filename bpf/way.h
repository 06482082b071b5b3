/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What each hook means for a packet, in the order of its way through the host. */
#ifndef VMLAT_WAY_H
#define VMLAT_WAY_H

/* To where the trace does not end; the packet may come back, on any CPU. */
static __always_inline void flight_leaves(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	flight->left = 1;
	publish_flight(cpu, flight);
}

/* --- it appears --- */

/*
 * At net:netif_receive_skb of an Ethernet device eth_type_trans has pulled the MAC header, and
 * skb_reset_network_header is yet to come (__netif_receive_skb_core): the data is the network
 * header, or a VLAN tag before it.
 */
static __always_inline enum parsed parse_received(struct cpu_state *cpu, const struct sk_buff *skb,
						  __u32 *length)
{
	struct vmlat_flow *flow = &cpu->flow;
	struct cursor c = { .bytes = cpu->packet, .length = skb->len };
	__u32 linear = skb->len - skb->data_len;
	__u16 tci;

	__builtin_memset(flow, 0, sizeof(*flow));
	*length = ETHERNET + skb->len;
	if (skb_vlan(skb, &tci)) {
		add_vlan(flow, tci);
		*length += 4;
	}
	c.ethertype = bpf_ntohs(skb->protocol);
	c.end = at_most(linear, PACKET_BYTES);
	if (bpf_probe_read_kernel(cpu->packet, c.end, skb->data))
		return PARSED_TRUNCATED;
	return parse_packet(&c, flow);
}

static __always_inline bool passes(struct cpu_state *cpu, const struct vmlat_config *config,
				   const struct sk_buff *skb, __u32 *length)
{
	enum parsed parsed = parse_received(cpu, skb, length);
	enum vmlat_refusal refusal;

	if (parsed != PARSED)
		cpu->flow.family = 0;
	if (parsed == PARSED_TRUNCATED)
		cpu->count.truncated++;
	else if (parsed == PARSED_MALFORMED)
		cpu->count.malformed++;
	refusal = filter_flow(&config->filter, &cpu->flow);
	if (refusal < VMLAT_REFUSAL_COUNT)
		cpu->count.refused[refusal]++;
	return refusal == VMLAT_PASSED;
}

/* A flight that is still known under this address missed its end: the skb is another now. */
static __always_inline void evict_stale(struct cpu_state *cpu, __u64 skb)
{
	struct vmlat_flight *stale = published_flight(skb);

	if (stale && stale->carrier == skb)
		end_flight(cpu, stale, VMLAT_EVICTED, 0);
}

static __always_inline void fill_flight(struct vmlat_flight *flight, const struct cpu_state *cpu,
					const struct sk_buff *skb, __u32 length, __u32 interface)
{
	flight->carrier = (__u64)skb;
	flight->head = (__u64)skb->head;
	flight->location = 0;
	flight->reason = 0;
	flight->flow = cpu->flow;
	flight->start.netns = skb->dev->nd_net.net->ns.inum;
	flight->start.ifindex = skb->dev->ifindex;
	flight->length = length;
	flight->interface = interface;
	flight->batch = 1;
	flight->segments = 1;
	flight->cpu = bpf_get_smp_processor_id();
	flight->visits_beyond = 0;
	flight->visits = 0;
	flight->exits = 0;
	flight->exits_beyond = 0;
	flight->upcalled = 0;
	flight->undirected = 0;
	flight->shared = 0;
	flight->has_reason = 0;
	flight->left = 0;
	flight->pid = 0;
}

static __always_inline void count_start(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	flight->candidate = 0;
	cpu->count.started++;
}

static __always_inline void tx_begins(void *ctx, struct cpu_state *cpu, struct vmlat_flight *flight,
				      __u64 device)
{
	const struct tap_call *call = tap_call_of(cpu, device);
	enum vmlat_hook hook = VMLAT_HOOK_NETIF_RECEIVE_SKB;
	__u64 now;

	flight->direction = VMLAT_TX;
	flight->pid = bpf_get_current_pid_tgid() >> 32;
	if (call) {
		now = call->ns;
		hook = call->hook;
		flight->batch = call->packets;
		__builtin_memcpy(flight->comm, call->comm, sizeof(flight->comm));
	} else {
		now = bpf_ktime_get_ns();
		bpf_get_current_comm(flight->comm, sizeof(flight->comm));
	}
	flight->begin_ns = now;
	count_start(cpu, flight);
	count_traffic(flight->interface, VMLAT_TX, flight->length);
	visit(ctx, cpu, flight, VMLAT_STAGE_TAP_IN, hook, now);
}

static __always_inline int packet_received(void *ctx, const struct sk_buff *skb)
{
	const struct vmlat_config *config = configuration();
	const struct net_device *device = skb->dev;
	const struct vmlat_interface *interface;
	struct vmlat_flight *flight;
	struct cpu_state *cpu;
	__u32 length;

	if (!config || !config->armed)
		return 0;
	interface = selected_interface(config, device);
	if (!interface || !(interface->roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START)))
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	if (interface->roles & VMLAT_ROLE_TAP)
		cpu->count.seen_tap++;
	else
		cpu->count.seen_nic++;
	evict_stale(cpu, (__u64)skb);
	if (!passes(cpu, config, skb, &length))
		return 0;
	flight = new_flight(cpu);
	if (!flight) {
		if (interface->roles & VMLAT_ROLE_TX_START) {
			cpu->count.started++;
			cpu->count.outcomes[VMLAT_EVICTED]++;
		}
		return 0;
	}
	fill_flight(flight, cpu, skb, length, interface->index);
	if (interface->roles & VMLAT_ROLE_TX_START) {
		tx_begins(ctx, cpu, flight, (__u64)device);
		if (!device->rx_handler)
			flight_leaves(cpu, flight); /* to the host's stack */
		return 0;
	}
	flight->direction = VMLAT_RX;
	flight->candidate = 1;
	flight->begin_ns = bpf_ktime_get_ns();
	visit(ctx, cpu, flight, VMLAT_STAGE_NIC, VMLAT_HOOK_NETIF_RECEIVE_SKB, flight->begin_ns);
	return 0;
}

/* --- in the switch --- */

static __always_inline bool shares_buffer(const struct vmlat_flight *flight,
					  const struct sk_buff *skb)
{
	return (__u64)BPF_CORE_READ(skb, head) == flight->head;
}

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
		return flight->carrier == (__u64)skb ? flight : NULL;
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
	flight = find_flight(cpu, (__u64)skb);
	if (!flight || flight->carrier != (__u64)skb)
		return 0;
	READ_MODULE(command, info, cmd);
	if (command != OVS_PACKET_CMD_MISS___vmlat)
		return 0;
	READ_MODULE(in_port, key, phy.in_port);
	flight_goes_up(ctx, cpu, flight, skb, in_port);
	return 0;
}

static __always_inline __u64 transmit_function(const struct net_device *device)
{
	return (__u64)BPF_CORE_READ(device, netdev_ops, ndo_start_xmit);
}

/* A clone of the packet in this CPU's call stack leaves by a port of its own. */
static __always_inline void copy_leaves(struct cpu_state *cpu, const struct sk_buff *skb,
					const struct net_device *device)
{
	struct vmlat_flight *flight = current_flight(cpu);
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
	exit->device.ifindex = BPF_CORE_READ(device, ifindex);
	exit->device.netns = BPF_CORE_READ(device, nd_net.net, ns.inum);
	if (!insert_carrier((__u64)skb, flight))
		close_exit(exit, VMLAT_EVICTED, bpf_ktime_get_ns());
}

static __always_inline int packet_leaves_switch(void *ctx, struct vport___vmlat *vport,
						const struct sk_buff *skb)
{
	struct net_device *device = NULL;
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	READ_MODULE(device, vport, dev);
	if (!flight) {
		copy_leaves(cpu, skb, device);
		return 0;
	}
	if (flight->carrier != (__u64)skb)
		return 0;
	flight->undirected = 0;
	visit(ctx, cpu, flight, VMLAT_STAGE_VPORT, VMLAT_HOOK_OVS_VPORT_SEND, bpf_ktime_get_ns());
	/* internal_dev_recv hands it to the host's stack by netif_rx: any CPU may be next */
	if (transmit_function(device) == features.internal_dev_xmit)
		flight_leaves(cpu, flight);
	return 0;
}

/* --- out of the host --- */

/* A queue that packets may leave on another CPU; noqueue has no enqueue function. */
static __always_inline bool has_qdisc(const struct net_device *device)
{
	return BPF_CORE_READ(device, _tx, qdisc, enqueue) != NULL;
}

static __always_inline int packet_queued(void *ctx, const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight || flight->candidate || flight->carrier != (__u64)skb)
		return 0;
	if (flight->direction == VMLAT_TX)
		visit(ctx, cpu, flight, VMLAT_STAGE_XMIT, VMLAT_HOOK_DEV_QUEUE_XMIT,
		      bpf_ktime_get_ns());
	if (has_qdisc(BPF_CORE_READ(skb, dev)))
		publish_flight(cpu, flight);
	return 0;
}

static __always_inline bool ends_here(const struct vmlat_flight *flight, __u32 roles)
{
	return roles & (flight->direction == VMLAT_TX ? VMLAT_ROLE_TX_END : VMLAT_ROLE_RX_END);
}

static __always_inline void note_exit(struct vmlat_flight *flight, __u64 skb,
				      const struct net_device *device, __u64 now)
{
	struct vmlat_exit *exit = exit_of(flight, skb);

	if (!exit)
		return;
	exit->ns = now;
	exit->device.netns = device->nd_net.net->ns.inum;
	exit->device.ifindex = device->ifindex;
}

/*
 * From here to net_dev_xmit the skb belongs to the driver, which may free it on any CPU at any
 * time: only this CPU knows the flight, and no other's free of that address means it.
 */
static __always_inline int packet_in_driver(void *ctx, const struct sk_buff *skb,
					    const struct net_device *device)
{
	const struct vmlat_config *config = configuration();
	const struct vmlat_interface *interface;
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	bool end, carrier;
	__u64 now;

	if (!cpu || !config)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight)
		flight = find_cut_flight(cpu, skb);
	if (!flight || flight->candidate)
		return 0;
	carrier = flight->place != VMLAT_CUT && flight->carrier == (__u64)skb;
	interface = selected_interface(config, device);
	end = interface && ends_here(flight, interface->roles);
	if (!end && transmit_function(device) != features.tun_net_xmit) {
		if (carrier)
			flight_leaves(cpu, flight); /* by a tunnel or a veth */
		return 0;
	}
	if (flight->place == VMLAT_PUBLISHED || (!carrier && flight->place != VMLAT_CUT))
		if (!remove_carrier((__u64)skb))
			return 0;
	now = bpf_ktime_get_ns();
	/* segments are one exit, known by the packet they were cut from */
	note_exit(flight, flight->place == VMLAT_CUT ? flight->carrier : (__u64)skb, device, now);
	cpu->driving = ref_of(flight);
	cpu->driving_skb = (__u64)skb;
	cpu->driving_interface = end ? interface->index : VMLAT_INTERFACE_NONE;
	if (carrier) {
		flight->cpu = bpf_get_smp_processor_id();
		flight->place = VMLAT_DRIVING;
	}
	if (end && flight->direction == VMLAT_TX && (carrier || flight->place == VMLAT_CUT))
		visit_of_segment(ctx, cpu, flight, VMLAT_STAGE_DRIVER,
				 VMLAT_HOOK_NET_DEV_START_XMIT, now);
	return 0;
}

static __always_inline int packet_at_tap(void *ctx, const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu || cpu->driving_skb != (__u64)skb ||
	    cpu->driving_interface == VMLAT_INTERFACE_NONE)
		return 0;
	flight = flight_of(&cpu->driving);
	if (!flight || flight->direction != VMLAT_RX)
		return 0;
	if (flight->place == VMLAT_CUT || flight->carrier == (__u64)skb)
		visit_of_segment(ctx, cpu, flight, VMLAT_STAGE_TAP_OUT, VMLAT_HOOK_TUN_NET_XMIT,
				 bpf_ktime_get_ns());
	return 0;
}

/* One skb of the flight is done, as this CPU was told; ns as for end_flight. */
static __always_inline void skb_done(struct cpu_state *cpu, struct vmlat_flight *flight, __u64 skb,
				     enum vmlat_outcome outcome, __u64 ns)
{
	struct vmlat_exit *exit;

	if (flight->place == VMLAT_CUT) {
		segment_done(cpu, flight, outcome, ns);
		return;
	}
	exit = open_exit(flight, skb);
	if (exit)
		close_exit(exit, outcome, ns ? ns : exit->ns);
	if (flight->carrier == skb)
		end_flight(cpu, flight, outcome, ns);
	else
		end_shared(cpu, flight);
}

/* The device took this skb, which may be where its flight ends. */
static __always_inline void skb_taken(struct cpu_state *cpu, struct vmlat_flight *flight, __u64 skb)
{
	if (cpu->driving_interface == VMLAT_INTERFACE_NONE) {
		skb_done(cpu, flight, skb, VMLAT_DIVERTED, bpf_ktime_get_ns());
		return;
	}
	if (flight->direction == VMLAT_RX && flight->place != VMLAT_CUT)
		count_traffic(cpu->driving_interface, VMLAT_RX, flight->length);
	skb_done(cpu, flight, skb, VMLAT_COMPLETED, 0);
}

/* The driver's answer. Its NETDEV_TX_BUSY puts the packet back into the queue. */
static __always_inline int packet_sent(__u64 skb, int result)
{
	enum { SENT = 0, BUSY = 0x10 };
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu || cpu->driving_skb != skb)
		return 0;
	flight = flight_of(&cpu->driving);
	cpu->driving_skb = 0;
	if (!flight)
		return 0;
	if (result == SENT) {
		skb_taken(cpu, flight, skb);
	} else if (result != BUSY) {
		skb_done(cpu, flight, skb, VMLAT_DROPPED, bpf_ktime_get_ns());
	} else if (flight->carrier != skb) {
		insert_carrier(skb, flight);
	} else {
		flight->place = VMLAT_ON_CPU;
		publish_flight(cpu, flight);
	}
	return 0;
}

/* --- its end on the way --- */

/* kfree_skb: its location and reason are the flight's when it was the carrier, or a segment. */
static __always_inline int packet_dropped(const struct sk_buff *skb, __u64 location, __u32 reason,
					  bool has_reason)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight)
		flight = find_cut_flight(cpu, skb);
	if (!flight)
		return 0;
	if (flight->candidate) {
		flight->place = VMLAT_FREE;
		return 0;
	}
	if (flight->carrier == (__u64)skb || flight->place == VMLAT_CUT) {
		flight->location = location;
		flight->reason = reason;
		flight->has_reason = has_reason;
	}
	skb_done(cpu, flight, (__u64)skb, VMLAT_DROPPED, bpf_ktime_get_ns());
	return 0;
}

/* consume_skb: not lost, says the kernel. What that means depends on where the packet is. */
static __always_inline int packet_consumed(const struct sk_buff *skb)
{
	enum vmlat_outcome outcome = VMLAT_DIVERTED;
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight)
		return 0;
	if (flight->candidate) {
		flight->place = VMLAT_FREE;
		return 0;
	}
	if (cpu->driving_skb == (__u64)skb) {
		skb_taken(cpu, flight, (__u64)skb);
		return 0;
	}
	if (flight->carrier == (__u64)skb) {
		if (flight->undirected)
			outcome = VMLAT_DROPPED; /* by OVS, before 6.6; then it is a kfree_skb */
		else if (!flight->left && flight_is_cut(cpu, flight, skb))
			return 0;
	}
	skb_done(cpu, flight, (__u64)skb, outcome, bpf_ktime_get_ns());
	return 0;
}

#endif
