/* SPDX-License-Identifier: GPL-2.0 */
/* Options that the traffic program's commands share: which flow. */
#ifndef LAB_OPTIONS_H
#define LAB_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

enum flow_given {
	GIVEN_SRC_MAC = 1 << 0,
	GIVEN_DST_MAC = 1 << 1,
	GIVEN_VLAN = 1 << 2,
	GIVEN_VLAN_PROTO = 1 << 3,
	GIVEN_PROTOCOL = 1 << 4,
	GIVEN_SRC_IP = 1 << 5,
	GIVEN_DST_IP = 1 << 6,
	GIVEN_SRC_PORT = 1 << 7,
	GIVEN_DST_PORT = 1 << 8,
};

struct flow_options {
	struct flow flow;
	unsigned int given; /* enum flow_given: what of flow was on the command line */
};

/* For the children of a command's argp; its input is a struct flow_options. */
extern const struct argp flow_argp;

/* text as a number from min to max, decimal or 0x…; ends the program with a usage error if it is not. */
uint64_t parse_number(struct argp_state *state, const char *what, const char *text, uint64_t min,
		      uint64_t max);

int traffic_send(int argc, char **argv);
int traffic_count(int argc, char **argv);

#endif
