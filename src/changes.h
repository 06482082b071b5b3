/* SPDX-License-Identifier: GPL-2.0 */
/* Devices that come and go during a trace. */
#ifndef VMLAT_CHANGES_H
#define VMLAT_CHANGES_H

#include "devices.h"
#include "links.h"
#include "tracer.h"

struct changes {
	struct mnl_socket *watch;
	bool pending; /* something changed since the last look */
	__u64 looked_ns;
	__u64 asked_ns; /* for the VMs; 0: not yet */
	__u64 wait_ns; /* from then to the next time; 0: there is none */
};

/* Begins to watch: before the devices are listed, lest one comes in between. 0 or -errno. */
int changes__open(struct changes *changes);
void changes__close(struct changes *changes);

/* What becomes readable when something changes. */
int changes__fd(const struct changes *changes);

/* Takes over what has come, changed or gone since the last time, and says so. Never waits. */
void changes__follow(struct changes *changes, struct devices *devices,
		     const struct device_choice *choice, struct tracer *tracer, __u64 now_ns);

/*
 * Takes over the taps that the BPF side saw first; false: there is none. Before the records are told
 * that may be of one: it costs nothing while there is none.
 */
bool changes__adopt(struct changes *changes, struct devices *devices,
		    const struct device_choice *choice, struct tracer *tracer);

/* The same as changes__follow for devices as they are `now`. */
void changes__apply(struct devices *devices, const struct devices *now,
		    const struct device_choice *choice, struct tracer *tracer);

#endif
