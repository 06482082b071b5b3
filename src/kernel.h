/* SPDX-License-Identifier: GPL-2.0 */
/* What this kernel is and has: symbols, BTF, drop reasons, and what it lets us do. */
#ifndef VMLAT_KERNEL_H
#define VMLAT_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#include "hooks.h"
#include "symbols.h"

struct btf;
struct types;
struct utsname;

enum { KERNEL_MODULES = 8 }; /* that hooks are in: room for those of include/hooks.h */

struct kernel_module {
	const char *name; /* NULL: this place is free */
	struct btf *btf; /* NULL when it is built in, not loaded, or without module BTF */
	struct types *types; /* of btf; NULL: look for them one by one */
};

/* What some of it returns where this kernel was built without: not in errno.h. */
enum { ENOTSUPP = 524 };

/* Ways of attaching, as bits. */
enum attach_way {
	BY_TRACING = 1, /* tracepoint, fentry, fexit */
	BY_PROBE = 2, /* kprobe, kretprobe */
};

struct kernel {
	char release[65]; /* uname -r */
	bool realtime; /* PREEMPT_RT */
	bool locked_down; /* BPF may not read the kernel's memory (lockdown=confidentiality) */
	bool capable; /* CAP_SYS_ADMIN */
	struct symbols *symbols; /* NULL: there are none, see symbols_error */
	int symbols_error; /* errno */
	struct btf *btf; /* vmlinux; NULL: there is none */
	struct types *types; /* of btf; NULL: look for them one by one */
	struct kernel_module modules[KERNEL_MODULES];
	struct btf *reasons; /* why an skb is dropped: the enumerations alone; NULL: unknown */
	bool kprobes;
	bool no_fentry; /* it has BTF, and yet fentry reaches no function (arm64 before 6.4) */
	bool get_func_arg; /* the helper, 5.17 */
	bool deferred_enqueue; /* a CPU may put another's packet into a qdisc, 6.19 */
	bool drop_reasons; /* skb:kfree_skb has a reason, 5.17 and some 5.15 */
	bool counts_misses; /* of tracepoint, fentry and fexit, 5.12 */
	__u8 refused[VMLAT_HOOK_COUNT]; /* enum attach_way: found out when it was tried */
	/* What VMLAT_DENY takes away (see deny.h), which is for tests only. */
	bool denied[VMLAT_HOOK_COUNT]; /* as if there were no such function, or tracepoint */
	__u8 to_refuse[VMLAT_HOOK_COUNT]; /* as if the kernel refused it when it is tried */
	bool to_refuse_fentry; /* as if it refused that of every function */
};

enum module_state {
	MODULE_ABSENT, /* nothing of it is there */
	MODULE_LOADED,
	MODULE_BUILT_IN,
};

/*
 * Looks at the running kernel, as far as whoever runs this may: whether it can be traced is
 * obstacle.h's. 0 or an exit code, after an error was told. Released with kernel__close, also after
 * a failure.
 */
int kernel__open(struct kernel *kernel);
void kernel__close(struct kernel *kernel);

/*
 * Three parts of that, which tests call with a kernel made by hand: what the words of uname say, and
 * kernel->symbols with them; what kernel->btf says; and why an skb is dropped, in what follows it.
 */
void kernel__read_names(struct kernel *kernel, const struct utsname *host);
void kernel__read_btf(struct kernel *kernel);
void kernel__keep_reasons(struct kernel *kernel);

/*
 * All that hooks are chosen and programs loaded by is given back, megabytes: from then on the kernel
 * is asked for names of symbols and of drop reasons only.
 */
void kernel__forget_types(struct kernel *kernel);

/*
 * Reads the symbols again: those of BPF programs are there once they are loaded. 0 or -errno, and
 * then the old ones stay.
 */
int kernel__reload_symbols(struct kernel *kernel);

/*
 * The place of a module that hooks are in: one that is free gets the name. NULL: there is none left.
 */
struct kernel_module *kernel__module(struct kernel *kernel, const char *name);

/* How a module that hooks are in is there. */
enum module_state kernel__module_state(const struct kernel *kernel, const char *name);

/* The module has BTF of its own. */
bool kernel__has_module_btf(const struct kernel *kernel, const char *name);

/* Address of the hook's function; 0: there is none, or it is hidden. */
__u64 kernel__function(const struct kernel *kernel, enum vmlat_hook hook);

/*
 * The function's number in the BTF of its module, or in the kernel's (module "", or one without BTF
 * of its own); 0: it has none, and fentry cannot find it.
 */
__u32 kernel__function_id(const struct kernel *kernel, const char *module, const char *name);

/* The same of a tracepoint, by which it is attached to with its arguments' types (tp_btf). */
__u32 kernel__tracepoint_id(const struct kernel *kernel, const char *name);

/*
 * The kernel's name of a drop reason, without its prefix (SKB_DROP_REASON_ or OVS_DROP_);
 * NULL when it has none. Belongs to the BTF.
 */
const char *kernel__drop_reason(const struct kernel *kernel, __u32 reason);

#endif
