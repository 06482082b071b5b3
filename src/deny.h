/* SPDX-License-Identifier: GPL-2.0 */
/* VMLAT_DENY: takes hooks away, so that tests see what is left without them. For nothing else. */
#ifndef VMLAT_DENY_H
#define VMLAT_DENY_H

#include "kernel.h"

/*
 * Comma separated names of hooks, as in include/hooks.h: as if this kernel had no function, or
 * tracepoint, of that name. With :fentry, :fexit, :kprobe, :kretprobe or :tracepoint behind the name
 * it is there, but the kernel refuses that way when it is tried. A word "fentry" alone: it refuses that
 * of every function. `text` NULL: nothing is denied. 0 or an exit code, after an error was told.
 */
int deny__parse(struct kernel *kernel, const char *text);

/* Whether the kernel refuses this way now that it is tried; errno says why. */
bool deny__refuses(const struct kernel *kernel, enum vmlat_hook hook, enum attach_way way);

#endif
