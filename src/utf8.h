/* SPDX-License-Identifier: GPL-2.0 */
/* Names of devices, VMs and processes are bytes; what we write is UTF-8. */
#ifndef VMLAT_UTF8_H
#define VMLAT_UTF8_H

#include <stddef.h>

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD, for each byte that is not UTF-8 */

/* Bytes of the valid UTF-8 sequence that begins here, 1 to 4; 0 when there is none. */
size_t utf8__sequence(const char *text, size_t left);

/* Copies the string, made valid, as far as it fits; `to` has `size` bytes. Returns `to`. */
char *utf8__clean(char *to, size_t size, const char *from);

/* The same, with a '?' for each control character: a terminal must not take it for a command. */
char *utf8__printable(char *to, size_t size, const char *from);

/* How many columns of a terminal valid UTF-8 takes: wide characters two, combining ones none. */
size_t utf8__columns(const char *text);

#endif
