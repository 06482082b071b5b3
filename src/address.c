// SPDX-License-Identifier: GPL-2.0
#include "address.h"

#include <stdbool.h>

enum { WORDS = 8 };

static char *put_byte(char *to, __u8 byte)
{
	if (byte >= 100)
		*to++ = (char)('0' + byte / 100);
	if (byte >= 10)
		*to++ = (char)('0' + byte / 10 % 10);
	*to++ = (char)('0' + byte % 10);
	return to;
}

static char *put_ipv4(char *to, const __u8 *bytes)
{
	for (int i = 0; i < 4; i++) {
		if (i)
			*to++ = '.';
		to = put_byte(to, bytes[i]);
	}
	return to;
}

static char *put_word(char *to, __u16 word)
{
	static const char hex[] = "0123456789abcdef";

	for (int shift = word >= 0x1000	 ? 12
			 : word >= 0x100 ? 8
			 : word >= 0x10	 ? 4
					 : 0;
	     shift >= 0; shift -= 4)
		*to++ = hex[word >> shift & 15];
	return to;
}

/* Where the longest run of two or more zeros begins, the first of them; WORDS: there is none. */
static int longest_run(const __u16 *words, int *length)
{
	int best = WORDS;

	*length = 1;
	for (int i = 0, run = 0; i < WORDS; i++) {
		run = words[i] ? 0 : run + 1;
		if (run > *length) {
			*length = run;
			best = i + 1 - run;
		}
	}
	return best;
}

/* An IPv4 address in the last two words: ::a.b.c.d, or ::ffff:a.b.c.d. */
static bool ends_in_ipv4(const __u16 *words, int zeros_at, int zeros)
{
	return zeros_at == 0 && (zeros == 6 || (zeros == 5 && words[5] == 0xffff));
}

static char *put_ipv6(char *to, const __u8 *bytes)
{
	__u16 words[WORDS];
	int zeros, zeros_at, end;

	for (int i = 0; i < WORDS; i++)
		words[i] = (__u16)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
	zeros_at = longest_run(words, &zeros);
	end = ends_in_ipv4(words, zeros_at, zeros) ? WORDS - 2 : WORDS;
	for (int i = 0; i < end; i++) {
		if (i)
			*to++ = ':';
		if (i == zeros_at) {
			i += zeros - 1;
			if (!zeros_at)
				*to++ = ':';
			if (i == WORDS - 1)
				*to++ = ':';
			continue;
		}
		to = put_word(to, words[i]);
	}
	if (end == WORDS)
		return to;
	*to++ = ':';
	return put_ipv4(to, bytes + 12);
}

size_t address__text(int family, const __be32 *address, char text[INET6_ADDRSTRLEN])
{
	const __u8 *bytes = (const __u8 *)address;
	char *end = family == 4 ? put_ipv4(text, bytes) : put_ipv6(text, bytes);

	*end = '\0';
	return end - text;
}
