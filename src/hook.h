/* SPDX-License-Identifier: GPL-2.0 */
/* Which program each hook of include/hooks.h gets on this kernel, and why not another. */
#ifndef VMLAT_HOOK_H
#define VMLAT_HOOK_H

#include "hooks.h"
#include "kernel.h"

enum attach_mode {
	ATTACH_AUTO, /* the cheapest that works, per hook */
	ATTACH_FENTRY,
	ATTACH_KPROBE,
};

/* As in include/hooks.h. */
enum hook_need {
	HOOK_OPTIONAL,
	HOOK_REQUIRED,
	HOOK_SHORTCUT,
	HOOK_FOR_TUNNELS,
	HOOK_FOR_RPS,
	HOOK_FOR_BRIDGES,
	HOOK_STAND_IN,
};

/* What of a trace and its host says which hooks are of any use, and how to attach to them. */
struct hook_use {
	enum attach_mode attach;
	int directions; /* enum vmlat_direction */
	bool tunnels; /* the host has tunnel devices */
	bool rps; /* a tap spreads its packets over CPUs */
	bool bridges; /* a selected device leads to a Linux bridge */
};

struct hook {
	const char *name; /* function or tracepoint */
	const char *module; /* "": the kernel itself */
	enum vmlat_stage stage;
	int directions;
	enum vmlat_hook_kind kind;
	enum hook_need need;
};

/* One hook's place on this kernel. */
struct hook_choice {
	const char *attach; /* "tracepoint", "fentry", "kprobe", "fexit", "kretprobe"; NULL: none */
	const char *missing; /* then why, a constant string; NULL: nobody misses it here */
	const char *passed_over; /* why not by fentry (fexit), which costs less; or NULL */
	enum attach_way way;
	char program[64];
};

extern const struct hook hooks[VMLAT_HOOK_COUNT];

/* Why a hook is missing that nobody needs for the directions of the trace: itself, not a copy. */
extern const char hook_of_other_direction[];

/* A stage's name, and its number in reports: -1 has none. VMLAT_STAGE_NONE: NULL. */
const char *stage_name(enum vmlat_stage stage);
int stage_number(enum vmlat_stage stage);

/* Whether this host has what the hook is there for; a stand-in may be needed whatever it has. */
bool hook__needed(enum vmlat_hook hook, const struct hook_use *use);

/* What the hook would use on this kernel. */
struct hook_choice hook__choose(const struct kernel *kernel, enum vmlat_hook hook,
				enum attach_mode mode);

/*
 * The kernel refused to attach to the hook this way (`error`: errno): from now on it is not chosen
 * again. True: it is chosen for no other function either.
 */
bool hook__refuse(struct kernel *kernel, enum vmlat_hook hook, enum attach_way way, int error);

/*
 * What the hook would have to do besides where another one is missing is in a program of its own, so
 * that no other trace loads it. Makes that its program; false: it has none.
 */
bool hook__stand_alone(enum vmlat_hook hook, struct hook_choice *choice);

/* The same as hook__choose of each hook in a trace, each with the program that the others leave it. */
void hooks__choose(struct hook_choice choices[VMLAT_HOOK_COUNT], const struct kernel *kernel,
		   const struct hook_use *use);

#endif
