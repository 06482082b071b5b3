/* SPDX-License-Identifier: GPL-2.0 */
/* Numbers in few letters, for tables; names in a line. */
#ifndef VMLAT_WORDS_H
#define VMLAT_WORDS_H

#include <linux/types.h>
#include <stddef.h>

enum { WORD = 24 }; /* bytes of one */

/* Three digits and n, u, m or s: nano-, micro-, milliseconds, seconds. Returns `text`. */
const char *duration_word(__u64 ns, char text[WORD]);

/* Digits, from ten millions on three and M, G, T, P or E. Returns `text`. */
const char *count_word(__u64 count, char text[WORD]);

/* Names with a comma between them; how many are left out for want of room. Zeroed at first. */
struct name_list {
	size_t length, left_out;
	char text[1024];
};

/* `note` stands in parentheses behind the name; NULL or empty: nothing does. */
void name_list_add(struct name_list *list, const char *name, const char *note);

/* "vnet0 (web1), vnet1 and 3 more", which stays in the list; `none` when nothing was added. */
const char *name_list_text(struct name_list *list, const char *none);

#endif
