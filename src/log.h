/* SPDX-License-Identifier: GPL-2.0 */
/* Words for the user, on stderr: data alone goes to stdout. */
#ifndef VMLAT_LOG_H
#define VMLAT_LOG_H

#include <stdarg.h>

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO, /* default */
	LOG_DEBUG, /* -v, and libbpf's own messages */
};

/* What is more detailed than `level` is not printed. */
void log_set_level(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_at(enum log_level level, const char *format, ...);

/* libbpf's own messages, which explain ours: for libbpf_set_print, as its enum libbpf_print_level. */
int log_libbpf(int level, const char *format, va_list arguments);

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif
