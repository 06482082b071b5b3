// SPDX-License-Identifier: GPL-2.0
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "exit.h"
#include "hooks.h"
#include "log.h"
#include "vms.h"

enum { TUN_FLAG_TAP = 2, UPPER_LEVELS = 4 }; /* IFF_TAP of include/uapi/linux/if_tun.h */

#define SYSFS "/sys/class/net"

static bool exists(const char *name, const char *entry)
{
	char path[256];

	snprintf(path, sizeof(path), SYSFS "/%s/%s", name, entry);
	return access(path, F_OK) == 0;
}

static bool read_number(const char *name, const char *entry, const char *format, unsigned int *n)
{
	cleanup_fclose FILE *file = NULL;
	char path[256];

	snprintf(path, sizeof(path), SYSFS "/%s/%s", name, entry);
	file = fopen(path, "re");
	return file && fscanf(file, format, n) == 1;
}

/* A port of an OVS datapath or a Linux bridge, by itself or below a bond, VLAN, … */
static bool leads_to_switch(const char *name, int levels)
{
	cleanup_closedir DIR *directory = NULL;
	const struct dirent *entry;
	char path[256];

	if (exists(name, "upper_ovs-system") || exists(name, "brport"))
		return true;
	snprintf(path, sizeof(path), SYSFS "/%s", name);
	directory = levels ? opendir(path) : NULL;
	while (directory && (entry = readdir(directory)))
		if (!strncmp(entry->d_name, "upper_", 6) &&
		    leads_to_switch(entry->d_name + 6, levels - 1))
			return true;
	return false;
}

static bool describe(const char *name, __u32 netns, struct device *device)
{
	unsigned int flags;

	memset(device, 0, sizeof(*device));
	if (strlen(name) >= sizeof(device->name) ||
	    !read_number(name, "ifindex", "%u", &device->id.ifindex))
		return false;
	memcpy(device->name, name, strlen(name));
	device->id.netns = netns;
	device->tap = read_number(name, "tun_flags", "%x", &flags) && flags & TUN_FLAG_TAP;
	device->nic = exists(name, "device");
	device->leads_to_switch = leads_to_switch(name, UPPER_LEVELS);
	return true;
}

static void name_vm(void *context, const char *tap, const char *vm)
{
	struct devices *devices = context;

	for (size_t i = 0; i < devices->count; i++)
		if (!strcmp(devices->all[i].name, tap))
			snprintf(devices->all[i].vm, sizeof(devices->all[i].vm), "%s", vm);
}

int devices__find(struct devices *devices)
{
	cleanup_closedir DIR *directory = opendir(SYSFS);
	const struct dirent *entry;
	struct stat namespace;

	memset(devices, 0, sizeof(*devices));
	if (!directory || stat("/proc/self/ns/net", &namespace))
		return -errno;
	devices->all = calloc(VMLAT_INTERFACES, sizeof(*devices->all));
	if (!devices->all)
		return -ENOMEM;
	while ((entry = readdir(directory)) && devices->count < VMLAT_INTERFACES)
		if (entry->d_name[0] != '.' &&
		    describe(entry->d_name, namespace.st_ino, &devices->all[devices->count]))
			devices->count++;
	vms__each(name_vm, devices);
	return 0;
}

void devices__free(struct devices *devices)
{
	free(devices->all);
}

static bool is_tap(const struct device *device)
{
	return device->tap;
}

static bool is_nic(const struct device *device)
{
	return device->nic;
}

/* "vnet0 (web1), vnet1", or "none" */
static const char *list_devices(const struct devices *devices,
				bool (*wanted)(const struct device *device))
{
	static char list[1024];
	size_t length = 0;

	snprintf(list, sizeof(list), "none");
	for (size_t i = 0; i < devices->count && length < sizeof(list); i++) {
		const struct device *device = &devices->all[i];

		if (!wanted(device))
			continue;
		length += snprintf(list + length, sizeof(list) - length,
				   device->vm[0] ? "%s%s (%s)" : "%s%s", length ? ", " : "",
				   device->name, device->vm);
	}
	return list;
}

static struct device *by_name(const struct devices *devices, const char *name)
{
	for (size_t i = 0; i < devices->count; i++)
		if (!strcmp(devices->all[i].name, name))
			return &devices->all[i];
	return NULL;
}

static int select_taps(struct devices *devices, char **names, __u32 roles)
{
	for (; *names; names++) {
		struct device *device = by_name(devices, *names);

		if (!device || !device->tap) {
			log_error(device ? "--vm-interface: %s is no tap; taps here: %s"
					 : "--vm-interface: there is no %s; taps here: %s",
				  *names, list_devices(devices, is_tap));
			return EXIT_USAGE;
		}
		device->roles |= roles;
	}
	return 0;
}

static int select_vms(struct devices *devices, char **names, __u32 roles)
{
	for (; *names; names++) {
		bool found = false;

		for (size_t i = 0; i < devices->count; i++) {
			struct device *device = &devices->all[i];

			if (device->tap && !strcmp(device->vm, *names)) {
				device->roles |= roles;
				found = true;
			}
		}
		if (!found) {
			log_error("--vm: no running VM %s has a tap here; taps: %s", *names,
				  list_devices(devices, is_tap));
			return EXIT_USAGE;
		}
	}
	return 0;
}

static int select_nics(struct devices *devices, char **names, __u32 roles)
{
	for (; *names; names++) {
		struct device *device = by_name(devices, *names);

		if (!device) {
			log_error("--phy-interface: there is no %s; NICs here: %s", *names,
				  list_devices(devices, is_nic));
			return EXIT_USAGE;
		}
		if (device->tap) {
			log_error("--phy-interface: %s is a tap, not a NIC; NICs here: %s (a tap "
				  "goes with --vm-interface)",
				  *names, list_devices(devices, is_nic));
			return EXIT_USAGE;
		}
		device->roles |= roles;
	}
	return 0;
}

/* Taps all; NICs those that lead to a switch, or all when none does. */
static void select_default(struct devices *devices, bool taps, __u32 roles)
{
	bool led = false;

	for (size_t i = 0; !taps && i < devices->count; i++)
		led |= devices->all[i].nic && devices->all[i].leads_to_switch;
	for (size_t i = 0; i < devices->count; i++) {
		struct device *device = &devices->all[i];

		if (taps ? device->tap : device->nic && (device->leads_to_switch || !led))
			device->roles |= roles;
	}
}

/*
 * From VM to VM the other end is a tap: any, unless NICs are named. A packet is one flight, of TX
 * where TX is traced from its tap.
 */
static void select_other_taps(struct devices *devices, bool tx, bool rx, bool nics_named)
{
	for (size_t i = 0; i < devices->count; i++) {
		struct device *device = &devices->all[i];

		if (!device->tap)
			continue;
		if (tx && (!nics_named || device->roles))
			device->roles |= VMLAT_ROLE_TAP | VMLAT_ROLE_TX_END;
		if (rx && !nics_named && !(device->roles & VMLAT_ROLE_TX_START))
			device->roles |= VMLAT_ROLE_TAP | VMLAT_ROLE_RX_START;
	}
}

int devices__select(struct devices *devices, const struct device_choice *choice)
{
	bool tx = choice->directions & VMLAT_TX, rx = choice->directions & VMLAT_RX;
	__u32 tap = VMLAT_ROLE_TAP | (tx ? VMLAT_ROLE_TX_START : 0) | (rx ? VMLAT_ROLE_RX_END : 0);
	__u32 nic = (tx ? VMLAT_ROLE_TX_END : 0) | (rx ? VMLAT_ROLE_RX_START : 0);
	int error = 0;

	if (choice->taps)
		error = select_taps(devices, choice->taps, tap);
	if (!error && choice->vms)
		error = select_vms(devices, choice->vms, tap);
	if (!error && choice->nics)
		error = select_nics(devices, choice->nics, nic);
	if (error)
		return error;
	if (!choice->taps && !choice->vms)
		select_default(devices, true, tap);
	if (!choice->nics)
		select_default(devices, false, nic);
	select_other_taps(devices, tx, rx, choice->nics);
	return 0;
}

bool devices__chosen(const struct device *device)
{
	__u32 ends = device->tap ? VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_END
				 : VMLAT_ROLE_RX_START | VMLAT_ROLE_TX_END;

	return device->roles & ends;
}

const struct device *devices__by_id(const struct devices *devices, const struct vmlat_device *id)
{
	for (size_t i = 0; i < devices->count; i++)
		if (devices->all[i].id.ifindex == id->ifindex &&
		    devices->all[i].id.netns == id->netns)
			return &devices->all[i];
	return NULL;
}

const char *devices__name(const struct devices *devices, const struct vmlat_device *id,
			  char *buffer, size_t size)
{
	const struct device *device = devices__by_id(devices, id);

	if (device)
		return device->name;
	snprintf(buffer, size, "ifindex %u of namespace %u", id->ifindex, id->netns);
	return buffer;
}
