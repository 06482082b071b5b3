// SPDX-License-Identifier: GPL-2.0
#include "parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hooks.h"

enum { TEXT_MAX = 64, DAY_SECONDS = 86400 };

/* strtoull takes "-1", " 1" and "1x"; an option's value is digits alone. */
static bool parse_digits(const char *text, const char *end, __u64 *number)
{
	__u64 value = 0;

	if (text == end)
		return false;
	for (; text < end; text++) {
		if (!isdigit((unsigned char)*text) || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (__u64)(*text - '0'), &value))
			return false;
	}
	*number = value;
	return true;
}

static void prefix_mask(__be32 mask[4], unsigned int bits)
{
	for (int i = 0; i < 4; i++) {
		unsigned int here = bits > 32 ? 32 : bits;

		mask[i] = here ? htonl(~0U << (32 - here)) : 0;
		bits -= here;
	}
}

const char *parse_prefix(const char *text, struct vmlat_prefix *prefix)
{
	const char *slash = strchrnul(text, '/');
	size_t length = slash - text;
	char address[TEXT_MAX];
	unsigned int width;
	__u64 bits;

	memset(prefix, 0, sizeof(*prefix));
	if (length >= sizeof(address))
		return "is no IPv4 or IPv6 address";
	memcpy(address, text, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, prefix->addr) == 1) {
		prefix->family = 4;
		width = 32;
	} else if (inet_pton(AF_INET6, address, prefix->addr) == 1) {
		prefix->family = 6;
		width = 128;
	} else {
		return "is no IPv4 or IPv6 address (names are not looked up)";
	}
	bits = width;
	if (*slash && (!parse_digits(slash + 1, strchr(slash, '\0'), &bits) || bits > width))
		return width == 32 ? "has no prefix length from 0 to 32"
				   : "has no prefix length from 0 to 128";
	prefix_mask(prefix->mask, bits);
	for (int i = 0; i < 4; i++)
		if (prefix->addr[i] & ~prefix->mask[i])
			return "has bits set beyond its prefix length";
	return NULL;
}

const char *parse_ports(const char *text, struct vmlat_ports *ports)
{
	static const char wrong[] = "is no port or port range (0 to 65535)";
	const char *dash = strchrnul(text, '-');
	__u64 low, high;

	if (!parse_digits(text, dash, &low))
		return wrong;
	high = low;
	if (*dash && !parse_digits(dash + 1, strchr(dash, '\0'), &high))
		return wrong;
	if (low > 65535 || high > 65535)
		return wrong;
	if (low > high)
		return "is an empty range: the lower port comes first";
	ports->low = low;
	ports->high = high;
	return NULL;
}

/* The index of the first `length` characters of text among names, or -1. */
static int name_index(const char *text, size_t length, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(names[i]) == length && !memcmp(names[i], text, length))
			return (int)i;
	return -1;
}

/* A bit for each name of a comma separated list; false when one is unknown. */
static bool parse_name_list(const char *text, const char *const *names, size_t count, __u32 *bits)
{
	*bits = 0;
	for (;;) {
		const char *comma = strchrnul(text, ',');
		int index = name_index(text, comma - text, names, count);

		if (index < 0)
			return false;
		*bits |= 1U << index;
		if (!*comma)
			return true;
		text = comma + 1;
	}
}

const char *parse_protocols(const char *text, __u32 *protocols)
{
	static const char *const names[] = { "tcp", "udp", "icmp", "any" };
	enum { ANY = 8 };

	_Static_assert(VMLAT_TCP == 1 && VMLAT_UDP == 2 && VMLAT_ICMP == 4, "bits follow names");
	if (!parse_name_list(text, names, 4, protocols))
		return "is no list of tcp, udp, icmp, any";
	if (*protocols & ANY)
		*protocols = 0;
	return NULL;
}

const char *parse_outcomes(const char *text, __u32 *outcomes)
{
	static const char *const names[] = {
#define X(id, name) name,
		VMLAT_OUTCOMES(X)
#undef X
	};

	if (!parse_name_list(text, names, VMLAT_OUTCOME_COUNT, outcomes))
		return "is no list of completed, dropped, diverted, merged, upcall_lost, expired, "
		       "evicted, ambiguous, in_flight";
	return NULL;
}

const char *parse_direction(const char *text, int *directions)
{
	static const char *const names[] = { "tx", "rx", "both" };
	int index = name_index(text, strlen(text), names, 3);

	if (index < 0)
		return "is none of tx, rx, both";
	*directions = index + 1;
	return NULL;
}

const char *parse_number(const char *text, __u64 low, __u64 high, __u64 *number)
{
	if (!parse_digits(text, strchr(text, '\0'), number))
		return "is no number";
	if (*number < low || *number > high)
		return "is out of range";
	return NULL;
}

const char *parse_time(const char *text, __u64 unit_ns, __u64 *ns)
{
	const char *point = strchrnul(text, '.');
	const __u64 day_ns = DAY_SECONDS * 1000000000ULL;
	__u64 whole, part = 0, scale = unit_ns;

	if (!parse_digits(text, point, &whole))
		return "is no time (a decimal number, such as 250 or 0.5)";
	if (whole > day_ns / unit_ns)
		return "is more than a day";
	if (*point && !point[1])
		return "is no time (a decimal number, such as 250 or 0.5)";
	for (const char *digit = point + !!*point; *digit; digit++) {
		if (!isdigit((unsigned char)*digit))
			return "is no time (a decimal number, such as 250 or 0.5)";
		scale /= 10;
		part += (__u64)(*digit - '0') * scale;
	}
	*ns = whole * unit_ns + part;
	return *ns > day_ns ? "is more than a day" : NULL;
}

static size_t edit_distance(const char *a, const char *b)
{
	size_t row[TEXT_MAX + 1], columns = strlen(b);

	if (columns > TEXT_MAX)
		return TEXT_MAX;
	for (size_t j = 0; j <= columns; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= columns; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			size_t best = row[j] < row[j - 1] ? row[j] : row[j - 1];

			diagonal = row[j];
			row[j] = change < best + 1 ? change : best + 1;
		}
	}
	return row[columns];
}

const char *nearest_name(const char *text, const char *const *names, size_t count)
{
	size_t best = strlen(text) / 2 + 1;
	const char *nearest = NULL;

	for (size_t i = 0; i < count; i++) {
		size_t distance = edit_distance(text, names[i]);

		if (distance < best) {
			best = distance;
			nearest = names[i];
		}
	}
	return nearest;
}
