/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IP fragments. Only the first of a datagram has ports: the later ones get them from it, by the
 * datagram's identification, when they come after it. Where conntrack puts them together
 * (ip_defrag, nf_ct_frag6_gather) the last one to come goes on as the whole datagram.
 */
#ifndef VMLAT_FRAGMENTS_H
#define VMLAT_FRAGMENTS_H

enum {
	FRAGMENT_NS = 1000000000, /* an identification may be another datagram's by then */
	EINPROGRESS = 115,
};

/* Remember the ports of the first fragment in the scratch, or give a later one its first's. */
GLOBAL int match_fragment(__u32 id, __u64 device)
{
	struct fragment first = { .ns = bpf_ktime_get_ns() }, *known;
	struct fragment_key key = { .id = id, .device = device };
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flow *flow;

	flow = &cpu->scratch.flow;
	__builtin_memcpy(key.src, flow->src, sizeof(key.src));
	__builtin_memcpy(key.dst, flow->dst, sizeof(key.dst));
	key.protocol = flow->protocol;
	if (flow->fragment == VMLAT_FIRST_FRAGMENT) {
		first.src_port = flow->src_port;
		first.dst_port = flow->dst_port;
		if (flow->has_ports)
			bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
		return 0;
	}
	known = bpf_map_lookup_elem(&fragments, &key);
	if (!known || first.ns - known->ns > FRAGMENT_NS)
		return 0;
	flow->src_port = known->src_port;
	flow->dst_port = known->dst_port;
	flow->has_ports = 1;
	flow->fragment = VMLAT_LATER_FRAGMENT;
	return 0; /* it stays: the last fragment need not be the last to come */
}

/* The packet is too large for its port. Its fragments may be new skbs, which are sent at once. */
static __always_inline int fragmentation_begins(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u32 role;

	flight = find_flight(cpu, key_of(skb), &role);
	if (!flight || role != ROLE_ORIGINAL)
		return 0;
	settle_flight(cpu, flight);
	flight->fragmenting = 1;
	return 0;
}

/* The first fragment of the flight that is being cut carries it from now on. */
static __always_inline struct vmlat_flight *fragmented_flight(struct cpu_state *cpu,
							      const struct sk_buff *skb)
{
	struct vmlat_flight *flight = current_flight(cpu);

	if (!flight || !flight->fragmenting)
		return NULL;
	flight->carrier = key_of(skb);
	flight->head = (__u64)BPF_CORE_READ(skb, head);
	return flight;
}

/* A fragment is given to a reassembly. */
static __always_inline int reassembly_begins(const struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	__u32 role;

	flight = find_flight(cpu, key_of(skb), &role);
	cpu->joining = flight && role == ROLE_ORIGINAL ? (__u64)skb : 0;
	return 0;
}

/* It waits for the others there, or completes them and has the first one's buffer now. */
static __always_inline int reassembly_returns(long error)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	const struct sk_buff *skb;
	__u32 role;

	if (!cpu->joining)
		return 0;
	skb = (const struct sk_buff *)cpu->joining;
	cpu->joining = 0;
	flight = find_flight(cpu, key_of(skb), &role);
	if (!flight || role != ROLE_ORIGINAL)
		return 0;
	if (error == -EINPROGRESS)
		end_flight(flight->slot, VMLAT_MERGED, bpf_ktime_get_ns());
	else if (!error && !flight->by_head)
		flight->head = (__u64)BPF_CORE_READ(skb, head);
	return 0;
}

#endif
