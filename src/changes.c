// SPDX-License-Identifier: GPL-2.0
#include "changes.h"

#include <errno.h>
#include <string.h>

#include "log.h"

#define REST_NS 100000000ULL /* between two looks, which take some time */

/*
 * libvirt makes the tap and opens it, and gives it to a QEMU that it starts behind that: nothing
 * tells of it. The VMs are asked for at once, and again after twice the time, each time.
 */
#define FIRST_WAIT_NS 100000000ULL
#define LAST_WAIT_NS  12800000000ULL

int changes__open(struct changes *changes)
{
	memset(changes, 0, sizeof(*changes));
	changes->wait_ns = FIRST_WAIT_NS; /* a VM may be about to start */
	changes->watch = links__watch();
	return changes->watch ? 0 : -errno;
}

void changes__close(struct changes *changes)
{
	links__unwatch(changes->watch);
}

int changes__fd(const struct changes *changes)
{
	return links__fd(changes->watch);
}

static void say_chosen(const struct device *device)
{
	__u64 sent = device->tap && device->came ? devices__sent(device) : 0;

	if (sent)
		log_warn("%s: traced from now on, but not the %llu packets that it sent before",
			 device->name, sent);
	else
		log_info("%s: traced from now on", device->name);
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
		say_chosen(device);
	else if (was_chosen && !devices__chosen(device))
		log_info("%s: another VM's now; not traced any more", device->name);
}

struct adoption {
	struct devices *devices;
	const struct device_choice *choice;
	struct tracer *tracer;
};

static void reserve(struct adoption *adoption)
{
	int index = devices__reserve(adoption->devices);
	int error = index < 0 ? 0 : tracer__spare(adoption->tracer, index);

	if (error)
		log_debug("no place can be kept for a tap: %s", strerror(-error));
}

static void adopt(void *context, const struct vmlat_device *id, const struct vmlat_adopted *adopted)
{
	struct adoption *adoption = context;
	const struct device *tap = devices__adopt(adoption->devices, id, adopted, adoption->choice);

	if (!tap)
		return;
	reserve(adoption);
	if (tap->gone)
		return;
	take_over(adoption->tracer, adoption->devices, tap, devices__chosen(tap));
	if (devices__chosen(tap))
		log_info("%s: traced from its first packet on", tap->name);
}

bool changes__adopt(struct changes *changes, struct devices *devices,
		    const struct device_choice *choice, struct tracer *tracer)
{
	struct adoption adoption = { devices, choice, tracer };

	if (!tracer__adopted(tracer, adopt, &adoption))
		return false;
	devices__name_vms(devices);
	return changes->pending = true; /* it may be gone already */
}

void changes__apply(struct devices *devices, const struct devices *now,
		    const struct device_choice *choice, struct tracer *tracer)
{
	devices__update(devices, now, choice, take_over, tracer);
	tracer__set_tunnels(tracer, &devices->tunnels);
}

/* Whether the VMs are to be asked for: somebody has opened a tap, or it is time to try again. */
static bool must_ask(struct changes *changes, bool opened, bool due, __u64 now_ns)
{
	if (opened)
		changes->wait_ns = FIRST_WAIT_NS;
	else if (due)
		changes->wait_ns = changes->wait_ns < LAST_WAIT_NS ? 2 * changes->wait_ns : 0;
	else
		return false;
	changes->asked_ns = now_ns;
	return true;
}

void changes__follow(struct changes *changes, struct devices *devices,
		     const struct device_choice *choice, struct tracer *tracer, __u64 now_ns)
{
	struct devices now;
	bool due;
	int error;

	changes->pending |= links__changed(changes->watch);
	if (!changes->asked_ns)
		changes->asked_ns = now_ns;
	due = changes->wait_ns && now_ns - changes->asked_ns >= changes->wait_ns;
	if (now_ns - changes->looked_ns < REST_NS || (!changes->pending && !due))
		return;
	changes->pending = false;
	changes->looked_ns = now_ns;
	error = devices__find(&now, devices);
	if (error)
		log_debug("the network devices cannot be listed: %s", strerror(-error));
	if (must_ask(changes, error || devices__opened_since(&now, devices), due, now_ns) && !error)
		devices__name_vms(&now);
	/* a tap that was adopted since the devices were listed may not be among them: again, later */
	if (!error && !changes__adopt(changes, devices, choice, tracer))
		changes__apply(devices, &now, choice, tracer);
	devices__free(&now);
}
