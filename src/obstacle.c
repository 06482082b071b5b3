// SPDX-License-Identifier: GPL-2.0
#include "obstacle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "exit.h"
#include "log.h"

__attribute__((format(printf, 2, 3))) static void add(struct obstacles *obstacles,
						      const char *format, ...)
{
	va_list arguments;

	if (obstacles->count == OBSTACLES)
		return;
	va_start(arguments, format);
	vsnprintf(obstacles->text[obstacles->count++], OBSTACLE_TEXT, format, arguments);
	va_end(arguments);
}

static void of_symbols(struct obstacles *obstacles, const struct kernel *kernel)
{
	if (!kernel->symbols)
		add(obstacles, "/proc/kallsyms: %s; the kernel must have CONFIG_KALLSYMS",
		    strerror(kernel->symbols_error));
	else if (symbols__hidden(kernel->symbols))
		add(obstacles, "/proc/kallsyms hides its addresses: run as root, and with "
			       "kernel.kptr_restrict below 2");
}

void obstacles__of_kernel(struct obstacles *obstacles, const struct kernel *kernel)
{
	if (!kernel->capable)
		add(obstacles,
		    "tracing needs root (CAP_SYS_ADMIN, for without it libbpf cannot list "
		    "the modules' BTF): run it with sudo");
	of_symbols(obstacles, kernel);
	if (!kernel->btf)
		add(obstacles, "this kernel has no BTF (/sys/kernel/btf/vmlinux): vmlat needs one "
			       "that is built with CONFIG_DEBUG_INFO_BTF, as Debian's are from "
			       "5.10 on");
	if (kernel->realtime)
		add(obstacles, "this is a PREEMPT_RT kernel: a thread may interrupt another's "
			       "packet in the middle of a hook, and packets would get each "
			       "other's times; boot a kernel without PREEMPT_RT");
	if (kernel->locked_down)
		add(obstacles, "this kernel is locked down (lockdown=confidentiality), and lets no "
			       "BPF program read its memory: boot it without, or with "
			       "lockdown=integrity");
}

void obstacles__of_vms(struct obstacles *obstacles, const struct devices *devices,
		       const struct device_choice *choice)
{
	if (devices->vms_hidden && choice->vms)
		add(obstacles, "--vm: which tap is which VM's cannot be seen without "
			       "CAP_SYS_PTRACE (the open files of other users' processes): give "
			       "it, or name the taps with --vm-interface");
}

static const struct {
	const char *module;
	const char *use;
} modules[] = {
	{ "tun", "there is no tap to trace" },
	{ "openvswitch", "no packet can reach a switch, for no selected tap or NIC is on a Linux "
			 "bridge either" },
};

/* A Linux bridge is a switch, too: with one that matters nobody needs the other module. */
static bool is_needed(const char *module, const struct hook_choice choices[VMLAT_HOOK_COUNT])
{
	const struct hook_choice *bridge = &choices[VMLAT_HOOK_BR_HANDLE_FRAME];

	return strcmp(module, "openvswitch") || !(bridge->attach || bridge->missing);
}

void obstacles__of_hooks(struct obstacles *obstacles, const struct kernel *kernel,
			 const struct hook_choice choices[VMLAT_HOOK_COUNT])
{
	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		if (kernel->symbols && is_needed(modules[i].module, choices) &&
		    kernel__module_state(kernel, modules[i].module) == MODULE_ABSENT)
			add(obstacles, "the module %s is not loaded: %s; load it with: modprobe %s",
			    modules[i].module, modules[i].use, modules[i].module);
	for (int id = 0; kernel->btf && id < VMLAT_HOOK_COUNT; id++)
		if (hooks[id].need == HOOK_REQUIRED && choices[id].missing)
			add(obstacles,
			    "no packet's %s can be told without %s: %s; use a kernel that has it",
			    hooks[id].stage == VMLAT_STAGE_NIC ? "beginning" : "end",
			    hooks[id].name, choices[id].missing);
}

int obstacles__tell(const struct obstacles *obstacles)
{
	for (size_t i = 0; i < obstacles->count; i++)
		log_error("%s", obstacles->text[i]);
	return obstacles->count ? EXIT_HOST : 0;
}
