/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's symbols, from /proc/kallsyms. */
#ifndef VMLAT_SYMBOLS_H
#define VMLAT_SYMBOLS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct symbols;

/*
 * Reads a kallsyms file (path NULL: the kernel's own). NULL with errno set on failure. Freed with
 * symbols__free.
 */
struct symbols *symbols__load(const char *path);
void symbols__free(struct symbols *symbols);

/* The kernel shows the names alone (kptr_restrict, or not root): every address is 0. */
bool symbols__hidden(const struct symbols *symbols);

/* Address of the function of exactly this name in this module ("": the kernel), 0 if none. */
__u64 symbols__address(struct symbols *symbols, const char *module, const char *name);

/* Whether there is such a function: true also where its address is hidden. */
bool symbols__has(struct symbols *symbols, const char *module, const char *name);

/*
 * The suffix that the compiler gave what it made of the function: ".isra.0" where there is only
 * foo.isra.0. NULL: there is none either. Belongs to `symbols`.
 */
const char *symbols__suffix(struct symbols *symbols, const char *module, const char *name);

/*
 * Address of a variable of the kernel itself, of those that are looked for ("page_offset_base",
 * "vmemmap_base", "__per_cpu_offset", "__preempt_count", "pcpu_hot", "local_interrupt_disable_state");
 * 0: there is none. Of one that each CPU has, what its __per_cpu_offset is to be added to.
 */
__u64 symbols__variable(const struct symbols *symbols, const char *name);

/* True when the module has any function: it is loaded, not built in. */
bool symbols__has_module(const struct symbols *symbols, const char *module);

/*
 * Name of the function that the code address is in, and the offset into it; NULL if none is
 * near before it (BPF programs stand between the modules, and may have no symbol). The name
 * belongs to `symbols`.
 */
const char *symbols__name(struct symbols *symbols, __u64 address, __u64 *offset);

#endif
