/* SPDX-License-Identifier: GPL-2.0 */
/* Types of the kernel, or of one of its modules, by name: libbpf looks at each type for each name. */
#ifndef VMLAT_TYPES_H
#define VMLAT_TYPES_H

#include <bpf/btf.h>

struct types;

/*
 * Of this BTF alone, not of the one that it is based on (`base`, NULL: none). NULL: errno says why.
 * `btf` must live as long.
 */
struct types *types__open(const struct btf *btf, const struct btf *base);
void types__close(struct types *types);

/* The number of the struct, enum, typedef or function of this name, 0 if there is none. */
__u32 types__find(const struct types *types, const char *name, int kind);

#endif
