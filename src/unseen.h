/* SPDX-License-Identifier: GPL-2.0 */
/* Traffic of VMs that passes the kernel without an skb, where no hook sees it. */
#ifndef VMLAT_UNSEEN_H
#define VMLAT_UNSEEN_H

#include <stdbool.h>
#include <stddef.h>

#include "devices.h"
#include "ovsdb.h"

enum unseen_kind {
	UNSEEN_OFFLOAD, /* flows that the NIC works for */
	UNSEEN_USER_SPACE, /* DPDK, AF_XDP and vhost-user ports of Open vSwitch */
	UNSEEN_VHOST_USER, /* of a VM */
	UNSEEN_VDPA,
	UNSEEN_MACVTAP,
	UNSEEN_PASSTHROUGH, /* SR-IOV virtual functions, whole NICs */
	UNSEEN_XDP, /* a program may take packets before they are skbs */
	UNSEEN_KINDS,
};

struct unseen {
	enum unseen_kind kind;
	char what[64]; /* device, bridge; "" */
	char vm[VM_NAME]; /* "" unknown, or of none */
	char how[128]; /* it is known */
};

/* What was found, and what could not be looked at. Zeroed at first. */
struct unseen_list {
	struct unseen *all;
	size_t count;
	bool processes_hidden; /* some QEMU's open files are not ours to read */
	bool offload_unknown; /* the devices' filters could not be read */
};

/* "offload", …; and what it means, in words. */
const char *unseen_name(enum unseen_kind kind);
const char *unseen_words(enum unseen_kind kind);

/* Looks everywhere. 0 or -errno. Released with unseen__free. */
int unseen__find(struct unseen_list *list, const struct devices *devices, const struct ovs *ovs);
void unseen__free(struct unseen_list *list);

/* Adds one; `vm` may be NULL. */
__attribute__((format(printf, 5, 6))) void unseen__add(struct unseen_list *list,
						       enum unseen_kind kind, const char *what,
						       const char *vm, const char *how, ...);

/* Adds what a QEMU's command line says: NUL separated arguments, `length` bytes in all. */
void unseen__of_arguments(struct unseen_list *list, const char *arguments, size_t length,
			  const char *vm, const char *pid);

#endif
