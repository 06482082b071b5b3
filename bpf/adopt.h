/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A tap that has packets before user space has told of it. It gets its roles and a place of the
 * interface table here, one of those that user space keeps free for this, and user space learns of it
 * by `adopted`. It is found in the interfaces map until user space places it.
 */
#ifndef VMLAT_ADOPT_H
#define VMLAT_ADOPT_H

/* Into the interfaces map. False: there is no place, or another CPU was here before. */
static __always_inline bool enter_tap(struct vmlat_interface *entry, struct vmlat_adopted *adopted)
{
	if (entry->roles && bpf_map_pop_elem(&spare_places, &adopted->index))
		return false;
	entry->index = adopted->index;
	if (!bpf_map_update_elem(&interfaces, &entry->device, entry, BPF_NOEXIST))
		return true;
	if (entry->roles)
		bpf_map_push_elem(&spare_places, &adopted->index, BPF_ANY);
	return false;
}

/* Of a net_device of this namespace that is not known; only a tap is of any use. */
GLOBAL int adopt_tap(__u64 address)
{
	enum { ETHERNET_DEVICE = 1 }; /* ARPHRD_ETHER, what a tun without frames is not */
	const struct net_device *device = (const struct net_device *)address;
	struct vmlat_config *config = &settings;
	struct vmlat_adopted adopted = { .index = VMLAT_INTERFACE_NONE };
	struct vmlat_interface entry = {};
	bool chosen;

	if (BPF_CORE_READ(device, type) != ETHERNET_DEVICE)
		return 0;
	entry.device.netns = config->new_taps.netns;
	entry.device.ifindex = BPF_CORE_READ(device, ifindex);
	bpf_core_read_str(adopted.name, sizeof(adopted.name), &device->name);
	chosen = config->new_taps.any || bpf_map_lookup_elem(&wanted_taps, adopted.name);
	entry.roles = chosen ? config->new_taps.chosen : config->new_taps.others;
	if (!enter_tap(&entry, &adopted))
		return 0;
	config->interfaces[entry.device.ifindex % VMLAT_INTERFACES].others = 1;
	if (entry.roles && !bpf_map_update_elem(&adopted_taps, &entry.device, &adopted, BPF_ANY))
		__sync_fetch_and_add(&adoptions, 1);
	return 1;
}

/* NULL: it is nobody's. `thread`: a softirq may come between. */
static __always_inline const struct vmlat_interface *new_tap(const struct vmlat_config *config,
							     const struct net_device *device,
							     bool direct, bool thread)
{
	struct cpu_state *cpu;

	if (netns_of(config, device, direct) != config->new_taps.netns)
		return NULL;
	cpu = this_cpu();
	adopt_tap(thread ? number_in_thread(cpu, (__u64)device) : number_of(cpu, (__u64)device));
	return selected_interface(config, device, direct); /* another CPU may have been first */
}

#endif
