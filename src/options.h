/* SPDX-License-Identifier: GPL-2.0 */
/* The command line. */
#ifndef VMLAT_OPTIONS_H
#define VMLAT_OPTIONS_H

#include <stdbool.h>

#include "config.h"
#include "devices.h"
#include "hook.h"

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

enum command { COMMAND_TRACE, COMMAND_CHECK };

struct options {
	enum command what;
	struct device_choice devices;
	struct vmlat_filter filter;
	__u64 threshold_ns;
	__u32 outcomes; /* bit mask of what to report */
	__u64 count; /* reported packets to stop after; 0: no bound */
	__u64 duration_ns; /* 0: no bound */
	bool summary; /* statistics instead of packets */
	__u64 interval_ns; /* between two of these; 0: at the end only */
	bool histogram; /* with the distributions */
	__u64 top; /* with so many flows; 0: none */
	bool top_by_bytes; /* those with the most bytes, not packets */
	enum format format;
	const char *output; /* NULL: stdout */
	const char *ready_file; /* NULL: none */
	bool stacks;
	bool strict;
	bool verbose;
	bool quiet;
	enum attach_mode attach;
	__u64 sample; /* measure one flow in so many, 1: all */
	__u64 flights;
	__u64 timeout_ns;
	__u64 buffer_bytes; /* of the ring buffer, a power of two */
	char **command; /* after "--", NULL terminated; NULL: none */
};

/*
 * Reads the command line. 0; or the exit code after an error was told. Does not return for
 * --help and --version. What the options point to belongs to argv or lives until options__free.
 */
int options__parse(struct options *options, int argc, char **argv);
void options__free(struct options *options);

#endif
