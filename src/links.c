// SPDX-License-Identifier: GPL-2.0
#include "links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "log.h"

enum {
	MESSAGES = 32768, /* bytes of netlink that are read at once, as iproute2 does */
	TRIES = 5, /* of a list that devices come into while it is read */
};

/* Kinds of devices that carry frames, and where their attributes have the port they listen on. */
static const struct tunnel_kind {
	const char *name;
	int port; /* attribute; 0: it is no UDP */
} kinds[] = {
	{ "vxlan", IFLA_VXLAN_PORT },
	{ "geneve", IFLA_GENEVE_PORT },
	{ "gretap", 0 },
	{ "ip6gretap", 0 },
	{ "erspan", 0 },
	{ "ip6erspan", 0 },
};

static const struct tunnel_kind *kind_named(const struct nlattr *name)
{
	for (size_t i = 0; name && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(mnl_attr_get_str(name), kinds[i].name))
			return &kinds[i];
	return NULL;
}

struct attribute_search {
	int type;
	const struct nlattr *found;
};

static int match_attribute(const struct nlattr *attribute, void *context)
{
	struct attribute_search *search = context;

	if (mnl_attr_get_type(attribute) == search->type)
		search->found = attribute;
	return MNL_CB_OK;
}

/* The attribute of this type among those in `nest`, or NULL. */
static const struct nlattr *inner(const struct nlattr *nest, int type, enum mnl_attr_data_type data)
{
	struct attribute_search search = { .type = type };

	if (nest)
		mnl_attr_parse_nested(nest, match_attribute, &search);
	return search.found && mnl_attr_validate(search.found, data) >= 0 ? search.found : NULL;
}

static void add_port(struct tunnels *tunnels, __u16 port, const char *name)
{
	for (size_t i = 0; i < tunnels->count; i++)
		if (tunnels->port[i] == port)
			return;
	if (tunnels->count < VMLAT_TUNNEL_PORTS) {
		tunnels->port[tunnels->count++] = port;
		return;
	}
	if (!tunnels->overfull)
		log_warn("%s: UDP port %u is one tunnel port too many, %d are known: what comes "
			 "in by this one and by any further is taken as it is, not unpacked",
			 name, port, VMLAT_TUNNEL_PORTS);
	tunnels->overfull = true;
}

void links__add_tunnel(struct tunnels *tunnels, const struct nlmsghdr *message)
{
	struct attribute_search info = { .type = IFLA_LINKINFO }, name = { .type = IFLA_IFNAME };
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(message);
	const struct tunnel_kind *kind;
	const struct nlattr *port;

	if (message->nlmsg_type != RTM_NEWLINK || !(link->ifi_flags & IFF_UP))
		return;
	mnl_attr_parse(message, sizeof(*link), match_attribute, &info);
	mnl_attr_parse(message, sizeof(*link), match_attribute, &name);
	kind = kind_named(inner(info.found, IFLA_INFO_KIND, MNL_TYPE_NUL_STRING));
	if (!kind)
		return;
	tunnels->any = true;
	if (!kind->port)
		return;
	port = inner(inner(info.found, IFLA_INFO_DATA, MNL_TYPE_NESTED), kind->port, MNL_TYPE_U16);
	if (port && mnl_attr_get_u16(port))
		add_port(tunnels, ntohs(mnl_attr_get_u16(port)),
			 name.found ? mnl_attr_get_str(name.found) : kind->name);
}

static int handle_link(const struct nlmsghdr *message, void *context)
{
	links__add_tunnel(context, message);
	return MNL_CB_OK;
}

/* Sends a request for a list, and handles each message of it. 0 or -errno. */
static int list(const struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t handler,
		void *context)
{
	static char buffer[MESSAGES];
	ssize_t length;
	int status;

	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
		if (length < 0)
			return -errno;
		status = mnl_cb_run(buffer, length, 1, mnl_socket_get_portid(socket), handler,
				    context);
		if (status == MNL_CB_ERROR)
			return -errno; /* EINTR: the list changed in between */
	} while (status != MNL_CB_STOP);
	return 0;
}

static struct mnl_socket *open_socket(int flags, unsigned int groups)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);
	int error;

	if (!socket || !mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID))
		return socket;
	error = errno;
	mnl_socket_close(socket);
	errno = error;
	return NULL;
}

static int list_once(struct nlmsghdr *request, mnl_cb_t handler, void *context)
{
	struct mnl_socket *socket = open_socket(0, 0);
	int error;

	if (!socket)
		return -errno;
	error = list(socket, request, handler, context);
	mnl_socket_close(socket);
	return error;
}

static int list_links(mnl_cb_t handler, void *context)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg)); /* AF_UNSPEC */
	return list_once(request, handler, context);
}

int links__tunnels(struct tunnels *tunnels)
{
	struct tunnels found;
	int error = -EINTR;

	for (int i = 0; i < TRIES && error == -EINTR; i++) {
		found = (struct tunnels){ .overfull = tunnels->overfull };
		error = list_links(handle_link, &found);
	}
	if (!error)
		*tunnels = found;
	return error;
}

bool links__describe(const struct nlmsghdr *message, struct link *link)
{
	struct attribute_search info = { .type = IFLA_LINKINFO }, name = { .type = IFLA_IFNAME },
				xdp = { .type = IFLA_XDP };
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *kind, *attached;

	if (message->nlmsg_type != RTM_NEWLINK)
		return false;
	mnl_attr_parse(message, sizeof(*head), match_attribute, &info);
	mnl_attr_parse(message, sizeof(*head), match_attribute, &name);
	mnl_attr_parse(message, sizeof(*head), match_attribute, &xdp);
	if (!name.found || mnl_attr_validate(name.found, MNL_TYPE_NUL_STRING) < 0)
		return false;
	kind = inner(info.found, IFLA_INFO_KIND, MNL_TYPE_NUL_STRING);
	attached = inner(xdp.found, IFLA_XDP_ATTACHED, MNL_TYPE_U8);
	*link = (struct link){
		.ifindex = head->ifi_index,
		.name = mnl_attr_get_str(name.found),
		.kind = kind ? mnl_attr_get_str(kind) : "",
		.xdp = attached && mnl_attr_get_u8(attached) != XDP_ATTACHED_NONE,
	};
	return true;
}

struct visitor {
	void (*found)(void *context, const struct link *link);
	void *context;
};

static int visit_link(const struct nlmsghdr *message, void *context)
{
	const struct visitor *visitor = context;
	struct link link;

	if (links__describe(message, &link))
		visitor->found(visitor->context, &link);
	return MNL_CB_OK;
}

int links__each(void (*found)(void *context, const struct link *link), void *context)
{
	struct visitor visitor = { found, context };

	return list_links(visit_link, &visitor);
}

/* --- filters --- */

/* Where a filter of this kind keeps its flags among its options. */
static int flags_attribute(const char *kind)
{
	static const struct {
		const char *kind;
		int attribute;
	} kinds[] = { { "flower", TCA_FLOWER_FLAGS },
		      { "matchall", TCA_MATCHALL_FLAGS },
		      { "u32", TCA_U32_FLAGS },
		      { "bpf", TCA_BPF_FLAGS_GEN } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return kinds[i].attribute;
	return 0;
}

bool links__is_offloaded(const struct nlmsghdr *message)
{
	struct attribute_search kind = { .type = TCA_KIND }, options = { .type = TCA_OPTIONS };
	const struct nlattr *flags;
	int attribute;

	if (message->nlmsg_type != RTM_NEWTFILTER)
		return false;
	mnl_attr_parse(message, sizeof(struct tcmsg), match_attribute, &kind);
	mnl_attr_parse(message, sizeof(struct tcmsg), match_attribute, &options);
	if (!kind.found || mnl_attr_validate(kind.found, MNL_TYPE_NUL_STRING) < 0)
		return false;
	attribute = flags_attribute(mnl_attr_get_str(kind.found));
	flags = attribute ? inner(options.found, attribute, MNL_TYPE_U32) : NULL;
	return flags && mnl_attr_get_u32(flags) & TCA_CLS_FLAGS_IN_HW;
}

static int count_offloaded(const struct nlmsghdr *message, void *context)
{
	int *count = context;

	*count += links__is_offloaded(message);
	return MNL_CB_OK;
}

int links__offloaded(unsigned int ifindex)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *filter = mnl_nlmsg_put_extra_header(request, sizeof(*filter));
	int count = 0, error;

	request->nlmsg_type = RTM_GETTFILTER;
	filter->tcm_ifindex = (int)ifindex;
	filter->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	error = list_once(request, count_offloaded, &count);
	return error ? error : count;
}

/* --- changes --- */

struct mnl_socket *links__watch(void)
{
	return open_socket(SOCK_NONBLOCK, RTMGRP_LINK);
}

void links__unwatch(struct mnl_socket *watch)
{
	if (watch)
		mnl_socket_close(watch);
}

int links__fd(const struct mnl_socket *watch)
{
	return mnl_socket_get_fd(watch);
}

bool links__changed(const struct mnl_socket *watch)
{
	static char buffer[MESSAGES];
	bool changed = false;

	/* ENOBUFS: there was more than the socket could keep */
	while (mnl_socket_recvfrom(watch, buffer, sizeof(buffer)) > 0 || errno == ENOBUFS) {
		changed = true;
		errno = 0;
	}
	return changed;
}
