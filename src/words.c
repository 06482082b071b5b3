// SPDX-License-Identifier: GPL-2.0
#include "words.h"

#include <stdbool.h>
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

enum { MORE = 32 }; /* room for how many are left out */

void name_list_add(struct name_list *list, const char *name, const char *note)
{
	size_t room = sizeof(list->text) - MORE - list->length;
	bool noted = note && note[0];
	int size;

	size = snprintf(list->text + list->length, room, "%s%s%s%s%s", list->length ? ", " : "",
			name, noted ? " (" : "", noted ? note : "", noted ? ")" : "");
	if (!list->left_out && (size_t)size < room) {
		list->length += size;
		return;
	}
	list->left_out++;
	list->text[list->length] = '\0';
}

const char *name_list_text(struct name_list *list, const char *none)
{
	if (!list->length)
		return none;
	if (list->left_out)
		snprintf(list->text + list->length, MORE, " and %zu more", list->left_out);
	return list->text;
}
