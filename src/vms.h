/* SPDX-License-Identifier: GPL-2.0 */
/* Which VM a tap belongs to, from the running QEMU processes, without libvirt. */
#ifndef VMLAT_VMS_H
#define VMLAT_VMS_H

#include <stddef.h>

/*
 * Calls `found` for each tap that a process has open: the tap's name (/proc/PID/fdinfo, "iff:")
 * and the VM's (-name in its command line; the process's own name when it has none).
 */
void vms__each(void (*found)(void *context, const char *tap, const char *vm), void *context);

/*
 * The guest's name in a QEMU command line: NUL separated arguments, `length` bytes in all.
 * "-name web1" and "-name guest=web1,process=x" are both web1. False when there is none.
 */
int vms__name_from_arguments(const char *arguments, size_t length, char *name, size_t size);

#endif
