// SPDX-License-Identifier: GPL-2.0
#include "vms.h"

#include <ctype.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

enum { ARGUMENTS = 64 * 1024, NAME = 64, PATH = 320 };

/* The value of -name: its guest= part, or its first part when that has no key. */
static bool guest_of(const char *value, char *name, size_t size)
{
	while (*value) {
		const char *comma = strchrnul(value, ',');
		size_t length = comma - value;
		const char *key = memchr(value, '=', length);

		if (!key || !strncmp(value, "guest=", 6)) {
			const char *from = key ? key + 1 : value;

			snprintf(name, size, "%.*s", (int)(comma - from), from);
			return name[0];
		}
		value = *comma ? comma + 1 : comma;
	}
	return false;
}

int vms__name_from_arguments(const char *arguments, size_t length, char *name, size_t size)
{
	const char *end = arguments + length, *previous = "";

	for (const char *at = arguments; at < end; at += strnlen(at, end - at) + 1) {
		if (memchr(at, '\0', end - at) == NULL)
			break;
		if (!strcmp(previous, "-name") || !strcmp(previous, "--name"))
			return guest_of(at, name, size);
		previous = at;
	}
	return false;
}

static size_t read_file(const char *path, char *buffer, size_t size)
{
	cleanup_fclose FILE *file = fopen(path, "re");

	return file ? fread(buffer, 1, size, file) : 0;
}

static void name_of_process(const char *pid, char *name, size_t size)
{
	cleanup_free char *arguments = malloc(ARGUMENTS);
	char path[PATH];
	size_t length;

	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	length = arguments ? read_file(path, arguments, ARGUMENTS) : 0;
	if (vms__name_from_arguments(arguments, length, name, size))
		return;
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	length = read_file(path, name, size - 1);
	name[length] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

/* The tap behind one descriptor: /dev/net/tun's fdinfo has a line "iff:\tvnet0". */
static bool tap_of_descriptor(const char *pid, const char *fd, char tap[IF_NAMESIZE])
{
	char path[PATH], target[32], text[512];
	ssize_t length;
	const char *line;

	snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, fd);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	if (strcmp(target, "/dev/net/tun"))
		return false;
	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	length = read_file(path, text, sizeof(text) - 1);
	text[length] = '\0';
	line = strstr(text, "\niff:\t");
	return line && sscanf(line, "\niff:\t%15s", tap) == 1;
}

static void search_process(const char *pid,
			   void (*found)(void *context, const char *tap, const char *vm),
			   void *context)
{
	char path[PATH], tap[IF_NAMESIZE], name[NAME] = "";
	cleanup_closedir DIR *fds = NULL;
	const struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	while (fds && (entry = readdir(fds))) {
		if (!tap_of_descriptor(pid, entry->d_name, tap))
			continue;
		if (!name[0])
			name_of_process(pid, name, sizeof(name));
		found(context, tap, name);
	}
}

void vms__each(void (*found)(void *context, const char *tap, const char *vm), void *context)
{
	cleanup_closedir DIR *processes = opendir("/proc");
	const struct dirent *entry;

	while (processes && (entry = readdir(processes)))
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(entry->d_name, found, context);
}
