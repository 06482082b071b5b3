// SPDX-License-Identifier: GPL-2.0
#include "kernel.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cleanup.h"
#include "deny.h"
#include "hook.h"
#include "log.h"

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
		const char *name = hooks[id].module;
		struct kernel_module *module = name[0] ? kernel__module(kernel, name) : NULL;

		if (module && !module->btf)
			module->btf = btf__load_module_btf(name, kernel->btf);
	}
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

/* A tracepoint's function, from its btf_trace_ typedef: NULL when there is none. */
static const struct btf_type *tracepoint(const struct btf *btf, const char *name)
{
	const struct btf_type *type;
	char symbol[128];
	int id;

	snprintf(symbol, sizeof(symbol), "btf_trace_%s", name);
	id = btf__find_by_name_kind(btf, symbol, BTF_KIND_TYPEDEF);
	if (id < 0)
		return NULL;
	type = btf__type_by_id(btf, btf__type_by_id(btf, id)->type); /* a pointer */
	type = btf__type_by_id(btf, type->type);
	return btf_is_func_proto(type) ? type : NULL;
}

/* Whether the argument of this number is of this enum. The first parameter is a void *, and no argument. */
static bool argument_is(const struct btf *btf, const char *name, int argument,
			const char *enumeration)
{
	const struct btf_type *function = tracepoint(btf, name), *type;

	if (!function || btf_vlen(function) < argument + 2)
		return false;
	type = btf__type_by_id(btf, btf_params(function)[argument + 1].type);
	return type && btf_is_enum(type) &&
	       !strcmp(btf__name_by_offset(btf, type->name_off), enumeration);
}

static bool first_line_has(const char *path, const char *words)
{
	cleanup_fclose FILE *file = fopen(path, "re");
	char line[128];

	return file && fgets(line, sizeof(line), file) && strstr(line, words);
}

/* /sys/kernel/realtime is of the RT patches; Linux itself has the word in uname -v alone (6.12). */
static void look_around(struct kernel *kernel)
{
	struct utsname host;

	uname(&host);
	snprintf(kernel->release, sizeof(kernel->release), "%s", host.release);
	kernel->realtime = strstr(host.version, "PREEMPT_RT") ||
			   first_line_has("/sys/kernel/realtime", "1");
	kernel->locked_down = first_line_has("/sys/kernel/security/lockdown", "[confidentiality]");
	kernel->kprobes = access("/sys/bus/event_source/devices/kprobe/type", R_OK) == 0;
	kernel->capable = capng_get_caps_process() == 0 &&
			  capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
	kernel->symbols = symbols__load(NULL);
	kernel->symbols_error = errno;
}

static int libbpf_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return log_libbpf((int)level, format, arguments);
}

static void open_btf(struct kernel *kernel)
{
	libbpf_set_print(libbpf_message);
	kernel->btf = btf__load_vmlinux_btf();
	if (!kernel->btf)
		return;
	open_modules(kernel);
	kernel->get_func_arg = has_enumerator(kernel->btf, "bpf_func_id", "BPF_FUNC_get_func_arg");
	kernel->deferred_enqueue = has_member(kernel->btf, "Qdisc", "defer_list");
	kernel->drop_reasons = argument_is(kernel->btf, "kfree_skb", 2, "skb_drop_reason");
	kernel->counts_misses = has_member(kernel->btf, "bpf_prog_info", "recursion_misses");
}

int kernel__open(struct kernel *kernel)
{
	memset(kernel, 0, sizeof(*kernel));
	look_around(kernel);
	open_btf(kernel);
	return deny__parse(kernel, getenv("VMLAT_DENY"));
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

bool kernel__has_module_btf(const struct kernel *kernel, const char *name)
{
	return module_btf(kernel, name);
}

enum module_state kernel__module_state(const struct kernel *kernel, const char *name)
{
	if (!kernel->symbols)
		return MODULE_ABSENT;
	if (symbols__has_module(kernel->symbols, name))
		return MODULE_LOADED;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (!strcmp(hooks[id].module, name) &&
		    symbols__has(kernel->symbols, name, hooks[id].name))
			return MODULE_BUILT_IN;
	return MODULE_ABSENT;
}

__u64 kernel__function(const struct kernel *kernel, enum vmlat_hook id)
{
	return kernel->denied[id]
		       ? 0
		       : symbols__address(kernel->symbols, hooks[id].module, hooks[id].name);
}

bool kernel__has_btf_function(const struct kernel *kernel, const char *module, const char *name)
{
	const struct btf *btf = module_btf(kernel, module);

	btf = btf ? btf : kernel->btf;
	return btf && btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
}

bool kernel__has_tracepoint(const struct kernel *kernel, const char *name)
{
	return kernel->btf && tracepoint(kernel->btf, name);
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
