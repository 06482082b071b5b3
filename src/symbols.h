/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's symbols, from /proc/kallsyms. */
#ifndef VMLAT_SYMBOLS_H
#define VMLAT_SYMBOLS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct symbols;

/*
 * Reads a kallsyms file (path NULL: the kernel's own). NULL with errno set on failure; EPERM
 * when every address is hidden (kptr_restrict, or not root). Freed with symbols__free.
 */
struct symbols *symbols__load(const char *path);
void symbols__free(struct symbols *symbols);

/* Address of the function of exactly this name in this module ("": the kernel), 0 if none. */
__u64 symbols__address(const struct symbols *symbols, const char *module, const char *name);

/* True when the module has any symbol: it is loaded, or its name is built in. */
bool symbols__has_module(const struct symbols *symbols, const char *module);

/*
 * Name of the function that the code address is in, and the offset into it; NULL if none is
 * near before it (BPF programs stand between the modules, and may have no symbol). The name
 * belongs to `symbols`.
 */
const char *symbols__name(const struct symbols *symbols, __u64 address, __u64 *offset);

#endif
