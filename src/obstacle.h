/* SPDX-License-Identifier: GPL-2.0 */
/* Why this host cannot be traced, or not by this user, and what to do. */
#ifndef VMLAT_OBSTACLE_H
#define VMLAT_OBSTACLE_H

#include <stddef.h>

#include "devices.h"
#include "hook.h"
#include "kernel.h"

enum { OBSTACLES = 16, OBSTACLE_TEXT = 320 };

/* Zeroed at first; the functions below add to it. */
struct obstacles {
	size_t count;
	char text[OBSTACLES][OBSTACLE_TEXT];
};

/* Of what the kernel is, and of the privilege. */
void obstacles__of_kernel(struct obstacles *obstacles, const struct kernel *kernel);

/* Of the VMs that are to be traced. */
void obstacles__of_vms(struct obstacles *obstacles, const struct devices *devices,
		       const struct device_choice *choice);

/* Of the hooks of a trace, as hooks__choose chose them. */
void obstacles__of_hooks(struct obstacles *obstacles, const struct kernel *kernel,
			 const struct hook_choice choices[VMLAT_HOOK_COUNT]);

/* Tells each, as an error. The exit code: 0 when there is none. */
int obstacles__tell(const struct obstacles *obstacles);

#endif
