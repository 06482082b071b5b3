// SPDX-License-Identifier: GPL-2.0
#include "types.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1 << 14 };

/* A bucket leads to a type's number, that to the next one of the bucket; 0 is void, and the end. */
struct types {
	const struct btf *btf;
	__u32 first; /* number of the first type that is not of the base */
	__u32 bucket[BUCKETS];
	__u32 next[];
};

static __u32 hash(const char *name)
{
	__u32 hash = 0;

	while (*name)
		hash = hash * 31 + (unsigned char)*name++;
	return (hash ^ hash >> 16) % BUCKETS;
}

static bool is_indexed(int kind)
{
	return kind == BTF_KIND_STRUCT || kind == BTF_KIND_ENUM || kind == BTF_KIND_TYPEDEF ||
	       kind == BTF_KIND_FUNC;
}

struct types *types__open(const struct btf *btf, const struct btf *base)
{
	__u32 first = base ? btf__type_cnt(base) : 1, end = btf__type_cnt(btf);
	struct types *types = calloc(1, sizeof(*types) + (end - first) * sizeof(*types->next));

	if (!types)
		return NULL;
	types->btf = btf;
	types->first = first;
	for (__u32 id = first; id < end; id++) {
		const struct btf_type *type = btf__type_by_id(btf, id);
		__u32 *bucket;

		if (!is_indexed(btf_kind(type)))
			continue;
		bucket = &types->bucket[hash(btf__name_by_offset(btf, type->name_off))];
		types->next[id - first] = *bucket;
		*bucket = id;
	}
	return types;
}

void types__close(struct types *types)
{
	free(types);
}

__u32 types__find(const struct types *types, const char *name, int kind)
{
	__u32 id = types ? types->bucket[hash(name)] : 0;

	for (; id; id = types->next[id - types->first]) {
		const struct btf_type *type = btf__type_by_id(types->btf, id);

		if (btf_kind(type) == kind &&
		    !strcmp(btf__name_by_offset(types->btf, type->name_off), name))
			return id;
	}
	return 0;
}
