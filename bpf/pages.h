/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What of a packet is not in its skb's linear part but in its first page. A driver may leave even
 * the headers there until somebody needs them (virtio_net before 5.13, of more than 128 bytes).
 * There is no helper that maps a page for a tracing program, so it is found as the kernel does on
 * x86-64: pages stand one after the other in memory as their struct pages do at vmemmap.
 */
#ifndef VMLAT_PAGES_H
#define VMLAT_PAGES_H

/* skb_frag_t: struct bio_vec from 5.4 on, struct skb_frag since 6.10, laid out alike. */
struct page_part {
	__u64 page; /* its struct page; with the lowest bit set it is none (netmem, 6.10) */
	__u32 length;
	__u32 offset;
};

/* Address of what stands in this page from `offset` on, 0 when it cannot be told. */
static __always_inline __u64 address_in_page(__u64 page, __u32 offset)
{
	enum { PAGE_SHIFT = 12 };
	__u64 pages = 0, memory = 0;

	if (page & 1 ||
	    bpf_probe_read_kernel(&pages, sizeof(pages), (void *)features.vmemmap_base) ||
	    bpf_probe_read_kernel(&memory, sizeof(memory), (void *)features.page_offset_base))
		return 0;
	return memory + ((page - pages) / bpf_core_type_size(struct page) << PAGE_SHIFT) + offset;
}

/* Reads on into scratch->packet behind the `at` bytes that are there: how many there are then. */
static __always_inline __u64 read_page(struct scratch *scratch, const struct sk_buff *skb, __u64 at)
{
	const struct skb_shared_info *shared =
		(void *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);
	struct page_part part;
	__u64 address, size;

	if (!BPF_CORE_READ(shared, nr_frags) ||
	    bpf_probe_read_kernel(&part, sizeof(part),
				  (void *)shared +
					  bpf_core_field_offset(struct skb_shared_info, frags)))
		return at;
	address = address_in_page(part.page, part.offset);
	size = at_most(part.length, PACKET_BYTES);
	barrier_var(at);
	if (!address || at > PACKET_BYTES)
		return at;
	barrier_var(at);
	if (bpf_probe_read_kernel(scratch->packet + at, size, (void *)address))
		return at;
	return at_most(at + size, PACKET_BYTES);
}

#endif
