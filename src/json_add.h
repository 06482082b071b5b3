/* SPDX-License-Identifier: GPL-2.0 */
/* Members of a json-c object, and the line that it is written as. */
#ifndef VMLAT_JSON_ADD_H
#define VMLAT_JSON_ADD_H

#include <linux/types.h>
#include <stdio.h>

enum { SCHEMA = 1 };

struct json_object;

/* `string` NULL: null. What is not UTF-8 in it is replaced. */
void add_string(struct json_object *object, const char *key, const char *string);
void add_count(struct json_object *object, const char *key, __u64 count);

/* Writes the object as one line, and frees it. */
void write_line(FILE *out, struct json_object *object);

#endif
