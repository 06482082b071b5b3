// SPDX-License-Identifier: GPL-2.0
#include "changes.h"

#include <errno.h>
#include <string.h>

#include "log.h"

/* libvirt makes the tap, and hands it to a QEMU that it starts behind that. */
#define SETTLE_NS 10000000000ULL
#define LOOK_NS	  1000000000ULL
#define REST_NS	  100000000ULL /* between two looks, which take some time */

int changes__open(struct changes *changes)
{
	memset(changes, 0, sizeof(*changes));
	changes->watch = links__watch();
	return changes->watch ? 0 : -errno;
}

void changes__close(struct changes *changes)
{
	links__unwatch(changes->watch);
}

static void take_over(void *context, const struct devices *devices, const struct device *device,
		      bool was_chosen)
{
	int error = tracer__set_device(context, devices, device);

	if (error)
		log_warn("%s: cannot be traced: %s", device->name, strerror(-error));
	else if (device->gone && was_chosen)
		log_info("%s: gone; nothing of it can be traced now", device->name);
	else if (!was_chosen && devices__chosen(device))
		log_info("%s: traced from now on", device->name);
}

void changes__apply(struct devices *devices, const struct devices *now,
		    const struct device_choice *choice, struct tracer *tracer)
{
	devices__update(devices, now, choice, take_over, tracer);
	tracer__set_tunnels(tracer, &devices->tunnels);
}

static bool has_new_tap(const struct devices *devices, const struct devices *now)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct device *known = devices__by_id(devices, &now->all[i].id);

		if (now->all[i].tap && (!known || known->gone))
			return true;
	}
	return false;
}

void changes__follow(struct changes *changes, struct devices *devices,
		     const struct device_choice *choice, struct tracer *tracer, __u64 now_ns)
{
	bool settling = now_ns < changes->settled_ns && now_ns - changes->looked_ns >= LOOK_NS;
	struct devices now;
	int error;

	if (now_ns - changes->looked_ns < REST_NS || (!links__changed(changes->watch) && !settling))
		return;
	changes->looked_ns = now_ns;
	error = devices__find(&now, devices);
	if (error)
		log_debug("the network devices cannot be listed: %s", strerror(-error));
	if (error || has_new_tap(devices, &now))
		changes->settled_ns = now_ns + SETTLE_NS;
	if (!error && now_ns < changes->settled_ns)
		devices__name_vms(&now);
	if (!error)
		changes__apply(devices, &now, choice, tracer);
	devices__free(&now);
}
