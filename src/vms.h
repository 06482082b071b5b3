/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which VM a tap belongs to, from the running processes, without libvirt: the one that has the tap
 * open and whose command line names it as QEMU's does (-name). Any other program that has a tap
 * open is no VM.
 */
#ifndef VMLAT_VMS_H
#define VMLAT_VMS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Calls `found` for each descriptor of a tap of this network namespace that a VM's process has: the
 * tap's name, as often as it has queues, and the VM's. `proc` is where /proc is. True when some
 * could not be looked at, for want of CAP_SYS_PTRACE.
 */
bool vms__each(const char *proc, void (*found)(void *context, const char *tap, const char *vm),
	       void *context);

/*
 * The guest's name in QEMU's command line: NUL separated arguments, `length` bytes in all.
 * "-name web1" and "-name guest=web1,process=x" are both web1. False when there is none.
 */
bool vms__name_from_arguments(const char *arguments, size_t length, char *name, size_t size);

#endif
