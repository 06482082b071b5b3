// SPDX-License-Identifier: GPL-2.0
#include "log.h"

#include <stdio.h>

static enum log_level limit = LOG_INFO;

void log_set_level(enum log_level level)
{
	limit = level;
}

void log_list(enum log_level level, const char *format, va_list arguments)
{
	static const char *const words[] = { "error: ", "warning: ", "", "debug: " };

	if (level > limit)
		return;
	fprintf(stderr, "vmlat: %s", words[level]);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
}

void log_at(enum log_level level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_list(level, format, arguments);
	va_end(arguments);
}

int log_libbpf(int level, const char *format, va_list arguments)
{
	enum { INFO = 1 }; /* LIBBPF_INFO */

	if (level <= INFO)
		log_list(LOG_DEBUG, format, arguments);
	return 0;
}
