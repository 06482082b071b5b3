/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet appears: net:netif_receive_skb of a tap (TX) or a NIC (RX). */
#ifndef VMLAT_RECEIVE_H
#define VMLAT_RECEIVE_H

/*
 * At net:netif_receive_skb of an Ethernet device eth_type_trans has pulled the MAC header, and
 * skb_reset_network_header is yet to come (__netif_receive_skb_core): the data is the network
 * header, or a VLAN tag before it.
 */
static __always_inline enum parsed parse_received(struct cpu_state *cpu, const struct sk_buff *skb,
						  bool direct, bool all, __u32 *length)
{
	struct scratch *scratch = &cpu->scratch;
	struct vmlat_flow *flow = &scratch->flow;
	__u32 size = direct ? skb->len : BPF_CORE_READ(skb, len);
	__u32 linear = size - (direct ? skb->data_len : BPF_CORE_READ(skb, data_len));
	struct cursor c;
	enum parsed parsed;
	__u16 tci;

	__builtin_memset(flow, 0, sizeof(*flow));
	__builtin_memset(&c, 0, sizeof(c));
	c.length = size;
	*length = ETHERNET + size;
	if (skb_vlan(skb, direct, &tci)) {
		add_vlan(flow, tci);
		*length += 4;
	}
	c.ethertype = bpf_ntohs(direct ? skb->protocol : BPF_CORE_READ(skb, protocol));
	c.end = at_most(linear, all ? PACKET_BYTES : FEW_BYTES);
	if (bpf_probe_read_kernel(scratch->packet, c.end,
				  direct ? skb->data : BPF_CORE_READ(skb, data)))
		return PARSED_TRUNCATED;
	if (all && features.vmemmap_base && features.page_offset_base && linear < size)
		c.end = read_page(scratch, skb, c.end);
	if (all) {
		scratch->cursor = c;
		parsed = parse_scratch(SOFTIRQS_OFF);
		c = scratch->cursor;
	} else {
		c.bytes = scratch->packet;
		parsed = parse_packet(&c, flow);
	}
	if (parsed == PARSED && flow->fragment)
		match_fragment(
			c.fragment_id, c.more_fragments,
			number_of(cpu, direct ? (__u64)skb->dev : (__u64)BPF_CORE_READ(skb, dev)));
	return parsed;
}

/* The same where its headers end beyond its first FEW_BYTES, or the skb's linear part. */
GLOBAL int parse_all(__u64 address)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct cpu_state *cpu = this_cpu();
	__u32 length;

	if (!cpu)
		return PARSED_TRUNCATED;
	return parse_received(cpu, skb, false, true, &length);
}

/* Its Ethernet addresses, in the scratch; zeros where it has none. */
static __always_inline const __u8 *read_mac(struct cpu_state *cpu, const struct sk_buff *skb,
					    bool direct)
{
	const unsigned char *head = direct ? skb->head : BPF_CORE_READ(skb, head);
	__u8 *mac = cpu->scratch.content.mac;

	if (bpf_probe_read_kernel(
		    mac, sizeof(cpu->scratch.content.mac),
		    head + (direct ? skb->mac_header : BPF_CORE_READ(skb, mac_header))))
		__builtin_memset(mac, 0, sizeof(cpu->scratch.content.mac));
	return mac;
}

/* Its flow is in the scratch; what filter and sample say of it. */
static __always_inline enum vmlat_refusal examine(struct cpu_state *cpu,
						  const struct vmlat_config *config,
						  const struct sk_buff *skb, bool direct,
						  __u32 *length)
{
	enum parsed parsed = parse_received(cpu, skb, direct, false, length);

	if (parsed == PARSED_TRUNCATED)
		parsed = parse_all(number_of(cpu, (__u64)skb));
	if (parsed != PARSED)
		cpu->scratch.flow.family = 0;
	if (parsed == PARSED_TRUNCATED)
		cpu->count.truncated++;
	else if (parsed == PARSED_MALFORMED)
		cpu->count.malformed++;
	if (!samples_all() && !cpu->scratch.flow.family)
		know_by_mac(&cpu->scratch.flow, read_mac(cpu, skb, direct));
	return choose_flow(&config->filter, &cpu->scratch.flow);
}

static __always_inline void count_refusal(struct cpu_state *cpu, enum vmlat_refusal refusal)
{
	if (refusal < VMLAT_REFUSAL_COUNT)
		cpu->count.refused[refusal]++;
}

/* A packet as it comes from a selected device. */
struct arrival {
	const struct sk_buff *skb;
	const struct vmlat_interface *interface;
	struct tap_call *call; /* that brought it, or NULL */
	bool early; /* RPS may still send it to another CPU */
};

static __always_inline void fill_flight(struct vmlat_flight *flight, const struct cpu_state *cpu,
					const struct sk_buff *skb, __u32 length, __u32 interface)
{
	/* from here to the exits all begins with 0, its place too: VMLAT_FREE */
	const __u32 counts = __builtin_offsetof(struct vmlat_flight, visits_beyond);

	flight->carrier = key_of(skb);
	flight->head = (__u64)skb->head;
	flight->location = 0;
	flight->reason = 0;
	flight->flow = cpu->scratch.flow;
	flight->start.netns = skb->dev->nd_net.net->ns.inum;
	flight->start.ifindex = skb->dev->ifindex;
	flight->length = length;
	flight->interface = interface;
	flight->batch = 1;
	flight->segments = 1;
	flight->segments_lost = 0;
	flight->cpu = cpu->number;
	__builtin_memset((void *)flight + counts, 0,
			 __builtin_offsetof(struct vmlat_flight, exit) - counts);
	flight->remarkable = 0;
	flight->pid = 0;
}

/* Its way begins with the tap's call that brought it, as far as that is known. */
static __always_inline void begin_at_tap(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight, const struct tap_call *call,
					 enum vmlat_hook hook)
{
	if (call) {
		flight->pid = call->thread >> 32;
		flight->begin_ns = call->ns;
		hook = call->hook;
		flight->batch = call->packets;
		__builtin_memcpy(flight->comm, call->comm, sizeof(flight->comm));
	} else {
		flight->pid = bpf_get_current_pid_tgid() >> 32;
		flight->begin_ns = bpf_ktime_get_ns();
		bpf_get_current_comm(flight->comm, sizeof(flight->comm));
	}
	visit(ctx, cpu, flight, VMLAT_STAGE_TAP_IN, hook, flight->begin_ns);
}

static __always_inline void begin_at_nic(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight)
{
	flight->begin_ns = bpf_ktime_get_ns();
	visit(ctx, cpu, flight, VMLAT_STAGE_NIC, VMLAT_HOOK_NETIF_RECEIVE_SKB, flight->begin_ns);
}

/* Give the flight to whoever meets it next, where its way leaves this call stack at once. */
static __always_inline void hand_over(struct cpu_state *cpu, struct vmlat_flight *flight,
				      const struct sk_buff *skb, __u32 roles, bool early)
{
	if (early)
		publish_flight(cpu, flight);
	else if (flight->candidate == VMLAT_CANDIDATE && !(roles & VMLAT_ROLE_ROUTED))
		return; /* one that no switch gets is forgotten with the next packet */
	else if (flight->candidate == VMLAT_PACKED || !skb->dev->rx_handler)
		flight_leaves(cpu, flight, VMLAT_TO_HOST);
}

/* A tap where TX does not start may still bring another VM's RX. */
static __always_inline void begin_flight(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight, const struct arrival *arrival,
					 __u8 candidate)
{
	__u32 roles = arrival->interface->roles;

	flight->direction = roles & VMLAT_ROLE_TX_START ? VMLAT_TX : VMLAT_RX;
	flight->candidate = candidate;
	if (roles & VMLAT_ROLE_TAP)
		begin_at_tap(ctx, cpu, flight, arrival->call,
			     arrival->early ? VMLAT_HOOK_NETIF_RECEIVE_SKB_ENTRY
					    : VMLAT_HOOK_NETIF_RECEIVE_SKB);
	else
		begin_at_nic(ctx, cpu, flight);
	cpu->occupied = 1;
	barrier();
	flight->place = VMLAT_ON_CPU;
	if (candidate)
		return;
	count_start(cpu, flight);
	count_traffic(flight->interface, VMLAT_TX, flight->length);
}

/* What the packet is to begin with: VMLAT_STARTED for TX. */
static __always_inline __u8 beginning(const struct cpu_state *cpu,
				      const struct vmlat_config *config, __u32 roles)
{
	if (roles & VMLAT_ROLE_TX_START)
		return VMLAT_STARTED;
	if (!(roles & VMLAT_ROLE_TAP) && may_be_packed(config, &cpu->scratch.flow))
		return VMLAT_PACKED;
	return VMLAT_CANDIDATE;
}

/* A packet of a selected device, which the filter may take. */
static __always_inline void start_packet(void *ctx, struct cpu_state *cpu,
					 const struct vmlat_config *config,
					 const struct arrival *arrival)
{
	const struct vmlat_interface *interface = arrival->interface;
	const struct sk_buff *skb = arrival->skb;
	__u32 length;
	enum vmlat_refusal refusal = examine(cpu, config, skb, true, &length);
	__u8 candidate = beginning(cpu, config, interface->roles);
	struct vmlat_flight *flight;

	if (refusal != VMLAT_PASSED && candidate != VMLAT_PACKED) {
		count_refusal(cpu, refusal);
		return;
	}
	flight = new_flight(cpu);
	if (!flight) {
		if (candidate == VMLAT_STARTED || skb->dev->rx_handler) {
			cpu->count.started++;
			cpu->count.outcomes[VMLAT_EVICTED]++;
		}
		return;
	}
	fill_flight(flight, cpu, skb, length, interface->index);
	flight->passed = refusal == VMLAT_PASSED;
	begin_flight(ctx, cpu, flight, arrival, candidate);
	hand_over(cpu, flight, skb, interface->roles, arrival->early);
}

static __always_inline void count_seen(struct cpu_state *cpu, const struct arrival *arrival)
{
	if (!(arrival->interface->roles & VMLAT_ROLE_TAP)) {
		cpu->count.seen_nic++;
		return;
	}
	cpu->count.seen_tap++;
	if (arrival->call)
		arrival->call->delivered++;
}

/* A flight that netif_receive_skb_entry started is on this CPU from here on. */
static __always_inline int continue_flight(struct cpu_state *cpu, const struct sk_buff *skb)
{
	struct vmlat_flight *flight;
	__u32 role;

	flight = published_flight(key_of(skb), &role);
	if (!flight || role != ROLE_ORIGINAL || flight->visits != 1 || !take_flight(cpu, flight))
		return 0;
	adopt_flight(cpu, flight);
	hand_over(cpu, flight, skb, 0, false);
	return 0;
}

int packet_goes_up(__u64 address); /* bridge.h */

static __always_inline int goes_up(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();

	return cpu ? packet_goes_up(number_of(cpu, (__u64)skb)) : 0;
}

static __always_inline int packet_received(void *ctx, const struct sk_buff *skb, bool early)
{
	const struct vmlat_config *config = configuration();
	struct arrival arrival = { .skb = skb, .early = early };
	const struct vmlat_interface *interface;
	struct cpu_state *cpu;

	if (!config || !config->armed)
		return 0;
	interface = selected_interface(config, skb->dev, true);
	if (!interface)
		return 0;
	if (features.bridges && interface->roles == VMLAT_ROLE_BRIDGE)
		return early ? 0 : goes_up(skb);
	if (!(interface->roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START)))
		return 0;
	if (early && !(interface->roles & VMLAT_ROLE_TAP))
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	if (features.receive_entry && !early && interface->roles & VMLAT_ROLE_TAP)
		return continue_flight(cpu, skb);
	arrival.interface = interface;
	if (interface->roles & VMLAT_ROLE_TAP)
		arrival.call = tap_call_of(cpu, (__u64)skb->dev);
	count_seen(cpu, &arrival);
	if (known.carriers)
		evict_stale(number_of(cpu, key_of(skb)));
	start_packet(ctx, cpu, config, &arrival);
	return 0;
}

#endif
