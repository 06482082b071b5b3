/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A GSO packet for a device that cannot cut it is cut in software (validate_xmit_skb, or a
 * qdisc): new skbs with buffers of their own, and the packet is consumed. Its segments are found
 * by flow and number, each of which is known in advance. The exit that it leaves by is done
 * with the last of them.
 */
#ifndef VMLAT_SEGMENTS_H
#define VMLAT_SEGMENTS_H

enum {
	KEYS_AT_ONCE = 32,
	SEGMENTS = 128, /* followed at most; a 64 KiB packet at an MSS of 536 has 122 */
	EEXIST = 17,
	E2BIG = 7,
};

static __always_inline const struct skb_shared_info *shared_info(const struct sk_buff *skb)
{
	/* `end` is an offset on 64-bit machines (NET_SKBUFF_DATA_USES_OFFSET) */
	return (void *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);
}

/* The size of the segments that it is to be cut into; 0: it is none of these packets. */
static __always_inline __u32 gso_size(const struct sk_buff *skb)
{
	const struct skb_shared_info *shared = shared_info(skb);

	return BPF_CORE_READ(shared, gso_size);
}

/* How many segments an skb that was cut out of a larger one stands for. */
static __always_inline __u32 segments_in(const struct sk_buff *skb)
{
	const struct skb_shared_info *shared = shared_info(skb);
	__u32 count = gso_size(skb) ? BPF_CORE_READ(shared, gso_segs) : 1;

	return count ? count : 1;
}

/* The addresses of the IP header there, and what follows it; false: it is none. */
static __always_inline bool read_addresses(struct segment *key, const __u8 *ip)
{
	__u8 version = 0, protocol = 0;
	__be16 id = 0;

	bpf_probe_read_kernel(&version, 1, ip);
	if (version >> 4 == 4) {
		bpf_probe_read_kernel(key->src, 4, ip + 12);
		bpf_probe_read_kernel(key->dst, 4, ip + 16);
		bpf_probe_read_kernel(&protocol, 1, ip + 9);
		bpf_probe_read_kernel(&id, 2, ip + 4);
	} else if (version >> 4 == 6) {
		bpf_probe_read_kernel(key->src, 16, ip + 8);
		bpf_probe_read_kernel(key->dst, 16, ip + 24);
		bpf_probe_read_kernel(&protocol, 1, ip + 6);
	}
	key->family = version >> 4;
	key->protocol = protocol;
	key->number = bpf_ntohs(id);
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP;
}

static __always_inline __u16 read_port(const __u8 *l4)
{
	__be16 port = 0;

	bpf_probe_read_kernel(&port, sizeof(port), l4);
	return bpf_ntohs(port);
}

/* Where the IP header in a VXLAN or Geneve packet is, from its UDP header on. */
static __always_inline __u32 inner_offset(const __u8 *udp)
{
	enum { UDP_HEADER = 8, VXLAN_HEADER = 8, ETHERNET_IN_GENEVE = 0x6558 };
	__u8 header[4] = {};

	bpf_probe_read_kernel(header, sizeof(header), udp + UDP_HEADER);
	if (get16(header + 2) == ETHERNET_IN_GENEVE) /* where VXLAN has zeros */
		return UDP_HEADER + 8 + (header[0] & 0x3f) * 4 + ETHERNET;
	return UDP_HEADER + VXLAN_HEADER + ETHERNET;
}

/*
 * Segments that were cut in a tunnel say where their inner headers are only if the device is to
 * complete their checksum (__skb_udp_tunnel_segment): the IP header that counts, and what
 * follows it.
 */
static __always_inline const __u8 *look_inside(struct segment *key, const __u8 *l4)
{
	const __u8 *ip;
	__u8 version = 0;

	if (!features.tunnels || key->protocol != PROTOCOL_UDP ||
	    !is_tunnel_port(&settings, read_port(l4 + 2)))
		return l4;
	ip = l4 + inner_offset(l4);
	__builtin_memset(key, 0, sizeof(*key));
	if (!read_addresses(key, ip))
		return l4;
	bpf_probe_read_kernel(&version, 1, ip);
	return ip + (key->family == 4 ? (version & 15) * 4 : 40);
}

/*
 * What the skb is known by as a segment, without its device, and where its payload begins, from
 * skb->data on; 0: it is none. In a tunnel it is the inner headers that count: a packet that was
 * cut has them in the place of the outer ones by then.
 */
static __always_inline __u32 read_segment(const struct sk_buff *skb, struct segment *key)
{
	bool inner = BPF_CORE_READ_BITFIELD_PROBED(skb, encapsulation);
	__u16 network = inner ? BPF_CORE_READ(skb, inner_network_header)
			      : BPF_CORE_READ(skb, network_header);
	__u16 transport = inner ? BPF_CORE_READ(skb, inner_transport_header)
				: BPF_CORE_READ(skb, transport_header);
	const __u8 *head = BPF_CORE_READ(skb, head), *l4 = head + transport;
	__u32 header = 8;
	__u8 offset = 0;
	__be32 seq = 0;

	__builtin_memset(key, 0, sizeof(*key));
	if (!read_addresses(key, head + network))
		return 0;
	if (!inner)
		l4 = look_inside(key, l4);
	key->src_port = read_port(l4);
	key->dst_port = read_port(l4 + 2);
	if (key->protocol == PROTOCOL_TCP) {
		bpf_probe_read_kernel(&seq, 4, l4 + 4);
		key->number = bpf_ntohl(seq);
		bpf_probe_read_kernel(&offset, 1, l4 + 12);
		header = (offset >> 4) * 4;
	}
	return l4 - (__u8 *)BPF_CORE_READ(skb, data) + header;
}

/* From the number of one segment to that of the next. */
static __always_inline __u32 segment_step(const struct segment *key, __u32 size)
{
	if (key->protocol == PROTOCOL_TCP)
		return size;
	return key->family == 4 ? 1 : 0; /* UDP in IPv6 has no number: its segments share one key */
}

/* The segments that leave by this exit. */
static __always_inline struct cut *cut_at(struct flight_slot *slot, __u64 exit)
{
	barrier_var(exit);
	if (exit >= VMLAT_EXITS)
		return NULL;
	barrier_var(exit);
	return &slot->cut[exit];
}

/*
 * Takes away some of the `count` keys of that exit, from number `first` on; 1 for the caller that
 * took that one.
 */
static __always_inline int take_keys(const struct flight_slot *slot, const struct cut *cut,
				     __u32 first, __u32 count)
{
	struct segment key;
	int won;

	if (first >= count)
		return 0;
	count -= first;
	key = slot->segment;
	key.device = cut->device;
	key.number += first * slot->segment_step;
	won = !bpf_map_delete_elem(&segments, &key);
	for (__u32 i = 1; i < KEYS_AT_ONCE && i < count; i++) {
		key.number += slot->segment_step;
		bpf_map_delete_elem(&segments, &key);
	}
	return won;
}

GLOBAL int remove_some_keys(__u32 index, __u32 exit, __u32 first, __u32 count)
{
	struct flight_slot *slot = slot_at(index);
	const struct cut *cut = slot ? cut_at(slot, exit) : NULL;

	return cut ? take_keys(slot, cut, first, count) : 0;
}

/* Takes away the first `count` keys of that exit; 1 for the caller that took the first of them. */
GLOBAL int remove_keys(__u32 index, __u32 exit, __u32 count)
{
	int won = remove_some_keys(index, exit, 0, count);

	for (__u32 i = KEYS_AT_ONCE; i < SEGMENTS && i < count; i += KEYS_AT_ONCE)
		remove_some_keys(index, exit, i, count);
	return won;
}

/* True for the caller that took the segments of that exit away. */
static __always_inline bool remove_segments(__u32 slot, __u32 index, __u32 count)
{
	if (!remove_keys(slot, index, count))
		return false;
	__sync_fetch_and_add(&known.cuts, -1);
	return true;
}

_Static_assert(FORGETTINGS *KEYS_AT_ONCE == SEGMENTS, "an exit's segments are all forgotten");

/* A part of what the open exits have, FORGETTINGS for each exit, is found no more. */
GLOBAL int forget_copy(__u32 index, __u32 n)
{
	struct flight_slot *slot = slot_at(index);
	__u32 number = n / FORGETTINGS, first = n % FORGETTINGS * KEYS_AT_ONCE;
	struct vmlat_exit *exit = slot ? exit_at(&slot->flight, number) : NULL;
	const struct cut *cut = exit ? cut_at(slot, number) : NULL;

	if (!cut || exit->closed || !exit->skb) /* a part's has no skb, and no keys */
		return 0;
	if (!exit->segments) {
		if (!first)
			remove_carrier(exit->skb);
	} else if (take_keys(slot, cut, first, exit->segments) && !first) {
		__sync_fetch_and_add(&known.cuts, -1);
	}
	return 0;
}

/* A key for each segment of that exit, or one that they share. 0 or -errno, and then none. */
GLOBAL int add_keys(__u32 index, __u32 exit)
{
	struct flight_slot *slot = slot_at(index);
	const struct cut *cut = slot ? cut_at(slot, exit) : NULL;
	struct carrier carrier = { .role = exit };
	struct segment key;
	__u32 count;
	int error = 0;

	if (!cut)
		return -E2BIG;
	carrier.flight = ref_of(&slot->flight);
	key = slot->segment;
	key.device = cut->device;
	count = slot->segment_step ? slot->segment_count : 1;
	if (count > SEGMENTS)
		return -E2BIG;
	for (__u32 i = 0; i < SEGMENTS && i < count; i++) {
		error = bpf_map_update_elem(&segments, &key, &carrier, BPF_NOEXIST);
		if (error) {
			remove_keys(index, exit, i);
			return error;
		}
		key.number += slot->segment_step;
	}
	return 0;
}

/* A second exit is followed if its packet was cut in the same way as the first one's. */
static __always_inline bool same_segments(const struct flight_slot *slot, const struct segment *key,
					  __u32 count)
{
	const struct segment *known = &slot->segment;

	for (int i = 0; i < 4; i++)
		if (known->src[i] != key->src[i] || known->dst[i] != key->dst[i])
			return false;
	return known->number == key->number && known->src_port == key->src_port &&
	       known->dst_port == key->dst_port && known->protocol == key->protocol &&
	       slot->segment_count == count;
}

/*
 * Let this exit be that of the packet's segments, which have the key, and their payload behind so
 * many bytes. 0 or -errno.
 */
static __always_inline int follow_segments(struct flight_slot *slot, __u32 index,
					   const struct sk_buff *skb, const struct segment *key,
					   __u32 headers)
{
	struct vmlat_exit *exit = exit_at(&slot->flight, index);
	__u32 payload, count, size = gso_size(skb);
	struct cut *cut = cut_at(slot, index);
	int error;

	if (!exit || !cut || !size)
		return -E2BIG;
	payload = BPF_CORE_READ(skb, len) - headers;
	count = (payload + size - 1) / size;
	if (!slot->flight.cut) {
		slot->segment = *key;
		slot->segment_count = count;
		slot->segment_step = segment_step(key, size);
	} else if (!same_segments(slot, key, count)) {
		return -E2BIG;
	}
	cut->device = (__u64)BPF_CORE_READ(skb, dev);
	cut->done = 0;
	cut->lost = 0;
	exit->device.ifindex = BPF_CORE_READ(skb, dev, ifindex);
	exit->device.netns = BPF_CORE_READ(skb, dev, nd_net.net, ns.inum);
	__sync_fetch_and_add(&known.cuts, 1); /* before anybody can take them away */
	error = add_keys(slot->flight.slot, index);
	if (error) {
		__sync_fetch_and_add(&known.cuts, -1);
		return error;
	}
	slot->flight.cut++;
	exit->segments = count;
	return 0;
}

/* As read_segment, of what was cut. */
static __always_inline __u32 read_cut(const struct sk_buff *skb, struct segment *key)
{
	return gso_size(skb) ? read_segment(skb, key) : 0;
}

/* Segments of the same numbers are on their way already, or there is no room for these. */
static __always_inline enum vmlat_outcome not_followed(int error)
{
	return error == -EEXIST ? VMLAT_AMBIGUOUS : VMLAT_EVICTED;
}

/* The flight's packet is no more: from now on its segments are. */
static __always_inline int go_on_in_segments(struct flight_slot *slot, const struct sk_buff *skb,
					     const struct segment *key, __u32 headers)
{
	struct vmlat_flight *flight = &slot->flight;
	__u32 index = exit_of(flight, flight->carrier);
	struct vmlat_exit *exit = exit_at(flight, index);
	int error = follow_segments(slot, index, skb, key, headers);

	if (!error && exit) {
		flight->segments = exit->segments;
		return 0;
	}
	flight->outcome = not_followed(error);
	if (exit)
		close_exit(exit, flight->outcome, flight->last_ns);
	return end_shared(flight->slot, VMLAT_OUTCOME_COUNT);
}

/* The packet is consumed, and 1: because it was cut. */
GLOBAL int original_is_cut(__u32 index, __u64 address)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct flight_slot *slot = slot_at(index);
	struct cpu_state *cpu = this_cpu();
	struct segment key;
	__u32 headers;

	if (!slot)
		return 0;
	headers = read_cut(skb, &key);
	if (!headers || !take_flight(cpu, &slot->flight))
		return 0;
	give_slot_away(cpu, &slot->flight);
	slot->flight.outcome = VMLAT_OUTCOME_COUNT;
	if (!slot->flight.shared && !insert_token(&slot->flight)) {
		slot->flight.outcome = VMLAT_EVICTED;
		finish_flight(slot->flight.slot);
		return 1;
	}
	slot->flight.shared = 1;
	slot->flight.place = VMLAT_LEAVING;
	go_on_in_segments(slot, skb, &key, headers);
	return 1;
}

/* The same of a copy. */
GLOBAL int copy_is_cut(__u32 index, __u32 role, __u64 address)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct flight_slot *slot = slot_at(index);
	struct vmlat_exit *exit = slot ? exit_at(&slot->flight, role) : NULL;
	struct segment key;
	__u32 headers;
	int error;

	if (!exit || exit->segments)
		return 0;
	headers = read_cut(skb, &key);
	if (!headers || !remove_carrier(exit->skb))
		return 0;
	error = follow_segments(slot, role, skb, &key, headers);
	if (error) {
		close_exit(exit, not_followed(error), bpf_ktime_get_ns());
		end_shared(index, VMLAT_OUTCOME_COUNT);
	}
	return 1;
}

/*
 * The slot of the flight that this skb is a segment of, with the index of its exit in the upper
 * half; -1: it is none. What a packet socket gets of an outgoing segment is none
 * (dev_queue_xmit_nit marks it so).
 */
GLOBAL __u64 look_up_segment(__u64 address)
{
	enum { OUTGOING = 4 }; /* PACKET_OUTGOING */
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct carrier *carrier;
	struct segment key;

	if (BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type) == OUTGOING || !read_segment(skb, &key))
		return -1;
	key.device = (__u64)BPF_CORE_READ(skb, dev);
	carrier = bpf_map_lookup_elem(&segments, &key);
	if (!carrier || !flight_of(&carrier->flight))
		return -1;
	return (__u64)carrier->role << 32 | carrier->flight.slot;
}

static __always_inline struct vmlat_flight *find_segment(struct cpu_state *cpu,
							 const struct sk_buff *skb, __u32 *index)
{
	__u64 found;

	if (!known.cuts)
		return NULL;
	found = look_up_segment(number_of(cpu, (__u64)skb));
	*index = found >> 32;
	if (found == (__u64)-1)
		return NULL;
	cpu->driving_segments = segments_in(skb);
	return flight_at(found);
}

/*
 * An skb of `count` segments is done, at `ns`. With the last its exit is, dropped when any of
 * them was. Where the device cuts the inner packets itself (GSO_PARTIAL), one skb has several.
 */
GLOBAL int segment_done(__u32 index, __u32 role, __u32 outcome, __u32 count, __u64 ns)
{
	struct flight_slot *slot = slot_at(index);
	struct vmlat_exit *exit = slot ? exit_at(&slot->flight, role) : NULL;
	struct cut *cut = exit ? cut_at(slot, role) : NULL;
	struct cpu_state *cpu = this_cpu();

	if (!cut)
		return 0;
	/* on several CPUs, perhaps: each may see them all done, one removes the keys */
	if (outcome == VMLAT_DROPPED)
		__sync_fetch_and_add(&cut->lost, count);
	__sync_fetch_and_add(&cut->done, count);
	if (cut->done < exit->segments || !remove_segments(index, role, exit->segments))
		return 0;
	exit->segments_lost = cut->lost;
	close_exit(exit, cut->lost ? VMLAT_DROPPED : outcome, ns ? ns : exit->ns);
	if (exit->outcome == VMLAT_COMPLETED && slot->flight.direction == VMLAT_RX)
		count_traffic(cpu->driving_interface, VMLAT_RX, slot->flight.length);
	if (exit->skb == slot->flight.carrier) {
		slot->flight.outcome = exit->outcome;
		slot->flight.segments_lost = exit->segments_lost;
		slot->flight.last_ns = exit->ns;
	}
	return end_shared(index, VMLAT_OUTCOME_COUNT);
}

#endif
