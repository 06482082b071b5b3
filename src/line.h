/* SPDX-License-Identifier: GPL-2.0 */
/* A line that is written piece by piece, and goes out in as few writes as it takes. */
#ifndef VMLAT_LINE_H
#define VMLAT_LINE_H

#include <linux/types.h>
#include <stdio.h>
#include <string.h>

/* Set `out` and `length` (0) alone: the text need not be cleared. */
struct line {
	FILE *out;
	size_t length;
	char text[4096];
};

/* Writes what there is of it. */
static inline void line__flush(struct line *line)
{
	fwrite(line->text, 1, line->length, line->out);
	line->length = 0;
}

/* What is longer than the buffer's rest, be it longer than the whole. */
void line__put_long(struct line *line, const char *text, size_t length);

static inline void line__put(struct line *line, const char *text, size_t length)
{
	if (length > sizeof(line->text) - line->length) {
		line__put_long(line, text, length);
		return;
	}
	memcpy(line->text + line->length, text, length);
	line->length += length;
}

/* A string literal, whose length the compiler knows. */
#define line__put_literal(line, literal) line__put(line, "" literal, sizeof(literal) - 1)

static inline void line__put_text(struct line *line, const char *text)
{
	line__put(line, text, strlen(text));
}

/* 00 to 99, one behind the other. */
extern const char line__pairs[];

/* A number above 0. */
void line__put_digits(struct line *line, __u64 number);

/* In decimal; most have one digit. */
static inline void line__put_number(struct line *line, __u64 number)
{
	char digit = (char)('0' + number);

	if (number < 10)
		line__put(line, &digit, 1);
	else
		line__put_digits(line, number);
}

/* A JSON string of `size` bytes at most, or null. What is not UTF-8 in it is replaced. */
void line__put_json(struct line *line, const char *string, size_t size);

#endif
