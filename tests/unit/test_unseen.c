// SPDX-License-Identifier: GPL-2.0
/* What says that a VM's traffic passes no hook. */
#include "unit.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "links.h"
#include "unseen.h"

/* The arguments are given as one string literal, its last NUL the compiler's. */
#define of_arguments(arguments) list_of(arguments, sizeof(arguments))

static struct unseen_list list_of(const char *arguments, size_t length)
{
	/* of exactly this size: what is read beyond is seen */
	char *copy = malloc(length + !length);
	struct unseen_list list = { 0 };

	assert_non_null(copy);
	memcpy(copy, arguments, length);
	unseen__of_arguments(&list, copy, length, "web1", "77");
	free(copy);
	return list;
}

static void assert_one(struct unseen_list list, enum unseen_kind kind, const char *what)
{
	assert_int_equal(list.count, 1);
	assert_int_equal(list.all[0].kind, kind);
	assert_string_equal(list.all[0].what, what);
	assert_string_equal(list.all[0].vm, "web1");
	assert_string_equal(list.all[0].how, "command line of process 77");
	unseen__free(&list);
}

static void assert_none(struct unseen_list list)
{
	assert_int_equal(list.count, 0);
	unseen__free(&list);
}

static void a_vhost_user_interface_is_in_the_command_line(void **state)
{
	(void)state;
	assert_one(of_arguments("qemu\0-netdev\0vhost-user,chardev=c0,id=hostnet0\0-S"),
		   UNSEEN_VHOST_USER, "hostnet0");
	assert_one(of_arguments("qemu\0-netdev\0type=vhost-user,id=n1,chardev=c0"),
		   UNSEEN_VHOST_USER, "n1");
	assert_one(of_arguments("qemu\0-netdev\0{\"type\":\"vhost-user\",\"chardev\":\"c\","
				"\"id\":\"n2\"}"),
		   UNSEEN_VHOST_USER, "n2");
	assert_one(of_arguments("qemu\0-netdev\0type=vhost-vdpa,vhostdev=/dev/vhost-vdpa-0,id=v"),
		   UNSEEN_VDPA, "v");
}

static void a_tap_and_other_devices_are_none(void **state)
{
	(void)state;
	assert_none(of_arguments("qemu\0-netdev\0tap,fd=25,id=hostnet0,vhost=on"));
	assert_none(of_arguments("qemu\0-chardev\0socket,id=vhost-user\0-device\0virtio-net-pci"));
	assert_none(of_arguments("qemu\0-device\0vhost-user-fs-pci,chardev=c"));
	/* no such device of this machine, let alone a NIC */
	assert_none(of_arguments("qemu\0-device\0vfio-pci,host=ffff:ff:1f.7"));
	assert_none(of_arguments("qemu\0-device\0vfio-pci,sysfsdev=/sys/x"));
	assert_none(of_arguments("qemu\0-netdev"));
	assert_none(list_of("qemu\0-netdev\0vhost-user", 15)); /* cut off */
	assert_none(list_of("", 0));
}

/* --- rtnetlink --- */

static char buffer[512];

static struct nlmsghdr *message_of_link(const char *kind, int xdp)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;
	struct nlattr *nest;

	message->nlmsg_type = RTM_NEWLINK;
	info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	info->ifi_index = 7;
	mnl_attr_put_strz(message, IFLA_IFNAME, "dev7");
	if (kind) {
		nest = mnl_attr_nest_start(message, IFLA_LINKINFO);
		mnl_attr_put_strz(message, IFLA_INFO_KIND, kind);
		mnl_attr_nest_end(message, nest);
	}
	if (xdp >= 0) {
		nest = mnl_attr_nest_start(message, IFLA_XDP);
		mnl_attr_put_u8(message, IFLA_XDP_ATTACHED, xdp);
		mnl_attr_nest_end(message, nest);
	}
	return message;
}

static void a_link_has_its_kind_and_its_xdp(void **state)
{
	struct nlmsghdr *message;
	struct link link;

	(void)state;
	assert_true(links__describe(message_of_link("macvtap", XDP_ATTACHED_NONE), &link));
	assert_int_equal(link.ifindex, 7);
	assert_string_equal(link.name, "dev7");
	assert_string_equal(link.kind, "macvtap");
	assert_false(link.xdp);
	assert_true(links__describe(message_of_link(NULL, XDP_ATTACHED_DRV), &link));
	assert_string_equal(link.kind, "");
	assert_true(link.xdp);
	assert_true(links__describe(message_of_link(NULL, -1), &link));
	assert_false(link.xdp);
	message = message_of_link(NULL, -1);
	message->nlmsg_type = RTM_DELLINK;
	assert_false(links__describe(message, &link));
}

static struct nlmsghdr *message_of_filter(const char *kind, int attribute, unsigned int flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct nlattr *nest;

	message->nlmsg_type = RTM_NEWTFILTER;
	mnl_nlmsg_put_extra_header(message, sizeof(struct tcmsg));
	mnl_attr_put_strz(message, TCA_KIND, kind);
	nest = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put_u32(message, attribute, flags);
	mnl_attr_nest_end(message, nest);
	return message;
}

static void a_filter_in_hardware_is_an_offloaded_flow(void **state)
{
	struct nlmsghdr *message;

	(void)state;
	assert_true(links__is_offloaded(
		message_of_filter("flower", TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW)));
	assert_true(links__is_offloaded(message_of_filter(
		"matchall", TCA_MATCHALL_FLAGS, TCA_CLS_FLAGS_IN_HW | TCA_CLS_FLAGS_SKIP_SW)));
	assert_false(links__is_offloaded(
		message_of_filter("flower", TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_NOT_IN_HW)));
	assert_false(links__is_offloaded(
		message_of_filter("flower", TCA_FLOWER_CLASSID, TCA_CLS_FLAGS_IN_HW)));
	assert_false(links__is_offloaded(
		message_of_filter("route", TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW)));
	message = message_of_filter("flower", TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW);
	message->nlmsg_type = RTM_DELTFILTER;
	assert_false(links__is_offloaded(message));
}

static void count_links(void *context, const struct link *link)
{
	int *count = context;

	*count += link->name[0] != '\0';
}

static void this_hosts_own_links_are_listed(void **state)
{
	int count = 0;

	(void)state;
	assert_int_equal(links__each(count_links, &count), 0);
	assert_true(count > 0); /* lo */
	assert_int_equal(links__offloaded(1), 0);
}

static void each_kind_has_a_name_and_words(void **state)
{
	(void)state;
	for (int kind = 0; kind < UNSEEN_KINDS; kind++) {
		assert_true(strlen(unseen_name(kind)) > 0);
		assert_true(strlen(unseen_words(kind)) > 0);
	}
}

static void open_vswitch_in_user_space_is_told_by_its_database(void **state)
{
	struct ovs_interface interfaces[] = {
		{ .name = "vnet0", .bridge = "br0", .port = "vnet0" },
		{ .name = "dpdk0", .type = "dpdk", .bridge = "br1", .in_user_space = true },
	};
	struct ovs ovs = { .known = true, .offloads = true, .interfaces = interfaces, .count = 2 };
	struct devices devices = { 0 };
	struct unseen_list list = { 0 };
	int offload = 0, user_space = 0;

	(void)state;
	assert_int_equal(unseen__find(&list, &devices, &ovs), 0);
	for (size_t i = 0; i < list.count; i++) { /* there may be more of this machine's own */
		const struct unseen *one = &list.all[i];

		offload += one->kind == UNSEEN_OFFLOAD;
		if (one->kind != UNSEEN_USER_SPACE)
			continue;
		user_space++;
		assert_string_equal(one->what, "dpdk0");
		assert_string_equal(one->how,
				    "ovsdb: type dpdk, bridge br1 with datapath_type netdev");
	}
	assert_int_equal(offload, 1);
	assert_int_equal(user_space, 1);
	unseen__free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vhost_user_interface_is_in_the_command_line),
		cmocka_unit_test(a_tap_and_other_devices_are_none),
		cmocka_unit_test(a_link_has_its_kind_and_its_xdp),
		cmocka_unit_test(a_filter_in_hardware_is_an_offloaded_flow),
		cmocka_unit_test(this_hosts_own_links_are_listed),
		cmocka_unit_test(each_kind_has_a_name_and_words),
		cmocka_unit_test(open_vswitch_in_user_space_is_told_by_its_database),
	};

	return cmocka_run_group_tests_name("unseen", tests, NULL, NULL);
}
