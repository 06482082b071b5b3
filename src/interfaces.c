// SPDX-License-Identifier: GPL-2.0
#include "interfaces.h"

static struct vmlat_interface *place_of(struct vmlat_interface *table,
					const struct vmlat_device *device)
{
	return &table[device->ifindex % VMLAT_INTERFACES];
}

static bool stands_at(const struct vmlat_interface *place, const struct vmlat_device *device)
{
	return place->device.ifindex == device->ifindex && place->device.netns == device->netns;
}

bool interfaces__place(struct vmlat_interface *table, const struct vmlat_interface *entry)
{
	struct vmlat_interface *place = place_of(table, &entry->device);

	if (!stands_at(place, &entry->device) && place->device.ifindex) {
		__atomic_store_n(&place->others, 1, __ATOMIC_RELEASE);
		return false;
	}
	place->index = entry->index;
	place->device.netns = entry->device.netns;
	__atomic_store_n(&place->roles, entry->roles, __ATOMIC_RELEASE);
	__atomic_store_n(&place->device.ifindex, entry->device.ifindex, __ATOMIC_RELEASE);
	return true;
}

void interfaces__clear(struct vmlat_interface *table, const struct vmlat_device *device)
{
	struct vmlat_interface *place = place_of(table, device);

	if (stands_at(place, device))
		__atomic_store_n(&place->device.ifindex, 0, __ATOMIC_RELEASE);
}
