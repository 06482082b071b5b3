// SPDX-License-Identifier: GPL-2.0
#include "words.h"

#include <stdio.h>

/* Three digits and a letter, which may stand for a thousand to the power of its place. */
static const char *scaled(double value, const char *letters, char text[WORD])
{
	while (value >= 999.5 && letters[1]) {
		value /= 1000;
		letters++;
	}
	snprintf(text, WORD, "%.*f%c", value < 9.995 ? 2 : value < 99.95, value, *letters);
	return text;
}

const char *duration_word(__u64 ns, char text[WORD])
{
	if (ns >= 1000)
		return scaled(ns / 1000.0, "ums", text);
	snprintf(text, WORD, "%llun", ns);
	return text;
}

const char *count_word(__u64 count, char text[WORD])
{
	if (count >= 10000000)
		return scaled(count / 1000000.0, "MGTPE", text);
	snprintf(text, WORD, "%llu", count);
	return text;
}
