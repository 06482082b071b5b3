// SPDX-License-Identifier: GPL-2.0
#include "kernel.h"

#include <bpf/btf.h>
#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exit.h"
#include "hooks.h"
#include "log.h"

static const char *const hook_modules[VMLAT_HOOK_COUNT] = {
#define X(id, stage, directions, kind, need, module, name) module,
	VMLAT_HOOKS(X)
#undef X
};

/* CAP_SYS_ADMIN is what libbpf 1.1 needs to list the modules' BTF. */
static int check_privilege(void)
{
	if (capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN))
		return 0;
	log_error("tracing needs root (CAP_SYS_ADMIN): run it with sudo");
	return EXIT_HOST;
}

static int open_symbols(struct kernel *kernel)
{
	kernel->symbols = symbols__load(NULL);
	if (kernel->symbols)
		return 0;
	if (errno == EPERM)
		log_error("/proc/kallsyms hides its addresses: run as root, and with "
			  "kernel.kptr_restrict below 2");
	else
		log_error("/proc/kallsyms: %s; the kernel must have CONFIG_KALLSYMS",
			  strerror(errno));
	return EXIT_HOST;
}

struct kernel_module *kernel__module(struct kernel *kernel, const char *name)
{
	for (int i = 0; i < KERNEL_MODULES; i++) {
		struct kernel_module *module = &kernel->modules[i];

		if (!module->name)
			module->name = name;
		if (!strcmp(module->name, name))
			return module;
	}
	return NULL;
}

static void open_modules(struct kernel *kernel)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const char *name = hook_modules[id];
		struct kernel_module *module = name[0] ? kernel__module(kernel, name) : NULL;

		if (module && !module->btf)
			module->btf = btf__load_module_btf(name, kernel->btf);
	}
}

static int open_btf(struct kernel *kernel)
{
	kernel->btf = btf__load_vmlinux_btf();
	if (!kernel->btf) {
		log_error("this kernel has no BTF (/sys/kernel/btf/vmlinux): vmlat needs one that "
			  "is built with CONFIG_DEBUG_INFO_BTF, as Debian's are from 5.10 on");
		return EXIT_HOST;
	}
	open_modules(kernel);
	return 0;
}

static bool has_enumerator(const struct btf *btf, const char *type, const char *name)
{
	const struct btf_type *enumeration;
	int id = btf__find_by_name_kind(btf, type, BTF_KIND_ENUM);

	if (id < 0)
		return false;
	enumeration = btf__type_by_id(btf, id);
	for (int i = 0; i < btf_vlen(enumeration); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_enum(enumeration)[i].name_off), name))
			return true;
	return false;
}

static bool has_member(const struct btf *btf, const char *type, const char *name)
{
	const struct btf_type *structure;
	int id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);

	if (id < 0)
		return false;
	structure = btf__type_by_id(btf, id);
	for (int i = 0; i < btf_vlen(structure); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_members(structure)[i].name_off), name))
			return true;
	return false;
}

/* Arguments of a tracepoint, from its btf_trace_ typedef: -1 when there is none. */
static int tracepoint_arguments(const struct btf *btf, const char *name)
{
	const struct btf_type *type;
	char symbol[128];
	int id;

	snprintf(symbol, sizeof(symbol), "btf_trace_%s", name);
	id = btf__find_by_name_kind(btf, symbol, BTF_KIND_TYPEDEF);
	if (id < 0)
		return -1;
	type = btf__type_by_id(btf, btf__type_by_id(btf, id)->type); /* a pointer */
	type = btf__type_by_id(btf, type->type);
	return btf_is_func_proto(type) ? btf_vlen(type) - 1 : -1; /* without the void * */
}

int kernel__open(struct kernel *kernel)
{
	int error;

	memset(kernel, 0, sizeof(*kernel));
	error = check_privilege();
	if (!error)
		error = open_symbols(kernel);
	if (!error)
		error = open_btf(kernel);
	if (error)
		return error;
	kernel->kprobes = access("/sys/bus/event_source/devices/kprobe/type", R_OK) == 0;
	kernel->get_func_arg = has_enumerator(kernel->btf, "bpf_func_id", "BPF_FUNC_get_func_arg");
	kernel->deferred_enqueue = has_member(kernel->btf, "Qdisc", "defer_list");
	kernel->drop_reasons = tracepoint_arguments(kernel->btf, "kfree_skb") >= 3;
	return 0;
}

void kernel__close(struct kernel *kernel)
{
	for (int i = 0; i < KERNEL_MODULES; i++)
		btf__free(kernel->modules[i].btf);
	btf__free(kernel->btf);
	symbols__free(kernel->symbols);
}

int kernel__reload_symbols(struct kernel *kernel)
{
	struct symbols *symbols = symbols__load(NULL);

	if (!symbols)
		return -errno;
	symbols__free(kernel->symbols);
	kernel->symbols = symbols;
	return 0;
}

/* Of the module itself, or NULL. */
static const struct btf *module_btf(const struct kernel *kernel, const char *module)
{
	for (int i = 0; i < KERNEL_MODULES && kernel->modules[i].name; i++)
		if (!strcmp(kernel->modules[i].name, module))
			return kernel->modules[i].btf;
	return NULL;
}

bool kernel__has_btf_function(const struct kernel *kernel, const char *module, const char *name)
{
	const struct btf *btf = module_btf(kernel, module);

	return btf__find_by_name_kind(btf ? btf : kernel->btf, name, BTF_KIND_FUNC) > 0;
}

bool kernel__has_tracepoint(const struct kernel *kernel, const char *name)
{
	return tracepoint_arguments(kernel->btf, name) >= 0;
}

/* The name of `value` in an enum, behind `prefix`; names without it (bounds, masks) are none. */
static const char *enumerator(const struct btf *btf, const char *type, const char *prefix,
			      __u32 value)
{
	int id = btf__find_by_name_kind(btf, type, BTF_KIND_ENUM);
	const struct btf_type *enumeration;

	if (id < 0)
		return NULL;
	enumeration = btf__type_by_id(btf, id);
	for (int i = 0; i < btf_vlen(enumeration); i++) {
		const struct btf_enum *entry = &btf_enum(enumeration)[i];
		const char *name = btf__name_by_offset(btf, entry->name_off);

		if ((__u32)entry->val == value && !strncmp(name, prefix, strlen(prefix)))
			return name + strlen(prefix);
	}
	return NULL;
}

const char *kernel__drop_reason(const struct kernel *kernel, __u32 reason)
{
	const char *name = enumerator(kernel->btf, "skb_drop_reason", "SKB_DROP_REASON_", reason);
	const struct btf *openvswitch = module_btf(kernel, "openvswitch");

	/* subsystems have reasons of their own (6.4), openvswitch since 6.6 */
	if (!name && openvswitch)
		name = enumerator(openvswitch, "ovs_drop_reason", "OVS_DROP_", reason);
	return name;
}
