/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A GSO packet for a device that cannot cut it is cut in software (validate_xmit_skb, or a
 * qdisc): new skbs with buffers of their own, and the original is consumed. Its segments are
 * found by flow and sequence number, each of which is known in advance. The flight ends with
 * the last of them.
 */
#ifndef VMLAT_SEGMENTS_H
#define VMLAT_SEGMENTS_H

enum {
	SEGMENTS = 128, /* followed at most; a 64 KiB packet at an MSS of 536 has 122 */
	EEXIST = 17,
	E2BIG = 7,
};

static __always_inline void segment_of(const struct vmlat_flow *flow, struct segment *segment)
{
	__builtin_memset(segment, 0, sizeof(*segment));
	__builtin_memcpy(segment->src, flow->src, sizeof(segment->src));
	__builtin_memcpy(segment->dst, flow->dst, sizeof(segment->dst));
	segment->src_port = flow->src_port;
	segment->dst_port = flow->dst_port;
	segment->protocol = flow->protocol;
	if (flow->protocol == PROTOCOL_TCP)
		segment->tcp_seq = flow->tcp_seq;
}

/* The size of the segments that it is to be cut into; 0: it is none of these packets. */
static __always_inline __u32 gso_size(const struct sk_buff *skb)
{
	/* `end` is an offset on 64-bit machines (NET_SKBUFF_DATA_USES_OFFSET) */
	const struct skb_shared_info *shared =
		(void *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);

	return BPF_CORE_READ(shared, gso_size);
}

static __always_inline void remove_segments(const struct flight_slot *slot, __u32 count)
{
	struct segment key = slot->segment;

	for (__u32 i = 0; i < SEGMENTS && i < count; i++) {
		bpf_map_delete_elem(&segments, &key);
		key.tcp_seq += slot->segment_bytes;
	}
}

/* A key for each segment; UDP's have but one, which they share. 0 or -errno, and then none. */
static __always_inline int add_segments(const struct flight_slot *slot)
{
	struct flight_ref ref = ref_of(&slot->flight);
	struct segment key = slot->segment;
	__u32 count = key.protocol == PROTOCOL_TCP ? slot->flight.segments : 1;

	if (count > SEGMENTS)
		return -E2BIG;
	for (__u32 i = 0; i < SEGMENTS && i < count; i++) {
		int error = bpf_map_update_elem(&segments, &key, &ref, BPF_NOEXIST);

		if (error) {
			remove_segments(slot, i);
			return error;
		}
		key.tcp_seq += slot->segment_bytes;
	}
	return 0;
}

/*
 * The carrier is consumed, and that was GSO: from now on its segments are the flight. False
 * when it was not.
 */
static __noinline bool flight_is_cut(struct cpu_state *cpu, struct vmlat_flight *flight,
				     const struct sk_buff *skb)
{
	struct flight_slot *slot = slot_at(flight->slot);
	__u32 bytes = gso_size(skb), l3, payload;
	struct flight_ref ref = ref_of(flight);
	struct cursor c;
	__u8 one = 1;
	int error;

	if (!bytes || !slot || flight->shared ||
	    !read_ethernet(skb, cpu->packet, &cpu->flow, &c, &l3) || !c.l4_size ||
	    c.ip_end <= c.at + c.l4_size || !take_flight(cpu, flight))
		return false;
	give_slot_away(cpu, flight);
	payload = c.ip_end - c.at - c.l4_size;
	flight->segments = (payload + bytes - 1) / bytes;
	flight->place = VMLAT_CUT;
	segment_of(&cpu->flow, &slot->segment);
	slot->segment_bytes = bytes;
	slot->segments_done = 0;
	slot->segments_lost = 0;
	__sync_fetch_and_add(&cut, 1);
	error = bpf_map_update_elem(&shared_flights, &ref, &one, BPF_ANY);
	if (!error)
		error = add_segments(slot);
	if (!error)
		return true;
	bpf_map_delete_elem(&shared_flights, &ref);
	__sync_fetch_and_add(&cut, -1);
	/* segments of the same numbers are on their way already, or there is no room for these */
	flight->outcome = error == -EEXIST ? VMLAT_AMBIGUOUS : VMLAT_EVICTED;
	finish_flight(cpu, flight);
	return true;
}

/* The flight that this skb is a segment of, or NULL. */
static __noinline struct vmlat_flight *find_cut_flight(struct cpu_state *cpu,
						       const struct sk_buff *skb)
{
	struct flight_ref *ref;
	struct segment key;
	struct cursor c;
	__u32 l3;

	if (!cut || !read_ethernet(skb, cpu->packet, &cpu->flow, &c, &l3) || !c.l4_size)
		return NULL;
	segment_of(&cpu->flow, &key);
	ref = bpf_map_lookup_elem(&segments, &key);
	return ref ? flight_of(ref) : NULL;
}

/* Take a cut flight out of its place: true for the one caller that did. */
static __always_inline bool take_cut(struct vmlat_flight *flight)
{
	struct flight_ref ref = ref_of(flight);
	struct flight_slot *slot = slot_at(flight->slot);

	if (!slot || bpf_map_delete_elem(&shared_flights, &ref))
		return false;
	__sync_fetch_and_add(&cut, -1);
	remove_segments(slot, flight->segments);
	return true;
}

/* One segment is done; the last ends the flight, dropped when any was. */
static __noinline int segment_done(struct cpu_state *cpu, struct vmlat_flight *flight,
				   enum vmlat_outcome outcome, __u64 ns)
{
	struct flight_slot *slot = slot_at(flight->slot);
	struct vmlat_exit *exit;

	if (!slot)
		return 0;
	/* on several CPUs, perhaps: whoever sees them all done may end it, the first does */
	if (outcome == VMLAT_DROPPED)
		__sync_fetch_and_add(&slot->segments_lost, 1);
	__sync_fetch_and_add(&slot->segments_done, 1);
	if (slot->segments_done < flight->segments || !take_cut(flight))
		return 0;
	flight->outcome = slot->segments_lost ? VMLAT_DROPPED : outcome;
	if (ns)
		flight->last_ns = ns;
	exit = open_exit(flight, flight->carrier);
	if (exit)
		close_exit(exit, flight->outcome, flight->last_ns);
	if (flight->direction == VMLAT_RX && flight->outcome == VMLAT_COMPLETED)
		count_traffic(cpu->driving_interface, VMLAT_RX, flight->length);
	return finish_flight(cpu, flight);
}

#endif
