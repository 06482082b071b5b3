// SPDX-License-Identifier: GPL-2.0
/* What is selected, on a host made by hand. */
#include "host.h"

#include "exit.h"
#include "hooks.h"
#include "obstacle.h"

enum {
	TAP_BOTH = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_END,
	TAP_END = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_END, /* of a packet from another VM */
	NIC_BOTH = VMLAT_ROLE_TX_END | VMLAT_ROLE_RX_START,
	NIC_ROUTED = NIC_BOTH | VMLAT_ROLE_ROUTED, /* leads to no switch */
};

#define LIST(...) ((char *[]){ __VA_ARGS__, NULL })

static struct devices selected(struct device_choice choice)
{
	struct devices devices = host_devices();

	assert_int_equal(devices__select(&devices, &choice), 0);
	return devices;
}

static __u32 roles(const struct devices *devices, const char *name)
{
	return host_device(devices, name)->roles;
}

static void by_default_it_is_every_tap_and_the_nics_that_lead_to_a_switch(void **state)
{
	struct devices devices = selected((struct device_choice){ .directions = VMLAT_BOTH });

	(void)state;
	assert_int_equal(roles(&devices, "vnet0"), TAP_BOTH | TAP_END);
	assert_int_equal(roles(&devices, "vnet2"), TAP_BOTH | TAP_END);
	assert_int_equal(roles(&devices, "tap9"), TAP_BOTH | TAP_END);
	assert_int_equal(roles(&devices, "eth0"), NIC_BOTH);
	assert_int_equal(roles(&devices, "eth1"), NIC_BOTH);
	assert_int_equal(roles(&devices, "eth2"), 0);
	assert_int_equal(roles(&devices, "br0"), 0);
	assert_int_equal(roles(&devices, "lo"), 0);
	devices__free(&devices);
}

static void when_no_nic_leads_to_a_switch_it_is_every_nic(void **state)
{
	struct devices devices = host_devices();
	struct device_choice choice = { .directions = VMLAT_BOTH };

	(void)state;
	host_device(&devices, "eth0")->leads_to_switch = false;
	host_device(&devices, "eth1")->leads_to_switch = false;
	host_device(&devices, "br0")->leads_to_switch = true;
	assert_int_equal(devices__select(&devices, &choice), 0);
	assert_int_equal(roles(&devices, "eth0"), NIC_ROUTED);
	assert_int_equal(roles(&devices, "eth2"), NIC_ROUTED);
	assert_int_equal(roles(&devices, "br0"), 0);
	devices__free(&devices);
}

/* What a bridge receives by itself is for the host. */
static void a_linux_bridge_is_known_as_such_unless_it_is_named(void **state)
{
	struct device_choice by_default = { .directions = VMLAT_BOTH };
	struct device_choice named = { .nics = LIST("br0"), .directions = VMLAT_BOTH };
	struct devices devices = host_devices();

	(void)state;
	host_device(&devices, "br0")->bridge = true;
	assert_int_equal(devices__select(&devices, &by_default), 0);
	assert_int_equal(roles(&devices, "br0"), VMLAT_ROLE_BRIDGE);
	assert_false(devices__chosen(host_device(&devices, "br0")));
	assert_int_equal(devices__select(&devices, &named), 0);
	assert_int_equal(roles(&devices, "br0"), NIC_ROUTED);
	devices__free(&devices);
}

static void a_bridge_matters_where_a_selected_device_leads_to_it(void **state)
{
	struct device_choice web1 = { .taps = LIST("vnet0"),
				      .nics = LIST("eth0"),
				      .directions = VMLAT_RX };
	struct devices devices = host_devices();

	(void)state;
	host_device(&devices, "br0")->bridge = true;
	host_device(&devices, "br0")->leads_to_bridge = true;
	host_device(&devices, "vnet2")->leads_to_bridge = true;
	host_device(&devices, "eth2")->leads_to_bridge = true;
	assert_int_equal(devices__select(&devices, &web1), 0);
	assert_false(devices__bridged(&devices));
	host_device(&devices, "vnet0")->leads_to_bridge = true;
	assert_true(devices__bridged(&devices));
	host_device(&devices, "vnet0")->leads_to_bridge = false;
	host_device(&devices, "eth0")->leads_to_bridge = true;
	assert_true(devices__bridged(&devices));
	devices__free(&devices);
}

static void a_direction_gives_half_of_the_roles(void **state)
{
	struct devices tx = selected((struct device_choice){ .directions = VMLAT_TX });
	struct devices rx = selected((struct device_choice){ .directions = VMLAT_RX });

	(void)state;
	assert_int_equal(roles(&tx, "vnet0"), TAP_END | VMLAT_ROLE_TX_START);
	assert_int_equal(roles(&tx, "eth0"), VMLAT_ROLE_TX_END);
	assert_int_equal(roles(&rx, "vnet0"),
			 VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END | VMLAT_ROLE_RX_START);
	assert_int_equal(roles(&rx, "eth0"), VMLAT_ROLE_RX_START);
	devices__free(&tx);
	devices__free(&rx);
}

static void named_taps_alone_start_tx_but_any_tap_may_be_the_other_end(void **state)
{
	struct devices devices = selected(
		(struct device_choice){ .taps = LIST("vnet0", "tap9"), .directions = VMLAT_BOTH });

	(void)state;
	assert_int_equal(roles(&devices, "vnet0"), TAP_BOTH | TAP_END);
	assert_int_equal(roles(&devices, "tap9"), TAP_BOTH | TAP_END);
	assert_int_equal(roles(&devices, "vnet1"), TAP_END | VMLAT_ROLE_RX_START);
	assert_int_equal(roles(&devices, "vnet2"), TAP_END | VMLAT_ROLE_RX_START);
	assert_int_equal(roles(&devices, "eth0"), NIC_BOTH);
	devices__free(&devices);
}

static void rx_may_come_from_any_tap_unless_nics_are_named(void **state)
{
	struct devices any =
		selected((struct device_choice){ .taps = LIST("vnet0"), .directions = VMLAT_RX });
	struct devices named = selected((struct device_choice){
		.taps = LIST("vnet0"), .nics = LIST("eth0"), .directions = VMLAT_RX });

	(void)state;
	assert_int_equal(roles(&any, "vnet2"), VMLAT_ROLE_TAP | VMLAT_ROLE_RX_START);
	assert_int_equal(roles(&named, "vnet2"), 0);
	assert_int_equal(roles(&named, "vnet0"), VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END);
	devices__free(&any);
	devices__free(&named);
}

static void named_ends_are_the_only_ones(void **state)
{
	struct devices devices = selected((struct device_choice){
		.taps = LIST("vnet0"), .nics = LIST("eth2"), .directions = VMLAT_BOTH });

	(void)state;
	assert_int_equal(roles(&devices, "vnet0"), TAP_BOTH | TAP_END);
	assert_int_equal(roles(&devices, "vnet1"), 0);
	assert_int_equal(roles(&devices, "eth2"), NIC_ROUTED);
	assert_int_equal(roles(&devices, "eth0"), 0);
	devices__free(&devices);
}

static void a_tap_that_may_only_be_the_end_is_not_the_users_choice(void **state)
{
	struct devices devices =
		selected((struct device_choice){ .taps = LIST("vnet0"), .directions = VMLAT_TX });

	(void)state;
	assert_true(devices__chosen(host_device(&devices, "vnet0")));
	assert_false(devices__chosen(host_device(&devices, "vnet1")));
	assert_true(devices__chosen(host_device(&devices, "eth0")));
	assert_false(devices__chosen(host_device(&devices, "eth2")));
	devices__free(&devices);
}

static void what_is_chosen_for_rx_is_chosen(void **state)
{
	struct devices devices =
		selected((struct device_choice){ .taps = LIST("vnet0"), .directions = VMLAT_RX });

	(void)state;
	assert_true(devices__chosen(host_device(&devices, "vnet0")));
	assert_false(devices__chosen(host_device(&devices, "vnet1")));
	assert_true(devices__chosen(host_device(&devices, "eth0")));
	devices__free(&devices);
}

static void a_vm_stands_for_all_its_taps(void **state)
{
	struct devices devices = selected((struct device_choice){
		.vms = LIST("web1"), .nics = LIST("eth0"), .directions = VMLAT_RX });

	(void)state;
	assert_int_equal(roles(&devices, "vnet0"), VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END);
	assert_int_equal(roles(&devices, "vnet1"), VMLAT_ROLE_TAP | VMLAT_ROLE_RX_END);
	assert_int_equal(roles(&devices, "vnet2"), 0);
	devices__free(&devices);
}

static void taps_and_vms_add_up(void **state)
{
	struct devices devices = selected((struct device_choice){ .taps = LIST("tap9"),
								  .vms = LIST("db"),
								  .nics = LIST("eth0"),
								  .directions = VMLAT_RX });

	(void)state;
	assert_int_not_equal(roles(&devices, "tap9"), 0);
	assert_int_not_equal(roles(&devices, "vnet2"), 0);
	assert_int_equal(roles(&devices, "vnet0"), 0);
	devices__free(&devices);
}

static void any_device_but_a_tap_can_be_named_as_nic(void **state)
{
	struct devices devices = selected(
		(struct device_choice){ .nics = LIST("br0", "eth2"), .directions = VMLAT_BOTH });

	(void)state;
	assert_int_equal(roles(&devices, "br0"), NIC_ROUTED);
	assert_int_equal(roles(&devices, "eth2"), NIC_ROUTED);
	devices__free(&devices);
}

static int select_apart(void *choice)
{
	struct devices devices = host_devices();
	int code = devices__select(&devices, choice);

	devices__free(&devices);
	return code;
}

static void assert_wrong(struct device_choice choice, const char *words)
{
	struct run run;

	choice.directions = VMLAT_BOTH;
	run_apart(&run, select_apart, &choice);
	assert_string_equal(run.err, words);
	assert_int_equal(run.code, EXIT_USAGE);
}

static void a_wrong_tap_is_told_the_taps_there_are(void **state)
{
	(void)state;
	assert_wrong((struct device_choice){ .taps = LIST("vnet0", "vnet7") },
		     "vmlat: error: --vm-interface: there is no vnet7; taps here: vnet0 (web1), "
		     "vnet1 (web1), vnet2 (db), tap9\n");
	assert_wrong((struct device_choice){ .taps = LIST("eth0") },
		     "vmlat: error: --vm-interface: eth0 is no tap; taps here: vnet0 (web1), vnet1 "
		     "(web1), vnet2 (db), tap9\n");
}

static void assert_waits(char **vms, const char *words)
{
	struct device_choice choice = { .vms = vms, .directions = VMLAT_BOTH };
	struct run run;

	run_apart(&run, select_apart, &choice);
	assert_string_equal(run.err, words);
	assert_int_equal(run.code, 0);
}

static void a_vm_that_is_not_there_is_waited_for(void **state)
{
	(void)state;
	assert_waits(LIST("web1"), "");
	assert_waits(LIST("db", "mail"),
		     "vmlat: warning: --vm: no running VM mail has a tap here: it is waited for; "
		     "taps: vnet0 (web1), vnet1 (web1), vnet2 (db), tap9\n");
	assert_waits(LIST("web2"),
		     "vmlat: warning: --vm: no running VM web2 has a tap here: it is waited for "
		     "(did you mean web1?); taps: vnet0 (web1), vnet1 (web1), vnet2 (db), tap9\n");
}

static int select_hidden(void *choice)
{
	struct devices devices = host_devices();
	struct obstacles obstacles = { 0 };
	int code;

	devices.vms_hidden = true;
	code = devices__select(&devices, choice);
	obstacles__of_vms(&obstacles, &devices, choice);
	devices__free(&devices);
	return code ? code : obstacles__tell(&obstacles);
}

static void with_the_privilege_to_see_them_a_vm_is_no_obstacle(void **state)
{
	struct device_choice choice = { .vms = LIST("mail"), .directions = VMLAT_BOTH };
	struct devices devices = host_devices();
	struct obstacles obstacles = { 0 };

	(void)state;
	obstacles__of_vms(&obstacles, &devices, &choice);
	assert_int_equal(obstacles.count, 0);
	devices__free(&devices);
}

static void without_the_privilege_to_see_them_no_vm_can_be_named(void **state)
{
	struct device_choice choice = { .vms = LIST("mail"), .directions = VMLAT_BOTH };
	struct run run;

	(void)state;
	run_apart(&run, select_hidden, &choice);
	assert_string_equal(run.err, "vmlat: error: --vm: which tap is which VM's cannot be seen "
				     "without CAP_SYS_PTRACE (the open files of other users' "
				     "processes): give it, or name the taps with --vm-interface\n");
	assert_int_equal(run.code, EXIT_HOST);
	choice.vms = NULL;
	run_apart(&run, select_hidden, &choice);
	assert_string_equal(run.err, "");
	assert_int_equal(run.code, 0);
}

static void a_name_that_is_too_long_is_the_same_as_far_as_it_is_kept(void **state)
{
	char name[2 * VM_NAME] = "", *vms[] = { name, NULL };
	struct device_choice choice = { .vms = vms, .directions = VMLAT_RX };
	struct devices devices = host_devices();

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	memset(host_device(&devices, "vnet2")->vm, 'a', VM_NAME - 1);
	assert_int_equal(devices__select(&devices, &choice), 0);
	assert_true(devices__chosen(host_device(&devices, "vnet2")));
	devices__free(&devices);
}

static void a_wrong_nic_is_told_the_nics_there_are(void **state)
{
	(void)state;
	assert_wrong((struct device_choice){ .nics = LIST("eth7") },
		     "vmlat: error: --phy-interface: there is no eth7; NICs here: eth0, eth1, "
		     "eth2\n");
	assert_wrong((struct device_choice){ .nics = LIST("vnet0") },
		     "vmlat: error: --phy-interface: vnet0 is a tap, not a NIC; NICs here: eth0, "
		     "eth1, eth2 (a tap goes with --vm-interface)\n");
}

static int select_among_many(void *choice)
{
	struct devices devices = { .all = calloc(VMLAT_INTERFACES, sizeof(struct device)),
				   .count = VMLAT_INTERFACES };
	int code;

	for (size_t i = 0; i < devices.count; i++) {
		snprintf(devices.all[i].name, IF_NAMESIZE, "vnet%hu", (unsigned short)i);
		devices.all[i].tap = true;
	}
	code = devices__select(&devices, choice);
	devices__free(&devices);
	return code;
}

static void a_long_list_of_devices_is_cut(void **state)
{
	struct device_choice choice = { .taps = LIST("x"), .directions = VMLAT_BOTH };
	struct run run;

	(void)state;
	run_apart(&run, select_among_many, &choice);
	assert_int_equal(run.code, EXIT_USAGE);
	assert_non_null(strstr(run.err, "taps here: vnet0, vnet1, vnet2, "));
	assert_in_range(strlen(run.err), 1000, 1100);
}

static void on_a_host_without_devices_there_is_none(void **state)
{
	struct devices devices = { 0 };
	struct device_choice choice = { .directions = VMLAT_BOTH };

	(void)state;
	assert_int_equal(devices__select(&devices, &choice), 0);
	assert_null(devices__by_id(&devices, &(struct vmlat_device){ HOST_NETNS, 1 }));
}

static void packets_are_spread_by_a_tap_that_they_may_begin_at(void **state)
{
	struct device_choice choice = { .taps = LIST("vnet0"),
					.nics = LIST("eth0"),
					.directions = VMLAT_BOTH };
	struct devices devices = host_devices();

	(void)state;
	assert_int_equal(devices__select(&devices, &choice), 0);
	assert_false(devices__spread(&devices));
	host_device(&devices, "vnet1")->spreads = true;
	assert_false(devices__spread(&devices));
	host_device(&devices, "vnet0")->spreads = true;
	assert_true(devices__spread(&devices));
	devices__free(&devices);
}

/* --- during a trace --- */

/* Stands in for libc's: of the devices of hosts made by hand the kernel has this one only. */
static __u32 still_there;

char *if_indextoname(unsigned int ifindex, char name[IF_NAMESIZE])
{
	if (ifindex != still_there)
		return NULL;
	snprintf(name, IF_NAMESIZE, "renamed");
	return name;
}

struct told {
	char text[512]; /* "+vnet0" came, "-vnet0" is gone, "!" and it was chosen before */
};

static void tell(void *context, const struct devices *devices, const struct device *device,
		 bool was_chosen)
{
	struct told *told = context;
	size_t length = strlen(told->text);

	assert_in_range(device - devices->all, 0, devices->count - 1);
	snprintf(told->text + length, sizeof(told->text) - length, "%s%s%s%s", length ? " " : "",
		 device->gone ? "-" : "+", device->name, was_chosen ? "!" : "");
}

static void assert_told(struct devices *devices, const struct devices *now,
			const struct device_choice *choice, const char *expected)
{
	struct told told = { "" };

	devices__update(devices, now, choice, tell, &told);
	assert_string_equal(told.text, expected);
}

static struct devices room_for_more(struct device_choice choice)
{
	struct devices devices = selected(choice);

	devices.all = realloc(devices.all, VMLAT_INTERFACES * sizeof(*devices.all));
	assert_non_null(devices.all);
	return devices;
}

static void remove_device(struct devices *devices, const char *name)
{
	struct device *device = host_device(devices, name);

	*device = devices->all[--devices->count];
}

static void while_nothing_changes_nothing_is_told(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	assert_told(&devices, &now, &choice, "");
	assert_int_equal(devices.count, now.count);
	devices__free(&devices);
	devices__free(&now);
}

static void a_device_that_goes_keeps_its_index_name_and_roles(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();
	struct vmlat_device id = host_device(&devices, "vnet0")->id;
	const struct device *tap = host_device(&devices, "vnet0");

	(void)state;
	remove_device(&now, "vnet0");
	remove_device(&now, "eth2"); /* which was not selected */
	assert_told(&devices, &now, &choice, "-vnet0!");
	assert_true(tap->gone && devices__chosen(tap));
	assert_ptr_equal(devices__by_id(&devices, &id), tap);
	assert_told(&devices, &now, &choice, "");
	devices__free(&devices);
	devices__free(&now);
}

static void a_device_of_the_same_name_gets_an_index_of_its_own(void **state)
{
	struct device_choice choice = { .taps = LIST("vnet0"), .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();
	size_t count = devices.count;

	(void)state;
	host_device(&now, "vnet0")->id.ifindex = 42;
	assert_told(&devices, &now, &choice, "-vnet0! +vnet0");
	assert_int_equal(devices.count, count + 1);
	assert_int_equal(devices.all[count].roles, TAP_BOTH | TAP_END);
	assert_false(devices.all[count].gone);
	assert_true(host_device(&devices, "vnet0")->gone);
	devices__free(&devices);
	devices__free(&now);
}

static void a_number_that_comes_again_is_the_last_ones(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices(),
		       later = host_devices();
	struct vmlat_device id = host_device(&now, "vnet0")->id;

	(void)state;
	remove_device(&now, "vnet0");
	assert_told(&devices, &now, &choice, "-vnet0!");
	snprintf(host_device(&later, "vnet0")->name, IF_NAMESIZE, "vnet9");
	assert_told(&devices, &later, &choice, "+vnet9");
	assert_string_equal(devices__by_id(&devices, &id)->name, "vnet9");
	devices__free(&devices);
	devices__free(&now);
	devices__free(&later);
}

/* Numbers that share a place, also with one of another namespace. */
static void each_number_finds_its_device(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();
	static const struct vmlat_device ids[] = {
		{ HOST_NETNS, 10 },
		{ HOST_NETNS, 10 + VMLAT_INTERFACES },
		{ OTHER_NETNS, 10 },
		{ HOST_NETNS, 10 + 2 * VMLAT_INTERFACES },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct told told = { "" };

		now.all[i].id = ids[i];
		now.count = i + 1;
		devices__update(&devices, &now, &choice, tell, &told);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_memory_equal(&devices__by_id(&devices, &ids[i])->id, &ids[i],
				    sizeof(ids[i]));
	assert_string_equal(devices__by_id(&devices, &(struct vmlat_device){ HOST_NETNS, 6 })->name,
			    "vnet0");
	devices__free(&devices);
	devices__free(&now);
}

static void what_comes_is_selected_as_what_was_there(void **state)
{
	struct device_choice named = { .taps = LIST("vnet0"),
				       .nics = LIST("eth0"),
				       .directions = VMLAT_BOTH };
	struct device_choice all = { .directions = VMLAT_BOTH };
	struct devices by_name = room_for_more(named), any = room_for_more(all),
		       now = host_devices();

	(void)state;
	host_device(&now, "tap9")->id.ifindex = 42;
	host_device(&now, "eth2")->id.ifindex = 43; /* leads to no switch, others do */
	host_device(&now, "eth1")->id.ifindex = 44;
	assert_told(&by_name, &now, &named, "");
	assert_told(&any, &now, &all, "-eth1! -tap9! +eth1 +tap9");
	devices__free(&by_name);
	devices__free(&any);
	devices__free(&now);
}

static void a_tap_is_its_vms_as_soon_as_that_is_known(void **state)
{
	struct device_choice choice = { .vms = LIST("web1"),
					.nics = LIST("eth0"),
					.directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	host_device(&now, "tap9")->id.ifindex = 42;
	assert_told(&devices, &now, &choice, "");
	snprintf(host_device(&now, "tap9")->vm, VM_NAME, "web1");
	assert_told(&devices, &now, &choice, "+tap9");
	host_device(&now, "tap9")->vm[0] = '\0'; /* nobody was asked */
	assert_told(&devices, &now, &choice, "");
	assert_string_equal(devices.all[devices.count - 1].vm, "web1");
	devices__free(&devices);
	devices__free(&now);
}

static void what_was_chosen_stays_so_whatever_becomes_of_it(void **state)
{
	struct device_choice choice = { .taps = LIST("vnet0"), .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	snprintf(host_device(&now, "vnet0")->name, IF_NAMESIZE, "renamed");
	host_device(&now, "eth0")->leads_to_switch = false; /* Open vSwitch is restarted */
	host_device(&now, "eth1")->leads_to_switch = false;
	assert_told(&devices, &now, &choice, "");
	assert_true(devices__chosen(host_device(&devices, "renamed")));
	assert_true(devices__chosen(host_device(&devices, "eth0")));
	assert_false(devices__chosen(host_device(&devices, "eth2")));
	devices__free(&devices);
	devices__free(&now);
}

static void a_selected_device_that_joins_a_linux_bridge_is_told_once(void **state)
{
	struct device_choice choice = { .taps = LIST("vnet0"),
					.nics = LIST("eth0"),
					.directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	host_device(&now, "vnet0")->leads_to_bridge = true;
	host_device(&now, "vnet1")->leads_to_bridge = true;
	assert_told(&devices, &now, &choice, "+vnet0!");
	assert_told(&devices, &now, &choice, "");
	host_device(&now, "vnet0")->leads_to_bridge = false;
	assert_told(&devices, &now, &choice, "");
	devices__free(&devices);
	devices__free(&now);
}

static void an_other_end_comes_and_goes_without_having_been_chosen(void **state)
{
	struct device_choice choice = { .taps = LIST("vnet0"), .directions = VMLAT_TX };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	host_device(&now, "vnet1")->id.ifindex = 42;
	assert_told(&devices, &now, &choice, "-vnet1 +vnet1");
	assert_false(devices__chosen(&devices.all[devices.count - 1]));
	devices__free(&devices);
	devices__free(&now);
}

/* The list of what there is has neither of its names then. */
static void what_is_renamed_while_it_is_listed_is_not_gone(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();
	const struct device *tap = host_device(&devices, "vnet0");

	(void)state;
	still_there = tap->id.ifindex;
	host_device(&now, "vnet0")->id.ifindex = 42; /* nor its number */
	host_device(&now, "vnet0")->tap = false;
	assert_told(&devices, &now, &choice, "");
	assert_false(tap->gone);
	still_there = 0;
	assert_told(&devices, &now, &choice, "-vnet0!");
	devices__free(&devices);
	devices__free(&now);
}

static int update_a_full_table(void *argument)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();
	struct told told = { "" };

	(void)argument;
	while (devices.count < VMLAT_INTERFACES)
		devices.all[devices.count++] =
			(struct device){ .gone = true, .roles = VMLAT_ROLE_TAP };
	for (int i = 0; i < 2; i++) {
		host_device(&now, "vnet0")->id.ifindex = 42 + i;
		host_device(&now, "vnet1")->id.ifindex = 52 + i;
		devices__update(&devices, &now, &choice, tell, &told);
	}
	devices__free(&devices);
	devices__free(&now);
	return strcmp(told.text, "-vnet0! -vnet1!") != 0;
}

static void a_full_table_is_told_once_by_the_first_that_has_no_room(void **state)
{
	struct run run;

	(void)state;
	run_apart(&run, update_a_full_table, NULL);
	assert_int_equal(run.code, 0);
	assert_string_equal(run.err, "vmlat: warning: vnet0: no room for it, 1024 network devices "
				     "are known: neither it nor any further one is traced\n");
}

static void in_a_full_table_the_places_of_what_was_never_traced_are_used_again(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	while (devices.count < VMLAT_INTERFACES)
		devices.all[devices.count++] =
			(struct device){ .id = { HOST_NETNS, 42 }, .gone = true };
	for (__u32 i = 42; i < 42 + 3 * VMLAT_INTERFACES; i++) {
		host_device(&now, "br0")->id.ifindex = i;
		assert_told(&devices, &now, &choice, "");
		assert_false(devices__by_id(&devices, &host_device(&now, "br0")->id)->gone);
	}
	assert_false(devices.overfull);
	devices__free(&devices);
	devices__free(&now);
}

static void a_reserved_place_is_nothing_until_a_tap_has_it(void **state)
{
	struct device_choice choice = { .taps = LIST("tap10"),
					.nics = LIST("eth0"),
					.directions = VMLAT_BOTH };
	struct devices devices = host_devices(), now = host_devices();
	struct vmlat_adopted first = { .name = "tap10" }, second = { .name = "tap11" };
	struct vmlat_device id = { HOST_NETNS, 42 }, other = { HOST_NETNS, 43 };
	const struct device *tap;

	(void)state;
	devices.all = realloc(devices.all, VMLAT_INTERFACES * sizeof(*devices.all));
	assert_non_null(devices.all);
	first.index = devices__reserve(&devices);
	second.index = devices__reserve(&devices);
	assert_int_equal(second.index, now.count + 1);
	assert_told(&devices, &now, &choice, "+eth0");
	tap = devices__adopt(&devices, &id, &first, &choice);
	assert_ptr_equal(tap, devices__by_id(&devices, &id));
	assert_string_equal(tap->name, "tap10");
	assert_int_equal(tap->roles, TAP_BOTH | TAP_END);
	assert_null(devices__adopt(&devices, &other, &first, &choice)); /* it is taken */
	assert_int_equal(devices__adopt(&devices, &other, &second, &choice)->roles, 0);
	first.index = devices.count;
	assert_null(devices__adopt(&devices, &other, &first, &choice));
	devices__free(&devices);
	devices__free(&now);
}

static void a_tap_that_is_known_and_adopted_goes_on_where_it_is_known(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice);
	struct vmlat_device id = host_device(&devices, "vnet0")->id;
	struct vmlat_adopted adopted = { .index = devices__reserve(&devices), .name = "vnet0" };
	const struct device *known = host_device(&devices, "vnet0");

	(void)state;
	assert_true(devices__adopt(&devices, &id, &adopted, &choice)->gone);
	assert_ptr_equal(devices__by_id(&devices, &id), known);
	devices__free(&devices);
}

static void new_taps_get_the_roles_of_those_that_are_there(void **state)
{
	struct device_choice all = { .directions = VMLAT_TX },
			     named = { .vms = LIST("db"), .directions = VMLAT_TX };
	struct devices devices = { .netns = HOST_NETNS };
	struct vmlat_new_taps any = devices__new_taps(&devices, &all),
			      other = devices__new_taps(&devices, &named);

	(void)state;
	assert_true(any.any);
	assert_int_equal(any.netns, HOST_NETNS);
	assert_int_equal(any.chosen, TAP_END | VMLAT_ROLE_TX_START);
	assert_false(other.any);
	assert_int_equal(other.others, TAP_END);
}

static const struct device_choice of_db = { .vms = LIST("db"),
					    .nics = LIST("eth0"),
					    .directions = VMLAT_BOTH };

static void a_tap_that_another_vm_opens_is_that_ones_in_a_place_of_its_own(void **state)
{
	struct device_choice all = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(all), now = host_devices();
	const struct device *before = host_device(&devices, "vnet2"), *later;
	struct device *tap = host_device(&now, "vnet2");

	(void)state;
	tap->openings = 1;
	snprintf(tap->vm, VM_NAME, "mail");
	assert_told(&devices, &now, &all, "+vnet2!");
	later = devices__by_id(&devices, &tap->id);
	assert_ptr_not_equal(later, before);
	assert_string_equal(later->vm, "mail");
	assert_string_equal(before->vm, "db");
	assert_true(before->gone && devices__chosen(before) && devices__chosen(later));
	assert_told(&devices, &now, &all, "");
	devices__free(&devices);
	devices__free(&now);
}

static void a_tap_that_another_vm_opened_while_its_name_was_asked_for_is_that_ones(void **state)
{
	struct devices devices = room_for_more(of_db), now = host_devices();
	struct device *tap = host_device(&now, "vnet2");

	(void)state;
	snprintf(tap->vm, VM_NAME, "mail"); /* the openings were counted before */
	assert_told(&devices, &now, &of_db, "+vnet2!");
	assert_false(devices__chosen(devices__by_id(&devices, &tap->id)));
	tap->openings = 1;
	assert_told(&devices, &now, &of_db, "");
	assert_string_equal(devices__by_id(&devices, &tap->id)->vm, "mail");
	devices__free(&devices);
	devices__free(&now);
}

static void a_tap_that_somebody_opens_is_nobodys_until_its_vm_is_known(void **state)
{
	struct device_choice all = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(all), now = host_devices();
	struct device *tap = host_device(&now, "vnet2");

	(void)state;
	tap->vm[0] = '\0';
	assert_told(&devices, &now, &all, ""); /* closed: it was db's */
	assert_string_equal(devices__by_id(&devices, &tap->id)->vm, "db");
	tap->openings = 1;
	assert_told(&devices, &now, &all, "+vnet2!");
	assert_string_equal(devices__by_id(&devices, &tap->id)->vm, "");
	snprintf(tap->vm, VM_NAME, "mail");
	assert_told(&devices, &now, &all, "");
	assert_string_equal(devices__by_id(&devices, &tap->id)->vm, "mail");
	devices__free(&devices);
	devices__free(&now);
}

static void a_tap_that_its_vm_opens_again_is_the_same(void **state)
{
	struct device_choice all = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(all), now = host_devices();

	(void)state;
	host_device(&now, "vnet2")->openings = 1;
	assert_told(&devices, &now, &all, "");
	assert_int_equal(devices.count, now.count);
	devices__free(&devices);
	devices__free(&now);
}

static void a_tap_of_a_named_vm_is_given_up_when_it_is_anothers(void **state)
{
	struct devices devices = room_for_more(of_db), now = host_devices();
	struct device *tap = host_device(&now, "vnet2");

	(void)state;
	tap->openings = 1;
	snprintf(tap->vm, VM_NAME, "mail");
	assert_told(&devices, &now, &of_db, "+vnet2!");
	assert_false(devices__chosen(devices__by_id(&devices, &tap->id)));
	tap->openings = 2;
	snprintf(tap->vm, VM_NAME, "db");
	assert_told(&devices, &now, &of_db, "+vnet2");
	assert_true(devices__chosen(devices__by_id(&devices, &tap->id)));
	devices__free(&devices);
	devices__free(&now);
}

static void who_opens_a_tap_is_to_be_asked_for(void **state)
{
	struct device_choice all = { .directions = VMLAT_BOTH };
	struct devices devices = selected(all), now = host_devices();

	(void)state;
	assert_false(devices__opened_since(&now, &devices));
	host_device(&now, "br0")->id.ifindex = 41; /* nobody opens that */
	assert_false(devices__opened_since(&now, &devices));
	host_device(&now, "vnet0")->openings = 1;
	assert_true(devices__opened_since(&now, &devices));
	host_device(&devices, "vnet0")->openings = 1;
	assert_false(devices__opened_since(&now, &devices));
	host_device(&now, "vnet1")->id.ifindex = 42;
	assert_true(devices__opened_since(&now, &devices));
	devices__free(&devices);
	devices__free(&now);
}

static void tunnels_are_taken_over(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = room_for_more(choice), now = host_devices();

	(void)state;
	now.tunnels = (struct tunnels){ .any = true, .count = 1, .port = { 4789 } };
	assert_told(&devices, &now, &choice, "");
	assert_true(devices.tunnels.any);
	assert_int_equal(devices.tunnels.port[0], 4789);
	devices__free(&devices);
	devices__free(&now);
}

static void a_device_is_known_by_number_and_namespace(void **state)
{
	struct devices devices = host_devices();
	struct vmlat_device ours = { HOST_NETNS, 2 }, other = { OTHER_NETNS, 2 };
	char buffer[64];

	(void)state;
	assert_ptr_equal(devices__by_id(&devices, &ours), host_device(&devices, "eth0"));
	assert_null(devices__by_id(&devices, &other));
	assert_string_equal(devices__name(&devices, &ours, buffer, sizeof(buffer)), "eth0");
	assert_string_equal(devices__name(&devices, &other, buffer, sizeof(buffer)),
			    "ifindex 2 of namespace 4026532000");
	devices__free(&devices);
}

static void the_devices_of_this_host_have_names_and_numbers(void **state)
{
	struct devices devices;

	(void)state;
	assert_int_equal(devices__find(&devices, NULL), 0);
	for (size_t i = 0; i < devices.count; i++) {
		const struct device *device = &devices.all[i];

		assert_int_equal(if_nametoindex(device->name), device->id.ifindex);
		assert_int_not_equal(device->id.netns, 0);
		assert_int_equal(device->roles, 0);
	}
	assert_true(devices.count > 0);
	assert_false(host_device(&devices, "lo")->tap || host_device(&devices, "lo")->nic);
	devices__free(&devices);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_default_it_is_every_tap_and_the_nics_that_lead_to_a_switch),
		cmocka_unit_test(when_no_nic_leads_to_a_switch_it_is_every_nic),
		cmocka_unit_test(a_linux_bridge_is_known_as_such_unless_it_is_named),
		cmocka_unit_test(a_bridge_matters_where_a_selected_device_leads_to_it),
		cmocka_unit_test(a_direction_gives_half_of_the_roles),
		cmocka_unit_test(named_taps_alone_start_tx_but_any_tap_may_be_the_other_end),
		cmocka_unit_test(rx_may_come_from_any_tap_unless_nics_are_named),
		cmocka_unit_test(named_ends_are_the_only_ones),
		cmocka_unit_test(a_tap_that_may_only_be_the_end_is_not_the_users_choice),
		cmocka_unit_test(what_is_chosen_for_rx_is_chosen),
		cmocka_unit_test(a_vm_stands_for_all_its_taps),
		cmocka_unit_test(taps_and_vms_add_up),
		cmocka_unit_test(any_device_but_a_tap_can_be_named_as_nic),
		cmocka_unit_test(a_wrong_tap_is_told_the_taps_there_are),
		cmocka_unit_test(a_vm_that_is_not_there_is_waited_for),
		cmocka_unit_test(with_the_privilege_to_see_them_a_vm_is_no_obstacle),
		cmocka_unit_test(without_the_privilege_to_see_them_no_vm_can_be_named),
		cmocka_unit_test(a_name_that_is_too_long_is_the_same_as_far_as_it_is_kept),
		cmocka_unit_test(a_wrong_nic_is_told_the_nics_there_are),
		cmocka_unit_test(a_long_list_of_devices_is_cut),
		cmocka_unit_test(on_a_host_without_devices_there_is_none),
		cmocka_unit_test(packets_are_spread_by_a_tap_that_they_may_begin_at),
		cmocka_unit_test(while_nothing_changes_nothing_is_told),
		cmocka_unit_test(a_device_that_goes_keeps_its_index_name_and_roles),
		cmocka_unit_test(a_device_of_the_same_name_gets_an_index_of_its_own),
		cmocka_unit_test(a_number_that_comes_again_is_the_last_ones),
		cmocka_unit_test(each_number_finds_its_device),
		cmocka_unit_test(what_comes_is_selected_as_what_was_there),
		cmocka_unit_test(a_tap_is_its_vms_as_soon_as_that_is_known),
		cmocka_unit_test(what_was_chosen_stays_so_whatever_becomes_of_it),
		cmocka_unit_test(a_selected_device_that_joins_a_linux_bridge_is_told_once),
		cmocka_unit_test(an_other_end_comes_and_goes_without_having_been_chosen),
		cmocka_unit_test(what_is_renamed_while_it_is_listed_is_not_gone),
		cmocka_unit_test(a_full_table_is_told_once_by_the_first_that_has_no_room),
		cmocka_unit_test(
			in_a_full_table_the_places_of_what_was_never_traced_are_used_again),
		cmocka_unit_test(a_reserved_place_is_nothing_until_a_tap_has_it),
		cmocka_unit_test(a_tap_that_is_known_and_adopted_goes_on_where_it_is_known),
		cmocka_unit_test(new_taps_get_the_roles_of_those_that_are_there),
		cmocka_unit_test(a_tap_that_another_vm_opens_is_that_ones_in_a_place_of_its_own),
		cmocka_unit_test(
			a_tap_that_another_vm_opened_while_its_name_was_asked_for_is_that_ones),
		cmocka_unit_test(a_tap_that_somebody_opens_is_nobodys_until_its_vm_is_known),
		cmocka_unit_test(a_tap_that_its_vm_opens_again_is_the_same),
		cmocka_unit_test(a_tap_of_a_named_vm_is_given_up_when_it_is_anothers),
		cmocka_unit_test(who_opens_a_tap_is_to_be_asked_for),
		cmocka_unit_test(tunnels_are_taken_over),
		cmocka_unit_test(a_device_is_known_by_number_and_namespace),
		cmocka_unit_test(the_devices_of_this_host_have_names_and_numbers),
	};

	return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
