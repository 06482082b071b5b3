// SPDX-License-Identifier: GPL-2.0
/* What rtnetlink's messages say, made by hand, and this host's own. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "links.h"

/* RTM_NEWLINK of a device with these flags; kind NULL: it has none, as a NIC; attribute 0: no port. */
static void add_link(struct tunnels *tunnels, unsigned int flags, const char *name,
		     const char *kind, int attribute, __u16 port)
{
	char buffer[512];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;
	struct nlattr *nest, *data;

	message->nlmsg_type = RTM_NEWLINK;
	info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	info->ifi_flags = flags;
	mnl_attr_put_strz(message, IFLA_IFNAME, name);
	if (kind) {
		nest = mnl_attr_nest_start(message, IFLA_LINKINFO);
		mnl_attr_put_strz(message, IFLA_INFO_KIND, kind);
		data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
		if (attribute)
			mnl_attr_put_u16(message, attribute, htons(port));
		mnl_attr_nest_end(message, data);
		mnl_attr_nest_end(message, nest);
	}
	links__add_tunnel(tunnels, message);
}

static void a_vxlan_and_a_geneve_have_a_port(void **state)
{
	struct tunnels tunnels = { 0 };

	(void)state;
	add_link(&tunnels, IFF_UP, "vxlan0", "vxlan", IFLA_VXLAN_PORT, 4789);
	add_link(&tunnels, IFF_UP, "genev_sys_6081", "geneve", IFLA_GENEVE_PORT, 6081);
	add_link(&tunnels, IFF_UP, "vxlan1", "vxlan", IFLA_VXLAN_PORT, 4789);
	assert_true(tunnels.any);
	assert_int_equal(tunnels.count, 2);
	assert_int_equal(tunnels.port[0], 4789);
	assert_int_equal(tunnels.port[1], 6081);
	assert_int_equal(tunnels.port[2], 0);
}

static void a_gre_tap_has_none(void **state)
{
	static const char *const kinds[] = { "gretap", "ip6gretap", "erspan", "ip6erspan" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct tunnels tunnels = { 0 };

		add_link(&tunnels, IFF_UP, "gre_sys", kinds[i], 0, 0);
		assert_true(tunnels.any);
		assert_int_equal(tunnels.count, 0);
	}
}

static void what_brings_no_frames_is_no_tunnel(void **state)
{
	struct tunnels tunnels = { 0 };

	(void)state;
	add_link(&tunnels, IFF_UP, "eth0", NULL, 0, 0);
	add_link(&tunnels, IFF_UP, "br0", "bridge", 0, 0);
	add_link(&tunnels, IFF_UP, "gre0", "gre", 0, 0); /* IP alone */
	/* as gretap0, which comes with the module */
	add_link(&tunnels, 0, "gretap0", "gretap", 0, 0);
	assert_false(tunnels.any);
}

static void a_port_that_is_not_told_is_none(void **state)
{
	struct tunnels tunnels = { 0 };

	(void)state;
	add_link(&tunnels, IFF_UP, "vxlan0", "vxlan", 0, 0);
	add_link(&tunnels, IFF_UP, "vxlan1", "vxlan", IFLA_VXLAN_PORT, 0);
	assert_true(tunnels.any);
	assert_int_equal(tunnels.count, 0);
}

static int add_too_many(void *argument)
{
	struct tunnels tunnels = { 0 };
	char name[IF_NAMESIZE];

	(void)argument;
	for (int i = 0; i < VMLAT_TUNNEL_PORTS + 2; i++) {
		snprintf(name, sizeof(name), "vxlan%d", i);
		add_link(&tunnels, IFF_UP, name, "vxlan", IFLA_VXLAN_PORT, 4000 + i);
	}
	return (int)tunnels.count;
}

static void of_too_many_ports_the_first_beyond_is_named(void **state)
{
	struct run run;

	(void)state;
	run_apart(&run, add_too_many, NULL);
	assert_int_equal(run.code, VMLAT_TUNNEL_PORTS);
	assert_string_equal(
		run.err,
		"vmlat: warning: vxlan8: UDP port 4008 is one tunnel port too many, 8 are known: "
		"what comes in by this one and by any further is taken as it is, not unpacked\n");
}

static void this_hosts_devices_can_be_asked_for_again_and_again(void **state)
{
	struct tunnels tunnels = { 0 }, again;

	(void)state;
	assert_int_equal(links__tunnels(&tunnels), 0);
	again = tunnels;
	assert_int_equal(links__tunnels(&again), 0);
	assert_memory_equal(&again, &tunnels, sizeof(again));
}

static void a_watch_never_waits(void **state)
{
	struct mnl_socket *watch = links__watch();

	(void)state;
	assert_non_null(watch);
	while (links__changed(watch))
		continue; /* somebody is at work on this host */
	links__unwatch(watch);
	links__unwatch(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vxlan_and_a_geneve_have_a_port),
		cmocka_unit_test(a_gre_tap_has_none),
		cmocka_unit_test(what_brings_no_frames_is_no_tunnel),
		cmocka_unit_test(a_port_that_is_not_told_is_none),
		cmocka_unit_test(of_too_many_ports_the_first_beyond_is_named),
		cmocka_unit_test(this_hosts_devices_can_be_asked_for_again_and_again),
		cmocka_unit_test(a_watch_never_waits),
	};

	return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
