/* SPDX-License-Identifier: GPL-2.0 */
/* What rtnetlink tells of this namespace's devices: the tunnels, and that something changed. */
#ifndef VMLAT_LINKS_H
#define VMLAT_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

struct mnl_socket;
struct nlmsghdr;

/* The tunnels that are up, and may bring a frame to the switch. */
struct tunnels {
	bool any;
	bool overfull; /* there are more ports than room: the user was told */
	size_t count;
	__u16 port[VMLAT_TUNNEL_PORTS]; /* UDP ports that they listen on; behind `count`: 0 */
};

/* 0 or -errno. `tunnels` is zeroed before the first time, and brought up to date by any other. */
int links__tunnels(struct tunnels *tunnels);

/* Adds what one RTM_NEWLINK message says. */
void links__add_tunnel(struct tunnels *tunnels, const struct nlmsghdr *message);

/* What rtnetlink says of a device, beside its tunnel. The strings are the message's. */
struct link {
	unsigned int ifindex;
	const char *name;
	const char *kind; /* "macvtap", …; "" for hardware */
	bool xdp; /* a program takes its packets before there is an skb */
};

/* What one RTM_NEWLINK message says; false: it is none. */
bool links__describe(const struct nlmsghdr *message, struct link *link);

/* Calls `found` for each device of this namespace. 0 or -errno. */
int links__each(void (*found)(void *context, const struct link *link), void *context);

/* How many tc filters at this device's ingress the hardware works for (offloaded flows); -errno. */
int links__offloaded(unsigned int ifindex);

/* Whether one RTM_NEWTFILTER message is such a one. */
bool links__is_offloaded(const struct nlmsghdr *message);

/* A socket that every change of a device is told to; NULL with errno set on failure. */
struct mnl_socket *links__watch(void);
void links__unwatch(struct mnl_socket *watch);
int links__fd(const struct mnl_socket *watch);

/* Whether anything changed since the last call. Never waits. */
bool links__changed(const struct mnl_socket *watch);

#endif
