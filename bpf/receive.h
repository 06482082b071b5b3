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
						  __u32 *length)
{
	struct vmlat_flow *flow = &cpu->flow;
	struct cursor c = { .bytes = cpu->packet, .length = skb->len };
	__u32 linear = skb->len - skb->data_len;
	__u16 tci;

	__builtin_memset(flow, 0, sizeof(*flow));
	*length = ETHERNET + skb->len;
	if (skb_vlan(skb, true, &tci)) {
		add_vlan(flow, tci);
		*length += 4;
	}
	c.ethertype = bpf_ntohs(skb->protocol);
	c.end = at_most(linear, PACKET_BYTES);
	if (bpf_probe_read_kernel(cpu->packet, c.end, skb->data))
		return PARSED_TRUNCATED;
	return parse_packet(&c, flow);
}

static __always_inline bool passes(struct cpu_state *cpu, const struct vmlat_config *config,
				   const struct sk_buff *skb, __u32 *length)
{
	enum parsed parsed = parse_received(cpu, skb, length);
	enum vmlat_refusal refusal;

	if (parsed != PARSED)
		cpu->flow.family = 0;
	if (parsed == PARSED_TRUNCATED)
		cpu->count.truncated++;
	else if (parsed == PARSED_MALFORMED)
		cpu->count.malformed++;
	refusal = filter_flow(&config->filter, &cpu->flow);
	if (refusal < VMLAT_REFUSAL_COUNT)
		cpu->count.refused[refusal]++;
	return refusal == VMLAT_PASSED;
}

/* A flight that is still known under this address missed its end: the skb is another now. */
static __always_inline void evict_stale(struct cpu_state *cpu, __u64 skb)
{
	struct vmlat_flight *stale = published_flight(skb);

	if (stale && stale->carrier == skb)
		end_flight(cpu, stale, stale->left ? VMLAT_DIVERTED : VMLAT_EVICTED, 0);
}

static __always_inline void fill_flight(struct vmlat_flight *flight, const struct cpu_state *cpu,
					const struct sk_buff *skb, __u32 length, __u32 interface)
{
	flight->carrier = (__u64)skb;
	flight->head = (__u64)skb->head;
	flight->location = 0;
	flight->reason = 0;
	flight->flow = cpu->flow;
	flight->start.netns = skb->dev->nd_net.net->ns.inum;
	flight->start.ifindex = skb->dev->ifindex;
	flight->length = length;
	flight->interface = interface;
	flight->batch = 1;
	flight->segments = 1;
	flight->cpu = cpu->number;
	flight->visits_beyond = 0;
	flight->visits = 0;
	flight->exits = 0;
	flight->exits_beyond = 0;
	flight->upcalled = 0;
	flight->undirected = 0;
	flight->shared = 0;
	flight->has_reason = 0;
	flight->left = 0;
	flight->pid = 0;
}

static __always_inline void count_start(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	flight->candidate = 0;
	cpu->count.started++;
}

/* Its way begins with the tap's call that brought it, as far as that is known. */
static __always_inline void begin_at_tap(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight, __u64 device)
{
	const struct tap_call *call = tap_call_of(cpu, device);
	enum vmlat_hook hook = VMLAT_HOOK_NETIF_RECEIVE_SKB;

	flight->pid = bpf_get_current_pid_tgid() >> 32;
	if (call) {
		flight->begin_ns = call->ns;
		hook = call->hook;
		flight->batch = call->packets;
		__builtin_memcpy(flight->comm, call->comm, sizeof(flight->comm));
	} else {
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

/* A tap where TX does not start may still bring another VM's RX. */
static __always_inline void begin_flight(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight, const struct sk_buff *skb,
					 __u32 roles)
{
	bool tx = roles & VMLAT_ROLE_TX_START;

	flight->direction = tx ? VMLAT_TX : VMLAT_RX;
	flight->candidate = !tx;
	if (roles & VMLAT_ROLE_TAP)
		begin_at_tap(ctx, cpu, flight, (__u64)skb->dev);
	else
		begin_at_nic(ctx, cpu, flight);
	barrier();
	flight->place = VMLAT_ON_CPU;
	if (!tx)
		return;
	count_start(cpu, flight);
	count_traffic(flight->interface, VMLAT_TX, flight->length);
	if (!skb->dev->rx_handler)
		flight_leaves(cpu, flight, VMLAT_TO_HOST);
}

static __always_inline int packet_received(void *ctx, const struct sk_buff *skb)
{
	const struct vmlat_config *config = configuration();
	const struct vmlat_interface *interface;
	struct vmlat_flight *flight;
	struct cpu_state *cpu;
	__u32 length;

	if (!config || !config->armed)
		return 0;
	interface = selected_interface(config, skb->dev, true);
	if (!interface || !(interface->roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START)))
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	if (interface->roles & VMLAT_ROLE_TAP)
		cpu->count.seen_tap++;
	else
		cpu->count.seen_nic++;
	evict_stale(cpu, (__u64)skb);
	if (!passes(cpu, config, skb, &length))
		return 0;
	flight = new_flight(cpu);
	if (flight) {
		fill_flight(flight, cpu, skb, length, interface->index);
		begin_flight(ctx, cpu, flight, skb, interface->roles);
	} else if (interface->roles & VMLAT_ROLE_TX_START) {
		cpu->count.started++;
		cpu->count.outcomes[VMLAT_EVICTED]++;
	}
	return 0;
}

#endif
