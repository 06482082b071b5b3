/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet leaves by a device: its queue, its driver, its answer. */
#ifndef VMLAT_DEVICE_H
#define VMLAT_DEVICE_H

/*
 * The first queue's qdisc may hand the packet to another CPU. It has no enqueue function when it
 * is noqueue; and of each packet that a locked one keeps it is told before any CPU can take it
 * (qdisc:qdisc_enqueue under the root lock, 5.15, and qdisc_tree_reduce_backlog; until 6.19, when a CPU
 * may enqueue for another).
 */
static __always_inline bool may_change_cpu(const struct sk_buff *skb, bool direct)
{
	enum { NOLOCK = 0x100 }; /* TCQ_F_NOLOCK of include/net/sch_generic.h */
	const struct Qdisc *qdisc = direct ? skb->dev->_tx->qdisc
					   : BPF_CORE_READ(skb, dev, _tx, qdisc);

	if (!(direct ? (__u64)qdisc->enqueue : (__u64)BPF_CORE_READ(qdisc, enqueue)))
		return false;
	return !features.qdisc_enqueue ||
	       (direct ? qdisc->flags : BPF_CORE_READ(qdisc, flags)) & NOLOCK;
}

/* A copy, or a segment, has passed its device's queue, or come to its end. */
static __noinline int note_way(struct vmlat_flight *flight, __u32 role, enum vmlat_stage stage,
			       enum vmlat_hook hook, __u64 now)
{
	struct flight_slot *slot = slot_at(flight->slot);
	struct way *way = slot ? way_at(slot, role) : NULL;

	if (!way)
		return 0;
	if (stage == VMLAT_STAGE_XMIT) {
		way->xmit_ns = now;
		return 0;
	}
	way->end_ns = now;
	way->end_hook = hook;
	return 0;
}

/* Of the packet itself, not of a copy: its segments share its exit. */
static __always_inline bool is_originals(struct vmlat_flight *flight, __u32 role)
{
	const struct vmlat_exit *exit = exit_at(flight, role);

	return !exit || exit->skb == flight->carrier;
}

/* As visit, for whatever the skb is to the flight. */
static __always_inline void visit_device(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight, __u32 role,
					 enum vmlat_stage stage, enum vmlat_hook hook, __u64 ns)
{
	if (role >= VMLAT_EXITS) {
		visit_as(ctx, cpu, flight, role, stage, hook, ns);
		return;
	}
	note_way(flight, role, stage, hook, ns);
	/* the packet of these segments has passed xmit as a whole */
	if (is_originals(flight, role) && stage != VMLAT_STAGE_XMIT)
		visit_of_one(ctx, cpu, flight, flight->visits - 1, stage, hook, ns);
}

/* It has an output, though no port of the switch told so. */
static __always_inline void note_output(struct vmlat_flight *flight, __u32 role,
					const struct sk_buff *skb)
{
	if (is_attached(VMLAT_HOOK_OVS_VPORT_SEND))
		return;
	flight->undirected = 0;
	forget_head(role, skb);
}

/* What is in the lane may be another CPU's next. */
static __noinline int publish_lane(struct cpu_state *cpu)
{
	struct vmlat_flight *flight = current_flight(cpu);

	if (flight)
		publish_flight(flight->slot);
	return 0;
}

static __always_inline void leave_call_stack(struct cpu_state *cpu)
{
	if (!park(cpu))
		publish_lane(cpu);
}

/* What is in the lane goes on there; false: it takes a record. */
static __always_inline bool queued_in_lane(struct cpu_state *cpu, const struct sk_buff *skb,
					   bool direct, enum vmlat_hook hook)
{
	if (cpu->lane.driving || cpu->lane.candidate)
		return true;
	if (!is_attached(VMLAT_HOOK_OVS_VPORT_SEND))
		return false;
	if (cpu->lane.direction == VMLAT_TX && !stamp(&cpu->lane, VMLAT_STAGE_XMIT, hook))
		return false;
	if (may_change_cpu(skb, direct))
		leave_call_stack(cpu);
	cpu->queueing = key_of(skb);
	return true;
}

static __noinline int flight_queued(void *ctx, struct cpu_state *cpu, const struct sk_buff *skb,
				    enum vmlat_hook hook)
{
	struct vmlat_flight *flight;
	__u32 role;

	if (cpu->driving_skb == key_of(skb)) /* below the end device, a bond's slave */
		return 0;
	flight = flight_of_skb(cpu, skb, &role);
	if (!flight || flight->candidate)
		return 0;
	note_output(flight, role, skb);
	if (flight->direction == VMLAT_TX)
		visit_device(ctx, cpu, flight, role, VMLAT_STAGE_XMIT, hook, bpf_ktime_get_ns());
	if (role != ROLE_ORIGINAL)
		return 0;
	if (may_change_cpu(skb, false))
		publish_flight(flight->slot);
	cpu->queueing = key_of(skb);
	return 0;
}

static __always_inline int packet_queued(void *ctx, const struct sk_buff *skb, bool direct,
					 enum vmlat_hook hook)
{
	struct cpu_state *cpu = this_cpu();

	if ((in_lane(cpu, skb) && queued_in_lane(cpu, skb, direct, hook)) || is_nobodys(cpu, skb))
		return 0;
	return flight_queued(ctx, cpu, skb, hook);
}

/* It stays in the qdisc, and so leaves this call stack. */
static __always_inline int packet_kept(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (in_lane(cpu, skb)) {
		if (!cpu->lane.candidate &&
		    !cpu->lane.driving) /* below the end device, a bond's slave */
			leave_call_stack(cpu);
		return 0;
	}
	flight = own_flight(cpu);
	if (flight && flight->carrier == key_of(skb) && !flight->candidate)
		publish_flight(flight->slot);
	return 0;
}

/* It has passed xmit, where its direction has that. */
static __always_inline bool is_at_queue(const struct vmlat_lane *lane)
{
	__u64 last = lane->visits - 1;

	barrier_var(last);
	if (last >= VMLAT_LANE_STAMPS)
		return false;
	barrier_var(last);
	return lane->direction == VMLAT_RX || lane->stamp[last].stage == VMLAT_STAGE_XMIT;
}

/*
 * A qdisc that is full may drop others and keep this one: NET_XMIT_CN, of which qdisc:qdisc_enqueue does
 * not tell (dev_qdisc_enqueue). Most that do so tell the qdiscs above them first, under the root lock
 * (fq_codel_enqueue, sfq_enqueue, pfifo_tail_enqueue; not hhf_enqueue and skbprio_enqueue). Others call
 * that, too, with other packets in hand: then it is parked, or published, for nothing.
 */
static __always_inline int queue_is_cut(void)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_lane *lane = &cpu->lane;
	struct vmlat_flight *flight;

	if (lane->key && lane->key == cpu->queueing) {
		if (!lane->candidate && !lane->driving && is_at_queue(lane) && !is_another(lane))
			leave_call_stack(cpu);
		return 0;
	}
	flight = cpu->occupied ? own_flight(cpu) : NULL;
	if (flight && flight->carrier == cpu->queueing && !flight->candidate)
		publish_flight(flight->slot);
	return 0;
}

/* arch/x86/include/asm/current.h, 6.2 to 6.14 */
struct pcpu_hot___vmlat {
	int preempt_count;
} __attribute__((preserve_access_index));

/* Where this CPU's preempt_count is; 0: that is not known. */
static __always_inline __u64 preempt_count_of(const struct cpu_state *cpu)
{
	__u64 offset, address = features.preempt_count;

	if (features.pcpu_hot && bpf_core_field_exists(struct pcpu_hot___vmlat, preempt_count))
		address = features.pcpu_hot +
			  bpf_core_field_offset(struct pcpu_hot___vmlat, preempt_count);
	if (!address ||
	    bpf_probe_read_kernel(&offset, sizeof(offset),
				  (void *)features.per_cpu_offset + cpu->number * sizeof(offset)))
		return 0;
	return address + offset;
}

/* Which may have come upon a program of this CPU, in the middle of what that does to a flight. */
static __always_inline bool in_hard_interrupt(const struct cpu_state *cpu)
{
	__u64 address = preempt_count_of(cpu);
	__u32 count;

	return address && !bpf_probe_read_kernel(&count, sizeof(count), (void *)address) &&
	       count & features.hardirq_bits;
}

/*
 * The device's queue was stopped, and the packet that had passed the qdisc by is put back into it
 * (sch_direct_xmit): dev_requeue_skb says so to __netif_schedule, before any CPU can take it out.
 * Others call that, too, and then the flight is published for nothing; but not interrupts, a
 * qdisc's timer (qdisc_watchdog) or a device that has sent (netif_tx_wake_queue).
 */
static __always_inline int packet_put_back(void)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if ((!cpu->lane.key && !cpu->occupied) || in_hard_interrupt(cpu))
		return 0;
	if (cpu->lane.key && !preempt_count_of(cpu))
		return 0; /* this may be one, amid a program that has the lane */
	flight = current_flight(cpu);
	if (flight && !flight->candidate)
		publish_flight(flight->slot);
	return 0;
}

static __always_inline bool ends_here(const struct vmlat_flight *flight, __u32 roles)
{
	return roles & (flight->direction == VMLAT_TX ? VMLAT_ROLE_TX_END : VMLAT_ROLE_RX_END);
}

/* Index of the exit by this device that the parts of a flight share; VMLAT_EXITS: no room. */
GLOBAL __u32 exit_by_device(__u32 slot, __u32 ifindex, __u32 netns)
{
	const struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 0; flight && i < VMLAT_EXITS; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		if (i < flight->exits && !exit->skb && exit->device.ifindex == ifindex &&
		    exit->device.netns == netns)
			return i;
	}
	return new_exit(slot, 0);
}

static __always_inline bool is_part(__u32 role)
{
	return role == ROLE_PART || role == ROLE_PART_COPY;
}

/* The way that this skb takes out is known now: where, and when. Index of the exit. */
static __noinline __u32 note_exit(struct vmlat_flight *flight, __u32 role, __u64 key,
				  const struct vmlat_device *device, __u64 now)
{
	struct vmlat_exit *exit;
	__u32 index = role;

	if (role == ROLE_ORIGINAL)
		index = exit_of(flight, key);
	else if (is_part(role))
		index = exit_by_device(flight->slot, device->ifindex, device->netns);
	exit = exit_at(flight, index);
	if (!exit)
		return VMLAT_EXITS;
	exit->ns = now;
	exit->device = *device;
	if (is_part(role))
		exit->segments = flight->segments;
	return index;
}

static __always_inline bool is_segment(struct vmlat_flight *flight, __u32 role)
{
	const struct vmlat_exit *exit = exit_at(flight, role);

	return exit && exit->segments;
}

/* A copy that is whole. */
GLOBAL int copy_passes(__u32 index, __u32 role)
{
	struct flight_slot *slot = slot_at(index);
	struct way *way = slot ? way_at(slot, role) : NULL;

	if (!way || is_segment(&slot->flight, role))
		return 0;
	way->beyond = 1;
	return 1;
}

/* It passes a device that is neither the trace's end nor a tap: a tunnel, a bond, a veth. */
static __always_inline void pass_device(struct cpu_state *cpu, struct vmlat_flight *flight,
					__u32 role, __u64 key)
{
	if (role == ROLE_ORIGINAL)
		flight_leaves(flight, VMLAT_TO_DEVICE);
	else if (features.bridges && copy_passes(flight->slot, role))
		return;
	else if (is_segment(flight, role) && !insert_carrier(key, flight, role)) {
		/* the next device is not that of its key */
		evict_stale(number_of(cpu, key));
		insert_carrier(key, flight, role);
	}
}

/* Out of carriers. False: somebody else has ended it. */
static __always_inline bool take_skb(struct vmlat_flight *flight, __u32 role, __u64 key)
{
	if (role == ROLE_ORIGINAL && flight->place != VMLAT_PUBLISHED)
		return true;
	return remove_carrier(key) || is_segment(flight, role);
}

/*
 * From here to net_dev_xmit the skb belongs to the driver, which may free it on any CPU at any
 * time: only this CPU knows the flight, and no other's free of that address means it.
 */
static __always_inline void drive(struct cpu_state *cpu, struct vmlat_flight *flight, __u32 role,
				  __u64 key, __u32 interface)
{
	cpu->driving = ref_of(flight);
	cpu->driving_skb = key;
	cpu->driving_role = role;
	cpu->driving_interface = interface;
	cpu->driving_seen = 0;
	if (role != ROLE_ORIGINAL)
		return;
	flight->cpu = cpu->number;
	flight->place = VMLAT_DRIVING;
}

/*
 * A candidate at its end has come through a switch, though no hook has told so: a kprobe is skipped
 * where it interrupts another one's program (trace_call_bpf). Of one that may have been unpacked on
 * its way nobody knows what it is.
 */
static __always_inline bool starts_at_end(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	if (flight->candidate != VMLAT_PACKED)
		return starts_as_it_is(cpu, flight);
	cpu->count.unstarted++;
	forget_candidate(flight);
	return false;
}

/*
 * What is in the lane goes on there to an end of the trace, or to a tap that is none. The time of RX
 * is tun_net_xmit's, which comes next.
 */
static __always_inline bool drives_in_lane(struct cpu_state *cpu, const struct sk_buff *skb,
					   const struct net_device *device)
{
	const struct vmlat_config *config = &settings;
	const struct vmlat_interface *interface;
	struct vmlat_lane *lane = &cpu->lane;
	bool tx = lane->direction == VMLAT_TX;

	if (lane->driving || lane->candidate || !skb->skb_iif)
		return false;
	interface = selected_interface(config, device, true);
	if (!interface)
		return false;
	if (interface->roles & (tx ? VMLAT_ROLE_TX_END : VMLAT_ROLE_RX_END))
		lane->end_interface = interface->index;
	else if (transmit_function(device, true) == features.tun_net_xmit)
		lane->end_interface = VMLAT_INTERFACE_NONE;
	else
		return false;
	lane->end = interface->device;
	if (tx && !stamp(lane, VMLAT_STAGE_DRIVER, VMLAT_HOOK_NET_DEV_START_XMIT))
		return false;
	if (!tx)
		lane->driving_ns = bpf_ktime_get_ns();
	lane->driving = 1;
	return true;
}

static __noinline int flight_in_driver(void *ctx, struct cpu_state *cpu, const struct sk_buff *skb,
				       const struct net_device *device)
{
	const struct vmlat_config *config = &settings;
	const struct vmlat_interface *interface;
	struct vmlat_flight *flight;
	struct vmlat_exit *exit;
	struct vmlat_device id;
	__u64 now;
	__u32 role;
	bool end, tap;

	flight = flight_of_skb(cpu, skb, &role);
	if (flight)
		cpu->driving_segments = 1;
	else
		flight = find_segment(cpu, skb, &role);
	if (!flight)
		return 0;
	interface = selected_interface(config, device, true);
	end = interface && ends_here(flight, interface->roles);
	tap = !end && transmit_function(device, true) == features.tun_net_xmit;
	if (tap && !interface) {
		interface = new_tap(config, device, true, false);
		end = interface && ends_here(flight, interface->roles);
	}
	if (flight->candidate && (!end || !starts_at_end(cpu, flight)))
		return 0;
	if (!end && !tap) {
		pass_device(cpu, flight, role, key_of(skb));
		return 0;
	}
	if (!take_skb(flight, role, key_of(skb)))
		return 0;
	now = bpf_ktime_get_ns();
	id.netns = device->nd_net.net->ns.inum;
	id.ifindex = device->ifindex;
	cpu->driving_exit = note_exit(flight, role, number_of(cpu, key_of(skb)), &id, now);
	cpu->driving_ns = now;
	exit = exit_at(flight, cpu->driving_exit);
	if (exit && end)
		exit->interface = interface->index;
	drive(cpu, flight, role, key_of(skb), end ? interface->index : VMLAT_INTERFACE_NONE);
	if (role == ROLE_ORIGINAL)
		flight->last_ns = now;
	if (end && flight->direction == VMLAT_TX)
		visit_device(ctx, cpu, flight, role, VMLAT_STAGE_DRIVER,
			     VMLAT_HOOK_NET_DEV_START_XMIT, now);
	return 0;
}

static __always_inline int packet_in_driver(void *ctx, const struct sk_buff *skb,
					    const struct net_device *device)
{
	struct cpu_state *cpu = this_cpu();
	bool parked = !in_lane(cpu, skb) && may_be_parked(key_of(skb));

	if (parked)
		unpark(cpu, key_of(skb));
	if ((in_lane(cpu, skb) && drives_in_lane(cpu, skb, device)) || (is_idle(cpu) && !parked))
		return 0;
	return flight_in_driver(ctx, cpu, skb, device);
}

/* False: it takes a record. */
static __always_inline bool taken_in_lane(struct vmlat_lane *lane)
{
	if (!lane->driving || lane->direction != VMLAT_RX ||
	    lane->end_interface == VMLAT_INTERFACE_NONE)
		return true;
	if (!stamp(lane, VMLAT_STAGE_TAP_OUT, VMLAT_HOOK_TUN_NET_XMIT))
		return false;
	lane->seen = 1;
	return true;
}

static __always_inline int packet_at_tap(void *ctx, const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	struct vmlat_exit *exit;
	__u64 now;

	if (in_lane(cpu, skb)) {
		if (taken_in_lane(&cpu->lane))
			return 0;
		leave_lane(LANE_MET);
	}
	if (cpu->driving_skb != key_of(skb) || cpu->driving_interface == VMLAT_INTERFACE_NONE)
		return 0;
	flight = flight_of(&cpu->driving);
	if (!flight || flight->direction != VMLAT_RX)
		return 0;
	now = bpf_ktime_get_ns();
	cpu->driving_seen = 1;
	visit_device(ctx, cpu, flight, cpu->driving_role, VMLAT_STAGE_TAP_OUT,
		     VMLAT_HOOK_TUN_NET_XMIT, now);
	exit = exit_at(flight, cpu->driving_exit);
	if (exit)
		exit->ns = now; /* it leaves here, not where it was given to the device */
	return 0;
}

/* The original is done, by the exit that it has taken, if any. */
static __always_inline int original_done(struct cpu_state *cpu, struct vmlat_flight *flight,
					 __u64 key, enum vmlat_outcome outcome, __u64 ns)
{
	struct vmlat_exit *exit = NULL;

	if (flight->exits)
		exit = exit_at(flight, open_exit(flight->slot, number_of(cpu, key)));
	if (exit)
		close_exit(exit, outcome, ns ? ns : flight->last_ns);
	return end_flight(flight->slot, outcome, ns);
}

static __always_inline int copy_done(struct vmlat_flight *flight, struct vmlat_exit *exit,
				     enum vmlat_outcome outcome, __u64 ns)
{
	if (exit->closed)
		return 0;
	close_exit(exit, outcome, ns ? ns : exit->ns);
	return end_shared(flight->slot, VMLAT_OUTCOME_COUNT);
}

/*
 * One skb of the flight is done, as this CPU was told: now, or when its last stage was passed,
 * if it is completed.
 */
static __noinline int skb_done(struct cpu_state *cpu, struct vmlat_flight *flight, __u32 role,
			       __u64 key, enum vmlat_outcome outcome)
{
	__u64 ns = outcome == VMLAT_COMPLETED ? 0 : bpf_ktime_get_ns();
	struct vmlat_exit *exit = exit_at(flight, role);

	if (role == ROLE_ORIGINAL) {
		original_done(cpu, flight, key, outcome, ns);
	} else {
		remove_carrier(key); /* unless the driver had it */
		if (is_part(role))
			part_done(flight->slot, role,
				  cpu->driving_skb == key ? cpu->driving_exit : VMLAT_EXITS,
				  outcome);
		else if (exit && exit->segments)
			segment_done(flight->slot, role, outcome, cpu->driving_segments, ns);
		else if (exit)
			copy_done(flight, exit, outcome, ns);
	}
	if (cpu->driving_skb == key)
		cpu->driving_skb = 0;
	return 0;
}

/*
 * The tap took what this CPU drives, and tun_net_xmit's hook has not told so: it is missing, or was
 * skipped. A kprobe is where it interrupts another one's program (trace_call_bpf), fentry where it
 * interrupts itself.
 */
GLOBAL int visit_tap_unseen(__u32 slot)
{
	struct vmlat_flight *flight = flight_at(slot);
	struct cpu_state *cpu = this_cpu();
	__u32 role, from;
	__u64 ns;

	if (!flight)
		return 0;
	role = cpu->driving_role;
	ns = cpu->driving_ns;
	note_way(flight, role, VMLAT_STAGE_TAP_OUT, VMLAT_HOOK_NET_DEV_START_XMIT, ns);
	if (role == ROLE_PART_COPY || (role < VMLAT_EXITS && !is_originals(flight, role)))
		return 0;
	from = role == ROLE_PART ? flight->parted_at : flight->visits - 1;
	if (!visit_later(slot, VMLAT_STAGE_TAP_OUT, from, ns))
		append_visit(flight, cpu->number, ns, VMLAT_STAGE_TAP_OUT,
			     VMLAT_HOOK_NET_DEV_START_XMIT);
	return 0;
}

/* The device took this skb, which may be where its flight ends. */
static __always_inline void skb_taken(struct cpu_state *cpu, struct vmlat_flight *flight, __u64 key)
{
	__u32 role = cpu->driving_role;
	bool end = cpu->driving_interface != VMLAT_INTERFACE_NONE;

	if (end && flight->direction == VMLAT_RX && !is_part(role) && !is_segment(flight, role))
		count_traffic(cpu->driving_interface, VMLAT_RX, flight->length);
	if (end && flight->direction == VMLAT_RX && !cpu->driving_seen)
		visit_tap_unseen(flight->slot);
	skb_done(cpu, flight, role, key, end ? VMLAT_COMPLETED : VMLAT_DIVERTED);
}

/* Back into the queue. A segment is found by its number again. */
static __always_inline void skb_requeued(struct cpu_state *cpu, struct vmlat_flight *flight,
					 __u64 key)
{
	__u32 role = cpu->driving_role;

	cpu->driving_skb = 0;
	if (role == ROLE_ORIGINAL) {
		flight->place = VMLAT_ON_CPU;
		publish_flight(flight->slot);
	} else if (!is_segment(flight, role)) {
		insert_carrier(key, flight, role);
	}
}

/* The driver's answer. The skb may be freed by now. */
static __noinline int flight_sent(struct cpu_state *cpu, __u64 key, int result)
{
	enum { SENT = 0, BUSY = 0x10 };
	struct vmlat_flight *flight;

	if (cpu->lane.key == key) {
		if (result == SENT && lane_is_taken(cpu))
			return 0;
		leave_lane(LANE_MET);
		if (cpu->driving_skb != key)
			return 0;
	}
	flight = flight_of(&cpu->driving);
	if (!flight)
		cpu->driving_skb = 0;
	else if (result == SENT)
		skb_taken(cpu, flight, key);
	else if (result == BUSY)
		skb_requeued(cpu, flight, key);
	else
		skb_done(cpu, flight, cpu->driving_role, key, VMLAT_DROPPED);
	return 0;
}

static __always_inline int packet_sent(__u64 key, int result)
{
	struct cpu_state *cpu = this_cpu();

	return cpu->lane.key == key || cpu->driving_skb == key ? flight_sent(cpu, key, result) : 0;
}

#endif
