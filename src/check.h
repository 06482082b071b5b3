/* SPDX-License-Identifier: GPL-2.0 */
/* The check command: what a trace would have on this host. It attaches nothing. */
#ifndef VMLAT_CHECK_H
#define VMLAT_CHECK_H

#include <stdio.h>

#include "devices.h"
#include "hook.h"
#include "kernel.h"
#include "obstacle.h"
#include "options.h"
#include "ovsdb.h"
#include "unseen.h"

/* A capability, and what vmlat does with it. */
struct check_capability {
	const char *name;
	const char *use;
	bool present;
};

/* What the two formats write. */
struct check {
	FILE *out;
	char host[65];
	struct kernel kernel;
	struct devices devices;
	struct ovs ovs;
	struct hook_use use;
	struct hook_choice hooks[VMLAT_HOOK_COUNT];
	struct obstacles obstacles;
	struct unseen_list unseen;
	struct check_capability capabilities[2];
};

/* Checks as the options say. Returns the exit code. */
int check(const struct options *options);

void check__write_text(const struct check *check);
void check__write_json(const struct check *check);

/* Where a device is a port. */
struct check_port {
	char master[IF_NAMESIZE]; /* "ovs-system", a Linux bridge, a bond; "": it is none */
	const char *bridge; /* of Open vSwitch or Linux; NULL: unknown, or none */
	const char *port; /* of Open vSwitch; NULL: not of it, or unknown */
};

struct check_port check__port(const struct check *check, const char *device);

/* The driver of a NIC; "" when it has none. */
const char *check__driver(const char *device, char *buffer, size_t size);

/* Why nobody misses a hook; NULL: it has a way, or is missed. */
const char *check__not_needed(const struct check *check, enum vmlat_hook hook);

/* What reports lack here: calls back with the field of the JSON lines, and why it is null. */
void check__lacks(const struct check *check,
		  void (*found)(void *context, const char *field, const char *why), void *context);

/* What could not be looked at: calls back with each, and what hid it. */
void check__hidden(const struct check *check,
		   void (*found)(void *context, const char *what, const char *why), void *context);

/* Calls back with each module that hooks are in. */
void check__modules(const struct check *check,
		    void (*found)(void *context, const char *module, enum module_state state,
				  bool btf),
		    void *context);

#endif
