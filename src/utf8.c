// SPDX-License-Identifier: GPL-2.0
#include "utf8.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool continues(unsigned char byte)
{
	return byte >> 6 == 2;
}

size_t utf8__sequence(const char *text, size_t left)
{
	const unsigned char *byte = (const unsigned char *)text;
	size_t length;

	if (!left)
		return 0;
	if (byte[0] < 0x80)
		return 1;
	length = byte[0] >> 5 == 6 ? 2 : byte[0] >> 4 == 14 ? 3 : byte[0] >> 3 == 30 ? 4 : 0;
	if (!length || length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if (!continues(byte[i]))
			return 0;
	/* no longer than needed, no surrogate, nothing beyond U+10FFFF (RFC 3629) */
	if (byte[0] < 0xc2 || (byte[0] == 0xe0 && byte[1] < 0xa0) ||
	    (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
	    byte[0] > 0xf4 || (byte[0] == 0xf4 && byte[1] > 0x8f))
		return 0;
	return length;
}

char *utf8__clean(char *to, size_t size, const char *from)
{
	size_t left = strlen(from), at = 0;

	while (left) {
		size_t length = utf8__sequence(from, left), step = length ? length : 1;
		size_t written = length ? length : strlen(UTF8_REPLACEMENT);

		if (at + written >= size)
			break;
		memcpy(to + at, length ? from : UTF8_REPLACEMENT, written);
		at += written;
		from += step;
		left -= step;
	}
	to[at] = '\0';
	return to;
}

char *utf8__printable(char *to, size_t size, const char *from)
{
	utf8__clean(to, size, from);
	for (char *c = to; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return to;
}
