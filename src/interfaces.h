/* SPDX-License-Identifier: GPL-2.0 */
/* The devices' entries in the settings, which the BPF side reads while they change. */
#ifndef VMLAT_INTERFACES_H
#define VMLAT_INTERFACES_H

#include <stdbool.h>

#include "config.h"

/*
 * Writes the entry at its place in the table of VMLAT_INTERFACES, such that no reader ever sees half
 * of it; roles 0: the device is gone, or not selected. False: another device stands there, the
 * entry belongs into the interfaces map (or, without roles, out of it).
 */
bool interfaces__place(struct vmlat_interface *table, const struct vmlat_interface *entry);

#endif
