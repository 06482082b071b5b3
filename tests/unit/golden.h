/* SPDX-License-Identifier: GPL-2.0 */
/* Texts that are compared as a whole with a file in tests/unit/golden. */
#ifndef VMLAT_UNIT_GOLDEN_H
#define VMLAT_UNIT_GOLDEN_H

#include "unit.h"

/* With GOLDEN=write in the environment the file is written anew. */
static inline void assert_golden(const char *name, const char *text)
{
	const char *order = getenv("GOLDEN");
	static char expected[65536];
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%.*s/golden/%s", (int)(strrchr(__FILE__, '/') - __FILE__),
		 __FILE__, name);
	if (order && !strcmp(order, "write")) {
		file = fopen(path, "we");
		assert_non_null(file);
		fputs(text, file);
		fclose(file);
	}
	file = fopen(path, "re");
	assert_non_null(file);
	read_all(file, expected, sizeof(expected));
	assert_string_equal(text, expected);
}

#endif
