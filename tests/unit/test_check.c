// SPDX-License-Identifier: GPL-2.0
/* What check says to people of hosts made by hand. */
#include "golden.h"
#include "host.h"

#include "check.h"
#include "version.h"

static char tap_name[] = "vnet0_";
static char *one_tap[] = { tap_name, NULL };

static struct ovs_interface ports[] = {
	{ .name = "eth0_", .port = "eth0", .bridge = "br0" },
	{ .name = "eth1_", .port = "bond0", .bridge = "br0" },
	{ .name = "vnet0_", .port = "vnet0", .bridge = "br0" },
};

/* A module's hooks are in the kernel itself (tun), in a module with BTF, in one without, or nowhere. */
static struct kernel some_kernel(void)
{
	struct kernel kernel = { .release = "6.1.0-57-amd64", .kprobes = true, .capable = true };

	kernel.symbols = host_symbols("ffffffff81000100 T __dev_queue_xmit\n"
				      "ffffffff81000200 t tun_get_user\n"
				      "ffffffff81000300 t tun_sendmsg\n"
				      "ffffffffc0200100 t ovs_dp_upcall\t[openvswitch]\n"
				      "ffffffffc0200200 t ovs_vport_send\t[openvswitch]\n"
				      "ffffffffc0300000 t nf_ct_frag6_gather\t[nf_defrag_ipv6]\n");
	kernel.btf = host_btf();
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (hooks[id].module[0])
			kernel__module(&kernel, hooks[id].module);
	kernel__module(&kernel, "openvswitch")->btf = host_btf();
	return kernel;
}

static struct check some_check(char **taps)
{
	struct device_choice choice = { .taps = taps, .directions = VMLAT_BOTH };
	struct check check = {
		.host = "kvm1",
		.kernel = some_kernel(),
		.devices = host_devices(),
		.use = { .directions = VMLAT_BOTH },
		.capabilities = { { "CAP_SYS_ADMIN", "to trace", true },
				  { "CAP_SYS_PTRACE", "to know which VM a tap is of", true } },
		.ovs = { .known = true,
			 .version = "3.1.0",
			 .interfaces = ports,
			 .count = ARRAY_SIZE(ports) },
	};

	for (size_t i = 0; i < check.devices.count; i++) {
		char *name = check.devices.all[i].name;

		name[strlen(name)] = '_'; /* this machine has none of that name */
	}
	assert_int_equal(devices__select(&check.devices, &choice), 0);
	return check;
}

/* What is left of the text is the caller's. */
static char *written(struct check *check)
{
	size_t size;
	char *text;

	hooks__choose(check->hooks, &check->kernel, &check->use);
	check->out = open_memstream(&text, &size);
	assert_non_null(check->out);
	check__write_text(check);
	fclose(check->out);
	return text;
}

static void release(struct check *check, char *text)
{
	free(text);
	unseen__free(&check->unseen);
	devices__free(&check->devices);
	kernel__close(&check->kernel);
}

static void assert_line(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no line '%s' in:\n%s", line, text);
}

/* Takes the lines between these two words out: each has its own test. */
static void cut(char *text, const char *from, const char *to)
{
	char *begin = strstr(text, from), *end = begin ? strstr(begin, to) : NULL;

	if (end)
		memmove(begin, end, strlen(end) + 1);
	else
		fail_msg("no '%s' before '%s' in:\n%s", from, to, text);
}

static void a_host_with_everything_in_the_way_says_so(void **state)
{
	struct check check = some_check(one_tap);
	char *text;

	(void)state;
	check.kernel.capable = check.capabilities[0].present = false;
	check.kernel.realtime = true;
	obstacles__of_kernel(&check.obstacles, &check.kernel);
	check.ovs = (struct ovs){ .error = "/run/openvswitch/db.sock: Permission denied" };
	check.use.tunnels = check.devices.tunnels.any = true;
	check.devices.tunnels.count = 2;
	check.devices.tunnels.port[0] = 4789;
	check.devices.tunnels.port[1] = 6081;
	check.unseen.processes_hidden = check.unseen.offload_unknown = true;
	unseen__add(&check.unseen, UNSEEN_MACVTAP, "macvtap0", "db", "process %d has it open",
		    4711);
	unseen__add(&check.unseen, UNSEEN_OFFLOAD, "", NULL, "other_config:hw-offload");
	text = written(&check);
	cut(text, "vmlat " VMLAT_VERSION, ", kernel");
	cut(text, "\nHooks\n", "\nNot told");
	assert_golden("check.txt", text);
	release(&check, text);
}

static void a_host_with_nothing_in_the_way_has_no_such_lines(void **state)
{
	struct check check = some_check(NULL);
	char *text;

	(void)state;
	check.kernel.drop_reasons = check.kernel.counts_misses = true;
	check.use.attach = ATTACH_FENTRY;
	text = written(&check);
	assert_line(text, "\nThis host can be traced.\n\nKernel\n");
	assert_line(text, "\n  CAP_SYS_ADMIN   yes (to trace)\n");
	assert_line(text, "\n  Open vSwitch    3.1.0\n");
	assert_line(
		text,
		"\n  vnet0_          web1            traced     port vnet0 of Open vSwitch's br0\n");
	assert_line(
		text,
		"\n  eth1_                           traced     port bond0 of Open vSwitch's br0\n");
	assert_line(text, "\n  tap9_           VM unknown      traced     in no switch\n");
	assert_line(text, "\nTunnels\n  none\n");
	assert_line(text, "\nTraffic that no hook sees\n  none found\n");
	assert_null(strstr(text, "Not told"));
	assert_null(strstr(text, "Not looked at"));
	release(&check, text);
}

static void each_hook_has_its_stage_its_way_and_why_not_a_better_one(void **state)
{
	struct check check = some_check(NULL);
	char *text;

	(void)state;
	text = written(&check);
	assert_line(text, "\n  stage          hook                            by\n");
	assert_line(
		text,
		"\n  tap            tun_sendmsg                     kprobe      not by fentry: it is not "
		"in BTF, which fentry needs\n");
	assert_line(
		text,
		"\n  -              ovs_dp_upcall                   kretprobe   not by fexit: it is not "
		"in BTF, which fentry needs\n");
	assert_line(
		text,
		"\n  -              nf_ct_frag6_gather              kprobe      not by fentry: its module "
		"has no BTF, which fentry needs\n");
	assert_line(
		text,
		"\n  datapath       ovs_dp_process_packet           none        this kernel has no "
		"function of exactly this name\n");
	assert_line(
		text,
		"\n  -              gro_cells_receive               not needed  there is no tunnel\n");
	assert_line(
		text,
		"\n  xmit           net_dev_queue                   not needed  there is a better one\n");
	release(&check, text);
}

static void a_hook_of_the_other_direction_is_not_needed(void **state)
{
	struct check check = some_check(NULL);
	char *text;

	(void)state;
	check.use.directions = VMLAT_TX;
	text = written(&check);
	assert_line(text,
		    "\n  tap            tun_net_xmit                    not needed  for the other "
		    "direction\n");
	release(&check, text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_with_everything_in_the_way_says_so),
		cmocka_unit_test(a_host_with_nothing_in_the_way_has_no_such_lines),
		cmocka_unit_test(each_hook_has_its_stage_its_way_and_why_not_a_better_one),
		cmocka_unit_test(a_hook_of_the_other_direction_is_not_needed),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
