// SPDX-License-Identifier: GPL-2.0
#include "options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t parse_number(struct argp_state *state, const char *what, const char *text, uint64_t min,
		      uint64_t max)
{
	uint64_t value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || !isdigit((unsigned char)*text) || value < min || value > max)
		argp_error(state, "%s: '%s' is not a number from %llu to %llu", what, text,
			   (unsigned long long)min, (unsigned long long)max);
	return value;
}

static void parse_mac(struct argp_state *state, const char *what, const char *text, uint8_t mac[6])
{
	unsigned int b[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", b, b + 1, b + 2, b + 3, b + 4, b + 5, &end) !=
		    6 ||
	    text[end])
		argp_error(state, "%s: '%s' is not an address like 52:54:00:00:00:02", what, text);
	for (int i = 0; i < 6; i++)
		mac[i] = b[i];
}

static void parse_ip(struct argp_state *state, const char *what, const char *text,
		     struct address *ip)
{
	memset(ip, 0, sizeof(*ip));
	if (inet_pton(AF_INET, text, ip->bytes) == 1)
		ip->family = AF_INET;
	else if (inet_pton(AF_INET6, text, ip->bytes) == 1)
		ip->family = AF_INET6;
	else
		argp_error(state, "%s: '%s' is neither an IPv4 nor an IPv6 address", what, text);
}

static uint8_t parse_protocol(struct argp_state *state, const char *text)
{
	if (!strcmp(text, "udp"))
		return IPPROTO_UDP;
	if (!strcmp(text, "tcp"))
		return IPPROTO_TCP;
	if (!strcmp(text, "icmp"))
		return IPPROTO_ICMP;
	argp_error(state, "--protocol: '%s' is none of udp, tcp and icmp", text);
	return 0;
}

static uint16_t parse_vlan_proto(struct argp_state *state, const char *text)
{
	if (!strcasecmp(text, "802.1q"))
		return ETH_P_8021Q;
	if (!strcasecmp(text, "802.1ad"))
		return ETH_P_8021AD;
	argp_error(state, "--vlan-proto: '%s' is neither 802.1Q nor 802.1ad", text);
	return 0;
}

static void add_vlan(struct argp_state *state, const char *text, struct flow *flow)
{
	if (flow->vlan_count == VLANS_MAX)
		argp_error(state, "--vlan: at most %d tags", VLANS_MAX);
	flow->vlans[flow->vlan_count++] = parse_number(state, "--vlan", text, 0, 4094);
}

enum key {
	KEY_SRC_MAC = 256,
	KEY_DST_MAC,
	KEY_VLAN,
	KEY_VLAN_PROTO,
	KEY_PROTOCOL,
	KEY_SRC_IP,
	KEY_DST_IP,
	KEY_SRC_PORT,
	KEY_DST_PORT,
};

static const struct argp_option flow_argp_options[] = {
	{ 0, 0, 0, 0, "The flow:", 2 },
	{ "protocol", KEY_PROTOCOL, "NAME", 0,
	  "udp, tcp or icmp (ICMPv6 if the addresses are IPv6)" },
	{ "src-ip", KEY_SRC_IP, "ADDRESS", 0, "Source address, IPv4 or IPv6" },
	{ "dst-ip", KEY_DST_IP, "ADDRESS", 0, "Destination address" },
	{ "src-port", KEY_SRC_PORT, "PORT", 0, "Source port; the identifier of an ICMP echo" },
	{ "dst-port", KEY_DST_PORT, "PORT", 0, "Destination port" },
	{ "src-mac", KEY_SRC_MAC, "MAC", 0, "Source MAC address" },
	{ "dst-mac", KEY_DST_MAC, "MAC", 0, "Destination MAC address" },
	{ "vlan", KEY_VLAN, "ID", 0, "A VLAN tag; again for an inner one" },
	{ "vlan-proto", KEY_VLAN_PROTO, "NAME", 0,
	  "Of the outermost tag: 802.1Q (default) or 802.1ad" },
	{ 0 },
};

static error_t parse_flow(int key, char *arg, struct argp_state *state)
{
	struct flow_options *options = state->input;
	struct flow *flow = &options->flow;

	switch (key) {
	case KEY_SRC_MAC:
		parse_mac(state, "--src-mac", arg, flow->src_mac);
		break;
	case KEY_DST_MAC:
		parse_mac(state, "--dst-mac", arg, flow->dst_mac);
		break;
	case KEY_VLAN:
		add_vlan(state, arg, flow);
		break;
	case KEY_VLAN_PROTO:
		flow->vlan_proto = parse_vlan_proto(state, arg);
		break;
	case KEY_PROTOCOL:
		flow->protocol = parse_protocol(state, arg);
		break;
	case KEY_SRC_IP:
		parse_ip(state, "--src-ip", arg, &flow->src_ip);
		break;
	case KEY_DST_IP:
		parse_ip(state, "--dst-ip", arg, &flow->dst_ip);
		break;
	case KEY_SRC_PORT:
		flow->src_port = parse_number(state, "--src-port", arg, 0, 65535);
		break;
	case KEY_DST_PORT:
		flow->dst_port = parse_number(state, "--dst-port", arg, 0, 65535);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	options->given |= 1u << (key - KEY_SRC_MAC);
	return 0;
}

const struct argp flow_argp = { .options = flow_argp_options, .parser = parse_flow };
