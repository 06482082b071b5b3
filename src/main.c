// SPDX-License-Identifier: GPL-2.0
#include "check.h"
#include "exit.h"
#include "log.h"
#include "options.h"
#include "trace.h"

int main(int argc, char **argv)
{
	struct options options;
	int code = options__parse(&options, argc, argv);

	if (!code) {
		log_set_level(options.quiet ? LOG_ERROR : options.verbose ? LOG_DEBUG : LOG_INFO);
		code = options.what == COMMAND_CHECK ? check(&options) : trace(&options);
	}
	options__free(&options);
	return code;
}
