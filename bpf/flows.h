/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The completed packets of each flow, where user space asks for it. As with the statistics it swaps
 * the map for an empty one and reads what was taken out.
 */
#ifndef VMLAT_BPF_FLOWS_H
#define VMLAT_BPF_FLOWS_H

/* One entry: the map that flows are counted in now. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
			__uint(max_entries, 1); /* VMLAT_FLOWS, in those that user space makes */
			__uint(key_size, sizeof(struct vmlat_flow_key));
			__uint(value_size, sizeof(struct vmlat_flow_count));
		});
} flow_maps SEC(".maps");

/* The flow's value on this CPU, made if there is room; or NULL. */
static __always_inline struct vmlat_flow_count *count_of(const struct vmlat_flow_key *key)
{
	const struct vmlat_flow_count none = { 0 };
	struct vmlat_flow_count *count;
	__u32 zero = 0;
	void *map = bpf_map_lookup_elem(&flow_maps, &zero);

	if (!map)
		return NULL;
	count = bpf_map_lookup_elem(map, key);
	if (count)
		return count;
	bpf_map_update_elem(map, key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

/* A completed flight, at the interface whose statistics it belongs to. */
GLOBAL int count_flow(__u32 slot, __u32 interface)
{
	const struct vmlat_flight *flight = flight_at(slot);
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flow_count *count;
	struct vmlat_flow_key key = { .interface = interface };
	__u64 ns;

	if (!flight || !flight->flow.family)
		return 0;
	for (int i = 0; i < 4; i++) {
		key.src[i] = flight->flow.src[i];
		key.dst[i] = flight->flow.dst[i];
	}
	key.family = flight->flow.family;
	key.protocol = flight->flow.protocol;
	key.direction = flight->direction;
	key.has_ports = flight->flow.has_ports;
	if (key.has_ports) {
		key.src_port = flight->flow.src_port;
		key.dst_port = flight->flow.dst_port;
	}
	count = count_of(&key);
	if (!count) {
		cpu->count.flows_lost++;
		return 0;
	}
	ns = flight->last_ns - flight->begin_ns;
	count->packets++;
	count->bytes += flight->length;
	count->sum_ns += ns;
	if (ns > count->max_ns)
		count->max_ns = ns;
	return 0;
}

#endif
