// SPDX-License-Identifier: GPL-2.0
#include "kernel.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cleanup.h"
#include "deny.h"
#include "hook.h"
#include "log.h"
#include "types.h"

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

		if (!module || module->btf)
			continue;
		module->btf = btf__load_module_btf(name, kernel->btf);
		if (module->btf)
			module->types = types__open(module->btf, kernel->btf);
	}
}

/* The number of the type of this name, 0 if there is none. */
static __u32 find_id(const struct btf *btf, const struct types *types, const char *name, int kind)
{
	int id;

	if (types)
		return types__find(types, name, kind);
	id = btf__find_by_name_kind(btf, name, kind);
	return id < 0 ? 0 : id;
}

/* The type of this name, NULL if there is none. */
static const struct btf_type *find_type(const struct btf *btf, const struct types *types,
					const char *name, int kind)
{
	__u32 id = find_id(btf, types, name, kind);

	return id ? btf__type_by_id(btf, id) : NULL;
}

static bool has_enumerator(const struct kernel *kernel, const char *type, const char *name)
{
	const struct btf_type *enumeration =
		find_type(kernel->btf, kernel->types, type, BTF_KIND_ENUM);

	for (int i = 0; enumeration && i < btf_vlen(enumeration); i++)
		if (!strcmp(btf__name_by_offset(kernel->btf, btf_enum(enumeration)[i].name_off),
			    name))
			return true;
	return false;
}

static bool has_member(const struct kernel *kernel, const char *type, const char *name)
{
	const struct btf_type *structure =
		find_type(kernel->btf, kernel->types, type, BTF_KIND_STRUCT);

	for (int i = 0; structure && i < btf_vlen(structure); i++)
		if (!strcmp(btf__name_by_offset(kernel->btf, btf_members(structure)[i].name_off),
			    name))
			return true;
	return false;
}

__u32 kernel__tracepoint_id(const struct kernel *kernel, const char *name)
{
	char symbol[128];

	snprintf(symbol, sizeof(symbol), "btf_trace_%s", name);
	return kernel->btf ? find_id(kernel->btf, kernel->types, symbol, BTF_KIND_TYPEDEF) : 0;
}

/* A tracepoint's function, from its btf_trace_ typedef: NULL when there is none. */
static const struct btf_type *tracepoint(const struct kernel *kernel, const char *name)
{
	__u32 id = kernel__tracepoint_id(kernel, name);
	const struct btf_type *type;

	if (!id)
		return NULL;
	type = btf__type_by_id(kernel->btf, id);
	type = btf__type_by_id(kernel->btf, type->type); /* a pointer */
	type = btf__type_by_id(kernel->btf, type->type);
	return btf_is_func_proto(type) ? type : NULL;
}

/* Whether the argument of this number is of this enum. The first parameter is a void *, and no argument. */
static bool argument_is(const struct kernel *kernel, const char *name, int argument,
			const char *enumeration)
{
	const struct btf_type *function = tracepoint(kernel, name), *type;

	if (!function || btf_vlen(function) < argument + 2)
		return false;
	type = btf__type_by_id(kernel->btf, btf_params(function)[argument + 1].type);
	return type && btf_is_enum(type) &&
	       !strcmp(btf__name_by_offset(kernel->btf, type->name_off), enumeration);
}

static bool first_line_has(const char *path, const char *words)
{
	cleanup_fclose FILE *file = fopen(path, "re");
	char line[128];

	return file && fgets(line, sizeof(line), file) && strstr(line, words);
}

/* arm64 has what fentry rests on since 6.4 alone; to try it on each function takes long. */
static bool lacks_fentry(const char *machine, struct symbols *symbols)
{
	return !strcmp(machine, "aarch64") && symbols &&
	       !symbols__has(symbols, "", "register_ftrace_direct");
}

void kernel__read_names(struct kernel *kernel, const struct utsname *host)
{
	snprintf(kernel->release, sizeof(kernel->release), "%s", host->release);
	kernel->realtime = strstr(host->version, "PREEMPT_RT");
	kernel->no_fentry = lacks_fentry(host->machine, kernel->symbols);
}

/* /sys/kernel/realtime is of the RT patches; Linux itself has the word in uname -v alone (6.12). */
static void look_around(struct kernel *kernel)
{
	struct utsname host;

	kernel->symbols = symbols__load(NULL);
	kernel->symbols_error = errno;
	uname(&host);
	kernel__read_names(kernel, &host);
	kernel->realtime |= first_line_has("/sys/kernel/realtime", "1");
	kernel->locked_down = first_line_has("/sys/kernel/security/lockdown", "[confidentiality]");
	kernel->kprobes = access("/sys/bus/event_source/devices/kprobe/type", R_OK) == 0;
	kernel->capable = capng_get_caps_process() == 0 &&
			  capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}

static int libbpf_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return log_libbpf((int)level, format, arguments);
}

/* A module that has BTF of its own, or NULL. */
static const struct kernel_module *with_btf(const struct kernel *kernel, const char *name)
{
	for (int i = 0; i < KERNEL_MODULES && kernel->modules[i].name; i++)
		if (!strcmp(kernel->modules[i].name, name))
			return kernel->modules[i].btf ? &kernel->modules[i] : NULL;
	return NULL;
}

/* The enumeration alone, which outlives what it is from. */
static void keep_enumeration(struct btf *kept, const char *name, const struct btf *btf,
			     const struct types *types)
{
	const struct btf_type *type = find_type(btf, types, name, BTF_KIND_ENUM);

	if (type)
		btf__add_type(kept, btf, type);
}

/* Subsystems have reasons of their own (6.4), openvswitch since 6.6. */
void kernel__keep_reasons(struct kernel *kernel)
{
	const struct kernel_module *openvswitch = with_btf(kernel, "openvswitch");

	btf__free(kernel->reasons);
	kernel->reasons = btf__new_empty();
	if (!kernel->reasons)
		return;
	keep_enumeration(kernel->reasons, "skb_drop_reason", kernel->btf, kernel->types);
	if (openvswitch)
		keep_enumeration(kernel->reasons, "ovs_drop_reason", openvswitch->btf,
				 openvswitch->types);
}

static void open_btf(struct kernel *kernel)
{
	libbpf_set_print(libbpf_message);
	kernel->btf = btf__load_vmlinux_btf();
	if (!kernel->btf)
		return;
	kernel->types = types__open(kernel->btf, NULL);
	open_modules(kernel);
	kernel__keep_reasons(kernel);
	kernel__read_btf(kernel);
}

void kernel__read_btf(struct kernel *kernel)
{
	kernel->get_func_arg = has_enumerator(kernel, "bpf_func_id", "BPF_FUNC_get_func_arg");
	kernel->deferred_enqueue = has_member(kernel, "Qdisc", "defer_list");
	kernel->drop_reasons = argument_is(kernel, "kfree_skb", 2, "skb_drop_reason");
	kernel->counts_misses = has_member(kernel, "bpf_prog_info", "recursion_misses");
}

int kernel__open(struct kernel *kernel)
{
	memset(kernel, 0, sizeof(*kernel));
	look_around(kernel);
	open_btf(kernel);
	return deny__parse(kernel, getenv("VMLAT_DENY"));
}

static void free_types(struct kernel *kernel)
{
	for (int i = 0; i < KERNEL_MODULES; i++) {
		types__close(kernel->modules[i].types);
		btf__free(kernel->modules[i].btf);
	}
	memset(kernel->modules, 0, sizeof(kernel->modules));
	types__close(kernel->types);
	btf__free(kernel->btf);
	kernel->types = NULL;
	kernel->btf = NULL;
}

void kernel__forget_types(struct kernel *kernel)
{
	free_types(kernel);
	malloc_trim(0); /* with what libbpf had of it */
}

void kernel__close(struct kernel *kernel)
{
	free_types(kernel);
	btf__free(kernel->reasons);
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

bool kernel__has_module_btf(const struct kernel *kernel, const char *name)
{
	return with_btf(kernel, name);
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

__u32 kernel__function_id(const struct kernel *kernel, const char *module, const char *name)
{
	const struct kernel_module *owner = with_btf(kernel, module);

	if (owner)
		return find_id(owner->btf, owner->types, name, BTF_KIND_FUNC);
	return kernel->btf ? find_id(kernel->btf, kernel->types, name, BTF_KIND_FUNC) : 0;
}

/* The name of `value` in an enum (NULL: none), behind `prefix`; names without it (bounds, masks) are none. */
static const char *enumerator(const struct btf *btf, const struct btf_type *enumeration,
			      const char *prefix, __u32 value)
{
	for (int i = 0; enumeration && i < btf_vlen(enumeration); i++) {
		const struct btf_enum *entry = &btf_enum(enumeration)[i];
		const char *name = btf__name_by_offset(btf, entry->name_off);

		if ((__u32)entry->val == value && !strncmp(name, prefix, strlen(prefix)))
			return name + strlen(prefix);
	}
	return NULL;
}

const char *kernel__drop_reason(const struct kernel *kernel, __u32 reason)
{
	const char *name = NULL;

	for (__u32 id = 1; !name && kernel->reasons && id < btf__type_cnt(kernel->reasons); id++) {
		const struct btf_type *reasons = btf__type_by_id(kernel->reasons, id);

		name = enumerator(kernel->reasons, reasons, "SKB_DROP_REASON_", reason);
		if (!name)
			name = enumerator(kernel->reasons, reasons, "OVS_DROP_", reason);
	}
	return name;
}
