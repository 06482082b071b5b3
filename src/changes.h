/* SPDX-License-Identifier: GPL-2.0 */
/* Devices that come and go during a trace. */
#ifndef VMLAT_CHANGES_H
#define VMLAT_CHANGES_H

#include "devices.h"
#include "links.h"
#include "tracer.h"

struct changes {
	struct mnl_socket *watch;
	__u64 looked_ns;
	__u64 settled_ns; /* until then a new tap may get its VM, without a change of the device */
};

/* Begins to watch: before the devices are listed, lest one comes in between. 0 or -errno. */
int changes__open(struct changes *changes);
void changes__close(struct changes *changes);

/* Takes over what has come, changed or gone since the last time, and says so. Never waits. */
void changes__follow(struct changes *changes, struct devices *devices,
		     const struct device_choice *choice, struct tracer *tracer, __u64 now_ns);

/* The same for devices as they are `now`. */
void changes__apply(struct devices *devices, const struct devices *now,
		    const struct device_choice *choice, struct tracer *tracer);

#endif
