/* SPDX-License-Identifier: GPL-2.0 */
/* The network devices of this host that a trace begins and ends at, and their VMs. */
#ifndef VMLAT_DEVICES_H
#define VMLAT_DEVICES_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "links.h"

enum { VM_NAME = 128 }; /* what is longer is cut */

struct device {
	char name[IF_NAMESIZE];
	char vm[VM_NAME]; /* whose process has, or was the last to have, the tap open; "" unknown */
	struct vmlat_device id;
	bool tap;
	bool tun; /* of the driver that makes taps; it may be none */
	bool nic; /* hardware, or what a hypervisor shows as such */
	bool leads_to_switch;
	bool leads_to_bridge; /* a switch that is a Linux bridge */
	bool bridge; /* is one itself */
	bool spreads; /* a tap with RPS: its packets go on on other CPUs */
	bool came; /* it was not there when the devices were selected first */
	bool reserved; /* nothing, but the place of a tap that the BPF side may see first */
	bool gone; /* it was there; its index and its name stay. Or the tap was another VM's */
	unsigned int openings; /* of a tap: how often somebody opened it that nobody had open */
	__u32 roles; /* 0: not selected */
};

struct devices {
	struct device *all; /* its index is that of the interfaces and traffic maps */
	size_t count;
	__u16 latest[VMLAT_INTERFACES]; /* by ifindex % VMLAT_INTERFACES: index + 1; 0: none */
	__u32 netns;
	struct tunnels tunnels;
	bool nic_leads_to_switch; /* any did, when the selection was made */
	bool overfull; /* there are more devices than room: the user was told */
	bool vms_hidden; /* some VM's open files are not ours to read */
};

/* The selection, as the user gave it. Lists are NULL terminated, or NULL. */
struct device_choice {
	char **taps;
	char **vms;
	char **nics;
	int directions; /* enum vmlat_direction */
};

/*
 * Finds the devices of this network namespace. What the user was told of `before` (or NULL), is not
 * told again. 0 or -errno; released with devices__free, also after a failure.
 */
int devices__find(struct devices *devices, const struct devices *before);

/* Asks the running processes which VM each tap is of. */
void devices__name_vms(struct devices *devices);

/* Whether somebody has opened a tap since, so that it may have a VM that is not known. */
bool devices__opened_since(const struct devices *devices, const struct devices *before);
void devices__free(struct devices *devices);

/* A place for a tap that the BPF side sees before us. Its index, or -1: there is no room. */
int devices__reserve(struct devices *devices);

/* The tap that got such a place. */
const struct device *devices__adopt(struct devices *devices, const struct vmlat_device *id,
				    const struct vmlat_adopted *adopted,
				    const struct device_choice *choice);

/* What a tap is to get there. */
struct vmlat_new_taps devices__new_taps(const struct devices *devices,
					const struct device_choice *choice);

/*
 * Sets the roles. Says what is wrong with a name, and what there is; 0 or an exit code. A VM that is
 * not there may come.
 */
int devices__select(struct devices *devices, const struct device_choice *choice);

/*
 * Called with a device that has come, is gone, has other roles or is on a Linux bridge now, if it may
 * have any role.
 */
typedef void (*device_handler)(void *context, const struct devices *devices,
			       const struct device *device, bool was_chosen);

/*
 * Takes over what is there `now`, and selects among what is new as among what there was. A device
 * that was chosen stays so until it is gone, or is another VM's: then its place in the table is left
 * to what there was, and it gets another one.
 */
void devices__update(struct devices *devices, const struct devices *now,
		     const struct device_choice *choice, device_handler handler, void *context);

/* True for the user's choice; the other taps may still be where a packet of it ends. */
bool devices__chosen(const struct device *device);

/* How many packets the VM has sent since the tap was made, if what it sends is traced. */
__u64 devices__sent(const struct device *tap);

/* Whether a tap that packets may begin at gives them to other CPUs. */
bool devices__spread(const struct devices *devices);

/* Whether a device that packets may begin or end at leads to a Linux bridge. */
bool devices__bridged(const struct devices *devices);

/*
 * The device with this identity, the last of them that there was; or NULL: it is new, or of another
 * namespace.
 */
const struct device *devices__by_id(const struct devices *devices, const struct vmlat_device *id);

/* Name of a device, by its identity: "eth0", or "ifindex 7 of namespace 4026531840". */
const char *devices__name(const struct devices *devices, const struct vmlat_device *id,
			  char *buffer, size_t size);

#endif
