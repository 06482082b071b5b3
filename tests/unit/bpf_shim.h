/* SPDX-License-Identifier: GPL-2.0 */
/* What the headers of bpf/ take from the kernel and from libbpf, for a program in user space. */
#ifndef VMLAT_BPF_SHIM_H
#define VMLAT_BPF_SHIM_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/cdefs.h>

#include "config.h"

/* bpf_helpers.h; NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): its names */
#define SEC(name)
#define __uint(name, value)  int(*name)[value]
#define __type(name, value)  typeof(value) *name
#define __array(name, value) typeof(value) *name[1]
#define barrier_var(var)     asm volatile("" : "+r"(var))
#define barrier()	     asm volatile("" ::: "memory")
#define GLOBAL		     static __attribute__((unused))
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* bpf_core_read.h: a kernel before 6.2 has vlan_present, a later one has not */
static bool kernel_has_vlan_present;
#define bpf_core_field_exists(field)		   kernel_has_vlan_present
#define SHIM_READ_2(from, a)			   ((from)->a)
#define SHIM_READ_3(from, a, b)			   ((from)->a->b)
#define SHIM_THIRD(a, b, c, name, ...)		   name
#define BPF_CORE_READ(...)			   SHIM_THIRD(__VA_ARGS__, SHIM_READ_3, SHIM_READ_2, )(__VA_ARGS__)
#define BPF_CORE_READ_BITFIELD(from, field)	   ((from)->field)
#define BPF_CORE_READ_BITFIELD_PROBED(from, field) ((from)->field)

/* vmlinux.h */
struct sk_buff {
	const void *data;
	__u32 len;
	__u32 data_len;
	__u8 vlan_present : 1;
	__be16 vlan_proto;
	__u16 vlan_tci;
};

struct net {
	struct {
		unsigned int inum;
	} ns;
};

struct net_device {
	int ifindex;
	struct {
		struct net *net;
	} nd_net;
};

#define bpf_htons(value) __builtin_bswap16(value)
#define bpf_ntohs(value) __builtin_bswap16(value)
#define bpf_htonl(value) __builtin_bswap32(value)
#define bpf_ntohl(value) __builtin_bswap32(value)

/* the CPU that this is */
enum { SHIM_CPU = 2 };
#define bpf_get_smp_processor_id() SHIM_CPU

/* the test's */
static void *bpf_map_lookup_elem(const void *map, const void *key);
static long bpf_probe_read_kernel(void *to, size_t size, const void *from);

/* the state of one CPU is used here, the counter of published flights is not */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "maps.h"
#pragma GCC diagnostic pop
#include "packet.h"
#include "filter.h"
#include "sampling.h"

#endif
