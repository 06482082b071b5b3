// SPDX-License-Identifier: GPL-2.0
#include "hook.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int number;
} stages[VMLAT_STAGE_COUNT + 1] = {
#define X(id, number, name) [VMLAT_STAGE_##id] = { name, number },
	VMLAT_STAGES(X)
#undef X
};

const struct hook hooks[VMLAT_HOOK_COUNT] = {
#define X(id, stage_, directions_, kind_, need_, module_, name_) \
	[VMLAT_HOOK_##id] = {                                    \
		.name = #name_,                                  \
		.module = module_,                               \
		.stage = VMLAT_STAGE_##stage_,                   \
		.directions = VMLAT_##directions_,               \
		.kind = VMLAT_##kind_,                           \
		.need = HOOK_##need_,                            \
	},
	VMLAT_HOOKS(X)
#undef X
};

const char *stage_name(enum vmlat_stage stage)
{
	return stages[stage].name;
}

int stage_number(enum vmlat_stage stage)
{
	return stages[stage].number;
}

bool hook__needed(enum vmlat_hook id, const struct hook_use *use)
{
	if (hooks[id].need == HOOK_FOR_TUNNELS)
		return use->tunnels;
	return hooks[id].need != HOOK_FOR_RPS || use->rps;
}

static struct hook_choice chosen(const char *name, const char *suffix, const char *attach)
{
	struct hook_choice choice = { .attach = attach };

	snprintf(choice.program, sizeof(choice.program), "%s__%s", name, suffix);
	return choice;
}

static struct hook_choice missing(const char *why)
{
	return (struct hook_choice){ .missing = why };
}

struct hook_choice hook__choose(const struct kernel *kernel, enum vmlat_hook id,
				enum attach_mode mode)
{
	const struct hook *hook = &hooks[id];
	bool at_return = hook->kind == VMLAT_RETURN, fentry;

	if (id == VMLAT_HOOK_QDISC_ENQUEUE && kernel->deferred_enqueue)
		return missing("another CPU may enqueue the packet");
	if (hook->kind == VMLAT_TRACEPOINT)
		return kernel__has_tracepoint(kernel, hook->name)
			       ? chosen(hook->name, "tp", "tracepoint")
			       : missing("this kernel has no such tracepoint");
	/* foo.isra.0 or foo.cold is not foo: only the exact name will do */
	if (!symbols__address(kernel->symbols, hook->module, hook->name))
		return missing(hook->module[0] &&
					       !symbols__has_module(kernel->symbols, hook->module)
				       ? "its module is not loaded"
				       : "this kernel has no function of exactly this name");
	fentry = kernel__has_btf_function(kernel, hook->module, hook->name) &&
		 (id != VMLAT_HOOK_NETDEV_FRAME_HOOK || kernel->get_func_arg);
	if (fentry && mode != ATTACH_KPROBE)
		return at_return ? chosen(hook->name, "fexit", "fexit")
				 : chosen(hook->name, "fentry", "fentry");
	if (mode == ATTACH_FENTRY)
		return missing("it has no BTF, which fentry needs");
	if (!kernel->kprobes)
		return missing("this kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)");
	return at_return ? chosen(hook->name, "kretprobe", "kretprobe")
			 : chosen(hook->name, "kprobe", "kprobe");
}
