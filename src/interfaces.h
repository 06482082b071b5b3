/* SPDX-License-Identifier: GPL-2.0 */
/* The devices' entries in the settings, which the BPF side reads while they change. */
#ifndef VMLAT_INTERFACES_H
#define VMLAT_INTERFACES_H

#include <stdbool.h>

#include "config.h"

/*
 * Writes the entry at its place in the table of VMLAT_INTERFACES, such that no reader ever sees half
 * of it. False: another device stands there, the entry belongs into the interfaces map.
 */
bool interfaces__place(struct vmlat_interface *table, const struct vmlat_interface *entry);

/* Its place is free, if it stands there: the device is gone. */
void interfaces__clear(struct vmlat_interface *table, const struct vmlat_device *device);

#endif
