// SPDX-License-Identifier: GPL-2.0
#include "json_add.h"

#include <json-c/json.h>

#include "utf8.h"

void write_line(FILE *out, struct json_object *object)
{
	fputs(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
							     JSON_C_TO_STRING_NOSLASHESCAPE),
	      out);
	fputc('\n', out);
	json_object_put(object);
}

void add_string(struct json_object *object, const char *key, const char *string)
{
	char clean[512];

	json_object_object_add(
		object, key,
		string ? json_object_new_string(utf8__clean(clean, sizeof(clean), string)) : NULL);
}

void add_count(struct json_object *object, const char *key, __u64 count)
{
	json_object_object_add(object, key, json_object_new_uint64(count));
}
