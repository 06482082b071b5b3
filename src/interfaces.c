// SPDX-License-Identifier: GPL-2.0
#include "interfaces.h"

/*
 * A device that goes leaves its number in its place, without roles: while there is none, nobody
 * looks into the interfaces map for another one of the same place.
 */
bool interfaces__place(struct vmlat_interface *table, const struct vmlat_interface *entry)
{
	struct vmlat_interface *place = &table[entry->device.ifindex % VMLAT_INTERFACES];
	bool own = place->device.ifindex == entry->device.ifindex &&
		   place->device.netns == entry->device.netns;

	if (!own && (place->roles || !entry->roles))
		return false;
	place->index = entry->index;
	place->device.netns = entry->device.netns;
	__atomic_store_n(&place->roles, entry->roles, __ATOMIC_RELEASE);
	__atomic_store_n(&place->device.ifindex, entry->device.ifindex, __ATOMIC_RELEASE);
	return true;
}
