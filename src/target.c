// SPDX-License-Identifier: GPL-2.0
#include "target.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
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

/*
 * For as long as the process lives, since libbpf 1.1 keeps a freed pointer when the last handler is
 * unregistered (libbpf_unregister_prog_handler).
 */
static bool registered;

static const struct kernel *target_kernel;
static int modules[VMLAT_HOOK_COUNT]; /* a hook's module's BTF, open; 0: not open */

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

static int module_btf(enum vmlat_hook hook)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (modules[id] && !strcmp(hooks[id].module, hooks[hook].module))
			return modules[id];
	modules[hook] = open_module_btf(hooks[hook].module);
	return modules[hook];
}

static int set_function(struct bpf_prog_load_opts *options, enum vmlat_hook hook)
{
	const char *module = hooks[hook].module;

	options->attach_btf_id = kernel__function_id(target_kernel, module, hooks[hook].name);
	if (kernel__has_module_btf(target_kernel, module))
		options->attach_btf_obj_fd = module_btf(hook);
	return options->attach_btf_id ? 0 : -ESRCH;
}

/* libbpf calls it before it loads a program of one of these sections. */
static int set_target(struct bpf_program *program, struct bpf_prog_load_opts *options, long cookie)
{
	const char *name = strchr(bpf_program__section_name(program), '/') + 1;

	(void)cookie;
	if (bpf_program__expected_attach_type(program) == BPF_TRACE_RAW_TP) {
		options->attach_btf_id = kernel__tracepoint_id(target_kernel, name);
		return options->attach_btf_id ? 0 : -ESRCH;
	}
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (!strcmp(hooks[id].name, name))
			return set_function(options, id);
	return -ESRCH;
}

int targets__begin(const struct kernel *kernel)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, options, .prog_prepare_load_fn = set_target);

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]) && !registered; i++) {
		int handler = libbpf_register_prog_handler(
			sections[i].pattern, BPF_PROG_TYPE_TRACING, sections[i].type, &options);

		if (handler < 0)
			return handler;
	}
	registered = true;
	target_kernel = kernel;
	return 0;
}

void targets__end(void)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		if (modules[id] > 0)
			close(modules[id]);
		modules[id] = 0;
	}
	target_kernel = NULL;
}
