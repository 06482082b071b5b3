/* SPDX-License-Identifier: GPL-2.0 */
/* Numbers in few letters, for tables. */
#ifndef VMLAT_WORDS_H
#define VMLAT_WORDS_H

#include <linux/types.h>

enum { WORD = 24 }; /* bytes of one */

/* Three digits and n, u, m or s: nano-, micro-, milliseconds, seconds. Returns `text`. */
const char *duration_word(__u64 ns, char text[WORD]);

/* Digits, from ten millions on three and M, G, T, P or E. Returns `text`. */
const char *count_word(__u64 count, char text[WORD]);

#endif
