/* SPDX-License-Identifier: GPL-2.0 */
/* The trace command. */
#ifndef VMLAT_TRACE_H
#define VMLAT_TRACE_H

#include "options.h"

/* Traces as the options say, until it is told to stop. Returns the exit code. */
int trace(const struct options *options);

#endif
