/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A mistake on purpose (make planted): a packet is known by its five-tuple alone, so that two of
 * one flow on their way at once are taken for each other. The tests have to see it.
 */
#ifndef VMLAT_PLANTED_H
#define VMLAT_PLANTED_H

static __always_inline __u64 key_of(const struct sk_buff *skb)
{
	const __u8 *ip = (__u8 *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	__u64 addresses = 0;
	__u32 ports = 0;

	bpf_probe_read_kernel(&addresses, sizeof(addresses), ip + 12);
	bpf_probe_read_kernel(&ports, sizeof(ports), ip + 20);
	return (addresses * 31 + ports) | 1;
}

#endif
