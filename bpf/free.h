/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An skb is freed, which may be the end of a packet on its way. */
#ifndef VMLAT_FREE_H
#define VMLAT_FREE_H

/* What is in the lane is freed there: the driver took it, or it never came to a switch. */
static __always_inline bool ends_in_lane(struct cpu_state *cpu)
{
	if (!cpu->lane.candidate)
		return lane_is_taken(cpu);
	cpu->lane.key = 0;
	return true;
}

/* kfree_skb: its location and reason are the flight's when it carried the packet, or some of it. */
static __noinline int flight_dropped(struct cpu_state *cpu, const struct sk_buff *skb,
				     __u64 location, __u32 reason, bool has_reason)
{
	struct vmlat_flight *flight;
	__u32 role, driving;

	driving = cpu->driving_segments;
	flight = flight_of_skb(cpu, skb, &role);
	if (!flight)
		flight = find_segment(cpu, skb, &role);
	else if (cpu->driving_skb != key_of(skb))
		cpu->driving_segments = 1;
	if (!flight)
		return 0;
	forget_head(role, skb);
	if (role == ROLE_ORIGINAL || role == ROLE_PART || is_segment(flight, role)) {
		flight->location = location;
		flight->reason = reason;
		flight->has_reason = has_reason;
	}
	skb_done(cpu, flight, role, key_of(skb), VMLAT_DROPPED);
	cpu->driving_segments = driving;
	return 0;
}

static __always_inline int packet_dropped(const struct sk_buff *skb, __u64 location, __u32 reason,
					  bool has_reason)
{
	struct cpu_state *cpu = this_cpu();

	if (in_lane(cpu, skb) && cpu->lane.candidate)
		cpu->lane.key = 0;
	return is_nobodys(cpu, skb) ? 0 : flight_dropped(cpu, skb, location, reason, has_reason);
}

/* A fragment that was joined with others, though the hook of the reassembly is missing. */
static __always_inline bool joined_untold(const struct vmlat_flight *flight)
{
	if (!flight->flow.fragment)
		return false;
	return flight->flow.family == 6 ? !is_attached(VMLAT_HOOK_NF_CT_FRAG6_GATHER)
					: !is_attached(VMLAT_HOOK_IP_DEFRAG);
}

/* It has left the datapath, though the hook that tells so is missing. */
static __always_inline bool left_untold(const struct vmlat_flight *flight,
					const struct sk_buff *skb)
{
	if (joined_untold(flight))
		return true;

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
	return flight->undirected && !left_untold(flight, skb) ? VMLAT_DROPPED : VMLAT_DIVERTED;
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

/* One that this CPU does not drive. */
static __always_inline void skb_consumed(struct cpu_state *cpu, struct vmlat_flight *flight,
					 __u32 role, const struct sk_buff *skb)
{
	__u32 driving = cpu->driving_segments;
	bool packet = role == ROLE_ORIGINAL || role == ROLE_PART;

	cpu->driving_segments = 1;
	forget_head(role, skb);
	skb_done(cpu, flight, role, key_of(skb),
		 packet ? consumed_outcome(flight, skb) : VMLAT_DIVERTED);
	cpu->driving_segments = driving;
}

static __noinline int flight_consumed(void *ctx, struct cpu_state *cpu, const struct sk_buff *skb)
{
	struct vmlat_flight *flight;
	__u32 role;

	flight = flight_of_skb(cpu, skb, &role);
	if (!flight)
		return 0;
	if (cpu->driving_skb == key_of(skb))
		skb_taken(cpu, flight, key_of(skb));
	else if (!goes_on(ctx, cpu, flight, role, skb))
		skb_consumed(cpu, flight, role, skb);
	return 0;
}

static __always_inline int packet_consumed(void *ctx, const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();

	if ((in_lane(cpu, skb) && ends_in_lane(cpu)) || is_nobodys(cpu, skb))
		return 0;
	return flight_consumed(ctx, cpu, skb);
}

#endif
