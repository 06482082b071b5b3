/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet that misses the flow table is copied to ovs-vswitchd and freed; what comes back is
 * a new skb (ovs_packet_cmd_execute). No address survives, so it is found by content: all
 * headers and the first payload bytes, and the input port. The copy has its VLAN tag inline
 * and its L4 checksum completed (queue_userspace_packet), so the tag counts wherever it stands
 * and the checksum does not count. Two with the same content on their way at once are
 * ambiguous, and are told as such.
 */
#ifndef VMLAT_UPCALL_H
#define VMLAT_UPCALL_H

enum { NETLINK_ATTRIBUTES = 32, NLA_HEADER = 4 };

static __always_inline void clear_checksum(struct content *content, __u32 at, __u8 protocol)
{
	at += protocol == PROTOCOL_TCP ? 16 : 6;
	if (at <= CONTENT_BYTES - 2) {
		content->bytes[at] = 0;
		content->bytes[at + 1] = 0;
	}
}

/*
 * The same value, of which the verifier knows nothing: from what it knows of the header sizes
 * 6.12 derives bounds that exclude each other, and then takes them for negative.
 */
static __always_inline __u32 forget_bounds(struct cpu_state *cpu, __u32 size)
{
	cpu->size = size;
	return cpu->size;
}

/*
 * cpu->content and cpu->flow of an skb whose data begins at the Ethernet header. A payload that
 * is not in the linear part is left out on the way up; `headers_only` does so on the way back.
 */
static __noinline bool read_content(struct cpu_state *cpu, const struct sk_buff *skb,
				    bool headers_only)
{
	struct content *content = &cpu->content;
	struct vmlat_flow *flow = &cpu->flow;
	__u32 length = BPF_CORE_READ(skb, len), linear = length - BPF_CORE_READ(skb, data_len);
	struct cursor c;
	__u32 l3, size;

	__builtin_memset(content, 0, sizeof(*content));
	if (!read_ethernet(skb, cpu->packet, flow, &c, &l3))
		return false;
	__builtin_memcpy(content->mac, cpu->packet, sizeof(content->mac));
	content->ethertype = c.ethertype;
	content->vlans = flow->vlans;
	content->vlan_tci[0] = flow->vlan_tci[0];
	content->vlan_tci[1] = flow->vlan_tci[1];
	content->length = length - l3;
	size = linear - l3;
	if (linear < length && size < CONTENT_BYTES)
		headers_only = true;
	if (headers_only) {
		content->headers_only = 1;
		size = c.at + c.l4_size - l3;
	}
	if (bpf_probe_read_kernel(content->bytes, at_most(forget_bounds(cpu, size), CONTENT_BYTES),
				  BPF_CORE_READ(skb, data) + l3))
		return false;
	if (flow->has_ports)
		clear_checksum(content, c.at - l3, flow->protocol);
	return true;
}

/* The port that user space says the packet came in by, from the nested KEY attribute. */
static __always_inline __u16 port_attribute(const struct nlattr *key)
{
	__u32 end = BPF_CORE_READ(key, nla_len), at = NLA_HEADER;

	for (int i = 0; i < NETLINK_ATTRIBUTES; i++) {
		struct nlattr attribute;
		__u32 port;

		if (at + NLA_HEADER > end ||
		    bpf_probe_read_kernel(&attribute, sizeof(attribute), (void *)key + at) ||
		    attribute.nla_len < NLA_HEADER)
			break;
		if (attribute.nla_type == OVS_KEY_ATTR_IN_PORT___vmlat) {
			bpf_probe_read_kernel(&port, sizeof(port), (void *)key + at + NLA_HEADER);
			return port;
		}
		at += (attribute.nla_len + 3) & ~3;
	}
	return 0;
}

/* The flight goes up: from now on it is found by content. */
static __always_inline void flight_goes_up(void *ctx, struct cpu_state *cpu,
					   struct vmlat_flight *flight, const struct sk_buff *skb,
					   __u16 in_port)
{
	struct flight_slot *slot = slot_at(flight->slot);
	struct upcall entry = { .flight = ref_of(flight) }, *other;

	visit(ctx, cpu, flight, VMLAT_STAGE_UPCALL, VMLAT_HOOK_OVS_DP_UPCALL, bpf_ktime_get_ns());
	flight->upcalled = 1;
	if (!slot || !read_content(cpu, skb, false))
		return; /* the skb's end will be all that is known */
	if (!take_flight(cpu, flight))
		return;
	give_slot_away(cpu, flight);
	cpu->content.in_port = in_port;
	slot->content = cpu->content;
	flight->place = VMLAT_UPCALLED;
	cpu->upcalling = (__u64)skb;
	cpu->upcalled = entry.flight;
	if (bpf_map_update_elem(&upcalls, &cpu->content, &entry, BPF_NOEXIST) == 0)
		return;
	other = bpf_map_lookup_elem(&upcalls, &cpu->content);
	if (other)
		other->twins++;
	flight->outcome = other ? VMLAT_AMBIGUOUS : VMLAT_EVICTED;
	cpu->upcalling = 0;
	finish_flight(cpu, flight);
}

/* Take the flight that went up under slot->content: true for the one caller that did. */
static __always_inline bool take_upcalled(struct vmlat_flight *flight)
{
	struct flight_slot *slot = slot_at(flight->slot);

	return slot && bpf_map_delete_elem(&upcalls, &slot->content) == 0;
}

/* The kernel could not queue it (queue_userspace_packet): nobody will bring it back. */
static __always_inline int upcall_returned(long error)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu || !cpu->upcalling)
		return 0;
	cpu->upcalling = 0;
	if (error >= 0)
		return 0;
	flight = flight_of(&cpu->upcalled);
	if (!flight || flight->place != VMLAT_UPCALLED || !take_upcalled(flight))
		return 0;
	flight->outcome = VMLAT_UPCALL_LOST;
	flight->last_ns = bpf_ktime_get_ns();
	return finish_flight(cpu, flight);
}

/*
 * The flight that cpu->content brings back, out of its place, or NULL. With twins nobody knows
 * which of them this is: the one that has a record ends as ambiguous, the entry stays until
 * each of them has come.
 */
static __always_inline struct vmlat_flight *flight_comes_back(struct cpu_state *cpu, bool *known)
{
	struct upcall *entry = bpf_map_lookup_elem(&upcalls, &cpu->content);
	struct vmlat_flight *flight;

	if (!entry)
		return NULL;
	*known = true;
	flight = flight_of(&entry->flight);
	if (!entry->twins)
		return bpf_map_delete_elem(&upcalls, &cpu->content) ? NULL : flight;
	entry->twins--;
	if (flight && flight->place == VMLAT_UPCALLED) {
		flight->outcome = VMLAT_AMBIGUOUS;
		finish_flight(cpu, flight);
	}
	return NULL;
}

static __always_inline int packet_reinjected(void *ctx, const struct nlattr *key,
					     const struct sk_buff *skb)
{
	const struct vmlat_config *config = configuration();
	struct vmlat_flight *flight = NULL;
	__u64 now = bpf_ktime_get_ns();
	struct cpu_state *cpu = this_cpu();
	bool known = false;
	__u16 in_port;

	if (!cpu || !config)
		return 0;
	in_port = port_attribute(key);
	for (int headers_only = 0; headers_only < 2 && !known; headers_only++) {
		if (!read_content(cpu, skb, headers_only))
			return 0;
		cpu->content.in_port = in_port;
		flight = flight_comes_back(cpu, &known);
	}
	if (!known && config->armed && filter_flow(&config->filter, &cpu->flow) == VMLAT_PASSED)
		cpu->count.unstarted++;
	if (!flight)
		return 0;
	adopt_flight(cpu, flight);
	flight->carrier = (__u64)skb;
	flight->head = (__u64)BPF_CORE_READ(skb, head);
	visit(ctx, cpu, flight, VMLAT_STAGE_REINJECT, VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE,
	      now);
	return 0;
}

#endif
