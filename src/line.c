// SPDX-License-Identifier: GPL-2.0
#include "line.h"

#include <stdbool.h>

#include "utf8.h"

void line__put_long(struct line *line, const char *text, size_t length)
{
	line__flush(line);
	if (length > sizeof(line->text))
		fwrite(text, 1, length, line->out);
	else
		line__put(line, text, length);
}

const char line__pairs[] = "00010203040506070809101112131415161718192021222324"
			   "25262728293031323334353637383940414243444546474849"
			   "50515253545556575859606162636465666768697071727374"
			   "75767778798081828384858687888990919293949596979899";

void line__put_digits(struct line *line, __u64 number)
{
	enum { LONGEST = 20 };
	char digits[2 * LONGEST];
	size_t at = LONGEST, length;

	for (; number >= 10; number /= 100) {
		at -= 2;
		memcpy(digits + at, line__pairs + number % 100 * 2, 2);
	}
	if (number)
		digits[--at] = (char)('0' + number);
	length = LONGEST - at;
	if (sizeof(line->text) - line->length < LONGEST) {
		line__put(line, digits + at, length);
		return;
	}
	/* that many of any number: the compiler knows how to copy so many, without a call */
	memcpy(line->text + line->length, digits + at, LONGEST);
	line->length += length;
}

/* Bytes that stand for themselves in a JSON string, from here on. */
static size_t plain_length(const char *string, size_t size)
{
	static const bool plain[256] = {
		[' ' ... '!'] = true,
		['#' ... '['] = true,
		[']' ... '~'] = true,
	};
	size_t length = 0;

	while (length < size && plain[(unsigned char)string[length]])
		length++;
	return length;
}

/* What begins with a byte that does not. Returns how many bytes it took. */
static size_t put_odd(struct line *line, const char *string, size_t left)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char byte = string[0];
	size_t length = utf8__sequence(string, left);

	if (!length) {
		line__put_literal(line, UTF8_REPLACEMENT);
		return 1;
	}
	if (byte == '"' || byte == '\\') {
		line__put(line, (char[]){ '\\', (char)byte }, 2);
	} else if (byte < ' ' || byte == 0x7f) {
		line__put_literal(line, "\\u00");
		line__put(line, (char[]){ hex[byte >> 4], hex[byte & 15] }, 2);
	} else {
		line__put(line, string, length);
	}
	return length;
}

void line__put_json(struct line *line, const char *string, size_t size)
{
	if (!string) {
		line__put_literal(line, "null");
		return;
	}
	line__put_literal(line, "\"");
	for (;;) {
		size_t length = plain_length(string, size);

		line__put(line, string, length);
		string += length;
		size -= length;
		if (!size || !*string)
			break;
		length = put_odd(line, string, size);
		string += length;
		size -= length;
	}
	line__put_literal(line, "\"");
}
