// SPDX-License-Identifier: GPL-2.0
/* What the words of uname and the BTF say of a kernel. */
#include "host.h"

#include <sys/utsname.h>

/* --- uname --- */

static struct kernel named(const char *version, const char *machine, const char *kallsyms)
{
	struct kernel kernel = { .symbols = kallsyms ? host_symbols(kallsyms) : NULL };
	struct utsname host = { .release = "6.12.1" };

	snprintf(host.version, sizeof(host.version), "%s", version);
	snprintf(host.machine, sizeof(host.machine), "%s", machine);
	kernel__read_names(&kernel, &host);
	return kernel;
}

static bool is_realtime(const char *version)
{
	struct kernel kernel = named(version, "x86_64", NULL);

	assert_string_equal(kernel.release, "6.12.1");
	return kernel.realtime;
}

static void preempt_rt_is_told_by_the_version(void **state)
{
	(void)state;
	assert_true(is_realtime("#1 SMP PREEMPT_RT Debian 6.12.38-1 (2025-07-16)"));
	assert_false(is_realtime("#1 SMP PREEMPT_DYNAMIC Debian 6.12.38-1 (2025-07-16)"));
	assert_false(is_realtime("#1 SMP PREEMPT Debian 5.10.0 (2025-07-16)"));
}

static bool has_no_fentry(const char *machine, const char *kallsyms)
{
	struct kernel kernel = named("#1 SMP", machine, kallsyms);

	kernel__close(&kernel);
	return kernel.no_fentry;
}

static void an_arm64_without_direct_calls_has_no_fentry(void **state)
{
	static const char old[] = "ffff800080010000 T register_ftrace_function\n";
	static const char new[] = "ffff800080010000 T register_ftrace_direct\n";

	(void)state;
	assert_true(has_no_fentry("aarch64", old));
	assert_false(has_no_fentry("aarch64", new));
	assert_false(has_no_fentry("aarch64", NULL)); /* nobody knows */
	assert_false(has_no_fentry("x86_64", old));
}

/* --- BTF --- */

/* typedef void (*btf_trace_kfree_skb)(void *, …): so many arguments behind that, the third of this type. */
static void add_kfree_skb(struct btf *btf, int arguments, int third)
{
	int pointer = btf__add_ptr(btf, 0), prototype = btf__add_func_proto(btf, 0);
	const int types[] = { pointer, pointer, pointer, third, pointer };

	assert_true(prototype > 0);
	for (int i = 0; i <= arguments; i++)
		assert_int_equal(btf__add_func_param(btf, "", types[i]), 0);
	assert_true(btf__add_typedef(btf, "btf_trace_kfree_skb", btf__add_ptr(btf, prototype)) > 0);
}

static int add_type(struct btf *btf, const char *name)
{
	if (!strcmp(name, "int"))
		return btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	return btf__find_by_name_kind(btf, name, BTF_KIND_ENUM) > 0
		       ? btf__find_by_name_kind(btf, name, BTF_KIND_ENUM)
		       : btf__add_enum(btf, name, 4);
}

static bool has_drop_reasons(int arguments, const char *third)
{
	struct kernel kernel = { .btf = host_btf() };

	add_kfree_skb(kernel.btf, arguments, add_type(kernel.btf, third));
	kernel__read_btf(&kernel);
	kernel__close(&kernel);
	return kernel.drop_reasons;
}

/* (skb, location), from 5.17 on with a reason, from 6.11 on with a socket as well. */
static void the_reason_of_a_drop_is_the_third_argument_if_it_is_of_that_enum(void **state)
{
	(void)state;
	assert_false(has_drop_reasons(2, "skb_drop_reason"));
	assert_true(has_drop_reasons(3, "skb_drop_reason"));
	assert_true(has_drop_reasons(4, "skb_drop_reason"));
	assert_false(has_drop_reasons(3, "skb_drop_reason_subsys"));
	assert_false(has_drop_reasons(4, "skb_drop_reason_subsys"));
	assert_false(has_drop_reasons(3, "int"));
}

static void without_the_tracepoint_there_are_no_reasons(void **state)
{
	struct kernel kernel = { .btf = host_btf() };

	(void)state;
	kernel__read_btf(&kernel);
	assert_false(kernel.drop_reasons);
	assert_false(kernel.get_func_arg);
	assert_false(kernel.deferred_enqueue);
	assert_false(kernel.counts_misses);
	kernel__close(&kernel);
}

static void add_struct(struct btf *btf, const char *name, const char *member)
{
	int type = btf__add_int(btf, "unsigned int", 4, 0);

	assert_true(btf__add_struct(btf, name, 4) > 0);
	assert_int_equal(btf__add_field(btf, member, type, 0, 0), 0);
}

static void what_a_kernel_has_is_told_by_enumerators_and_members(void **state)
{
	struct kernel kernel = { .btf = host_btf() };

	(void)state;
	assert_true(btf__add_enum(kernel.btf, "bpf_func_id", 4) > 0);
	assert_int_equal(btf__add_enum_value(kernel.btf, "BPF_FUNC_get_func_arg_cnt", 185), 0);
	add_struct(kernel.btf, "Qdisc", "gso_skb");
	add_struct(kernel.btf, "bpf_prog_info", "run_cnt");
	kernel__read_btf(&kernel);
	assert_false(kernel.get_func_arg || kernel.deferred_enqueue || kernel.counts_misses);
	btf__free(kernel.btf);

	kernel.btf = host_btf();
	assert_true(btf__add_enum(kernel.btf, "bpf_func_id", 4) > 0);
	assert_int_equal(btf__add_enum_value(kernel.btf, "BPF_FUNC_get_func_arg", 183), 0);
	add_struct(kernel.btf, "Qdisc", "defer_list");
	add_struct(kernel.btf, "bpf_prog_info", "recursion_misses");
	kernel__read_btf(&kernel);
	assert_true(kernel.get_func_arg && kernel.deferred_enqueue && kernel.counts_misses);
	kernel__close(&kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(preempt_rt_is_told_by_the_version),
		cmocka_unit_test(an_arm64_without_direct_calls_has_no_fentry),
		cmocka_unit_test(the_reason_of_a_drop_is_the_third_argument_if_it_is_of_that_enum),
		cmocka_unit_test(without_the_tracepoint_there_are_no_reasons),
		cmocka_unit_test(what_a_kernel_has_is_told_by_enumerators_and_members),
	};

	return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
