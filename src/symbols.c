// SPDX-License-Identifier: GPL-2.0
#include "symbols.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

enum { FUNCTION_MAX = 1 << 20 }; /* bytes; no function of the kernel is nearly as long */

/* The variables that anybody asks for: there are many more than functions. */
static const char *const variables[] = { "page_offset_base", "vmemmap_base" };
enum { VARIABLES = sizeof(variables) / sizeof(*variables) };

struct symbol {
	__u64 address;
	__u32 name; /* offset into text */
	__u32 module; /* the same; 0 is the kernel, whose name is "" */
};

struct symbols {
	struct symbol *entries;
	size_t count, room;
	char *text;
	size_t length, size;
	__u64 variable[VARIABLES];
	bool hidden;
};

/* Offset of a copy of the string in text, or 0 when there is no memory (errno is set). */
static __u32 keep(struct symbols *symbols, const char *string)
{
	size_t length = strlen(string) + 1, at = symbols->length;

	if (at + length > symbols->size) {
		size_t size = (symbols->size ? symbols->size * 2 : 1 << 20) + length;
		char *text = realloc(symbols->text, size);

		if (!text)
			return 0;
		symbols->text = text;
		symbols->size = size;
	}
	memcpy(symbols->text + at, string, length);
	symbols->length = at + length;
	return at;
}

static int add(struct symbols *symbols, __u64 address, const char *name, __u32 module)
{
	if (symbols->count == symbols->room) {
		size_t room = symbols->room ? symbols->room * 2 : 1 << 16;
		struct symbol *entries = reallocarray(symbols->entries, room, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		symbols->entries = entries;
		symbols->room = room;
	}
	symbols->entries[symbols->count] = (struct symbol){
		.address = address,
		.name = keep(symbols, name),
		.module = module,
	};
	return symbols->entries[symbols->count++].name ? 0 : -ENOMEM;
}

/* Of a module there may be one of the same name: its line goes on. */
static void keep_variable(struct symbols *symbols, __u64 address, const char *name)
{
	size_t length = strcspn(name, "\n");

	for (int i = 0; i < VARIABLES; i++)
		if (length == strlen(variables[i]) && !memcmp(name, variables[i], length))
			symbols->variable[i] = address;
}

/* One line: "ffffffff81000000 T name\t[module]\n". Of what is no function only `variables` are kept. */
static int parse_line(struct symbols *symbols, char *line, __u32 *module)
{
	char *name, *owner, *end;
	__u64 address = strtoull(line, &end, 16);

	if (end == line || end[0] != ' ' || !end[1] || end[2] != ' ')
		return 0;
	if (!strchr("tTwW", end[1])) {
		keep_variable(symbols, address, end + 3);
		return 0;
	}
	symbols->hidden |= !address;
	name = end + 3;
	owner = name + strcspn(name, " \t\n");
	end = strchr(owner, '[');
	*owner = '\0';
	owner = end ? end + 1 : owner;
	owner[strcspn(owner, "]")] = '\0';
	if (!*name)
		return 0;
	if (strcmp(symbols->text + *module, owner)) {
		*module = keep(symbols, owner);
		if (!*module)
			return -ENOMEM;
	}
	return add(symbols, address, name, owner[0] ? *module : 0);
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *left = a, *right = b;

	return left->address < right->address ? -1 : left->address > right->address;
}

struct symbols *symbols__load(const char *path)
{
	cleanup_fclose FILE *file = fopen(path ? path : "/proc/kallsyms", "re");
	cleanup_free char *line = NULL;
	struct symbols *symbols;
	__u32 module = 0;
	size_t size = 0;
	int error = 0;

	if (!file)
		return NULL;
	symbols = calloc(1, sizeof(*symbols));
	if (!symbols)
		return NULL;
	keep(symbols, ""); /* offset 0: the kernel's module name */
	while (symbols->text && !error && getline(&line, &size, file) > 0)
		error = parse_line(symbols, line, &module);
	if (!symbols->text)
		error = -ENOMEM;
	if (!error && !symbols->count)
		error = -ENOENT;
	if (error) {
		symbols__free(symbols);
		errno = -error;
		return NULL;
	}
	qsort(symbols->entries, symbols->count, sizeof(*symbols->entries), by_address);
	return symbols;
}

void symbols__free(struct symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->entries);
	free(symbols->text);
	free(symbols);
}

bool symbols__hidden(const struct symbols *symbols)
{
	return symbols->hidden;
}

static bool is_in(const struct symbols *symbols, const struct symbol *entry, const char *module)
{
	return !entry->module || !strcmp(symbols->text + entry->module, module);
}

static const struct symbol *find(const struct symbols *symbols, const char *module,
				 const char *name)
{
	for (size_t i = 0; i < symbols->count; i++) {
		const struct symbol *entry = &symbols->entries[i];

		if (!strcmp(symbols->text + entry->name, name) && is_in(symbols, entry, module))
			return entry;
	}
	return NULL;
}

__u64 symbols__address(const struct symbols *symbols, const char *module, const char *name)
{
	const struct symbol *entry = find(symbols, module, name);

	return entry ? entry->address : 0;
}

bool symbols__has(const struct symbols *symbols, const char *module, const char *name)
{
	return find(symbols, module, name);
}

const char *symbols__suffix(const struct symbols *symbols, const char *module, const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < symbols->count; i++) {
		const struct symbol *entry = &symbols->entries[i];
		const char *found = symbols->text + entry->name;

		if (!strncmp(found, name, length) && found[length] == '.' &&
		    is_in(symbols, entry, module))
			return found + length;
	}
	return NULL;
}

__u64 symbols__variable(const struct symbols *symbols, const char *name)
{
	for (int i = 0; i < VARIABLES; i++)
		if (!strcmp(name, variables[i]))
			return symbols->variable[i];
	return 0;
}

bool symbols__has_module(const struct symbols *symbols, const char *module)
{
	for (size_t i = 0; i < symbols->count; i++)
		if (!strcmp(symbols->text + symbols->entries[i].module, module))
			return true;
	return false;
}

const char *symbols__name(const struct symbols *symbols, __u64 address, __u64 *offset)
{
	size_t low = 0, high = symbols->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->entries[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	*offset = address - symbols->entries[low - 1].address;
	if (*offset > FUNCTION_MAX)
		return NULL;
	return symbols->text + symbols->entries[low - 1].name;
}
