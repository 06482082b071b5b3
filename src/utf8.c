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

/* U+0080 to U+009F, which some terminals take for commands as well: two bytes. */
static bool is_c1_control(const char *text)
{
	return (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0;
}

char *utf8__printable(char *to, size_t size, const char *from)
{
	utf8__clean(to, size, from);
	for (char *c = to; *c; c++) {
		bool control = iscntrl((unsigned char)*c);

		if (is_c1_control(c)) {
			memmove(c, c + 1, strlen(c));
			control = true;
		}
		if (control)
			*c = '?';
	}
	return to;
}

static unsigned int code_point(const char *text, size_t length)
{
	static const unsigned char first[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	unsigned int code = (unsigned char)text[0] & first[length];

	for (size_t i = 1; i < length; i++)
		code = code << 6 | ((unsigned char)text[i] & 0x3f);
	return code;
}

struct range {
	unsigned int first, last;
};

static bool is_in(unsigned int code, const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	return false;
}

#define IS_IN(code, ranges) is_in(code, ranges, sizeof(ranges) / sizeof(*(ranges)))

/* The blocks where such characters are (Unicode's EastAsianWidth and general category Mn). */
static size_t width(unsigned int code)
{
	static const struct range combining[] = { { 0x300, 0x36f },   { 0x200b, 0x200f },
						  { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f },
						  { 0xfe20, 0xfe2f }, { 0xe0100, 0xe01ef } };
	static const struct range wide[] = { { 0x1100, 0x115f },   { 0x2e80, 0xa4cf },
					     { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },
					     { 0xfe30, 0xfe6f },   { 0xff01, 0xff60 },
					     { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f },
					     { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd } };

	if (IS_IN(code, combining))
		return 0;
	return IS_IN(code, wide) ? 2 : 1;
}

size_t utf8__columns(const char *text)
{
	size_t columns = 0, length;

	for (size_t left = strlen(text); left; left -= length, text += length) {
		length = utf8__sequence(text, left);
		if (!length)
			return columns + left;
		columns += width(code_point(text, length));
	}
	return columns;
}
