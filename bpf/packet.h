/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a packet's bytes to its vmlat_flow. A packet that ends within a header, as far as its
 * bytes can be read, is truncated, one whose headers contradict each other is malformed, and
 * neither gets a flow.
 */
#ifndef VMLAT_PACKET_H
#define VMLAT_PACKET_H

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_SVLAN = 0x88a8,

	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_ICMPV6 = 58,

	IPV6_HOP_BY_HOP = 0,
	IPV6_ROUTING = 43,
	IPV6_FRAGMENT = 44,
	IPV6_DESTINATION = 60,
};

enum parsed {
	PARSED,
	PARSED_TRUNCATED,
	PARSED_MALFORMED,
};

/*
 * Bounded so that the verifier sees it: in 64 bits, since it loses what it knows of a 32-bit
 * copy (before 6.8), and hidden from a compiler that would compare another register.
 */
static __always_inline __u64 at_most(__u64 value, __u64 limit)
{
	barrier_var(value);
	return value < limit ? value : limit;
}

static __always_inline __u16 get16(const __u8 *p)
{
	return (__u16)p[0] << 8 | p[1];
}

static __always_inline __u32 get32(const __u8 *p)
{
	return (__u32)get16(p) << 16 | get16(p + 2);
}

/* A pointer to the next `size` (at most PACKET_MARGIN) bytes; NULL when they are not all there. */
static __always_inline const __u8 *peek(const struct cursor *c, __u32 size)
{
	__u64 at = c->at, end = size;

	barrier_var(at); /* one copy of it, the one that is bounded */
	/* no copy of `at`, whose bounds the verifier would derive from it, and contradict (6.12) */
	barrier_var(end);
	end += at;
	if (at > PACKET_BYTES || end > c->end)
		return NULL;
	return c->bytes + at;
}

static __always_inline void copy_address(__be32 *to, const __u8 *from, int words)
{
	__builtin_memcpy(to, from, words * sizeof(*to));
}

static __always_inline bool is_vlan(__u16 ethertype)
{
	return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SVLAN;
}

static __always_inline void add_vlan(struct vmlat_flow *flow, __u16 tci)
{
	if (flow->vlans == 0) {
		flow->vlan_tci[0] = tci;
		flow->vlans = 1;
	} else if (flow->vlans == 1) {
		flow->vlan_tci[1] = tci;
		flow->vlans = 2;
	}
}

/*
 * Tags that stand in the packet itself, behind the one that the skb may carry beside it: two in
 * all, wherever they stand. A third is an EtherType of its own, as for Open vSwitch.
 */
static __always_inline enum parsed parse_vlans(struct cursor *c, struct vmlat_flow *flow)
{
	for (int i = 0; i < 2 && flow->vlans < 2 && is_vlan(c->ethertype); i++) {
		const __u8 *tag = peek(c, 4);

		if (!tag)
			return PARSED_TRUNCATED;
		add_vlan(flow, get16(tag));
		c->ethertype = get16(tag + 2);
		c->at += 4;
	}
	return PARSED;
}

static __always_inline enum parsed parse_ports(struct cursor *c, struct vmlat_flow *flow)
{
	const __u8 *l4;
	__u32 size;

	if (flow->protocol == PROTOCOL_TCP)
		size = 20;
	else if (flow->protocol == PROTOCOL_UDP)
		size = 8;
	else
		return PARSED;
	l4 = peek(c, size);
	if (!l4)
		return PARSED_TRUNCATED;
	if (c->at + size > c->ip_end)
		return PARSED_MALFORMED; /* what stands there is padding */
	flow->src_port = get16(l4);
	flow->dst_port = get16(l4 + 2);
	if (flow->protocol == PROTOCOL_TCP) {
		flow->tcp_seq = get32(l4 + 4);
		size = (l4[12] >> 4) * 4;
		if (size < 20)
			return PARSED_MALFORMED;
	}
	flow->has_ports = 1;
	c->l4_size = size;
	return PARSED;
}

/* A later one has no ports of its own: it is unmatched until its first is found. */
static __always_inline enum vmlat_fragment which_fragment(__u32 offset, bool more)
{
	if (offset)
		return VMLAT_UNMATCHED_FRAGMENT;
	return more ? VMLAT_FIRST_FRAGMENT : VMLAT_WHOLE;
}

/* What an IP header says that follows its first `fixed` bytes; 0 in a BIG TCP packet (IPv6 since 5.19, IPv4 since 6.3), whose length has no room there. */
static __always_inline __u32 length_of(const struct cursor *c, __u16 said, __u32 fixed)
{
	__u32 length = c->length - c->at;

	return said || length - fixed <= 0xffff ? said : length - fixed;
}

static __always_inline enum parsed parse_ipv4(struct cursor *c, struct vmlat_flow *flow)
{
	const __u8 *ip = peek(c, 20);
	__u32 header, total, fragment;

	if (!ip)
		return PARSED_TRUNCATED;
	header = (ip[0] & 15) * 4;
	total = length_of(c, get16(ip + 2), 0);
	if (ip[0] >> 4 != 4 || header < 20 || total < header || c->at + total > c->length)
		return PARSED_MALFORMED;
	c->ip_end = c->at + total;
	copy_address(flow->src, ip + 12, 1);
	copy_address(flow->dst, ip + 16, 1);
	flow->protocol = ip[9];
	flow->ip_id = get16(ip + 4);
	flow->has_ip_id = 1;
	fragment = get16(ip + 6);
	c->fragment_id = flow->ip_id;
	flow->fragment = which_fragment(fragment & 0x1fff, fragment & 0x2000);
	c->at += header;
	return fragment & 0x1fff ? PARSED : parse_ports(c, flow);
}

enum step {
	STEP_MORE,
	STEP_DONE,
	STEP_LATER_FRAGMENT, /* what follows is no header */
	STEP_TRUNCATED,
	STEP_MALFORMED,
};

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == IPV6_HOP_BY_HOP || protocol == IPV6_ROUTING ||
	       protocol == IPV6_FRAGMENT || protocol == IPV6_DESTINATION;
}

/* Over one extension header, to flow->protocol behind it. */
static __always_inline enum step skip_extension(struct cursor *c, struct vmlat_flow *flow)
{
	bool fragment = flow->protocol == IPV6_FRAGMENT;
	const __u8 *header;
	__u32 after;
	__u16 offset;

	if (!is_extension(flow->protocol))
		return STEP_DONE;
	header = peek(c, 8);
	if (!header)
		return STEP_TRUNCATED;
	if (c->at + 8 > c->ip_end)
		return STEP_MALFORMED;
	after = c->at + (fragment ? 8 : header[1] * 8 + 8);
	if (after > c->end)
		return STEP_TRUNCATED;
	if (after > c->ip_end)
		return STEP_MALFORMED;
	flow->protocol = header[0];
	c->at = after;
	if (!fragment)
		return STEP_MORE;
	offset = get16(header + 2);
	c->fragment_id = get32(header + 4);
	flow->fragment = which_fragment(offset & 0xfff8, offset & 1);
	return offset & 0xfff8 ? STEP_LATER_FRAGMENT : STEP_MORE;
}

/* At most four (more are STEP_MORE still), by hand: 6.1 takes the loop that clang 14 makes of it for an endless one. */
static __always_inline enum step skip_extensions(struct cursor *c, struct vmlat_flow *flow)
{
	enum step step = skip_extension(c, flow);

	if (step == STEP_MORE)
		step = skip_extension(c, flow);
	if (step == STEP_MORE)
		step = skip_extension(c, flow);
	if (step == STEP_MORE)
		step = skip_extension(c, flow);
	return step;
}

static __always_inline enum parsed parse_ipv6(struct cursor *c, struct vmlat_flow *flow)
{
	const __u8 *ip = peek(c, 40);
	enum step step;
	__u32 payload;

	if (!ip)
		return PARSED_TRUNCATED;
	payload = length_of(c, get16(ip + 4), 40);
	if (ip[0] >> 4 != 6 || c->at + 40 + payload > c->length)
		return PARSED_MALFORMED;
	copy_address(flow->src, ip + 8, 4);
	copy_address(flow->dst, ip + 24, 4);
	flow->protocol = ip[6];
	c->at += 40;
	c->ip_end = c->at + payload;
	step = skip_extensions(c, flow);
	if (step == STEP_MALFORMED)
		return PARSED_MALFORMED;
	if (step == STEP_TRUNCATED || (step == STEP_MORE && is_extension(flow->protocol)))
		return PARSED_TRUNCATED;
	return step == STEP_LATER_FRAGMENT ? PARSED : parse_ports(c, flow);
}

/* *flow is zeroed but for a tag from the skb's metadata. On failure nothing of it is valid. */
static __always_inline enum parsed parse_packet(struct cursor *c, struct vmlat_flow *flow)
{
	enum parsed parsed = parse_vlans(c, flow);

	if (parsed != PARSED)
		return parsed;
	if (c->ethertype == ETHERTYPE_IPV4) {
		parsed = parse_ipv4(c, flow);
		flow->family = parsed == PARSED ? 4 : 0;
	} else if (c->ethertype == ETHERTYPE_IPV6) {
		parsed = parse_ipv6(c, flow);
		flow->family = parsed == PARSED ? 6 : 0;
	}
	return parsed;
}

enum { PLAIN_BYTES = 40 }; /* what parse_plain looks at, at most */

/*
 * The same of what most packets are, in a few steps: TCP or UDP in IPv4, without options and
 * whole. `bytes` begin at the network header, `end` of them can be read, the packet has `length`. All
 * of *flow is written. False: it takes parse_packet to tell what it is.
 */
static __always_inline bool parse_plain(const __u8 *bytes, __u64 end, __u32 length,
					struct vmlat_flow *flow)
{
	enum { IP = 20, UDP = 8, TCP = 20 };
	const __u32 *word = (const __u32 *)bytes;
	__u32 total = bpf_ntohs(*(const __u16 *)(bytes + 2)), ports = word[5];

	if (end < IP + UDP || bytes[0] != 0x45 || total > length || total < IP + UDP ||
	    word[1] & bpf_htonl(0x3fff)) /* more fragments, or an offset */
		return false;
	flow->tcp_seq = 0;
	if (bytes[9] == PROTOCOL_TCP) {
		if (end < IP + TCP || total < IP + TCP || bytes[IP + 12] < 0x50)
			return false;
		flow->tcp_seq = bpf_ntohl(word[6]);
	} else if (bytes[9] != PROTOCOL_UDP) {
		return false;
	}
	__builtin_memset(flow->src, 0, sizeof(flow->src));
	__builtin_memset(flow->dst, 0, sizeof(flow->dst));
	flow->src[0] = word[3];
	flow->dst[0] = word[4];
	ports = bpf_ntohl(ports);
	flow->src_port = ports >> 16;
	flow->dst_port = ports;
	flow->vlan_tci[0] = 0;
	flow->vlan_tci[1] = 0;
	flow->vlans = 0;
	flow->family = 4;
	flow->protocol = bytes[9];
	flow->has_ports = 1;
	flow->fragment = VMLAT_WHOLE;
	flow->has_ip_id = 1;
	flow->ip_id = bpf_ntohs(*(const __u16 *)(bytes + 4));
	return true;
}

/* The tag that the skb carries beside the packet, if any: *tci. */
static __always_inline bool skb_vlan(const struct sk_buff *skb, bool direct, __u16 *tci)
{
	/* vlan_present went away with 6.2 (354259fa73e2): since then a tag is there when its
	 * protocol is, which before was left behind when the tag was cleared */
	if (bpf_core_field_exists(skb->vlan_present)) {
		if (direct ? !BPF_CORE_READ_BITFIELD(skb, vlan_present)
			   : !BPF_CORE_READ_BITFIELD_PROBED(skb, vlan_present))
			return false;
	} else if (direct ? !skb->vlan_proto : !BPF_CORE_READ(skb, vlan_proto)) {
		return false;
	}
	*tci = direct ? skb->vlan_tci : BPF_CORE_READ(skb, vlan_tci);
	return true;
}

enum { ETHERNET = 14 };

/*
 * The start of an skb whose data begins at the Ethernet header, as far as the network header:
 * scratch->l3, where the cursor is then. False when not even that could be read.
 */
static __always_inline bool read_ethernet(const struct sk_buff *skb, struct scratch *scratch)
{
	struct vmlat_flow *flow = &scratch->flow;
	__u8 *packet = scratch->packet;
	__u32 length = BPF_CORE_READ(skb, len), linear = length - BPF_CORE_READ(skb, data_len);
	struct cursor c;
	__u16 tci;

	__builtin_memset(&c, 0, sizeof(c));
	__builtin_memset(flow, 0, sizeof(*flow));
	c.at = ETHERNET;
	c.end = at_most(linear, PACKET_BYTES);
	c.length = length;
	if (linear < ETHERNET || bpf_probe_read_kernel(packet, c.end, BPF_CORE_READ(skb, data)))
		return false;
	if (skb_vlan(skb, false, &tci))
		add_vlan(flow, tci);
	c.ethertype = get16(packet + 12);
	c.bytes = packet;
	if (parse_vlans(&c, flow) != PARSED)
		return false;
	c.bytes = NULL;
	scratch->cursor = c;
	scratch->l3 = c.at;
	return true;
}

/*
 * What is in that scratch from its cursor on, which is left at the L4 header, or where parsing
 * failed. Apart, so that the verifier looks once at the parser, not again for every way that leads
 * to it.
 */
GLOBAL int parse_scratch(__u32 which)
{
	struct cpu_state *cpu = this_cpu();
	struct scratch *scratch;
	enum parsed parsed;
	struct cursor c;

	scratch = scratch_of(cpu, which);
	c = scratch->cursor;
	c.bytes = scratch->packet;
	parsed = parse_packet(&c, &scratch->flow);
	c.bytes = NULL;
	scratch->cursor = c;
	return parsed;
}

#endif
