// SPDX-License-Identifier: GPL-2.0
#include "symbols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

enum {
	FUNCTION_MAX = 1 << 20, /* bytes; no function of the kernel is nearly as long */
	BUCKETS = 1 << 15,
	READ_BYTES = 1 << 12, /* as many as the kernel gives at a time; stdio would read 1 KiB */
};

/* The variables that anybody asks for: there are many more than functions. */
static const char *const variables[] = { "page_offset_base", "vmemmap_base",
					 "__per_cpu_offset", "__preempt_count",
					 "pcpu_hot",	     "local_interrupt_disable_state" };
enum { VARIABLES = sizeof(variables) / sizeof(*variables) };

struct symbol {
	__u64 address;
	__u32 name; /* offset into text */
	__u32 module; /* the same; 0 is the kernel, whose name is "" */
	__u32 next; /* of its bucket: index + 1; 0: none */
};

/* As the file has them: by address in the kernel, in no order behind it. */
struct symbols {
	struct symbol *entries;
	size_t count, room;
	__u32 bucket[BUCKETS]; /* of the name up to its first dot: index + 1; 0: none */
	__u32 *by_address; /* indices; NULL: nobody has asked for an address yet */
	char *text;
	size_t length, size;
	__u64 variable[VARIABLES];
	bool hidden;
};

/* Offset of a copy of the string in text, or 0 when there is no memory (errno is set). */
static __u32 keep(struct symbols *symbols, const char *string, size_t length)
{
	size_t at = symbols->length;

	if (at + length + 1 > symbols->size) {
		size_t size = (symbols->size ? symbols->size * 2 : 1 << 20) + length + 1;
		char *text = realloc(symbols->text, size);

		if (!text)
			return 0;
		symbols->text = text;
		symbols->size = size;
	}
	memcpy(symbols->text + at, string, length);
	symbols->text[at + length] = '\0';
	symbols->length = at + length + 1;
	return at;
}

/* What foo and foo.isra.0 have in common. */
static __u32 *bucket_of(struct symbols *symbols, const char *name, size_t length)
{
	__u32 hash = 0;

	for (size_t i = 0; i < length && name[i] != '.'; i++)
		hash = hash * 31 + (unsigned char)name[i];
	return &symbols->bucket[(hash ^ hash >> 16) % BUCKETS];
}

static int add(struct symbols *symbols, __u64 address, const char *name, size_t length,
	       __u32 module)
{
	__u32 *bucket = bucket_of(symbols, name, length);
	struct symbol *entry;

	if (symbols->count == symbols->room) {
		size_t room = symbols->room ? symbols->room * 2 : 1 << 16;
		struct symbol *entries = reallocarray(symbols->entries, room, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		symbols->entries = entries;
		symbols->room = room;
	}
	entry = &symbols->entries[symbols->count];
	entry->address = address;
	entry->name = keep(symbols, name, length);
	entry->module = module;
	entry->next = *bucket;
	*bucket = ++symbols->count;
	return entry->name ? 0 : -ENOMEM;
}

/* A number in hexadecimal; what stands behind it. */
static const char *parse_hex(const char *text, __u64 *number)
{
	*number = 0;
	for (;; text++) {
		unsigned char letter = *text | 0x20;

		if (*text >= '0' && *text <= '9')
			*number = *number << 4 | (*text - '0');
		else if (letter >= 'a' && letter <= 'f')
			*number = *number << 4 | (letter - 'a' + 10);
		else
			return text;
	}
}

/* Of a module there may be one of the same name: its line goes on. */
static void keep_variable(struct symbols *symbols, __u64 address, const char *name)
{
	for (int i = 0; i < VARIABLES; i++) {
		size_t length = strlen(variables[i]);

		if (!strncmp(name, variables[i], length) && name[length] == '\n')
			symbols->variable[i] = address;
	}
}

/* One line: "ffffffff81000000 T name\t[module]\n". Of what is no function only `variables` are kept. */
static int parse_line(struct symbols *symbols, const char *line, __u32 *module)
{
	__u64 address;
	const char *end = parse_hex(line, &address), *name, *owner;
	size_t length, owner_length = 0;

	if (end == line || end[0] != ' ' || !end[1] || end[2] != ' ')
		return 0;
	if (!strchr("tTwW", end[1])) {
		keep_variable(symbols, address, end + 3);
		return 0;
	}
	symbols->hidden |= !address;
	name = end + 3;
	length = strcspn(name, " \t\n");
	owner = name + length + strspn(name + length, " \t");
	if (*owner == '[')
		owner_length = strcspn(++owner, "]\n");
	if (!length)
		return 0;
	if (!owner_length)
		return add(symbols, address, name, length, 0);
	if (strncmp(symbols->text + *module, owner, owner_length) ||
	    symbols->text[*module + owner_length]) {
		*module = keep(symbols, owner, owner_length);
		if (!*module)
			return -ENOMEM;
	}
	return add(symbols, address, name, length, *module);
}

static int read_lines(struct symbols *symbols, FILE *file)
{
	cleanup_free char *line = NULL;
	__u32 module = 0;
	size_t size = 0;
	int error = 0;

	keep(symbols, "", 0); /* offset 0: the kernel's module name */
	while (symbols->text && !error && getline(&line, &size, file) > 0)
		error = parse_line(symbols, line, &module);
	if (!symbols->text)
		return -ENOMEM;
	return error || symbols->count ? error : -ENOENT;
}

struct symbols *symbols__load(const char *path)
{
	cleanup_fclose FILE *file = fopen(path ? path : "/proc/kallsyms", "re");
	struct symbols *symbols;
	char buffer[READ_BYTES];
	int error;

	if (!file)
		return NULL;
	setvbuf(file, buffer, _IOFBF, sizeof(buffer));
	symbols = calloc(1, sizeof(*symbols));
	if (!symbols)
		return NULL;
	error = read_lines(symbols, file);
	if (!error)
		return symbols;
	symbols__free(symbols);
	errno = -error;
	return NULL;
}

void symbols__free(struct symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->entries);
	free(symbols->by_address);
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

/* The first in the order of addresses. */
static const struct symbol *find(struct symbols *symbols, const char *module, const char *name)
{
	__u32 at = *bucket_of(symbols, name, strlen(name));
	const struct symbol *first = NULL;

	for (; at; at = symbols->entries[at - 1].next) {
		const struct symbol *entry = &symbols->entries[at - 1];

		if (strcmp(symbols->text + entry->name, name) != 0 ||
		    !is_in(symbols, entry, module))
			continue;
		if (!first || entry->address <= first->address)
			first = entry;
	}
	return first;
}

__u64 symbols__address(struct symbols *symbols, const char *module, const char *name)
{
	const struct symbol *entry = find(symbols, module, name);

	return entry ? entry->address : 0;
}

bool symbols__has(struct symbols *symbols, const char *module, const char *name)
{
	return find(symbols, module, name);
}

const char *symbols__suffix(struct symbols *symbols, const char *module, const char *name)
{
	size_t length = strlen(name);
	const char *suffix = NULL;
	__u64 address = 0;

	for (__u32 at = *bucket_of(symbols, name, length); at; at = symbols->entries[at - 1].next) {
		const struct symbol *entry = &symbols->entries[at - 1];
		const char *found = symbols->text + entry->name;

		if (strncmp(found, name, length) != 0 || found[length] != '.' ||
		    !is_in(symbols, entry, module))
			continue;
		if (suffix && entry->address > address)
			continue;
		suffix = found + length;
		address = entry->address;
	}
	return suffix;
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
	__u32 no = ~0U; /* the module that the entries before were of, and it was not that one */

	for (size_t i = 0; i < symbols->count; i++) {
		if (symbols->entries[i].module == no)
			continue;
		no = symbols->entries[i].module;
		if (!strcmp(symbols->text + no, module))
			return true;
	}
	return false;
}

static int by_address(const void *a, const void *b, void *symbols)
{
	const struct symbol *entries = ((const struct symbols *)symbols)->entries;
	const struct symbol *left = &entries[*(const __u32 *)a];
	const struct symbol *right = &entries[*(const __u32 *)b];

	return left->address < right->address ? -1 : left->address > right->address;
}

/* False: there is no memory. */
static bool sort(struct symbols *symbols)
{
	if (symbols->by_address)
		return true;
	symbols->by_address = calloc(symbols->count, sizeof(*symbols->by_address));
	if (!symbols->by_address)
		return false;
	for (size_t i = 0; i < symbols->count; i++)
		symbols->by_address[i] = i;
	qsort_r(symbols->by_address, symbols->count, sizeof(*symbols->by_address), by_address,
		symbols);
	return true;
}

const char *symbols__name(struct symbols *symbols, __u64 address, __u64 *offset)
{
	size_t low = 0, high = symbols->count;
	const struct symbol *entry;

	if (!sort(symbols))
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->entries[symbols->by_address[middle]].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	entry = &symbols->entries[symbols->by_address[low - 1]];
	*offset = address - entry->address;
	return *offset > FUNCTION_MAX ? NULL : symbols->text + entry->name;
}
