/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets are measured: by device first, by five-tuple then. */
#ifndef VMLAT_FILTER_H
#define VMLAT_FILTER_H

/*
 * The number of a device's network namespace. The trace's own is the same structure for as long as
 * the trace is in it: once it was met, a program that reads by helper need not go there.
 */
static __always_inline __u32 netns_of(const struct vmlat_config *config,
				      const struct net_device *device, bool direct)
{
	const struct net *net = direct ? device->nd_net.net : BPF_CORE_READ(device, nd_net.net);
	__u32 netns;

	if (direct)
		return net->ns.inum;
	if ((__u64)net == config->own_net)
		return config->new_taps.netns;
	netns = BPF_CORE_READ(net, ns.inum);
	if (netns == config->new_taps.netns)
		((struct vmlat_config *)config)->own_net = (__u64)net;
	return netns;
}

/* Each device of its number is known, and has none of these roles. */
static __always_inline bool has_no_role(const struct vmlat_config *config, __u32 ifindex,
					__u32 roles)
{
	const struct vmlat_interface *entry = &config->interfaces[ifindex % VMLAT_INTERFACES];

	return entry->device.ifindex == ifindex && !entry->others && !(entry->roles & roles);
}

/* The entry of a device of this number; NULL for one that is not known, or not selected. */
static __always_inline const struct vmlat_interface *
numbered_interface(const struct vmlat_config *config, const struct net_device *device,
		   __u32 ifindex, bool direct)
{
	const struct vmlat_interface *entry = &config->interfaces[ifindex % VMLAT_INTERFACES];
	struct vmlat_device key = { .ifindex = ifindex };
	bool here = entry->device.ifindex == ifindex;

	if (here ? !entry->roles : !entry->others)
		return here ? entry : NULL;
	key.netns = netns_of(config, device, direct);
	if (here && entry->device.netns == key.netns)
		return entry;
	return bpf_map_lookup_elem(&interfaces, &key);
}

/*
 * The same of any device. `direct` as everywhere: a constant, true in programs that the verifier lets
 * read what the pointer points to.
 */
static __always_inline const struct vmlat_interface *
selected_interface(const struct vmlat_config *config, const struct net_device *device, bool direct)
{
	return numbered_interface(
		config, device, direct ? device->ifindex : BPF_CORE_READ(device, ifindex), direct);
}

static __always_inline bool prefix_matches(const struct vmlat_prefix *prefix, const __be32 *addr,
					   __u8 family)
{
	if (!prefix->family)
		return true;
	if (prefix->family != family)
		return false;
	for (int i = 0; i < 4; i++)
		if ((addr[i] ^ prefix->addr[i]) & prefix->mask[i])
			return false;
	return true;
}

static __always_inline bool any_port(const struct vmlat_ports *range)
{
	return range->low == 0 && range->high == 0xffff;
}

static __always_inline bool port_matches(const struct vmlat_ports *range,
					 const struct vmlat_flow *flow, __u16 port)
{
	if (any_port(range))
		return true;
	return flow->has_ports && port >= range->low && port <= range->high;
}

static __always_inline bool protocol_matches(__u32 protocols, const struct vmlat_flow *flow)
{
	if (!protocols)
		return true;
	if (flow->protocol == PROTOCOL_TCP)
		return protocols & VMLAT_TCP;
	if (flow->protocol == PROTOCOL_UDP)
		return protocols & VMLAT_UDP;
	if (flow->protocol == (flow->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6))
		return protocols & VMLAT_ICMP;
	return false;
}

/* VMLAT_PASSED, or the first filter that the flow fails. */
static __always_inline enum vmlat_refusal filter_flow(const struct vmlat_filter *filter,
						      const struct vmlat_flow *flow)
{
	if (!filter->active)
		return VMLAT_PASSED;
	if (!flow->family)
		return VMLAT_REFUSED_NOT_IP;
	if (!protocol_matches(filter->protocols, flow))
		return VMLAT_REFUSED_PROTOCOL;
	if (!prefix_matches(&filter->src, flow->src, flow->family))
		return VMLAT_REFUSED_SRC_IP;
	if (!prefix_matches(&filter->dst, flow->dst, flow->family))
		return VMLAT_REFUSED_DST_IP;
	if (flow->fragment == VMLAT_UNMATCHED_FRAGMENT &&
	    !(any_port(&filter->src_port) && any_port(&filter->dst_port)))
		return VMLAT_REFUSED_FRAGMENT;
	if (!port_matches(&filter->src_port, flow, flow->src_port))
		return VMLAT_REFUSED_SRC_PORT;
	if (!port_matches(&filter->dst_port, flow, flow->dst_port))
		return VMLAT_REFUSED_DST_PORT;
	return VMLAT_PASSED;
}

static __always_inline bool is_tunnel_port(const struct vmlat_config *config, __u16 port)
{
	for (int i = 0; i < VMLAT_TUNNEL_PORTS; i++)
		if (port && config->tunnel_port[i] == port)
			return true;
	return false;
}

/* A packet that a tunnel of this host may take, by its outer headers. */
static __always_inline bool may_be_packed(const struct vmlat_config *config,
					  const struct vmlat_flow *flow)
{
	enum { GRE = 47 };

	if (!features.tunnels || !flow->family)
		return false;
	if (flow->protocol == GRE)
		return true;
	return flow->protocol == PROTOCOL_UDP && flow->has_ports &&
	       is_tunnel_port(config, flow->dst_port);
}

#endif
