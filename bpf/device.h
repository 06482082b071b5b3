/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet leaves by a device: its queue, its driver, its answer. */
#ifndef VMLAT_DEVICE_H
#define VMLAT_DEVICE_H

/*
 * The first queue's qdisc may hand the packet to another CPU. It has no enqueue function when it
 * is noqueue; and a locked one tells of each packet that it keeps, before any CPU can take it
 * (qdisc:qdisc_enqueue under the root lock, 5.15; until 6.19, when a CPU may enqueue for another).
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

static __always_inline int packet_queued(void *ctx, const struct sk_buff *skb, bool direct)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = find_flight(cpu, (__u64)skb);
	if (!flight || flight->candidate || flight->carrier != (__u64)skb ||
	    !still_carrier(cpu, flight, skb))
		return 0;
	if (flight->direction == VMLAT_TX)
		visit(ctx, cpu, flight, VMLAT_STAGE_XMIT, VMLAT_HOOK_DEV_QUEUE_XMIT,
		      bpf_ktime_get_ns());
	if (may_change_cpu(skb, direct))
		publish_flight(cpu, flight);
	return 0;
}

/* It stays in the qdisc, and so leaves this call stack. */
static __always_inline int packet_kept(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight = cpu ? current_flight(cpu) : NULL;

	if (flight && !flight->candidate && flight->carrier == (__u64)skb)
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
	interface = selected_interface(config, device, true);
	end = interface && ends_here(flight, interface->roles);
	if (!end && transmit_function(device, true) != features.tun_net_xmit) {
		if (carrier)
			flight_leaves(cpu, flight, VMLAT_TO_DEVICE);
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
		flight->cpu = cpu->number;
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

	if (cpu->driving_skb == skb)
		cpu->driving_skb = 0;
	if (flight->place == VMLAT_CUT) {
		segment_done(cpu, flight, outcome, ns);
		return;
	}
	exit = open_exit(flight, skb);
	if (exit)
		close_exit(exit, outcome,
			   ns			    ? ns
			   : flight->carrier == skb ? flight->last_ns
						    : exit->ns);
	if (flight->carrier == skb) {
		end_flight(cpu, flight, outcome, ns);
	} else {
		remove_carrier(skb);
		end_shared(cpu, flight, false);
	}
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

/* Back into the queue. A segment is found by its number again. */
static __always_inline void skb_requeued(struct cpu_state *cpu, struct vmlat_flight *flight,
					 __u64 skb)
{
	cpu->driving_skb = 0;
	if (flight->place == VMLAT_CUT)
		return;
	if (flight->carrier == skb) {
		flight->place = VMLAT_ON_CPU;
		publish_flight(cpu, flight);
	} else {
		insert_carrier(skb, flight);
	}
}

/* The driver's answer. */
static __always_inline int packet_sent(__u64 skb, int result)
{
	enum { SENT = 0, BUSY = 0x10 };
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu || cpu->driving_skb != skb)
		return 0;
	flight = flight_of(&cpu->driving);
	if (!flight) {
		cpu->driving_skb = 0;
		return 0;
	}
	if (result == SENT)
		skb_taken(cpu, flight, skb);
	else if (result == BUSY)
		skb_requeued(cpu, flight, skb);
	else
		skb_done(cpu, flight, skb, VMLAT_DROPPED, bpf_ktime_get_ns());
	return 0;
}

#endif
