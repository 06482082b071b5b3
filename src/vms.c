// SPDX-License-Identifier: GPL-2.0
#include "vms.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "devices.h"

enum { ARGUMENTS = 64 * 1024, PATH = 512 };

/* --- the command line --- */

/* One value of an option, in which ",," is a comma. Returns what is behind it and its comma. */
static const char *take_value(const char *text, char *value, size_t size)
{
	size_t length = 0;

	for (; *text && (*text != ',' || text[1] == ','); text++) {
		if (*text == ',')
			text++;
		if (length + 1 < size)
			value[length++] = *text;
	}
	value[length] = '\0';
	return *text ? text + 1 : text;
}

/* The value of -name: its guest= part, or its first part when that has no key. */
static bool guest_of(const char *value, char *name, size_t size)
{
	bool found = false;
	char other[1];

	for (bool first = true; *value; first = false) {
		bool keyed = value[strcspn(value, "=,")] == '=';

		if (!strncmp(value, "guest=", 6)) {
			value = take_value(value + 6, name, size);
			found = true;
		} else if (first && !keyed) {
			value = take_value(value, name, size);
			found = true;
		} else {
			value = take_value(value, other, sizeof(other));
		}
	}
	return found && name[0];
}

bool vms__name_from_arguments(const char *arguments, size_t length, char *name, size_t size)
{
	const char *end = arguments + length, *previous = "";
	bool found = false;

	for (const char *at = arguments; at < end; at += strnlen(at, end - at) + 1) {
		if (memchr(at, '\0', end - at) == NULL)
			break;
		if (!strcmp(previous, "-name") || !strcmp(previous, "--name")) {
			found |= guest_of(at, name, size);
			previous = "";
		} else {
			previous = at;
		}
	}
	return found;
}

/* --- the processes --- */

struct search {
	const char *proc;
	const char *pid; /* of the process that is looked at */
	void (*found)(void *context, const char *tap, const char *vm);
	void *context;
	ino_t netns; /* ours */
	bool hidden;
};

/* /proc/PID/ENTRY */
static const char *path_of(const struct search *search, const char *entry, char path[PATH])
{
	snprintf(path, PATH, "%s/%s/%s", search->proc, search->pid, entry);
	return path;
}

static size_t read_file(const char *path, char *buffer, size_t size)
{
	cleanup_fclose FILE *file = fopen(path, "re");

	return file ? fread(buffer, 1, size, file) : 0;
}

static bool name_of_process(const struct search *search, char *name, size_t size)
{
	cleanup_free char *arguments = malloc(ARGUMENTS);
	char path[PATH];

	return arguments &&
	       vms__name_from_arguments(
		       arguments, read_file(path_of(search, "cmdline", path), arguments, ARGUMENTS),
		       name, size);
}

/* The network namespace of what a descriptor of another process opened; 0: it cannot be asked. */
static ino_t namespace_of_tap(pid_t pid, int fd)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int tap = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	int namespace = tap < 0 ? -1 : ioctl(tap, TUNGETDEVNETNS);
	struct stat status = { 0 };

	if (namespace >= 0)
		fstat(namespace, &status);
	close(namespace);
	close(tap);
	close(process);
	return status.st_ino;
}

/* A name is a tap's of one namespace: as a rule that of the process, but a descriptor can be given. */
static bool is_here(const struct search *search, const char *fd)
{
	ino_t namespace =
		namespace_of_tap((pid_t)strtol(search->pid, NULL, 10), (int)strtol(fd, NULL, 10));
	struct stat status = { 0 };
	char path[PATH];

	if (!namespace && !stat(path_of(search, "ns/net", path), &status))
	namespace = status.st_ino;
	return namespace == search->netns;
}

static bool is_refusal(int error)
{
	return error == EACCES || error == EPERM;
}

/* The tap behind one descriptor: /dev/net/tun's fdinfo has a line "iff:\tvnet0". */
static bool tap_of_descriptor(struct search *search, const char *fd, char tap[IF_NAMESIZE])
{
	char path[PATH], entry[64], target[64], text[512];
	ssize_t length;
	const char *line;

	snprintf(entry, sizeof(entry), "fd/%.32s", fd);
	length = readlink(path_of(search, entry, path), target, sizeof(target) - 1);
	search->hidden |= length < 0 && is_refusal(errno);
	if (length < 0)
		return false;
	target[length] = '\0';
	if (!strstr(target, "/tun"))
		return false;
	snprintf(entry, sizeof(entry), "fdinfo/%.32s", fd);
	length = read_file(path_of(search, entry, path), text, sizeof(text) - 1);
	text[length] = '\0';
	line = strstr(text, "\niff:\t");
	return line && sscanf(line, "\niff:\t%15s", tap) == 1 && is_here(search, fd);
}

static void search_process(struct search *search)
{
	char path[PATH], tap[IF_NAMESIZE], name[VM_NAME] = "";
	cleanup_closedir DIR *fds = NULL;
	const struct dirent *entry;

	if (!name_of_process(search, name, sizeof(name)))
		return;
	fds = opendir(path_of(search, "fd", path));
	search->hidden |= !fds && is_refusal(errno);
	while (fds && (entry = readdir(fds)))
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    tap_of_descriptor(search, entry->d_name, tap))
			search->found(search->context, tap, name);
}

bool vms__each(const char *proc, void (*found)(void *context, const char *tap, const char *vm),
	       void *context)
{
	struct search search = { .proc = proc, .found = found, .context = context };
	cleanup_closedir DIR *processes = opendir(proc);
	const struct dirent *entry;
	struct stat status;
	char path[PATH];

	search.pid = "self";
	if (!stat(path_of(&search, "ns/net", path), &status))
		search.netns = status.st_ino;
	while (processes && (entry = readdir(processes))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		search.pid = entry->d_name;
		search_process(&search);
	}
	return search.hidden;
}
