/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which flows are measured, where not all are: by a hash of addresses, ports and protocol, which
 * is the same for both directions, on every host and in each trace.
 */
#ifndef VMLAT_SAMPLING_H
#define VMLAT_SAMPLING_H

static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x9e3779b1; /* 2^32 by the golden ratio: odd, and no pattern in it */
	return hash ^ hash >> 15;
}

static __always_inline __u32 hash_end(const __be32 *address, __u16 port, __u8 family)
{
	__u32 hash = mix(port, address[0]);

	if (family != 4)
		for (int i = 1; i < 4; i++)
			hash = mix(hash, address[i]);
	return mix(hash, family);
}

/* A sum, since either end may be the source; what follows is MurmurHash3's last step. */
static __always_inline __u32 hash_flow(const struct vmlat_flow *flow)
{
	__u32 hash = hash_end(flow->src, flow->src_port, flow->family) +
		     hash_end(flow->dst, flow->dst_port, flow->family) + flow->protocol;

	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline bool samples_all(void)
{
	return features.sample_below >> 32;
}

/* A fragment whose ports nobody knows may be of any flow of these hosts: it is not measured. */
static __always_inline bool lacks_ports(const struct vmlat_flow *flow)
{
	return flow->fragment == VMLAT_UNMATCHED_FRAGMENT &&
	       (flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP);
}

static __always_inline bool is_sampled(const struct vmlat_flow *flow)
{
	return samples_all() || (hash_flow(flow) < features.sample_below && !lacks_ports(flow));
}

/* What has no flow is sampled by its Ethernet addresses. */
static __always_inline void know_by_mac(struct vmlat_flow *flow, const __u8 *mac)
{
	__builtin_memset(flow->src, 0, sizeof(flow->src));
	__builtin_memset(flow->dst, 0, sizeof(flow->dst));
	__builtin_memcpy(flow->dst, mac, 6);
	__builtin_memcpy(flow->src, mac + 6, 6);
	flow->src_port = 0;
	flow->dst_port = 0;
	flow->protocol = 0;
}

/* VMLAT_PASSED, or why this flow is not measured. */
static __always_inline enum vmlat_refusal choose_flow(const struct vmlat_filter *filter,
						      const struct vmlat_flow *flow)
{
	enum vmlat_refusal refusal = filter_flow(filter, flow);

	return refusal == VMLAT_PASSED && !is_sampled(flow) ? VMLAT_REFUSED_SAMPLE : refusal;
}

#endif
