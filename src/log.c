// SPDX-License-Identifier: GPL-2.0
#include "log.h"

#include <stdio.h>

#include "utf8.h"

static enum log_level limit = LOG_INFO;

void log_set_level(enum log_level level)
{
	limit = level;
}

/* Names in it may be anybody's. */
void log_at(enum log_level level, const char *format, ...)
{
	static const char *const words[] = { "error: ", "warning: ", "", "debug: " };
	char text[4096], printable[3 * sizeof(text)];
	va_list arguments;

	if (level > limit)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "vmlat: %s%s\n", words[level],
		utf8__printable(printable, sizeof(printable), text));
}

/* Lines of its own, and of the verifier. */
int log_libbpf(int level, const char *format, va_list arguments)
{
	enum { INFO = 1 }; /* LIBBPF_INFO */

	if (level > INFO || limit < LOG_DEBUG)
		return 0;
	fputs("vmlat: debug: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	return 0;
}
