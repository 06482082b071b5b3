/* SPDX-License-Identifier: GPL-2.0 */
/* What this kernel is and has: symbols, BTF, drop reasons. */
#ifndef VMLAT_KERNEL_H
#define VMLAT_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#include "symbols.h"

struct btf;

struct kernel {
	struct symbols *symbols;
	struct btf *btf; /* vmlinux */
	struct btf *tun; /* of the module; NULL when built in, or without module BTF */
	struct btf *openvswitch; /* the same */
	bool kprobes;
	bool get_func_arg; /* the helper, 5.17 */
	bool deferred_enqueue; /* a CPU may put another's packet into a qdisc, 6.19 */
	bool drop_reasons; /* skb:kfree_skb has a reason, 5.17 and some 5.15 */
	bool queue_by_others; /* a qdisc may get a packet from another CPU, 6.19 */
};

/*
 * Looks at the running kernel. On failure says why and what to do, and returns an exit code;
 * else 0. Released with kernel__close, also after a failure.
 */
int kernel__open(struct kernel *kernel);
void kernel__close(struct kernel *kernel);

/*
 * Reads the symbols again: those of BPF programs are there once they are loaded. 0 or -errno, and
 * then the old ones stay.
 */
int kernel__reload_symbols(struct kernel *kernel);

/* The function has BTF, so fentry can find it. module "": the kernel itself. */
bool kernel__has_btf_function(const struct kernel *kernel, const char *module, const char *name);

/* The tracepoint can be attached to with its arguments' types (tp_btf). */
bool kernel__has_tracepoint(const struct kernel *kernel, const char *name);

/*
 * The kernel's name of a drop reason, without its prefix (SKB_DROP_REASON_ or OVS_DROP_);
 * NULL when it has none. Belongs to the BTF.
 */
const char *kernel__drop_reason(const struct kernel *kernel, __u32 reason);

#endif
