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
	scratch->cursor = c;
	parsed = parse_scratch(SOFTIRQS_OFF);
	if (parsed == PARSED && flow->fragment)
		match_fragment(
			scratch->cursor.fragment_id,
			number_of(cpu, direct ? (__u64)skb->dev : (__u64)BPF_CORE_READ(skb, dev)));
	return parsed;
}

/* The same where its headers end beyond its first FEW_BYTES, or the skb's linear part. */
GLOBAL int parse_all(__u64 address)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct cpu_state *cpu = this_cpu();
	__u32 length;

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

/* As examine, of what most packets are. False: it takes that to tell. */
static __always_inline bool examine_plain(struct cpu_state *cpu, const struct sk_buff *skb)
{
	__u32 size = skb->len, linear = size - skb->data_len;
	struct vmlat_lane *lane = &cpu->lane;
	__u64 bytes = at_most(linear, PLAIN_BYTES);
	__u16 tci;

	if (skb->protocol != bpf_htons(ETHERTYPE_IPV4) ||
	    bpf_probe_read_kernel(cpu->scratch.packet, bytes, skb->data) ||
	    !parse_plain(cpu->scratch.packet, bytes, size, &lane->flow))
		return false;
	lane->length = ETHERNET + size;
	if (skb_vlan(skb, true, &tci)) {
		add_vlan(&lane->flow, tci);
		lane->length += 4;
	}
	return true;
}

static __noinline int examine_any(struct cpu_state *cpu, const struct vmlat_config *config,
				  const struct sk_buff *skb)
{
	return examine(cpu, config, skb, true, &cpu->lane.length);
}

/* Its flow and length are in the lane; what filter and sample say of it. */
static __always_inline enum vmlat_refusal
examine_arrival(struct cpu_state *cpu, const struct vmlat_config *config, const struct sk_buff *skb)
{
	enum vmlat_refusal refusal;

	if (samples_all() && examine_plain(cpu, skb))
		return filter_flow(&config->filter, &cpu->lane.flow);
	refusal = examine_any(cpu, config, skb);
	cpu->lane.flow = cpu->scratch.flow;
	return refusal;
}

/* Its way begins with the tap's call that brought it, as far as that is known. */
static __always_inline void begin_at_tap(struct vmlat_lane *lane, const struct arrival *arrival)
{
	const struct tap_call *call = arrival->call;

	if (call) {
		lane->pid = call->thread >> 32;
		lane->batch = call->packets;
		__builtin_memcpy(lane->comm, call->comm, sizeof(lane->comm));
		lane->stamp[0].ns = call->ns;
		lane->stamp[0].hook = call->hook;
	} else {
		lane->pid = bpf_get_current_pid_tgid() >> 32;
		lane->batch = 1;
		bpf_get_current_comm(lane->comm, sizeof(lane->comm));
		lane->stamp[0].ns = bpf_ktime_get_ns();
		lane->stamp[0].hook = arrival->early ? VMLAT_HOOK_NETIF_RECEIVE_SKB_ENTRY
						     : VMLAT_HOOK_NETIF_RECEIVE_SKB;
	}
	lane->stamp[0].stage = VMLAT_STAGE_TAP_IN;
}

static __always_inline void begin_at_nic(struct vmlat_lane *lane)
{
	lane->pid = 0;
	lane->batch = 1;
	lane->stamp[0].stage = VMLAT_STAGE_NIC;
	lane->stamp[0].hook = VMLAT_HOOK_NETIF_RECEIVE_SKB;
	lane->stamp[0].ns = bpf_ktime_get_ns();
}

/* Flow and length are there already. A tap where TX does not start may still bring another VM's RX. */
static __always_inline void begin_lane(struct vmlat_lane *lane, const struct arrival *arrival,
				       __u8 candidate, bool passed)
{
	const struct vmlat_interface *interface = arrival->interface;
	const struct sk_buff *skb = arrival->skb;

	*(__u64 *)&lane->visits = 0;
	lane->visits = 1;
	lane->direction = interface->roles & VMLAT_ROLE_TX_START ? VMLAT_TX : VMLAT_RX;
	lane->candidate = candidate;
	lane->passed = passed;
	lane->skb = (__u64)skb;
	lane->head = (__u64)skb->head;
	lane->start = interface->device;
	lane->interface = interface->index;
	if (interface->roles & VMLAT_ROLE_TAP)
		begin_at_tap(lane, arrival);
	else
		begin_at_nic(lane);
	barrier();
	lane->key = key_of(skb);
}

/* Give the flight to whoever meets it next, where its way leaves this call stack at once. */
static __always_inline void hand_over(struct vmlat_flight *flight, const struct sk_buff *skb,
				      __u32 roles, bool early)
{
	if (early)
		publish_flight(flight->slot);
	else if (flight->candidate == VMLAT_CANDIDATE && !(roles & VMLAT_ROLE_ROUTED))
		return; /* one that no switch gets is forgotten with the next packet */
	else if (flight->candidate == VMLAT_PACKED || !skb->dev->rx_handler)
		flight_leaves(flight, VMLAT_TO_HOST);
}

/* Whether it may be in the lane until its next hook; without a tap's call it is looked at closely. */
static __always_inline bool stays_in_lane(const struct arrival *arrival, __u8 candidate)
{
	__u32 roles = arrival->interface->roles;

	if (features.stacks || arrival->early || candidate == VMLAT_PACKED)
		return false;
	if (candidate == VMLAT_CANDIDATE && !(roles & (VMLAT_ROLE_TAP | VMLAT_ROLE_ROUTED)))
		return true;
	return arrival->skb->dev->rx_handler && (!(roles & VMLAT_ROLE_TAP) || arrival->call);
}

/* What the packet is to begin with: VMLAT_STARTED for TX. */
static __always_inline __u8 beginning(const struct cpu_state *cpu,
				      const struct vmlat_config *config, __u32 roles)
{
	if (roles & VMLAT_ROLE_TX_START)
		return VMLAT_STARTED;
	if (!(roles & VMLAT_ROLE_TAP) && may_be_packed(config, &cpu->lane.flow))
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
	enum vmlat_refusal refusal = examine_arrival(cpu, config, skb);
	__u8 candidate = beginning(cpu, config, interface->roles);
	struct vmlat_flight *flight;

	if (refusal != VMLAT_PASSED && candidate != VMLAT_PACKED) {
		count_refusal(cpu, refusal);
		return;
	}
	begin_lane(&cpu->lane, arrival, candidate, refusal == VMLAT_PASSED);
	if (candidate == VMLAT_STARTED) {
		cpu->count.started++;
		count_traffic(interface->index, VMLAT_TX, cpu->lane.length);
	}
	if (stays_in_lane(arrival, candidate))
		return;
	if (!leave_lane(LANE_AT_ONCE))
		return;
	flight = own_flight(cpu);
	if (!flight)
		return;
	if (features.stacks)
		take_stack(ctx, cpu, &flight->visit[0]);
	hand_over(flight, skb, interface->roles, arrival->early);
}

static __always_inline void count_seen(struct cpu_state *cpu, const struct arrival *arrival)
{
	if (!(arrival->interface->roles & VMLAT_ROLE_TAP)) {
		cpu->count.seen_nic++;
		return;
	}
	cpu->count.seen_tap++;
}

/* What has its skb's address, or is in its call stack, was over without a word. */
static __noinline int clear_way(struct cpu_state *cpu, __u64 key)
{
	struct vmlat_flight *flight;

	if (cpu->lane.candidate)
		cpu->lane.key = 0;
	if (cpu->lane.key)
		leave_lane(LANE_LEFT);
	flight = own_flight(cpu);
	if (flight && flight->carrier == key)
		end_flight(flight->slot, VMLAT_EVICTED, 0);
	vacate_slot(cpu);
	return 0;
}

/* A packet that is not measured: what was received before it has left this call stack. */
static __always_inline int pass_by(struct cpu_state *cpu)
{
	return cpu->lane.key || cpu->occupied ? clear_way(cpu, 0) : 0;
}

/* A flight that netif_receive_skb_entry started is on this CPU from here on. */
static __noinline int continue_flight(struct cpu_state *cpu, const struct sk_buff *skb)
{
	struct vmlat_flight *flight;
	__u32 role;

	pass_by(cpu); /* another one that was received before */
	flight = published_flight(key_of(skb), &role);
	if (!flight || role != ROLE_ORIGINAL || flight->visits != 1 || !take_flight(cpu, flight))
		return 0;
	adopt_flight(cpu, flight);
	hand_over(flight, skb, 0, false);
	return 0;
}

int packet_goes_up(__u64 address); /* bridge.h */

static __always_inline int goes_up(const struct sk_buff *skb)
{
	return packet_goes_up(number_of(this_cpu(), (__u64)skb));
}

/* Nothing starts, but what a call was given has come. */
static __noinline int drain(struct cpu_state *cpu, const struct vmlat_config *config,
			    const struct sk_buff *skb, bool early)
{
	const struct vmlat_interface *interface;

	if (config->armed && early == !!features.receive_entry) {
		interface = selected_interface(config, skb->dev, true);
		if (!interface || !(interface->roles & VMLAT_ROLE_TAP))
			return pass_by(cpu);
		if (config->armed == VMLAT_DRAINING)
			claim_call(cpu, (__u64)skb->dev);
		else /* it may be of a call that nobody has noted */
			tap_call_of(cpu, (__u64)skb->dev);
	}
	return pass_by(cpu);
}

static __always_inline int packet_received(void *ctx, const struct sk_buff *skb, bool early)
{
	const struct vmlat_config *config = &settings;
	struct arrival arrival = { .skb = skb, .early = early };
	const struct vmlat_interface *interface;
	struct cpu_state *cpu = this_cpu();

	if (config->armed != VMLAT_ARMED)
		return drain(cpu, config, skb, early);
	interface = selected_interface(config, skb->dev, true);
	if (!interface)
		return pass_by(cpu);
	if (features.bridges && interface->roles == VMLAT_ROLE_BRIDGE)
		return early ? 0 : goes_up(skb);
	if (!(interface->roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START)) ||
	    (early && !(interface->roles & VMLAT_ROLE_TAP)))
		return pass_by(cpu);
	if (features.receive_entry && !early && interface->roles & VMLAT_ROLE_TAP)
		return continue_flight(cpu, skb);
	arrival.interface = interface;
	if (interface->roles & VMLAT_ROLE_TAP)
		arrival.call = claim_call(cpu, (__u64)skb->dev);
	count_seen(cpu, &arrival);
	if (cpu->lane.key || cpu->occupied)
		clear_way(cpu, key_of(skb));
	if (known.carriers || may_be_parked(key_of(skb)))
		evict_stale(number_of(cpu, key_of(skb)));
	start_packet(ctx, cpu, config, &arrival);
	return 0;
}

#endif
