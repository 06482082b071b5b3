/* SPDX-License-Identifier: GPL-2.0 */
/* What this kernel is and has: symbols, BTF, drop reasons. */
#ifndef VMLAT_KERNEL_H
#define VMLAT_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#include "symbols.h"

struct btf;

enum { KERNEL_MODULES = 8 }; /* that hooks are in: room for those of include/hooks.h */

struct kernel_module {
	const char *name; /* NULL: this place is free */
	struct btf *btf; /* NULL when it is built in, not loaded, or without module BTF */
};

struct kernel {
	struct symbols *symbols;
	struct btf *btf; /* vmlinux */
	struct kernel_module modules[KERNEL_MODULES];
	bool kprobes;
	bool get_func_arg; /* the helper, 5.17 */
	bool deferred_enqueue; /* a CPU may put another's packet into a qdisc, 6.19 */
	bool drop_reasons; /* skb:kfree_skb has a reason, 5.17 and some 5.15 */
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

/*
 * The place of a module that hooks are in: one that is free gets the name. NULL: there is none left.
 */
struct kernel_module *kernel__module(struct kernel *kernel, const char *name);

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
