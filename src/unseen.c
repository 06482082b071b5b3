// SPDX-License-Identifier: GPL-2.0
#include "unseen.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "links.h"
#include "vms.h"

enum { ARGUMENTS = 64 * 1024, PATH = 320 };

static const struct {
	const char *name;
	const char *words;
} kinds[UNSEEN_KINDS] = {
	[UNSEEN_OFFLOAD] = { "offload", "the NIC forwards these flows by itself" },
	[UNSEEN_USER_SPACE] = { "user_space", "Open vSwitch forwards in user space" },
	[UNSEEN_VHOST_USER] = { "vhost_user", "another process has the VM's packets" },
	[UNSEEN_VDPA] = { "vdpa", "the NIC has the VM's packets" },
	[UNSEEN_MACVTAP] = { "macvtap", "passes neither a tap nor a switch" },
	[UNSEEN_PASSTHROUGH] = { "passthrough", "the VM has the NIC, or a part of it" },
	[UNSEEN_XDP] = { "xdp", "its program may take packets before the kernel's stack" },
};

const char *unseen_name(enum unseen_kind kind)
{
	return kinds[kind].name;
}

const char *unseen_words(enum unseen_kind kind)
{
	return kinds[kind].words;
}

void unseen__add(struct unseen_list *list, enum unseen_kind kind, const char *what, const char *vm,
		 const char *how, ...)
{
	struct unseen *all = reallocarray(list->all, list->count + 1, sizeof(*all)), *one;
	va_list arguments;

	if (!all)
		return;
	list->all = all;
	one = &all[list->count++];
	memset(one, 0, sizeof(*one));
	one->kind = kind;
	snprintf(one->what, sizeof(one->what), "%s", what);
	snprintf(one->vm, sizeof(one->vm), "%s", vm ? vm : "");
	va_start(arguments, how);
	vsnprintf(one->how, sizeof(one->how), how, arguments);
	va_end(arguments);
}

void unseen__free(struct unseen_list *list)
{
	free(list->all);
}

/* --- what QEMU says --- */

static bool begins_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* The value of "key=value" or, in JSON, "key":"value", up to what ends it; "" when there is none. */
static void value_of(const char *argument, const char *key, char *value, size_t size)
{
	const char *at = argument;
	size_t length = strlen(key);

	value[0] = '\0';
	while ((at = strstr(at, key))) {
		const char *before = at == argument ? "," : at - 1, *from = at + length;

		at = from;
		if (strchr(",{\"", *before) && (*from == '=' || begins_with(from, "\":\""))) {
			from += *from == '=' ? 1 : 3;
			snprintf(value, size, "%.*s", (int)strcspn(from, ",\"}"), from);
			return;
		}
	}
}

static bool is_network_device(const char *address)
{
	cleanup_fclose FILE *file = NULL;
	char path[PATH];
	unsigned int class;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class", address);
	file = fopen(path, "re");
	return file && fscanf(file, "%x", &class) == 1 &&
	       class >> 16 == 2; /* PCI_BASE_CLASS_NETWORK */
}

static void of_netdev(struct unseen_list *list, const char *value, const char *vm, const char *pid)
{
	char id[32];

	value_of(value, "id", id, sizeof(id));
	if (strstr(value, "vhost-user"))
		unseen__add(list, UNSEEN_VHOST_USER, id, vm, "command line of process %s", pid);
	else if (strstr(value, "vhost-vdpa"))
		unseen__add(list, UNSEEN_VDPA, id, vm, "command line of process %s", pid);
}

static void of_device(struct unseen_list *list, const char *value, const char *vm, const char *pid)
{
	char address[32];

	if (!strstr(value, "vfio-pci"))
		return;
	value_of(value, "host", address, sizeof(address));
	if (strchr(address, ':') && strchr(address, ':') == strrchr(address, ':')) {
		memmove(address + 5, address, sizeof(address) - 5); /* without a domain */
		memcpy(address, "0000:", 5);
		address[sizeof(address) - 1] = '\0';
	}
	if (is_network_device(address))
		unseen__add(list, UNSEEN_PASSTHROUGH, address, vm, "command line of process %s",
			    pid);
}

void unseen__of_arguments(struct unseen_list *list, const char *arguments, size_t length,
			  const char *vm, const char *pid)
{
	const char *end = arguments + length, *option = "";

	for (const char *at = arguments; at < end; at += strnlen(at, end - at) + 1) {
		if (!memchr(at, '\0', end - at))
			break;
		if (!strcmp(option, "-netdev") || !strcmp(option, "--netdev"))
			of_netdev(list, at, vm, pid);
		if (!strcmp(option, "-device") || !strcmp(option, "--device"))
			of_device(list, at, vm, pid);
		option = at;
	}
}

static size_t read_file(const char *pid, const char *entry, char *buffer, size_t size)
{
	cleanup_fclose FILE *file = NULL;
	char path[PATH];

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, entry);
	file = fopen(path, "re");
	return file ? fread(buffer, 1, size, file) : 0;
}

static bool is_qemu(const char *program)
{
	const char *slash = strrchr(program, '/');

	program = slash ? slash + 1 : program;
	return begins_with(program, "qemu-system-") || !strcmp(program, "qemu-kvm") ||
	       !strcmp(program, "kvm");
}

/* /dev/tap7 is the macvtap with ifindex 7. */
static void of_file(struct unseen_list *list, const char *target, const char *vm, const char *pid)
{
	char name[IF_NAMESIZE];
	unsigned int ifindex;

	if (sscanf(target, "/dev/tap%u", &ifindex) == 1)
		unseen__add(list, UNSEEN_MACVTAP,
			    if_indextoname(ifindex, name) ? name : strrchr(target, '/') + 1, vm,
			    "process %s has it open", pid);
}

static void of_files(struct unseen_list *list, const char *pid, const char *vm)
{
	char path[PATH], target[64];
	cleanup_closedir DIR *files = NULL;
	const struct dirent *entry;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	files = opendir(path);
	if (!files && errno == EACCES)
		list->processes_hidden = true;
	while (files && (entry = readdir(files))) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		of_file(list, target, vm, pid);
	}
}

static void of_process(struct unseen_list *list, const char *pid)
{
	cleanup_free char *arguments = calloc(1, ARGUMENTS + 1);
	char vm[VM_NAME] = "";
	size_t length = arguments ? read_file(pid, "cmdline", arguments, ARGUMENTS) : 0;

	if (!length || !is_qemu(arguments))
		return;
	vms__name_from_arguments(arguments, length, vm, sizeof(vm));
	unseen__of_arguments(list, arguments, length, vm, pid);
	of_files(list, pid, vm);
}

static void of_processes(struct unseen_list *list)
{
	cleanup_closedir DIR *processes = opendir("/proc");
	const struct dirent *entry;

	while (processes && (entry = readdir(processes)))
		if (isdigit((unsigned char)entry->d_name[0]))
			of_process(list, entry->d_name);
}

/* --- what the devices say --- */

static bool is_known(const struct unseen_list *list, enum unseen_kind kind, const char *what)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->all[i].kind == kind && !strcmp(list->all[i].what, what))
			return true;
	return false;
}

static void of_link(void *context, const struct link *link)
{
	struct unseen_list *list = context;

	if ((!strcmp(link->kind, "macvtap") || !strcmp(link->kind, "ipvtap")) &&
	    !is_known(list, UNSEEN_MACVTAP, link->name))
		unseen__add(list, UNSEEN_MACVTAP, link->name, NULL, "rtnetlink: kind %s",
			    link->kind);
	if (link->xdp)
		unseen__add(list, UNSEEN_XDP, link->name, NULL, "rtnetlink: XDP is attached");
}

static int virtual_functions(const char *name)
{
	cleanup_fclose FILE *file = NULL;
	char path[PATH];
	int count = 0;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/sriov_numvfs", name);
	file = fopen(path, "re");
	return file && fscanf(file, "%d", &count) == 1 ? count : 0;
}

static void of_device_itself(struct unseen_list *list, const struct device *device)
{
	int offloaded = links__offloaded(device->id.ifindex);
	int functions = device->nic ? virtual_functions(device->name) : 0;

	if (functions)
		unseen__add(list, UNSEEN_PASSTHROUGH, device->name, NULL,
			    "sysfs: it has %d virtual functions (SR-IOV)", functions);
	if (offloaded < 0)
		list->offload_unknown = true;
	if (offloaded > 0)
		unseen__add(list, UNSEEN_OFFLOAD, device->name, device->vm,
			    "tc: %d filters of it are in_hw", offloaded);
}

/* --- what Open vSwitch says --- */

static void of_ovs(struct unseen_list *list, const struct ovs *ovs)
{
	if (ovs->offloads)
		unseen__add(list, UNSEEN_OFFLOAD, "", NULL,
			    "ovsdb: other_config:hw-offload is true");
	for (size_t i = 0; i < ovs->count; i++) {
		const struct ovs_interface *interface = &ovs->interfaces[i];

		if (interface->in_user_space)
			unseen__add(list, UNSEEN_USER_SPACE, interface->name, NULL,
				    "ovsdb: type %s, bridge %s with datapath_type netdev",
				    interface->type[0] ? interface->type : "system",
				    interface->bridge);
	}
}

int unseen__find(struct unseen_list *list, const struct devices *devices, const struct ovs *ovs)
{
	int error;

	of_processes(list);
	error = links__each(of_link, list);
	for (size_t i = 0; i < devices->count; i++)
		of_device_itself(list, &devices->all[i]);
	of_ovs(list, ovs);
	return error;
}
