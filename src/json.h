/* SPDX-License-Identifier: GPL-2.0 */
/* What the JSON lines share. */
#ifndef VMLAT_JSON_H
#define VMLAT_JSON_H

#include "report.h"

enum { JSON_TIME = 40 };

/* UTC, to the nanosecond. Returns `text`. */
const char *json_time(const struct timespec *time, char text[JSON_TIME]);

void json_packet(const struct report_context *context, const struct report *report);

#endif
