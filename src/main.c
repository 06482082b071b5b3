// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <unistd.h>

#include "check.h"
#include "exit.h"
#include "log.h"
#include "options.h"
#include "trace.h"

/*
 * Of standard input, output and error those that are closed lead nowhere: else the next file would get
 * what is for them.
 */
static void hold_standard_files(void)
{
	int file;

	do
		file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (file >= 0 && file <= STDERR_FILENO);
	close(file);
}

int main(int argc, char **argv)
{
	struct options options;
	int code;

	hold_standard_files();
	code = options__parse(&options, argc, argv);

	if (!code) {
		log_set_level(options.quiet ? LOG_ERROR : options.verbose ? LOG_DEBUG : LOG_INFO);
		code = options.what == COMMAND_CHECK ? check(&options) : trace(&options);
	}
	options__free(&options);
	return code;
}
