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
	if (hooks[id].need == HOOK_FOR_BRIDGES)
		return use->bridges;
	return hooks[id].need != HOOK_FOR_RPS || use->rps;
}

const char hook_of_other_direction[] = "not needed for this direction";

static struct hook_choice chosen(const struct hook *hook, enum attach_way way)
{
	static const struct {
		const char *attach, *suffix;
	} ways[][BY_PROBE + 1] = {
		[VMLAT_TRACEPOINT][BY_TRACING] = { "tracepoint", "tp" },
		[VMLAT_FUNCTION][BY_TRACING] = { "fentry", "fentry" },
		[VMLAT_FUNCTION][BY_PROBE] = { "kprobe", "kprobe" },
		[VMLAT_RETURN][BY_TRACING] = { "fexit", "fexit" },
		[VMLAT_RETURN][BY_PROBE] = { "kretprobe", "kretprobe" },
	};
	struct hook_choice choice = { .attach = ways[hook->kind][way].attach, .way = way };

	snprintf(choice.program, sizeof(choice.program), "%s__%s", hook->name,
		 ways[hook->kind][way].suffix);
	return choice;
}

static struct hook_choice missing(const char *why)
{
	return (struct hook_choice){ .missing = why };
}

#define REFUSED "the kernel refused it"

static struct hook_choice choose_tracepoint(const struct kernel *kernel, enum vmlat_hook id)
{
	if (!kernel->btf)
		return missing("this kernel has no BTF");
	if (kernel->denied[id] || !kernel__tracepoint_id(kernel, hooks[id].name))
		return missing("this kernel has no such tracepoint");
	if (kernel->refused[id] & BY_TRACING)
		return missing(REFUSED);
	return chosen(&hooks[id], BY_TRACING);
}

/* foo.isra.0 or foo.cold is not foo: only the exact name will do. NULL: it is there. */
static const char *why_no_function(const struct kernel *kernel, enum vmlat_hook id)
{
	static const struct {
		const char *suffix, *why;
	} variants[] = {
		{ ".isra", "this kernel has it with other arguments only (.isra)" },
		{ ".constprop", "this kernel has it with fewer arguments only (.constprop)" },
		{ ".part", "this kernel has a part of it only (.part)" },
	};
	const struct hook *hook = &hooks[id];
	const char *suffix;

	if (!kernel->symbols)
		return "this kernel's functions are not known (/proc/kallsyms)";
	if (kernel->denied[id])
		return "this kernel has no function of exactly this name";
	if (symbols__has(kernel->symbols, hook->module, hook->name))
		return NULL;
	if (hook->module[0] && kernel__module_state(kernel, hook->module) == MODULE_ABSENT)
		return "its module is not loaded";
	suffix = symbols__suffix(kernel->symbols, hook->module, hook->name);
	for (size_t i = 0; suffix && i < sizeof(variants) / sizeof(*variants); i++)
		if (!strncmp(suffix, variants[i].suffix, strlen(variants[i].suffix)))
			return variants[i].why;
	return "this kernel has no function of exactly this name";
}

/* Its argument is a pointer to a pointer. */
static bool is_rx_handler(enum vmlat_hook id)
{
	return id == VMLAT_HOOK_NETDEV_FRAME_HOOK || id == VMLAT_HOOK_BR_HANDLE_FRAME;
}

static const char *why_no_fentry(const struct kernel *kernel, enum vmlat_hook id,
				 enum attach_mode mode)
{
	const struct hook *hook = &hooks[id];

	if (mode == ATTACH_KPROBE)
		return "--attach=kprobe";
	if (!kernel->btf)
		return "this kernel has no BTF, which fentry needs";
	if (kernel->no_fentry)
		return "this kernel's fentry reaches no function (arm64's does from 6.4 on)";
	if (kernel->refused[id] & BY_TRACING)
		return REFUSED;
	if (!kernel__function_id(kernel, hook->module, hook->name))
		return hook->module[0] && !kernel__has_module_btf(kernel, hook->module) &&
				       kernel__module_state(kernel, hook->module) == MODULE_LOADED
			       ? "its module has no BTF, which fentry needs"
			       : "it is not in BTF, which fentry needs";
	if (is_rx_handler(id) && !kernel->get_func_arg)
		return "its argument needs bpf_get_func_arg (5.17)";
	return NULL;
}

static const char *why_no_kprobe(const struct kernel *kernel, enum vmlat_hook id,
				 enum attach_mode mode)
{
	if (mode == ATTACH_FENTRY)
		return "--attach=fentry";
	if (!kernel->kprobes)
		return "this kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)";
	return kernel->refused[id] & BY_PROBE ? REFUSED : NULL;
}

struct hook_choice hook__choose(const struct kernel *kernel, enum vmlat_hook id,
				enum attach_mode mode)
{
	const char *no_function, *no_fentry, *no_kprobe;
	struct hook_choice choice;

	if (id == VMLAT_HOOK_QDISC_ENQUEUE && kernel->deferred_enqueue)
		return missing("another CPU may enqueue the packet");
	if (hooks[id].kind == VMLAT_TRACEPOINT)
		return choose_tracepoint(kernel, id);
	if (id == VMLAT_HOOK_QDISC_TREE_REDUCE_BACKLOG &&
	    !hook__choose(kernel, VMLAT_HOOK_QDISC_ENQUEUE, mode).attach)
		return missing("without qdisc_enqueue it is of no use");
	no_function = why_no_function(kernel, id);
	if (no_function)
		return missing(no_function);
	no_fentry = why_no_fentry(kernel, id, mode);
	if (!no_fentry)
		return chosen(&hooks[id], BY_TRACING);
	no_kprobe = why_no_kprobe(kernel, id, mode);
	choice = no_kprobe ? missing(mode == ATTACH_FENTRY ? no_fentry : no_kprobe)
			   : chosen(&hooks[id], BY_PROBE);
	choice.passed_over = no_fentry;
	return choice;
}

static const struct {
	enum vmlat_hook hook, without;
} alone[] = {
	{ VMLAT_HOOK_QUEUE_USERSPACE_PACKET, VMLAT_HOOK_OVS_DP_UPCALL },
	{ VMLAT_HOOK_OVS_DP_PROCESS_PACKET, VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE },
	{ VMLAT_HOOK_OVS_VPORT_SEND, VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE },
};
enum { ALONE = sizeof(alone) / sizeof(*alone) };

bool hook__stand_alone(enum vmlat_hook id, struct hook_choice *choice)
{
	for (int i = 0; choice->attach && i < ALONE; i++) {
		size_t length = strlen(choice->program);

		if (alone[i].hook != id)
			continue;
		snprintf(choice->program + length, sizeof(choice->program) - length, "__alone");
		return true;
	}
	return false;
}

bool hook__refuse(struct kernel *kernel, enum vmlat_hook id, enum attach_way way, int error)
{
	bool all = way == BY_TRACING && hooks[id].kind != VMLAT_TRACEPOINT && error == ENOTSUPP;

	if (all)
		kernel->no_fentry = true;
	else
		kernel->refused[id] |= way;
	return all;
}

/*
 * Of what a VM receives nobody asks when it came to xmit, but whether it leaves its call stack there:
 * the tracepoint behind that tells as much, and costs less.
 */
static bool stand_in_will_do(const struct kernel *kernel, const struct hook_use *use)
{
	return !(use->directions & VMLAT_TX) &&
	       choose_tracepoint(kernel, VMLAT_HOOK_NET_DEV_QUEUE).attach;
}

static bool is_of_use(const struct kernel *kernel, enum vmlat_hook id, const struct hook_use *use)
{
	if (id == VMLAT_HOOK_DEV_QUEUE_XMIT && stand_in_will_do(kernel, use))
		return false;
	return hooks[id].directions & use->directions;
}

void hooks__choose(struct hook_choice choices[VMLAT_HOOK_COUNT], const struct kernel *kernel,
		   const struct hook_use *use)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		choices[id] = (struct hook_choice){ 0 };
		if (!hook__needed(id, use) ||
		    (hooks[id].need == HOOK_STAND_IN && choices[VMLAT_HOOK_DEV_QUEUE_XMIT].attach))
			continue;
		choices[id] = is_of_use(kernel, id, use) ? hook__choose(kernel, id, use->attach)
							 : missing(hook_of_other_direction);
	}
	for (int i = 0; i < ALONE; i++)
		if (!choices[alone[i].without].attach)
			hook__stand_alone(alone[i].hook, &choices[alone[i].hook]);
}
