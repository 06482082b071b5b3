/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An skb is freed, which may be the end of a packet on its way. */
#ifndef VMLAT_FREE_H
#define VMLAT_FREE_H

/* The flight that the skb belongs to, or NULL. A candidate is forgotten with its skb. */
static __always_inline struct vmlat_flight *freed_flight(struct cpu_state *cpu,
							 const struct sk_buff *skb)
{
	struct vmlat_flight *flight = find_flight(cpu, (__u64)skb);

	if (flight && flight->candidate) {
		flight->place = VMLAT_FREE;
		return NULL;
	}
	return flight;
}

/* kfree_skb: its location and reason are the flight's when it was the carrier, or a segment. */
static __always_inline int packet_dropped(const struct sk_buff *skb, __u64 location, __u32 reason,
					  bool has_reason)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu)
		return 0;
	flight = freed_flight(cpu, skb);
	if (!flight)
		flight = find_cut_flight(cpu, skb);
	if (!flight)
		return 0;
	if (flight->carrier == (__u64)skb || flight->place == VMLAT_CUT) {
		flight->location = location;
		flight->reason = reason;
		flight->has_reason = has_reason;
	}
	skb_done(cpu, flight, (__u64)skb, VMLAT_DROPPED, bpf_ktime_get_ns());
	return 0;
}

/* What it means that the carrier is consumed, which is no loss to the kernel. */
static __always_inline enum vmlat_outcome consumed_outcome(const struct vmlat_flight *flight)
{
	/* an OVS drop is a consume_skb before 6.6, a kfree_skb with a reason since */
	return flight->undirected ? VMLAT_DROPPED : VMLAT_DIVERTED;
}

static __always_inline int packet_consumed(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	enum vmlat_outcome outcome = VMLAT_DIVERTED;
	struct vmlat_flight *flight = cpu ? freed_flight(cpu, skb) : NULL;

	if (!flight)
		return 0;
	if (cpu->driving_skb == (__u64)skb) {
		skb_taken(cpu, flight, (__u64)skb);
		return 0;
	}
	if (flight->carrier == (__u64)skb) {
		outcome = consumed_outcome(flight);
		if (!flight->left && outcome == VMLAT_DIVERTED && flight_is_cut(cpu, flight, skb))
			return 0;
	}
	skb_done(cpu, flight, (__u64)skb, outcome, bpf_ktime_get_ns());
	return 0;
}

#endif
