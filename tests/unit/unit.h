/* SPDX-License-Identifier: GPL-2.0 */
/* cmocka, with what it wants before it, and what several tests need. */
#ifndef VMLAT_UNIT_H
#define VMLAT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))

/* What a process of its own left behind. */
struct run {
	int code; /* -1: a signal ended it */
	char out[8192], err[8192];
};

static inline void read_all(FILE *file, char *text, size_t size)
{
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

/* For what exits the process, or speaks on stderr. */
static inline void run_apart(struct run *run, int (*body)(void *argument), void *argument)
{
	FILE *out = tmpfile(), *err = tmpfile();
	pid_t child;
	int status;

	assert_non_null(out);
	assert_non_null(err);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(err), STDERR_FILENO);
		exit(body(argument));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	run->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	read_all(out, run->out, sizeof(run->out));
	read_all(err, run->err, sizeof(run->err));
}

/* Writes a file that has no name for long: `path` gets "/dev/fd/N". Returns what to close. */
static inline FILE *file_of(const char *text, char path[32])
{
	FILE *file = tmpfile();

	assert_non_null(file);
	assert_int_equal(fputs(text, file) >= 0 && fflush(file) == 0, 1);
	rewind(file);
	snprintf(path, 32, "/dev/fd/%d", fileno(file));
	return file;
}

#endif
