// SPDX-License-Identifier: GPL-2.0
#include "target.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hook.h"
#include "kernel.h"

static const struct section {
	const char *pattern; /* as libbpf has it */
	enum bpf_attach_type type;
} sections[] = {
	{ "tp_btf+", BPF_TRACE_RAW_TP },
	{ "fentry+", BPF_TRACE_FENTRY },
	{ "fexit+", BPF_TRACE_FEXIT },
};

enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

struct targets {
	const struct kernel *kernel;
	int handlers[SECTIONS]; /* what libbpf calls them; 0: none */
	int modules[VMLAT_HOOK_COUNT]; /* a hook's module's BTF, open; 0: not open */
};

/* The BTF of a module: an open file, or -1. Needs CAP_SYS_ADMIN, as libbpf does for it. */
static int open_module_btf(const char *module)
{
	for (__u32 id = 0; !bpf_btf_get_next_id(id, &id);) {
		char name[64] = "";
		struct bpf_btf_info info = { .name = (unsigned long)name,
					     .name_len = sizeof(name) };
		__u32 length = sizeof(info);
		int fd = bpf_btf_get_fd_by_id(id);

		if (fd < 0)
			continue; /* the module has just gone */
		if (!bpf_obj_get_info_by_fd(fd, &info, &length) && info.kernel_btf &&
		    !strcmp(name, module))
			return fd;
		close(fd);
	}
	return -1;
}

static int module_btf(struct targets *targets, enum vmlat_hook hook)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (targets->modules[id] && !strcmp(hooks[id].module, hooks[hook].module))
			return targets->modules[id];
	targets->modules[hook] = open_module_btf(hooks[hook].module);
	return targets->modules[hook];
}

static int set_function(struct targets *targets, struct bpf_prog_load_opts *options,
			enum vmlat_hook hook)
{
	const char *module = hooks[hook].module;

	options->attach_btf_id = kernel__function_id(targets->kernel, module, hooks[hook].name);
	if (kernel__has_module_btf(targets->kernel, module))
		options->attach_btf_obj_fd = module_btf(targets, hook);
	return options->attach_btf_id ? 0 : -ESRCH;
}

/* libbpf calls it before it loads a program of one of these sections. */
static int set_target(struct bpf_program *program, struct bpf_prog_load_opts *options, long cookie)
{
	struct targets *targets = (struct targets *)cookie; // NOLINT(performance-no-int-to-ptr)
	const char *name = strchr(bpf_program__section_name(program), '/') + 1;

	if (bpf_program__expected_attach_type(program) == BPF_TRACE_RAW_TP) {
		options->attach_btf_id = kernel__tracepoint_id(targets->kernel, name);
		return options->attach_btf_id ? 0 : -ESRCH;
	}
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (!strcmp(hooks[id].name, name))
			return set_function(targets, options, id);
	return -ESRCH;
}

struct targets *targets__open(const struct kernel *kernel)
{
	struct targets *targets = calloc(1, sizeof(*targets));
	LIBBPF_OPTS(libbpf_prog_handler_opts, options, .cookie = (long)targets,
		    .prog_prepare_load_fn = set_target);

	if (!targets)
		return NULL;
	targets->kernel = kernel;
	for (int i = 0; i < SECTIONS; i++) {
		int handler = libbpf_register_prog_handler(
			sections[i].pattern, BPF_PROG_TYPE_TRACING, sections[i].type, &options);

		if (handler < 0) {
			targets__close(targets);
			errno = -handler;
			return NULL;
		}
		targets->handlers[i] = handler;
	}
	return targets;
}

void targets__close(struct targets *targets)
{
	if (!targets)
		return;
	for (int i = 0; i < SECTIONS; i++)
		if (targets->handlers[i])
			libbpf_unregister_prog_handler(targets->handlers[i]);
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (targets->modules[id] > 0)
			close(targets->modules[id]);
	free(targets);
}
