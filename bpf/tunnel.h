/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RX in a tunnel of this host (VXLAN, Geneve, GRE): what a NIC receives is the outer packet, and
 * stays a candidate until gro_cells_receive gets it unpacked. Flow and filter are the inner
 * packet's. From there it goes through GRO, which may join it to another one.
 */
#ifndef VMLAT_TUNNEL_H
#define VMLAT_TUNNEL_H

/* As end_flight, of what was none: the filter does not want it. */
static __always_inline void forget_candidate(struct vmlat_flight *flight)
{
	end_flight(flight->slot, VMLAT_DIVERTED, 0);
}

/* A candidate whose end is in sight, and that nobody has unpacked: the outer packet is the VM's own. */
static __always_inline bool starts_as_it_is(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	if (flight->passed) {
		count_start(cpu, flight);
		return true;
	}
	forget_candidate(flight);
	return false;
}

static __always_inline int packet_unpacked(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	enum vmlat_refusal refusal;
	struct vmlat_flight *flight;
	__u32 length, role;

	flight = find_flight(cpu, key_of(skb), &role);
	if (!flight || role != ROLE_ORIGINAL || flight->candidate != VMLAT_PACKED ||
	    !shares_buffer(flight, skb)) /* skb_iif is cleared by now (skb_scrub_packet) */
		return 0;
	refusal = examine(cpu, &settings, skb, false, &length);
	if (refusal != VMLAT_PASSED) {
		count_refusal(cpu, refusal);
		forget_candidate(flight);
		return 0;
	}
	flight->flow = cpu->scratch.flow;
	flight->length = length;
	flight->head = (__u64)BPF_CORE_READ(skb, head);
	flight->last_ns = bpf_ktime_get_ns();
	count_start(cpu, flight);
	/* what GRO frees, then, it frees without a word */
	flight->late = !is_attached(VMLAT_HOOK_NAPI_GRO_RECEIVE_ENTRY) ||
		       !is_attached(VMLAT_HOOK_NAPI_GRO_RECEIVE_EXIT);
	flight_leaves(flight, VMLAT_TO_DEVICE);
	if (BPF_CORE_READ(skb, dev, rx_handler))
		flight->left = VMLAT_HERE; /* to a switch, unless GRO joins it to another */
	return 0;
}

static __always_inline int gro_begins(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u32 role;

	if (!known.carriers)
		return 0;
	flight = published_flight(key_of(skb), &role);
	cpu->merging = flight && role == ROLE_ORIGINAL && !flight->candidate ? key_of(skb) : 0;
	return 0;
}

/* The skb is gone when it was merged: nothing of it is read. */
static __always_inline int gro_returns(int result)
{
	enum { MERGED = 0, MERGED_FREE = 1 }; /* GRO_MERGED, GRO_MERGED_FREE */
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u64 key;
	__u32 role;

	if (!cpu->merging)
		return 0;
	key = cpu->merging;
	cpu->merging = 0;
	if (result != MERGED && result != MERGED_FREE)
		return 0;
	flight = published_flight(key, &role);
	if (flight && role == ROLE_ORIGINAL)
		end_flight(flight->slot, VMLAT_MERGED, bpf_ktime_get_ns());
	return 0;
}

#endif
