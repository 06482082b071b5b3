/* SPDX-License-Identifier: GPL-2.0 */
/* Exit codes of every command. */
#ifndef VMLAT_EXIT_H
#define VMLAT_EXIT_H

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* while running */
	EXIT_USAGE = 2,
	EXIT_HOST = 3, /* this host cannot be traced: privilege, kernel, hook */
	EXIT_INCOMPLETE = 4, /* --strict: measured, but something was lost or missed */
};

#endif
