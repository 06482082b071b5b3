/* SPDX-License-Identifier: GPL-2.0 */
/* What Open vSwitch is configured to do, from its database's socket, without its tools. */
#ifndef VMLAT_OVSDB_H
#define VMLAT_OVSDB_H

#include <stdbool.h>
#include <stddef.h>

enum { OVS_NAME = 64 };

/* One interface of a port of a bridge. */
struct ovs_interface {
	char name[OVS_NAME];
	char type[OVS_NAME]; /* "" is a device of the kernel; "internal", "vxlan", "dpdk", … */
	char port[OVS_NAME]; /* a bond's when it has several interfaces */
	char bridge[OVS_NAME];
	bool in_user_space; /* the bridge's datapath is not the kernel's ("netdev") */
};

struct ovs {
	bool known; /* the database answered: the rest is true */
	char error[192]; /* else why not */
	char version[OVS_NAME];
	bool offloads; /* other_config:hw-offload */
	struct ovs_interface *interfaces;
	size_t count;
};

/* Asks the database behind this socket; NULL: the usual one. Released with ovs__free. */
void ovs__ask(struct ovs *ovs, const char *path);
void ovs__free(struct ovs *ovs);

/* The interface of this name, or NULL. */
const struct ovs_interface *ovs__interface(const struct ovs *ovs, const char *name);

#endif
