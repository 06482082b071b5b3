/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A Linux bridge. br_handle_frame has the packet of a port; br_forward, br_flood or
 * br_multicast_flood where it goes to, or the host's own stack alone, when none of them is called.
 * To ports other than the last one go clones (deliver_clone); to the last one, too, when the host
 * gets the packet as well (local_rcv). br_dev_queue_push_xmit, behind netfilter, gives each to its
 * device.
 */
#ifndef VMLAT_BRIDGE_H
#define VMLAT_BRIDGE_H

/* `keeps`: the host gets this skb, and each port a copy; `one`: there is one port. */
static __always_inline int packet_forwarded(void *ctx, const struct sk_buff *skb,
					    enum vmlat_hook hook, bool keeps, bool one)
{
	struct cpu_state *cpu = this_cpu();

	cpu->keeping = keeps ? (__u64)skb : 0;
	cpu->keeping_one = one;
	return packet_in_switch(ctx, skb, VMLAT_STAGE_BRIDGE_FORWARD, hook);
}

/*
 * With a packet socket on the bridge itself (it is promiscuous then), the host gets everything. The
 * one copy that goes on is the packet, and what the host looks at is nobody's.
 */
static __always_inline struct vmlat_flight *kept_flight(struct cpu_state *cpu,
							const struct sk_buff *skb)
{
	struct vmlat_flight *flight = current_flight(cpu);

	if (!cpu->keeping || !cpu->keeping_one || !flight ||
	    flight->carrier != key_of((const struct sk_buff *)cpu->keeping) ||
	    !shares_buffer(flight, skb))
		return NULL;
	cpu->keeping = 0;
	flight->carrier = key_of(skb);
	return flight;
}

/* What the host keeps is a copy that another switch made: the first copy of it has its exit. */
static __noinline int kept_copy_leaves(struct cpu_state *cpu, const struct sk_buff *skb)
{
	const struct sk_buff *kept = (const struct sk_buff *)cpu->keeping;
	struct vmlat_flight *flight;
	struct vmlat_exit *exit;
	__u64 key = key_of(kept);
	__u32 role;

	flight = published_flight(key, &role);
	exit = flight ? exit_at(flight, role) : NULL;
	if (!exit || exit->segments || exit->skb != key ||
	    BPF_CORE_READ(kept, head) != BPF_CORE_READ(skb, head) || !remove_carrier(key))
		return 0;
	cpu->keeping = 0;
	exit->skb = key_of(skb);
	evict_stale(number_of(cpu, key_of(skb)));
	if (!insert_carrier(key_of(skb), flight, role))
		close_exit(exit, VMLAT_EVICTED, bpf_ktime_get_ns());
	return 1;
}

static __always_inline int packet_leaves_bridge(void *ctx, const struct sk_buff *skb, bool direct)
{
	const struct net_device *device = direct ? skb->dev : BPF_CORE_READ(skb, dev);
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u32 role;

	if ((in_lane(cpu, skb) && !cpu->lane.candidate &&
	     stamp(&cpu->lane, VMLAT_STAGE_BRIDGE_OUT, VMLAT_HOOK_BR_DEV_QUEUE_PUSH_XMIT)) ||
	    is_idle(cpu))
		return 0;
	flight = leaving_flight(cpu, skb, &role);
	if (!flight) {
		flight = kept_flight(cpu, skb);
		role = ROLE_ORIGINAL;
	}
	if (!flight) {
		if (!cpu->keeping || !kept_copy_leaves(cpu, skb))
			copy_leaves(cpu, skb, device, VMLAT_HOOK_BR_DEV_QUEUE_PUSH_XMIT);
		return 0;
	}
	if (role != ROLE_ORIGINAL && role != ROLE_PART)
		return 0;
	settle_flight(cpu, flight);
	return flight_leaves_by(ctx, cpu, flight, role, skb, device,
				VMLAT_HOOK_BR_DEV_QUEUE_PUSH_XMIT, false);
}

/*
 * The host alone gets the packet, and its only copy is on its way to another switch: by a device
 * where the trace does not end. From here on that is the packet; false: it is not so.
 */
static __always_inline bool copy_is_the_flight(struct flight_slot *slot)
{
	struct vmlat_flight *flight = &slot->flight;
	struct vmlat_exit *exit = &flight->exit[0];
	__u64 key = exit->skb;

	if (!flight->shared || flight->exits != 1 || flight->place != VMLAT_ON_CPU ||
	    exit->closed || exit->segments || !slot->way[0].beyond || key == flight->carrier ||
	    !remove_carrier(key))
		return false;
	take_token(flight);
	take_way(flight->slot, 0);
	flight->shared = 0;
	flight->exits = 0;
	flight->carrier = key;
	flight_leaves(flight, VMLAT_TO_DEVICE);
	return true;
}

/* net:netif_receive_skb of a bridge: the host's own stack gets the packet, or looks at it only. */
GLOBAL int packet_goes_up(__u64 address)
{
	enum { OTHER_HOST = 3 }; /* PACKET_OTHERHOST */
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	struct flight_slot *slot;
	__u32 role;

	flight = find_flight(cpu, key_of(skb), &role);
	if (!flight || role != ROLE_ORIGINAL || flight->candidate == VMLAT_CANDIDATE)
		return 0;
	slot = slot_at(flight->slot);
	if (slot && copy_is_the_flight(slot))
		return 0;
	if (flight->shared && BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type) != OTHER_HOST)
		original_leaves(flight, BPF_CORE_READ(skb, dev));
	flight_leaves(flight, VMLAT_TO_HOST);
	return 0;
}

#endif
