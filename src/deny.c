// SPDX-License-Identifier: GPL-2.0
#include "deny.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "exit.h"
#include "hook.h"
#include "log.h"

enum { WORD = 64 };

static const struct way {
	const char *name;
	enum vmlat_hook_kind kind; /* of the hooks that it is a way of attaching to */
	enum attach_way way;
} ways[] = {
	{ "tracepoint", VMLAT_TRACEPOINT, BY_TRACING }, { "fentry", VMLAT_FUNCTION, BY_TRACING },
	{ "kprobe", VMLAT_FUNCTION, BY_PROBE },		{ "fexit", VMLAT_RETURN, BY_TRACING },
	{ "kretprobe", VMLAT_RETURN, BY_PROBE },
};

static const struct way *way_named(const char *name)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (!strcmp(ways[i].name, name))
			return &ways[i];
	return NULL;
}

/* Of one word, "name" or "name:way": whether there is such a hook. */
static bool deny_hook(struct kernel *kernel, char *word)
{
	char *colon = strchr(word, ':');
	const struct way *way = colon ? way_named(colon + 1) : NULL;
	bool found = false;

	if (!strcmp(word, "fentry"))
		return kernel->to_refuse_fentry = true;
	if (colon && !way)
		return false;
	if (colon)
		*colon = '\0';
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		if (strcmp(hooks[id].name, word) || (way && way->kind != hooks[id].kind))
			continue;
		found = true;
		if (way)
			kernel->to_refuse[id] |= way->way;
		else
			kernel->denied[id] = true;
	}
	return found;
}

int deny__parse(struct kernel *kernel, const char *text)
{
	while (text && *text) {
		const char *comma = strchrnul(text, ',');
		char word[WORD], copy[WORD];

		snprintf(word, sizeof(word), "%.*s", (int)(comma - text), text);
		memcpy(copy, word, sizeof(copy));
		if (!deny_hook(kernel, copy)) {
			log_error("VMLAT_DENY: there is no hook %s", word);
			return EXIT_USAGE;
		}
		text = *comma ? comma + 1 : comma;
	}
	return 0;
}

bool deny__refuses(const struct kernel *kernel, enum vmlat_hook id, enum attach_way way)
{
	bool fentry = way == BY_TRACING && hooks[id].kind != VMLAT_TRACEPOINT;

	errno = fentry && kernel->to_refuse_fentry ? ENOTSUPP : EPERM;
	return kernel->to_refuse[id] & way || (fentry && kernel->to_refuse_fentry);
}
