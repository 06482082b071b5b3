/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet in the switch: into its datapath, up to user space, out by a port. */
#ifndef VMLAT_SWITCH_H
#define VMLAT_SWITCH_H

/* The switch has the packet, and has not looked where it goes to. */
static __always_inline bool is_undecided(__u8 stage)
{
	return stage <= VMLAT_STAGE_OVS_IN || (features.bridges && stage == VMLAT_STAGE_BRIDGE_IN);
}

/*
 * With a packet socket open the switch goes on with a clone (skb_share_check in
 * netdev_port_receive and br_handle_frame) and the socket keeps the original: before the switch
 * decides, a packet of the same buffer on the same CPU is the flight's, and its carrier from now on.
 */
static __always_inline struct vmlat_flight *continued_flight(struct cpu_state *cpu,
							     const struct sk_buff *skb, __u32 *role)
{
	struct vmlat_flight *flight = flight_of_skb(cpu, skb, role);
	__u32 last;

	if (flight)
		return *role == ROLE_ORIGINAL || *role == ROLE_PART ? flight : NULL;
	flight = current_flight(cpu);
	if (!flight || !shares_buffer(flight, skb))
		return NULL;
	last = flight->visits - 1;
	if (last >= VMLAT_VISITS || !is_undecided(flight->visit[last].stage))
		return NULL;
	flight->carrier = key_of(skb);
	*role = ROLE_ORIGINAL;
	return flight;
}

/* It has no output from here on, until it gets one. */
static __always_inline bool enters_datapath(enum vmlat_stage stage)
{
	return stage == VMLAT_STAGE_DATAPATH ||
	       (stage == VMLAT_STAGE_OVS_IN && !is_attached(VMLAT_HOOK_OVS_DP_PROCESS_PACKET));
}

static __always_inline int visit_in_switch(void *ctx, struct cpu_state *cpu,
					   struct vmlat_flight *flight, __u32 role,
					   enum vmlat_stage stage, enum vmlat_hook hook)
{
	if (!flight)
		return 0;
	settle_flight(cpu, flight);
	if (flight->candidate == VMLAT_CANDIDATE)
		count_start(cpu, flight);
	if (enters_datapath(stage)) {
		flight->undirected = 1;
		flight->sent_up = 0;
	}
	visit_as(ctx, cpu, flight, role, stage, hook, bpf_ktime_get_ns());
	return 0;
}

static __noinline int flight_in_switch(void *ctx, struct cpu_state *cpu, const struct sk_buff *skb,
				       enum vmlat_stage stage, enum vmlat_hook hook)
{
	__u32 role;
	struct vmlat_flight *flight = continued_flight(cpu, skb, &role);

	return visit_in_switch(ctx, cpu, flight, role, stage, hook);
}

static __always_inline bool is_told_in_switch(struct cpu_state *cpu, const struct sk_buff *skb,
					      enum vmlat_stage stage, enum vmlat_hook hook)
{
	return (in_lane(cpu, skb) && stamp_in_switch(cpu, stage, hook)) || is_idle(cpu);
}

static __always_inline int packet_in_switch(void *ctx, const struct sk_buff *skb,
					    enum vmlat_stage stage, enum vmlat_hook hook)
{
	struct cpu_state *cpu = this_cpu();

	return is_told_in_switch(cpu, skb, stage, hook)
		       ? 0
		       : flight_in_switch(ctx, cpu, skb, stage, hook);
}

/* In the datapath, where no hook tells of packets that have come back from user space. */
static __noinline int flight_in_datapath(void *ctx, struct cpu_state *cpu,
					 const struct sk_buff *skb)
{
	__u32 role;
	struct vmlat_flight *flight = continued_flight(cpu, skb, &role);

	if (!flight)
		flight = returned_flight(cpu, skb, &role);
	return visit_in_switch(ctx, cpu, flight, role, VMLAT_STAGE_DATAPATH,
			       VMLAT_HOOK_OVS_DP_PROCESS_PACKET);
}

static __always_inline int packet_in_datapath(void *ctx, const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();

	return is_told_in_switch(cpu, skb, VMLAT_STAGE_DATAPATH, VMLAT_HOOK_OVS_DP_PROCESS_PACKET)
		       ? 0
		       : flight_in_datapath(ctx, cpu, skb);
}

int copy_misses(__u64 address, __u32 in_port);

static __always_inline int packet_misses(void *ctx, const struct sk_buff *skb,
					 const struct sw_flow_key___vmlat *key,
					 const struct dp_upcall_info___vmlat *info,
					 enum vmlat_hook hook)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u16 in_port = 0;
	__u8 command = 0;
	__u32 role;

	cpu->upcalling = 0;
	flight = flight_of_skb(cpu, skb, &role);
	if (flight ? role != ROLE_ORIGINAL && role != ROLE_PART : is_idle(cpu))
		return 0;
	READ_MODULE(command, info, cmd, false);
	if (is_attached(VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE)) /* who comes back has it */
		READ_MODULE(in_port, key, phy.in_port, false);
	if (!flight)
		return command == OVS_PACKET_CMD_MISS___vmlat
			       ? copy_misses(number_of(cpu, (__u64)skb), in_port)
			       : 0;
	settle_flight(cpu, flight);
	if (command != OVS_PACKET_CMD_MISS___vmlat) {
		if (role == ROLE_ORIGINAL)
			copy_goes_up(cpu, flight, skb, in_port);
		return 0;
	}
	visit_as(ctx, cpu, flight, role, VMLAT_STAGE_UPCALL, hook, bpf_ktime_get_ns());
	flight->upcalled = 1;
	if (role == ROLE_ORIGINAL)
		flight_goes_up(cpu, flight, skb, in_port);
	else
		part_goes_up(cpu, flight, skb, in_port);
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

/* An action has rewritten the packet since its last output, and so given it another buffer. */
static __always_inline bool shares_new_buffer(struct vmlat_flight *flight,
					      const struct sk_buff *skb)
{
	const struct sk_buff *original = (const struct sk_buff *)flight->carrier;
	__u64 head = (__u64)BPF_CORE_READ(original, head);

	if (head != (__u64)BPF_CORE_READ(skb, head))
		return false;
	flight->head = head;
	return true;
}

/* The flight that a clone in this CPU's call stack is of, or NULL. */
static __always_inline struct vmlat_flight *copied_flight(struct cpu_state *cpu,
							  const struct sk_buff *skb)
{
	struct vmlat_flight *flight = current_flight(cpu);
	__u32 role;

	if (flight && !flight->candidate &&
	    (shares_buffer(flight, skb) || shares_new_buffer(flight, skb)))
		return flight;
	flight = published_flight((__u64)BPF_CORE_READ(skb, head), &role);
	if (!flight || role != ROLE_HEAD)
		return NULL;
	settle_flight(cpu, flight);
	return flight;
}

/*
 * A clone that an action has looked up again (recirculation, with actions behind it) goes up. It is
 * not followed, but is no answer for another packet either.
 */
GLOBAL int copy_misses(__u64 address, __u32 in_port)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct cpu_state *cpu = this_cpu();

	if (!copied_flight(cpu, skb) || !read_content(SOFTIRQS_OFF, address, 0))
		return 0;
	cpu->scratch.content.in_port = in_port;
	cpu->upcalling = key_of(skb);
	cpu->upcalled.slot = NO_SLOT;
	cpu->upcalled_parted = 0;
	insert_nobodys_upcall(&cpu->scratch.content);
	return 0;
}

static __always_inline void set_device(struct vmlat_device *id, const struct net_device *device)
{
	id->ifindex = BPF_CORE_READ(device, ifindex);
	id->netns = BPF_CORE_READ(device, nd_net.net, ns.inum);
}

/* A copy of a part is counted like one. */
static __always_inline int part_copy_leaves(struct cpu_state *cpu, struct vmlat_flight *flight,
					    const struct sk_buff *skb)
{
	struct flight_slot *slot = slot_at(flight->slot);
	__u64 key = number_of(cpu, key_of(skb));

	if (!slot)
		return 0;
	evict_stale(key);
	if (insert_carrier(key, flight, ROLE_PART_COPY))
		__sync_fetch_and_add(&slot->parts.copies, 1);
	return 0;
}

/* A clone leaves by a port of its own. */
static __noinline int copy_leaves(struct cpu_state *cpu, const struct sk_buff *skb,
				  const struct net_device *device, enum vmlat_hook hook)
{
	struct vmlat_flight *flight = copied_flight(cpu, skb);
	struct vmlat_exit *exit;
	struct flight_slot *slot;
	struct way *way;
	__u32 index;

	if (flight && flight->place == VMLAT_PARTED)
		return part_copy_leaves(cpu, flight, skb);
	if (!flight || (!flight->shared && !insert_token(flight)))
		return 0;
	flight->shared = 1;
	flight->undirected = 0;
	slot = slot_at(flight->slot);
	index = new_exit(flight->slot, number_of(cpu, key_of(skb)));
	exit = exit_at(flight, index);
	way = slot ? way_at(slot, index) : NULL;
	if (!exit || !way)
		return 0;
	set_device(&exit->device, device);
	way->port_ns = bpf_ktime_get_ns();
	way->xmit_ns = 0;
	way->end_ns = 0;
	way->common = flight->visits;
	way->cpu = cpu->number;
	way->port_hook = hook;
	way->beyond = 0;
	way->host_head = transmit_function(device, false) == features.internal_dev_xmit
				 ? (__u64)BPF_CORE_READ(skb, head)
				 : 0;
	evict_stale(number_of(cpu, key_of(skb)));
	if (!insert_carrier(key_of(skb), flight, index))
		close_exit(exit, VMLAT_EVICTED, way->port_ns);
	return 0;
}

/* With copies, each exit is told of, the original's too. */
static __noinline int original_leaves(struct vmlat_flight *flight, const struct net_device *device)
{
	__u32 index = exit_of(flight, flight->carrier);
	struct vmlat_exit *exit = exit_at(flight, index);

	if (exit)
		set_device(&exit->device, device);
	return 0;
}

/* No copy of this part comes any more. To the host it is not followed. */
static __always_inline int part_leaves(struct vmlat_flight *flight, const struct sk_buff *skb,
				       bool to_host)
{
	forget_head(ROLE_PART, skb);
	if (to_host && remove_carrier(key_of(skb)))
		part_done(flight->slot, ROLE_PART, VMLAT_EXITS, VMLAT_DIVERTED);
	return 0;
}

/* The packet, or a part of it, that leaves by a port; NULL: it is none of these. */
static __always_inline struct vmlat_flight *leaving_flight(struct cpu_state *cpu,
							   const struct sk_buff *skb, __u32 *role)
{
	struct vmlat_flight *flight = find_flight(cpu, key_of(skb), role);

	return flight ? flight : fragmented_flight(cpu, skb);
}

/* It is on its way out by this device, as the hook says. */
static __always_inline int flight_leaves_by(void *ctx, struct cpu_state *cpu,
					    struct vmlat_flight *flight, __u32 role,
					    const struct sk_buff *skb,
					    const struct net_device *device, enum vmlat_hook hook,
					    bool to_host)
{
	if (flight->candidate && !to_host && !starts_as_it_is(cpu, flight))
		return 0;
	flight->undirected = 0;
	flight->fragmenting = 0;
	visit_as(ctx, cpu, flight, role, port_stage(hook), hook, bpf_ktime_get_ns());
	if (role == ROLE_PART)
		return part_leaves(flight, skb, to_host);
	if (flight->shared)
		original_leaves(flight, device);
	/* internal_dev_recv hands it to the host's stack by netif_rx: any CPU may be next */
	if (to_host)
		flight_leaves(flight, VMLAT_TO_HOST);
	return 0;
}

/* What is in the lane goes on there, if it leaves for another device than the host. */
static __always_inline bool leaves_in_lane(struct cpu_state *cpu, const struct net_device *device,
					   bool direct)
{
	return !cpu->lane.candidate &&
	       transmit_function(device, direct) != features.internal_dev_xmit &&
	       stamp(&cpu->lane, VMLAT_STAGE_VPORT, VMLAT_HOOK_OVS_VPORT_SEND);
}

static __always_inline int leaves_switch(void *ctx, struct cpu_state *cpu,
					 const struct net_device *device, const struct sk_buff *skb,
					 bool untold)
{
	struct vmlat_flight *flight;
	__u32 role;

	flight = leaving_flight(cpu, skb, &role);
	if (!flight && untold)
		flight = returned_flight(cpu, skb, &role);
	if (!flight)
		return copy_leaves(cpu, skb, device, VMLAT_HOOK_OVS_VPORT_SEND);
	if (role != ROLE_ORIGINAL && role != ROLE_PART)
		return 0;
	settle_flight(cpu, flight);
	return flight_leaves_by(ctx, cpu, flight, role, skb, device, VMLAT_HOOK_OVS_VPORT_SEND,
				transmit_function(device, false) == features.internal_dev_xmit);
}

static __noinline int flight_leaves_switch(void *ctx, struct cpu_state *cpu,
					   const struct net_device *device,
					   const struct sk_buff *skb)
{
	return leaves_switch(ctx, cpu, device, skb, false);
}

static __noinline int flight_leaves_untold(void *ctx, struct cpu_state *cpu,
					   const struct net_device *device,
					   const struct sk_buff *skb)
{
	return leaves_switch(ctx, cpu, device, skb, true);
}

/* `untold`: no hook tells of packets that have come back from user space. */
static __always_inline int packet_leaves_switch(void *ctx, const struct vport___vmlat *vport,
						const struct sk_buff *skb, bool direct, bool untold)
{
	struct cpu_state *cpu = this_cpu();

	if ((in_lane(cpu, skb) && leaves_in_lane(cpu, vport_device(vport, direct), direct)) ||
	    is_idle(cpu))
		return 0;
	return untold ? flight_leaves_untold(ctx, cpu, vport_device(vport, direct), skb)
		      : flight_leaves_switch(ctx, cpu, vport_device(vport, direct), skb);
}

#endif
