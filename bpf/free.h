/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An skb is freed, which may be the end of a packet on its way. */
#ifndef VMLAT_FREE_H
#define VMLAT_FREE_H

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
