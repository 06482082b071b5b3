/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An skb is freed, which may be the end of a packet on its way. */
#ifndef VMLAT_FREE_H
#define VMLAT_FREE_H

/* kfree_skb: its location and reason are the flight's when it carried the packet, or some of it. */
static __always_inline int packet_dropped(const struct sk_buff *skb, __u64 location, __u32 reason,
					  bool has_reason)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u32 role;

	if (!cpu || is_idle(cpu))
		return 0;
	flight = flight_of_skb(cpu, skb, &role);
	if (!flight)
		flight = find_segment(cpu, skb, &role);
	if (!flight)
		return 0;
	if (role == ROLE_ORIGINAL || role == ROLE_PART || is_segment(flight, role)) {
		flight->location = location;
		flight->reason = reason;
		flight->has_reason = has_reason;
	}
	skb_done(cpu, flight, role, key_of(skb), VMLAT_DROPPED);
	return 0;
}

/* It has left the datapath, though the hook that tells so is missing. */
static __always_inline bool left_untold(const struct sk_buff *skb)
{
	/* to the host, whose stack has pulled the MAC header, which is there in the datapath */
	if (!is_attached(VMLAT_HOOK_OVS_VPORT_SEND) &&
	    BPF_CORE_READ(skb, data) - BPF_CORE_READ(skb, head) != BPF_CORE_READ(skb, mac_header))
		return true;
	/* up to user space in parts, which are new skbs */
	return !is_attached(VMLAT_HOOK_OVS_DP_UPCALL) && gso_size(skb);
}

/* What it means that the packet is consumed, which is no loss to the kernel. */
static __always_inline enum vmlat_outcome consumed_outcome(const struct vmlat_flight *flight,
							   const struct sk_buff *skb)
{
	/* an OVS drop is a consume_skb before 6.6, a kfree_skb with a reason since */
	return flight->undirected && !left_untold(skb) ? VMLAT_DROPPED : VMLAT_DIVERTED;
}

/* The packet goes on without this skb: as its segments, or as its copy for user space. */
static __always_inline bool goes_on(void *ctx, struct cpu_state *cpu, struct vmlat_flight *flight,
				    __u32 role, const struct sk_buff *skb)
{
	if (role < VMLAT_EXITS)
		return copy_is_cut(flight->slot, role, number_of(cpu, (__u64)skb));
	if (role != ROLE_ORIGINAL || flight->candidate)
		return false;
	if (flight->undirected)
		return flight->sent_up && copy_is_the_packet(ctx, cpu, flight);
	return !flight->left && original_is_cut(flight->slot, number_of(cpu, (__u64)skb));
}

static __always_inline int packet_consumed(void *ctx, const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u32 role;

	if (!cpu || is_idle(cpu))
		return 0;
	flight = flight_of_skb(cpu, skb, &role);
	if (!flight)
		return 0;
	if (cpu->driving_skb == key_of(skb))
		skb_taken(cpu, flight, key_of(skb));
	else if (!goes_on(ctx, cpu, flight, role, skb))
		skb_done(cpu, flight, role, key_of(skb),
			 role == ROLE_ORIGINAL || role == ROLE_PART ? consumed_outcome(flight, skb)
								    : VMLAT_DIVERTED);
	return 0;
}

#endif
