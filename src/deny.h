/* SPDX-License-Identifier: GPL-2.0 */
/* VMLAT_DENY: takes hooks away, so that tests see what is left without them. For nothing else. */
#ifndef VMLAT_DENY_H
#define VMLAT_DENY_H

struct kernel;

/*
 * Comma separated names of hooks, as in include/hooks.h: as if this kernel had no function, or
 * tracepoint, of that name. With :fentry, :fexit, :kprobe, :kretprobe or :tracepoint behind the name
 * it is there, but the kernel refuses that way when it is tried. `text` NULL: nothing is denied. 0 or
 * an exit code, after an error was told.
 */
int deny__parse(struct kernel *kernel, const char *text);

#endif
