// SPDX-License-Identifier: GPL-2.0
/* The tables, and what a hook gets on kernels made by hand. */
#include "host.h"

#include <errno.h>

#include "deny.h"
#include "exit.h"
#include "hook.h"
#include "obstacle.h"

static void every_stage_has_a_name(void **state)
{
	(void)state;
	for (int stage = 0; stage < VMLAT_STAGE_COUNT; stage++) {
		assert_non_null(stage_name(stage));
		assert_true(strlen(stage_name(stage)) > 0);
		assert_in_range(stage_number(stage) + 1, 0, 7);
	}
	assert_null(stage_name(VMLAT_STAGE_NONE));
}

static void stages_are_numbered_as_documented(void **state)
{
	static const struct {
		enum vmlat_stage stage;
		int number;
		const char *name;
	} expected[] = {
		{ VMLAT_STAGE_TAP_IN, 0, "tap" },
		{ VMLAT_STAGE_NIC, 0, "nic" },
		{ VMLAT_STAGE_OVS_IN, 1, "ovs_in" },
		{ VMLAT_STAGE_DATAPATH, 2, "datapath" },
		{ VMLAT_STAGE_UPCALL, 3, "upcall" },
		{ VMLAT_STAGE_REINJECT, 4, "reinject" },
		{ VMLAT_STAGE_VPORT, 5, "vport" },
		{ VMLAT_STAGE_XMIT, 6, "xmit" },
		{ VMLAT_STAGE_TAP_OUT, 6, "tap" },
		{ VMLAT_STAGE_DRIVER, -1, "driver" },
		{ VMLAT_STAGE_BRIDGE_IN, -1, "bridge_in" },
		{ VMLAT_STAGE_BRIDGE_FORWARD, -1, "bridge_forward" },
		{ VMLAT_STAGE_BRIDGE_OUT, -1, "bridge_out" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(stage_number(expected[i].stage), expected[i].number);
		assert_string_equal(stage_name(expected[i].stage), expected[i].name);
	}
}

static void every_stage_has_a_hook(void **state)
{
	(void)state;
	for (int stage = 0; stage < VMLAT_STAGE_COUNT; stage++) {
		int found = 0;

		for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
			found += (int)hooks[id].stage == stage;
		assert_true(found > 0);
	}
}

static void every_hook_has_a_name_a_direction_and_a_module(void **state)
{
	(void)state;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const struct hook *hook = &hooks[id];

		assert_non_null(hook->name);
		assert_true(hook->directions && !(hook->directions & ~VMLAT_BOTH));
		assert_non_null(hook->module);
		assert_true(hook->kind != VMLAT_TRACEPOINT || !hook->module[0]);
	}
}

static void there_is_room_for_every_module_of_a_hook(void **state)
{
	struct kernel kernel = { 0 };

	(void)state;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (hooks[id].module[0])
			assert_non_null(kernel__module(&kernel, hooks[id].module));
	assert_ptr_equal(kernel__module(&kernel, "tun"), &kernel.modules[0]);
	for (int i = 0; i < KERNEL_MODULES; i++)
		kernel.modules[i].name = "another";
	assert_null(kernel__module(&kernel, "tun"));
}

static void a_return_belongs_to_a_function_of_the_same_name(void **state)
{
	(void)state;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		int entries = 0;

		for (int other = 0; other < VMLAT_HOOK_COUNT; other++)
			if (!strcmp(hooks[other].name, hooks[id].name))
				entries += hooks[other].kind == VMLAT_FUNCTION;
		assert_int_equal(entries, hooks[id].kind != VMLAT_TRACEPOINT);
	}
}

/* --- on a kernel --- */

static void add_function(struct btf *btf, const char *name)
{
	int prototype = btf__add_func_proto(btf, 0);

	assert_true(prototype > 0);
	assert_true(btf__add_func(btf, name, BTF_FUNC_STATIC, prototype) > 0);
}

/* typedef void (*btf_trace_NAME)(void *); */
static void add_tracepoint(struct btf *btf, const char *name)
{
	int prototype = btf__add_func_proto(btf, 0);
	char symbol[64];

	assert_true(prototype > 0);
	assert_int_equal(btf__add_func_param(btf, "__data", 0), 0);
	snprintf(symbol, sizeof(symbol), "btf_trace_%s", name);
	assert_true(btf__add_typedef(btf, symbol, btf__add_ptr(btf, prototype)) > 0);
}

/* The module openvswitch has BTF, tun has none, and netif_receive_skb is its only tracepoint. */
static struct kernel some_kernel(void)
{
	struct kernel kernel = { .kprobes = true, .get_func_arg = true };
	struct btf *openvswitch = host_btf(), *bridge = host_btf();

	kernel.symbols =
		host_symbols("ffffffff81000100 T __dev_queue_xmit\n"
			     "ffffffffc0300000 t tun_get_user\t[tun]\n"
			     "ffffffffc0300100 t tun_sendmsg.isra.0\t[tun]\n"
			     "ffffffffc0200000 t netdev_frame_hook\t[openvswitch]\n"
			     "ffffffffc0200100 t ovs_dp_upcall\t[openvswitch]\n"
			     "ffffffffc0200200 t ovs_vport_send.constprop.0\t[openvswitch]\n"
			     "ffffffffc0200300 t ovs_dp_process_packet.cold\t[openvswitch]\n"
			     "ffffffffc0200400 t queue_userspace_packet\t[openvswitch]\n"
			     "ffffffffc0400000 t br_handle_frame\t[bridge]\n");
	kernel.btf = host_btf();
	kernel__module(&kernel, "openvswitch")->btf = openvswitch;
	kernel__module(&kernel, "bridge")->btf = bridge;
	add_tracepoint(kernel.btf, "netif_receive_skb");
	add_function(kernel.btf, "__dev_queue_xmit");
	add_function(openvswitch, "netdev_frame_hook");
	add_function(openvswitch, "ovs_dp_upcall");
	add_function(bridge, "br_handle_frame");
	return kernel;
}

static void assert_choice(const struct kernel *kernel, enum vmlat_hook id, enum attach_mode mode,
			  const char *attach, const char *program_or_why)
{
	struct hook_choice choice = hook__choose(kernel, id, mode);

	if (!attach) {
		assert_null(choice.attach);
		assert_non_null(choice.missing);
		assert_string_equal(choice.missing, program_or_why);
		return;
	}
	assert_null(choice.missing);
	assert_string_equal(choice.attach, attach);
	assert_string_equal(choice.program, program_or_why);
}

static void a_tracepoint_is_attached_to_when_the_kernel_has_it(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	for (int mode = ATTACH_AUTO; mode <= ATTACH_KPROBE; mode++) {
		assert_choice(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, mode, "tracepoint",
			      "netif_receive_skb__tp");
		assert_choice(&kernel, VMLAT_HOOK_KFREE_SKB, mode, NULL,
			      "this kernel has no such tracepoint");
	}
	kernel__close(&kernel);
}

/* It tells what the tracepoint leaves out. */
static void what_completes_another_hook_is_of_no_use_without_that(void **state)
{
	struct kernel kernel = { .kprobes = true };

	(void)state;
	kernel.symbols = host_symbols("ffffffff81000100 T qdisc_tree_reduce_backlog\n");
	kernel.btf = host_btf();
	assert_choice(&kernel, VMLAT_HOOK_QDISC_TREE_REDUCE_BACKLOG, ATTACH_KPROBE, NULL,
		      "without qdisc_enqueue it is of no use");
	add_tracepoint(kernel.btf, "qdisc_enqueue");
	assert_choice(&kernel, VMLAT_HOOK_QDISC_TREE_REDUCE_BACKLOG, ATTACH_KPROBE, "kprobe",
		      "qdisc_tree_reduce_backlog__kprobe");
	kernel.deferred_enqueue = true;
	assert_choice(&kernel, VMLAT_HOOK_QDISC_TREE_REDUCE_BACKLOG, ATTACH_KPROBE, NULL,
		      "without qdisc_enqueue it is of no use");
	kernel__close(&kernel);
}

static void a_function_with_btf_gets_fentry(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_AUTO, "fentry",
		      "__dev_queue_xmit__fentry");
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_FENTRY, "fentry",
		      "ovs_dp_upcall__fentry");
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL_RETURN, ATTACH_AUTO, "fexit",
		      "ovs_dp_upcall__fexit");
	kernel__close(&kernel);
}

static void a_function_without_btf_gets_a_kprobe(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_choice(&kernel, VMLAT_HOOK_TUN_GET_USER, ATTACH_AUTO, "kprobe",
		      "tun_get_user__kprobe");
	assert_choice(&kernel, VMLAT_HOOK_TUN_GET_USER, ATTACH_FENTRY, NULL,
		      "its module has no BTF, which fentry needs");
	kernel__close(&kernel);
}

static void kprobe_is_taken_when_asked_for(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_KPROBE, "kprobe",
		      "__dev_queue_xmit__kprobe");
	kernel.kprobes = false;
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_KPROBE, NULL,
		      "this kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)");
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_AUTO, "fentry",
		      "__dev_queue_xmit__fentry");
	kernel__close(&kernel);
}

/* Its argument is a pointer to a pointer: fentry reads it by a helper of 5.17 alone. */
static void an_rx_handler_needs_a_helper_for_fentry(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_choice(&kernel, VMLAT_HOOK_NETDEV_FRAME_HOOK, ATTACH_AUTO, "fentry",
		      "netdev_frame_hook__fentry");
	assert_choice(&kernel, VMLAT_HOOK_BR_HANDLE_FRAME, ATTACH_AUTO, "fentry",
		      "br_handle_frame__fentry");
	kernel.get_func_arg = false;
	assert_choice(&kernel, VMLAT_HOOK_NETDEV_FRAME_HOOK, ATTACH_AUTO, "kprobe",
		      "netdev_frame_hook__kprobe");
	assert_choice(&kernel, VMLAT_HOOK_BR_HANDLE_FRAME, ATTACH_AUTO, "kprobe",
		      "br_handle_frame__kprobe");
	kernel__close(&kernel);
}

static void a_function_that_is_not_there_says_why(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_choice(&kernel, VMLAT_HOOK_TUN_NET_XMIT, ATTACH_AUTO, NULL,
		      "this kernel has no function of exactly this name");
	assert_choice(&kernel, VMLAT_HOOK_TUN_SENDMSG, ATTACH_AUTO, NULL,
		      "this kernel has it with other arguments only (.isra)");
	assert_choice(&kernel, VMLAT_HOOK_OVS_VPORT_SEND, ATTACH_AUTO, NULL,
		      "this kernel has it with fewer arguments only (.constprop)");
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_PROCESS_PACKET, ATTACH_AUTO, NULL,
		      "this kernel has no function of exactly this name");
	symbols__free(kernel.symbols);
	kernel.symbols = NULL;
	assert_choice(&kernel, VMLAT_HOOK_TUN_SENDMSG, ATTACH_AUTO, NULL,
		      "this kernel's functions are not known (/proc/kallsyms)");
	kernel.symbols = host_symbols("ffffffff81000100 T __dev_queue_xmit\n");
	assert_choice(&kernel, VMLAT_HOOK_TUN_SENDMSG, ATTACH_AUTO, NULL,
		      "its module is not loaded");
	kernel__close(&kernel);
}

static void a_function_of_any_module_with_btf_gets_fentry(void **state)
{
	struct kernel kernel = some_kernel();
	struct btf *btf = btf__new_empty();

	(void)state;
	symbols__free(kernel.symbols);
	kernel.symbols = host_symbols("ffffffffc0300000 t nf_ct_frag6_gather\t[nf_defrag_ipv6]\n");
	assert_choice(&kernel, VMLAT_HOOK_NF_CT_FRAG6_GATHER, ATTACH_AUTO, "kprobe",
		      "nf_ct_frag6_gather__kprobe");
	kernel__module(&kernel, "nf_defrag_ipv6")->btf = btf;
	add_function(btf, "nf_ct_frag6_gather");
	assert_choice(&kernel, VMLAT_HOOK_NF_CT_FRAG6_GATHER, ATTACH_AUTO, "fentry",
		      "nf_ct_frag6_gather__fentry");
	assert_choice(&kernel, VMLAT_HOOK_NF_CT_FRAG6_GATHER_RETURN, ATTACH_AUTO, "fexit",
		      "nf_ct_frag6_gather__fexit");
	kernel__close(&kernel);
}

static void assert_passed_over(const struct kernel *kernel, enum vmlat_hook id,
			       enum attach_mode mode, const char *why)
{
	struct hook_choice choice = hook__choose(kernel, id, mode);

	if (!why) {
		assert_null(choice.passed_over);
		return;
	}
	assert_non_null(choice.passed_over);
	assert_string_equal(choice.passed_over, why);
}

static void a_choice_says_why_not_the_one_that_costs_less(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_passed_over(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, ATTACH_KPROBE, NULL);
	assert_passed_over(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_AUTO, NULL);
	assert_passed_over(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_KPROBE, "--attach=kprobe");
	assert_passed_over(&kernel, VMLAT_HOOK_TUN_GET_USER, ATTACH_AUTO,
			   "its module has no BTF, which fentry needs");
	kernel.get_func_arg = false;
	assert_passed_over(&kernel, VMLAT_HOOK_NETDEV_FRAME_HOOK, ATTACH_AUTO,
			   "its argument needs bpf_get_func_arg (5.17)");
	symbols__free(kernel.symbols);
	kernel.symbols = host_symbols("ffffffff81000200 t tun_get_user\n");
	assert_int_equal(kernel__module_state(&kernel, "tun"), MODULE_BUILT_IN);
	assert_passed_over(&kernel, VMLAT_HOOK_TUN_GET_USER, ATTACH_AUTO,
			   "it is not in BTF, which fentry needs");
	add_function(kernel.btf, "tun_get_user");
	assert_choice(&kernel, VMLAT_HOOK_TUN_GET_USER, ATTACH_AUTO, "fentry",
		      "tun_get_user__fentry");
	kernel__close(&kernel);
}

static void what_the_kernel_refused_is_not_chosen_again(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	kernel.refused[VMLAT_HOOK_OVS_DP_UPCALL] = BY_TRACING;
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_AUTO, "kprobe",
		      "ovs_dp_upcall__kprobe");
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL_RETURN, ATTACH_AUTO, "fexit",
		      "ovs_dp_upcall__fexit");
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_FENTRY, NULL,
		      "the kernel refused it");
	kernel.refused[VMLAT_HOOK_OVS_DP_UPCALL] |= BY_PROBE;
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_AUTO, NULL,
		      "the kernel refused it");
	kernel.refused[VMLAT_HOOK_NETIF_RECEIVE_SKB] = BY_TRACING;
	assert_choice(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, ATTACH_AUTO, NULL,
		      "the kernel refused it");
	kernel__close(&kernel);
}

/* ENOTSUPP says that there is no fentry of functions at all, which no other one is to find out again. */
static void a_kernel_that_has_no_fentry_is_asked_once(void **state)
{
	static const char why[] =
		"this kernel's fentry reaches no function (arm64's does from 6.4 on)";
	struct kernel kernel = some_kernel();

	(void)state;
	assert_false(hook__refuse(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, BY_TRACING, EPERM));
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_AUTO, "kprobe",
		      "ovs_dp_upcall__kprobe");
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_AUTO, "fentry",
		      "__dev_queue_xmit__fentry");
	assert_false(hook__refuse(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, BY_TRACING, ENOTSUPP));
	assert_false(hook__refuse(&kernel, VMLAT_HOOK_TUN_GET_USER, BY_PROBE, ENOTSUPP));
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_AUTO, "fentry",
		      "__dev_queue_xmit__fentry");
	assert_true(hook__refuse(&kernel, VMLAT_HOOK_OVS_DP_UPCALL_RETURN, BY_TRACING, ENOTSUPP));
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_AUTO, "kprobe",
		      "__dev_queue_xmit__kprobe");
	assert_passed_over(&kernel, VMLAT_HOOK_NETDEV_FRAME_HOOK, ATTACH_AUTO, why);
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_FENTRY, NULL, why);
	kernel__close(&kernel);
}

static void fentry_can_be_refused_of_every_function(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_false(deny__refuses(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, BY_TRACING));
	assert_int_equal(deny__parse(&kernel, "fentry,ovs_dp_upcall:kprobe"), 0);
	assert_false(deny__refuses(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, BY_TRACING));
	assert_false(deny__refuses(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, BY_PROBE));
	assert_true(deny__refuses(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, BY_PROBE));
	assert_int_equal(errno, EPERM);
	assert_true(deny__refuses(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, BY_TRACING));
	assert_int_equal(errno, ENOTSUPP);
	assert_true(deny__refuses(&kernel, VMLAT_HOOK_OVS_DP_UPCALL_RETURN, BY_TRACING));
	kernel__close(&kernel);
}

static void a_kernel_without_btf_has_kprobes(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	btf__free(kernel__module(&kernel, "openvswitch")->btf);
	btf__free(kernel.btf);
	kernel.btf = kernel__module(&kernel, "openvswitch")->btf = NULL;
	assert_choice(&kernel, VMLAT_HOOK_DEV_QUEUE_XMIT, ATTACH_AUTO, "kprobe",
		      "__dev_queue_xmit__kprobe");
	assert_choice(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, ATTACH_AUTO, NULL,
		      "this kernel has no BTF");
	kernel__close(&kernel);
}

/* --- of a whole trace --- */

static void a_trace_has_the_hooks_of_its_directions(void **state)
{
	struct hook_use tx = { .attach = ATTACH_KPROBE, .directions = VMLAT_TX };
	struct hook_choice choices[VMLAT_HOOK_COUNT];
	struct kernel kernel = some_kernel();

	(void)state;
	hooks__choose(choices, &kernel, &tx);
	assert_string_equal(choices[VMLAT_HOOK_OVS_DP_UPCALL].attach, "kprobe");
	assert_string_equal(choices[VMLAT_HOOK_TUN_NET_XMIT].missing,
			    "not needed for this direction");
	assert_null(choices[VMLAT_HOOK_GRO_CELLS_RECEIVE].attach);
	assert_null(choices[VMLAT_HOOK_GRO_CELLS_RECEIVE].missing);
	kernel__close(&kernel);
}

/* As on 5.10: what modules have is missing, and the trace is possible all the same. */
static void fentry_alone_does_without_the_modules_that_have_no_btf(void **state)
{
	struct hook_use use = { .attach = ATTACH_FENTRY, .directions = VMLAT_BOTH };
	static const char why[] = "its module has no BTF, which fentry needs";
	struct hook_choice choices[VMLAT_HOOK_COUNT];
	struct kernel kernel = some_kernel();
	struct obstacles obstacles = { 0 };

	(void)state;
	btf__free(kernel__module(&kernel, "openvswitch")->btf);
	kernel__module(&kernel, "openvswitch")->btf = NULL;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (hooks[id].need == HOOK_REQUIRED && id != VMLAT_HOOK_NETIF_RECEIVE_SKB)
			add_tracepoint(kernel.btf, hooks[id].name);
	hooks__choose(choices, &kernel, &use);
	assert_string_equal(choices[VMLAT_HOOK_DEV_QUEUE_XMIT].attach, "fentry");
	assert_string_equal(choices[VMLAT_HOOK_CONSUME_SKB].attach, "tracepoint");
	assert_string_equal(choices[VMLAT_HOOK_TUN_GET_USER].missing, why);
	assert_string_equal(choices[VMLAT_HOOK_OVS_DP_UPCALL].missing, why);
	assert_string_equal(choices[VMLAT_HOOK_OVS_DP_UPCALL_RETURN].missing, why);
	assert_string_equal(choices[VMLAT_HOOK_OVS_VPORT_SEND].missing,
			    "this kernel has it with fewer arguments only (.constprop)");
	obstacles__of_hooks(&obstacles, &kernel, choices);
	assert_int_equal(obstacles.count, 0);
	kernel__close(&kernel);
}

static void where_a_hook_is_missing_another_stands_in_for_it(void **state)
{
	struct hook_use use = { .directions = VMLAT_BOTH };
	struct hook_choice choices[VMLAT_HOOK_COUNT];
	struct kernel kernel = some_kernel();

	(void)state;
	add_tracepoint(kernel.btf, "net_dev_queue");
	hooks__choose(choices, &kernel, &use);
	assert_string_equal(choices[VMLAT_HOOK_DEV_QUEUE_XMIT].attach, "fentry");
	assert_null(choices[VMLAT_HOOK_NET_DEV_QUEUE].attach);
	assert_null(choices[VMLAT_HOOK_NET_DEV_QUEUE].missing);
	kernel.denied[VMLAT_HOOK_DEV_QUEUE_XMIT] = true;
	hooks__choose(choices, &kernel, &use);
	assert_null(choices[VMLAT_HOOK_DEV_QUEUE_XMIT].attach);
	assert_string_equal(choices[VMLAT_HOOK_NET_DEV_QUEUE].attach, "tracepoint");
	kernel__close(&kernel);
}

static void what_does_the_work_of_a_missing_hook_has_a_program_for_it(void **state)
{
	struct hook_use use = { .attach = ATTACH_KPROBE, .directions = VMLAT_BOTH };
	struct hook_choice choices[VMLAT_HOOK_COUNT];
	struct kernel kernel = some_kernel();

	(void)state;
	hooks__choose(choices, &kernel, &use);
	assert_string_equal(choices[VMLAT_HOOK_QUEUE_USERSPACE_PACKET].program,
			    "queue_userspace_packet__kprobe");
	kernel.denied[VMLAT_HOOK_OVS_DP_UPCALL] = true;
	hooks__choose(choices, &kernel, &use);
	assert_string_equal(choices[VMLAT_HOOK_QUEUE_USERSPACE_PACKET].program,
			    "queue_userspace_packet__kprobe__alone");
	assert_false(hook__stand_alone(VMLAT_HOOK_IP_DEFRAG, &choices[VMLAT_HOOK_IP_DEFRAG]));
	kernel.denied[VMLAT_HOOK_QUEUE_USERSPACE_PACKET] = true;
	hooks__choose(choices, &kernel, &use);
	assert_null(choices[VMLAT_HOOK_QUEUE_USERSPACE_PACKET].attach);
	assert_string_equal(choices[VMLAT_HOOK_QUEUE_USERSPACE_PACKET].program, "");
	kernel__close(&kernel);
}

static void what_a_vm_receives_is_seen_by_the_cheaper_of_two_hooks(void **state)
{
	struct hook_use use = { .directions = VMLAT_RX };
	struct hook_choice choices[VMLAT_HOOK_COUNT];
	struct kernel kernel = some_kernel();

	(void)state;
	hooks__choose(choices, &kernel, &use);
	assert_string_equal(choices[VMLAT_HOOK_DEV_QUEUE_XMIT].attach, "fentry");
	add_tracepoint(kernel.btf, "net_dev_queue");
	hooks__choose(choices, &kernel, &use);
	assert_string_equal(choices[VMLAT_HOOK_DEV_QUEUE_XMIT].missing,
			    "not needed for this direction");
	assert_string_equal(choices[VMLAT_HOOK_NET_DEV_QUEUE].attach, "tracepoint");
	kernel__close(&kernel);
}

static bool stands_in(const struct obstacles *obstacles, const char *text)
{
	for (size_t i = 0; i < obstacles->count; i++)
		if (!strcmp(obstacles->text[i], text))
			return true;
	return false;
}

static void a_beginning_or_an_end_that_cannot_be_told_is_an_obstacle(void **state)
{
	struct hook_use use = { .directions = VMLAT_BOTH };
	struct hook_choice choices[VMLAT_HOOK_COUNT];
	struct kernel kernel = some_kernel();
	struct obstacles obstacles = { 0 };

	(void)state;
	kernel.denied[VMLAT_HOOK_NETIF_RECEIVE_SKB] = true;
	hooks__choose(choices, &kernel, &use);
	obstacles__of_hooks(&obstacles, &kernel, choices);
	assert_true(stands_in(&obstacles,
			      "no packet's beginning can be told without netif_receive_skb: this "
			      "kernel has no such tracepoint; use a kernel that has it"));
	assert_true(stands_in(&obstacles,
			      "no packet's end can be told without consume_skb: this kernel has "
			      "no such tracepoint; use a kernel that has it"));
	assert_int_equal(obstacles.count, 5);
	kernel__close(&kernel);
}

static void a_module_that_is_not_there_is_an_obstacle(void **state)
{
	struct hook_choice choices[VMLAT_HOOK_COUNT] = { 0 };
	struct kernel kernel = some_kernel();
	struct obstacles obstacles = { 0 };

	(void)state;
	obstacles__of_hooks(&obstacles, &kernel, choices);
	assert_int_equal(obstacles.count, 0);
	symbols__free(kernel.symbols);
	kernel.symbols = host_symbols("ffffffffc0200100 t ovs_dp_upcall\t[openvswitch]\n");
	obstacles__of_hooks(&obstacles, &kernel, choices);
	assert_int_equal(obstacles.count, 1);
	assert_string_equal(obstacles.text[0], "the module tun is not loaded: there is no tap to "
					       "trace; load it with: modprobe tun");
	kernel__close(&kernel);
}

static void without_openvswitch_a_linux_bridge_will_do(void **state)
{
	struct hook_choice choices[VMLAT_HOOK_COUNT] = { 0 };
	struct kernel kernel = some_kernel();
	struct obstacles obstacles = { 0 };

	(void)state;
	symbols__free(kernel.symbols);
	kernel.symbols = host_symbols("ffffffffc0300000 t tun_get_user\t[tun]\n");
	choices[VMLAT_HOOK_BR_HANDLE_FRAME].attach = "kprobe";
	obstacles__of_hooks(&obstacles, &kernel, choices);
	assert_int_equal(obstacles.count, 0);
	choices[VMLAT_HOOK_BR_HANDLE_FRAME].attach = NULL;
	obstacles__of_hooks(&obstacles, &kernel, choices);
	assert_int_equal(obstacles.count, 1);
	assert_non_null(strstr(obstacles.text[0], "modprobe openvswitch"));
	kernel__close(&kernel);
}

static void what_the_kernel_is_may_be_an_obstacle(void **state)
{
	struct kernel kernel = some_kernel();
	struct obstacles obstacles = { 0 };

	(void)state;
	kernel.capable = true;
	obstacles__of_kernel(&obstacles, &kernel);
	assert_int_equal(obstacles.count, 0);
	kernel.capable = false;
	kernel.realtime = kernel.locked_down = true;
	obstacles__of_kernel(&obstacles, &kernel);
	assert_int_equal(obstacles.count, 3);
	assert_non_null(strstr(obstacles.text[0], "CAP_SYS_ADMIN"));
	assert_non_null(strstr(obstacles.text[1], "PREEMPT_RT"));
	assert_non_null(strstr(obstacles.text[2], "lockdown=confidentiality"));
	kernel__close(&kernel);
}

/* --- what tests take away --- */

static void a_denied_hook_is_as_if_it_were_not_there(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_int_equal(deny__parse(&kernel, "ovs_dp_upcall,netif_receive_skb"), 0);
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_AUTO, NULL,
		      "this kernel has no function of exactly this name");
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL_RETURN, ATTACH_AUTO, NULL,
		      "this kernel has no function of exactly this name");
	assert_choice(&kernel, VMLAT_HOOK_NETIF_RECEIVE_SKB, ATTACH_AUTO, NULL,
		      "this kernel has no such tracepoint");
	assert_int_equal(kernel__function(&kernel, VMLAT_HOOK_OVS_DP_UPCALL), 0);
	assert_int_equal(kernel__function(&kernel, VMLAT_HOOK_TUN_GET_USER), 0xffffffffc0300000);
	kernel__close(&kernel);
}

static void a_way_that_is_to_be_refused_is_there_until_it_is_tried(void **state)
{
	struct kernel kernel = some_kernel();

	(void)state;
	assert_int_equal(deny__parse(&kernel, "ovs_dp_upcall:fentry,ovs_dp_upcall:kretprobe"), 0);
	assert_int_equal(kernel.to_refuse[VMLAT_HOOK_OVS_DP_UPCALL], BY_TRACING);
	assert_int_equal(kernel.to_refuse[VMLAT_HOOK_OVS_DP_UPCALL_RETURN], BY_PROBE);
	assert_choice(&kernel, VMLAT_HOOK_OVS_DP_UPCALL, ATTACH_AUTO, "fentry",
		      "ovs_dp_upcall__fentry");
	kernel__close(&kernel);
}

static int deny_apart(void *text)
{
	struct kernel kernel = { 0 };

	return deny__parse(&kernel, text);
}

static void a_hook_that_there_is_not_cannot_be_denied(void **state)
{
	static const char *const texts[] = { "ovs_dp_upcal", "ovs_dp_upcall:uprobe",
					     "netif_receive_skb:kprobe" };
	struct kernel kernel = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char words[96];
		struct run run;

		run_apart(&run, deny_apart, (void *)texts[i]);
		snprintf(words, sizeof(words), "vmlat: error: VMLAT_DENY: there is no hook %s\n",
			 texts[i]);
		assert_int_equal(run.code, EXIT_USAGE);
		assert_string_equal(run.err, words);
	}
	assert_int_equal(deny__parse(&kernel, NULL), 0);
	assert_int_equal(deny__parse(&kernel, ""), 0);
}

static void what_this_host_has_not_needs_no_hook(void **state)
{
	static const enum hook_need needs[] = { HOOK_FOR_TUNNELS, HOOK_FOR_RPS, HOOK_FOR_BRIDGES };
	static const struct hook_use uses[] = {
		{ .directions = VMLAT_BOTH, .tunnels = true },
		{ .directions = VMLAT_BOTH, .rps = true },
		{ .directions = VMLAT_BOTH, .bridges = true },
		{ .directions = VMLAT_BOTH },
	};
	int found[ARRAY_SIZE(needs)] = { 0 };

	(void)state;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		size_t own = 0;

		while (own < ARRAY_SIZE(needs) && hooks[id].need != needs[own])
			own++;
		for (size_t use = 0; use < ARRAY_SIZE(uses); use++)
			assert_int_equal(hook__needed(id, &uses[use]),
					 own == ARRAY_SIZE(needs) || own == use);
		if (own < ARRAY_SIZE(needs))
			found[own]++;
	}
	assert_int_equal(found[0], 3);
	assert_int_equal(found[1], 1);
	assert_int_equal(found[2], 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_stage_has_a_name),
		cmocka_unit_test(stages_are_numbered_as_documented),
		cmocka_unit_test(every_stage_has_a_hook),
		cmocka_unit_test(every_hook_has_a_name_a_direction_and_a_module),
		cmocka_unit_test(there_is_room_for_every_module_of_a_hook),
		cmocka_unit_test(a_return_belongs_to_a_function_of_the_same_name),
		cmocka_unit_test(a_tracepoint_is_attached_to_when_the_kernel_has_it),
		cmocka_unit_test(what_completes_another_hook_is_of_no_use_without_that),
		cmocka_unit_test(a_function_with_btf_gets_fentry),
		cmocka_unit_test(a_function_without_btf_gets_a_kprobe),
		cmocka_unit_test(kprobe_is_taken_when_asked_for),
		cmocka_unit_test(an_rx_handler_needs_a_helper_for_fentry),
		cmocka_unit_test(a_function_that_is_not_there_says_why),
		cmocka_unit_test(a_function_of_any_module_with_btf_gets_fentry),
		cmocka_unit_test(what_this_host_has_not_needs_no_hook),
		cmocka_unit_test(a_choice_says_why_not_the_one_that_costs_less),
		cmocka_unit_test(what_the_kernel_refused_is_not_chosen_again),
		cmocka_unit_test(a_kernel_that_has_no_fentry_is_asked_once),
		cmocka_unit_test(fentry_can_be_refused_of_every_function),
		cmocka_unit_test(a_kernel_without_btf_has_kprobes),
		cmocka_unit_test(a_trace_has_the_hooks_of_its_directions),
		cmocka_unit_test(fentry_alone_does_without_the_modules_that_have_no_btf),
		cmocka_unit_test(where_a_hook_is_missing_another_stands_in_for_it),
		cmocka_unit_test(what_does_the_work_of_a_missing_hook_has_a_program_for_it),
		cmocka_unit_test(what_a_vm_receives_is_seen_by_the_cheaper_of_two_hooks),
		cmocka_unit_test(a_beginning_or_an_end_that_cannot_be_told_is_an_obstacle),
		cmocka_unit_test(a_module_that_is_not_there_is_an_obstacle),
		cmocka_unit_test(without_openvswitch_a_linux_bridge_will_do),
		cmocka_unit_test(what_the_kernel_is_may_be_an_obstacle),
		cmocka_unit_test(a_denied_hook_is_as_if_it_were_not_there),
		cmocka_unit_test(a_way_that_is_to_be_refused_is_there_until_it_is_tried),
		cmocka_unit_test(a_hook_that_there_is_not_cannot_be_denied),
	};

	return cmocka_run_group_tests_name("hook", tests, NULL, NULL);
}
