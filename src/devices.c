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
#include "links.h"
#include "log.h"
#include "parse.h"
#include "vms.h"
#include "words.h"

enum { TUN_FLAG_TAP = 2, UPPER_LEVELS = 4 }; /* IFF_TAP of include/uapi/linux/if_tun.h */

#define SYSFS "/sys/class/net"

static bool exists(const char *name, const char *entry)
{
	char path[256];

	snprintf(path, sizeof(path), SYSFS "/%s/%s", name, entry);
	return access(path, F_OK) == 0;
}

static bool read_line(const char *name, const char *entry, char *line, size_t size)
{
	cleanup_fclose FILE *file = NULL;
	char path[512];

	snprintf(path, sizeof(path), SYSFS "/%s/%s", name, entry);
	file = fopen(path, "re");
	return file && fgets(line, (int)size, file);
}

static bool read_number(const char *name, const char *entry, const char *format, unsigned int *n)
{
	char line[32];

	return read_line(name, entry, line, sizeof(line)) && sscanf(line, format, n) == 1;
}

#define OVS_PORT    "upper_ovs-system"
#define BRIDGE_PORT "brport" /* of a Linux bridge */

/* A port of such a switch, by itself or below a bond, VLAN, … */
static bool leads_to(const char *port, const char *name, int levels)
{
	cleanup_closedir DIR *directory = NULL;
	const struct dirent *entry;
	char path[256];

	if (exists(name, port))
		return true;
	snprintf(path, sizeof(path), SYSFS "/%s", name);
	directory = levels ? opendir(path) : NULL;
	while (directory && (entry = readdir(directory)))
		if (!strncmp(entry->d_name, "upper_", 6) &&
		    leads_to(port, entry->d_name + 6, levels - 1))
			return true;
	return false;
}

/* Whether RPS gives the packets that it receives to other CPUs: a mask of any queue is not 0. */
static bool spreads_packets(const char *name)
{
	cleanup_closedir DIR *directory = NULL;
	const struct dirent *entry;
	char path[256];

	snprintf(path, sizeof(path), SYSFS "/%s/queues", name);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		char file[sizeof(entry->d_name) + 16], mask[256];

		snprintf(file, sizeof(file), "queues/%s/rps_cpus", entry->d_name);
		if (read_line(name, file, mask, sizeof(mask)) && strpbrk(mask, "123456789abcdef"))
			return true;
	}
	return false;
}

/* False: there is none of this name, or not for as long as all of this was read. */
static bool describe(const char *name, __u32 netns, struct device *device)
{
	unsigned int flags, ifindex;

	memset(device, 0, sizeof(*device));
	if (strlen(name) >= sizeof(device->name) ||
	    !read_number(name, "ifindex", "%u", &device->id.ifindex))
		return false;
	memcpy(device->name, name, strlen(name));
	device->id.netns = netns;
	device->tun = read_number(name, "tun_flags", "%x", &flags);
	device->tap = device->tun && flags & TUN_FLAG_TAP;
	device->spreads = device->tap && spreads_packets(name);
	/* a tap has a carrier while somebody has it open (tun_set_iff, __tun_detach) */
	if (device->tap)
		read_number(name, "carrier_up_count", "%u", &device->openings);
	device->nic = exists(name, "device");
	device->bridge = exists(name, "bridge");
	device->leads_to_bridge = leads_to(BRIDGE_PORT, name, UPPER_LEVELS);
	device->leads_to_switch = device->leads_to_bridge || leads_to(OVS_PORT, name, UPPER_LEVELS);
	return read_number(name, "ifindex", "%u", &ifindex) && ifindex == device->id.ifindex;
}

static void name_vm(void *context, const char *tap, const char *vm)
{
	struct devices *devices = context;

	for (size_t i = 0; i < devices->count; i++)
		if (!strcmp(devices->all[i].name, tap) && !devices->all[i].gone &&
		    !devices->all[i].vm[0])
			snprintf(devices->all[i].vm, sizeof(devices->all[i].vm), "%s", vm);
}

/* One that is free; of those that are gone, those that nothing was counted of. NULL: none is. */
static struct device *new_place(struct devices *devices)
{
	if (devices->count < VMLAT_INTERFACES)
		return &devices->all[devices->count++];
	for (size_t i = 0; i < devices->count; i++)
		if (devices->all[i].gone && !devices->all[i].roles)
			return &devices->all[i];
	return NULL;
}

/* devices__by_id finds it at once. */
static void note_latest(struct devices *devices, const struct device *device)
{
	devices->latest[device->id.ifindex % VMLAT_INTERFACES] = device - devices->all + 1;
}

/* Its place in the table, a copy of it; NULL when the table is full. */
static struct device *add_device(struct devices *devices, const struct device *device)
{
	struct device *place = new_place(devices);

	if (place) {
		*place = *device;
		note_latest(devices, place);
		return place;
	}
	if (!devices->overfull)
		log_warn("%s: no room for it, %d network devices are known: neither it nor any "
			 "further one is traced",
			 device->name, VMLAT_INTERFACES);
	devices->overfull = true;
	return NULL;
}

int devices__find(struct devices *devices, const struct devices *before)
{
	cleanup_closedir DIR *directory = opendir(SYSFS);
	const struct dirent *entry;
	struct stat namespace;
	struct device device;

	memset(devices, 0, sizeof(*devices));
	devices->overfull = before && before->overfull;
	devices->tunnels.overfull = before && before->tunnels.overfull;
	if (!directory || stat("/proc/self/ns/net", &namespace))
		return -errno;
	devices->netns = namespace.st_ino;
	devices->all = calloc(VMLAT_INTERFACES, sizeof(*devices->all));
	if (!devices->all)
		return -ENOMEM;
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.' && describe(entry->d_name, devices->netns, &device))
			add_device(devices, &device);
	return links__tunnels(&devices->tunnels);
}

void devices__name_vms(struct devices *devices)
{
	devices->vms_hidden = vms__each("/proc", name_vm, devices);
}

int devices__reserve(struct devices *devices)
{
	struct device *place = new_place(devices);

	if (!place)
		return -1;
	memset(place, 0, sizeof(*place));
	place->reserved = true;
	return (int)(place - devices->all);
}

bool devices__opened_since(const struct devices *devices, const struct devices *before)
{
	for (size_t i = 0; i < devices->count; i++) {
		const struct device *now = &devices->all[i];
		const struct device *known = devices__by_id(before, &now->id);

		if (now->tap && (!known || known->gone || known->openings != now->openings))
			return true;
	}
	return false;
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
	static struct name_list list;

	memset(&list, 0, sizeof(list));
	for (size_t i = 0; i < devices->count; i++)
		if (wanted(&devices->all[i]))
			name_list_add(&list, devices->all[i].name, devices->all[i].vm);
	return name_list_text(&list, "none");
}

static struct device *by_name(const struct devices *devices, const char *name)
{
	for (size_t i = 0; i < devices->count; i++)
		if (!strcmp(devices->all[i].name, name))
			return &devices->all[i];
	return NULL;
}

static bool contains(char *const *names, const char *name)
{
	for (; names && *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

/* A name that was too long for the table was cut. */
static bool is_vm(const struct device *tap, const char *name)
{
	return tap->vm[0] && !strncmp(tap->vm, name, sizeof(tap->vm) - 1);
}

static bool is_any_vm(const struct device *tap, char *const *names)
{
	for (; names && *names; names++)
		if (is_vm(tap, *names))
			return true;
	return false;
}

static int check_taps(const struct devices *devices, char *const *names)
{
	for (; names && *names; names++) {
		const struct device *device = by_name(devices, *names);

		if (device && device->tap)
			continue;
		log_error(device ? "--vm-interface: %s is no tap; taps here: %s"
				 : "--vm-interface: there is no %s; taps here: %s",
			  *names, list_devices(devices, is_tap));
		return EXIT_USAGE;
	}
	return 0;
}

static const struct device *tap_of(const struct devices *devices, const char *vm)
{
	for (size_t i = 0; i < devices->count; i++)
		if (devices->all[i].tap && is_vm(&devices->all[i], vm))
			return &devices->all[i];
	return NULL;
}

/* The VM whose name is nearest, or NULL. */
static const char *nearest_vm(const struct devices *devices, const char *name)
{
	const char *names[VMLAT_INTERFACES];
	size_t count = 0;

	for (size_t i = 0; i < devices->count; i++)
		if (devices->all[i].vm[0])
			names[count++] = devices->all[i].vm;
	return nearest_name(name, names, count);
}

/* Where it cannot be seen whose the taps are, it is not known that there is none. */
static void tell_absent_vms(const struct devices *devices, char *const *names)
{
	for (; names && *names && !devices->vms_hidden; names++) {
		const char *nearest = nearest_vm(devices, *names);

		if (!tap_of(devices, *names))
			log_warn("--vm: no running VM %s has a tap here: it is waited for%s%s%s; "
				 "taps: %s",
				 *names, nearest ? " (did you mean " : "", nearest ? nearest : "",
				 nearest ? "?)" : "", list_devices(devices, is_tap));
	}
}

static int check_nics(const struct devices *devices, char *const *names)
{
	for (; names && *names; names++) {
		const struct device *device = by_name(devices, *names);

		if (device && !device->tap)
			continue;
		log_error(device ? "--phy-interface: %s is a tap, not a NIC; NICs here: %s (a tap "
				   "goes with --vm-interface)"
				 : "--phy-interface: there is no %s; NICs here: %s",
			  *names, list_devices(devices, is_nic));
		return EXIT_USAGE;
	}
	return 0;
}

/*
 * From VM to VM the other end is a tap: any, unless NICs are named. A packet is one flight, of TX
 * where TX is traced from its tap.
 */
static __u32 roles_of_tap(const struct device_choice *choice, bool chosen)
{
	bool tx = choice->directions & VMLAT_TX, rx = choice->directions & VMLAT_RX;
	__u32 roles = 0;

	if (chosen)
		roles = VMLAT_ROLE_TAP | (tx ? VMLAT_ROLE_TX_START : 0) |
			(rx ? VMLAT_ROLE_RX_END : 0);
	if (tx && (!choice->nics || roles))
		roles |= VMLAT_ROLE_TAP | VMLAT_ROLE_TX_END;
	if (rx && !choice->nics && !(roles & VMLAT_ROLE_TX_START))
		roles |= VMLAT_ROLE_TAP | VMLAT_ROLE_RX_START;
	return roles;
}

static bool any_tap(const struct device_choice *choice)
{
	return !choice->taps && !choice->vms;
}

static __u32 tap_roles(const struct device *tap, const struct device_choice *choice)
{
	return roles_of_tap(choice, any_tap(choice) || contains(choice->taps, tap->name) ||
					    is_any_vm(tap, choice->vms));
}

struct vmlat_new_taps devices__new_taps(const struct devices *devices,
					const struct device_choice *choice)
{
	return (struct vmlat_new_taps){ .netns = devices->netns,
					.any = any_tap(choice),
					.chosen = roles_of_tap(choice, true),
					.others = roles_of_tap(choice, false) };
}

/* By default it is those that lead to a switch, or every one when none did. */
static __u32 nic_roles(const struct device *nic, const struct device_choice *choice,
		       bool any_leads_to_switch)
{
	bool chosen = choice->nics ? contains(choice->nics, nic->name)
				   : nic->nic && (nic->leads_to_switch || !any_leads_to_switch);

	if (!chosen)
		return 0;
	return (choice->directions & VMLAT_TX ? VMLAT_ROLE_TX_END : 0) |
	       (choice->directions & VMLAT_RX ? VMLAT_ROLE_RX_START : 0) |
	       (choice->directions & VMLAT_RX && !nic->leads_to_switch ? VMLAT_ROLE_ROUTED : 0);
}

static __u32 roles_of(const struct devices *devices, const struct device *device,
		      const struct device_choice *choice)
{
	__u32 roles = device->tap ? tap_roles(device, choice)
				  : nic_roles(device, choice, devices->nic_leads_to_switch);

	return device->bridge && !roles ? VMLAT_ROLE_BRIDGE : roles;
}

int devices__select(struct devices *devices, const struct device_choice *choice)
{
	int error = check_taps(devices, choice->taps);

	if (!error)
		error = check_nics(devices, choice->nics);
	if (error)
		return error;
	tell_absent_vms(devices, choice->vms);
	for (size_t i = 0; i < devices->count; i++)
		devices->nic_leads_to_switch |= devices->all[i].nic &&
						devices->all[i].leads_to_switch;
	for (size_t i = 0; i < devices->count; i++)
		devices->all[i].roles = roles_of(devices, &devices->all[i], choice);
	return 0;
}

bool devices__chosen(const struct device *device)
{
	__u32 ends = device->tap ? VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_END
				 : VMLAT_ROLE_RX_START | VMLAT_ROLE_TX_END;

	return device->roles & ends;
}

/* What may change of a device; the VM stays that nobody was asked for, or that is no more. */
static void take_facts(struct device *device, const struct device *now)
{
	struct device before = *device;

	*device = *now;
	device->roles = before.roles;
	device->came = before.came;
	if (!now->vm[0])
		memcpy(device->vm, before.vm, sizeof(device->vm));
}

/*
 * Somebody else has opened the tap than had it open before: as the names say, whatever was counted
 * before they were asked for.
 */
static bool is_anothers(const struct device *tap, const struct device *now)
{
	if (!tap->vm[0])
		return false;
	return now->vm[0] ? strcmp(tap->vm, now->vm) != 0 : tap->openings != now->openings;
}

/*
 * The entry of what is there now: a new one where nobody had its number, or somebody who is gone, or
 * whose VM is. NULL: there is no room. `before`: as what had its number until now was, or zeroed.
 */
static struct device *current(struct devices *devices, const struct device *now,
			      struct device *before)
{
	struct device *known = (struct device *)devices__by_id(devices, &now->id), *device;

	memset(before, 0, sizeof(*before));
	if (!known || known->gone) {
		device = add_device(devices, now);
		if (device)
			device->came = true;
		return device;
	}
	*before = *known;
	device = is_anothers(known, now) ? add_device(devices, now) : NULL;
	if (!device) {
		take_facts(known, now);
		return known;
	}
	known->gone = true;
	return device;
}

/*
 * Not to be listed does not mean to be gone: it may just be renamed, or there are more devices than
 * room.
 */
static bool is_gone(const struct device *device, const struct devices *now)
{
	char name[IF_NAMESIZE];

	return !devices__by_id(now, &device->id) && !if_indextoname(device->id.ifindex, name);
}

/* Its roles are other ones than before, or what they lead to. */
static bool has_changed(const struct device *device, const struct device *before)
{
	return device->roles != before->roles ||
	       (device->roles && device->leads_to_bridge && !before->leads_to_bridge);
}

static void tell_gone(struct devices *devices, const struct devices *now, device_handler handler,
		      void *context)
{
	for (size_t i = 0; i < devices->count; i++) {
		struct device *device = &devices->all[i];

		if (device->gone || device->reserved || !is_gone(device, now))
			continue;
		device->gone = true;
		if (device->roles || device->tun)
			handler(context, devices, device, devices__chosen(device));
	}
}

void devices__update(struct devices *devices, const struct devices *now,
		     const struct device_choice *choice, device_handler handler, void *context)
{
	devices->tunnels = now->tunnels;
	devices->overfull |= now->overfull;
	tell_gone(devices, now, handler, context);
	for (size_t i = 0; i < now->count; i++) {
		struct device before, *device = current(devices, &now->all[i], &before);
		bool moved;

		if (!device)
			continue;
		moved = before.roles && !device->roles; /* into another place of the table */
		device->roles = roles_of(devices, device, choice);
		if (!moved && devices__chosen(&before) && !devices__chosen(device))
			device->roles = before.roles;
		/* the BPF side has to know of each, lest it adopts one */
		if (moved || has_changed(device, &before) || (device->tun && !before.tun))
			handler(context, devices, device, devices__chosen(&before));
	}
}

const struct device *devices__adopt(struct devices *devices, const struct vmlat_device *id,
				    const struct vmlat_adopted *adopted,
				    const struct device_choice *choice)
{
	const struct device *known = devices__by_id(devices, id);
	struct device *place, now;

	if (adopted->index >= devices->count || !devices->all[adopted->index].reserved)
		return NULL;
	place = &devices->all[adopted->index];
	if (describe(adopted->name, id->netns, &now) && now.id.ifindex == id->ifindex)
		*place = now;
	memcpy(place->name, adopted->name, sizeof(place->name));
	place->id = *id;
	place->tap = place->tun = place->came = true;
	place->reserved = false;
	place->gone = known && !known->gone; /* it has another place, too, where it goes on */
	place->roles = tap_roles(place, choice);
	if (!place->gone)
		note_latest(devices, place);
	return place;
}

__u64 devices__sent(const struct device *tap)
{
	char line[32]; /* what the tap, as the host's device, has received */

	if (!(tap->roles & VMLAT_ROLE_TX_START) ||
	    !read_line(tap->name, "statistics/rx_packets", line, sizeof(line)))
		return 0;
	return strtoull(line, NULL, 10);
}

bool devices__spread(const struct devices *devices)
{
	for (size_t i = 0; i < devices->count; i++)
		if (devices->all[i].spreads &&
		    devices->all[i].roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START))
			return true;
	return false;
}

bool devices__bridged(const struct devices *devices)
{
	for (size_t i = 0; i < devices->count; i++)
		if (devices->all[i].leads_to_bridge && devices->all[i].roles & ~VMLAT_ROLE_BRIDGE)
			return true;
	return false;
}

static bool has_id(const struct device *device, const struct vmlat_device *id)
{
	return device->id.ifindex == id->ifindex && device->id.netns == id->netns;
}

const struct device *devices__by_id(const struct devices *devices, const struct vmlat_device *id)
{
	size_t latest = devices->latest[id->ifindex % VMLAT_INTERFACES];
	const struct device *last = NULL;

	if (latest && has_id(&devices->all[latest - 1], id))
		return &devices->all[latest - 1];
	for (size_t i = devices->count; i-- > 0;) {
		if (!has_id(&devices->all[i], id))
			continue;
		if (!devices->all[i].gone)
			return &devices->all[i];
		if (!last)
			last = &devices->all[i];
	}
	return last;
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
