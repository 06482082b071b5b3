/* SPDX-License-Identifier: GPL-2.0 */
/* A host by hand: its symbols, its BTF and its devices. */
#ifndef VMLAT_UNIT_HOST_H
#define VMLAT_UNIT_HOST_H

#include <bpf/btf.h>

#include "devices.h"
#include "kernel.h"
#include "unit.h"

enum { HOST_NETNS = 4026531840U, OTHER_NETNS = 4026532000U };

static inline struct symbols *host_symbols(const char *kallsyms)
{
	char path[32];
	FILE *file = file_of(kallsyms, path);
	struct symbols *symbols = symbols__load(path);

	fclose(file);
	return symbols;
}

/* Its drop reasons are a few of the kernel's. */
static inline struct btf *host_btf(void)
{
	struct btf *btf = btf__new_empty();

	assert_non_null(btf);
	assert_true(btf__add_enum(btf, "skb_drop_reason", 4) > 0);
	assert_int_equal(btf__add_enum_value(btf, "SKB_NOT_DROPPED_YET", 0), 0);
	assert_int_equal(btf__add_enum_value(btf, "SKB_DROP_REASON_NO_SOCKET", 3), 0);
	assert_int_equal(btf__add_enum_value(btf, "SKB_DROP_REASON_FULL_RING", 71), 0);
	assert_int_equal(btf__add_enum_value(btf, "SKB_DROP_REASON_SUBSYS_MASK", -65536), 0);
	return btf;
}

/* Two VMs' taps, two NICs that lead to a switch, one that does not, and a bridge. */
static inline struct devices host_devices(void)
{
	static const struct device all[] = {
		{ .name = "lo", .id = { HOST_NETNS, 1 } },
		{ .name = "eth0", .id = { HOST_NETNS, 2 }, .nic = true, .leads_to_switch = true },
		{ .name = "eth1", .id = { HOST_NETNS, 3 }, .nic = true, .leads_to_switch = true },
		{ .name = "eth2", .id = { HOST_NETNS, 4 }, .nic = true },
		{ .name = "br0", .id = { HOST_NETNS, 5 } },
		{ .name = "vnet0", .vm = "web1", .id = { HOST_NETNS, 6 }, .tap = true },
		{ .name = "vnet1", .vm = "web1", .id = { HOST_NETNS, 7 }, .tap = true },
		{ .name = "vnet2", .vm = "db", .id = { HOST_NETNS, 8 }, .tap = true },
		{ .name = "tap9", .id = { HOST_NETNS, 9 }, .tap = true },
	};
	struct devices devices = { .all = malloc(sizeof(all)), .count = ARRAY_SIZE(all) };

	assert_non_null(devices.all);
	memcpy(devices.all, all, sizeof(all));
	return devices;
}

static inline struct device *host_device(const struct devices *devices, const char *name)
{
	for (size_t i = 0; i < devices->count; i++)
		if (!strcmp(devices->all[i].name, name))
			return &devices->all[i];
	fail_msg("no device %s", name);
	return NULL;
}

#endif
